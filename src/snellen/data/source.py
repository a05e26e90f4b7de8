"""Sources of raw inputs: arrays in memory, array files, image files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError
from snellen.core.spec import Preprocessing

_REMEDY = "Repair or remove them, or skip them with --quarantine."


class BadSamples(DataError):
    """Samples that cannot be read. `problems` maps sample ids to reasons, `names` maps them to the user's names."""

    def __init__(self, problems: Mapping[int, str], names: Mapping[int, str], remedy: str = _REMEDY) -> None:
        first = [f"{names[i]}: {reason}" for i, reason in list(problems.items())[:5]]
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        super().__init__(f"{len(problems)} of the samples cannot be read: {'; '.join(first)}{more}", remedy)
        self.problems = dict(problems)
        self.names = dict(names)


class Source(Protocol):
    """Source of raw inputs: an array in memory, an array file, a list of image files."""

    def __len__(self) -> int: ...

    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor:
        """Read the inputs (B, ...) of the samples `ids` with `preprocessing`, at their own depth. Thread-safe.

        Raises:
            BadSamples: naming every sample of `ids` that cannot be read.
        """

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        """All inputs if they are in memory and need no preprocessing, else None."""

    def name(self, id: int) -> str:
        """Name of a sample for the user: its file or row."""

    def key(self) -> str | None:
        """Cache key of the content (paths, sizes and times of the files); None: not cacheable."""


class ArraySource:
    """A source whose samples are in memory.

    Args:
        values: (N, ...) tensor.
        names: one per sample, or the prefix of the number ("row", "image").
        missing: (N, D) bool, which values were imputed, or None.
        near_copies: pairs of samples that the format knows to be nearly the same.
    """

    def __init__(
        self,
        values: Tensor,
        names: Sequence[str] | str = "sample",
        missing: np.ndarray | None = None,
        near_copies: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.values = values
        self.names = names
        self.missing = missing
        self.near_copies = near_copies

    def __len__(self) -> int:
        return len(self.values)

    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor:
        return apply_preprocessing(self.values[torch.from_numpy(ids)], preprocessing)

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        shape = self.values.shape
        same_size = len(shape) != 4 or preprocessing.size is None or tuple(shape[-2:]) == preprocessing.size
        same_channels = len(shape) != 4 or preprocessing.channels is None or shape[1] == preprocessing.channels
        return self.values if same_size and same_channels else None

    def name(self, id: int) -> str:
        return f"{self.names} {id}" if isinstance(self.names, str) else self.names[id]

    def key(self) -> str | None:
        return None


def apply_preprocessing(x: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Convert (B, C, H, W) images to the size and channels of `preprocessing`; keep their depth and other shapes."""
    if x.ndim != 4:
        return x
    if preprocessing.channels is not None and x.shape[1] != preprocessing.channels:
        if x.shape[1] == 1:
            x = x.expand(-1, preprocessing.channels, -1, -1)
        elif preprocessing.channels == 1 and x.shape[1] == 3:
            weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)  # ITU-R BT.601
            x = cast_to_dtype((x.float() * weights).sum(1, keepdim=True), x.dtype)
        else:
            raise DataError(
                f"The image has {x.shape[1]} channels, the model takes {preprocessing.channels}",
                f"Convert it to {preprocessing.channels} channels.",
            )
    if preprocessing.size is not None and tuple(x.shape[-2:]) != preprocessing.size:
        smooth = preprocessing.resample != "nearest"
        resized = torch.nn.functional.interpolate(
            x.float(),
            size=preprocessing.size,
            mode=preprocessing.resample,
            antialias=smooth,
            align_corners=False if smooth else None,
        )
        x = cast_to_dtype(resized, x.dtype)
    return x


def cast_to_dtype(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Cast values to a dtype; for integers, round and clamp to its range."""
    if dtype.is_floating_point:
        return x.to(dtype)
    info = torch.iinfo(dtype)
    return x.round().clamp(info.min, info.max).to(dtype)


class Skipped(NamedTuple):
    """A skipped file or sample, with the reason and the remedy."""

    path: str
    reason: str
    remedy: str = ""

"""Where raw inputs come from: arrays in memory, array files, picture files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError
from snellen.core.spec import Preprocessing

_LEAVE_OUT = "Mend or remove them, or leave them out with --quarantine."


class BadSamples(DataError):
    """Samples that cannot be read. `problems` maps the sample's id to the reason, `names` to what the user calls it."""

    def __init__(self, problems: Mapping[int, str], names: Mapping[int, str], remedy: str = _LEAVE_OUT) -> None:
        first = [f"{names[i]}: {reason}" for i, reason in list(problems.items())[:5]]
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        super().__init__(f"{len(problems)} of the samples cannot be read: {'; '.join(first)}{more}", remedy)
        self.problems = dict(problems)
        self.names = dict(names)


class Source(Protocol):
    """Where raw inputs come from: an array in memory, an array file, a list of picture files."""

    def __len__(self) -> int: ...

    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor:
        """(B, ...) inputs of the samples `ids` at their own depth, as `preprocessing` wants them. Thread-safe.

        Raises:
            BadSamples: naming every sample of `ids` that cannot be read.
        """

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        """All inputs where they lie in memory already and need no change, else None."""

    def name(self, id: int) -> str:
        """What the user knows the sample by: its file, or its row."""

    def key(self) -> str | None:
        """Changes whenever the content does (paths, sizes and times of the files); None: not to be cached."""


class Array:
    """A source whose samples lie in memory.

    Args:
        values: (N, ...) tensor.
        names: one per sample, or what stands before the number ("row", "image").
    """

    def __init__(self, values: Tensor, names: Sequence[str] | str = "sample") -> None:
        self.values = values
        self.names = names

    def __len__(self) -> int:
        return len(self.values)

    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor:
        return as_read(self.values[torch.from_numpy(ids)], preprocessing)

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        shape = self.values.shape
        size = len(shape) != 4 or preprocessing.size is None or tuple(shape[-2:]) == preprocessing.size
        channels = len(shape) != 4 or preprocessing.channels is None or shape[1] == preprocessing.channels
        return self.values if size and channels else None

    def name(self, id: int) -> str:
        return f"{self.names} {id}" if isinstance(self.names, str) else self.names[id]

    def key(self) -> str | None:
        return None


def as_read(x: Tensor, preprocessing: Preprocessing) -> Tensor:
    """(B, C, H, W) images in the size and channels of `preprocessing`, at their own depth; other shapes unchanged."""
    if x.ndim != 4:
        return x
    if preprocessing.channels is not None and x.shape[1] != preprocessing.channels:
        if x.shape[1] == 1:
            x = x.expand(-1, preprocessing.channels, -1, -1)
        elif preprocessing.channels == 1 and x.shape[1] == 3:
            weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)  # ITU-R BT.601
            x = at_depth((x.float() * weights).sum(1, keepdim=True), x.dtype)
        else:
            raise DataError(
                f"the picture has {x.shape[1]} channels, the model reads {preprocessing.channels}", "Convert it first."
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
        x = at_depth(resized, x.dtype)
    return x


def at_depth(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Values as a depth holds them: rounded and cut off at its ends, where it is one of whole numbers."""
    if dtype.is_floating_point:
        return x.to(dtype)
    info = torch.iinfo(dtype)
    return x.round().clamp(info.min, info.max).to(dtype)


class Skipped(NamedTuple):
    """A file or sample that is not used, with the reason and the remedy."""

    path: str
    reason: str
    remedy: str = ""

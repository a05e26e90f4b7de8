"""Axes of arrays: which array is an input of which split, and whether it holds vectors, sequences or images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Modality
from snellen.data.formats import ArrayModality

SEQUENCE_ORDER = (0, 1)  # of the axes of a sequence, see `to_channels_first`
SPLIT_WORDS = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "test": 2}
_MIN_ASPECT, _MAX_WIDTH = 4, 16  # of (H, W): from this aspect, or up to this shorter side, arrays may be sequences


class SplitArrays(NamedTuple):
    """The arrays of one split. split: index in SPLITS, None without splits. x: input. y: targets, () without."""

    split: int | None
    x: str
    y: tuple[str, ...]

    @property
    def counted(self) -> str:
        """The array with one row for each sample."""
        return self.y[0] if self.y else self.x


def split_and_role(name: str) -> tuple[int | None, str]:
    """Split a name such as "x_train", "train_x" or "train/x" into the split (None without) and the rest."""
    words = [word for word in re.split(r"[_./\-\s]+", name.lower()) if word]
    split = next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)
    rest = "_".join(word for word in words if word not in SPLIT_WORDS)
    return split, rest


@dataclass(frozen=True, kw_only=True)
class AxisLayout:
    """How the axes of an input are read. order: see `to_channels_first`. description: for the user."""

    modality: Modality
    shape: tuple[int | None, ...]
    order: tuple[int, ...] | None
    description: str


def axis_layout(
    where: str, shape: Sequence[int], dtype: np.dtype[Any], modality: ArrayModality | None = None
) -> AxisLayout:
    """Axis layout of inputs: (N, D) vectors; (N, T, D) sequences; (N, H, W), (N, H, W, C) or (N, C, H, W) images of 1
    to 4 channels.

    Args:
        modality: "image" or "sequence", how to read three axes; None: as sequences if they have unequal lengths and
            values of more than 8 bits.
    Raises:
        DataError: any other number of axes, or no axis of 1 to 4 channels.
        UsageError: a modality that does not fit the number of axes.
    """
    if 0 in shape:
        raise DataError(f"{where} is empty: its shape is {tuple(shape)}", "Write the samples into it.")
    if modality == "sequence" and len(shape) != 3:
        raise UsageError(
            f"--modality sequence needs inputs (N, T, D), {where} has the shape {tuple(shape)}", "Omit --modality."
        )
    if modality == "image" and len(shape) < 3:
        raise UsageError(
            f"--modality image needs inputs of three or four axes, {where} has the shape {tuple(shape)}",
            "Omit --modality.",
        )
    if len(shape) == 1:
        return AxisLayout(modality="vector", shape=(1,), order=None, description="vectors of one number")
    if len(shape) == 2:
        return AxisLayout(
            modality="vector", shape=(shape[1],), order=None, description=f"vectors of {shape[1]} numbers"
        )
    if len(shape) == 3 and modality != "image" and (modality or _may_be_sequences(shape[1:], dtype)):
        return AxisLayout(
            modality="sequence",
            shape=tuple(shape[1:]),
            order=SEQUENCE_ORDER,
            description=f"sequences of {plural(shape[1], 'step')} and {plural(shape[2], 'feature')}, axes (N, T, D)"
            + ("" if modality else " (greyscale images: --modality image)"),
        )
    if len(shape) == 3:
        return AxisLayout(
            modality="image",
            shape=(1, *shape[1:]),
            order=(),
            description=f"greyscale images of {shape[2]}x{shape[1]} pixels, axes (N, H, W)"
            + ("" if modality else " (sequences: --modality sequence)"),
        )
    if len(shape) == 4 and shape[3] <= 4:
        return AxisLayout(
            modality="image",
            shape=(shape[3], shape[1], shape[2]),
            order=(2, 0, 1),
            description=f"images of {shape[2]}x{shape[1]} pixels and {shape[3]} channels, axes (N, H, W, C)",
        )
    if len(shape) == 4 and shape[1] <= 4:
        return AxisLayout(
            modality="image",
            shape=tuple(shape[1:]),
            order=(0, 1, 2),
            description=f"images of {shape[3]}x{shape[2]} pixels and {shape[1]} channels, axes (N, C, H, W)",
        )
    raise DataError(
        f"{where} has the shape {tuple(shape)}",
        "Inputs are (N, D), (N, T, D), (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 to 4 channels.",
    )


def plural(count: object, noun: str) -> str:
    """A count with its noun."""
    return f"{count} {noun}{'' if str(count) == '1' else 's'}"


def _may_be_sequences(size: Sequence[int], dtype: np.dtype[Any]) -> bool:
    """Whether arrays (H, W) are more likely (T, D): long and narrow, or narrow, and not of 8 bits as images are."""
    short, long = sorted(size)
    return dtype not in (np.uint8, np.bool_) and short != long and (long >= _MIN_ASPECT * short or short <= _MAX_WIDTH)

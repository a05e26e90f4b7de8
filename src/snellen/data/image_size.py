"""How networks that need one size of picture read pictures of any size."""

from __future__ import annotations

from collections import Counter
from math import prod
from statistics import median_low

from snellen.core.spec import Preprocessing, Spec, TypicalSize


def typical_size(sizes: Counter[tuple[int, int]]) -> TypicalSize | None:
    """What to expect of so many pictures of each height and width; None where they all have one size."""
    if len(sizes) < 2:
        return None
    size, alike = sizes.most_common(1)[0]
    if 2 * alike <= sizes.total():  # no size is that of most: the middles, which a few huge pictures do not move
        height, width = (median_low(sides) for sides in zip(*sizes.elements(), strict=True))
        size, alike = (height, width), sizes[height, width]
    return TypicalSize(size=size, alike=alike, count=sizes.total())


def fixed_size(spec: Spec, most: int, asked: int | None = None) -> Preprocessing:
    """The pictures' usual size where it is at most `most` pixels a side, else a square of `most`.

    Args:
        asked: the size the user wants, which wins.
    """
    if spec.modality != "image":
        return Preprocessing()
    channels = spec.input.shape[0] or 3
    if asked is not None:
        return Preprocessing(size=(asked, asked), channels=channels)
    size = spec.input.size
    return Preprocessing(size=size if size is not None and max(size) <= most else (most, most), channels=channels)


def why_size(spec: Spec, preprocessing: Preprocessing) -> str:
    """Why pictures are read at their size, for `--explain`."""
    if preprocessing.size is None:
        return "each picture is looked at in its own size"
    found, size = spec.input.typical_size, spec.input.size
    if size is None:
        return "the sizes of the pictures are not known"
    called = f"{size[1]}x{size[0]}"
    if found is None:
        why = f"all pictures are {called}"
    elif found.of_most:
        why = f"{found.alike:,} of {found.count:,} pictures are {called}"
    else:
        why = f"pictures of many sizes, {called} in the middle"
    return why if preprocessing.size == size else f"{why}: scaled to what the model takes"


def read_shape(spec: Spec, preprocessing: Preprocessing) -> tuple[int, ...]:
    """The shape of a sample once it is read; that of a usual picture where each keeps its own size."""
    if preprocessing.size is not None:
        return (preprocessing.channels or 1, *preprocessing.size)
    if spec.modality == "image" and spec.input.size is not None:
        return (spec.input.shape[0] or 1, *spec.input.size)
    return tuple(side or 1 for side in spec.input.shape)


def flat_size(spec: Spec, preprocessing: Preprocessing) -> int:
    """How many numbers a sample has once it is flattened."""
    return prod(read_shape(spec, preprocessing))

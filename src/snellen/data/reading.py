"""How networks that need one size of picture read pictures of any size."""

from __future__ import annotations

from math import prod

from snellen.core.spec import Reading, Spec


def fixed_size(spec: Spec, most: int, asked: int | None = None) -> Reading:
    """The pictures' own size where it is one and at most `most` pixels a side, else a square of `most`.

    Args:
        asked: the size the user wants, which wins.
    """
    if spec.modality != "image":
        return Reading()
    channels, height, width = spec.input.shape
    if asked is not None:
        return Reading(size=(asked, asked), channels=channels or 3)
    if height is not None and width is not None and max(height, width) <= most:
        return Reading(size=(height, width), channels=channels or 3)
    return Reading(size=(most, most), channels=channels or 3)


def read_shape(spec: Spec, reading: Reading) -> tuple[int, ...]:
    """The shape of a sample once it is read."""
    if reading.size is not None:
        return (reading.channels or 1, *reading.size)
    return tuple(side or 1 for side in spec.input.shape)


def flat_size(spec: Spec, reading: Reading) -> int:
    """How many numbers a sample has once it is flattened."""
    return prod(read_shape(spec, reading))

"""Image sizes: the typical size of a dataset, and the input size of models that need a fixed one."""

from __future__ import annotations

from collections import Counter
from math import prod
from statistics import median_low

from snellen.core.learner import InputSize, input_sizes
from snellen.core.spec import Preprocessing, Spec, TypicalSize

SMALLEST_SIDE = 32  # pixels to which a ladder may reduce images of a network with a fixed input size


def typical_size(sizes: Counter[tuple[int, int]]) -> TypicalSize | None:
    """Typical size of images, from the number of images of each (height, width); None if all have one size."""
    if len(sizes) < 2:
        return None
    size, alike = sizes.most_common(1)[0]
    if 2 * alike <= sizes.total():  # no majority size: medians, which a few huge images do not change
        height, width = (median_low(sides) for sides in zip(*sizes.elements(), strict=True))
        size, alike = (height, width), sizes[height, width]
    return TypicalSize(size=size, alike=alike, count=sizes.total())


def fixed_size(spec: Spec, max_side: int, requested: int | None = None) -> Preprocessing:
    """The typical size of the images if its sides are at most `max_side` pixels, else a square of `max_side`.

    Args:
        requested: side set by the user, which takes precedence.
    """
    if spec.modality != "image":
        return Preprocessing()
    channels = spec.input.shape[0] or 3
    if requested is not None:
        return Preprocessing(size=(requested, requested), channels=channels)
    size = spec.input.size
    return Preprocessing(
        size=size if size is not None and max(size) <= max_side else (max_side, max_side), channels=channels
    )


def fixed_input_size(preprocessing: Preprocessing, large_from: int = 0) -> InputSize | None:
    """Input size of a network whose setting `image_size` resizes all images to one size; None for tables.

    Args:
        large_from: shorter side in pixels from which the first layers of the network reduce the resolution: smaller
            images would take more time.
    """
    if preprocessing.size is None:
        return None
    smallest = max(SMALLEST_SIDE, large_from if min(preprocessing.size) >= large_from else 0)
    return input_sizes("image_size", max(preprocessing.size), smallest)


def explain_size(spec: Spec, preprocessing: Preprocessing) -> str:
    """Explain the size at which images are read, for `--explain`."""
    if preprocessing.size is None:
        return "each image keeps its own size"
    typical, size = spec.input.typical_size, spec.input.size
    if size is None:
        return "the sizes of the images are unknown"
    width_x_height = f"{size[1]}x{size[0]}"
    if typical is None:
        reason = f"all images are {width_x_height}"
    elif typical.is_majority:
        reason = f"{typical.alike:,} of {typical.count:,} images are {width_x_height}"
    else:
        reason = f"images of many sizes, median {width_x_height}"
    return reason if preprocessing.size == size else f"{reason}: resized to the input size of the model"


def input_shape(spec: Spec, preprocessing: Preprocessing) -> tuple[int, ...]:
    """Shape of a preprocessed sample; that of a typical image if each keeps its own size."""
    if preprocessing.size is not None:
        return (preprocessing.channels or 1, *preprocessing.size)
    if spec.modality == "image" and spec.input.size is not None:
        return (spec.input.shape[0] or 1, *spec.input.size)
    return tuple(side or 1 for side in spec.input.shape)


def flattened_size(spec: Spec, preprocessing: Preprocessing) -> int:
    """Number of values in a flattened sample."""
    return prod(input_shape(spec, preprocessing))

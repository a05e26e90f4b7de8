"""Axes of arrays: which array is an input of which split, and which modality it holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Input, Modality
from snellen.data.formats import ArrayModality
from snellen.data.formats.array_files import ArrayFile

MAX_CHANNELS = 4
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
    """How the axes of an input are read. order: see `to_axis_order`. description: for the user."""

    modality: Modality
    shape: tuple[int | None, ...]
    order: tuple[int, ...] | None
    description: str


def axis_layout(
    where: str, shape: Sequence[int], dtype: np.dtype[Any], modality: ArrayModality | None = None
) -> AxisLayout:
    """Axis layout of inputs: (N, D) vectors; (N, T, D) sequences; (N, P, D) points; (N, H, W) images, (N, T, H, W)
    clips and (N, Z, Y, X) volumes, these three also with an axis of 1 to 4 channels.

    Args:
        modality: how to read three axes or more; None: see `_likely_modality`.
    Raises:
        DataError: any other number of axes, or no axis of 1 to 4 channels.
        UsageError: a modality that does not fit the number of axes.
    """
    if 0 in shape:
        raise DataError(f"{where} is empty: its shape is {tuple(shape)}", "Write the samples into it.")
    likely = _likely_modality(shape, dtype)
    if modality is not None:
        layout = _LAYOUTS[modality](shape)
        if layout is None:
            raise UsageError(
                f"--modality {modality} needs inputs {_AXES_TEXT[modality]}, {where} has the shape {tuple(shape)}",
                "Omit --modality.",
            )
        return layout
    layout = _vectors(shape) if likely is None else _LAYOUTS[likely](shape)
    if layout is None:
        raise DataError(
            f"{where} has the shape {tuple(shape)}",
            f"Inputs are (N, D), {', '.join(_AXES_TEXT.values())} with C of 1 to {MAX_CHANNELS} channels.",
        )
    others = [other for other, read in _LAYOUTS.items() if other != likely and len(shape) > 2 and read(shape)]
    if not others:
        return layout
    return replace(layout, description=f"{layout.description} (read otherwise: --modality {' or '.join(others)})")


def order_of_axes(shape: Sequence[int], modality: str, sample: Sequence[int | None]) -> tuple[int, ...] | None:
    """The order of the axes (see `to_axis_order`) of an array of samples of known shape; None where it holds none.

    The axes are those of the modality, or others that data of it may have: no channels, or channels at another place.

    Args:
        sample: the shape of a sample in the axes of the modality; None where a length varies.
    """
    if len(shape) == 1 + len(sample) and _equal(shape[1:], sample):
        return tuple(range(len(sample)))
    read = {str(name): read for name, read in _LAYOUTS.items()}.get(modality)
    layout = None if read is None else read(shape)
    return layout.order if layout is not None and _equal(layout.shape, sample) else None


def _equal(shape: Sequence[int | None], sample: Sequence[int | None]) -> bool:
    """Whether a shape is that of a sample; axes of varying length are not empty."""
    return len(shape) == len(sample) and all(
        side == known or (known is None and side != 0) for side, known in zip(shape, sample, strict=True)
    )


def places_of(layout: AxisLayout, x: Sequence[int], y: Sequence[int]) -> tuple[int, ...] | None:
    """Lengths of the axes of places of inputs x, if targets y are (N, *places) or (N, *places, K); else None."""
    read = Input(modality=layout.modality, shape=layout.shape)
    is_split = "channel" in read.axes[1:]  # places before and after the channels: clips
    if not read.place_axes or is_split or not y or y[0] != x[0]:
        return None
    # Of sequences of several lengths, as they are stored.
    places = tuple(x[1:-1]) if layout.order is None else tuple(n or 0 for n in read.places(layout.shape))
    fits = tuple(y[1:]) == places or (len(y) > 2 and tuple(y[1:-1]) == places)
    return places if places and fits else None


def layout_with_places(file: ArrayFile, part: SplitArrays, modality: ArrayModality | None) -> AxisLayout | None:
    """The layout of inputs whose targets have a value at every place, likely ones first; None if there is none."""
    if len(part.y) != 1:
        return None
    x, y = file.shapes[part.x], file.shapes[part.y[0]]
    if len(x) < 3 or len(y) < 2 or 0 in x:
        return None
    likely = _likely_modality(x, file.dtypes[part.x])
    order = [name for name in ([likely] if likely is not None else []) if name in _LAYOUTS]
    order += [name for name in _LAYOUTS if name != likely]
    layouts = [layout for name in order if modality in (None, name) and (layout := _LAYOUTS[name](x)) is not None]
    fitting = [layout for layout in layouts if places_of(layout, x, y) is not None]
    if not fitting:
        return None
    others = " or ".join(layout.modality for layout in fitting[1:])
    more = f" (read otherwise: --modality {others})" if others else ""
    return replace(fitting[0], description=f"{fitting[0].description}{more}")


def _likely_modality(shape: Sequence[int], dtype: np.dtype[Any]) -> ArrayModality | None:
    """The modality of arrays of three axes or more, None for vectors.

    Three axes are sequences where their lengths differ much and the values have more than 8 bits. Four axes are images
    where one of them can be channels. Otherwise equal sides are a volume, unequal ones a clip.
    """
    if len(shape) < 3:
        return None
    if len(shape) == 3:
        return "sequence" if _may_be_sequences(shape[1:], dtype) else "image"
    if len(shape) == 4 and _images(shape) is not None:
        return "image"
    volume = _volumes(shape)
    if volume is not None and len(set(volume.shape[1:])) == 1:
        return "volume"
    return "clip" if _clips(shape) is not None else "volume"


def _vectors(shape: Sequence[int]) -> AxisLayout:
    count = shape[1] if len(shape) == 2 else 1
    description = "vectors of one number" if len(shape) == 1 else f"vectors of {count} numbers"
    return AxisLayout(modality="vector", shape=(count,), order=None, description=description)


def _sequences(shape: Sequence[int]) -> AxisLayout | None:
    if len(shape) != 3:
        return None
    return AxisLayout(
        modality="sequence",
        shape=tuple(shape[1:]),
        order=(0, 1),
        description=f"sequences of {plural(shape[1], 'step')} and {plural(shape[2], 'feature')}, axes (N, T, D)",
    )


def _points(shape: Sequence[int]) -> AxisLayout | None:
    if len(shape) != 3 or shape[2] < 2:
        return None
    return AxisLayout(
        modality="points",
        shape=tuple(shape[1:]),
        order=(0, 1),
        description=f"clouds of {plural(shape[1], 'point')} of {shape[2]} numbers, axes (N, P, D)",
    )


def _images(shape: Sequence[int]) -> AxisLayout | None:
    parts = _with_channels(shape, ("H", "W"))
    if parts is None:
        return None
    (height, width), channels, order, axes = parts
    return AxisLayout(
        modality="image",
        shape=(channels, height, width),
        order=order,
        description=f"{'greyscale ' if len(shape) == 3 else ''}images of {width}x{height} pixels"
        f"{'' if len(shape) == 3 else f' and {channels} channels'}, axes {axes}",
    )


def _volumes(shape: Sequence[int]) -> AxisLayout | None:
    parts = _with_channels(shape, ("Z", "Y", "X"))
    if parts is None:
        return None
    (depth, height, width), channels, order, axes = parts
    return AxisLayout(
        modality="volume",
        shape=(channels, depth, height, width),
        order=order,
        description=f"volumes of {width}x{height}x{depth} voxels and {plural(channels, 'channel')}, axes {axes}",
    )


def _clips(shape: Sequence[int]) -> AxisLayout | None:
    if len(shape) not in (4, 5):
        return None
    frame = _with_channels((shape[0], *shape[2:]), ("H", "W"))
    if frame is None:
        return None
    (height, width), channels, order, axes = frame
    return AxisLayout(
        modality="clip",
        shape=(shape[1], channels, height, width),
        order=(0, *(axis + (axis >= 0) for axis in order)),
        description=f"clips of {plural(shape[1], 'frame')} of {width}x{height} pixels and "
        f"{plural(channels, 'channel')}, axes (N, T, {axes.removeprefix('(N, ')}",
    )


def _with_channels(
    shape: Sequence[int], names: tuple[str, ...]
) -> tuple[tuple[int, ...], int, tuple[int, ...], str] | None:
    """Lengths of the named axes, number of channels, order (see `to_axis_order`) and all axes as text.

    The channels are the last axis or the first one; none is one channel.
    """
    count = len(names)
    if len(shape) == count + 1:
        return tuple(shape[1:]), 1, (-1, *range(count)), f"(N, {', '.join(names)})"
    if len(shape) != count + 2:
        return None
    if shape[-1] <= MAX_CHANNELS:
        return tuple(shape[1:-1]), shape[-1], (count, *range(count)), f"(N, {', '.join(names)}, C)"
    if shape[1] <= MAX_CHANNELS:
        return tuple(shape[2:]), shape[1], tuple(range(count + 1)), f"(N, C, {', '.join(names)})"
    return None


_LAYOUTS: Mapping[ArrayModality, Callable[[Sequence[int]], AxisLayout | None]] = {
    "image": _images,
    "sequence": _sequences,
    "points": _points,
    "clip": _clips,
    "volume": _volumes,
}
_AXES_TEXT: Mapping[ArrayModality, str] = {
    "image": "(N, H, W), (N, H, W, C) or (N, C, H, W)",
    "sequence": "(N, T, D)",
    "points": "(N, P, D)",
    "clip": "(N, T, H, W), (N, T, H, W, C) or (N, T, C, H, W)",
    "volume": "(N, Z, Y, X), (N, Z, Y, X, C) or (N, C, Z, Y, X)",
}


def plural(count: object, noun: str) -> str:
    """A count with its noun."""
    return f"{count} {noun}{'' if str(count) == '1' else 's'}"


def _may_be_sequences(size: Sequence[int], dtype: np.dtype[Any]) -> bool:
    """Whether arrays (H, W) are more likely (T, D): long and narrow, or narrow, and not of 8 bits as images are."""
    short, long = sorted(size)
    return dtype not in (np.uint8, np.bool_) and short != long and (long >= _MIN_ASPECT * short or short <= _MAX_WIDTH)

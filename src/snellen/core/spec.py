"""What a dataset holds, as plain data: named inputs, the target, how many samples. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

MOST_PIXELS = 1 << 28  # of a picture: about what Pillow takes for a bomb
MOST_CHANNELS = 1 << 16

Modality = Literal["vector", "image", "volume", "clip", "sequence", "points", "mesh", "graph", "world"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table as the model sees it: one number, or one 0/1 entry per category."""

    name: str
    categories: tuple[str, ...] | None = None
    fill: float | None = None  # what stands in for a missing cell; None: a missing cell is an error

    @property
    def width(self) -> int:
        return 1 if self.categories is None else len(self.categories)


@dataclass(frozen=True, kw_only=True)
class TypicalSize:
    """What to expect of pictures that have several sizes.

    Args:
        size: height and width in pixels: those of most pictures, else the middle of all heights and of all widths.
        alike: how many pictures have just this size,
        count: of how many.
    """

    size: tuple[int, int]
    alike: int
    count: int

    def __post_init__(self) -> None:
        if min(self.size) < 1 or not 0 <= self.alike <= self.count:
            raise ValueError(f"{self.alike} of {self.count} pictures cannot be {self.size[1]}x{self.size[0]}")

    @property
    def of_most(self) -> bool:
        """Whether most pictures have this size."""
        return 2 * self.alike > self.count


@dataclass(frozen=True, kw_only=True)
class Input:
    """One named input. `shape` is that of a sample: (D,) for vectors, (C, H, W) for images; None where it varies."""

    modality: Modality
    shape: tuple[int | None, ...]
    dtype: str = "float32"  # the depth of the source: uint8, uint16, float32, float64
    columns: tuple[Column, ...] = ()
    typical_size: TypicalSize | None = (
        None  # of pictures whose height or width varies; None, too, in runs older than the word
    )

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of pictures, the usual ones where they vary; None where these are not known."""
        if self.typical_size is not None or self.modality != "image":
            return None if self.typical_size is None else self.typical_size.size
        height, width = self.shape[-2:]
        return None if height is None or width is None else (height, width)


@dataclass(frozen=True, kw_only=True)
class Classes:
    """One class per sample. `counts` are those of the training split."""

    names: tuple[str, ...]
    counts: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Any number of labels per sample, as (K,) zeros and ones."""

    names: tuple[str, ...]
    counts: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """One or several numbers per sample, in the user's units."""

    names: tuple[str, ...]
    units: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PixelClasses:
    """One class for every pixel. `counts` are pixels of (a part of) the training split."""

    names: tuple[str, ...]
    counts: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PixelNumbers:
    """One or several numbers for every pixel. `kind` says what they measure, and by what they are judged."""

    kind: Literal["depth", "normals", "edges", "reflectance", "flow", "numbers"]
    names: tuple[str, ...]
    units: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """Any number of objects in a picture, each with a class and a box.

    Args:
        counts: objects of each class in the training split.
        masks: whether each has a mask, too.
        keypoints: the names of its keypoints, where it has any.
        mirrored: pairs of keypoints that change places in a mirror (left and right eye).
        bones: pairs of keypoints that are drawn joined.
        ids: the numbers that the classes have in the user's own files, where these number them (COCO).
    """

    names: tuple[str, ...]
    counts: tuple[int, ...] = ()
    masks: bool = False
    keypoints: tuple[str, ...] = ()
    mirrored: tuple[tuple[int, int], ...] = ()
    bones: tuple[tuple[int, int], ...] = ()
    ids: tuple[int, ...] = ()


Scenic = PixelClasses | PixelNumbers | Boxes  # told of places in a picture: the truth is an `Annotations`
Target = Classes | Labels | Numbers | PixelClasses | PixelNumbers | Boxes


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The contract between data and model, saved with every run."""

    name: str
    inputs: Mapping[str, Input]
    target: Target | None
    sizes: Mapping[str, int] = field(default_factory=dict)  # samples of each split

    @property
    def input(self) -> Input:
        """The input, where there is just one; else the first."""
        return next(iter(self.inputs.values()))

    @property
    def modality(self) -> Modality:
        return self.input.modality


def as_kept(now: Spec, kept: Spec) -> Spec:
    """The spec of data as it is now, without what the spec that was kept of it is too old to say."""
    old = {name for name, one in kept.inputs.items() if one.typical_size is None}
    return replace(
        now, inputs={name: replace(one, typical_size=None) if name in old else one for name, one in now.inputs.items()}
    )


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How the files become what the model is given: belongs to the model and is saved with it.

    `size` is (height, width) in pixels; None keeps the source's own. Values stay at the source's depth.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    resample: Literal["nearest", "bilinear", "bicubic"] = "bilinear"
    pages: Literal["first", "max", "each"] | None = None

    def __post_init__(self) -> None:
        height, width = self.size or (1, 1)
        if min(height, width) < 1 or height * width > MOST_PIXELS or not 1 <= (self.channels or 1) <= MOST_CHANNELS:
            raise ValueError(f"pictures of {height}x{width} pixels in {self.channels} channels cannot be read")

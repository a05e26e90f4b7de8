"""Specification of a dataset as plain data: named inputs, target, number of samples. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, TypeVar

L = TypeVar("L", bound=int | None)
MAX_PIXELS = 1 << 28  # of an image: about the limit of Pillow's decompression-bomb check
MAX_CHANNELS = 1 << 16
MAX_COORDINATES = 3  # of a point; its further numbers are normals, colours ...

Modality = Literal["vector", "image", "volume", "clip", "sequence", "audio", "points", "world"]
Axis = Literal["feature", "channel", "time", "point", "z", "y", "x"]
AXES: Mapping[Modality, tuple[Axis, ...]] = {  # of a sample
    "vector": ("feature",),
    "image": ("channel", "y", "x"),
    "sequence": ("time", "feature"),
    "clip": ("time", "channel", "y", "x"),
    "points": ("point", "feature"),
    "volume": ("channel", "z", "y", "x"),
    "world": ("feature",),
    "audio": ("channel", "time"),
}
PLACED: frozenset[Modality] = frozenset({"image", "sequence", "points", "volume"})  # may have a target at every place
PLACES: Mapping[tuple[Axis, ...], str] = {  # name of one place of a sample
    (): "sample",
    ("y", "x"): "pixel",
    ("time",): "step",
    ("point",): "point",
    ("z", "y", "x"): "voxel",
    ("time", "y", "x"): "pixel",
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """Column of a table as the model gets it: one number, or one-hot encoded categories."""

    name: str
    categories: tuple[str, ...] | None = None
    fill: float | None = None  # replaces a missing cell; None: a missing cell is an error

    @property
    def width(self) -> int:
        """Number of model inputs of the column."""
        return 1 if self.categories is None else len(self.categories)


@dataclass(frozen=True, kw_only=True)
class TypicalSize:
    """Typical size of images of several sizes.

    Args:
        size: height and width in pixels: those of most images, else the medians of heights and of widths.
        alike: number of images of exactly this size.
        count: number of all images.
    """

    size: tuple[int, int]
    alike: int
    count: int

    def __post_init__(self) -> None:
        if min(self.size) < 1 or not 0 <= self.alike <= self.count:
            raise ValueError(f"{self.alike} of {self.count} images cannot be {self.size[1]}x{self.size[0]}")

    @property
    def is_majority(self) -> bool:
        """Whether most images have this size."""
        return 2 * self.alike > self.count


@dataclass(frozen=True, kw_only=True)
class Input:
    """One named input.

    Args:
        shape: of a sample, one length for each axis (see AXES): (D,) for vectors, (C, H, W) for images, (T, D) for
            sequences, (C, T) for recordings; None where it varies.
        levels: of a world with finitely many states, the number of values 0, 1 … of each feature; else empty.
        rate: of recordings, samples per second; of sequences in text files, steps per unit of their column of times.
        resampled: whether files of other rates are resampled to it.
        grid: of samples that are the points of a grid, in row-major order: its rows and columns; () of others.
    """

    modality: Modality
    shape: tuple[int | None, ...]
    dtype: str = "float32"  # the depth of the source: uint8, uint16, float32, float64
    columns: tuple[Column, ...] = ()
    typical_size: TypicalSize | None = None  # where height or width varies; None in older runs
    sequence_id: str = ""  # of sequences in a table, the column with the id of each, and that with the times
    time: str = ""
    optional: bool = False  # whether samples may lack it, where there are several inputs
    levels: tuple[int, ...] = ()
    rate: float | None = None
    resampled: bool = False
    grid: tuple[int, ...] = ()

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Names of the axes of a sample."""
        return AXES[self.modality]

    @property
    def has_pixels(self) -> bool:
        """Whether a sample is one image, which can be resized, mirrored and drawn on."""
        return self.axes == AXES["image"]

    @property
    def is_ragged(self) -> bool:
        """Whether samples have several lengths: a batch then has NaN after the end of each. Images are resized."""
        return None in self.shape and not self.has_pixels

    @property
    def feature_axis(self) -> int:
        """The axis of features or channels, which have statistics of their own."""
        return next(k for k, axis in enumerate(self.axes) if axis in ("feature", "channel"))

    @property
    def num_coordinates(self) -> int:
        """Number of leading features that are the coordinates of a point, in one unit; 0 where there are no points."""
        features = self.shape[self.feature_axis]
        return min(features or 0, MAX_COORDINATES) if "point" in self.axes else 0

    @property
    def place_axes(self) -> tuple[Axis, ...]:
        """The axes along which a sample has places: all but that of features or channels."""
        return tuple(axis for axis in self.axes if axis not in ("feature", "channel"))

    @property
    def place(self) -> str:
        """Name of one place: pixel, step, voxel, point."""
        return PLACES[self.place_axes]

    def places(self, shape: Sequence[L]) -> tuple[L, ...]:
        """Lengths of the axes of places, of the shape of a sample."""
        return (*shape[: self.feature_axis], *shape[self.feature_axis + 1 :])

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of images, the typical ones where they vary; None where unknown."""
        if self.typical_size is not None or not self.has_pixels:
            return None if self.typical_size is None else self.typical_size.size
        height, width = self.shape[-2:]
        return None if height is None or width is None else (height, width)


@dataclass(frozen=True, kw_only=True)
class Classes:
    """One class per sample. `counts` are those of the training split."""

    noun: ClassVar[str] = "class"
    counted: ClassVar[str] = "samples"  # what `counts` counts

    names: tuple[str, ...]
    counts: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Any number of labels per sample, as (K,) zeros and ones."""

    noun: ClassVar[str] = "label"
    counted: ClassVar[str] = "samples"  # what `counts` counts

    names: tuple[str, ...]
    counts: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """One or several numbers per sample, in the user's units.

    `lowest` and `highest` are bounds of each: extremes that many samples of the training split have, None without such;
    empty in older runs.
    """

    names: tuple[str, ...]
    units: tuple[str, ...] = ()
    lowest: tuple[float | None, ...] = ()
    highest: tuple[float | None, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PixelClasses:
    """One class for every place of the input: pixel, step, voxel, point (see `Input.place`).

    `counts` are places of the training split, or of a part of it.
    """

    noun: ClassVar[str] = "class"

    names: tuple[str, ...]
    counts: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PixelNumbers:
    """One or several numbers for every place of the input. `kind` is the quantity; it selects the metrics.

    Kinds other than "numbers" are those of images.
    """

    kind: Literal["depth", "normals", "edges", "reflectance", "flow", "numbers"]
    names: tuple[str, ...]
    units: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """Any number of objects per image, each with a class and a box.

    Args:
        counts: objects of each class in the training split.
        masks: whether each object also has a mask.
        keypoints: names of the keypoints; empty where the data has none.
        mirrored: pairs of keypoints that horizontal flips swap (left and right eye).
        bones: pairs of keypoints that drawings connect by a line.
        ids: category ids of the classes in the user's files (COCO); empty where there are none.
    """

    noun: ClassVar[str] = "class"
    counted: ClassVar[str] = "objects"  # what `counts` counts

    names: tuple[str, ...]
    counts: tuple[int, ...] = ()
    masks: bool = False
    keypoints: tuple[str, ...] = ()
    mirrored: tuple[tuple[int, int], ...] = ()
    bones: tuple[tuple[int, int], ...] = ()
    ids: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """The joints of a body, and the columns of a step that hold its pose.

    Args:
        joints: names of the J joints.
        parents: index of the parent of each, a smaller one than its own; −1 of a root, and where no bones are known.
        form: exponential-maps, the rotation of a joint against its parent in radians; positions, its coordinates.
        columns: the first of the three columns of each joint; −1 of a joint that never turns.
        root: the first of the three columns with the position of the root; −1 of positions, and without one.
        offsets: (J, 3) from the parent to each joint, in the frame of the parent; empty of positions and where unknown.
        inverse: whether the exponential maps are those of the inverse rotations, which turn row vectors.
        up: the axis that points upwards.
        unit: of lengths, where known; scale: number of these units in a length of 1 in the data.
        frame_rate: frames per second of the files, for files that do not state it; None where all state it.
    """

    joints: tuple[str, ...]
    parents: tuple[int, ...]
    form: Literal["exponential-maps", "positions"]
    columns: tuple[int, ...]
    root: int = -1
    offsets: tuple[tuple[float, float, float], ...] = ()
    inverse: bool = False
    up: Literal["x", "y", "z", "-x", "-y", "-z"] = "y"
    unit: str = ""
    scale: float = 1.0
    frame_rate: float | None = None

    @property
    def has_positions(self) -> bool:
        """Whether the positions of the joints are known: given, or computed from rotations and offsets."""
        return self.form == "positions" or bool(self.offsets)


@dataclass(frozen=True, kw_only=True)
class TimeSteps:
    """How the rows of a table of time series become equal steps, and what is computed from their times.

    Args:
        resample: period whose mean is one step, as "1d"; "": each row is a step.
        gaps: what is done at missing steps and cells.
        max_gap: consecutive missing steps that are interpolated, at most; the series is split at longer gaps.
        calendar: names of the calendar features, the last of the features that are known in advance.
    """

    resample: str = ""
    gaps: Literal["error", "interpolate", "split"] = "error"
    max_gap: int = 10
    calendar: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Future:
    """The next steps of the first D features of the input sequence: (steps, D) numbers in the user's units.

    Args:
        names: of the D features.
        steps: number of steps to forecast, the horizon H.
        duration: of a step, in `duration_unit`; None where the data has no times.
        inputs: names of all features of the input, those that are forecast first; (): no others.
        known: number of the last features of the input that are known in advance. They are read H steps early: step t
            of a window has their value at t + H, so the last H steps of a window, which has at least as many, have
            their values at the steps that are forecast.
        every: frames of a recording from one step to the next; windows begin at any frame.
        skeleton: of motion, the joints whose pose the features are; None of other recordings.
        season: steps of a season; None where there is none.
        time_steps: of series in a table; None of other recordings.
    """

    sample_noun: ClassVar[str] = "windows"  # what the samples are

    names: tuple[str, ...]
    steps: int
    duration: float | None = None
    duration_unit: str = ""
    inputs: tuple[str, ...] = ()
    known: int = 0
    every: int = 1
    skeleton: Skeleton | None = None
    season: int | None = None
    time_steps: TimeSteps | None = None

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of all features of the input."""
        return self.inputs or self.names


@dataclass(frozen=True, kw_only=True)
class Actions:
    """An action for each observation of a world. No action is the true one: a policy is measured by its rewards.

    Args:
        moves: rows and columns by which each action moves on the board, for drawings; empty without a board.
        board: rows of the board, one character for each cell: "." and "S" are states in which the agent acts, "#" is a
            wall, any other letter ends the episode; empty without a board.
    """

    noun: ClassVar[str] = "action"
    acting: ClassVar[str] = ".S"  # cells of the board in which the agent acts

    names: tuple[str, ...]
    moves: tuple[tuple[int, int], ...] = ()
    board: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Several:
    """Several targets of each sample, by name.

    The ground truth of a sample is one row of float64: the columns of the first target, then of the second, and so on.
    """

    parts: Mapping[str, Classes | Labels | Numbers]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the targets."""
        return tuple(self.parts)

    @property
    def columns(self) -> dict[str, slice]:
        """Columns of each target in the ground truth: one of classes, else one for each label or number."""
        columns, start = {}, 0
        for name, part in self.parts.items():
            width = 1 if isinstance(part, Classes) else len(part.names)
            columns[name] = slice(start, start + width)
            start += width
        return columns


Scenic = PixelClasses | PixelNumbers | Boxes  # targets inside a sample: the ground truth is an `Annotations`
Target = Classes | Labels | Numbers | PixelClasses | PixelNumbers | Boxes | Several | Actions | Future


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Specification of a dataset: the contract between data and model, saved with every run."""

    name: str
    inputs: Mapping[str, Input]
    target: Target | None
    sizes: Mapping[str, int] = field(default_factory=dict)  # samples of each split

    @property
    def input(self) -> Input:
        """The only input, or the first of several."""
        return next(iter(self.inputs.values()))

    def with_input(self, name: str) -> Spec:
        """The spec with one of several inputs."""
        return replace(self, inputs={name: self.inputs[name]})

    @property
    def has_training_views(self) -> bool:
        """Whether the report shows the model in training (`Task.training_views`), so that runs store snapshots."""
        return bool(self.input.grid)

    @property
    def modality(self) -> Modality:
        """Modality of the first input."""
        return self.input.modality

    @property
    def counted(self) -> str:
        """What `counts` of the target counts: samples, objects, or places such as pixels."""
        default = f"{self.input.place}s" if isinstance(self.target, PixelClasses) else "samples"
        return getattr(self.target, "counted", default)


def names_of(target: Target | None) -> tuple[object, ...] | None:
    """Names of the classes or numbers of a target; of several targets their names, and those of each; of a future also
    the duration of its steps.
    """
    if isinstance(target, Several):
        return tuple((name, part.names) for name, part in target.parts.items())
    if isinstance(target, Future) and target.duration is not None:
        return (*target.names, f"steps of {target.duration:.3g} {target.duration_unit}".rstrip())
    return None if target is None else target.names


def as_stored(current: Spec, stored: Spec) -> Spec:
    """The current spec of a dataset without the fields that an older stored spec lacks."""
    old = {name for name, input in stored.inputs.items() if input.typical_size is None}
    target = current.target
    if isinstance(target, Numbers) and isinstance(stored.target, Numbers) and not stored.target.lowest:
        target = replace(target, lowest=(), highest=())
    if isinstance(target, Future) and isinstance(stored.target, Future) and stored.target.skeleton is None:
        target = replace(target, skeleton=None)
    return replace(
        current,
        target=target,
        inputs={n: replace(input, typical_size=None) if n in old else input for n, input in current.inputs.items()},
    )


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Preprocessing from files to model inputs; saved with the model.

    `size` is (height, width) in pixels; None keeps the size of the source. Values keep the depth of the source.
    `nodata` is the value of pixels without data in images of more than 8 bits, which get the median of the others.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    resample: Literal["nearest", "bilinear", "bicubic"] = "bilinear"
    pages: Literal["first", "max", "each"] | None = None
    nodata: float | None = None

    def __post_init__(self) -> None:
        height, width = self.size or (1, 1)
        if min(height, width) < 1 or height * width > MAX_PIXELS or not 1 <= (self.channels or 1) <= MAX_CHANNELS:
            raise ValueError(f"images of {width}x{height} pixels in {self.channels} channels cannot be read")

"""Data formats on disk, one file each. The first format that recognises a path opens it.

To add a format: one file here with `NAME`, `recognises` and `open_raw`, and its line in `FORMATS`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from snellen.data.dataset import RawDataset
from snellen.data.formats.file_names import is_image_name
from snellen.data.splits import ROUNDING

Pages = Literal["first", "max", "each"]
ArrayModality = Literal["image", "sequence", "clip", "volume", "points"]
CONSECUTIVE = "consecutive"  # as the group: runs of near-identical consecutive rows
NO_TARGET = ("none",)  # as the target: the samples have none
FUTURE = "future"  # as the target: the next steps of the input
SURFACE = "surface"  # as the target: the colour at a position of one image
_TARGETS = {"forecast": (FUTURE,)}
_WITHOUT_TARGET = ("cluster", "generate")  # tasks


@dataclass(frozen=True, kw_only=True)
class OpenOptions:
    """Options for opening a dataset, besides its path.

    Args:
        format: read the path in this format instead of recognising it.
        target: columns or arrays that hold the target; for recordings, a pattern of file names such as "{word}_*".
        inputs: columns of a table that are the inputs, of which an image and others are several; (): by the format.
        sequence_id, time: columns of a table whose rows are the steps of sequences.
        row_steps: steps of the sequence in each row of a table; None: a row is one vector, or one step.
        group: a column, a pattern of file names such as "{slide}_*", "exif" or "consecutive"; a group never crosses a
            split.
        impute: "median" fills missing cells of numeric columns.
        modality: how to read arrays of three axes or more, see `formats/array_layout.py`.
        horizon: number of steps to forecast; window: number of steps before them that the model reads; stride: steps
            between the starts of two windows.
        future: the target is the future, whatever columns are named; given by the task forecast.
        known: columns of a table of time series that are known in advance.
        calendar: whether the features of its calendar are inputs; None: yes, where its times are dates.
        season: steps of a season; None: by the duration of a step, or by autocorrelation.
        gaps: what is done at missing steps; None: they are an error. max_gap: steps that are interpolated, at most.
        resample: of time series in a table, the period whose mean is one step, such as "1d"; of motion, frames per
            second.
        frame_rate: frames per second of motion whose files do not state it; pose: the features of motion; skeleton: an
            .asf, .bvh or .csv file with its joints.
        pages: how to read a multi-page image: the first page, the maximum over pages, or one sample a page.
        nodata: value of pixels without data in images of more than 8 bits; "none": no value is doubted.
        quarantine: skip bad samples and write them to a list instead of stopping.
        allow_skipped: let quarantine skip more than 1% of the samples.
        full: check the contents and duplicates of all images, however many.
        folds: number of cross-validation folds; fold: which of them is the test split.
        mesh_points: points of the cloud that is sampled from each mesh; None: 1024.
        mesh_samples: clouds sampled from each mesh; None: one.
        rounding: version of the rounding of generated splits; 1 is that of runs before version 2.
        optional_target: for a task without a target: data without one is opened too, and no number is the target that
            none was named. A class is: it is compared with the clusters.
        surface_side: longer side in pixels to which an image is reduced that is fitted as a surface; None: 128.
        sample_rate: samples per second to which recordings are resampled; None: all files need one rate.
    """

    format: str | None = None
    target: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    sequence_id: str | None = None
    time: str | None = None
    row_steps: int | None = None
    group: str | None = None
    impute: str | None = None
    modality: ArrayModality | None = None
    horizon: int | None = None
    window: int | None = None
    stride: int | None = None
    future: bool = False
    known: tuple[str, ...] = ()
    calendar: bool | None = None
    season: int | None = None
    gaps: Literal["interpolate", "split"] | None = None
    max_gap: int | None = None
    resample: str | None = None
    frame_rate: float | None = None
    pose: Literal["angles", "positions"] | None = None
    skeleton: str | None = None
    pages: Pages | None = None
    nodata: float | Literal["none"] | None = None
    quarantine: bool = False
    allow_skipped: bool = False
    full: bool = False
    folds: int | None = None
    fold: int = 0
    rounding: Literal[1, 2] = ROUNDING
    mesh_points: int | None = None
    mesh_samples: int | None = None
    surface_side: int | None = None
    sample_rate: int | None = None
    optional_target: bool = False

    @property
    def wants_future(self) -> bool:
        """Whether the target is the future of a recording."""
        counts = (self.horizon, self.window, self.stride)
        return (
            self.target == (FUTURE,) or self.future or any(n is not None for n in (*counts, *self.of_series.values()))
        )

    @property
    def of_series(self) -> dict[str, object]:
        """The options of time series in a table, by flag; None where not given."""
        return {
            "known": self.known or None,
            "calendar": self.calendar,
            "season": self.season,
            "gaps": self.gaps,
            "max-gap": self.max_gap,
            "resample": self.resample,
        }


def target_of_task(task: str | None, data: object) -> tuple[str, ...]:
    """The target that the name of a task gives for a path, for `OpenOptions.target`; () of all other tasks."""
    if task == "regress" and isinstance(data, str | Path) and is_image_file(data):
        return (SURFACE,)
    return _TARGETS.get(task or "", ())


def is_image_file(path: str | Path) -> bool:
    """Whether a path is one file with the suffix of an image."""
    return is_image_name(os.path.basename(path)) and os.path.isfile(os.path.expanduser(path))


def options_of_task(task: str | None, data: object) -> OpenOptions:
    """How a path is opened for a task, or for any (None)."""
    return OpenOptions(
        target=target_of_task(task, data), optional_target=needs_no_target(task), future=is_future_task(task)
    )


def is_future_task(task: str | None) -> bool:
    """Whether the target of a task is the future of its input, for `OpenOptions.future`."""
    return _TARGETS.get(task or "") == (FUTURE,)


def needs_no_target(task: str | None) -> bool:
    """Whether the name is that of a task without a target, for `OpenOptions.optional_target`."""
    return task in _WITHOUT_TARGET


class Format(NamedTuple):
    """A data format. `recognises` reads names, and at most the start of some files: it takes milliseconds.

    any_depth: whether it recognises data below further folders, whose names then become a part of the result.
    future: whether its target is the future of a recording (`OpenOptions.wants_future`): only such formats are tried
        then, and they are named by `--data-format` otherwise.
    for_target: the target for which the format is tried; "": for any. It may be named by `--data-format` as well.
    """

    name: str
    recognises: Callable[[Path], bool]
    open_raw: Callable[[Path, OpenOptions], RawDataset]
    any_depth: bool = False
    future: bool = False
    for_target: str = ""


def formats() -> dict[str, Format]:
    """All formats by name, the most specific first."""
    from snellen.data.formats import (
        array_inputs,
        audio_folder,
        cifar,
        coco,
        idx,
        image_folder,
        image_mask,
        image_surface,
        json_sequences,
        labelme,
        mesh_folder,
        motion,
        recordings,
        sequence_folder,
        table,
        voc,
        yolo,
    )

    known = (
        idx.FORMAT,
        cifar.FORMAT,
        array_inputs.FORMAT,
        coco.FORMAT,
        voc.FORMAT,
        labelme.FORMAT,
        yolo.FORMAT,
        json_sequences.FORMAT,
        table.FORMAT,
        mesh_folder.FORMAT,
        audio_folder.FORMAT,
        image_mask.FORMAT,
        image_folder.FORMAT,
        motion.FORMAT,
        sequence_folder.FORMAT,
        recordings.FORMAT,
        image_surface.FORMAT,
    )
    return {format.name: format for format in known}

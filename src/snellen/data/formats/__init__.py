"""One file per way in which data lies on a disk. The first format that recognises a path opens it.

To add a format: one file here with `NAME`, `recognises` and `open_raw`, and its line in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from snellen.data.dataset import RawDataset

Pages = Literal["first", "max", "each"]


@dataclass(frozen=True, kw_only=True)
class OpenOptions:
    """What the user said about the data beside its path.

    Args:
        format: take the path for this format instead of recognising it.
        target: the columns or arrays that are the target.
        group: a column, or a pattern of file names such as "{slide}_*"; a group never crosses a split.
        impute: "median" fills missing cells of numbers.
        pages: what a stack of pages means: its first, the largest value at each place, or a sample each.
        quarantine: leave bad samples out and write them to a list instead of stopping.
        allow_loss: quarantine may leave out more than one sample in a hundred.
        full: look at the contents and copies of all pictures, however many.
        folds: into how many parts to divide the data, each of which is the test split once; fold: which one is now.
    """

    format: str | None = None
    target: tuple[str, ...] = ()
    group: str | None = None
    impute: str | None = None
    pages: Pages | None = None
    quarantine: bool = False
    allow_skipped: bool = False
    full: bool = False
    folds: int | None = None
    fold: int = 0


class Format(NamedTuple):
    """`recognises` looks at names, at most at the start of a file or two, and answers in milliseconds."""

    name: str
    recognises: Callable[[Path], bool]
    open_raw: Callable[[Path, OpenOptions], RawDataset]


def formats() -> dict[str, Format]:
    """All formats by name, the most telling first."""
    from snellen.data.formats import arrays, cifar, coco, idx, image_folder, image_mask, table, voc, yolo

    known = (
        idx.FORMAT,
        cifar.FORMAT,
        arrays.FORMAT,
        coco.FORMAT,
        voc.FORMAT,
        yolo.FORMAT,
        table.FORMAT,
        image_mask.FORMAT,
        image_folder.FORMAT,
    )
    return {format.name: format for format in known}

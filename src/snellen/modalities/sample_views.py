"""View of single samples: recordings of sound, an image grid where their modality draws them, else a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from snellen.core.spec import Column
from snellen.core.views import AnnotatedImage, Cell, ImageGrid, Sound, Table
from snellen.data.dataset import Dataset, Labelled
from snellen.data.source import ArraySource
from snellen.modalities import modality_of
from snellen.nn.layers import robust_range

MAX_COLUMNS = 8  # of a table whose values are shown


def samples_view(
    data: Dataset[Labelled],
    ids: Sequence[int],
    remarks: Sequence[str],
    title: str,
    caption: str,
    remark_column: str = "error",
    good: bool | None = False,
) -> ImageGrid | Sound | Table:
    """Samples, each with its name and a remark: as sound, images, or rows with the values of their columns.

    Args:
        ids: of the samples, in their order; the first of them, if the modality limits their number.
        remarks: one for each. remark_column: their heading in a table.
        good: whether the predictions are right, which selects the frame of images; None: neither.
    """
    modality = modality_of(data.spec)
    ids, remarks = ids[: modality.max_shown], remarks[: modality.max_shown]
    names = [data.name(i) for i in ids]
    if modality.sound is not None:
        clips = []
        for i, name, remark in zip(ids, names, remarks, strict=True):
            sample = data.image(i)
            below = f"{remark}\n{name}{modality.label(sample, data.spec.input)}"
            clips.append(modality.sound(sample, data.spec.input, below, good))
        return Sound(title=title, items=clips, caption=f"{caption} {modality.drawing_note}".rstrip())
    if modality.draw is not None:
        items = []
        for i, name, remark in zip(ids, names, remarks, strict=True):
            sample = data.image(i)
            x = modality.draw(sample, data.spec.input)
            low, high = data.value_range or ((0.0, 255.0) if x.dtype == torch.uint8 else robust_range(x.double()))
            below = f"{remark}\n{name}{modality.label(sample, data.spec.input)}"
            items.append(AnnotatedImage(values=x, low=low, high=high, caption=below, good=good))
        return ImageGrid(title=title, items=items, caption=f"{caption} {modality.drawing_note}".rstrip())
    columns = data.spec.input.columns if data.spec.input.axes == ("feature",) else ()
    shown = columns[:MAX_COLUMNS]
    if len(columns) > MAX_COLUMNS:
        caption += f" Columns: the first {MAX_COLUMNS} of {len(columns)}."
    rows: list[list[Cell]] = [
        [name, remark, *row_cells(data, i, shown)] for i, name, remark in zip(ids, names, remarks, strict=True)
    ]
    return Table(title=title, columns=["sample", remark_column, *(c.name for c in shown)], rows=rows, caption=caption)


def row_cells(data: Dataset[Labelled], id: int, columns: Sequence[Column]) -> list[Cell]:
    """Values of the first columns of a row: numbers, names of categories, and "missing" where one was imputed."""
    if not columns:
        return []
    array = np.asarray(data.source.read(np.array([id]), data.preprocessing)[0])
    values = array.tolist()
    missing = (
        data.source.missing[id] if isinstance(data.source, ArraySource) and data.source.missing is not None else ()
    )
    cells: list[Cell] = []
    start = 0
    for column in columns:
        part = values[start : start + column.width]
        if column.categories is not None:
            cells.append(column.categories[part.index(max(part))])
        else:
            cells.append("missing" if len(missing) and missing[start] else _shortest(array[start]))
        start += column.width
    return cells


def _shortest(value: np.generic) -> str:
    """A number with as few digits as its dtype needs: 0.1 of float32 is no 0.1000000015."""
    return f"{float(str(value)) if isinstance(value, np.floating) else value.item():.10g}"

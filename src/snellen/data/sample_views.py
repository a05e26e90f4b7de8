"""View of single samples: an image grid, or a table with the values of the rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from snellen.core.spec import Column, Modality
from snellen.core.views import AnnotatedImage, Cell, ImageGrid, Table
from snellen.data.dataset import Dataset, Labelled
from snellen.data.source import ArraySource
from snellen.nn.audio import LogMel
from snellen.nn.layers import robust_range

MAX_COLUMNS = 8  # of a table whose values are shown
WINDOW, HOP = 0.032, 0.008  # seconds, of the spectrogram that is drawn
BANDS, MAX_FRAMES = 64, 400  # its height and its largest width
DYNAMIC_RANGE = 6 * math.log(10)  # 60 dB, as natural logarithms of powers


def samples_view(
    data: Dataset[Labelled], ids: Sequence[int], remarks: Sequence[str], title: str, caption: str
) -> ImageGrid | Table:
    """Samples, each with its name and a remark: images, or the rows of a table with the values of their columns.

    Args:
        ids: of the samples, in their order.
        remarks: one for each.
    """
    names = [data.name(i) for i in ids]
    draw = DRAWINGS.get(data.spec.modality)
    if draw is not None:
        items = []
        for i, name, remark in zip(ids, names, remarks, strict=True):
            values, (low, high), label = draw(data, i)
            below = f"{remark}\n{name}{label}"
            items.append(AnnotatedImage(values=values, low=low, high=high, caption=below, good=False))
        return ImageGrid(
            title=title, items=items, caption=f"{caption} {DRAWING_NOTES.get(data.spec.modality, '')}".rstrip()
        )
    columns = data.spec.input.columns
    shown = columns[:MAX_COLUMNS]
    if len(columns) > MAX_COLUMNS:
        caption += f" Columns: the first {MAX_COLUMNS} of {len(columns)}."
    rows: list[list[Cell]] = [
        [name, remark, *row_cells(data, i, shown)] for i, name, remark in zip(ids, names, remarks, strict=True)
    ]
    return Table(title=title, columns=["sample", "error", *(c.name for c in shown)], rows=rows, caption=caption)


Drawing = tuple[Tensor, tuple[float, float], str]  # (C, H, W) values, those of black and white, the end of the caption


def _draw_image(data: Dataset[Labelled], id: int) -> Drawing:
    x = data.image(id)
    return x, data.value_range or ((0.0, 255.0) if x.dtype == torch.uint8 else robust_range(x.double())), ""


def _draw_recording(data: Dataset[Labelled], id: int) -> Drawing:
    """Log-mel spectrogram of a recording, with low frequencies at the bottom and its duration in the caption."""
    x, rate = data.image(id), data.spec.input.rate or 1.0
    x = x[:1, : int((~x.isnan().any(0)).sum())]
    seconds = x.shape[1] / rate
    hop = max(1, round(max(HOP, seconds / MAX_FRAMES) * rate))
    powers, _ = LogMel(rate, max(8, round(WINDOW * rate)), hop, BANDS)(x / x.std().clamp(min=1e-9))
    high = float(powers.max())
    return powers.flip(1), (high - DYNAMIC_RANGE, high), f", {seconds:.2f} s"


DRAWINGS: Mapping[Modality, Callable[[Dataset[Labelled], int], Drawing]] = {
    "image": _draw_image,
    "audio": _draw_recording,
}
DRAWING_NOTES: Mapping[Modality, str] = {  # what is drawn, where it is not the sample itself
    "audio": "Log-mel spectrograms: time from left to right, frequency upwards, the range of brightness is 60 dB."
}


def row_cells(data: Dataset[Labelled], id: int, columns: Sequence[Column]) -> list[Cell]:
    """Values of the first columns of a row: numbers, names of categories, and "missing" where one was imputed."""
    if not columns:
        return []
    values = data.source.read(np.array([id]), data.preprocessing)[0].tolist()
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
            cells.append("missing" if len(missing) and missing[start] else f"{part[0]:.10g}")
        start += column.width
    return cells

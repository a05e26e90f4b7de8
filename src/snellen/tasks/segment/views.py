"""What the report shows of a segmenter: a function of what it said of a split."""

from __future__ import annotations

import torch
from torch import Tensor

from snellen.core.spec import PixelClasses, Spec
from snellen.core.task import Predictions
from snellen.core.views import AnnotatedImage, Cell, ImageGrid, Matrix, Table, View
from snellen.data.dataset import Dataset, Labelled
from snellen.data.worst_maps import kept
from snellen.metrics import segmentation
from snellen.nn.layers import robust_range

MOST_IN_MATRIX = 25  # classes; beyond, the most confused ones are shown


def worst(errors: Tensor, count: int) -> Tensor:
    """(N,) errors to the rows of the pictures with any, worst first."""
    order = torch.argsort(errors, descending=True, stable=True)[:count]
    return order[errors[order] > 0]


def views(said: Predictions, data: Dataset[Labelled], spec: Spec) -> list[View]:
    """The worst pictures, the classes, what was taken for what."""
    assert isinstance(spec.target, PixelClasses)
    names = spec.target.names
    table = said["confusion"].long().sum(0)
    return [*_worst(said, data, names), _classes(said["confusion"], names), _matrix(table, names)]


def _worst(said: Predictions, data: Dataset[Labelled], names: tuple[str, ...]) -> list[View]:
    """Picture, truth and answer beside each other."""
    maps, each = kept(said["sizes"], said["maps"]), segmentation.ious(segmentation.sums(said["confusion"]))
    there = said["truth"] > 0
    mean = torch.where(there, each, 0.0).sum(1) / there.sum(1)
    items = []
    assert data.annotations is not None
    for row in sorted(maps, key=lambda row: float(mean[row])):
        id = int(said["ids"][row])
        x, true = data.picture(id), data.annotations.of(id)
        assert isinstance(true, Tensor)
        low, high = data.value_range or ((0.0, 255.0) if x.dtype == torch.uint8 else robust_range(x.double()))
        value = float(mean[row])
        caption = f"mean IoU {100 * value:.1f} %" if value == value else "without a truth"
        lowest = torch.where(there[row], each[row], torch.inf).argmin()
        if int(there[row].sum()) > 1:
            caption += f", {names[int(lowest)]} {100 * float(each[row, lowest]):.1f} %"
        beside = (
            AnnotatedImage(values=x, low=low, high=high, classes=true, caption="truth"),
            AnnotatedImage(values=x, low=low, high=high, classes=maps[row][0].long(), caption="answer"),
        )
        items.append(AnnotatedImage(values=x, low=low, high=high, caption=f"{caption}\n{data.name(id)}", beside=beside))
    if not items:
        return []
    legend = tuple((name, k) for k, name in enumerate(names))
    return [
        ImageGrid(
            title="Worst pictures",
            items=items,
            legend=legend,
            caption="Picture, truth, answer: those with the lowest mean IoU over the classes they have.",
        )
    ]


def _classes(tables: Tensor, names: tuple[str, ...]) -> Table:
    right, there, told = segmentation.sums(tables).sum(0)
    table = tables.long().sum(0)
    rows: list[list[Cell]] = []
    for k, name in enumerate(names):
        figure = segmentation.measured(tables, lambda parts, k=k: segmentation.ious(parts)[..., k], "")  # type: ignore[misc]
        others = table[k].clone()
        others[k] = 0
        taken = names[int(others.argmax())] if int(others.max()) else ""
        rows.append(
            [
                name,
                _share(there[k], there.sum()),
                None if figure.value is None else str(figure),
                _share(right[k], there[k]),
                _share(right[k], told[k]),
                taken,
            ]
        )
    columns = ["class", "of all pixels", "IoU", "recall", "precision", "most taken for"]
    return Table(
        title="Classes",
        columns=columns,
        rows=rows,
        caption="± is half of the 95 % interval over pictures, by the bootstrap.",
    )


def _share(part: Tensor, of: Tensor) -> str | None:
    return f"{100 * float(part / of):.1f} %" if float(of) else None


def _matrix(table: Tensor, names: tuple[str, ...]) -> Matrix:
    caption = "Of the pixels of a class, in per cent."
    if len(names) > MOST_IN_MATRIX:
        errors = table.sum(1) + table.sum(0) - 2 * table.diagonal()
        chosen = torch.sort(torch.argsort(errors, descending=True)[:MOST_IN_MATRIX]).values
        caption = f"{caption} The {MOST_IN_MATRIX} most confused of {len(names)} classes."
        table, names = table[chosen][:, chosen], tuple(names[int(k)] for k in chosen)
    shares = 100 * table.double() / table.sum(1, keepdim=True).clamp(min=1)
    values = [[round(value, 1) for value in row] for row in shares.tolist()]
    return Matrix(
        title="Confusion matrix", rows=names, columns=names, values=values, x="said", y="true", caption=caption
    )

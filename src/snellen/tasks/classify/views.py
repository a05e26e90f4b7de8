"""What the report shows of a classifier: a function of what it said of a split."""

from __future__ import annotations

import torch
from torch import Tensor

from snellen.core.spec import Classes, Labels, Spec
from snellen.core.task import Predictions
from snellen.core.views import AnnotatedImage, Cell, ImageGrid, Matrix, Plot, Series, Table, View
from snellen.data.dataset import Dataset, Labelled
from snellen.metrics.classification import calibration, confusion
from snellen.metrics.intervals import wilson
from snellen.nn.layers import robust_range

WORST = 24
MOST_IN_MATRIX = 40  # classes; beyond, the most confused ones are shown


def views(said: Predictions, data: Dataset[Labelled], spec: Spec) -> list[View]:
    """Confusion matrix, classes with intervals, calibration, worst errors."""
    if isinstance(spec.target, Labels):
        return [_labels(said, spec.target), *_worst_labels(said, data, spec.target)]
    assert isinstance(spec.target, Classes)
    names = spec.target.names
    scores, truth = said["scores"], said["truth"]
    table = confusion(truth, scores.argmax(1), len(names))
    shown: list[View] = [_matrix(table, names), _classes(table, names)]
    if bool(said["probabilistic"]):
        shown.append(_calibration(scores, truth))
    return [*shown, *_worst(said, data, names)]


def worst(said: Predictions, count: int = WORST) -> Tensor:
    """Rows of the wrong answers with the highest score over the truth, worst first."""
    scores, truth = said["scores"], said["truth"]
    if truth.ndim == 2:
        losses = torch.nn.functional.binary_cross_entropy_with_logits(scores, truth, reduction="none").sum(1)
        wrong = ((scores > 0) != (truth > 0.5)).any(1)
    else:
        losses = scores.max(1).values - scores.gather(1, truth[:, None])[:, 0]
        wrong = scores.argmax(1) != truth
    order = torch.argsort(torch.where(wrong, losses, -torch.inf), descending=True)[:count]
    return order[wrong[order]]


def _matrix(table: Tensor, names: tuple[str, ...]) -> Matrix:
    caption = ""
    if len(names) > MOST_IN_MATRIX:
        errors = table.sum(1) - table.diagonal() + table.sum(0) - table.diagonal()
        chosen = torch.sort(torch.argsort(errors, descending=True)[:MOST_IN_MATRIX]).values
        caption = f"The {MOST_IN_MATRIX} most confused of {len(names)} classes."
        table, names = table[chosen][:, chosen], tuple(names[int(k)] for k in chosen)
    return Matrix(
        title="Confusion matrix", rows=names, columns=names, values=table.tolist(), x="said", y="true", caption=caption
    )


def _classes(table: Tensor, names: tuple[str, ...]) -> Table:
    rows: list[list[Cell]] = []
    for k, name in enumerate(names):
        right, count, said = int(table[k, k]), int(table[k].sum()), int(table[:, k].sum())
        recall = _share(right, count)
        precision = _share(right, said)
        others = table[k].clone()
        others[k] = 0
        taken = f"{names[int(others.argmax())]} ({int(others.max())})" if int(others.max()) else ""
        rows.append([name, count, recall, precision, taken])
    return Table(
        title="Classes",
        columns=["class", "samples", "recall", "precision", "most taken for"],
        rows=rows,
        caption="± is half of the 95 % interval over samples (Wilson).",
    )


def _share(right: int, count: int) -> str | None:
    if not count:
        return None
    low, high = wilson(right, count)
    return f"{100 * right / count:.1f} ± {50 * (high - low):.1f} %"


def _calibration(scores: Tensor, truth: Tensor) -> Plot:
    confidence, answer = scores.double().softmax(1).max(1)
    rows, error = calibration(confidence, answer == truth)
    intervals = [wilson(round(found * count), count) for _, found, count in rows]
    return Plot(
        title="Calibration",
        x="confidence said",
        y="share right",
        style="points",
        diagonal=True,
        series=[
            Series(
                name="test",
                x=[r[0] for r in rows],
                y=[r[1] for r in rows],
                low=[i[0] for i in intervals],
                high=[i[1] for i in intervals],
            )
        ],
        caption=f"On the line it is as right as it says. Expected calibration error {100 * error:.1f} %.",
    )


def _worst(said: Predictions, data: Dataset[Labelled], names: tuple[str, ...]) -> list[View]:
    rows = worst(said)
    if not len(rows):
        return []
    scores, truth, ids = said["scores"][rows], said["truth"][rows], said["ids"][rows]
    sure = scores.double().softmax(1).max(1).values.tolist() if bool(said["probabilistic"]) else [None] * len(rows)
    captions = []
    for answer, true, share in zip(scores.argmax(1).tolist(), truth.tolist(), sure, strict=True):
        captions.append(f"{names[true]} taken for {names[answer]}" + (f" ({share:.0%})" if share is not None else ""))
    return [_with_inputs("Worst errors", data, ids, captions)]


def _worst_labels(said: Predictions, data: Dataset[Labelled], target: Labels) -> list[View]:
    rows = worst(said)
    captions = []
    for score, true in zip(said["scores"][rows] > 0, said["truth"][rows] > 0.5, strict=True):
        missed = [n for n, s, t in zip(target.names, score.tolist(), true.tolist(), strict=True) if t and not s]
        added = [n for n, s, t in zip(target.names, score.tolist(), true.tolist(), strict=True) if s and not t]
        captions.append(
            "; ".join(
                filter(
                    None,
                    [f"missed {', '.join(missed)}" if missed else "", f"added {', '.join(added)}" if added else ""],
                )
            )
        )
    return [_with_inputs("Worst errors", data, said["ids"][rows], captions)] if len(rows) else []


def _with_inputs(title: str, data: Dataset[Labelled], ids: Tensor, captions: list[str]) -> View:
    """Pictures where the inputs are pictures, else a table of names."""
    names = [data.name(i) for i in ids.tolist()]
    if data.spec.modality != "image":
        return Table(title=title, columns=["sample", "error"], rows=list(map(list, zip(names, captions, strict=True))))
    items = []
    for i, name, caption in zip(ids.tolist(), names, captions, strict=True):
        x = data.picture(i)
        low, high = data.value_range or ((0.0, 255.0) if x.dtype == torch.uint8 else robust_range(x.double()))
        items.append(AnnotatedImage(values=x, low=low, high=high, caption=f"{caption}\n{name}", good=False))
    return ImageGrid(title=title, items=items, caption="The wrong answers the model was surest of.")


def _labels(said: Predictions, target: Labels) -> Table:
    answer, truth = said["scores"] > 0, said["truth"] > 0.5
    rows: list[list[Cell]] = []
    for k, name in enumerate(target.names):
        right = int((answer[:, k] & truth[:, k]).sum())
        count, told = int(truth[:, k].sum()), int(answer[:, k].sum())
        rows.append([name, count, _share(right, count), _share(right, told)])
    return Table(
        title="Labels",
        columns=["label", "samples", "recall", "precision"],
        rows=rows,
        caption="± is half of the 95 % interval over samples (Wilson).",
    )

"""Report views of a classifier: confusion matrix, classes, calibration, worst errors."""

from __future__ import annotations

import torch
from torch import Tensor

from snellen.core.spec import Classes, Labels, Spec
from snellen.core.task import Predictions
from snellen.core.views import Cell, Matrix, Metric, Plot, Series, Table, View
from snellen.data.dataset import Dataset, Labelled
from snellen.metrics.classification import accuracy, calibration, confusion_matrix
from snellen.metrics.intervals import wilson_interval
from snellen.modalities import modality_of
from snellen.modalities.breakdowns import breakdown_views
from snellen.modalities.sample_views import samples_view

MAX_WORST = 24
MAX_RIGHT = 3  # of sounds
_LARGEST_MARGIN = "the largest score margin over the true class"
MAX_MATRIX_CLASSES = 40  # with more classes only the most confused are shown


def views(predictions: Predictions, data: Dataset[Labelled], spec: Spec) -> list[View]:
    """Confusion matrix, classes with intervals, calibration, accuracy by length and by group, worst errors."""
    if isinstance(spec.target, Labels):
        exact = ((predictions["scores"] > 0) == (predictions["truth"] > 0.5)).all(1)
        return [
            _labels(predictions, spec.target),
            *breakdown_views(data, predictions["ids"], "exact match", lambda rows: _fraction(exact[rows])),
            *_worst_labels(predictions, data, spec.target),
        ]
    assert isinstance(spec.target, Classes)
    names = spec.target.names
    scores, truth = predictions["scores"], predictions["truth"]
    table = confusion_matrix(truth, scores.argmax(1), len(names))
    result: list[View] = [_matrix(table, names), _classes(table, names)]
    if bool(predictions["probabilistic"]):
        result.append(_calibration(scores, truth))
    is_right = scores.argmax(1) == truth
    result += breakdown_views(data, predictions["ids"], "accuracy", lambda rows: _fraction(is_right[rows]))
    return [*result, *_worst(predictions, data, names), *_right(predictions, data, names)]


def _fraction(is_right: Tensor) -> Metric:
    return accuracy(is_right, torch.ones_like(is_right))


def worst(predictions: Predictions, count: int = MAX_WORST) -> Tensor:
    """Rows of the wrong predictions, the highest predicted probability first, then in the order of the samples.

    Of several labels, the probability is that of the wrong label whose prediction is the most confident. Scores that
    are no probabilities are ordered by their margin over the true class.
    """
    scores, truth = predictions["scores"].double(), predictions["truth"]
    if truth.ndim == 2:
        confidence = torch.where((scores > 0) != (truth > 0.5), scores.abs(), -torch.inf).max(1).values
        is_wrong = confidence > -torch.inf
    else:
        predicted = scores.argmax(1, keepdim=True)
        is_wrong = predicted[:, 0] != truth
        others = scores.scatter(1, predicted, -torch.inf)
        confidence = scores.max(1).values - others.logsumexp(1)  # log-odds: probabilities near 1 would be equal
        if not bool(predictions["probabilistic"]):
            confidence = scores.max(1).values - scores.gather(1, truth[:, None])[:, 0]
    order = torch.argsort(torch.where(is_wrong, confidence, -torch.inf), descending=True, stable=True)[:count]
    return order[is_wrong[order]]


def _matrix(table: Tensor, names: tuple[str, ...]) -> Matrix:
    caption = ""
    if len(names) > MAX_MATRIX_CLASSES:
        errors = table.sum(1) - table.diagonal() + table.sum(0) - table.diagonal()
        classes = torch.sort(torch.argsort(errors, descending=True)[:MAX_MATRIX_CLASSES]).values
        caption = f"The {MAX_MATRIX_CLASSES} most confused of {len(names)} classes."
        table, names = table[classes][:, classes], tuple(names[int(k)] for k in classes)
    return Matrix(
        title="Confusion matrix",
        rows=names,
        columns=names,
        values=table.tolist(),
        x="predicted class",
        y="true class",
        caption=caption,
    )


def _classes(table: Tensor, names: tuple[str, ...]) -> Table:
    rows: list[list[Cell]] = []
    for k, name in enumerate(names):
        correct, count, predicted_count = int(table[k, k]), int(table[k].sum()), int(table[:, k].sum())
        recall = _percent(correct, count)
        precision = _percent(correct, predicted_count)
        others = table[k].clone()
        others[k] = 0
        confused_with = f"{names[int(others.argmax())]} ({int(others.max())})" if int(others.max()) else ""
        rows.append([name, count, recall, precision, confused_with])
    return Table(
        title="Classes",
        columns=["class", "samples", "recall", "precision", "most confused with"],
        rows=rows,
        caption="± is half the width of the 95 % confidence interval over samples (Wilson), which is not centred on "
        "the value.",
    )


def _percent(correct: int, count: int) -> str | None:
    if not count:
        return None
    low, high = wilson_interval(correct, count)
    return f"{100 * correct / count:.1f} ± {50 * (high - low):.1f} %"


def _calibration(scores: Tensor, truth: Tensor) -> Plot:
    confidence, predicted = scores.double().softmax(1).max(1)
    rows, error = calibration(confidence, predicted == truth)
    intervals = [wilson_interval(round(accuracy * count), count) for _, accuracy, count in rows]
    return Plot(
        title="Calibration",
        x="confidence",
        y="accuracy",
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
        caption="On the diagonal, confidence equals accuracy. Expected calibration error (ECE, 15 bins) "
        f"{100 * error:.1f} %.",
    )


def _worst(predictions: Predictions, data: Dataset[Labelled], names: tuple[str, ...]) -> list[View]:
    rows = worst(predictions)
    if not len(rows):
        return []
    captions, ids = _captions(predictions, rows, names), predictions["ids"][rows]
    order = "the highest predicted probability" if bool(predictions["probabilistic"]) else _LARGEST_MARGIN
    return [samples_view(data, ids.tolist(), captions, "Worst errors", f"The wrong predictions, {order} first.")]


def _right(predictions: Predictions, data: Dataset[Labelled], names: tuple[str, ...]) -> list[View]:
    """A few right predictions of sounds, of different classes: what the errors are to be compared with."""
    is_right = predictions["scores"].argmax(1) == predictions["truth"]
    if modality_of(data.spec).sound is None or not bool(is_right.any()):
        return []
    rows = torch.nonzero(is_right)[:, 0]
    rows = rows[torch.argsort(predictions["truth"][rows], stable=True)]
    rows = rows[torch.linspace(0, len(rows) - 1, min(MAX_RIGHT, len(rows))).round().long()]
    captions, ids = _captions(predictions, rows, names), predictions["ids"][rows].tolist()
    return [samples_view(data, ids, captions, "Right predictions", "Some of the right predictions.", good=True)]


def _captions(predictions: Predictions, rows: Tensor, names: tuple[str, ...]) -> list[str]:
    """True and predicted class of each row, and its probability, if the model has any."""
    scores, truth = predictions["scores"][rows], predictions["truth"][rows]
    confidences = (
        scores.double().softmax(1).max(1).values.tolist() if bool(predictions["probabilistic"]) else [None] * len(rows)
    )
    return [
        f"{names[true]} predicted as {names[predicted]}"
        + (f" (probability {100 * confidence:.0f} %)" if confidence is not None else "")
        for predicted, true, confidence in zip(scores.argmax(1).tolist(), truth.tolist(), confidences, strict=True)
    ]


def _worst_labels(predictions: Predictions, data: Dataset[Labelled], target: Labels) -> list[View]:
    rows = worst(predictions)
    captions = []
    for score, true in zip(predictions["scores"][rows] > 0, predictions["truth"][rows] > 0.5, strict=True):
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
    if not captions:
        return []
    order = "The wrong predictions, the most confident wrong label first."
    return [samples_view(data, predictions["ids"][rows].tolist(), captions, "Worst errors", order)]


def _labels(predictions: Predictions, target: Labels) -> Table:
    predicted, truth = predictions["scores"] > 0, predictions["truth"] > 0.5
    rows: list[list[Cell]] = []
    for k, name in enumerate(target.names):
        correct = int((predicted[:, k] & truth[:, k]).sum())
        count, predicted_count = int(truth[:, k].sum()), int(predicted[:, k].sum())
        rows.append([name, count, _percent(correct, count), _percent(correct, predicted_count)])
    return Table(
        title="Labels",
        columns=["label", "samples", "recall", "precision"],
        rows=rows,
        caption="± is half the width of the 95 % confidence interval over samples (Wilson), which is not centred on "
        "the value.",
    )

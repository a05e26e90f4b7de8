"""Classification task: one class, or several labels, per sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from snellen.architectures.defaults import default_for, has_pretrained_default
from snellen.core.errors import Diverged
from snellen.core.run import Run
from snellen.core.spec import Classes, Labels, Spec
from snellen.core.task import ExportedModel, Output, PredictionDict, Predictions, Task
from snellen.core.views import Metric
from snellen.data.dataset import Dataset, Labelled
from snellen.metrics import classification
from snellen.tasks.classify import views
from snellen.tasks.classify.diagnosis import DIAGNOSIS
from snellen.tasks.classify.display import DISPLAY
from snellen.tasks.classify.maps import input_maps

RARE_FRACTION = 0.20  # with a class below this fraction of the samples the headline is balanced accuracy


class Classifier(Protocol):
    """Interface of a model of this task."""

    probabilistic: bool
    """Whether the scores are log-probabilities up to a constant (logits of each label, for several labels)."""

    def scores(self, x: Tensor, /) -> Tensor:
        """(B, ...) raw inputs to (B, K) scores; predicted is the class with the highest, or each label above zero."""


def headline(spec: Spec) -> str:
    """Headline metric: accuracy; balanced accuracy where a class is rare; average precision for several labels."""
    if isinstance(spec.target, Labels):
        return "average precision"
    assert isinstance(spec.target, Classes)
    counts = spec.target.counts
    balanced_fraction = 1 / max(len(counts), 1)
    rare = bool(counts) and min(counts) / max(sum(counts), 1) < min(RARE_FRACTION, 0.5 * balanced_fraction)
    return "balanced accuracy" if rare else "accuracy"


def labels_unsupported(spec: Spec) -> str | None:
    """Reason why a learner of one class per sample does not support multi-label data, or None."""
    return None if isinstance(spec.target, Classes) else "predicts one class per sample, not several labels"


def default(spec: Spec) -> str:
    if len(spec.inputs) == 1 and isinstance(spec.target, Classes) and has_pretrained_default(spec):
        return "probe"
    return default_for(spec)


def predict(model: Classifier, data: Dataset[Labelled], split: str, run: Run) -> Predictions:
    """Predict the scores of every sample of a split.

    Returns:
        scores (N, K) float32, truth (N,) or (N, K), ids (N,), probabilistic ().
    Raises:
        Diverged: when a score is not finite; NaN never reaches a comparison.
    """
    scores, truth, ids = [], [], []
    with torch.inference_mode():
        for batch in data.samples(split, run.device).in_order():
            scores.append(model.scores(batch.x).float().cpu())
            truth.append(batch.y.cpu())
            ids.append(batch.ids.cpu())
    all_scores = torch.cat(scores)
    not_finite = torch.nonzero(~torch.isfinite(all_scores).all(1))[:, 0]
    if len(not_finite):
        name = data.name(int(torch.cat(ids)[not_finite[0]]))
        raise Diverged(
            f"{len(not_finite)} of {len(all_scores)} predictions are NaN or infinite, first: {name}",
            "Train with a smaller --lr, and check that sample.",
        )
    return as_predictions(model, all_scores, torch.cat(truth), torch.cat(ids))


def as_predictions(model: Classifier, scores: Tensor, truth: Tensor, ids: Tensor) -> dict[str, Tensor]:
    """Predictions as they are stored, see `predict`."""
    return {
        "scores": scores.float().cpu(),
        "truth": truth.cpu(),
        "ids": ids.cpu(),
        "probabilistic": torch.tensor(model.probabilistic),
    }


def measure(predictions: Predictions, spec: Spec) -> dict[str, Metric]:
    """All metrics of a split; an undefined metric has a reason."""
    scores, truth = predictions["scores"], predictions["truth"]
    if not len(truth):
        return {headline(spec): Metric(value=None, reason="the split is empty")}
    if isinstance(spec.target, Labels):
        return _measure_labels(scores, truth)
    table = classification.confusion_matrix(truth, scores.argmax(1), scores.shape[1])
    metrics = {
        "accuracy": classification.accuracy(truth, scores.argmax(1)),
        "balanced accuracy": classification.balanced_accuracy(table),
        "macro F1": classification.f1_macro(table),
    }
    if scores.shape[1] > 10:
        metrics["top-5 accuracy"] = classification.top_k_accuracy(scores, truth, 5)
    if scores.shape[1] == 2:
        metrics["ROC AUC"] = classification.roc_auc((scores[:, 1] - scores[:, 0]), truth == 1)
    if bool(predictions["probabilistic"]):
        metrics["log loss"] = classification.log_loss(scores, truth)
        confidence, predicted = scores.double().softmax(1).max(1)
        _, error = classification.calibration(confidence, predicted == truth)
        metrics["calibration error"] = Metric(value=error, higher_is_better=False, percent=True)
    else:
        reason = "the model has no probabilities"
        metrics["log loss"] = Metric(value=None, higher_is_better=False, reason=reason)
        metrics["calibration error"] = Metric(value=None, higher_is_better=False, reason=reason)
    return metrics


def _measure_labels(scores: Tensor, truth: Tensor) -> dict[str, Metric]:
    predicted = scores > 0
    correct = predicted == (truth > 0.5)
    true_positive = float((predicted & (truth > 0.5)).sum())
    total = float(predicted.sum() + (truth > 0.5).sum())
    return {
        "average precision": classification.average_precision(scores, truth),
        "micro F1": Metric(value=2 * true_positive / total, percent=True)
        if total
        else Metric(value=None, percent=True, reason="no label is present and none is predicted"),
        "all labels right": classification.accuracy(torch.ones(len(truth)), correct.all(1).float()),
        "labels right": Metric(value=float(correct.double().mean()), percent=True),
    }


def errors(predictions: Predictions, spec: Spec) -> Tensor:
    """Error of each sample, (N,): 0 or 1, weighted by inverse class frequency where the headline is balanced accuracy;
    for several labels the fraction of wrong labels.
    """
    scores, truth = predictions["scores"], predictions["truth"]
    if isinstance(spec.target, Labels):
        return ((scores > 0) != (truth > 0.5)).double().mean(1)
    result = (scores.argmax(1) != truth).double()
    if headline(spec) == "balanced accuracy":
        counts = torch.bincount(truth, minlength=scores.shape[1])
        result = result * (len(truth) / (int((counts > 0).sum()) * counts[truth]))
    return result


def resampled_headline(predictions: Predictions, spec: Spec) -> Callable[[Tensor], Tensor]:
    """Headline metric of resampled samples, a function of (R, n) rows."""
    scores, truth = predictions["scores"], predictions["truth"]
    if isinstance(spec.target, Labels):
        return classification.resampled_average_precision(scores, truth)
    if headline(spec) == "balanced accuracy":
        return classification.resampled_balanced_accuracy(truth, scores.argmax(1), scores.shape[1])
    correct = (scores.argmax(1) == truth).double()
    return lambda rows: correct[rows].mean(1)


def truth(data: Dataset[Labelled], id: int) -> str | list[str]:
    """Ground truth of a sample: its class, or its labels."""
    target, true = data.spec.target, data.truth[id]
    assert isinstance(target, Classes | Labels)
    if isinstance(target, Classes):
        return target.names[int(true)]
    return [name for name, present in zip(target.names, true.tolist(), strict=True) if present > 0.5]


def predict_batch(model: Classifier, x: Tensor, spec: Spec) -> list[PredictionDict]:
    """Predict a batch of raw inputs: {"class", "probabilities"}, {"labels", "probabilities"} or {"class", "scores"}."""
    target = spec.target
    assert isinstance(target, Classes | Labels)
    with torch.inference_mode():
        scores = model.scores(x).double().cpu()
    if not bool(torch.isfinite(scores).all()):
        raise Diverged("A prediction is NaN or infinite", "Train with a smaller --lr, and check that sample.")
    multi_label = isinstance(target, Labels)
    values = scores if not model.probabilistic else scores.sigmoid() if multi_label else scores.softmax(1)
    key = "probabilities" if model.probabilistic else "scores"
    predictions: list[PredictionDict] = []
    for row, value in zip(scores, values.tolist(), strict=True):
        predicted: Any = {"class": target.names[int(row.argmax())]}
        if multi_label:
            predicted = {"labels": [name for name, score in zip(target.names, row.tolist(), strict=True) if score > 0]}
        predictions.append({**predicted, key: dict(zip(target.names, value, strict=True))})
    return predictions


class ExportedClassifier(nn.Module):
    """Classifier for export: scores, and probabilities where the model has them, as named tensors.

    Args:
        multi_label: whether a sample has several labels, each with its own probability.
    """

    def __init__(self, model: Classifier, multi_label: bool) -> None:
        super().__init__()
        self.model = model
        self.multi_label = multi_label

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, ...) raw inputs to "scores" (B, K) and "probabilities" (B, K)."""
        scores = self.model.scores(x)
        if not self.model.probabilistic:
            return {"scores": scores}
        return {"scores": scores, "probabilities": scores.sigmoid() if self.multi_label else scores.softmax(1)}


def export(model: Classifier, spec: Spec) -> ExportedModel:
    target = spec.target
    assert isinstance(target, Classes | Labels)
    names = ("scores", "probabilities") if model.probabilistic else ("scores",)
    return ExportedModel(
        module=ExportedClassifier(model, isinstance(target, Labels)),
        outputs=tuple(Output(name=key, columns=target.names) for key in names),
    )


def correct(predictions: Predictions, spec: Spec) -> Tensor | None:
    """(N,) whether the class with the highest score is the true one; None for labels."""
    if isinstance(spec.target, Labels):
        return None
    return predictions["scores"].argmax(1) == predictions["truth"]


TASK: Task[Dataset[Labelled], Classifier] = Task(
    name="classify",
    question="Which class belongs to each sample?",
    default=default,
    headline=headline,
    validation_score=lambda spec: "" if isinstance(spec.target, Labels) else headline(spec),
    applies_to=lambda spec: isinstance(spec.target, Classes | Labels),
    predict=predict,
    measure=measure,
    predict_batch=predict_batch,
    errors=errors,
    resampled_headline=resampled_headline,
    worst_samples=lambda predictions, spec, count: views.worst(predictions, count),
    truth=truth,
    views=views.views,
    export=export,
    display=DISPLAY,
    correct=correct,
    diagnosis=DIAGNOSIS,
    input_maps=input_maps,
)

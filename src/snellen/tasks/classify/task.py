"""Classify: which class is this, or which labels has it?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from snellen.core.errors import Diverged
from snellen.core.run import Run
from snellen.core.spec import Classes, Labels, Spec
from snellen.core.task import Answer, ExportedModel, Output, Predictions, Task
from snellen.core.views import Metric
from snellen.data.dataset import Dataset, Labelled
from snellen.metrics import classification
from snellen.tasks.classify import views

RARE = 0.20  # a class below this share makes balanced accuracy the headline


class Classifier(Protocol):
    """What a model must answer."""

    probabilistic: bool
    """Whether the scores are log-probabilities up to a constant (logits of each label, for several labels)."""

    def scores(self, x: Tensor, /) -> Tensor:
        """(B, ...) raw inputs to (B, K) scores; the highest is the answer, above zero for each of several labels."""


def headline(spec: Spec) -> str:
    """Accuracy; balanced accuracy where a class is rare; average precision for several labels."""
    if isinstance(spec.target, Labels):
        return "average precision"
    assert isinstance(spec.target, Classes)
    counts = spec.target.counts
    fair = 1 / max(len(counts), 1)
    rare = bool(counts) and min(counts) / max(sum(counts), 1) < min(RARE, 0.5 * fair)
    return "balanced accuracy" if rare else "accuracy"


def one_class(spec: Spec) -> str | None:
    """Why a learner that gives each sample one class refuses the data, or None."""
    return None if isinstance(spec.target, Classes) else "has one class a sample, not several labels"


def default(spec: Spec) -> str:
    if spec.modality != "image":
        return "mlp"
    size = spec.input.size
    if size is None:
        return "resnet18"
    if min(size) < 12:
        return "mlp"
    return "lenet" if spec.input.shape[0] == 1 and max(size) <= 32 else "resnet18"


def predict(model: Classifier, data: Dataset[Labelled], split: str, run: Run) -> Predictions:
    """Scores of every sample of a split.

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
    together = torch.cat(scores)
    wrong = torch.nonzero(~torch.isfinite(together).all(1))[:, 0]
    if len(wrong):
        name = data.name(int(torch.cat(ids)[wrong[0]]))
        raise Diverged(
            f"{len(wrong)} of {len(together)} scores are not finite, first that of {name}",
            "Train again with a smaller --lr, and look at that sample.",
        )
    return {
        "scores": together,
        "truth": torch.cat(truth),
        "ids": torch.cat(ids),
        "probabilistic": torch.tensor(model.probabilistic),
    }


def measure(said: Predictions, spec: Spec) -> dict[str, Metric]:
    """All metrics of a split; what is undefined says why."""
    scores, truth = said["scores"], said["truth"]
    if not len(truth):
        return {headline(spec): Metric(value=None, reason="the split is empty")}
    if isinstance(spec.target, Labels):
        return _measure_labels(scores, truth)
    table = classification.confusion(truth, scores.argmax(1), scores.shape[1])
    metrics = {
        "accuracy": classification.accuracy(truth, scores.argmax(1)),
        "balanced accuracy": classification.balanced_accuracy(table),
        "macro F1": classification.f1_macro(table),
    }
    if scores.shape[1] > 10:
        metrics["top-5 accuracy"] = classification.top(scores, truth, 5)
    if scores.shape[1] == 2:
        metrics["ROC AUC"] = classification.roc_auc((scores[:, 1] - scores[:, 0]), truth == 1)
    if bool(said["probabilistic"]):
        metrics["log loss"] = classification.log_loss(scores, truth)
        confidence, answer = scores.double().softmax(1).max(1)
        _, error = classification.calibration(confidence, answer == truth)
        metrics["calibration error"] = Metric(value=error, higher_is_better=False, percent=True)
    else:
        reason = "this model gives no probabilities"
        metrics["log loss"] = Metric(value=None, higher_is_better=False, reason=reason)
        metrics["calibration error"] = Metric(value=None, higher_is_better=False, reason=reason)
    return metrics


def _measure_labels(scores: Tensor, truth: Tensor) -> dict[str, Metric]:
    said = scores > 0
    right = said == (truth > 0.5)
    true_positive = float((said & (truth > 0.5)).sum())
    total = float(said.sum() + (truth > 0.5).sum())
    return {
        "average precision": classification.average_precision(scores, truth),
        "micro F1": Metric(value=2 * true_positive / total, percent=True)
        if total
        else Metric(value=None, percent=True, reason="no label is there and none was said"),
        "all labels right": classification.accuracy(torch.ones(len(truth)), right.all(1).float()),
        "labels right": Metric(value=float(right.double().mean()), percent=True),
    }


def errors(said: Predictions, spec: Spec) -> Tensor:
    """0 or 1, right or wrong, weighted by the rarity of the class where the headline is balanced; for several labels
    the share of labels that are wrong.
    """
    scores, truth = said["scores"], said["truth"]
    if isinstance(spec.target, Labels):
        return ((scores > 0) != (truth > 0.5)).double().mean(1)
    wrong = (scores.argmax(1) != truth).double()
    if headline(spec) == "balanced accuracy":
        counts = torch.bincount(truth, minlength=scores.shape[1])
        wrong = wrong * (len(truth) / (int((counts > 0).sum()) * counts[truth]))
    return wrong


def resampled_headline(said: Predictions, spec: Spec) -> Callable[[Tensor], Tensor]:
    """The headline of (R, n) resampled rows."""
    scores, truth = said["scores"], said["truth"]
    if isinstance(spec.target, Labels):
        there = truth.sum(0) > 0
        return classification.average_precision_of_rows(scores[:, there], truth[:, there])
    if headline(spec) == "balanced accuracy":
        return classification.balanced_accuracy_of_rows(truth, scores.argmax(1), scores.shape[1])
    right = (scores.argmax(1) == truth).double()
    return lambda rows: right[rows].mean(1)


def truth(data: Dataset[Labelled], id: int) -> str | list[str]:
    """The class of a sample, or its labels."""
    target, true = data.spec.target, data.truth[id]
    assert isinstance(target, Classes | Labels)
    if isinstance(target, Classes):
        return target.names[int(true)]
    return [name for name, there in zip(target.names, true.tolist(), strict=True) if there > 0.5]


def answer(model: Classifier, x: Tensor, spec: Spec) -> list[Answer]:
    """A batch of raw inputs to {"class", "probabilities"} or {"labels", "probabilities"} or {"class", "scores"}."""
    target = spec.target
    assert isinstance(target, Classes | Labels)
    with torch.inference_mode():
        scores = model.scores(x).double().cpu()
    if not bool(torch.isfinite(scores).all()):
        raise Diverged("A score is not finite", "Train again with a smaller --lr, and look at that sample.")
    several = isinstance(target, Labels)
    values = scores if not model.probabilistic else scores.sigmoid() if several else scores.softmax(1)
    word = "probabilities" if model.probabilistic else "scores"
    answers: list[Answer] = []
    for row, value in zip(scores, values.tolist(), strict=True):
        best: Any = {"class": target.names[int(row.argmax())]}
        if several:
            best = {"labels": [name for name, score in zip(target.names, row.tolist(), strict=True) if score > 0]}
        answers.append({**best, word: dict(zip(target.names, value, strict=True))})
    return answers


class ExportedClassifier(nn.Module):
    """Scores, and probabilities where the model gives any, as named tensors.

    Args:
        several: whether a sample has several labels: then each has a probability of its own.
    """

    def __init__(self, model: Classifier, several: bool) -> None:
        super().__init__()
        self.model = model
        self.several = several

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, ...) raw inputs to "scores" (B, K) and "probabilities" (B, K)."""
        scores = self.model.scores(x)
        if not self.model.probabilistic:
            return {"scores": scores}
        return {"scores": scores, "probabilities": scores.sigmoid() if self.several else scores.softmax(1)}


def export(model: Classifier, spec: Spec) -> ExportedModel:
    target = spec.target
    assert isinstance(target, Classes | Labels)
    words = ("scores", "probabilities") if model.probabilistic else ("scores",)
    return ExportedModel(
        module=ExportedClassifier(model, isinstance(target, Labels)),
        outputs=tuple(Output(name=word, columns=target.names) for word in words),
    )


TASK: Task[Dataset[Labelled], Classifier] = Task(
    name="classify",
    question="Which class is this?",
    default=default,
    headline=headline,
    asks=lambda spec: isinstance(spec.target, Classes | Labels),
    predict=predict,
    measure=measure,
    answer=answer,
    errors=errors,
    resampled_headline=resampled_headline,
    worst=lambda said, spec, count: views.worst(said, count),
    truth=truth,
    views=views.views,
    export=export,
)

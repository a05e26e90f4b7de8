"""Diagnosis of a regressor: predictions beyond a bound of the target."""

from __future__ import annotations

from torch import Tensor

from snellen.core.spec import Numbers
from snellen.core.task import Diagnosis, Predictions
from snellen.core.views import Finding
from snellen.data.dataset import Dataset, Labelled
from snellen.data.target_bounds import BeyondCounter, target_bounds


def outside_findings(train: Tensor, predicted: Tensor, names: tuple[str, ...], split: str) -> list[Finding]:
    """Predictions beyond the smallest or largest training target, where many training targets equal it.

    Args:
        train: (N, T) training targets. predicted: (n, T). names: of the T targets.
        split: "test" or "validation".
    """
    lowest, highest = target_bounds(train)
    counter = BeyondCounter(Numbers(names=names, lowest=lowest, highest=highest))
    for row in predicted.tolist():
        counter.add(dict(zip(names, row, strict=True)))
    return [
        Finding(
            kind="outside",
            severity="note",
            message=f"{count:,} of {samples:,} {split} predictions of {one.name} are {one.place} "
            f"({int((train[:, names.index(one.name)] == one.bound).sum()):,} samples have it); the farthest is "
            f"{one.value:.4g}.",
            remedy=one.remedy,
        )
        for count, samples, one in counter.counts()
    ]


def findings(predictions: Predictions, data: Dataset[Labelled], split: str, headline: float | None) -> list[Finding]:
    """Predictions of a split beyond the bounds of the training targets."""
    names = data.spec.target.names if data.spec.target else ()
    train = data.truth[data.splits["train"]]
    return outside_findings(train, predictions["said"], names, "test" if split == "test" else "validation")


def loss(predicted: Tensor, y: Tensor) -> Tensor:
    """Mean squared error of (B, T) numbers, in standard deviations of the batch."""
    spread = y.double().std(0, correction=0).clamp(min=1e-12)
    return ((predicted.double() - y.double()) / spread).square().mean()


DIAGNOSIS = Diagnosis[Dataset[Labelled]](findings=findings, output=lambda model, x: model.predict(x), loss=loss)

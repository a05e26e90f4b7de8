"""Findings on the predicted classes of a split: one class for almost everything, classes that are never predicted."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from snellen.core.views import Finding

ONE_CLASS = 0.99  # fraction of the predictions; the remaining ones may be noise
COMMON_CLASS = 0.90  # fraction of the samples from which mostly predicting one class is right
MAX_NAMED_CLASSES = 6  # in a message
MIN_CLASS_COUNT = 10  # samples of a class; with fewer, all may be missed by chance


def class_findings(
    predicted: torch.Tensor, truth: torch.Tensor, frequent: torch.Tensor, names: Sequence[str], unit: str, remedy: str
) -> list[Finding]:
    """One class for almost all samples, or else the classes that are never predicted.

    Args:
        predicted, truth: (K,) predicted and true count of each class.
        frequent: (K,) bool, classes frequent enough to be expected among the predictions.
        unit: what is counted ("samples", "pixels").
    """
    top = int(predicted.argmax())
    predicted_fraction, true_fraction = (float(c[top] / c.sum().clamp(min=1)) for c in (predicted, truth))
    is_constant = predicted_fraction == 1 and true_fraction < 1
    if not is_constant and not (predicted_fraction >= ONE_CLASS and true_fraction < COMMON_CLASS):
        return missing_class_findings(predicted, truth, frequent, names, unit, remedy)
    return [
        Finding(
            kind="one-class",
            message=f"The model predicts {names[top]} for {100 * predicted_fraction:.3g} % of the {unit}; "
            f"only {100 * true_fraction:.3g} % are of this class.",
            remedy=remedy,
        )
    ]


def missing_class_findings(
    predicted: torch.Tensor, truth: torch.Tensor, frequent: torch.Tensor, names: Sequence[str], unit: str, remedy: str
) -> list[Finding]:
    """Classes of the ground truth that the model never predicts.

    Args:
        predicted, truth: (K,) predicted and true count of each class.
        frequent: (K,) bool, classes frequent enough to be expected among the predictions.
        unit: what is counted ("samples", "pixels", "objects").
    """
    missed = torch.nonzero((predicted == 0) & frequent)[:, 0].tolist()
    if not missed:
        return []
    shown = missed if len(missed) <= MAX_NAMED_CLASSES else missed[: MAX_NAMED_CLASSES - 1]
    named = [names[k] for k in shown] + [f"{len(missed) - len(shown)} others"] * (len(missed) > len(shown))
    listed = " or ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
    percent = 100 * float(truth[missed].sum() / truth.sum())
    classes = "this class" if len(missed) == 1 else "these classes"
    return [
        Finding(
            kind="never-said",
            message=f"The model never predicts {listed}: {percent:.2g} % of the {unit} are of {classes}.",
            remedy=remedy,
        )
    ]

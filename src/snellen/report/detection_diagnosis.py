"""What is amiss with a run that finds objects."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from snellen.core.spec import Boxes, Spec
from snellen.core.task import Predictions
from snellen.core.views import Finding

TINY = 8.0  # pixels a side: of that, a network that halves its picture three times sees one cell
MANY = 0.5  # of the objects
ONE_CLASS = 0.99  # of the finds that are told
COMMON = 0.90  # of the objects: where one class is as frequent as that, to find it often is right
MENTIONED = 6  # classes by their names
FEW = 10  # of a class: fewer may all be missed by chance


def amiss(said: Predictions, spec: Spec, headline: float | None) -> list[Finding]:
    """Nothing found, one class only, classes that are never found, or objects too small to see.

    Args:
        headline: of the same predictions.
    """
    assert isinstance(spec.target, Boxes)
    asked = ~said["crowd"] & ~said["ignored"]
    objects = int(asked.sum())
    if not objects:
        return []
    told = said["scores"] >= said["threshold"]
    found = [*_tiny(said["areas"][asked].sqrt(), headline)]
    if not bool(told.any()):
        sure = f"; the surest is {float(said['scores'].max()):.3g}" if len(said["scores"]) else ""
        message = (
            f"It finds nothing in {len(said['ids']):,} pictures with {objects:,} objects: no score reaches its "
            f"threshold of {float(said['threshold']):.3g}{sure}."
        )
        remedy = "Train longer or with a larger --lr; look at the boxes that it learns from with snellen data."
        return [*found, Finding(kind="finds-nothing", message=message, remedy=remedy)]
    return found + _one_class(said["labels"][told], said["true_labels"][asked], spec.target)


def _tiny(sides: torch.Tensor, headline: float | None) -> list[Finding]:
    share = float((sides < TINY).double().mean())
    if share < MANY or (headline is not None and headline > 0.5):
        return []
    message = (
        f"Most objects may be too small to see: {100 * share:.0f} % are below {TINY:g} pixels a side (the "
        f"median is {float(sides.median()):.1f})."
    )
    return [
        Finding(
            kind="tiny",
            message=message,
            remedy="Try a larger --image-size, where the model has one, or pictures of higher resolution.",
        )
    ]


def _one_class(labels: torch.Tensor, true: torch.Tensor, target: Boxes) -> list[Finding]:
    answers, truth = (torch.bincount(which, minlength=len(target.names)).double() for which in (labels, true))
    said, there = answers / len(labels), truth / len(true)
    most = int(said.argmax())
    if said[most] < ONE_CLASS or there[most] >= min(COMMON, float(said[most])):
        return never_said(
            answers, truth, truth >= FEW, target.names, "objects", "Try training longer, or more pictures of them."
        )
    return [
        Finding(
            kind="one-class",
            message=f"{100 * float(said[most]):.3g} % of its finds are {target.names[most]}, "
            f"and {100 * float(there[most]):.3g} % of the objects are.",
            remedy="Try training longer, a smaller --lr, or more pictures of the other classes.",
        )
    ]


def never_said(
    answers: torch.Tensor, truth: torch.Tensor, enough: torch.Tensor, names: Sequence[str], things: str, remedy: str
) -> list[Finding]:
    """Classes that are there and are never answered.

    Args:
        answers, truth: (K,) how often each class is said, and is there. enough: (K,) bool, often enough to expect it.
        things: what is counted.
    """
    missed = torch.nonzero((answers == 0) & enough)[:, 0].tolist()
    if not missed:
        return []
    shown = missed if len(missed) <= MENTIONED else missed[: MENTIONED - 1]
    called = [names[k] for k in shown] + [f"{len(missed) - len(shown)} others"] * (len(missed) > len(shown))
    listed = " or ".join([", ".join(called[:-1]), called[-1]] if len(called) > 1 else called)
    share = 100 * float(truth[missed].sum() / truth.sum())
    return [
        Finding(
            kind="never-said", message=f"It never says {listed}, and {share:.2g} % of the {things} are.", remedy=remedy
        )
    ]

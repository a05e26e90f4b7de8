"""Description of the predictions of a classifier."""

from __future__ import annotations

from typing import Any

from snellen.core.spec import Labels, Spec
from snellen.core.task import Display, PredictionDict

MAX_NAMES = 20  # classes that are listed


def lines(prediction: PredictionDict, spec: Spec) -> list[str]:
    """One line for each class or label, with its probability where there is one."""
    probabilities: dict[str, Any] = prediction.get("probabilities", {})
    labels = prediction["labels"] if "labels" in prediction else [prediction["class"]]
    return [f"{name} ({100 * probabilities[name]:.0f} %)" if name in probabilities else name for name in labels] or [
        "no label"
    ]


def outputs(spec: Spec) -> str:
    """The names of the classes or labels."""
    names = spec.target.names if spec.target else ()
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return f"{'Labels' if isinstance(spec.target, Labels) else 'Classes'}: {', '.join(names[:MAX_NAMES])}{more}."


DISPLAY = Display(
    lines=lines,
    baseline=lambda spec: "the class frequencies of the training split",
    outputs=outputs,
    hub_names={
        "image": "image-classification",
        "vector": "tabular-classification",
        "audio": "audio-classification",
    },
)

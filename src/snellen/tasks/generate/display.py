"""Description of the predictions of a generator."""

from __future__ import annotations

from snellen.core.spec import Spec
from snellen.core.task import Display, PredictionDict


def lines(prediction: PredictionDict, spec: Spec) -> list[str]:
    """The log density."""
    return [f"log density {prediction['log_density']:.6g} nats"]


DISPLAY = Display(
    lines=lines,
    baseline=lambda spec: "an independent normal distribution of every value",
    outputs=lambda spec: "It gives the log density of a sample, and draws new samples.",
    names="targets",
    hub_names={"image": "unconditional-image-generation"},
)

"""Description of the predictions of a clustering."""

from __future__ import annotations

from snellen.core.spec import Spec
from snellen.core.task import Display, PredictionDict


def lines(prediction: PredictionDict, spec: Spec) -> list[str]:
    """The cluster with its posterior, or the distance to its centre."""
    if "distance" in prediction:
        return [f"cluster {prediction['cluster']}, distance {prediction['distance']:.4g}"]
    return [f"cluster {prediction['cluster']} ({100 * max(prediction['probabilities'].values()):.0f} %)"]


DISPLAY = Display(
    lines=lines,
    baseline=lambda spec: "the nearest of a few training samples drawn at random",
    outputs=lambda spec: "It gives the cluster of a sample; clusters are numbered from 0, the largest first.",
    names="targets",
    hub_names={},
)

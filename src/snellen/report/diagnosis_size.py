"""Number of samples of a diagnosis: its multiply-adds are about a tenth of those of the training, or a minimum.

The bound counts operations, not seconds: the same run always has the same diagnosis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from snellen.report.learning_curves import HistoryRow

MAX_FRACTION = 0.1  # of the multiply-adds of training
FREE_MULTIPLY_ADDS = 1e11  # always allowed, however short the training
BACKWARD = 3  # passes: a backward pass costs two forward passes, and follows one
GRADIENT_SAMPLES = 64  # training samples whose gradients are compared between layers
UNIT_SAMPLES = 512  # validation samples on which a dead unit is always zero
MIN_GRADIENT_SAMPLES = 8
MIN_SAMPLES = 32  # of units and of metrics


class DiagnosisSize(NamedTuple):
    """Largest numbers of samples of the diagnosis.

    gradients, units: samples whose gradients and hidden units are examined.
    metrics: training samples that are predicted.
    limited: whether the bound has reduced these numbers.
    """

    gradients: int
    units: int
    metrics: int
    limited: bool = False


def diagnosis_size(
    max_metrics: int, trained: int | None, multiply_adds: float | None, *, examines_layers: bool
) -> DiagnosisSize:
    """Numbers of samples for the diagnosis of a model.

    Args:
        max_metrics: training samples to predict without the bound.
        trained: samples that training processed, with repetition; None where unknown: there is no bound.
        multiply_adds: of a forward pass of one sample; None where unknown: there is no bound.
        examines_layers: whether gradients and hidden units are examined.
    """
    full = DiagnosisSize(GRADIENT_SAMPLES, UNIT_SAMPLES, max_metrics)
    if trained is None or not multiply_adds:
        return full
    passes = max(MAX_FRACTION * BACKWARD * trained, FREE_MULTIPLY_ADDS / multiply_adds)
    scale = passes / (max_metrics + (BACKWARD * GRADIENT_SAMPLES + UNIT_SAMPLES if examines_layers else 0))
    if scale >= 1:
        return full
    return DiagnosisSize(
        max(MIN_GRADIENT_SAMPLES, int(scale * GRADIENT_SAMPLES)),
        max(MIN_SAMPLES, int(scale * UNIT_SAMPLES)),
        min(max_metrics, max(MIN_SAMPLES, int(scale * max_metrics))),
        limited=True,
    )


def trained_samples(history: Sequence[HistoryRow], notes: Mapping[str, Any]) -> int | None:
    """Samples that training by gradient descent processed, with repetition; None for other methods."""
    per_step = notes.get("samples per step")
    steps = 1 + max((int(row["step"]) for row in history if row["loop"] == "train"), default=-1)
    return None if per_step is None else math.ceil(per_step * steps)

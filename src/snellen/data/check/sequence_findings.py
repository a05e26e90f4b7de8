"""Sequences in memory: a few far longer than the others, and some in which nothing changes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from snellen.core.spec import Input
from snellen.core.views import Finding
from snellen.data.check.findings import samples_finding
from snellen.data.flat_sequences import RaggedSource
from snellen.data.source import ArraySource

LONG = 10  # times the median length
MIN_STEPS = 4  # of a sequence that is reported as constant


def sequence_findings(source: object, inputs: Mapping[str, Input]) -> list[Finding]:
    """Sequences of more than ten times the median length, and sequences without any change."""
    if not isinstance(source, ArraySource) or next(iter(inputs.values())).axes != ("time", "feature"):
        return []
    if isinstance(source, RaggedSource):
        sequences = source.sequences
        lengths = sequences.lengths.numpy()
        still = np.array([bool((one == one[:1]).all()) for one in sequences])
    else:
        lengths, still = _padded(source.values)
    findings = []
    median = float(np.median(lengths))
    long = np.nonzero(lengths > LONG * median)[0].tolist()
    if long:
        what = f"more than {LONG} times as long as the median ({median:g} steps), up to {int(lengths.max()):,} steps"
        remedy = "Cut them into parts, or remove them: memory and time grow with the longest."
        findings.append(samples_finding("sequence", "long", source, long, what, remedy))
    constant = np.nonzero(still & (lengths >= MIN_STEPS))[0].tolist()
    if constant:
        remedy = "Check the sensor, and remove those without content."
        findings.append(
            samples_finding("sequence", "constant-sequence", source, constant, "constant: no feature changes", remedy)
        )
    return findings


def _padded(values: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(N,) length of each sequence, NaN after its end, and whether it is constant."""
    inside = ~torch.isnan(values[:, :, 0]) if values.is_floating_point() else torch.ones(values.shape[:2]).bool()
    same = ((values == values[:, :1]).all(2) | ~inside).all(1)
    return inside.sum(1).numpy(), same.numpy()

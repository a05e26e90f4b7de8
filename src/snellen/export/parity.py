"""Parity check: outputs of the exported file against outputs of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from snellen.core.errors import Diverged, Mismatch
from snellen.core.task import Output

TOLERANCE = 1e-4  # relative to the output scale; float32 summation order alone changes a ResNet-18 by 4e-7

Outputs = Mapping[str, Tensor]


def compare(run: Sequence[Outputs], file: Sequence[Outputs], outputs: Sequence[Output]) -> dict[str, Any]:
    """Largest absolute and relative differences between the outputs of run and file, as JSON-compatible data.

    The scale of an output is its largest absolute value over all inputs; columns with units have a scale each. Within
    the tolerance, a predicted class can change only if two scores are closer than twice the tolerance.

    Args:
        run, file: for each batch, output -> (B, K) or (B, K, H, W).
    Raises:
        Mismatch: if a difference exceeds 1e-4 of the scale.
        Diverged: if outputs of the run are not finite.
    """
    absolute, relative = {}, {}
    for output in outputs:
        sizes, differences = [], []  # per batch, the maximum of every column
        for of_run, of_file in zip(run, file, strict=True):
            expected, actual = of_run[output.name].double(), of_file[output.name].double()
            if not bool(torch.isfinite(expected).all()):
                raise Diverged(
                    f"The {output.name} of the run are not finite",
                    "Train again with a smaller --lr and export that run.",
                )
            if expected.shape != actual.shape:
                raise _mismatch(
                    f"The {output.name} of the file have shape {tuple(actual.shape)}, "
                    f"those of the run {tuple(expected.shape)}"
                )
            over = [axis for axis in range(expected.ndim) if axis != 1]
            sizes.append(expected.abs().amax(over))
            differences.append((actual - expected).abs().amax(over))
        size, difference = torch.stack(sizes).amax(0), torch.stack(differences).amax(0)  # (K,)
        scale = size if output.units else size.max()
        fraction = difference / scale.clamp(min=torch.finfo(torch.float64).tiny)
        absolute[output.name], relative[output.name] = float(difference.max()), float(fraction.max())
        if not relative[output.name] <= TOLERANCE:  # also fails for NaN
            raise _mismatch(
                f"The {output.name} of the file differ from those of the run by up to "
                f"{absolute[output.name]:.3g}, {relative[output.name]:.3g} of the output scale "
                f"(tolerance {TOLERANCE:g})"
            )
    counts = [len(batch[outputs[0].name]) for batch in run]
    return {"inputs": sum(counts), "batches": counts, "absolute": absolute, "relative": relative, "allowed": TOLERANCE}


def _mismatch(cause: str) -> Mismatch:
    return Mismatch(
        cause, "Nothing was written. Check that the model is deterministic and independent of the batch size."
    )

"""Whether an exported model says what the run says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from snellen.core.errors import Diverged, Mismatch
from snellen.core.task import Output

ALLOWED = 1e-4  # of an output's scale: float32 sums in another order differ by 4e-7 of it in a ResNet-18

Said = Mapping[str, Tensor]


def compare(run: Sequence[Said], file: Sequence[Said], outputs: Sequence[Output]) -> dict[str, Any]:
    """The largest differences between what the run says and what the file says, as plain data.

    The scale of an output is its largest size over all inputs; where columns have units of their own, each has its
    own scale. Within what is allowed, the answer can change only between classes closer than twice that.

    Args:
        run, file: for each batch, output -> (B, K) or (B, K, H, W).
    Raises:
        Mismatch: where a difference is larger than 1e-4 of the scale.
        Diverged: where the run itself says what is not finite.
    """
    absolute, relative = {}, {}
    for output in outputs:
        sizes, differences = [], []  # of each batch, the largest of every column
        for one, other in zip(run, file, strict=True):
            truth, said = one[output.name].double(), other[output.name].double()
            if not bool(torch.isfinite(truth).all()):
                raise Diverged(
                    f"The {output.name} of the run are not finite",
                    "Train again with a smaller --lr, and export that run.",
                )
            if truth.shape != said.shape:
                raise _mismatch(
                    f"The file says {output.name} of shape {tuple(said.shape)}, the run {tuple(truth.shape)}"
                )
            over = [axis for axis in range(truth.ndim) if axis != 1]
            sizes.append(truth.abs().amax(over))
            differences.append((said - truth).abs().amax(over))
        size, difference = torch.stack(sizes).amax(0), torch.stack(differences).amax(0)  # (K,)
        scale = size if output.units else size.max()
        share = difference / scale.clamp(min=torch.finfo(torch.float64).tiny)
        absolute[output.name], relative[output.name] = float(difference.max()), float(share.max())
        if not relative[output.name] <= ALLOWED:  # NaN is no match either
            raise _mismatch(
                f"The {output.name} of the file differ from those of the run by up to "
                f"{absolute[output.name]:.3g}, {relative[output.name]:.3g} of their scale, "
                f"where {ALLOWED:g} is allowed"
            )
    counts = [len(said[outputs[0].name]) for said in run]
    return {"inputs": sum(counts), "batches": counts, "absolute": absolute, "relative": relative, "allowed": ALLOWED}


def _mismatch(cause: str) -> Mismatch:
    return Mismatch(cause, "Nothing was written. Does the model answer an input alike each time, whatever the batch?")

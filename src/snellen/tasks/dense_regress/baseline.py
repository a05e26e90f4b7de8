"""The baseline that knows nothing but what is usual."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks.dense_regress.objective import some_truth
from snellen.tasks.dense_regress.task import TASK, asked


@settings
class BaselineSettings:
    """There is nothing to set."""


class Usual(nn.Module):
    """The same answer for every pixel."""

    usual: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("usual", torch.zeros(count))

    def predict(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, T, H, W)."""
        return self.usual[None, :, None, None].expand(x.shape[0], -1, *x.shape[-2:])


def build(c: BaselineSettings, spec: Spec) -> Usual:
    return Usual(len(asked(spec).names))


def fit(c: BaselineSettings, data: Dataset[Labelled], model: Usual, run: Run) -> None:
    """The median of each number; the mean normal; no flow; every pixel an edge, which finds them all."""
    kind, truth = asked(data.spec).kind, some_truth(data)
    if kind == "normals":
        model.usual.copy_(nn.functional.normalize(truth.double().mean(1), dim=0))
    elif kind == "edges":
        model.usual.fill_(1.0)
    elif kind != "flow" and truth.shape[1]:
        model.usual.copy_(truth.double().quantile(0.5, dim=1))
    model.to(run.device)


LEARNER = Learner[BaselineSettings, Dataset[Labelled], Usual](
    name="baseline",
    summary="The usual number at every pixel (median, mean normal, no flow, all edges): what others must beat.",
    source="the best constant under the absolute error",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=BaselineSettings,
    build=build,
    fit=fit,
)

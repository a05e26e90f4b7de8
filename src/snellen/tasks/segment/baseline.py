"""The baseline that knows nothing but how often each class occurs among the pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import PixelClasses, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks.segment.task import TASK, classes


@settings
class BaselineSettings:
    """There is nothing to set."""


class Prior(nn.Module):
    """The same answer for every pixel: the logarithm of the classes' shares."""

    logits: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("logits", torch.zeros(count))

    def scores(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, H, W)."""
        return self.logits[None, :, None, None].expand(x.shape[0], -1, *x.shape[-2:])


def build(c: BaselineSettings, spec: Spec) -> Prior:
    return Prior(len(classes(spec)))


def fit(c: BaselineSettings, data: Dataset[Labelled], model: Prior, run: Run) -> None:
    """The shares with one pixel added to each class, so that none is impossible."""
    assert isinstance(data.spec.target, PixelClasses)
    counts = torch.tensor(data.spec.target.counts, dtype=torch.float64) + 1
    model.logits.copy_(torch.log(counts / counts.sum()))
    model.to(run.device)


LEARNER = Learner[BaselineSettings, Dataset[Labelled], Prior](
    name="baseline",
    summary="Every pixel of the most frequent class: what every other model must beat.",
    source="the classes' shares, with Laplace's rule of succession",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=BaselineSettings,
    build=build,
    fit=fit,
)

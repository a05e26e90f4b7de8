"""Majority-class baseline of segmentation: class frequencies of the training pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import PLACED, Input, PixelClasses, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks.segment.task import TASK, class_names


@settings
class BaselineSegmenterSettings:
    """Settings of the baseline (none)."""


class PixelClassPrior(nn.Module):
    """Class prior: the same scores for every pixel or other place, the log frequency of each class."""

    logits: Tensor

    def __init__(self, count: int, spec_input: Input) -> None:
        super().__init__()
        self.input = spec_input
        self.register_buffer("logits", torch.zeros(count))

    def scores(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, H, W); other samples to (B, K, *places)."""
        places = self.input.places(x.shape[1:])
        return self.logits.view(1, -1, *(1,) * len(places)).expand(x.shape[0], -1, *places)


def build(c: BaselineSegmenterSettings, spec: Spec) -> PixelClassPrior:
    return PixelClassPrior(len(class_names(spec)), spec.input)


def fit(c: BaselineSegmenterSettings, data: Dataset[Labelled], model: PixelClassPrior, run: Run) -> None:
    """Set the class frequencies, with one place added to each class (Laplace smoothing)."""
    assert isinstance(data.spec.target, PixelClasses)
    counts = torch.tensor(data.spec.target.counts, dtype=torch.float64) + 1
    model.logits.copy_(torch.log(counts / counts.sum()))
    model.to(run.device)


LEARNER = Learner[BaselineSegmenterSettings, Dataset[Labelled], PixelClassPrior](
    name="baseline",
    summary="Majority-class baseline: predicts the most frequent class at every place.",
    source="class frequencies with Laplace smoothing",
    task=TASK,
    accepts=PLACED,
    settings=BaselineSegmenterSettings,
    build=build,
    fit=fit,
)

"""What learning to classify by descent needs: its loss, its validation score, its sampling."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Classes, Labels, Spec
from snellen.data.dataset import Samples
from snellen.metrics.classification import confusion
from snellen.nn.layers import Standardize
from snellen.tasks.classify.task import headline


@settings
class Weighting:
    """What is done about rare classes."""

    class_weights: Literal["none", "balanced"] = "none"
    """Weigh each class in the loss by the inverse of its share."""
    sampling: Literal["each", "balanced"] = "each"
    """Draw every sample once an epoch, or every class equally often."""


class Network(nn.Module):
    """A classifier whose scores are logits: raw inputs, standardised, through any network.

    Args:
        body: (B, C, H, W) or (B, D) float to (B, K) logits.
    """

    probabilistic = True

    def __init__(self, standardize: Standardize, body: nn.Module) -> None:
        super().__init__()
        self.standardize = standardize
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        x = self.standardize(x)
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        y: Tensor = self.body(x)
        return y

    def scores(self, x: Tensor) -> Tensor:
        return self(x)  # type: ignore[no-any-return]


class ByCrossEntropy:
    """Softmax cross-entropy for one class, binary cross-entropy for each of several labels.

    ℓ = −log softmax(z)_t; for labels ℓ = −Σ t log σ(z) + (1−t) log(1−σ(z)), averaged.

    Args:
        own: a loss the caller brought, called with (scores, target).
    """

    def __init__(self, spec: Spec, weighting: Weighting, run: Run) -> None:
        self.spec = spec
        self.weighting = weighting
        self.own = run.loss
        self.class_weights: Tensor | None = None
        if weighting.class_weights == "balanced" and isinstance(spec.target, Classes):
            counts = torch.tensor(spec.target.counts, dtype=torch.float32).clamp(min=1)
            self.class_weights = (counts.sum() / (len(counts) * counts)).to(run.device)
        if weighting.class_weights == "balanced" and isinstance(spec.target, Labels):
            counts = torch.tensor(spec.target.counts, dtype=torch.float32).clamp(min=1)
            self.class_weights = ((spec.sizes["train"] - counts) / counts).to(run.device)

    @property
    def plain(self) -> bool:
        """Whether the loss is softmax cross-entropy and nothing more."""
        return self.own is None and self.class_weights is None and isinstance(self.spec.target, Classes)

    def loss(self, model: Network, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        x, y, _ = batch
        if self.own is not None:
            return self.own(model.scores(x), y)
        if isinstance(self.spec.target, Labels):
            return nn.functional.binary_cross_entropy_with_logits(model.scores(x), y, pos_weight=self.class_weights)
        return nn.functional.cross_entropy(model.scores(x), y, self.class_weights)

    def score(self, model: Network, samples: Samples) -> float:
        """The headline on validation, as fast as may be and without its interval; minus the log loss for labels."""
        right = torch.zeros((), dtype=torch.float64)
        count = len(self.spec.target.names) if self.spec.target else 0
        table = torch.zeros(count, count, dtype=torch.int64)
        for x, y, _ in samples.in_order(512):
            scores = model.scores(x)
            if isinstance(self.spec.target, Labels):
                right -= nn.functional.binary_cross_entropy_with_logits(scores, y, reduction="sum").cpu()
            else:
                table += confusion(y.cpu(), scores.argmax(1).cpu(), count)
        if isinstance(self.spec.target, Labels):
            return float(right) / len(samples)
        if headline(self.spec) == "balanced accuracy":
            there = table.sum(1) > 0
            return float((table.diagonal()[there] / table.sum(1)[there]).double().mean())
        return float(table.diagonal().sum() / table.sum())

    def weights(self, samples: Samples) -> Tensor | None:
        if self.weighting.sampling == "each" or not isinstance(self.spec.target, Classes):
            return None
        counts = torch.bincount(samples.y.cpu(), minlength=len(self.spec.target.names)).clamp(min=1)
        return (1 / counts.double())[samples.y.cpu()]

"""What learning to classify by descent needs: its loss, its validation score, its sampling."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Classes, Labels, Spec
from snellen.data.dataset import Samples
from snellen.metrics.classification import confusion
from snellen.nn.network import Network
from snellen.tasks.classify.task import headline
from snellen.training.supervised import ohem_loss


@settings
class Weighting:
    """Which samples count more: rare classes, hard examples."""

    class_weights: Literal["none", "balanced"] = "none"
    """Weigh each class in the loss by the inverse of its share."""
    sampling: Literal["each", "balanced"] = "each"
    """Draw every sample once an epoch, or every class equally often."""
    ohem_fraction: Annotated[float, Limit(above=0, most=1)] = 1.0
    """The share of each batch, by largest loss, that is learned from."""


class Logits(nn.Module):
    """A network whose outputs are logits, as a classifier."""

    probabilistic = True

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.network(x)
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
        weighted = self.class_weights is not None or self.weighting.ohem_fraction < 1
        return self.own is None and not weighted and isinstance(self.spec.target, Classes)

    def loss(self, model: Logits, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        x, y, _ = batch
        if self.own is not None:
            return self.own(model.scores(x), y)
        if self.weighting.ohem_fraction < 1:
            return ohem_loss(self._losses(model.scores(x), y), self.weighting.ohem_fraction)
        if isinstance(self.spec.target, Labels):
            return self._losses(model.scores(x), y).mean()
        return nn.functional.cross_entropy(model.scores(x), y, self.class_weights)

    def _losses(self, scores: Tensor, y: Tensor) -> Tensor:
        """(B,) one a sample."""
        if isinstance(self.spec.target, Labels):
            weights = self.class_weights
            each = nn.functional.binary_cross_entropy_with_logits(scores, y, pos_weight=weights, reduction="none")
            return each.mean(1)
        return nn.functional.cross_entropy(scores, y, self.class_weights, reduction="none")

    def score(self, model: Logits, samples: Samples) -> float:
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

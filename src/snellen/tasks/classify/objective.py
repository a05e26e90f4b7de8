"""Classification objective: cross-entropy, class balancing, OHEM, validation score."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Classes, Labels, Spec
from snellen.data.dataset import Samples
from snellen.metrics.classification import confusion_matrix
from snellen.nn.network import Network
from snellen.nn.piecewise_linear import LinearLayers, layers_of_network
from snellen.tasks.classify.task import headline
from snellen.training.supervised import ohem_loss


@settings
class ClassBalanceSettings:
    """Class balancing and hard example mining."""

    class_weights: Literal["none", "balanced"] = "none"
    """Class weights of the loss; balanced: inversely proportional to the class frequency."""
    sampling: Literal["shuffle", "balanced"] = "shuffle"
    """Sampling: each sample once per epoch, or balanced: every class equally often."""
    ohem_fraction: Annotated[float, Limit(above=0, max=1)] = 1.0
    """OHEM: fraction of each batch, by largest loss, that is trained on; 1: off."""


class ClassificationNetwork(nn.Module):
    """Classifier from a network whose outputs are logits."""

    probabilistic = True

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.network(x)
        return y

    def scores(self, x: Tensor) -> Tensor:
        return self(x)  # type: ignore[no-any-return]

    def linear_layers(self) -> LinearLayers | None:
        return layers_of_network(self.network)


class CrossEntropyObjective:
    """Cross-entropy objective: softmax for one class per sample, binary for several labels.

    ℓ = −log softmax(z)_t; for L labels ℓ = −(1/L) Σ_l [t_l log σ(z_l) + (1 − t_l) log(1 − σ(z_l))].

    Args:
        run: `run.loss` is the user's loss, if there is one; called with (scores, target).
    """

    def __init__(self, spec: Spec, class_balance: ClassBalanceSettings, run: Run) -> None:
        self.spec = spec
        self.class_balance = class_balance
        self.custom_loss = run.loss
        self.class_weights: Tensor | None = None
        if class_balance.class_weights == "balanced" and isinstance(spec.target, Classes):
            counts = torch.tensor(spec.target.counts, dtype=torch.float32).clamp(min=1)
            self.class_weights = (counts.sum() / (len(counts) * counts)).to(run.device)
        if class_balance.class_weights == "balanced" and isinstance(spec.target, Labels):
            counts = torch.tensor(spec.target.counts, dtype=torch.float32).clamp(min=1)
            self.class_weights = ((spec.sizes["train"] - counts) / counts).to(run.device)

    @property
    def plain(self) -> bool:
        """Whether the loss is plain softmax cross-entropy."""
        weighted = self.class_weights is not None or self.class_balance.ohem_fraction < 1
        return self.custom_loss is None and not weighted and isinstance(self.spec.target, Classes)

    def loss(self, model: ClassificationNetwork, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        x, y, _ = batch
        if self.custom_loss is not None:
            return self.custom_loss(model.scores(x), y)
        if self.class_balance.ohem_fraction < 1:
            return ohem_loss(self._losses(model.scores(x), y), self.class_balance.ohem_fraction)
        if isinstance(self.spec.target, Labels):
            return self._losses(model.scores(x), y).mean()
        return nn.functional.cross_entropy(model.scores(x), y, self.class_weights)

    def _losses(self, scores: Tensor, y: Tensor) -> Tensor:
        """(B,) loss of each sample."""
        if isinstance(self.spec.target, Labels):
            weights = self.class_weights
            losses = nn.functional.binary_cross_entropy_with_logits(scores, y, pos_weight=weights, reduction="none")
            return losses.mean(1)
        return nn.functional.cross_entropy(scores, y, self.class_weights, reduction="none")

    def score(self, model: ClassificationNetwork, samples: Samples) -> float:
        """Validation score: the headline metric without its interval; minus the log loss for several labels."""
        log_likelihood = torch.zeros((), dtype=torch.float64)
        count = len(self.spec.target.names) if self.spec.target else 0
        table = torch.zeros(count, count, dtype=torch.int64)
        for x, y, _ in samples.in_order(512):
            scores = model.scores(x)
            if isinstance(self.spec.target, Labels):
                log_likelihood -= nn.functional.binary_cross_entropy_with_logits(scores, y, reduction="sum").cpu()
            else:
                table += confusion_matrix(y.cpu(), scores.argmax(1).cpu(), count)
        if isinstance(self.spec.target, Labels):
            return float(log_likelihood) / len(samples)
        if headline(self.spec) == "balanced accuracy":
            present = table.sum(1) > 0
            return float((table.diagonal()[present] / table.sum(1)[present]).double().mean())
        return float(table.diagonal().sum() / table.sum())

    def weights(self, samples: Samples) -> Tensor | None:
        if self.class_balance.sampling == "shuffle" or not isinstance(self.spec.target, Classes):
            return None
        counts = torch.bincount(samples.y.cpu(), minlength=len(self.spec.target.names)).clamp(min=1)
        return (1 / counts.double())[samples.y.cpu()]

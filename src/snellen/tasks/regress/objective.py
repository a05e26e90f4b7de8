"""What learning to regress by descent needs: numbers in the user's units, the loss, the validation score."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Numbers, Spec
from snellen.data.dataset import Dataset, Labelled, Samples
from snellen.nn.network import Network


@settings
class Errors:
    """What a wrong number costs."""

    loss: Literal["squared", "absolute", "huber"] = "squared"
    """The loss of an error e, in standard deviations of the target: e², |e|, or e²/2 that goes on as a line from 1."""


class Scaled(nn.Module):
    """A network whose outputs are targets of zero mean and unit variance, as a regressor in the user's units.

    mean, std: (T,) float64, of the training targets.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Network, targets: int) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.zeros(targets, dtype=torch.float64))
        self.register_buffer("std", torch.ones(targets, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) raw inputs to (B, T) standardised numbers."""
        y: Tensor = self.network(x)
        return y

    def predict(self, x: Tensor) -> Tensor:
        return self(x).double() * self.std + self.mean  # type: ignore[no-any-return]

    def standard(self, y: Tensor) -> Tensor:
        """(B, T) in the user's units to float32 of zero mean and unit variance."""
        return ((y - self.mean) / self.std).float()

    def learn(self, y: Tensor) -> None:
        """Takes mean and deviation from training targets, (N, T) float64."""
        self.mean.copy_(y.mean(0))
        std = y.std(0, correction=0)
        varies = (y.amax(0) > y.amin(0)) & (std > 0)
        self.std.copy_(torch.where(varies, std, torch.ones_like(std)))  # a constant target is its mean


class ByError:
    """The error in standard deviations of each target, so that several targets count alike.

    Args:
        own: a loss the caller brought, called with (numbers, targets) in the user's units, (B, T) float64.
    """

    def __init__(self, errors: Errors, run: Run) -> None:
        self.errors = errors
        self.own = run.loss

    def loss(self, model: Scaled, batch: Labelled) -> Tensor:
        if self.own is not None:
            return self.own(model.predict(batch.x), batch.y)
        said, truth = model(batch.x), model.standard(batch.y)
        if self.errors.loss == "absolute":
            return nn.functional.l1_loss(said, truth)
        if self.errors.loss == "huber":
            return nn.functional.huber_loss(said, truth)
        return nn.functional.mse_loss(said, truth)

    def score(self, model: Scaled, samples: Samples) -> float:
        """Minus the loss on validation: another measure would choose weights that answer another question."""
        total = torch.zeros((), dtype=torch.float64)
        for batch in samples.in_order(512):
            total += self.loss(model, batch).double().cpu() * len(batch.x)
        return -float(total) / len(samples)

    def weights(self, samples: Samples) -> Tensor | None:
        return None


def targets(spec: Spec) -> int:
    """How many numbers are asked for."""
    assert isinstance(spec.target, Numbers)
    return len(spec.target.names)


def learn_targets(model: Scaled, data: Dataset[Labelled]) -> None:
    """Standardises the targets by the training split."""
    model.learn(data.truth[data.splits["train"]].double())

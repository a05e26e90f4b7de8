"""Regression objective: standardised targets, loss, validation score."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Numbers, Spec
from snellen.data.dataset import Dataset, Labelled, Samples
from snellen.nn.network import Network
from snellen.nn.piecewise_linear import LinearLayers, layers_of_network, scale_outputs


@settings
class RegressionLossSettings:
    """Regression loss."""

    loss: Literal["squared", "absolute", "huber"] = "squared"
    """Loss of an error e in standard deviations of the target: squared, e²; absolute, |e|; huber, quadratic below
    |e| = 1 and linear above."""


class RegressionNetwork(nn.Module):
    """Regressor in the user's units, from a network whose outputs are standardised targets.

    mean, std: (T,) float64, of the training targets.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Network, target_count: int) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.zeros(target_count, dtype=torch.float64))
        self.register_buffer("std", torch.ones(target_count, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) raw inputs to (B, T) standardised numbers."""
        y: Tensor = self.network(x)
        return y

    def predict(self, x: Tensor) -> Tensor:
        return self(x).double() * self.std + self.mean  # type: ignore[no-any-return]

    def linear_layers(self) -> LinearLayers | None:
        layers = layers_of_network(self.network)
        return None if layers is None else scale_outputs(layers, self.std, self.mean)

    def standard(self, y: Tensor) -> Tensor:
        """(B, T) in the user's units to float32 of zero mean and unit variance."""
        return ((y - self.mean) / self.std).float()

    def fit_scaling(self, y: Tensor) -> None:
        """Compute mean and standard deviation of training targets, (N, T) float64."""
        self.mean.copy_(y.mean(0))
        std = y.std(0, correction=0)
        is_variable = (y.amax(0) > y.amin(0)) & (std > 0)
        self.std.copy_(
            torch.where(is_variable, std, torch.ones_like(std))
        )  # a constant target is predicted by its mean


class RegressionObjective:
    """Regression objective: errors in standard deviations of each target, so that all targets have equal weight.

    Args:
        run: `run.loss` is the user's loss, if there is one; called with (predictions, targets) in the user's units,
            (B, T) float64.
    """

    def __init__(self, loss_settings: RegressionLossSettings, run: Run) -> None:
        self.loss_settings = loss_settings
        self.custom_loss = run.loss

    def loss(self, model: RegressionNetwork, batch: Labelled) -> Tensor:
        if self.custom_loss is not None:
            return self.custom_loss(model.predict(batch.x), batch.y)
        predicted, truth = model(batch.x), model.standard(batch.y)
        if self.loss_settings.loss == "absolute":
            return nn.functional.l1_loss(predicted, truth)
        if self.loss_settings.loss == "huber":
            return nn.functional.huber_loss(predicted, truth)
        return nn.functional.mse_loss(predicted, truth)

    def score(self, model: RegressionNetwork, samples: Samples) -> float:
        """Validation score: minus the training loss, so that weights are selected by what they are trained for."""
        total = torch.zeros((), dtype=torch.float64)
        for batch in samples.in_order(512):
            total += self.loss(model, batch).double().cpu() * len(batch.y)
        return -float(total) / len(samples)

    def weights(self, samples: Samples) -> Tensor | None:
        return None


def target_count(spec: Spec) -> int:
    """Number of targets."""
    assert isinstance(spec.target, Numbers)
    return len(spec.target.names)


def fit_target_scaling(model: RegressionNetwork, data: Dataset[Labelled]) -> None:
    """Standardise the targets by the training split."""
    model.fit_scaling(data.truth[data.splits["train"]].double())

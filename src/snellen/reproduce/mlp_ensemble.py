"""Training of one MLP with several seeds at once: the networks are independent, their layers one batched product."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snellen.core.random import permutation, seeded
from snellen.nn.layers import activation
from snellen.nn.mlp import MLP
from snellen.training.optimizers import optimizer
from snellen.training.schedules import schedule


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Training by Adam on the squared error, with a one-cycle learning rate.

    Args:
        lr: the highest learning rate of the schedule.
    """

    epochs: int
    batch_size: int
    lr: float


class MLPEnsemble(nn.Module):
    """S MLPs of the same shape with their own weights.

    Args:
        networks: S networks without dropout and normalisation layers; their weights are copied.
        activation_name: activation after each hidden layer.
    """

    def __init__(self, networks: Sequence[MLP], activation_name: str) -> None:
        super().__init__()
        layers = [[layer for layer in network.layers if isinstance(layer, nn.Linear)] for network in networks]
        per_depth = list(zip(*layers, strict=True))
        self.weights = nn.ParameterList(
            torch.stack([layer.weight.detach().t() for layer in group]) for group in per_depth
        )
        self.biases = nn.ParameterList(
            torch.stack([layer.bias.detach()[None] for layer in group]) for group in per_depth
        )
        self.activation = activation(activation_name)

    def forward(self, x: Tensor) -> Tensor:
        """(S, B, D) to (S, B, K)."""
        for depth, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x if depth == 0 else self.activation(x), weight)
        return x

    def num_weights(self) -> int:
        """Weights and biases of one network."""
        return sum(p[0].numel() for p in self.parameters())


def initial_ensemble(sizes: Sequence[int], activation_name: str, seeds: Sequence[int]) -> MLPEnsemble:
    """Networks with PyTorch's initial weights, which depend on seed, sizes and activation only.

    He's initialisation has zero biases: all ReLU units of one input would have their kink at the same point.
    """
    networks = []
    for seed in seeds:
        with seeded(seed, "reproduce", "mlp-ensemble", activation_name, *sizes):
            networks.append(MLP(sizes, "linear"))
    return MLPEnsemble(networks, activation_name)


def fit(
    ensemble: MLPEnsemble,
    x: Tensor,
    y: Tensor,
    seeds: Sequence[int],
    recipe: Recipe,
    done: Callable[[int], None] = lambda epoch: None,
) -> None:
    """Train the networks of an ensemble. Each sees the samples in its own order, a new one in every epoch.

    Args:
        ensemble: S networks; changed in place.
        x: (N, D). y: (N, K).
        seeds: (S) of the order of the samples.
        done: called after each epoch with the number of finished epochs.
    """
    count = len(x)
    starts = range(0, count, recipe.batch_size)
    rate = schedule("one-cycle", recipe.epochs * len(starts))
    adam = optimizer("adam", ensemble, recipe.lr, momentum=0.9, weight_decay=0.0)
    step = 0
    for epoch in range(recipe.epochs):
        order = torch.stack([permutation(count, seed, "reproduce", "mlp-ensemble", epoch) for seed in seeds])
        order = order.to(x.device)  # (S, N)
        for start in starts:
            batch = order[:, start : start + recipe.batch_size]
            for group in adam.param_groups:
                group["lr"] = recipe.lr * rate(step)
            adam.zero_grad()
            # The sum over networks gives each the gradient of its own mean.
            (ensemble(x[batch]) - y[batch]).square().mean((1, 2)).sum().backward()
            adam.step()
            step += 1
        done(epoch + 1)


@torch.no_grad()
def predict(ensemble: MLPEnsemble, x: Tensor) -> Tensor:
    """Outputs of each network, (N, D) to (S, N, K)."""
    outputs: Tensor = ensemble(x.expand(len(ensemble.weights[0]), *x.shape))
    return outputs

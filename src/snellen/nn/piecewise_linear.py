"""A network of linear layers and ReLU as its weights in raw units: standardisation and batch normalisation folded in.

Models that are linear, or piecewise linear, have the method `linear_layers`; decision maps draw their hyperplanes,
linear regions and breakpoints from it.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from snellen.nn.layers import Standardize
from snellen.nn.mlp import MLP
from snellen.nn.network import Network


class LinearLayers(NamedTuple):
    """Linear layers with an activation between them that is x above zero and slope · x below; float64, on the CPU.

    Args:
        weights: of each layer, (outputs, inputs). biases: (outputs,).
        slope: 0 for ReLU.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    slope: float = 0.0

    @property
    def is_linear(self) -> bool:
        """Whether there is no activation: one layer."""
        return len(self.weights) == 1


@runtime_checkable
class HasLinearLayers(Protocol):
    """A model that may be linear or piecewise linear."""

    def linear_layers(self) -> LinearLayers | None:
        """Raw inputs to scores or numbers; None where the model is of another form."""


def layers_of_model(model: object) -> LinearLayers | None:
    """The layers of a model of raw inputs, or None."""
    return model.linear_layers() if isinstance(model, HasLinearLayers) else None


def layers_of_network(network: Network) -> LinearLayers | None:
    """The layers of a network on raw vectors; None for other activations or layers."""
    body = layers_of_body(network.body)
    return None if body is None else fold_standardisation(network.standardize, body)


def linear_layer(weight: Tensor, bias: Tensor, standardize: Standardize | None = None) -> LinearLayers:
    """One linear map (K, D), (K,), of standardised inputs if these are given."""
    layers = LinearLayers((weight.detach().double().cpu(),), (bias.detach().double().cpu(),))
    return layers if standardize is None else fold_standardisation(standardize, layers)


def fold_standardisation(standardize: Standardize, layers: LinearLayers) -> LinearLayers:
    """W (x − mean) / std + b as W' x + b', exact but for rounding in float64."""
    mean, std = standardize.mean.double().cpu(), standardize.std.double().cpu()
    weight = layers.weights[0] / std
    bias = layers.biases[0] - weight @ mean.expand(weight.shape[1])
    return layers._replace(weights=(weight, *layers.weights[1:]), biases=(bias, *layers.biases[1:]))


def scale_outputs(layers: LinearLayers, factor: Tensor, offset: Tensor) -> LinearLayers:
    """The layers with outputs y · factor + offset, both (K,)."""
    factor, offset = factor.double().cpu(), offset.double().cpu()
    weight, bias = layers.weights[-1] * factor[:, None], layers.biases[-1] * factor + offset
    return layers._replace(weights=(*layers.weights[:-1], weight), biases=(*layers.biases[:-1], bias))


@torch.no_grad()
def layers_of_body(body: nn.Module) -> LinearLayers | None:
    """The linear layers of an MLP, or of a sequence of linear layers with ReLU between them, in evaluation mode."""
    maps: list[tuple[Tensor, Tensor]] = []
    slopes: list[float] = []
    for module in _modules(body):
        if isinstance(module, nn.Linear):
            weight = module.weight.double().cpu()
            bias = weight.new_zeros(len(weight)) if module.bias is None else module.bias.double().cpu()
            if len(slopes) < len(maps):  # no activation since the last layer: both are one linear map
                weight, bias = weight @ maps[-1][0], weight @ maps[-1][1] + bias
                maps.pop()
            maps.append((weight, bias))
        elif isinstance(module, nn.BatchNorm1d) and maps and len(slopes) < len(maps):
            factor, offset = _affine(module)
            maps[-1] = (maps[-1][0] * factor[:, None], maps[-1][1] * factor + offset)
        elif isinstance(module, nn.ReLU | nn.LeakyReLU) and maps and len(slopes) < len(maps):
            slopes.append(float(getattr(module, "negative_slope", 0.0)))
        elif not isinstance(module, nn.Flatten | nn.Identity | nn.Dropout):
            return None
    if len(slopes) != len(maps) - 1 or len(set(slopes)) > 1:
        return None
    return LinearLayers(tuple(w for w, _ in maps), tuple(b for _, b in maps), slopes[0] if slopes else 0.0)


def _modules(body: nn.Module) -> list[nn.Module]:
    """The modules of a network in the order of computation."""
    if isinstance(body, nn.Sequential):
        return [inner for module in body for inner in _modules(module)]
    if not isinstance(body, MLP):
        return [body]
    result: list[nn.Module] = []
    for depth, layer in enumerate(body.layers[:-1]):
        result += [layer, *(body.norms[depth : depth + 1]), body.activation]
    return [*result, body.layers[-1]]


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Batch normalisation with running statistics as factor and offset of each unit."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = 1 / (norm.running_var.double() + norm.eps).sqrt()
    if norm.weight is not None:
        factor = factor * norm.weight.double()
    offset = -norm.running_mean.double() * factor
    if norm.bias is not None:
        offset = offset + norm.bias.double()
    return factor.cpu(), offset.cpu()


def select_outputs(layers: LinearLayers, output: int, *, beside_zero: bool = False) -> LinearLayers:
    """The layers with one of the outputs alone, or beside a first output that is zero."""
    weight, bias = layers.weights[-1][output : output + 1], layers.biases[-1][output : output + 1]
    if beside_zero:
        weight, bias = torch.cat([torch.zeros_like(weight), weight]), torch.cat([torch.zeros_like(bias), bias])
    return layers._replace(weights=(*layers.weights[:-1], weight), biases=(*layers.biases[:-1], bias))

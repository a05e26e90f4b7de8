"""A small network with its inputs, targets and loss: one forward and one backward pass, written out, in float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from snellen.core.errors import UsageError, short_repr, suggest_name
from snellen.trace.activations import ACTIVATIONS, Array
from snellen.trace.layers import ConvolutionLayer, LinearLayer, Shape, TraceLayer
from snellen.trace.losses import LOSSES, check_targets

MAX_LAYERS, MAX_UNITS, MAX_SIDE, MAX_SAMPLES, MAX_NUMBERS = 10, 16, 16, 64, 1000


@dataclass(frozen=True, kw_only=True)
class TracedNetwork:
    """Layers with the samples, the loss and the learning rate of a trace.

    Args:
        layers: from the input to the output.
        inputs: (B, D), or (B, C, H, W) of grids; targets: (B, K), or the shape of the outputs.
        loss: a name of `LOSSES`, summed over samples and outputs.
        lr: learning rate of gradient descent, w ← w − lr ∂E/∂w.
        name: shown in titles.
        seed: of the drawn weights; None: the weights are given.
    Raises:
        UsageError: shapes, names or values that do not fit together, or a network beyond the limits of this module.
    """

    layers: tuple[TraceLayer, ...]
    inputs: Array
    targets: Array
    loss: str = "half-squared"
    lr: float = 0.1
    name: str = "network"
    seed: int | None = None
    shapes: tuple[Shape, ...] = field(init=False)  # of the input and of each layer, without the batch

    def __post_init__(self) -> None:
        _check_names(self)
        if not (np.isfinite(self.lr) and self.lr > 0):
            raise UsageError(f"The learning rate {self.lr:g} is not above 0", "Give a rate such as --lr 0.05.")
        shapes = [self.inputs.shape[1:]]
        for number, layer in enumerate(self.layers, 1):
            try:
                shapes.append(layer.output_shape(shapes[-1]))
            except UsageError as error:
                raise UsageError(f"Layer {number} ({layer.kind}): {error.cause}", error.remedy) from None
        object.__setattr__(self, "shapes", tuple(shapes))
        _check_size(self)
        if self.targets.shape != (len(self.inputs), *shapes[-1]):
            raise UsageError(
                f"The targets have the shape {_shape(self.targets.shape)}, the outputs "
                f"{_shape((len(self.inputs), *shapes[-1]))} (samples first)",
                "Give one target for every output of every sample.",
            )
        for what, values in self.arrays():
            if not np.isfinite(values).all():
                raise UsageError(f"{what} hold a number that is not finite", "Give finite numbers.")
        check_targets(self.loss, self.targets)

    def arrays(self) -> list[tuple[str, Array]]:
        """Every array that was given, with a name."""
        parameters = [
            (f"The {name} values of layer {number} ({layer.kind})", values)
            for number, layer in enumerate(self.layers, 1)
            for name, values in layer.parameters.items()
        ]
        return [("The inputs", self.inputs), ("The targets", self.targets), *parameters]

    @property
    def parameters(self) -> dict[str, Array]:
        """Parameters by "layer.name", with layers from 0: "0.weight"."""
        return {f"{k}.{name}": v for k, layer in enumerate(self.layers) for name, v in layer.parameters.items()}

    def with_parameters(self, values: Mapping[str, Array]) -> TracedNetwork:
        """The network with other values of its parameters."""
        return replace(self, layers=layers_with(self.layers, values))

    @property
    def number_count(self) -> int:
        """Numbers with a gradient in one pass: inputs, pre-activations and parameters."""
        units = sum(int(np.prod(shape)) for shape in self.shapes)
        return len(self.inputs) * units + sum(values.size for values in self.parameters.values())


@dataclass(frozen=True, kw_only=True)
class TracedPass:
    """Every number of one forward and one backward pass.

    Args:
        z, a: pre-activations and activations of each layer, (B, ...).
        gradients: "x": ∂E/∂x of the inputs; "0.z": δ = ∂E/∂z of layer 0; "0.weight": ∂E/∂w of its weights.
    """

    loss: float
    z: tuple[Array, ...]
    a: tuple[Array, ...]
    gradients: dict[str, Array]


def layers_with(layers: tuple[TraceLayer, ...], values: Mapping[str, Array]) -> tuple[TraceLayer, ...]:
    """Layers with other values of the parameters "layer.name"."""
    return tuple(
        layer.with_parameters({name: values[f"{k}.{name}"] for name in layer.parameters if f"{k}.{name}" in values})
        for k, layer in enumerate(layers)
    )


def forward(layers: tuple[TraceLayer, ...], x: Array) -> tuple[list[Array], list[Array]]:
    """Pre-activations and activations of each layer."""
    z_all, a_all = [], []
    for layer in layers:
        z = layer.forward(x)
        x = ACTIVATIONS[layer.activation].value(z)
        z_all.append(z)
        a_all.append(x)
    return z_all, a_all


def run_pass(layers: tuple[TraceLayer, ...], inputs: Array, targets: Array, loss: str) -> TracedPass:
    """Forward and backward pass: δ of the last layer from the loss, then layer by layer towards the inputs.

    The parameters do not change in between: each gradient is that of the old values.
    """
    chosen = LOSSES[loss]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        z, a = forward(layers, inputs)
        value = chosen.value(z[-1], a[-1], targets)
        gradient = chosen.gradient(z[-1], a[-1], targets)
        gradients: dict[str, Array] = {}
        for k in reversed(range(len(layers))):
            is_fused = k == len(layers) - 1 and chosen.after is not None
            delta = gradient if is_fused else ACTIVATIONS[layers[k].activation].backward(z[k], a[k], gradient)
            own, gradient = layers[k].backward(a[k - 1] if k else inputs, delta)
            gradients = {f"{k}.z": delta, **{f"{k}.{name}": g for name, g in own.items()}, **gradients}
    return TracedPass(loss=value, z=tuple(z), a=tuple(a), gradients={"x": gradient, **gradients})


def draw_layers(layers: tuple[TraceLayer, ...], seed: int) -> tuple[TraceLayer, ...]:
    """Layers whose weights are drawn from a normal distribution of deviation 1/√n, for n inputs; biases are 0.

    The weights of a layer are a function of the seed and of its place alone.
    """
    random_layers = []
    for k, layer in enumerate(layers):
        if isinstance(layer, LinearLayer | ConvolutionLayer):
            inputs = int(np.prod(layer.weight.shape[1:]))
            weight = np.random.default_rng([seed, k]).normal(size=layer.weight.shape) / np.sqrt(inputs)
            bias = None if layer.bias is None else np.zeros_like(layer.bias)
            layer = replace(layer, weight=weight, bias=bias)
        random_layers.append(layer)
    return tuple(random_layers)


def _check_names(network: TracedNetwork) -> None:
    if not network.layers:
        raise UsageError("The network has no layer", "Give at least one layer.")
    if network.loss not in LOSSES:
        raise UsageError(f"{short_repr(network.loss)} is not a loss", suggest_name(network.loss, list(LOSSES)))
    for number, layer in enumerate(network.layers, 1):
        if layer.activation not in ACTIVATIONS:
            raise UsageError(
                f"Layer {number} ({layer.kind}): {short_repr(layer.activation)} is not an activation of a trace",
                suggest_name(layer.activation, list(ACTIVATIONS)),
            )
        if layer.activation == "softmax" and number < len(network.layers):
            raise UsageError(
                f"Layer {number} ({layer.kind}) has the activation softmax, which only the last layer may have",
                "Use sigmoid, tanh, relu or leaky-relu in hidden layers.",
            )
    last, after = network.layers[-1].activation, LOSSES[network.loss].after
    if after is not None and last != after:
        raise UsageError(
            f"Loss {network.loss} needs outputs of a {after}, and the last layer has the activation {last}",
            f"Give the last layer the activation {after}.",
        )


def _check_size(network: TracedNetwork) -> None:
    """Raise UsageError for a network that a page cannot show."""
    limits = [
        ("layers", len(network.layers), MAX_LAYERS),
        ("samples", len(network.inputs), MAX_SAMPLES),
        *(("units in a layer", shape[0], MAX_UNITS) for shape in network.shapes if len(shape) == 1),
        *(("rows or columns in a grid", max(shape[1:]), MAX_SIDE) for shape in network.shapes if len(shape) == 3),
        ("numbers with a gradient", network.number_count, MAX_NUMBERS),
    ]
    for what, count, limit in limits:
        if count > limit:
            raise UsageError(
                f"The network has {count:,} {what}; a trace shows every number, of at most {limit:,} {what}",
                "Use a smaller network or fewer samples; snellen train has no such limit.",
            )
    if min(len(network.inputs), *(min(shape) for shape in network.shapes)) < 1:
        raise UsageError("The inputs are empty", "Give at least one sample with one number.")
    if len(network.inputs) == 1:
        for number, (layer, shape) in enumerate(zip(network.layers, network.shapes[1:], strict=True), 1):
            if layer.kind == "batch-norm" and int(np.prod(shape[1:])) == 1:
                raise UsageError(
                    f"Layer {number} (batch-norm) has one value per feature, whose variance is 0",
                    "Give at least two samples.",
                )


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))

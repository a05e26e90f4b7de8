"""Check of a traced pass: autograd (PyTorch) and central finite differences of every gradient, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from snellen.trace.activations import ACTIVATIONS, LEAKY_SLOPE, Array
from snellen.trace.layers import TraceLayer
from snellen.trace.losses import LOSSES
from snellen.trace.network import TracedNetwork, TracedPass, forward, layers_with

AUTOGRAD_TOLERANCE, DIFFERENCE_TOLERANCE = 1e-9, 1e-5  # largest relative deviations that agree
SMALL = 1e-3  # times max(1, |E|): a gradient below it is compared with this, as a difference of losses has rounding
FIRST_WIDTH = 2e-4  # first half-width of a difference, times max(1, |value|); each next one is a quarter of it
SETTLED = 1e-7  # relative change between two widths below which a difference has settled
KINK = 1e-6  # relative difference of the slopes on both sides from which a number may lie at a kink


@dataclass(frozen=True, kw_only=True)
class GradientCheck:
    """Gradients of one pass by two other methods, with the keys of `TracedPass.gradients`.

    Args:
        differences: central differences; NaN where they do not settle, and at a kink.
        kinks: where E has a kink, such as equal largest values of a pooling window: the slopes on both sides differ,
            and the gradient is one of those between.
        autograd_deviation, difference_deviation: largest relative deviation from the written backward pass.
        unsettled: numbers without a reliable difference.
    """

    autograd: dict[str, Array]
    differences: dict[str, Array]
    kinks: dict[str, NDArrayBool]
    autograd_deviation: float
    difference_deviation: float
    kink_count: int
    unsettled: int
    worst: str  # key of the largest deviation

    @property
    def agrees(self) -> bool:
        """Whether all three methods agree."""
        return self.autograd_deviation <= AUTOGRAD_TOLERANCE and self.difference_deviation <= DIFFERENCE_TOLERANCE


NDArrayBool = np.ndarray[Any, np.dtype[np.bool_]]


def check_pass(network: TracedNetwork, traced: TracedPass) -> GradientCheck:
    """Compare each gradient of a pass with autograd and with finite differences.

    A deviation is relative to the larger of the two numbers, or to 0.001 max(1, |E|) where both are smaller.
    """
    autograd = autograd_gradients(network)
    floor = SMALL * max(1.0, abs(traced.loss))
    differences: dict[str, Array] = {}
    kinks: dict[str, NDArrayBool] = {}
    worst, largest = "", {"autograd": 0.0, "differences": 0.0}
    for key, gradient in traced.gradients.items():
        central, left, right, at_kink = _differences(network, key, traced)
        kinks[key] = at_kink
        differences[key] = np.where(at_kink, np.nan, central)
        low, high = np.minimum(left, right), np.maximum(left, right)
        compared = np.where(at_kink, np.clip(gradient, low, high), central)  # at a kink: any slope between
        for method, other in (("autograd", autograd[key]), ("differences", compared)):
            deviation = np.abs(gradient - other) / np.maximum(np.maximum(np.abs(gradient), np.abs(other)), floor)
            value = float(np.nan_to_num(deviation, nan=0.0).max(initial=0.0))
            if value > largest[method]:
                largest[method], worst = value, key
    return GradientCheck(
        autograd=autograd,
        differences=differences,
        kinks=kinks,
        autograd_deviation=largest["autograd"],
        difference_deviation=largest["differences"],
        kink_count=sum(int(mask.sum()) for mask in kinks.values()),
        unsettled=sum(int((np.isnan(differences[key]) & ~kinks[key]).sum()) for key in differences),
        worst=worst,
    )


def _differences(network: TracedNetwork, key: str, traced: TracedPass) -> tuple[Array, Array, Array, NDArrayBool]:
    """Central differences of E by one array of numbers, the slopes on both sides, and where they show a kink."""
    values, loss_of = _loss_of(network, key, traced)
    central, left, right = (np.full(values.shape, np.nan) for _ in range(3))
    kinks = np.zeros(values.shape, dtype=np.bool_)
    for place in np.ndindex(*values.shape):
        central[place], left[place], right[place], kinks[place] = _derivative(values, place, loss_of, traced.loss)
    return central, left, right, kinks


def _derivative(
    values: Array, place: tuple[int, ...], loss_of: Callable[[Array], float], loss: float
) -> tuple[float, float, float, bool]:
    """Derivative of E by one number: Richardson's extrapolation of two central differences that agree.

    Widths shrink until two successive differences agree. Returns (NaN, ...) if none do.
    """

    def sides(width: float) -> tuple[float, float]:
        moved = values.copy()
        moved[place] = values[place] + width
        above, up = loss_of(moved), moved[place] - values[place]
        moved[place] = values[place] - width
        below, down = loss_of(moved), values[place] - moved[place]
        return (loss - below) / down, (above - loss) / up

    width = FIRST_WIDTH * max(1.0, abs(float(values[place])))
    left, right = sides(width)
    for _ in range(8):
        before, wide, gap = (left, right), (left + right) / 2, right - left
        width /= 4
        left, right = sides(width)
        central, scale = (left + right) / 2, max(abs(left), abs(right), SMALL * max(1.0, abs(loss)))
        if abs(central - wide) <= SETTLED * 100 * scale:
            # The gap of the slopes is width · E'' where E is smooth, and does not shrink with the width at a kink.
            if abs(right - left) > KINK * scale and abs(right - left) > 0.6 * abs(gap):
                return central, left + (left - before[0]) / 3, right + (right - before[1]) / 3, True
            return central + (central - wide) / 15, left, right, False
    return np.nan, left, right, False


def _loss_of(network: TracedNetwork, key: str, traced: TracedPass) -> tuple[Array, Callable[[Array], float]]:
    """The numbers with this key, and E as a function of them."""
    loss = LOSSES[network.loss]

    def rest(layers: tuple[TraceLayer, ...], x: Array) -> float:
        z, a = forward(layers, x)
        return loss.value(z[-1], a[-1], network.targets)

    if key == "x":
        return network.inputs, lambda x: rest(network.layers, x)
    k, name = int(key.partition(".")[0]), key.partition(".")[2]
    before = traced.a[k - 1] if k else network.inputs
    if name != "z":
        values = network.layers[k].parameters[name]
        return values, lambda v: rest(layers_with(network.layers, {key: v})[k:], before)

    def from_z(z: Array) -> float:
        a = ACTIVATIONS[network.layers[k].activation].value(z)
        return rest(network.layers[k + 1 :], a) if network.layers[k + 1 :] else loss.value(z, a, network.targets)

    return traced.z[k], from_z


def autograd_gradients(network: TracedNetwork) -> dict[str, Array]:
    """The gradients of a pass by PyTorch's own layers, losses and autograd."""
    import torch

    x = torch.tensor(network.inputs, requires_grad=True)
    target = torch.tensor(network.targets)
    leaves: dict[str, Any] = {"x": x}
    out = x
    for k, layer in enumerate(network.layers):
        own = {name: torch.tensor(value, requires_grad=True) for name, value in layer.parameters.items()}
        z = _torch_layer(layer, own, out)
        out = _torch_activation(layer.activation, z)
        leaves |= {f"{k}.z": z, **{f"{k}.{name}": value for name, value in own.items()}}
    loss = _torch_loss(network.loss, z, out, target)
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return {key: gradient.numpy() for key, gradient in zip(leaves, gradients, strict=True)}


def _torch_layer(layer: TraceLayer, own: dict[str, Any], x: Any) -> Any:
    from torch.nn import functional

    calls: dict[str, Callable[[], Any]] = {
        "linear": lambda: functional.linear(x, own["weight"], own.get("bias")),
        "conv2d": lambda: functional.conv2d(x, own["weight"], own.get("bias"), **layer.options),
        "max-pool": lambda: functional.max_pool2d(x, layer.options["size"], layer.options["stride"]),
        "mean-pool": lambda: functional.avg_pool2d(x, layer.options["size"], layer.options["stride"]),
        "batch-norm": lambda: functional.batch_norm(
            x, None, None, own["scale"], own["shift"], training=True, eps=layer.options["eps"]
        ),
        "flatten": lambda: x.flatten(1),
    }
    return calls[layer.kind]()


def _torch_activation(name: str, z: Any) -> Any:
    import torch

    calls: dict[str, Callable[[Any], Any]] = {
        "linear": lambda z: z.clone(),
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "relu": torch.relu,
        "leaky-relu": lambda z: torch.nn.functional.leaky_relu(z, LEAKY_SLOPE),
        "softmax": lambda z: z.softmax(-1),
    }
    return calls[name](z)


def _torch_loss(name: str, z: Any, y: Any, target: Any) -> Any:
    from torch.nn import functional

    calls: dict[str, Callable[[], Any]] = {
        "half-squared": lambda: functional.mse_loss(y, target, reduction="sum") / 2,
        "squared": lambda: functional.mse_loss(y, target, reduction="sum"),
        "bce": lambda: functional.binary_cross_entropy_with_logits(z, target, reduction="sum"),
        "cross-entropy": lambda: functional.cross_entropy(z, target, reduction="sum"),
    }
    return calls[name]()

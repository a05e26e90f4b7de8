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
MAX_WIDTHS = 10
SETTLED = 1e-5  # relative change between two widths below which a difference has settled
ROUNDING = 1e-7  # relative rounding error of a difference beyond which it tells nothing


NDArrayBool = np.ndarray[Any, np.dtype[np.bool_]]
LossOf = Callable[[Array], tuple[float, bytes]]  # values to E, and the smooth piece of E that they lie on


@dataclass(frozen=True, kw_only=True)
class GradientCheck:
    """Gradients of one pass by two other methods, with the keys of `TracedPass.gradients`.

    Args:
        differences: central differences; NaN where they do not settle, and at a kink.
        kinks: at a kink of E, such as equal largest values of a pooling window, or too near to one: only autograd is
            compared.
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
        differences[key], kinks[key] = _differences(network, key, traced)
        for method, other in (("autograd", autograd[key]), ("differences", differences[key])):
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


def _differences(network: TracedNetwork, key: str, traced: TracedPass) -> tuple[Array, NDArrayBool]:
    """Central differences of E by one array of numbers, NaN where there is none, and where the reason is a kink."""
    values, loss_of = _loss_of(network, key, traced)
    central, kinks = np.full(values.shape, np.nan), np.zeros(values.shape, dtype=np.bool_)
    with np.errstate(all="ignore"):
        for place in np.ndindex(*values.shape):
            central[place], kinks[place] = _derivative(values, place, loss_of)
    return central, kinks


def _derivative(values: Array, place: tuple[int, ...], loss_of: LossOf) -> tuple[float, bool]:
    """Derivative of E by one number: Richardson's extrapolation of two central differences that agree.

    Widths shrink until two successive differences agree and no kink lies between their ends. Where rounding exceeds
    the difference before that, there is none: (NaN, whether a kink is the reason).
    """
    loss, pieces = loss_of(values)

    def difference(width: float) -> tuple[float, bool]:
        moved = values.copy()
        moved[place] = high = values[place] + width
        above, upper = loss_of(moved)
        moved[place] = low = values[place] - width
        below, lower = loss_of(moved)
        return (above - below) / (high - low), upper != pieces or lower != pieces

    width = FIRST_WIDTH * max(1.0, abs(float(values[place])))
    central, at_kink = difference(width)
    for _ in range(MAX_WIDTHS):
        wide, was_at_kink, width = central, at_kink, width / 4
        central, at_kink = difference(width)
        scale = max(abs(central), SMALL * max(1.0, abs(loss)))
        if np.finfo(np.float64).eps * abs(loss) / width > ROUNDING * scale:
            break
        if abs(central - wide) <= SETTLED * scale and not at_kink and not was_at_kink:
            return central + (central - wide) / 15, False
    return np.nan, at_kink


def _loss_of(network: TracedNetwork, key: str, traced: TracedPass) -> tuple[Array, LossOf]:
    """The numbers with this key, and E as a function of them."""
    loss = LOSSES[network.loss]

    def rest(layers: tuple[TraceLayer, ...], x: Array, pieces: bytes = b"") -> tuple[float, bytes]:
        z, a = forward(layers, x)
        for layer, before, own in zip(layers, [x, *a], z, strict=False):
            pieces += layer.piece(before) + ACTIVATIONS[layer.activation].piece(own)
        return loss.value(z[-1], a[-1], network.targets), pieces

    if key == "x":
        return network.inputs, lambda x: rest(network.layers, x)
    k, name = int(key.partition(".")[0]), key.partition(".")[2]
    before = traced.a[k - 1] if k else network.inputs
    if name != "z":
        values = network.layers[k].parameters[name]
        return values, lambda v: rest(layers_with(network.layers, {key: v})[k:], before)

    def from_z(z: Array) -> tuple[float, bytes]:
        activation = ACTIVATIONS[network.layers[k].activation]
        if k + 1 < len(network.layers):
            return rest(network.layers[k + 1 :], activation.value(z), activation.piece(z))
        return loss.value(z, activation.value(z), network.targets), activation.piece(z)

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

"""Activations of a traced network in float64: value and derivative, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEAKY_SLOPE = 0.1  # as `nn.layers.activation`, from lecture 003


@dataclass(frozen=True, kw_only=True)
class TraceActivation:
    """An activation a = f(z).

    Args:
        value: z to a.
        backward: (z, a, ∂E/∂a) to δ = ∂E/∂z.
        formula: f(z) as text; derivative: f'(z) as text.
        is_smooth: False where f has a kink at 0.
    """

    value: Callable[[Array], Array]
    backward: Callable[[Array, Array, Array], Array]
    formula: str
    derivative: str
    is_smooth: bool = True

    def piece(self, z: Array) -> bytes:
        """The smooth piece of f on which each z lies: its sign, if f has a kink at 0."""
        return b"" if self.is_smooth else np.sign(z).astype(np.int8).tobytes()


def _sigmoid(z: Array) -> Array:
    e = np.exp(-np.abs(z))  # of a number below 0: never overflows
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e))


def _softmax(z: Array) -> Array:
    e = np.exp(z - z.max(-1, keepdims=True))
    total: Array = e / e.sum(-1, keepdims=True)
    return total


# As frameworks do, the derivative of ReLU at 0 is 0 (lecture 003 writes 1), that of leaky ReLU its slope below 0.
ACTIVATIONS: dict[str, TraceActivation] = {
    "linear": TraceActivation(value=lambda z: z, backward=lambda z, a, g: g, formula="z", derivative="1"),
    "sigmoid": TraceActivation(
        value=_sigmoid,
        backward=lambda z, a, g: g * a * (1 - a),
        formula="1 / (1 + exp(−z))",
        derivative="a (1 − a)",
    ),
    "tanh": TraceActivation(
        value=np.tanh, backward=lambda z, a, g: g * (1 - a * a), formula="tanh(z)", derivative="1 − a²"
    ),
    "relu": TraceActivation(
        value=lambda z: np.maximum(z, 0.0),
        backward=lambda z, a, g: g * (z > 0),
        formula="max(0, z)",
        derivative="1 if z > 0, else 0",
        is_smooth=False,
    ),
    "leaky-relu": TraceActivation(
        value=lambda z: np.where(z > 0, z, LEAKY_SLOPE * z),
        backward=lambda z, a, g: g * np.where(z > 0, 1.0, LEAKY_SLOPE),
        formula=f"max({LEAKY_SLOPE} z, z)",
        derivative=f"1 if z > 0, else {LEAKY_SLOPE}",
        is_smooth=False,
    ),
    "softmax": TraceActivation(
        value=_softmax,
        backward=lambda z, a, g: a * (g - (g * a).sum(-1, keepdims=True)),
        formula="exp(zₖ) / Σⱼ exp(zⱼ)",
        derivative="aₖ (1 if k = j, else 0) − aₖ aⱼ",
    ),
}

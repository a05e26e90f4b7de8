"""Layers of a traced network in float64, each with a forward and a backward pass written out.

A vector layer reads (B, D), a grid layer (B, C, H, W). Nothing here uses autograd; `check.py` compares with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from snellen.core.errors import UsageError, counted
from snellen.trace.activations import Array

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class TraceLayer:
    """A layer x → z, followed by an activation z → a (see `activations.py`)."""

    kind: ClassVar[str]
    noun: ClassVar[str]
    activation: str = "linear"

    @property
    def parameters(self) -> dict[str, Array]:
        """Trained parameters by name, in the order of their numbers."""
        return {}

    def with_parameters(self, values: Mapping[str, Array]) -> Self:
        """The layer with other values of its parameters."""
        changes: dict[str, Any] = dict(values)
        return replace(self, **changes) if changes else self

    @property
    def options(self) -> dict[str, Any]:
        """Fixed numbers of the layer, such as its stride."""
        return {}

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of z without the batch; raises UsageError for an input shape that does not fit."""
        raise NotImplementedError

    def forward(self, x: Array) -> Array:
        """x to z."""
        raise NotImplementedError

    def backward(self, x: Array, delta: Array) -> tuple[dict[str, Array], Array]:
        """δ = ∂E/∂z to the gradient of each parameter and ∂E/∂x."""
        raise NotImplementedError

    def piece(self, x: Array) -> bytes:
        """The smooth piece of the layer on which x lies, where it has several."""
        return b""


@dataclass(frozen=True, kw_only=True)
class LinearLayer(TraceLayer):
    """Linear layer z = W x + b.

    Args:
        weight: (K, D); bias: (K,), or None. Both may have leading axes, of several networks at once.
    """

    kind: ClassVar[str] = "linear"
    noun: ClassVar[str] = "linear"
    weight: Array
    bias: Array | None = None

    @property
    def parameters(self) -> dict[str, Array]:
        return {"weight": self.weight} | ({} if self.bias is None else {"bias": self.bias})

    def output_shape(self, shape: Shape) -> Shape:
        if shape != (self.weight.shape[-1],):
            weights = counted(self.weight.shape[-1], "weight")
            raise UsageError(
                f"A linear layer with {weights} per unit cannot read inputs of {_size(shape)}",
                "Give each unit one weight for every input; put flatten before a linear layer that reads a grid.",
            )
        return (self.weight.shape[-2],)

    def forward(self, x: Array) -> Array:
        z: Array = x @ self.weight.swapaxes(-1, -2)
        return z if self.bias is None else z + self.bias[..., None, :]

    def backward(self, x: Array, delta: Array) -> tuple[dict[str, Array], Array]:
        gradients: dict[str, Array] = {"weight": delta.swapaxes(-1, -2) @ x}  # ∂E/∂w_ji = Σ δ_j x_i
        if self.bias is not None:
            gradients["bias"] = delta.sum(-2)
        return gradients, delta @ self.weight


@dataclass(frozen=True, kw_only=True)
class ConvolutionLayer(TraceLayer):
    """2D convolution as in frameworks, a correlation: z[o, y, x] = Σ w[o, c, i, j] in[c, s y + i − p, s x + j − p] + b.

    Args:
        weight: (O, C, kh, kw); bias: (O,), or None.
        stride: s; padding: p zeros on every side.
    """

    kind: ClassVar[str] = "conv2d"
    noun: ClassVar[str] = "convolution"
    weight: Array
    bias: Array | None = None
    stride: int = 1
    padding: int = 0

    @property
    def parameters(self) -> dict[str, Array]:
        return {"weight": self.weight} | ({} if self.bias is None else {"bias": self.bias})

    @property
    def options(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding}

    def output_shape(self, shape: Shape) -> Shape:
        outputs, channels, *kernel = self.weight.shape
        if len(shape) != 3 or shape[0] != channels:
            raise UsageError(
                f"A conv2d layer with kernels of {counted(channels, 'channel')} cannot read inputs of {_size(shape)}",
                "Its input is a grid [[row], [row], ...] of one channel, or a list of such channels.",
            )
        return (outputs, *_windows(shape, (kernel[0], kernel[1]), self.stride, self.padding, self.noun))

    def _padded(self, x: Array) -> Array:
        p = self.padding
        return np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))

    def forward(self, x: Array) -> Array:
        kernel = self.weight.shape[2:]
        windows = sliding_window_view(self._padded(x), kernel, axis=(2, 3))[:, :, :: self.stride, :: self.stride]
        z: Array = np.einsum("bcyxij,ocij->boyx", windows, self.weight)
        return z if self.bias is None else z + self.bias[:, None, None]

    def backward(self, x: Array, delta: Array) -> tuple[dict[str, Array], Array]:
        padded, (kh, kw), s, p = self._padded(x), self.weight.shape[2:], self.stride, self.padding
        height, width = delta.shape[2:]
        gradient_weight, gradient_x = np.zeros_like(self.weight), np.zeros_like(padded)
        for i in range(kh):
            for j in range(kw):
                rows, columns = slice(i, i + s * height, s), slice(j, j + s * width, s)
                gradient_weight[:, :, i, j] = np.einsum("boyx,bcyx->oc", delta, padded[:, :, rows, columns])
                gradient_x[:, :, rows, columns] += np.einsum("boyx,oc->bcyx", delta, self.weight[:, :, i, j])
        gradients = {"weight": gradient_weight}
        if self.bias is not None:
            gradients["bias"] = delta.sum((0, 2, 3))
        return gradients, gradient_x[:, :, p : p + x.shape[2], p : p + x.shape[3]]


@dataclass(frozen=True, kw_only=True)
class PoolLayer(TraceLayer):
    """Pooling over windows of size x size."""

    size: int = 2
    stride: int = 2

    @property
    def options(self) -> dict[str, Any]:
        return {"size": self.size, "stride": self.stride}

    def output_shape(self, shape: Shape) -> Shape:
        return _pooled(shape, self.size, self.stride, self.noun)


@dataclass(frozen=True, kw_only=True)
class MaxPoolLayer(PoolLayer):
    """Max pooling over windows of size x size. Of equal largest values the first in row order gets the gradient."""

    kind: ClassVar[str] = "max-pool"
    noun: ClassVar[str] = "max pooling"

    def forward(self, x: Array) -> Array:
        z: Array = _pool_windows(x, self.size, self.stride).max((-2, -1))
        return z

    def backward(self, x: Array, delta: Array) -> tuple[dict[str, Array], Array]:
        gradient = np.zeros_like(x)
        first = _pool_windows(x, self.size, self.stride).reshape(*delta.shape, -1).argmax(-1)  # the first of a tie
        for place in np.ndindex(*delta.shape):
            i, j = divmod(int(first[place]), self.size)
            b, c, row, column = place
            gradient[b, c, row * self.stride + i, column * self.stride + j] += delta[place]
        return {}, gradient

    def piece(self, x: Array) -> bytes:
        windows = _pool_windows(x, self.size, self.stride)
        return np.packbits(windows == windows.max((-2, -1), keepdims=True)).tobytes()


@dataclass(frozen=True, kw_only=True)
class MeanPoolLayer(PoolLayer):
    """Mean pooling over windows of size x size: every value of a window gets an equal part of the gradient."""

    kind: ClassVar[str] = "mean-pool"
    noun: ClassVar[str] = "mean pooling"

    def forward(self, x: Array) -> Array:
        z: Array = _pool_windows(x, self.size, self.stride).mean((-2, -1))
        return z

    def backward(self, x: Array, delta: Array) -> tuple[dict[str, Array], Array]:
        gradient, s = np.zeros_like(x), self.stride
        height, width = delta.shape[2:]
        for i in range(self.size):
            for j in range(self.size):
                gradient[:, :, i : i + s * height : s, j : j + s * width : s] += delta / self.size**2
        return {}, gradient


@dataclass(frozen=True, kw_only=True)
class BatchNormLayer(TraceLayer):
    """Batch normalisation in training: z = γ x̂ + β, x̂ = (x − mean) / √(var + ε), over the samples (and places).

    Args:
        scale: γ, (D,) or (C,); shift: β. Lecture 002 writes α for γ.
        eps: ε.
    Source: Ioffe and Szegedy 2015. The variance is that of the batch, divided by its size.
    """

    kind: ClassVar[str] = "batch-norm"
    noun: ClassVar[str] = "batch normalisation"
    scale: Array
    shift: Array
    eps: float = 1e-5

    @property
    def parameters(self) -> dict[str, Array]:
        return {"scale": self.scale, "shift": self.shift}

    @property
    def options(self) -> dict[str, Any]:
        return {"eps": self.eps}

    def output_shape(self, shape: Shape) -> Shape:
        if shape[:1] != self.scale.shape:
            raise UsageError(
                f"A batch-norm layer of {len(self.scale)} features cannot read inputs of {_size(shape)}",
                "Give one scale and one shift for every feature, or channel of a grid.",
            )
        return shape

    def statistics(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance of each feature, with the axes of `x`."""
        axes = tuple(k for k in range(x.ndim) if k != 1)
        return x.mean(axes, keepdims=True), x.var(axes, keepdims=True)

    def _broadcast(self, values: Array, x: Array) -> Array:
        return values.reshape(-1, *(1,) * (x.ndim - 2))

    def normalised(self, x: Array) -> Array:
        """x̂."""
        mean, variance = self.statistics(x)
        x_hat: Array = (x - mean) / np.sqrt(variance + self.eps)
        return x_hat

    def forward(self, x: Array) -> Array:
        return self._broadcast(self.scale, x) * self.normalised(x) + self._broadcast(self.shift, x)

    def backward(self, x: Array, delta: Array) -> tuple[dict[str, Array], Array]:
        axes = tuple(k for k in range(x.ndim) if k != 1)
        x_hat, (_, variance) = self.normalised(x), self.statistics(x)
        gradients = {"scale": (delta * x_hat).sum(axes), "shift": delta.sum(axes)}
        g = delta * self._broadcast(self.scale, x)
        centred = g - g.mean(axes, keepdims=True) - x_hat * (g * x_hat).mean(axes, keepdims=True)
        return gradients, centred / np.sqrt(variance + self.eps)


@dataclass(frozen=True, kw_only=True)
class FlattenLayer(TraceLayer):
    """A grid (C, H, W) as one vector, in row order."""

    kind: ClassVar[str] = "flatten"
    noun: ClassVar[str] = "flatten"

    def output_shape(self, shape: Shape) -> Shape:
        return (int(np.prod(shape)),)

    def forward(self, x: Array) -> Array:
        return x.reshape(len(x), -1)

    def backward(self, x: Array, delta: Array) -> tuple[dict[str, Array], Array]:
        return {}, delta.reshape(x.shape)


LAYERS: dict[str, type[TraceLayer]] = {
    layer.kind: layer
    for layer in (LinearLayer, ConvolutionLayer, MaxPoolLayer, MeanPoolLayer, BatchNormLayer, FlattenLayer)
}


def _size(shape: Shape) -> str:
    """A shape in words: "3 numbers", "1 x 4 x 4 (channels, rows, columns)"."""
    if len(shape) == 1:
        return f"{shape[0]} number{'s' * (shape[0] != 1)}"
    return f"{' x '.join(map(str, shape))} (channels, rows, columns)"


def _windows(shape: Shape, kernel: tuple[int, int], stride: int, padding: int, noun: str) -> tuple[int, int]:
    """Rows and columns of the output: ⌊(n + 2 p − k) / s⌋ + 1."""
    rows, columns = ((n + 2 * padding - k) // stride + 1 for n, k in zip(shape[1:], kernel, strict=True))
    if rows < 1 or columns < 1:
        raise UsageError(
            f"A window of {kernel[0]} x {kernel[1]} does not fit into the {shape[1]} x {shape[2]} input of the {noun}",
            "Give a smaller window, a larger input or more padding.",
        )
    return rows, columns


def _pooled(shape: Shape, size: int, stride: int, noun: str) -> Shape:
    if len(shape) != 3:
        raise UsageError(f"Inputs of {_size(shape)} have no rows and columns for {noun}", "Give a grid as input.")
    return (shape[0], *_windows(shape, (size, size), stride, 0, noun))


def _pool_windows(x: Array, size: int, stride: int) -> Array:
    """(B, C, H, W) to its windows (B, C, rows, columns, size, size)."""
    windows: Array = sliding_window_view(x, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]
    return windows

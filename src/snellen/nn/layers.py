"""Standardisation layer and activations, shared by several networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.core.cpu_threads import limit_threads
from snellen.core.spec import Input


class Standardize(nn.Module):
    """Standardisation of raw inputs of any bit depth: the first layer of every network, saved with it.

    Vectors are standardised by column, images and recordings by channel, sequences by feature over all steps. Images
    deeper than 8 bits are first clamped to the robust range [low, high] of the training set, so that one hot pixel does
    not set the scale; clips and volumes are treated as images. Points are standardised by feature, with one
    scale for their coordinates, which keeps shapes. Steps after the end of a sequence or recording are NaN and stay
    NaN.

    Args:
        input: gives the number of means: D columns or C channels, and their axis.
        channels: number of channels of the images; default those of the source.
    """

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, input: Input, channels: int | None = None) -> None:
        super().__init__()
        count = channels or input.shape[input.feature_axis]
        assert count is not None
        self.is_fixed = False  # True if it came with pretrained weights and must not be fitted again
        self.axis = input.feature_axis + 1  # after the batch
        self.is_image = "y" in input.axes
        self.num_coordinates = input.num_coordinates
        self.ends_in_steps = input.axes[-1] == "time"
        self.broadcast = (-1,) + (1,) * (len(input.axes) - self.axis)  # shape of the statistics
        self.deep = input.dtype != "uint8" and self.is_image
        self.register_buffer("mean", torch.zeros(count, dtype=torch.float64))
        self.register_buffer("std", torch.ones(count, dtype=torch.float64))
        self.register_buffer("low", torch.tensor(0.0))
        self.register_buffer("high", torch.tensor(255.0 if input.dtype == "uint8" else 1.0))
        self.register_buffer("scale", torch.empty(0), persistent=False)  # x · scale + shift, in float32
        self.register_buffer("shift", torch.empty(0), persistent=False)
        self._prepare()
        self.register_load_state_dict_post_hook(Standardize._loaded)  # type: ignore[no-untyped-call]

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Set the mean and the deviation, (C,) float64, of each feature or channel; a deviation of 0 counts as 1."""
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 0, std, torch.ones_like(std)))
        self._prepare()

    def _loaded(self, _: object) -> None:
        self._prepare()

    def _prepare(self) -> None:
        """Compute scale and shift from mean and deviation, as scalars if there is one channel."""
        shape = self.broadcast if len(self.mean) > 1 else ()
        if self.mean.is_meta:  # without values, and torch would load its compiler for a division
            self.scale = self.shift = self.mean.float().reshape(shape)
            return
        self.scale = (1 / self.std).float().reshape(shape)
        self.shift = (-self.mean / self.std).float().reshape(shape)

    def forward(self, x: Tensor) -> Tensor:
        """Standardise (B, C, ...), (B, T, D) or another batch of the input, of any dtype, to float32 of its shape."""
        if x.dtype == torch.float64:
            # float32 would lose small differences on a large offset: subtract first.
            if self.deep:
                x = x.clamp(self.low.double(), self.high.double())
            return ((x - self.mean.view(self.broadcast)) / self.std.view(self.broadcast)).float()
        x = x.float()
        if self.deep:
            x = x.clamp(self.low, self.high)
        if self.shift.ndim == 0:  # one channel: a scalar takes half the time of a broadcast
            return (x * self.scale).add_(self.shift)
        return torch.addcmul(self.shift, x, self.scale)

    def fit(self, x: Tensor, value_range: tuple[float, float] | None = None, *, shared_range: bool = False) -> None:
        """Set mean, deviation and range from training inputs.

        Args:
            x: (N, C, ...), (N, T, D), (N, C, T) or (N, D), a representative part of the training split.
            value_range: used in place of the robust range of `x`.
            shared_range: scale image values to 0 … 1 by the range, all channels equally, so that distances keep
                their meaning.
        """
        with limit_threads(1):  # otherwise the order of summation depends on the number of threads
            self._fit(x, value_range, shared_range)

    def _fit(self, x: Tensor, value_range: tuple[float, float] | None, shared_range: bool) -> None:
        values = x.double()
        if self.axis > 1:  # steps or points are as samples
            values = values.flatten(0, self.axis - 1)
            values = values[~values.flatten(1).isnan().any(1)]
        elif self.ends_in_steps:
            values = values.movedim(1, -1).flatten(0, -2)  # (steps of all samples, C)
            values = values[~values.isnan().any(1)]
        if self.deep:
            low, high = value_range or robust_range(values)
            values = values.clamp(low, high)
        else:
            low, high = value_range or (float(values.min()), float(values.max())) if not self.is_image else (0.0, 255.0)
        dims = [d for d in range(values.ndim) if d != 1]
        std = values.std(dim=dims, correction=0)
        if self.num_coordinates:
            std[: self.num_coordinates] = std[: self.num_coordinates].square().mean().sqrt()
        self.mean.copy_(values.mean(dim=dims))
        varies = (values.amax(dim=dims) > values.amin(dim=dims)) & (std > 0)  # independent of the unit
        varies[: self.num_coordinates] = varies[: self.num_coordinates].any()
        self.std.copy_(torch.where(varies, std, torch.ones_like(std)))  # a constant column stays zero
        if shared_range and self.is_image:
            self.mean.fill_(low)
            self.std.fill_(high - low)
        limit = torch.finfo(self.low.dtype).max  # of vectors, the range is not used
        self.low.fill_(low if self.is_image else max(low, -limit))
        self.high.fill_(high if self.is_image else min(high, limit))
        self._prepare()


def robust_range(x: Tensor) -> tuple[float, float]:
    """The 0.1 % and 99.9 % quantiles, from at most a million values."""
    flat = x.flatten()
    flat = flat[:: max(1, flat.numel() // 1_000_000)]
    low, high = torch.quantile(flat, flat.new_tensor([0.001, 0.999])).tolist()
    return (low, high) if high > low else (low, low + 1.0)


def activation(name: str) -> nn.Module:
    """Activation layer by name.

    Args:
        name: "relu", "tanh", "sigmoid", "leaky-relu" (slope 0.1, as in lecture 003), "maxout", "step" or "linear".
    """
    layers: dict[str, nn.Module] = {
        "relu": nn.ReLU(),
        "tanh": nn.Tanh(),
        "sigmoid": nn.Sigmoid(),
        "leaky-relu": nn.LeakyReLU(0.1),
        "maxout": Maxout(),
        "step": Step(),
        "linear": nn.Identity(),
    }
    return layers[name]


class Maxout(nn.Module):
    """Maxout activation: max(w₁ᵀx + b₁, w₂ᵀx + b₂), after a linear layer with twice the units.

    Source: Goodfellow, Warde-Farley, Mirza, Courville and Bengio 2013; lecture 002.
    """

    PIECES = 2

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2 N) to (B, N)."""
        return x.reshape(x.shape[0], -1, self.PIECES).amax(2)


class Step(nn.Module):
    """Step (Heaviside) activation: 1 above zero, else 0. Its derivative is zero: layers below it do not train.

    Source: Rosenblatt 1958; lecture 001.
    """

    def forward(self, x: Tensor) -> Tensor:
        return (x > 0).to(x)

"""Faster training of LeNet on CPUs: its feature maps in oneDNN's blocked memory layout.

Max pooling of few channels takes a third of the time in this layout. `bench/small_cnn.py` measures it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from snellen.nn.convnets.lenet import LeNet


class FirstConvolution(torch.autograd.Function):
    """First convolution, whose input needs no gradient, in oneDNN's memory layout.

    The gradient of its weights is a convolution too: of the images with the gradient of the feature maps, with batch
    and channels exchanged. With a single channel it takes a third of the time of oneDNN's own routine.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.padding = padding
        return nn.functional.conv2d(x.to_mkldnn(), weight, bias, padding=padding)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor, None]:
        (x,) = ctx.saved_tensors
        gradient = gradient.to_dense()  # (B, D, H, W)
        weight = nn.functional.conv2d(x.transpose(0, 1), gradient.transpose(0, 1), padding=ctx.padding)  # (C, D, k, k)
        return None, weight.transpose(0, 1), gradient.sum((0, 2, 3)), None


@contextlib.contextmanager
def blocked_layout(model: nn.Module) -> Iterator[None]:
    """Context manager: LeNets in a model compute their feature maps in the blocked layout in training."""
    stacks = [m.features for m in model.modules() if isinstance(m, LeNet)]
    for features in stacks:
        features.forward = partial(_forward, features)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for features in stacks:
            del features.forward


def _forward(features: nn.Sequential, x: Tensor) -> Tensor:
    first = features[0]
    if not features.training or not supports_blocked_layout(x) or x.requires_grad:
        plain: Tensor = nn.Sequential.forward(features, x)  # type: ignore[no-untyped-call]
        return plain
    maps: Tensor = FirstConvolution.apply(x, first.weight, first.bias, first.padding)
    for layer in features[1:]:
        maps = layer(maps)
    return maps.to_dense()


def supports_blocked_layout(x: Tensor) -> bool:
    """Whether oneDNN's blocked layout can be used: its max pooling of few channels takes a third of torch's time."""
    traced = torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None
    fits = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return fits and torch._C._has_mkldnn and not traced

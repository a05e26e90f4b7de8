"""Convolutions whose gradient of weights is a matrix product, where that is faster than oneDNN's own routine.

Without AVX-512, oneDNN takes two to four times as long for the gradient of a convolution's weights as for the
convolution itself, when the channels of a cell lie side by side. Written as the product of what lies under the windows
with the gradient of the answers, it goes at the pace of any matrix product.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

CHANNELS = 64  # from which the product is ahead
MOST = 1 << 20  # numbers under windows that are laid out at a time: 4 MB, which stay near the processor

Pair = tuple[int, int]


class Convolution(torch.autograd.Function):
    """(B, C, H, W) by weights (D, C, k, l) to (B, D, h, w), with zeros around; one group, no dilation."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return conv2d(x, weight, bias, stride, padding)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        above = None
        if ctx.needs_input_grad[0]:
            above = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1, (True, False, False)
            )[0]
        bias = gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
        return above, of_weights(x, gradient, weight, ctx.stride, ctx.padding), bias, None, None


def of_weights(x: Tensor, gradient: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """The gradient of a convolution's weights.

    Args:
        x: (B, C, H, W) what was convolved. gradient: (B, D, h, w) of the answers. weight: (D, C, k, l), of whose shape
            and layout it is.
    """
    outputs, channels, *sides = weight.shape
    (down, across), (tall, wide) = stride, padding
    padded = pad(x.permute(0, 2, 3, 1), (0, 0, wide, wide, tall, tall))
    windows = padded.unfold(1, sides[0], down).unfold(2, sides[1], across)
    windows = windows.permute(0, 1, 2, 4, 5, 3)  # (B, h, w, k, l, C), nothing is copied yet
    above = gradient.permute(0, 2, 3, 1)  # (B, h, w, D)
    numbers = sides[0] * sides[1] * channels
    rows = max(1, MOST // (above.shape[2] * numbers))
    samples, rows = max(1, rows // above.shape[1]), min(rows, above.shape[1])
    total = x.new_zeros(outputs, numbers)
    for some, gradients in zip(torch.split(windows, samples), torch.split(above, samples), strict=True):
        for part, reached in zip(torch.split(some, rows, 1), torch.split(gradients, rows, 1), strict=True):
            total.addmm_(reached.reshape(-1, outputs).T, part.reshape(-1, numbers))
    return total.view(outputs, *sides, channels).permute(0, 3, 1, 2)


@contextlib.contextmanager
def by_products(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Inside, a model's convolutions learn by matrix products where these are ahead."""
    chosen = [m for m in model.modules() if isinstance(m, nn.Conv2d) and _suits(m)] if _ahead(device) else []
    for conv in chosen:
        conv.forward = partial(_forward, conv)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for conv in chosen:
            del conv.forward


def _ahead(device: torch.device) -> bool:
    capabilities = torch.cpu.get_capabilities()
    return device.type == "cpu" and bool(capabilities.get("avx2", False)) and not capabilities.get("avx512_f", False)


def _suits(conv: nn.Conv2d) -> bool:
    return (
        conv.in_channels >= CHANNELS
        and conv.groups == 1
        and conv.dilation == (1, 1)
        and max(conv.kernel_size) > 1
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
    )


def _forward(conv: nn.Conv2d, x: Tensor) -> Tensor:
    learned = torch.is_grad_enabled() and conv.weight.requires_grad and x.dtype == conv.weight.dtype
    if not learned or torch.is_autocast_enabled("cpu") or not x.is_contiguous(memory_format=torch.channels_last):
        return nn.Conv2d.forward(conv, x)
    answers: Tensor = Convolution.apply(x, conv.weight, conv.bias, conv.stride, conv.padding)
    return answers

"""Faster convolution weight gradients on CPUs without AVX-512: a matrix product in place of oneDNN's routine.

Without AVX-512, in the channels-last layout, oneDNN takes two to four times as long for the gradient of a convolution's
weights as for the convolution itself. The product of the unfolded input with the output gradient runs at the speed of
any matrix product.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

MIN_CHANNELS = 64  # input channels from which the matrix product is faster
MAX_UNFOLDED = 1 << 20  # unfolded values per matrix product: 4 MB, which fit into the cache

Pair = tuple[int, int]


class MatrixProductConvolution(torch.autograd.Function):
    """2-D convolution with a matrix-product weight gradient: (B, C, H, W) by weights (D, C, k, l) to (B, D, h, w).

    Zero padding, one group, no dilation.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return conv2d(x, weight, bias, stride, padding)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        input_gradient = None
        if ctx.needs_input_grad[0]:
            input_gradient = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1, (True, False, False)
            )[0]
        bias = gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
        return input_gradient, weight_gradient(x, gradient, weight, ctx.stride, ctx.padding), bias, None, None


def weight_gradient(x: Tensor, gradient: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """Gradient of a convolution's weights.

    Args:
        x: (B, C, H, W) input. gradient: (B, D, h, w) of the output. weight: (D, C, k, l); the result has its shape
            and memory layout.
    """
    outputs, channels, *kernel = weight.shape
    (stride_y, stride_x), (pad_y, pad_x) = stride, padding
    padded = pad(x.permute(0, 2, 3, 1), (0, 0, pad_x, pad_x, pad_y, pad_y))
    windows = padded.unfold(1, kernel[0], stride_y).unfold(2, kernel[1], stride_x)
    windows = windows.permute(0, 1, 2, 4, 5, 3)  # (B, h, w, k, l, C), a view
    output_gradient = gradient.permute(0, 2, 3, 1)  # (B, h, w, D)
    window_size = kernel[0] * kernel[1] * channels
    rows = max(1, MAX_UNFOLDED // (output_gradient.shape[2] * window_size))
    samples, rows = max(1, rows // output_gradient.shape[1]), min(rows, output_gradient.shape[1])
    total = x.new_zeros(outputs, window_size)
    for batch, gradients in zip(torch.split(windows, samples), torch.split(output_gradient, samples), strict=True):
        for part, part_gradient in zip(torch.split(batch, rows, 1), torch.split(gradients, rows, 1), strict=True):
            total.addmm_(part_gradient.reshape(-1, outputs).T, part.reshape(-1, window_size))
    return total.view(outputs, *kernel, channels).permute(0, 3, 1, 2)


@contextlib.contextmanager
def fast_weight_gradients(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Context manager: a model's convolutions compute weight gradients by matrix products where that is faster."""
    convolutions = (
        [m for m in model.modules() if isinstance(m, nn.Conv2d) and _is_eligible(m)] if _is_faster(device) else []
    )
    for conv in convolutions:
        conv.forward = partial(_forward, conv)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for conv in convolutions:
            del conv.forward


def _is_faster(device: torch.device) -> bool:
    capabilities = torch.cpu.get_capabilities()
    return device.type == "cpu" and bool(capabilities.get("avx2", False)) and not capabilities.get("avx512_f", False)


def _is_eligible(conv: nn.Conv2d) -> bool:
    return (
        conv.in_channels >= MIN_CHANNELS
        and conv.groups == 1
        and conv.dilation == (1, 1)
        and max(conv.kernel_size) > 1
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
    )


def _forward(conv: nn.Conv2d, x: Tensor) -> Tensor:
    trained = torch.is_grad_enabled() and conv.weight.requires_grad and x.dtype == conv.weight.dtype
    if not trained or torch.is_autocast_enabled("cpu") or not x.is_contiguous(memory_format=torch.channels_last):
        return nn.Conv2d.forward(conv, x)
    output: Tensor = MatrixProductConvolution.apply(x, conv.weight, conv.bias, conv.stride, conv.padding)
    return output

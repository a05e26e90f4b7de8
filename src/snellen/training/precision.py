"""Mixed precision: autocast, gradient scaling, and a fix for bfloat16 convolutions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from snellen.core.errors import EnvironmentProblem
from snellen.training.settings import TrainingSettings


def precision(
    settings: TrainingSettings, model: nn.Module, device: torch.device
) -> tuple[Callable[[], AbstractContextManager[Any]], Any]:
    """Autocast context for the requested precision, and a gradient scaler for float16.

    Raises:
        EnvironmentProblem: where the hardware lacks it.
    """
    name = settings.precision
    if name == "auto":
        large = sum(p.numel() for p in model.parameters()) > 1_000_000
        name = "bfloat16" if large and has_bfloat16(device) else "float32"
    if name == "float32":
        return nullcontext, None
    if name == "bfloat16" and not has_bfloat16(device):
        raise EnvironmentProblem(f"This {device.type} has no bfloat16", "Use --precision float32.")
    if name == "float16" and device.type != "cuda":
        raise EnvironmentProblem(f"float16 needs a GPU, this is {device.type}", "Use --precision bfloat16 or float32.")
    dtype = torch.bfloat16 if name == "bfloat16" else torch.float16
    scaler = torch.amp.GradScaler(device.type) if name == "float16" else None
    return lambda: torch.autocast(device.type, dtype), scaler


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware supports bfloat16 without emulation."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


@contextlib.contextmanager
def avoid_padding_only_columns(model: nn.Module) -> Iterator[None]:
    """Context manager: no column of a strided convolution's kernel sees padding alone (a fix for oneDNN in bfloat16).

    For such a column oneDNN's bfloat16 gradient is uninitialised memory, at times NaN, where it should be zero. It
    occurs where feature maps have shrunk to about one pixel. Columns of zeros to the right avoid it, as many as leave
    the output size unchanged.
    """
    strided = [
        m
        for m in model.modules()
        if isinstance(m, nn.Conv2d) and m.stride[1] > 1 and not isinstance(m.padding, str) and m.padding[1] > 0
    ]
    hooks = [m.register_forward_pre_hook(_pad_right) for m in strided]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _pad_right(conv: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor, ...] | None:
    assert isinstance(conv, nn.Conv2d)
    x: Tensor = inputs[0]
    width, stride, padding = x.shape[-1], conv.stride[1], int(conv.padding[1])
    extent = conv.dilation[1] * (conv.kernel_size[1] - 1) + 1
    if width >= extent or x.device.type != "cpu":  # every kernel column covers the input somewhere
        return None
    missing = stride - 1 - (width + 2 * padding - extent) % stride
    return (nn.functional.pad(x, (0, missing)),) if missing else None

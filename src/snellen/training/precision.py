"""The arithmetic of training: which numbers it is done in, and what must be watched where they are short."""

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
    how: TrainingSettings, model: nn.Module, device: torch.device
) -> tuple[Callable[[], AbstractContextManager[Any]], Any]:
    """The autocast context of the arithmetic asked for, and a gradient scaler for float16.

    Raises:
        EnvironmentProblem: where the hardware lacks it.
    """
    name = how.precision
    if name == "auto":
        large = sum(p.numel() for p in model.parameters()) > 1_000_000
        name = "bfloat16" if large and has_bfloat16(device) else "float32"
    if name == "float32":
        return nullcontext, None
    if name == "bfloat16" and not has_bfloat16(device):
        raise EnvironmentProblem(f"This {device.type} has no bfloat16", "Take --precision float32.")
    if name == "float16" and device.type != "cuda":
        raise EnvironmentProblem(f"float16 needs a GPU, this is {device.type}", "Take --precision bfloat16 or float32.")
    dtype = torch.bfloat16 if name == "bfloat16" else torch.float16
    scaler = torch.amp.GradScaler(device.type) if name == "float16" else None
    return lambda: torch.autocast(device.type, dtype), scaler


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 arithmetic is in the hardware, not emulated."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


@contextlib.contextmanager
def whole_kernels(model: nn.Module) -> Iterator[None]:
    """Inside, no column of a strided convolution's kernel sees padding alone.

    oneDNN's gradient of such a column in bfloat16 is whatever lay in memory, at times NaN, where it should be zero. It
    comes about where maps have shrunk to a pixel or so; columns of zeros to the right, as many as do not change the
    size of the answer, do away with it.
    """
    strided = [
        m
        for m in model.modules()
        if isinstance(m, nn.Conv2d) and m.stride[1] > 1 and not isinstance(m.padding, str) and m.padding[1] > 0
    ]
    hooks = [m.register_forward_pre_hook(_widened) for m in strided]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _widened(conv: nn.Module, given: tuple[Any, ...]) -> tuple[Tensor, ...] | None:
    assert isinstance(conv, nn.Conv2d)
    x: Tensor = given[0]
    width, stride, padding = x.shape[-1], conv.stride[1], int(conv.padding[1])
    reach = conv.dilation[1] * (conv.kernel_size[1] - 1) + 1
    if width >= reach or x.device.type != "cpu":  # every column lies on the map somewhere
        return None
    room = stride - 1 - (width + 2 * padding - reach) % stride
    return (nn.functional.pad(x, (0, room)),) if room else None

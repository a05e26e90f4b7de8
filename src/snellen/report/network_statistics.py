"""Statistics of a network: dead ReLU units, and gradient norms by layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from snellen.core.task import Diagnosis
from snellen.data.dataset import Labelled, Samples

_RELU = {torch.relu, torch.relu_, torch.nn.functional.relu, torch.nn.functional.relu_, Tensor.relu, Tensor.relu_}


class GradientNorm(NamedTuple):
    """Root mean square of the gradient and of the weights of one layer."""

    name: str
    gradient: float
    weight: float


class _ReLURecorder(TorchFunctionMode):
    """Record for every ReLU (module, function or method), in order of execution, which units are zero in the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.zero_units: list[Tensor] = []

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _RELU:
            # A unit is a feature of a linear layer or a channel of a convolution.
            flat = result.detach().movedim(1, 0).flatten(1) if result.ndim > 1 else result.detach()[None]
            self.zero_units.append((flat <= 0).all(1))
        return result


def dead_units(model: nn.Module, samples: Samples, diagnosis: Diagnosis[Any]) -> list[Tensor]:
    """For each ReLU layer, which of its units are zero on every sample: (units,) bool."""
    assert diagnosis.output is not None
    dead: list[Tensor] = []
    with torch.inference_mode():
        for batch in samples.in_order(128):
            recorder = _ReLURecorder()
            with recorder:
                diagnosis.output(model, batch.x)
            dead = [a & b for a, b in zip(dead, recorder.zero_units, strict=True)] if dead else recorder.zero_units
    return [layer.cpu() for layer in dead]


def gradient_norms(model: nn.Module, batch: Labelled, diagnosis: Diagnosis[Any]) -> list[GradientNorm]:
    """RMS of the loss gradient in each layer, first to last; an empty list for a model without gradients."""
    weights = {
        name.removesuffix(".weight"): p for name, p in model.named_parameters() if p.requires_grad and p.ndim > 1
    }
    if not weights:
        return []
    with torch.enable_grad():
        assert diagnosis.output is not None
        assert diagnosis.loss is not None
        loss = diagnosis.loss(diagnosis.output(model, batch.x), batch.y)
        if not loss.requires_grad:
            return []
        gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    return [
        GradientNorm(name, _rms(gradient), _rms(weight.detach()))
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
        if gradient is not None
    ]


def _rms(x: Tensor) -> float:
    return float(x.double().square().mean().sqrt())

"""What goes on inside a network: silent units, and how large gradients are from layer to layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from snellen.core.spec import Labels, Numbers, Spec
from snellen.data.dataset import Labelled, Samples

_RELU = {torch.relu, torch.relu_, torch.nn.functional.relu, torch.nn.functional.relu_, Tensor.relu, Tensor.relu_}


class Size(NamedTuple):
    """Of one layer: root mean squares over its weights."""

    name: str
    gradient: float
    weight: float


class _Watching(TorchFunctionMode):
    """Sees what every ReLU gives, as a module, a function or a method, in the order of the computation."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _RELU:
            # A unit is a feature of a linear layer, a channel of a convolution.
            flat = result.detach().movedim(1, 0).flatten(1) if result.ndim > 1 else result.detach()[None]
            self.seen.append((flat <= 0).all(1))
        return result


def silent_units(model: nn.Module, samples: Samples, spec: Spec) -> list[Tensor]:
    """For each ReLU layer, which of its units are zero on every sample: (units,) bool."""
    together: list[Tensor] = []
    with torch.inference_mode():
        for batch in samples.in_order(128):
            watching = _Watching()
            with watching:
                forward(model, batch.x, spec)
            together = [a & b for a, b in zip(together, watching.seen, strict=True)] if together else watching.seen
    return [silent.cpu() for silent in together]


def gradients(model: nn.Module, batch: Labelled, spec: Spec) -> list[Size]:
    """The size of the loss's gradient in each layer, first to last; none for a model that has no gradients."""
    weights = {
        name.removesuffix(".weight"): p for name, p in model.named_parameters() if p.requires_grad and p.ndim > 1
    }
    if not weights:
        return []
    with torch.enable_grad():
        loss = loss_of(forward(model, batch.x, spec), batch.y, spec)
        if not loss.requires_grad:
            return []
        found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    return [
        Size(name, _rms(gradient), _rms(weight.detach()))
        for (name, weight), gradient in zip(weights.items(), found, strict=True)
        if gradient is not None
    ]


def forward(model: nn.Module, x: Tensor, spec: Spec) -> Tensor:
    """The output of a model by its task's protocol."""
    answer: Any = model.predict if isinstance(spec.target, Numbers) else model.scores
    y: Tensor = answer(x)
    return y


def loss_of(output: Tensor, y: Tensor, spec: Spec) -> Tensor:
    """Cross-entropy; binary for several labels; squared error in units of the target's spread for numbers."""
    if isinstance(spec.target, Numbers):
        spread = y.double().std(0, correction=0).clamp(min=1e-12)
        return ((output.double() - y.double()) / spread).square().mean()
    if isinstance(spec.target, Labels):
        return nn.functional.binary_cross_entropy_with_logits(output, y)
    return nn.functional.cross_entropy(output, y)


def _rms(x: Tensor) -> float:
    return float(x.double().square().mean().sqrt())

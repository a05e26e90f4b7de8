"""Optimizers by name: SGD, momentum, Nesterov, AdaGrad, RMSprop, Adam, AdamW (torch.optim)."""

from __future__ import annotations

import inspect
from typing import Literal, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer

OptimizerName = Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"]
K = TypeVar("K", bound=Optimizer)


def optimizer(name: str, model: nn.Module, lr: float, momentum: float, weight_decay: float) -> Optimizer:
    """Create an optimizer over the trainable weights.

    Weight decay is the gradient of (λ/2)‖w‖² except for "adamw", where it is decoupled. Biases and the scales of
    normalisation, all of rank one, are not decayed.

    Source: lecture 002, update rules; Loshchilov and Hutter 2019 (adamw).
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if not weight_decay:  # one group halves the number of kernel calls per step
        groups = [{"params": trainable, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    device = trainable[0].device.type
    fused = device in ("cpu", "cuda") and all(p.is_floating_point() for p in trainable)
    if name == "sgd":
        return _unwrap_methods(torch.optim.SGD)(groups, lr=lr)  # one operation per weight: fusing does not pay
    if name in ("momentum", "nesterov"):
        return _unwrap_methods(torch.optim.SGD)(
            groups, lr=lr, momentum=momentum, nesterov=name == "nesterov", fused=fused
        )
    if name == "adagrad":
        return _unwrap_methods(torch.optim.Adagrad)(groups, lr=lr)
    if name == "rmsprop":
        return _unwrap_methods(torch.optim.RMSprop)(groups, lr=lr)
    if name == "adamw":
        return _unwrap_methods(torch.optim.AdamW)(groups, lr=lr, fused=fused)
    return _unwrap_methods(torch.optim.Adam)(groups, lr=lr, fused=fused)


def _unwrap_methods(optimizer_class: type[K]) -> type[K]:
    """Optimizer class without torch's compiler guards around its methods: they import the compiler (two seconds)."""
    methods = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    subclass: type[K] = type(
        optimizer_class.__name__,
        (optimizer_class,),
        {name: inspect.unwrap(getattr(optimizer_class, name)) for name in methods},
    )
    return subclass

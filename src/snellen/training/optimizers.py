"""torch's optimizers by the names the lectures use."""

from __future__ import annotations

import inspect
from typing import Literal, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer

Name = Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"]
K = TypeVar("K", bound=Optimizer)


def optimizer(name: str, model: nn.Module, lr: float, momentum: float, weight_decay: float) -> Optimizer:
    """An optimizer over the weights that learn.

    Weight decay is the gradient of (λ/2)‖w‖² except for "adamw", where it is decoupled. Biases and the scales of
    normalisation, all of rank one, are not decayed.

    Source: lecture 002, update rules; Loshchilov and Hutter 2019 (adamw).
    """
    learning = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if not weight_decay:  # one group: half the calls of a step
        groups = [{"params": learning, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    device = learning[0].device.type
    fused = device in ("cpu", "cuda") and all(p.is_floating_point() for p in learning)
    if name == "sgd":
        return _plain(torch.optim.SGD)(groups, lr=lr)  # one operation a weight: fusing costs more than it saves
    if name in ("momentum", "nesterov"):
        return _plain(torch.optim.SGD)(groups, lr=lr, momentum=momentum, nesterov=name == "nesterov", fused=fused)
    if name == "adagrad":
        return _plain(torch.optim.Adagrad)(groups, lr=lr)
    if name == "rmsprop":
        return _plain(torch.optim.RMSprop)(groups, lr=lr)
    if name == "adamw":
        return _plain(torch.optim.AdamW)(groups, lr=lr, fused=fused)
    return _plain(torch.optim.Adam)(groups, lr=lr, fused=fused)


def _plain(kind: type[K]) -> type[K]:
    """The optimizer without what keeps the compiler of torch off its methods: for that it is loaded, in two seconds."""
    methods = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    made: type[K] = type(kind.__name__, (kind,), {name: inspect.unwrap(getattr(kind, name)) for name in methods})
    return made

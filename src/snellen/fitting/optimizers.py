"""torch's optimizers by the names the lectures use."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.optim import Optimizer

Name = Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"]


def optimizer(name: str, model: nn.Module, lr: float, momentum: float, weight_decay: float) -> Optimizer:
    """An optimizer over the weights that learn.

    Weight decay is the gradient of (λ/2)‖w‖² except for "adamw", where it is decoupled. Biases and the scales of
    normalisation, all of rank one, are not decayed.

    Source: lecture 002, update rules; Loshchilov and Hutter 2019 (adamw).
    """
    learning = [p for p in model.parameters() if p.requires_grad]
    groups = [{"params": [p for p in learning if p.ndim > 1], "weight_decay": weight_decay},
              {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0}]
    if not weight_decay:  # one group: half the calls of a step
        groups = [{"params": learning, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    device = learning[0].device.type
    fused = device in ("cpu", "cuda") and all(p.is_floating_point() for p in learning)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr)  # one operation a weight: fusing costs more than it saves
    if name in ("momentum", "nesterov"):
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=name == "nesterov", fused=fused)
    if name == "adagrad":
        return torch.optim.Adagrad(groups, lr=lr)
    if name == "rmsprop":
        return torch.optim.RMSprop(groups, lr=lr)
    kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    return kind(groups, lr=lr, fused=fused)

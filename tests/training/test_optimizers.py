"""Optimizers: trainable parameters and weight-decay groups. The update rules themselves: tests/lectures, row B9."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from snellen.training.optimizers import OptimizerName, optimizer
from snellen.training.settings import TrainingSettings

NAMES = get_args(OptimizerName)


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_reduces_the_loss_and_can_be_selected(name: str) -> None:
    model = nn.Linear(4, 1)
    nn.init.ones_(model.weight)
    nn.init.ones_(model.bias)
    torch_optimizer = optimizer(name, model, 0.05, 0.9, 0.0)
    losses = []
    for _ in range(20):
        torch_optimizer.zero_grad()
        loss = model.weight.square().sum() + model.bias.square().sum()
        loss.backward()
        torch_optimizer.step()
        losses.append(float(loss.detach()))
    assert min(losses) < 0.5 * losses[0]
    assert TrainingSettings(optimizer=name).optimizer == name


def test_normalisation_scales_and_biases_have_no_weight_decay() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    groups = optimizer("sgd", model, 0.1, 0.9, 0.01).param_groups
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert (id(parameter) in decayed) == (name in ("0.weight", "3.weight")), name
    assert sum(len(group["params"]) for group in groups) == 6


def test_frozen_weights_are_not_optimized() -> None:
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    groups = optimizer("adam", model, 0.1, 0.9, 0.0).param_groups
    assert [p.shape for group in groups for p in group["params"]] == [torch.Size([2, 3])]

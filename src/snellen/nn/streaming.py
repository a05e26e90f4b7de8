"""Networks of sequences step by step: the state, or the last steps, are carried from one call to the next."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from snellen.nn.dense.step_recurrent import StepRecurrent
from snellen.nn.dense.step_window import StepWindow
from snellen.nn.recurrent import RecurrentNetwork


class CarriedState(nn.Module):
    """Recurrent layers that begin where the call before ended.

    Args:
        layers: (B, T, D), and the state before it or None, to (states (B, T, H), state).
    """

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers
        self.state: Tensor | tuple[Tensor, ...] | None = None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | tuple[Tensor, ...]]:
        """(B, T, D) further steps to their states (B, T, H), and the last one."""
        states, self.state = self.layers(x, self.state)
        assert self.state is not None
        return states, self.state


class CarriedSteps(nn.Module):
    """Puts the last steps of the call before in front of further steps; zeros before the first.

    Args:
        context: number of these steps.
    """

    def __init__(self, context: int) -> None:
        super().__init__()
        self.context = context
        self.state: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, T) to (B, D, context + T)."""
        before = x.new_zeros(*x.shape[:2], self.context) if self.state is None else self.state
        steps = torch.cat([before, x], 2)
        self.state = steps[..., steps.shape[2] - self.context :]
        return steps


def with_carried_state(model: nn.Module) -> nn.Module | None:
    """A copy of a model whose recurrent networks and windows carry their state from one call to the next.

    Called with the steps of a sequence one by one, it returns what the model returns for the steps so far, or at this
    step. None for a model without such networks, and for one that also reads later steps.
    """
    copied = copy.deepcopy(model)
    is_replaced = False
    for module in copied.modules():
        if isinstance(module, RecurrentNetwork):
            module.recurrent, is_replaced = CarriedState(module.recurrent), True
        elif isinstance(module, StepRecurrent):
            if len(module.backwards):
                return None
            module.forwards, is_replaced = nn.ModuleList(map(CarriedState, module.forwards)), True
        elif isinstance(module, StepWindow):
            if not module.causal:
                return None
            module.pad, is_replaced = CarriedSteps(module.context), True
    return copied if is_replaced else None


def forget(model: nn.Module) -> None:
    """Begin a new sequence: the state is that before the first step."""
    for module in model.modules():
        if isinstance(module, CarriedState | CarriedSteps):
            module.state = None

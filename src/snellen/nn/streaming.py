"""Recurrent networks step by step: the state is carried from one call to the next."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from snellen.nn.dense.step_recurrent import StepRecurrent
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


def with_carried_state(model: nn.Module) -> nn.Module | None:
    """A copy of a model whose recurrent networks carry their state from one call to the next.

    Called with the steps of a sequence one by one, it returns what the model returns for the steps so far, or at this
    step. None for a model without recurrent networks, and for one that also reads the steps in reverse.
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
    return copied if is_replaced else None


def forget(model: nn.Module) -> None:
    """Begin a new sequence: the state is that before the first step."""
    for module in model.modules():
        if isinstance(module, CarriedState):
            module.state = None

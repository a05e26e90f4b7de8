"""Table of action values Q(s, a) of a world with finitely many states, and its greedy policy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from snellen.core.spec import Actions, Spec
from snellen.core.views import Board, BoardCell, View

MAX_STATES = 1_000_000  # of a table


class ActionTable(nn.Module):
    """Greedy policy of a table of action values; of equal values the first action.

    q: (S, A) float64. The index of a state is that of its features in row-major order, see `state_index`.
    """

    q: Tensor

    def __init__(self, levels: Sequence[int], actions: Actions) -> None:
        super().__init__()
        self.levels, self.actions = tuple(levels), actions
        self.register_buffer("q", torch.zeros(math.prod(levels), len(actions.names), dtype=torch.float64))

    def values(self, x: Tensor) -> Tensor:
        """(B, D) observations to (B, A) action values."""
        return self.q[state_index(x, self.levels)]

    def probabilities(self, x: Tensor) -> Tensor:
        """(B, A): 1 for the action of the highest value."""
        return nn.functional.one_hot(self.values(x).argmax(1), self.q.shape[1]).double()


def state_index(x: Tensor, levels: Sequence[int]) -> Tensor:
    """Indices of states in row-major order: (B, D) features, each from 0 to its level - 1, to (B,) int64."""
    index = torch.zeros_like(x[:, 0], dtype=torch.int64)
    for k, level in enumerate(levels):
        index = index * level + x[:, k].long()
    return index


def build_table(spec: Spec) -> ActionTable:
    assert isinstance(spec.target, Actions)
    return ActionTable(spec.input.levels, spec.target)


def unsupported_reason(spec: Spec) -> str | None:
    """A table needs a world with finitely many states."""
    if not spec.input.levels:
        return "needs a world with finitely many states"
    states = math.prod(spec.input.levels)
    return f"needs a world of at most {MAX_STATES:,} states, this has {states:,}" if states > MAX_STATES else None


def board_views(model: ActionTable, x: Tensor) -> list[View]:
    """The board with the greedy action and the value of each free cell; none for a world without a board."""
    actions = model.actions
    if not actions.board:
        return []
    values, greedy = (tensor.tolist() for tensor in model.q.max(1))
    width = len(actions.board[0])
    cells = [
        [
            BoardCell(value=values[row * width + column], arrow=actions.moves[greedy[row * width + column]])
            if mark in actions.acting
            else BoardCell(mark=mark)
            for column, mark in enumerate(line)
        ]
        for row, line in enumerate(actions.board)
    ]
    caption = (
        "Colour and number: the value of the state, max Q(s, a). Arrow: the greedy action. G: goal, O: pit, dark: wall."
    )
    return [Board(title="Greedy policy and state values", cells=cells, caption=caption)]

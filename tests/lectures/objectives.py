"""Objectives of plain functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor


class LossFunction:
    """An objective: a loss as a function of the batch; `score` is called without arguments after each epoch."""

    def __init__(self, function: Callable[[Any], Tensor], score: Callable[[], float] | None = None) -> None:
        self.function, self.score_function = function, score

    def loss(self, model: Any, batch: Any) -> Tensor:
        return self.function(batch)

    def score(self, model: Any, validation: Any) -> float:
        assert self.score_function is not None
        return self.score_function()

"""New samples of a trained generator."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from snellen.core.errors import EnvironmentProblem, UsageError
from snellen.core.random import generator
from snellen.core.task import Task
from snellen.data.cache import available_memory

BLOCK = 64  # samples drawn at once, always as many: so sample k does not depend on the number of samples


def draw_samples(task: Task[Any, Any], model: nn.Module, learner: str, count: int, seed: int) -> Tensor:
    """New samples of a model, (count, ...) in raw units; sample k is a function of the seed and of k.

    Raises:
        UsageError: the models of the task draw no samples. EnvironmentProblem: they do not fit in memory.
    """
    if task.sample is None:
        raise UsageError(f"{learner} is a model of {task.name}, which draws no samples", "Train with --task generate.")
    if count < 1:
        raise UsageError(f"{count} samples cannot be drawn", "Give a count of at least 1.")
    parts: list[Tensor] = []
    for block in range(math.ceil(count / BLOCK)):
        parts.append(task.sample(model, BLOCK, generator(seed, "sample", block)))
        needed = 2 * count * parts[0][0].numel() * parts[0].element_size()
        if not block and needed > available_memory():
            raise EnvironmentProblem(
                f"{count:,} samples need {needed:,} bytes of memory, of which {available_memory():,} are free",
                "Draw fewer, several times, each time with another seed.",
            )
    return torch.cat(parts)[:count]

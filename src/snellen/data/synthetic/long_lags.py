"""Synthetic sequences whose target depends on steps far from the end: the copy problem and the adding problem.

Source: Hochreiter and Schmidhuber 1997, "Long short-term memory", sections 5.1 to 5.4.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch.nn import functional

from snellen.core.random import generator
from snellen.core.spec import Classes, Input, Numbers
from snellen.data.dataset import RawDataset
from snellen.data.source import ArraySource

SEQUENCES = 2000
SYMBOLS = "abcd"
NOISE = 0.3  # standard deviation; a symbol has length 1
LAGS = (20, 100, 200)  # of the built-in datasets


def copy_problem(seed: int, lag: int) -> RawDataset:
    """2,000 sequences whose class is the symbol at the first step, one of four, followed by `lag` steps of noise.

    The symbol is a unit vector; the noise is Gaussian with a standard deviation of 0.3 in each of four features. The
    state after the last step depends on the class only through a memory over `lag` steps.
    """
    rng = generator(seed, "copy")
    y = torch.arange(SEQUENCES) % len(SYMBOLS)
    x = NOISE * torch.randn(SEQUENCES, lag + 1, len(SYMBOLS), generator=rng)
    x[:, 0] = functional.one_hot(y, len(SYMBOLS)).float()
    return RawDataset(
        source=ArraySource(x, "sequence"),
        inputs={"sequence": Input(modality="sequence", shape=(lag + 1, len(SYMBOLS)))},
        target=Classes(names=tuple(SYMBOLS)),
        truth=y,
        recognised_as=f"the built-in copy problem: {SEQUENCES:,} sequences, whose class is the symbol at the first "
        f"step, {lag} steps before the end",
    )


def adding_problem(seed: int, lag: int) -> RawDataset:
    """2,000 sequences of `lag` + 1 steps, whose target is the sum of the two values that are marked.

    The first feature is uniform in 0 … 1, the second 1 at two marked steps and else 0: at the first step, and at a
    random one of the first half.
    """
    rng = generator(seed, "adding")
    values = torch.rand(SEQUENCES, lag + 1, generator=rng)
    second = torch.randint(1, lag // 2 + 1, (SEQUENCES, 1), generator=rng)
    marks = torch.zeros_like(values).scatter_(1, second, 1.0)
    marks[:, 0] = 1
    return RawDataset(
        source=ArraySource(torch.stack([values, marks], 2), "sequence"),
        inputs={"sequence": Input(modality="sequence", shape=(lag + 1, 2))},
        target=Numbers(names=("sum",)),
        truth=(values * marks).double().sum(1, keepdim=True),
        recognised_as=f"the built-in adding problem: {SEQUENCES:,} sequences of {lag + 1} steps, whose target is the "
        "sum of two marked values",
    )


LONG_LAGS: dict[str, Callable[[int], RawDataset]] = {
    **{f"copy-{lag}": functools.partial(copy_problem, lag=lag) for lag in LAGS},
    **{f"adding-{lag}": functools.partial(adding_problem, lag=lag) for lag in LAGS},
}

"""Copy and adding problems: the target follows from the marked steps alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from snellen.data.dataset import RawDataset
from snellen.data.named_datasets import BUILTIN
from snellen.data.source import ArraySource
from snellen.data.synthetic import long_lags


def values(raw: RawDataset) -> Tensor:
    assert isinstance(raw.source, ArraySource)
    return raw.source.values


@pytest.mark.parametrize("lag", long_lags.LAGS)
def test_the_class_is_the_symbol_at_the_first_step_and_no_other_step_tells_it(lag: int) -> None:
    raw = BUILTIN[f"copy-{lag}"](0)
    x = values(raw)
    assert isinstance(raw.truth, Tensor)
    assert x.shape == (2000, lag + 1, 4)
    assert torch.equal(x[:, 0].argmax(1), raw.truth)
    means = torch.stack([x[raw.truth == k, 1:].mean((0, 1)) for k in range(4)])
    assert means.abs().max() < 5 * long_lags.NOISE / (500 * lag) ** 0.5


@pytest.mark.parametrize("lag", long_lags.LAGS)
def test_the_sum_is_that_of_the_first_and_one_other_marked_step(lag: int) -> None:
    raw = BUILTIN[f"adding-{lag}"](0)
    numbers, marks = values(raw).double().unbind(2)
    assert isinstance(raw.truth, Tensor)
    assert (marks.sum(1) == 2).all()
    assert (marks[:, 0] == 1).all()
    assert not marks[:, lag // 2 + 1 :].any()
    assert torch.allclose(raw.truth[:, 0], (numbers * marks).sum(1), atol=1e-6)


@pytest.mark.parametrize("make", [long_lags.copy_problem, long_lags.adding_problem])
def test_data_is_a_function_of_the_seed(make: Callable[[int, int], RawDataset]) -> None:
    first, again, other = (values(make(seed, 10)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)

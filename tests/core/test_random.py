"""Counter-based random numbers: uniform, independent of the batch; generators are restored after use."""

from __future__ import annotations

import random

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from snellen.core.random import generator, key, permutation, seeded, uniform


@given(st.integers(0, 2**31), st.lists(st.integers(0, 10**9) | st.text(max_size=8), max_size=4))
def test_a_key_is_a_63_bit_number_that_depends_on_every_argument(seed: int, purpose: list[int | str]) -> None:
    assert 0 <= key(seed, *purpose) < 2**63
    assert key(seed, *purpose) == key(seed, *purpose)
    assert key(seed, *purpose) != key(seed + 1, *purpose)
    assert key(seed, *purpose) != key(seed, *purpose, 0)


def test_keys_separate_their_arguments() -> None:
    assert key(1, "ab", "c") != key(1, "a", "bc")
    assert key(1, 23) != key(12, 3)


def test_values_are_uniform() -> None:
    u = uniform(torch.arange(50_000), 4, 0, "test").double()  # (N, 4)
    assert float(u.min()) >= 0
    assert float(u.max()) < 1
    for column in u.T.numpy():
        assert stats.kstest(column, "uniform").pvalue > 0.001
    assert stats.chisquare(np.histogram(u.numpy(), bins=1000, range=(0, 1))[0]).pvalue > 0.001


def test_values_of_neighbours_purposes_epochs_and_columns_are_uncorrelated() -> None:
    ids = torch.arange(50_000)
    first = uniform(ids, 3, 0, "flip", 0)
    others = [
        first[:, 1],
        first[:, 2],
        uniform(ids, 3, 0, "flip", 1)[:, 0],
        uniform(ids, 3, 1, "flip", 0)[:, 0],
        uniform(ids, 3, 0, "crop", 0)[:, 0],
        first[:, 0].roll(1),
        first[:, 1].roll(1),
    ]
    for other in others:
        correlation = float(torch.corrcoef(torch.stack([first[:, 0], other]))[0, 1])
        assert abs(correlation) < 5 / 50_000**0.5


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=50), st.integers(1, 12))
@settings(max_examples=50)
def test_values_of_a_sample_do_not_depend_on_its_batch(samples: list[int], draws: int) -> None:
    together = uniform(torch.tensor(samples), draws, 3, "batch")
    for row, sample in enumerate(samples):
        assert torch.equal(uniform(torch.tensor([sample]), draws, 3, "batch")[0], together[row])


def test_values_equal_splitmix64_in_integer_arithmetic() -> None:
    mask = 2**64 - 1
    start = key(5, "oracle")
    for sample, draw in ((0, 0), (1, 2), (12345, 1), (2**40, 2)):
        z = ((sample * 3 + draw) * 0x9E3779B97F4A7C15 + start) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        z ^= z >> 31
        assert float(uniform(torch.tensor([sample]), 3, 5, "oracle")[0, draw]) == (z >> 40) / 2**24


def test_a_permutation_is_complete_and_depends_on_its_epoch() -> None:
    order = permutation(1000, 0, "order", 3)
    assert torch.equal(order.sort().values, torch.arange(1000))
    assert torch.equal(order, permutation(1000, 0, "order", 3))
    assert not torch.equal(order, permutation(1000, 0, "order", 4))


def test_permutations_are_uniform() -> None:
    first = torch.stack([permutation(5, seed, "order", 0) for seed in range(2000)])  # (2000, 5)
    for column in first.T:
        assert stats.chisquare(torch.bincount(column, minlength=5).numpy()).pvalue > 0.001


def test_seeded_restores_the_default_generators() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    expected = [float(torch.rand(1)), float(np.random.rand()), random.random()]
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    values = []
    for _ in range(2):
        with seeded(7, "inside"):
            values.append([float(torch.rand(1)), float(np.random.rand()), random.random()])
    assert values[0] == values[1] != expected
    assert [float(torch.rand(1)), float(np.random.rand()), random.random()] == expected


def test_generators_of_two_purposes_differ() -> None:
    assert not torch.equal(torch.rand(5, generator=generator(0, "a")), torch.rand(5, generator=generator(0, "b")))

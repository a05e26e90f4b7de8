"""Bounds of number targets, and predictions beyond them."""

from __future__ import annotations

import torch

from snellen.core.spec import Classes, Numbers
from snellen.data.target_bounds import BeyondCounter, beyond_bounds, bound_warnings, target_bounds

TARGET = Numbers(names=("p", "q"), lowest=(0.0, None), highest=(0.9, None))


def test_an_extreme_of_many_samples_is_a_bound() -> None:
    p = torch.cat([torch.zeros(5), torch.linspace(0.01, 0.8, 92), torch.full((3,), 0.9)])
    train = torch.stack([p, torch.arange(100.0)], 1).double()
    lowest, highest = target_bounds(train)
    assert (lowest, highest) == ((0.0, None), (float(p.double().max()), None))
    assert target_bounds(train[3:]) == ((None, None), highest)  # two of 97 may coincide
    assert target_bounds(torch.ones(9, 1)) == ((None,), (None,))
    assert target_bounds(torch.ones(0, 2)) == ((None, None), (None, None))
    rare = torch.cat([torch.zeros(3), torch.linspace(0.01, 0.9, 197)])[:, None]  # 1.5 %: a tail
    assert target_bounds(rare) == ((None,), (None,))


def test_rounding_is_not_beyond_a_bound() -> None:
    """The mean of three numbers 0.9 is 0.9000000000000001 or so."""
    assert list(beyond_bounds({"p": 0.9 * (1 + 1e-9), "q": 5.0}, TARGET)) == []
    (one,) = beyond_bounds({"p": 0.91, "q": -5.0}, TARGET)
    assert (one.name, one.side, one.bound, one.value) == ("p", "above", 0.9, 0.91)
    (one,) = beyond_bounds({"p": -1e-9, "q": -5.0}, TARGET)
    assert one.side == "below"


def test_the_farthest_of_each_side_is_counted() -> None:
    counter = BeyondCounter(TARGET)
    for value in (-0.1, 0.5, -0.3, -0.2, 1.0):
        counter.add({"p": value, "q": 0.0})
    assert counter.messages() == [
        "3 of 5 predictions of p are below 0, the smallest value in training; the farthest is -0.3. "
        "If p cannot be below 0, clip the predictions there.",
        "1 of 5 predictions of p are above 0.9, the largest value in training; the farthest is 1. "
        "If p cannot be above 0.9, clip the predictions there.",
    ]


def test_other_targets_and_a_target_called_warnings_have_no_warnings() -> None:
    assert bound_warnings({"class": "a"}, Classes(names=("a", "b"))) == {}
    assert bound_warnings({"p": 1.0, "q": 0.0}, Numbers(names=("p", "q"))) == {}
    named = Numbers(names=("warnings",), lowest=(0.0,), highest=(None,))
    assert bound_warnings({"warnings": -1.0}, named) == {}
    assert bound_warnings({"p": -1.0, "q": 0.0}, TARGET) == {
        "warnings": ["p is below 0, the smallest value in training"]
    }

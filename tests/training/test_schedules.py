"""Learning-rate schedules: their values at every step, as pure functions of the step."""

from __future__ import annotations

import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snellen.training.schedules import ScheduleName, schedule
from snellen.training.settings import TrainingSettings

NAMES = get_args(ScheduleName)


@given(st.sampled_from(NAMES), st.integers(1, 400), st.floats(0, 0.99))
def test_factors_are_positive_and_at_most_one(name: str, total: int, warmup: float) -> None:
    factor = schedule(name, total, warmup)
    values = [factor(step) for step in range(total)]
    assert all(0 < value <= 1 for value in values)
    assert values == [factor(step) for step in range(total)]


def test_constant_schedule_is_one() -> None:
    assert {schedule("constant", 50)(step) for step in range(50)} == {1.0}


def test_step_schedule_falls_at_one_half_and_three_quarters() -> None:
    factor = schedule("step", 100)
    assert [factor(step) for step in (0, 49, 50, 74, 75, 99)] == [1, 1, 0.1, 0.1, 0.01, 0.01]


def test_cosine_schedule_is_half_a_cosine_wave() -> None:
    factor = schedule("cosine", 100)
    for step in range(100):
        assert factor(step) == pytest.approx((1 + math.cos(math.pi * step / 100)) / 2)


def test_one_cycle_rises_for_one_fifth_and_decays_to_almost_zero() -> None:
    factor = schedule("one-cycle", 100)
    values = [factor(step) for step in range(100)]
    assert values[0] == pytest.approx(1 / 20)
    assert max(values) == values[19] == values[20] == 1
    assert values[:20] == sorted(values[:20])
    assert values[20:] == sorted(values[20:], reverse=True)
    assert values[-1] == pytest.approx(1 / 80)


@pytest.mark.parametrize("name", NAMES)
def test_warm_up_rises_linearly_to_the_full_rate(name: str) -> None:
    factor = schedule(name, 100, warmup=0.4)
    assert [factor(step) for step in (0, 9, 19, 39)] == pytest.approx([1 / 40, 0.25, 0.5, 1])


def test_a_run_of_one_step_has_a_positive_rate() -> None:
    for name in NAMES:
        assert schedule(name, 1)(0) > 0


def test_every_schedule_can_be_selected() -> None:
    for name in NAMES:
        assert TrainingSettings(schedule=name).schedule == name

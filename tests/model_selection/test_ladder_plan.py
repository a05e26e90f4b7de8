"""Plan of a ladder: time per model from measured costs, by numbers alone; work in a forked child."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snellen.core.errors import SnellenError, TooLittleTime, UsageError
from snellen.core.learner import input_sizes
from snellen.model_selection import ladder_plan
from snellen.model_selection.forked import run_forked

times = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.1, 1e5), max_size=6)


FEW = defaultdict(lambda: 40_000.0)  # visits of samples in a complete training: a tenth is a pilot


def test_what_fits_completely_is_trained_completely() -> None:
    assert ladder_plan.pilots({"a": 20.0, "b": 70.0}, FEW, 100.0) == {"a": 20.0, "b": 70.0}


def test_pilots_are_the_same_fraction_of_each_training_and_the_slowest_are_left_out() -> None:
    assert ladder_plan.pilots({"a": 60.0, "b": 90.0}, FEW, 100.0) == pytest.approx({"a": 10.0, "b": 15.0})
    assert ladder_plan.pilots({"a": 60.0, "b": 90.0, "c": 400.0}, FEW, 100.0) == pytest.approx({"a": 10.0, "b": 15.0})
    assert ladder_plan.pilots({"a": 600.0}, FEW, 100.0) == {"a": 100.0}  # alone: all of the time
    assert ladder_plan.pilots({"a": 600.0, "b": 900.0}, FEW, 100.0) == {"a": 100.0}  # a quarter would be 1.7 %
    assert ladder_plan.pilots({"a": 6000.0}, FEW, 100.0) == {}
    short = ladder_plan.pilots({"a": 8.0, "b": 12.0, "c": 50.0}, FEW, 30.0)  # a tenth of a would be less than a second
    assert short == pytest.approx({"a": 2.5, "b": 2.5, "c": 0.25 * 30 / 70 * 50})


def test_of_many_samples_a_smaller_fraction_is_a_pilot_and_a_slower_model_gets_the_time() -> None:
    many = {"a": 1e6, "b": 1e6}
    assert ladder_plan.pilots({"a": 200.0, "b": 600.0}, many, 100.0) == pytest.approx({"a": 6.25, "b": 18.75})
    assert ladder_plan.pilots({"a": 200.0, "b": 1100.0}, many, 100.0) == {"b": 100.0}  # 9 %, 90,000 samples
    assert ladder_plan.pilots({"a": 200.0, "b": 1100.0}, many, 30.0) == {"a": 30.0}  # of b, 27,000
    assert ladder_plan.pilots({"a": 900.0, "b": 900.0}, many, 50.0) == {"a": 50.0}  # one of two that are equal


def test_the_three_best_pilots_are_trained_anew_the_best_with_most_time() -> None:
    values = {"a": 0.6, "b": 0.8, "c": 0.7, "d": 0.5}
    needed, trained = dict.fromkeys("abcd", 90.0), dict.fromkeys("abcd", 8.0)
    assert ladder_plan.finals(values, needed, trained, 100.0) == pytest.approx({"b": 65.0, "c": 22.75, "a": 12.25})
    assert ladder_plan.finals(values, {**needed, "b": 40.0}, trained, 100.0) == pytest.approx(
        {"b": 40.0, "c": 39.0, "a": 13.65}
    )
    complete = ladder_plan.finals(values, {**needed, "b": 8.0}, trained, 100.0)
    assert complete == pytest.approx({"c": 65.0, "a": 22.75, "d": 12.25})
    assert ladder_plan.finals(values, needed, trained, 13.0) == {"b": 13.0}  # 65 % are less than 1.5 times the pilot


def test_a_complete_training_may_take_longer_than_its_estimate_where_time_is_left() -> None:
    assert ladder_plan.limit(10.0, 20.0, 5.0, 100.0) == 10.0  # a part of the training: the plan holds
    assert ladder_plan.limit(10.0, 20.0, 5.0, 8.0) == 8.0
    assert ladder_plan.limit(20.0, 20.0, 5.0, 100.0) == 30.0
    assert ladder_plan.limit(20.0, 20.0, 73.0, 100.0) == 27.0
    assert ladder_plan.limit(20.0, 20.0, 90.0, 100.0) == 20.0  # no less than its part
    assert ladder_plan.limit(20.0, 20.0, 0.0, 15.0) == 15.0


def test_the_best_model_is_trained_up_to_four_times_as_long() -> None:
    assert ladder_plan.longer(10.0, 35.0) == 3.5
    assert ladder_plan.longer(10.0, 1000.0) == 4.0
    assert ladder_plan.longer(10.0, 14.0) is None


@given(needed=times, seconds=st.floats(0.0, 1e4), visits=st.floats(10.0, 1e7))
def test_no_plan_takes_more_than_the_time(needed: dict[str, float], seconds: float, visits: float) -> None:
    samples = dict.fromkeys(needed, visits)
    pilots = ladder_plan.pilots(needed, samples, seconds)
    assert sum(pilots.values()) <= seconds * (1 + 1e-9)
    tenth = min(ladder_plan.MIN_PILOT, ladder_plan.PILOT_SAMPLES / visits)
    least = tenth if len(pilots) > 1 else ladder_plan.min_fraction(visits)
    assert all(least * needed[name] <= time * (1 + 1e-9) for name, time in pilots.items())
    left = seconds - sum(pilots.values())
    values = {name: -time for name, time in needed.items() if name in pilots}
    finals = ladder_plan.finals(values, needed, pilots, left)
    assert sum(finals.values()) <= left * (1 + 1e-9)
    assert all(ladder_plan.MIN_GAIN * pilots[name] <= time <= needed[name] for name, time in finals.items())


def test_images_are_reduced_until_the_training_fits() -> None:
    assert ladder_plan.image_size(100.0, [64, 48, 32], 100.0) == 64
    assert ladder_plan.image_size(100.0, [64, 48, 32], 60.0) == 48  # 56 s
    assert ladder_plan.image_size(100.0, [64, 48, 32], 30.0) == 32
    assert ladder_plan.image_size(100.0, [64, 48, 32], 1.0) == 32
    assert ladder_plan.image_size(100.0, [28], 1.0) == 28
    assert list(input_sizes("image_size", 64, 12).values) == [64, 48, 32]
    assert list(input_sizes("image_size", 28, 32).values) == [28]  # small images are not reduced
    assert list(input_sizes("image_size", 224, 63).values)[-1] == 64


def test_a_forked_child_writes_files_and_is_killed_at_its_limit(tmp_path: Path) -> None:
    run_forked(lambda: (tmp_path / "written").write_text(str(os.getpid())), 120)
    assert (tmp_path / "written").read_text() != str(os.getpid())
    with pytest.raises(TooLittleTime, match="its part of the time budget"):
        run_forked(lambda: time.sleep(600), 0.2)


def test_an_error_of_a_forked_child_has_its_cause() -> None:
    def fail(error: Exception) -> None:
        raise error

    with pytest.raises(SnellenError, match="no such column"):
        run_forked(lambda: fail(UsageError("no such column")), 120)
    with pytest.raises(SnellenError, match="ValueError: é"):
        run_forked(lambda: fail(ValueError("é")), 120)
    with pytest.raises(TooLittleTime, match="too slow") as caught:
        run_forked(lambda: fail(TooLittleTime("too slow", needed=12.5)), 120)
    assert caught.value.needed == 12.5
    with pytest.raises(SnellenError, match="status"):
        run_forked(lambda: os._exit(3), 120)

"""Main effects against sums of squares from least squares."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from snellen.metrics.effects import main_effects


def test_fractions_are_the_sums_of_squares_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    combinations = list(itertools.product("abc", "xy", "pqrs"))
    y = rng.normal(size=len(combinations))
    effects = main_effects(
        [({"one": a, "two": b, "three": c}, float(v)) for (a, b, c), v in zip(combinations, y, strict=True)]
    )
    assert effects is not None
    for index, name in enumerate(("one", "two", "three")):
        levels = sorted({c[index] for c in combinations})
        design = np.array([[float(c[index] == level) for level in levels] for c in combinations])
        fitted = design @ np.linalg.lstsq(design, y, rcond=None)[0]
        assert effects[name] == pytest.approx(((fitted - y.mean()) ** 2).sum() / ((y - y.mean()) ** 2).sum())
    assert sum(effects.values()) < 1


def test_a_single_cause_explains_all_variance_and_an_interaction_none() -> None:
    effects = main_effects([({"a": a, "b": b}, float(a == "1")) for a in "01" for b in "01"])
    assert effects == pytest.approx({"a": 1.0, "b": 0.0})
    effects = main_effects([({"a": a, "b": b}, float(a == b)) for a in "01" for b in "01"])
    assert effects == pytest.approx({"a": 0.0, "b": 0.0})


def test_equal_cells_and_a_single_one_have_no_effects() -> None:
    assert main_effects([({"a": "1"}, 0.1), ({"a": "2"}, 0.1)]) is None
    assert main_effects([({"a": "1"}, 0.1)]) is None

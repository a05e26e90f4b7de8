"""Patterns of file names: what a regular expression matches, without its exponential time."""

from __future__ import annotations

import random

import pytest

from snellen.data.formats import name_pattern
from snellen.data.formats.name_pattern import NamePattern


@pytest.mark.parametrize("seed", range(300))
def test_the_search_matches_what_the_regular_expression_matches(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(seed)
    parts = ["{a}", "{b}", "{a}", "*", "?", "x", "xy", "_"]
    pattern = NamePattern("".join(draw.choices(parts, k=draw.randint(1, 6))))
    names = ["".join(draw.choices("xy_", k=draw.randint(0, 9))) for _ in range(40)]
    expected = [pattern.match(name) for name in names]
    monkeypatch.setattr(name_pattern, "_MAX_STEPS", -1)
    assert [pattern.match(name) for name in names] == expected


def test_a_pattern_of_many_wildcards_ends_soon() -> None:
    name = "a" * 250
    assert NamePattern("*a" * 30 + "b").match(name) is None  # hours as a regular expression
    fields = "".join(f"{{f{k}}}" for k in range(30))
    assert NamePattern(fields + "b").match(name) is None
    assert NamePattern(fields).match(name) == ("a",) * 29 + ("a" * 221,)
    assert NamePattern("{a}*{a}*{b}*{b}-").match(name[:40]) is None

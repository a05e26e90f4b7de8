"""Escaping and formatting of text for HTML."""

from __future__ import annotations

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snellen.report.html_text import (
    clean,
    escape,
    format_bytes,
    format_count,
    format_duration,
    format_number,
    format_overrun,
    without_folders,
)


@given(st.text())
def test_escaped_text_has_no_markup_and_unescapes_to_the_cleaned_text(text: str) -> None:
    escaped = escape(text)
    assert not set(escaped) & set("<>\"'\n\r\t\x00\u202e")
    assert html.unescape(escaped) == clean(text)


def test_bidirectional_controls_are_replaced() -> None:
    assert clean("\u202egnp.exe\x07\ud800") == "\ufffdgnp.exe\ufffd\ufffd"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (1234567, "1,234,567"),
        (0.123456, "0.1235"),
        (3.0, "3"),
        (123456.7, "123,457"),
        ("a", "a"),
        (float("inf"), "inf"),
        (1e-9, "1e-09"),
        (True, "True"),
    ],
)
def test_table_cells_are_formatted(value: float | str | None, text: str) -> None:
    assert format_number(value) == text


def test_counts_durations_and_sizes_have_suitable_units() -> None:
    assert [format_count(61706), format_count(2_400_000), format_count(0)] == ["61,706", "2.4 million", "0"]
    assert [format_duration(0.5), format_duration(127), format_duration(3 * 3600 + 125)] == [
        "0.5 s",
        "2 min 7 s",
        "3 h 2 min",
    ]
    assert [format_bytes(12), format_bytes(852 * 2**20), format_bytes(2**31)] == ["12 bytes", "852 MiB", "2 GiB"]


@pytest.mark.parametrize(
    ("seconds", "budget", "text"),
    [
        (282, 240, "took 4 min 42 s of 4 min"),
        (252, 240, ""),
        (252.1, 240, "took 4 min 12 s of 4 min"),
        (95.5, 90, "took 1 min 36 s of 1 min 30 s"),
        (2 * 3600, 3600, "took 2 h 0 min of 1 h"),
        (12, 10, "took 12 s of 10 s"),
        (3, 240, ""),
    ],
)
def test_a_time_is_over_its_budget_by_more_than_five_percent(seconds: float, budget: float, text: str) -> None:
    assert format_overrun(seconds, budget) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/u/.cache/a.pth is missing", "…/a.pth is missing"),
        ("cannot read '/data/cat/1.png'", "cannot read '…/1.png'"),
        ("see https://x.org/a/b and photos/cat/1.png", "see https://x.org/a/b and photos/cat/1.png"),
        ("1/2 of the data, and/or more", "1/2 of the data, and/or more"),
    ],
)
def test_folders_of_absolute_paths_are_left_out(text: str, shown: str) -> None:
    assert without_folders(text) == shown

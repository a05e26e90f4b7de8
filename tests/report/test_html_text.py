"""Names and figures as words."""

from __future__ import annotations

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snellen.report.html_text import clean, duration, escaped, large, number, size


@given(st.text())
def test_escaped_text_holds_no_markup_and_reads_back_as_the_cleaned_text(text: str) -> None:
    written = escaped(text)
    assert not set(written) & set("<>\"'\n\r\t\x00\u202e")
    assert html.unescape(written) == clean(text)


def test_marks_that_turn_the_direction_become_visible() -> None:
    assert clean("\u202egnp.exe\x07\ud800") == "\ufffdgnp.exe\ufffd\ufffd"


@pytest.mark.parametrize(
    ("value", "words"),
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
def test_cells_are_written_as_a_person_would(value: float | str | None, words: str) -> None:
    assert number(value) == words


def test_large_counts_durations_and_sizes_take_the_unit_that_suits_them() -> None:
    assert [large(61706), large(2_400_000), large(0)] == ["61,706", "2.4 million", "0"]
    assert [duration(0.5), duration(127), duration(3 * 3600 + 125)] == ["0.5 s", "2 min 7 s", "3 h 2 min"]
    assert [size(12), size(852 * 2**20), size(2**31)] == ["12 bytes", "852 MiB", "2 GiB"]

"""`docs/lectures.md` is true: every row is there once, and every path and test that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "lectures.md"

LAST = {"A": 16, "B": 24, "C": 21, "D": 9, "E": 8, "F": 7, "G": 9, "H": 11}
FIRST = {"C": 0}
ROWS = [f"{part}{number}" for part, last in LAST.items() for number in range(FIRST.get(part, 1), last + 1)]

# Rows that work. One may be added, none taken away.
DONE = {
    *(f"A{n}" for n in range(1, 17)),
    *(f"B{n}" for n in range(1, 25)),
    *(f"C{n}" for n in range(6)),
    "C6",
    "C8",
    *(f"C{n}" for n in range(9, 22)),
    *(f"D{n}" for n in range(1, 10)),
    *(f"E{n}" for n in range(1, 5)),
    "G1",
    "H5",
    "H7",
}


def rows() -> list[tuple[str, str, str, str]]:
    """(id, row, lives in, shown by) of every line of the page's tables."""
    found = []
    for line in PAGE.read_text(encoding="utf-8").partition("\n## Missing\n")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"[A-H]\d+", cells[0]):
            assert len(cells) == 4, line
            found.append((cells[0], cells[1], cells[2], cells[3]))
    return found


def names(cell: str) -> list[str]:
    """What stands in backticks, which must be all that stands there."""
    quoted = re.findall(r"`([^`]+)`", cell)
    assert " ".join(f"`{name}`" for name in quoted) == cell, cell
    return quoted


def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_row_of_the_lectures_is_on_the_page_once_and_in_order() -> None:
    assert [row[0] for row in rows()] == ROWS


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_what_a_row_names_exists(row: tuple[str, str, str, str]) -> None:
    id, _, lives, shown = row
    if lives == "not yet":
        assert shown == "not yet"
        assert id not in DONE
        return
    for path in names(lives):
        assert path.startswith("src/snellen/"), path
        assert (ROOT / path).is_file(), path
    assert names(shown)
    for test in names(shown):
        path, function = test.split("::")
        assert function in functions(path), test


def test_what_is_missing_belongs_to_topics_that_have_code() -> None:
    missing = re.findall(r"^\| ([A-H]\d+) \|", PAGE.read_text(encoding="utf-8").partition("\n## Missing\n")[2], re.M)
    assert missing
    assert set(missing) <= DONE


def test_every_test_of_a_row_belongs_to_one_that_is_said_to_work() -> None:
    working = {id.lower() for id, _, lives, _ in rows() if lives != "not yet"}
    tested = {
        match[1]
        for path in (ROOT / "tests" / "lectures").glob("test_*.py")
        for name in functions(str(path.relative_to(ROOT)))
        if (match := re.match(r"test_([a-h]\d+)_", name))
    }
    assert tested == working

"""Commands of guide pages with the outputs that the pages show, and their comparison with what a command prints.

A shown line must appear in the output; `...` stands for any text. A value with an interval may differ by half of it,
a number with decimals, a percentage and a time by a quarter: results differ a little between processors. Other integers
are counts, and equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

GUIDE = Path(__file__).parents[1] / "docs" / "guide"
INTERVAL = re.compile(r"([\d.]+) \(([\d.]+) to ([\d.]+)\)")
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
MEASURED = re.compile(r" ?(?:[%±]|s\b|to \S+ %)")  # what follows an integer that is no count


def shown_commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """(command, lines below it) of each command of the page that shows its output, `$ command` in a block."""
    for block in re.findall(r"^```\n(\$ .*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, *lines = part.splitlines()
            yield command, [line for line in lines if line.strip()]


def agrees(shown: str, printed: str) -> bool:
    """Whether a printed line has the words of the shown one, and nearly its numbers."""
    shown, printed = (INTERVAL.sub(symmetric, " ".join(line.split())) for line in (shown, printed))
    words = ".*".join(re.escape(part) for part in NUMBER.sub("\0", shown).split(" ..."))
    if not re.fullmatch(words.replace(re.escape("\0"), NUMBER.pattern), printed):
        return False
    margins = {mean: float(half) / 2 for mean, half in re.findall(r"([\d.]+) ± ([\d.]+)", shown)}
    pairs = zip(NUMBER.finditer(shown), NUMBER.findall(printed), strict=" ..." not in shown)
    return all(
        abs(value(a[0]) - value(b)) <= (0 if is_count(shown, a) else margins.get(a[0], abs(value(a[0])) / 4))
        for a, b in pairs
    )


def is_count(line: str, number: re.Match[str]) -> bool:
    """Whether a number of the line is an integer, and no percentage, no seconds, no number with ±."""
    if not re.fullmatch(r"-?[\d,]+", number[0]) or line[: number.start()].endswith("± "):
        return False
    return not MEASURED.match(line, number.end())


def symmetric(interval: re.Match[str]) -> str:
    """The form with ±; which form is printed hangs on the asymmetry of the interval."""
    return f"{interval[1]} ± {(float(interval[3]) - float(interval[2])) / 2:g}"


def value(text: str) -> float:
    return float(text.replace(",", ""))

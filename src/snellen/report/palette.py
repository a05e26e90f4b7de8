"""Colours of plots: a marker in what matplotlib draws, a CSS variable on the page, so that light and dark both read.

Series colours are those of Okabe and Ito 2008, told apart by the colour-blind.
"""

from __future__ import annotations

INK = "#010101"  # axes and words: the colour of the text around
FAINT = "#020202"  # grid
QUIET = "#030303"  # diagonals, frontiers and their like
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DARK = ("#56b4e9", "#f08a4b", "#3fc79a", "#dfa2c4", "#efc15a", "#9ad2f2")  # the same on a dark page

CSS = {
    INK: "currentColor",
    FAINT: "var(--faint, #9995)",
    QUIET: "var(--quiet, #888)",
    **{colour: f"var(--c{place + 1}, {colour})" for place, colour in enumerate(SERIES)},
}


def series(place: int) -> str:
    """The marker colour of the series at a place; they repeat after six."""
    return SERIES[place % len(SERIES)]

"""Colours of plots: placeholder colours for matplotlib that become CSS variables in the page (light and dark scheme).

Series colours are the colour-blind-safe palette of Okabe and Ito 2008.
"""

from __future__ import annotations

INK = "#010101"  # axes and text: the text colour of the page
FAINT = "#020202"  # grid lines
QUIET = "#030303"  # reference lines, such as the diagonal
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DARK = ("#56b4e9", "#f08a4b", "#3fc79a", "#dfa2c4", "#efc15a", "#9ad2f2")  # the same in the dark scheme

BAND = 0.2  # opacity of a band
DASHES = (0, (4, 2))  # of a dashed line, in matplotlib's notation: offset, and lengths in widths of the line

MARKERS = ("o", "^", "s", "D")  # of points, in matplotlib's notation: another one after each round of colours

CSS = {
    INK: "currentColor",
    FAINT: "var(--faint, #9995)",
    QUIET: "var(--quiet, #888)",
    **{colour: f"var(--c{k + 1}, {colour})" for k, colour in enumerate(SERIES)},
}


def series_colour(index: int) -> str:
    """The placeholder colour of a series; the palette repeats after six."""
    return SERIES[index % len(SERIES)]


def marker_index(index: int) -> int:
    """Index in MARKERS of the points of a series, so that series of one colour differ, up to 24."""
    return index // len(SERIES) % len(MARKERS)


def band_opacity(bands: int) -> float:
    """Opacity of so many bands of one colour over one another."""
    return 1 - (1 - BAND) ** bands

"""Text on its way into a page: file and class names are hostile input."""

from __future__ import annotations

import html
import math
import unicodedata

from snellen.core.views import Cell

_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they reorder what stands after them


def clean(text: str) -> str:
    """`text` on one line: control characters, lone surrogates and marks that turn the direction become visible."""
    kept = []
    for letter in str(text):
        if letter in "\n\r\t":
            kept.append(" ")
        elif letter in _TURNING or unicodedata.category(letter) in ("Cc", "Cs"):
            kept.append("\ufffd")
        else:
            kept.append(letter)
    return "".join(kept)


def escaped(text: str) -> str:
    """`text` as it may stand in HTML, inside an attribute too."""
    return html.escape(clean(text), quote=True)


def unbroken(text: str) -> str:
    """Escaped prose in which a figure stays on one line with its ± and its unit."""
    spaced = clean(text).replace(" ± ", "\u00a0±\u00a0").replace(" %", "\u00a0%")
    return html.escape(spaced, quote=True)


def name(text: str) -> str:
    """A name of the user's in HTML, kept from turning the direction of the words around it."""
    return f"<bdi>{escaped(text)}</bdi>"


def number(value: Cell) -> str:
    """A cell as words: thousands set off, four figures, a dash for what is not there."""
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def large(value: float) -> str:
    """A count in short: 61,706; 2.4 million."""
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if value >= size:
            return f"{value / size:.3g} {word}"
    return f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Seconds in the unit a person would take."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def size(count: float) -> str:
    """Bytes in the unit a person would take."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.3g} {unit}" if count < 1000 else f"{count:,.0f} {unit}"

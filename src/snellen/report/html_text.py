"""Escaping and formatting of text for HTML. File and class names are untrusted input."""

from __future__ import annotations

import html
import math
import re
import unicodedata

from snellen.core.views import Cell

MAX_OVERRUN = 1.05  # times a budget that a time may take before it is reported
_PATH = re.compile(r"(?<![\w.…~:/])/(?:[^\s/:;,'\"]+/)+(?=[^\s/:;,'\"])")
_BIDI_CONTROLS = frozenset(
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)  # bidirectional controls: they reorder the text that follows


def clean(text: str) -> str:
    """`text` on one line; control characters, lone surrogates and bidirectional controls become U+FFFD."""
    letters = []
    for letter in str(text):
        if letter in "\n\r\t":
            letters.append(" ")
        elif letter in _BIDI_CONTROLS or unicodedata.category(letter) in ("Cc", "Cs"):
            letters.append("\ufffd")
        else:
            letters.append(letter)
    return "".join(letters)


def escape(text: str) -> str:
    """Escape `text` for HTML content and attributes."""
    return html.escape(clean(text), quote=True)


def escape_nowrap(text: str) -> str:
    """Escape prose; non-breaking spaces keep a number, its ± and its % on one line."""
    spaced = clean(text).replace(" ± ", "\u00a0±\u00a0").replace(" %", "\u00a0%")
    spaced = re.sub(r"(?<=\d) \((-?[\d.]+) to (-?[\d.]+)\)", "\u00a0(\\1\u00a0to\u00a0\\2)", spaced)
    return html.escape(spaced, quote=True)


def without_folders(text: str) -> str:
    """`text` without the folders of absolute paths: "…/weights.pth". A page is read on other machines."""
    return _PATH.sub("…/", text)


def escape_name(text: str) -> str:
    """Escape a name given by the user and isolate its text direction (<bdi>)."""
    return f"<bdi>{escape(text)}</bdi>"


def format_number(value: Cell) -> str:
    """A table cell as text: thousands separators, four significant digits, a dash for None."""
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


def format_count(value: float) -> str:
    """A count in short form: 61,706; 2.4 million."""
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if value >= size:
            return f"{value / size:.3g} {word}"
    return f"{value:,.0f}"


def format_duration(seconds: float) -> str:
    """A duration in s, min or h."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    if round(seconds) < 3600:
        return f"{round(seconds) // 60} min {round(seconds) % 60} s"
    return f"{round(seconds / 60) // 60} h {round(seconds / 60) % 60} min"


def format_overrun(seconds: float, budget: float) -> str:
    """ "took 4 min 42 s of 4 min", if a time exceeds its budget by more than 5 %; else ""."""
    if seconds <= MAX_OVERRUN * budget:
        return ""
    whole = format_duration(budget).removesuffix(" 0 s").removesuffix(" 0 min")
    return f"took {format_duration(seconds)} of {whole}"


def format_bytes(count: float) -> str:
    """A size in bytes, KiB, MiB or GiB."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.3g} {unit}" if count < 1000 else f"{count:,.0f} {unit}"


def scrollable(html: str) -> str:
    """A box that scrolls sideways on a narrow screen; it can be focused, so that the arrow keys scroll it."""
    return f'<div class="wide" tabindex="0">{html}</div>'

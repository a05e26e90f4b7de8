"""The sheet itself: header with the eye chart, sections below one another, style inside the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files as resources

from snellen.report import palette
from snellen.report.html_text import escaped

CHART = ("S", "NE", "LLEN")  # from big to small, as on Herman Snellen's chart


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of a page. `body` is HTML; `lead` says in a sentence what is to be seen."""

    title: str
    body: str
    lead: str = ""

    def html(self) -> str:
        lead = f'<p class="lead">{escaped(self.lead)}</p>' if self.lead else ""
        return f"<section><h2>{escaped(self.title)}</h2>{lead}{self.body}</section>"


def together(sections: Sequence[Section]) -> str:
    """Sections with something in them, one after the other."""
    return "\n".join(section.html() for section in sections if section.body or section.lead)


def page(title: str, over: str, statement: str, body: str) -> str:
    """A whole document that needs nothing outside itself.

    Args:
        title: of the document.
        over: the line over the statement: which model, which data.
        statement: HTML of the header's words.
        body: HTML of the sections.
    """
    chart = "".join(f'<span style="--row:{row}">{letters}</span>' for row, letters in enumerate(CHART))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="Snellen">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escaped(title)}</title>
<link rel="icon" href="data:,">
<style>
{style()}
</style>
</head>
<body>
<main>
<header>
<div class="chart" aria-hidden="true">{chart}</div>
<div><p class="over">{escaped(over)}</p>{statement}</div>
</header>
{body}
</main>
</body>
</html>
"""


def style() -> str:
    """The style sheet, with the colours of the plots for light and dark."""
    light, dark = (
        "".join(f"--c{place + 1}:{colour};" for place, colour in enumerate(colours))
        for colours in (palette.SERIES, palette.DARK)
    )
    sheet = (resources("snellen.report.pages") / "page.css").read_text(encoding="utf-8")
    return f":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}\n{sheet}"

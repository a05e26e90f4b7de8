"""Layout of an HTML page: header with an eye chart, sections, embedded style sheet."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files as resources
from typing import NamedTuple

from snellen.report import palette
from snellen.report.html_text import escape

CHART = ("S", "NE", "LLEN")  # rows of decreasing size, as on Herman Snellen's eye chart


class PagePart(NamedTuple):
    """What a page needs only if its body contains `mark`, which escaped text never does.

    script, style: names of package resources, "" without one. policy: addition to the content security policy.
    """

    mark: str
    script: str = ""
    style: str = ""
    policy: str = ""


PARTS = (
    PagePart(mark='<div class="player"', script="players.js", style="players.css"),
    PagePart(mark='<ul class="sounds"', style="sounds.css"),
    PagePart(mark="<audio ", policy="media-src data:"),
)


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of a page. `body` is HTML; `lead` is an introductory sentence."""

    title: str
    body: str
    lead: str = ""

    def html(self) -> str:
        lead = f'<p class="lead">{escape(self.lead)}</p>' if self.lead else ""
        return f"<section><h2>{escape(self.title)}</h2>{lead}{self.body}</section>"


def join_sections(sections: Sequence[Section]) -> str:
    """HTML of all sections that are not empty."""
    return "\n".join(section.html() for section in sections if section.body or section.lead)


def page(title: str, subject: str, header: str, body: str, script: str = "", style: str = "") -> str:
    """A complete HTML document without external references.

    Args:
        title: of the document.
        subject: line above the header: model and data.
        header: HTML of the header.
        body: HTML of the sections.
        script: JavaScript that runs after the body; the page allows no other but that of `PARTS`.
        style: style sheet of this kind of page, after that of all pages.
    """
    parts = [part for part in PARTS if part.mark in body]
    code, policy = _inline_script("\n".join(filter(None, [script, *map(_resource, (p.script for p in parts))])))
    policy += "".join(f"; {part.policy}" for part in parts if part.policy)
    style += "".join(_resource(part.style) for part in parts)
    chart = "".join(f'<span style="--row:{row}">{letters}</span>' for row, letters in enumerate(CHART))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="Snellen">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>
{style_sheet()}{style}
</style>
</head>
<body>
<main>
<header>
<div class="chart" role="img" aria-label="Snellen">{chart}</div>
<div><p class="over">{escape(subject)}</p>{header}</div>
</header>
{body}
</main>{code}
</body>
</html>
"""


def _inline_script(script: str) -> tuple[str, str]:
    """The script element and the content security policy of a page, which names the script by its SHA-256."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    if not script:
        return "", policy
    if "</" in script:
        raise ValueError("a script must not contain '</': it would end its element")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"\n<script>{script}</script>", f"{policy}; script-src 'sha256-{digest}'"


def style_sheet() -> str:
    """The style sheet, with the plot colours of the light and the dark scheme."""
    light, dark = (
        "".join(f"--c{k + 1}:{colour};" for k, colour in enumerate(colours))
        for colours in (palette.SERIES, palette.DARK)
    )
    sheet = _resource("page.css")
    return f":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}\n{sheet}"


def _resource(name: str) -> str:
    """Text of a package resource beside this module; "" for the name ""."""
    return (resources("snellen.report.pages") / name).read_text(encoding="utf-8") if name else ""

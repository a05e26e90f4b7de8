"""The page of one run, and the files it lies in."""

from __future__ import annotations

from pathlib import Path

from snellen.core import files
from snellen.report.html_text import unbroken
from snellen.report.pages.layout import Section, page
from snellen.report.pages.model_card import card
from snellen.report.pages.run_summary import Told
from snellen.report.pages.sections import data_section, model_sections, record_sections
from snellen.report.pages.verdicts import headline, interval, verdict


def statement(told: Told) -> str:
    """HTML of the header: the figure in words, what ± means, and the verdict against the baseline."""
    spec = told.record.spec
    said, level = verdict(told.headline, told.figure, told.baseline.get(told.headline), spec)
    unopened = "" if told.split == "test" else " The test split has not been opened."
    return (
        f"<h1>{headline(told.headline, told.figure, told.split, spec)}</h1>"
        + (f'<p class="verdict {level}">{unbroken(said)}</p>' if said else "")
        + f'<p class="small">{unbroken(interval(told.figure) + unopened)}</p>'
    )


def report(told: Told) -> str:
    """A whole page on one run, in one string that needs nothing outside itself."""
    over = f"{told.record.learner} on {told.record.spec.name} · {told.task.question}"
    body = "\n".join([model_sections(told), data_section(told.data), record_sections(told)])
    return page(f"{told.record.learner} on {told.record.spec.name}", over, statement(told), body)


def closer(told: Told) -> str:
    """The sections of one model for a page that has a header of its own: a ladder's best."""
    lines = statement(told).replace("<h1>", '<p class="figure">').replace("</h1>", "</p>")
    return Section(title=f"{told.record.learner}, looked at closely", body=lines).html() + model_sections(told)


def write_report(folder: Path, told: Told) -> Path:
    """Writes `report.html` and the model card into the run's folder; returns the page's path."""
    files.write_text(folder / "report.html", report(told))
    files.write_text(folder / "README.md", card(told))
    return folder / "report.html"

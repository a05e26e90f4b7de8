"""Report page of one run: `report.html` and the model card."""

from __future__ import annotations

from pathlib import Path

from snellen.core import file_io
from snellen.report.html_text import escape_nowrap
from snellen.report.pages.layout import Section, page
from snellen.report.pages.model_card import model_card
from snellen.report.pages.run_summary import RunSummary
from snellen.report.pages.sections import data_section, model_sections, record_sections
from snellen.report.pages.verdicts import baseline_verdict, headline_html, interval_caption


def header_html(summary: RunSummary) -> str:
    """HTML of the page header: headline metric, comparison with the baseline, meaning of ±."""
    name, metric, spec = summary.headline, summary.headline_metric, summary.record.spec
    theirs, method = summary.baseline.get(name), summary.task.display.baseline(spec)
    verdict, level = baseline_verdict(name, metric, theirs, method, summary.baseline_gain)
    not_tested = "" if summary.split == "test" else " The test split has not been evaluated."
    caption = interval_caption(name, metric, spec.sizes.get(summary.split, 0))
    return (
        f"<h1>{headline_html(name, metric, summary.split, spec)}</h1>"
        + (f'<p class="verdict {level}">{escape_nowrap(verdict)}</p>' if verdict else "")
        + f'<p class="small">{escape_nowrap(caption + not_tested)}</p>'
    )


def report_html(summary: RunSummary) -> str:
    """The report page of one run as a self-contained HTML document."""
    subject = f"{summary.record.learner} on {summary.record.spec.name} · {summary.task.question}"
    body = "\n".join([model_sections(summary), data_section(summary.data), record_sections(summary)])
    return page(f"{summary.record.learner} on {summary.record.spec.name}", subject, header_html(summary), body)


def best_model_sections(summary: RunSummary) -> str:
    """Sections on the best model of a ladder, for a page with its own header."""
    lines = header_html(summary).replace("<h1>", '<p class="figure">').replace("</h1>", "</p>")
    title = f"Best validation result: {summary.record.learner}"
    return Section(title=title, body=lines).html() + model_sections(summary)


def write_report(folder: Path, summary: RunSummary) -> Path:
    """Write `report.html` and the model card (`README.md`) into the run folder; return the path of the page."""
    file_io.write_text(folder / "report.html", report_html(summary))
    file_io.write_text(folder / "README.md", model_card(summary))
    return folder / "report.html"

"""The sections of a run's page, in the order they are read; a ladder takes the same ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from snellen.core import settings as core_settings
from snellen.core.spec import Boxes, Labels, Numbers, PixelClasses, PixelNumbers
from snellen.core.views import Cell, Finding, ImageGrid, Metric, Plot, Table, View
from snellen.data.dataset import SPLITS, Dataset, Labelled
from snellen.report import view_html
from snellen.report.html_text import duration, escaped, large, name, number, size, unbroken
from snellen.report.learning_curves import curves
from snellen.report.pages.layout import Section, together
from snellen.report.pages.run_summary import Told
from snellen.report.pages.verdicts import SPLITS as SPLIT_WORDS

MOST_CLASSES = 40  # in the table of counts; beyond, the rarest and the most frequent are shown
LOOKED_FOR = (
    "loss at chance, one class for everything, classes never said, the baseline, the gap between training and "
    "validation, dead units, vanishing and exploding gradients, the learning rate, one batch not learned by heart, "
    "leakage between splits"
)
LOOKED_FOR_IN_PLACES = (  # where the truth is told of places in pictures
    "loss at chance, one class for everything, classes never said, nothing found, objects too small to see, the "
    "baseline, the gap between training and validation, the learning rate, leakage between splits"
)


def model_sections(told: Told) -> str:
    """Diagnosis, worst errors, curves, what the task shows, cost: all that is said of the model itself."""
    worst = [view for view in told.views if is_worst(view)]
    others = [view for view in told.views if not is_worst(view)]
    lead = worst[0].caption if worst else ""
    worst = [dataclasses.replace(view, title="" if len(worst) == 1 else view.title, caption="") for view in worst]
    return together(
        [
            Section(title="Diagnosis", body=diagnosis(told.findings, told.notes, told.data)),
            Section(title="Where it fails", body="".join(map(view_html.html, worst)), lead=lead),
            Section(title="Learning", body=plots(curves(told.history)), lead=ending(told.notes)),
            Section(title="In detail", body=views(others)),
            Section(title="Inside the model", body=views(told.inside)),
        ]
    )


def record_sections(told: Told) -> str:
    """Cost, settings, all figures, versions and the command."""
    return together(
        [
            Section(title="Cost", body=cost(told.cost)),
            Section(title="Settings", body=settings(told)),
            Section(title="All figures", body=figures(told.metrics, told.baseline, told.split)),
            Section(title="To run it again", body=again(told)),
        ]
    )


def data_section(data: Dataset[Labelled]) -> str:
    """What the data was taken for, its splits, its classes, and what was found in it."""
    taken = (
        f"<p>{escaped(data.spec.name)} was taken for {escaped(data.recognised_as)}.</p>" if data.recognised_as else ""
    )
    counts = ", ".join(f"{number(n)} {_kind_of_file(kind)}" for kind, n in data.files.items())
    files = f'<p class="small">Files: {escaped(counts)}.</p>' if counts else ""
    found = findings(data.findings) if data.findings else '<p class="good">Nothing amiss was found in the data.</p>'
    return Section(title="Data", body=taken + files + _splits(data) + found).html()


def is_worst(view: View) -> TypeGuard[ImageGrid | Table]:
    """Pictures, and tables of errors: what people look at first."""
    return isinstance(view, ImageGrid) or (isinstance(view, Table) and view.title.lower().startswith("worst"))


def views(shown: Sequence[View]) -> str:
    """Views in their order; neighbouring plots side by side."""
    parts: list[str] = []
    row: list[View] = []
    for view in shown:
        if isinstance(view, Plot):
            row.append(view)
            continue
        parts += [plots(row), view_html.html(view)]
        row = []
    return "".join([*parts, plots(row)])


def plots(row: Sequence[View]) -> str:
    return f'<div class="plots">{"".join(map(view_html.html, row))}</div>' if row else ""


def diagnosis(found: Sequence[Finding], notes: Mapping[str, Any], data: Dataset[Labelled]) -> str:
    if found:
        return findings(found)
    if notes.get("converged") is False:
        return "<p>The rule did not converge: the last pass still made mistakes.</p>"
    sought = LOOKED_FOR if data.annotations is None else LOOKED_FOR_IN_PLACES
    return f'<p><span class="good">Nothing amiss was found.</span> Looked for: {escaped(sought)}.</p>'


def findings(found: Sequence[Finding]) -> str:
    """Each finding as a sentence, what to try, and the first places it was seen in."""
    items = []
    for finding in found:
        remedy = f"<p>{unbroken(finding.remedy)}</p>" if finding.remedy else ""
        places = "; ".join(name(place) for place in finding.unsaid(5))
        more = f" and {number(finding.count - 5)} more" if len(finding.where) > 5 and finding.count > 5 else ""
        where = f'<p class="where">{places}{more}</p>' if places else ""
        level = finding.severity if finding.severity in ("error", "warning") else "note"
        items.append(f'<li class="{level}"><p>{unbroken(finding.message)}</p>{remedy}{where}</li>')
    return f'<ul class="findings">{"".join(items)}</ul>'


def ending(notes: Mapping[str, Any]) -> str:
    """What it began with where it searched for regions, and how it ended where it did not run its full length."""
    if "proposals" in notes:
        found = notes["proposals"]
        return (
            f"It was given {found['regions a picture']:.0f} regions a picture, which reach "
            f"{100 * found['recall at 0.5']:.1f} % of the objects (an overlap of at least one half): "
            "what they do not reach cannot be found."
        )
    if "cut" in notes:
        return f"Time ran out after {number(notes['cut']['step'])} of {number(notes['cut']['of'])} steps."
    if "fitted" in notes:
        return (
            f"The time allowed {number(notes['fitted']['steps'])} of {number(notes['fitted']['of'])} steps; "
            "the schedule was fitted to them."
        )
    return ""


def cost(figures: Mapping[str, Any]) -> str:
    shown = [
        ("parameters", large, "parameters"),
        ("multiply_adds", large, "multiply-adds a sample"),
        ("seconds_learning", duration, "of learning"),
        ("milliseconds_a_prediction", lambda ms: f"{ms:.3g} ms", "a prediction"),
        ("peak_memory_bytes", size, "memory at most"),
    ]
    items = "".join(
        f"<div><dd>{escaped(words(figures[key]))}</dd><dt>{label}</dt></div>"
        for key, words, label in shown
        if figures.get(key) is not None
    )
    return f'<dl class="figures">{items}</dl>' if items else ""


def settings(told: Told) -> str:
    """Every setting, its value, where that came from, and what it does."""
    helps = {setting.name: setting.help for setting in core_settings.flat(told.learner.settings)}
    rows: list[list[Cell]] = [
        [key, _value(value, helps.get(key, "")), told.record.sources.get(key, ""), helps.get(key, "")]
        for key, value in told.record.settings.items()
    ]
    rows.append(["seed", str(told.record.seed), "", "Decides every random draw."])
    return view_html.html(Table(title="", columns=["setting", "value", "from", "what it does"], rows=rows))


def _value(value: Any, help: str = "") -> str:
    if value is None:
        return "auto" if "auto:" in help else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value))
    return str(value)


def figures(metrics: Mapping[str, Mapping[str, Metric]], baseline: Mapping[str, Metric], split: str) -> str:
    """Every metric of every split, beside the baseline's."""
    splits = [s for s in SPLITS if s in metrics]
    names = list(dict.fromkeys(key for s in splits for key in metrics[s]))
    rows: list[list[Cell]] = [
        [key, *(_figure(metrics[s].get(key)) for s in splits), _figure(baseline.get(key))] for key in names
    ]
    columns = ["figure", *(SPLIT_WORDS[s] for s in splits), f"baseline, {SPLIT_WORDS[split]}"]
    caption = "± is half of the 95 % interval over samples."
    return view_html.html(Table(title="", columns=columns, rows=rows, caption=caption))


def _figure(metric: Metric | None) -> str | None:
    return None if metric is None else str(metric)


def again(told: Told) -> str:
    """The command, and what decides the bits of its result."""
    record = told.record
    versions = ", ".join(f"{key} {value}" for key, value in record.versions.items())
    machine = f"{record.device}, {record.threads} thread{'s' if record.threads != 1 else ''}, seed {record.seed}"
    return f'<pre>{escaped(command(told))}</pre><p class="small">{escaped(versions)}; {escaped(machine)}.</p>'


def command(told: Told) -> str:
    """What to type to get the same again: the command as typed, else the call from Python."""
    record = told.record
    if record.command:
        return record.command
    given = {key: record.settings[key] for key, source in record.sources.items() if source == "given"}
    model = repr(record.learner) if record.source_hash is None else record.learner
    data = repr(record.data["data"]) if record.data is not None else "data"
    words = [data, f"model={model}", *(f"{key}={value!r}" for key, value in given.items()), f"seed={record.seed}"]
    return f"snellen.train({', '.join(words)})"


def _kind_of_file(kind: str) -> str:
    return kind.replace("_", " ")


def _splits(data: Dataset[Labelled]) -> str:
    """Samples of each split, by class where there are classes."""
    target = data.spec.target
    splits = [s for s in SPLITS if len(data.splits[s])]
    if target is None or isinstance(target, Numbers | PixelNumbers):
        rows: list[list[Cell]] = [[SPLIT_WORDS[s], len(data.splits[s])] for s in splits]
        return view_html.html(Table(title="", columns=["split", "samples"], rows=rows))
    tables = {s: data.counts(s) for s in splits}
    order = sorted(range(len(target.names)), key=lambda k: -target.counts[k] if target.counts else k)
    caption = _COUNTED.get(type(target), "")
    if len(order) > MOST_CLASSES:
        half = MOST_CLASSES // 2
        caption = f"The {half} most frequent and the {half} rarest of {number(len(order))} classes. {caption}".rstrip()
        order = [*order[:half], *order[-half:]]
    else:
        order = list(range(len(target.names)))
    rows = [["pictures" if type(target) in _COUNTED else "all", *(len(data.splits[s]) for s in splits)]]
    rows += [[target.names[k], *(tables[s][k] for s in splits)] for k in order]
    word = "label" if isinstance(target, Labels) else "class"
    columns = [word, *(SPLIT_WORDS[s] for s in splits)]
    return view_html.html(Table(title="", columns=columns, rows=rows, caption=caption))


_COUNTED = {Boxes: "Of a class, objects are counted.", PixelClasses: "Of a class, pixels are counted."}

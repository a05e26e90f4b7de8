"""Sections of the report page of a run, in their order; the ladder page uses the same sections."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from snellen.core import settings as core_settings
from snellen.core.experience import Experience
from snellen.core.views import Cell, Finding, ImageGrid, Metric, Motion, Plot, Sound, Table, View, interval_note
from snellen.data.dataset import SPLITS
from snellen.data.experience import is_annotated, samples_of
from snellen.data.formats import OpenOptions
from snellen.data.names import FILE_COUNTS
from snellen.modalities import modality_of
from snellen.report import view_html
from snellen.report.html_text import (
    escape,
    escape_name,
    escape_nowrap,
    format_bytes,
    format_count,
    format_duration,
    format_number,
)
from snellen.report.image_statistics import correlation_plot, dataset_correlation
from snellen.report.learning_curves import learning_curves, validation_score
from snellen.report.pages.layout import Section, join_sections
from snellen.report.pages.run_summary import RunSummary
from snellen.report.pages.verdicts import SPLITS as SPLIT_WORDS

MAX_CLASSES = 40  # in the table of counts; of more, only the most frequent and the rarest are shown
CHECKS = (
    "loss at chance level, one class for all samples, classes never predicted, not better than the baseline, "
    "overfitting, dead units, vanishing and exploding gradients, learning rate, one batch that cannot be overfit, "
    "leakage between splits, numbers beyond a bound of the target"
)
DENSE_AND_DETECTION_CHECKS = (  # for targets with positions in the image
    "loss at chance level, one class for all samples, classes never predicted, no detections, objects too small to "
    "detect, not better than the baseline, overfitting, learning rate, leakage between splits"
)


def model_sections(summary: RunSummary) -> str:
    """Sections on the model: diagnosis, worst predictions, learning curves, views of the task and of the learner."""
    metrics = summary.metrics[summary.split]
    worst = [view for view in summary.views if is_worst_view(view)]
    others = [view for view in summary.views if not is_worst_view(view)]
    lead = worst[0].caption if worst else ""
    worst = [dataclasses.replace(view, title="" if len(worst) == 1 else view.title, caption="") for view in worst]
    return join_sections(
        [
            Section(title="Diagnosis", body=diagnosis_html(summary)),
            Section(title="Worst predictions", body="".join(map(view_html.html, worst)), lead=lead),
            Section(
                title="Learning curves",
                body=plot_row_html(
                    learning_curves(summary.history, *validation_score(summary.task, summary.record.spec, metrics))
                ),
                lead=training_note(summary.notes),
            ),
            Section(title="Predictions in detail", body=views_html(others)),
            Section(title="Model internals", body=views_html(summary.inside)),
        ]
    )


def record_sections(summary: RunSummary) -> str:
    """Sections on the run: cost, settings, all metrics, command and versions."""
    return join_sections(
        [
            Section(title="Cost", body=cost_html(summary.cost)),
            Section(title="Settings", body=settings_html(summary)),
            Section(title="All metrics", body=metrics_html(summary.metrics, summary.baseline, summary.split)),
            Section(title="Reproduce this run", body=rerun_html(summary)),
        ]
    )


def data_section(data: Experience) -> str:
    """Section on the data: recognised format, splits, class counts, findings, correlation of neighbouring pixels."""
    recognised = (
        f"<p>{escape(data.spec.name)} was recognised as {escape(data.recognised_as)}.</p>" if data.recognised_as else ""
    )
    samples = samples_of(data)
    files_of_kind = {} if samples is None else samples.files
    counts = ", ".join(f"{format_number(n)} {_kind_of_file(kind)}" for kind, n in files_of_kind.items())
    files = f'<p class="small">Files: {escape(counts)}.</p>' if counts else ""
    checked = '<p class="good">No findings in the data.</p>' if samples is not None else ""
    findings = findings_html(data.findings) if data.findings else checked
    correlation = dataset_correlation(data)
    plot = None
    if correlation is not None:
        noun = (
            "training image as the model gets it"
            if correlation.images == 1
            else "training images as the model gets them"
        )
        plot = correlation_plot(correlation, f"{format_number(correlation.images)} {noun}")
    statistics = "" if plot is None else plot_row_html([plot])
    return Section(title="Data", body=recognised + files + _splits_html(data) + findings + statistics).html()


def is_worst_view(view: View) -> TypeGuard[ImageGrid | Table | Motion | Sound]:
    """Whether a view shows the worst predictions: images, a table, motions or recordings titled "Worst ..."."""
    return isinstance(view, ImageGrid | Table | Motion | Sound) and view.title.lower().startswith("worst")


def views_html(views: Sequence[View]) -> str:
    """Views in their order; consecutive plots side by side."""
    parts: list[str] = []
    row: list[View] = []
    for view in views:
        if isinstance(view, Plot):
            row.append(view)
            continue
        parts += [plot_row_html(row), view_html.html(view)]
        row = []
    return "".join([*parts, plot_row_html(row)])


def plot_row_html(row: Sequence[View]) -> str:
    """Plots side by side."""
    return f'<div class="plots">{"".join(map(view_html.html, row))}</div>' if row else ""


def diagnosis_html(summary: RunSummary) -> str:
    """The findings, or the list of checks that passed; the number of training samples where it is limited."""
    limit = ""
    if summary.diagnosed.limited:
        counts = [format_number(n) for n in (summary.diagnosed.metrics, len(summary.data.splits["train"]))]
        limit = (
            f'<p class="small">On {counts[0]} of {counts[1]} training samples: the computation of the diagnosis is '
            "limited to a tenth of that of the training.</p>"
        )
    if summary.findings:
        return findings_html(summary.findings) + limit
    if summary.notes.get("converged") is False:
        return "<p>Training did not converge: training samples were still misclassified in the last epoch.</p>" + limit
    checks = DENSE_AND_DETECTION_CHECKS if is_annotated(summary.data) else CHECKS
    intro = '<span class="good">No findings.</span> Checks, where they apply to this model and task:'
    return f"<p>{intro} {escape(checks)}.</p>{limit}"


def findings_html(findings: Sequence[Finding]) -> str:
    """Each finding with its message, its remedy and its first files or rows."""
    items = []
    for finding in findings:
        remedy = f"<p>{escape_nowrap(finding.remedy)}</p>" if finding.remedy else ""
        places = "; ".join(escape_name(place) for place in finding.unmentioned(5))
        more = f" and {format_number(finding.count - 5)} more" if len(finding.where) > 5 and finding.count > 5 else ""
        where = f'<p class="where">{places}{more}</p>' if places else ""
        level = finding.severity if finding.severity in ("error", "warning") else "note"
        items.append(f'<li class="{level}"><p>{escape_nowrap(finding.message)}</p>{remedy}{where}</li>')
    return f'<ul class="findings">{"".join(items)}</ul>'


def training_note(notes: Mapping[str, Any]) -> str:
    """A sentence on region proposals, or on training that was shortened by the time limit."""
    if "proposals" in notes:
        proposals = notes["proposals"]
        return (
            f"Region proposals: {proposals['regions a picture']:.0f} per image, recall "
            f"{100 * proposals['recall at 0.5']:.1f} % at IoU 0.5. Objects without a proposal cannot be detected."
        )
    if "cut" in notes:
        step, total = format_number(notes["cut"]["step"]), format_number(notes["cut"]["of"])
        return f"Training stopped at the time limit after {step} of {total} steps."
    if "fitted" in notes:
        steps, total = format_number(notes["fitted"]["steps"]), format_number(notes["fitted"]["of"])
        return f"The time limit allowed {steps} of {total} steps; the schedule was shortened to {steps} steps."
    return ""


def cost_html(cost: Mapping[str, Any]) -> str:
    """The cost of the model as a list of numbers."""
    entries = [
        ("parameters", format_count, "parameters"),
        ("multiply_adds", format_count, "multiply-adds per sample"),
        ("seconds_learning", format_duration, "training time"),
        ("milliseconds_a_prediction", lambda ms: f"{ms:.3g} ms", "latency of one sample"),
        ("peak_memory_bytes", format_bytes, "peak process memory (RSS)"),
    ]
    items = "".join(
        f"<div><dd>{escape(format_value(cost[key]))}</dd><dt>{label}</dt></div>"
        for key, format_value, label in entries
        if cost.get(key) is not None
    )
    return f'<dl class="figures">{items}</dl>' if items else ""


def settings_html(summary: RunSummary) -> str:
    """A table of all settings: value, source, help text."""
    helps = {setting.name: setting.help for setting in core_settings.flatten(summary.learner.settings)}
    rows: list[list[Cell]] = [
        [key, _value(value, helps.get(key, "")), summary.record.sources.get(key, ""), helps.get(key, "")]
        for key, value in summary.record.settings.items()
    ]
    rows.append(
        ["seed", str(summary.record.seed), "", "Random seed of training: initialisation, sampling, augmentation."]
    )
    if summary.record.data is not None:
        rows.append(["split-seed", str(summary.record.data.get("seed", "")), "", "Random seed of generated splits."])
    return view_html.html(Table(title="", columns=["setting", "value", "source", "description"], rows=rows))


def _value(value: Any, help: str = "") -> str:
    if value is None:
        return "auto" if "auto:" in help else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value))
    return str(value)


def metrics_html(metrics: Mapping[str, Mapping[str, Metric]], baseline: Mapping[str, Metric], split: str) -> str:
    """A table of all metrics by split, and of the baseline."""
    splits = [s for s in SPLITS if s in metrics]
    names = list(dict.fromkeys(key for s in splits for key in metrics[s]))
    by_split = [metrics[s] for s in splits] + ([baseline] if baseline else [])
    columns = ["metric", *(SPLIT_WORDS[s] for s in splits)]
    if baseline:
        columns.append(f"baseline, {SPLIT_WORDS[split]}")
    over = next((metric.over for named in by_split for metric in named.values() if metric.over), "samples")
    rows: list[list[Cell]] = [[key, *(_metric_text(named.get(key), over) for named in by_split)] for key in names]
    every = [metric for named in by_split for metric in named.values()]
    has_intervals = any(metric.low is not None for metric in every)
    caption = f"± is half the width of the 95 % confidence interval over {over}. " if has_intervals else ""
    caption += interval_note(every) or ("Values without an interval have none computed.")
    return view_html.html(Table(title="", columns=columns, rows=rows, caption=caption))


def _metric_text(metric: Metric | None, over: str) -> str | None:
    return None if metric is None else metric.text(over)


def rerun_html(summary: RunSummary) -> str:
    """The command and everything that determines its result: versions, device, threads, seed."""
    record = summary.record
    versions = ", ".join(f"{key} {value}" for key, value in record.versions.items())
    machine = f"{record.device}, {record.threads} thread{'s' if record.threads != 1 else ''}, seed {record.seed}"
    cut = summary.notes.get("fitted") or summary.notes.get("cut")
    shortened = ""
    if cut:
        steps = f"{cut.get('steps', cut.get('step')):,} of {cut['of']:,} steps"
        shortened = f" A time limit ended this training after {steps}: a training without it differs."
    return (
        f'<pre>{escape(rerun_command(summary))}</pre><p class="small">{escape(versions)}; {escape(machine)}.'
        f"{escape(shortened)}</p>"
    )


def rerun_command(summary: RunSummary) -> str:
    """The command that reproduces the run: as typed on the command line, or a Python call."""
    record = summary.record
    if record.command:
        return record.command
    suggested = summary.learner.suggest(record.spec)  # what the learner suggests again needs no argument
    given = {
        key: record.settings[key]
        for key, source in record.sources.items()
        if source == "given"
        or (source != "default" and (key not in suggested or suggested[key].value != record.settings[key]))
    }
    model = repr(record.learner) if record.source_hash is None else record.learner
    data = repr(record.data["data"]) if record.data is not None else "data"
    options = _options_of_data(record.data)
    if options:
        data = f"snellen.dataset({data}, options=OpenOptions({options}))"
    seeds = [f"seed={record.seed}"]
    if record.data is not None and record.data.get("seed"):
        seeds.append(f"split_seed={record.data['seed']}")
    arguments = [data, f"model={model}", *(f"{key}={value!r}" for key, value in given.items()), *seeds]
    return f"snellen.train({', '.join(arguments)})"


def _options_of_data(origin: Mapping[str, Any] | None) -> str:
    """The arguments of `OpenOptions` that differ from the defaults, as in Python."""
    stored = (origin or {}).get("options")
    if not isinstance(stored, Mapping):
        return ""
    defaults = {field.name: field.default for field in dataclasses.fields(OpenOptions)}
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
    return ", ".join(f"{key}={value!r}" for key, value in values.items() if key in defaults and value != defaults[key])


def _kind_of_file(kind: str) -> str:
    """The displayed name of a count of `Dataset.files`."""
    return FILE_COUNTS.get(kind, kind.replace("_", " "))


def _splits_html(data: Experience) -> str:
    """A table of the number of samples in each split, by class if the target has classes."""
    target = data.spec.target
    splits = [s for s in SPLITS if len(data.splits[s])]
    samples = samples_of(data)
    tables = {s: () if samples is None else samples.counts(s) for s in splits}
    if target is None or not any(tables.values()):
        rows: list[list[Cell]] = [[SPLIT_WORDS[s], len(data.splits[s])] for s in splits]
        return view_html.html(
            Table(title="", columns=["split", "samples" if samples is not None else "episodes"], rows=rows)
        )
    counts, counted = getattr(target, "counts", ()), data.spec.counted
    order = sorted(range(len(target.names)), key=lambda k: -counts[k] if counts else k)
    is_part = counted != "samples"  # of a sample
    caption = f"The rows of classes count {counted}." if is_part else ""
    if len(order) > MAX_CLASSES:
        half = MAX_CLASSES // 2
        caption = (
            f"The {half} most frequent and the {half} rarest of {format_number(len(order))} classes. {caption}".rstrip()
        )
        order = [*order[:half], *order[-half:]]
    else:
        order = list(range(len(target.names)))
    rows = [[modality_of(data.spec).noun if is_part else "all", *(len(data.splits[s]) for s in splits)]]
    rows += [[target.names[k], *(tables[s][k] for s in splits)] for k in order]
    columns = [getattr(target, "noun", "class"), *(SPLIT_WORDS[s] for s in splits)]
    return view_html.html(Table(title="", columns=columns, rows=rows, caption=caption))

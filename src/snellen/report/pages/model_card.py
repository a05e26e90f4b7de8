"""Model card: `README.md` of a run folder in the format of model hubs."""

from __future__ import annotations

import json

from snellen.modalities import samples_noun
from snellen.report import tables
from snellen.report.html_text import clean, format_count, format_number
from snellen.report.pages.run_summary import RunSummary
from snellen.report.pages.sections import rerun_command
from snellen.report.pages.verdicts import SPLITS, baseline_verdict

METRICS = {
    "accuracy": "accuracy",
    "macro F1": "f1",
    "ROC AUC": "roc_auc",
    "mean absolute error": "mae",
    "root mean squared error": "rmse",
    "R2": "r_squared",
}


def model_card(summary: RunSummary) -> str:
    """Front matter, then the model, its data, metrics, use and limits."""
    spec, metrics = summary.record.spec, summary.metrics[summary.split]
    baseline, display = summary.baseline.get(summary.headline), summary.task.display
    verdict, _ = baseline_verdict(
        summary.headline, summary.headline_metric, baseline, display.baseline(spec), summary.baseline_gain
    )
    rows = "".join(f"| {escape_markdown(key)} | {escape_markdown(metric.cell)} |\n" for key, metric in metrics.items())
    findings = "".join(
        f"- {escape_markdown(finding.text)}\n" for finding in [*summary.findings, *summary.data.findings]
    )
    samples = f"{format_number(spec.sizes.get(summary.split, 0))} {SPLITS[summary.split]} {samples_noun(spec)}"
    weights = f"{format_count(summary.cost['parameters'])} parameters. " if summary.cost.get("parameters") else ""
    sizes = ", ".join(f"{format_number(count)} {SPLITS[split]}" for split, count in spec.sizes.items())
    return f"""---
{front_matter(summary)}---

# {escape_markdown(summary.record.learner)} on {escape_markdown(spec.name)}

{escape_markdown(" ".join([summary.learner.summary, summary.task.question, display.outputs(spec)]).strip())}

{weights}Source: {escape_markdown(summary.learner.source)}.

## Data

{escape_markdown(spec.name)}: {sizes} {samples_noun(spec)}.

## Metrics

Evaluated on {samples}. ± is half the width of the 95 % confidence interval; values without an
interval have none computed.

| metric | value |
|---|---|
{rows}
{escape_markdown(verdict)}

## Use

```python
import snellen

run = snellen.load("path/to/this/folder")
run.predict("FILE")
```

To train this model again: `{clean(rerun_command(summary)).replace("`", "'")}`

## Limits

The metrics hold for samples from the distribution of the training data only. Inputs are preprocessed as recorded in
`run.json` (size, channels, range of values).
{findings}"""


def front_matter(summary: RunSummary) -> str:
    """YAML front matter; strings are quoted as JSON, which is valid YAML."""
    spec = summary.record.spec
    lines = ["library_name: snellen"]
    pipeline = summary.task.display.hub_names.get(spec.modality)
    if pipeline:
        lines.append(f"pipeline_tag: {pipeline}")
    lines.append(f"tags:\n- snellen\n- {json.dumps(clean(summary.record.learner))}")
    known = [METRICS[key] for key in summary.metrics[summary.split] if key in METRICS]
    if known:
        lines.append("metrics:\n" + "\n".join(f"- {key}" for key in known))
    return "\n".join(lines) + "\n"


def escape_markdown(text: str) -> str:
    """Escape Markdown, HTML and table syntax."""
    return tables.escape_markdown(clean(text))

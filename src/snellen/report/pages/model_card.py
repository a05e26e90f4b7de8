"""The model card: `README.md` of a run's folder in the form the model hubs read."""

from __future__ import annotations

import json
import re

from snellen.core.spec import Boxes, Classes, Labels, Numbers
from snellen.report.html_text import clean, large, number
from snellen.report.pages.run_summary import Told
from snellen.report.pages.sections import command
from snellen.report.pages.verdicts import SPLITS, things, verdict

PIPELINES = {  # (task, modality) -> the hubs' name for it
    ("classify", "image"): "image-classification",
    ("classify", "vector"): "tabular-classification",
    ("regress", "vector"): "tabular-regression",
    ("detect", "image"): "object-detection",
    ("instances", "image"): "image-segmentation",
    ("keypoints", "image"): "keypoint-detection",
}
METRICS = {
    "accuracy": "accuracy",
    "macro F1": "f1",
    "ROC AUC": "roc_auc",
    "mean absolute error": "mae",
    "root mean squared error": "rmse",
    "R2": "r_squared",
}


def card(told: Told) -> str:
    """Front matter, then what it is, learned from what, how good, how to use it, and where it ends."""
    spec = told.record.spec
    said, _ = verdict(told.headline, told.figure, told.baseline.get(told.headline), spec)
    rows = "".join(f"| {plain(key)} | {plain(str(metric))} |\n" for key, metric in told.metrics[told.split].items())
    concerns = "".join(
        f"- {plain(finding.message)} {plain(finding.remedy)}\n" for finding in [*told.findings, *told.data.findings]
    )
    weights = f"{large(told.cost['parameters'])} parameters. " if told.cost.get("parameters") else ""
    sizes = ", ".join(f"{number(count)} for {SPLITS[split]}" for split, count in spec.sizes.items())
    return f"""---
{front_matter(told)}---

# {plain(told.record.learner)} on {plain(spec.name)}

{plain(told.learner.summary)} {plain(told.task.question)}{_answers(told)}

{weights}Source: {plain(told.learner.source)}.

## Data

{plain(spec.name)}: {sizes} {things(spec)}.

## Figures

Over {number(spec.sizes.get(told.split, 0))} {SPLITS[told.split]} {things(spec)}. ± is half of the 95 % interval.

| figure | value |
|---|---|
{rows}
{plain(said)}

## Use

```python
import snellen

run = snellen.load("path/to/this/folder")
run.predict("FILE")
```

To learn it again: `{clean(command(told)).replace("`", "'")}`

## Limits

It was measured on samples like those it learned from; on others its figures do not hold. Inputs are read as
`run.json` says (size, channels, range of values).
{concerns}"""


def front_matter(told: Told) -> str:
    """YAML; every text is quoted as JSON, which YAML reads."""
    spec = told.record.spec
    lines = ["library_name: snellen"]
    pipeline = PIPELINES.get((told.task.name, spec.modality))
    if pipeline:
        lines.append(f"pipeline_tag: {pipeline}")
    lines.append(f"tags:\n- snellen\n- {json.dumps(clean(told.record.learner))}")
    known = [METRICS[key] for key in told.metrics[told.split] if key in METRICS]
    if known:
        lines.append("metrics:\n" + "\n".join(f"- {key}" for key in known))
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """Text as Markdown shows it: no markup, no HTML, no table cell of its own."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", clean(text))


def _answers(told: Told) -> str:
    target = told.record.spec.target
    if isinstance(target, Classes | Labels):
        shown = ", ".join(map(plain, target.names[:20]))
        more = f" and {number(len(target.names) - 20)} more" if len(target.names) > 20 else ""
        return f" {'One of' if isinstance(target, Classes) else 'Any of'} {shown}{more}."
    if isinstance(target, Boxes):
        return f" Any number of {', '.join(map(plain, target.names[:20]))}."
    if isinstance(target, Numbers):
        return f" It says {', '.join(map(plain, target.names))}."
    return ""

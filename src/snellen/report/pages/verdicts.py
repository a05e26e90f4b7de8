"""Headline metric and comparison with the baseline as sentences."""

from __future__ import annotations

from snellen.core.spec import Spec
from snellen.core.views import Metric
from snellen.modalities import samples_noun
from snellen.report import reference_metrics
from snellen.report.html_text import escape, escape_nowrap, format_number

FEW_SAMPLES = 30  # below, bootstrap intervals of skewed metrics fall short of 95 %: see docs/benchmarks.md
SPLITS = {"train": "training", "val": "validation", "test": "test"}

# Headline sentence of each metric: {m} the metric, {n} number of samples, {s} split, {w} noun for the samples.
_HEADLINES = {
    "accuracy": "{m} of {n} {s} {w} classified correctly",
    "balanced accuracy": "{m} balanced accuracy over {n} {s} {w}",
    "average precision": "{m} average precision over {n} {s} {w}",
    "AP": "{m} average precision over {n} {s} {w}",
    "mask AP": "{m} average precision of masks over {n} {s} {w}",
    "keypoint AP": "{m} average precision of keypoints over {n} {s} {w}",
    "mean absolute error": "{m} mean absolute error over {n} {s} {w}",
    "abs-rel": "{m} absolute relative error (AbsRel) over {n} {s} {w}",
    "R2": "{m} of the variance explained, over {n} {s} {w}",
}


def headline_html(name: str, metric: Metric, split: str, spec: Spec) -> str:
    """HTML: "<b>99.43 ± 0.15 %</b> of 10,000 test images classified correctly"."""
    count = format_number(spec.sizes.get(split, 0))
    samples = f"{count} {SPLITS[split]} {samples_noun(spec)}"
    if metric.value is None:
        return f"{escape(name)} is undefined over {samples}: {escape(metric.reason)}"
    pattern = _HEADLINES.get(name, "{m} " + escape(name) + " over {n} {s} {w}")
    shown = str(metric) if metric.low is not None else _without_interval(metric)
    text = pattern.format(m=f"<b>{escape_nowrap(shown)}</b>", n=count, s=SPLITS[split], w=samples_noun(spec))
    return text[0].upper() + text[1:]


def interval_caption(name: str, metric: Metric, count: int) -> str:
    """Why there is no interval; else what ± means, and that a bootstrap of few samples is less than 95 % sure.

    Args:
        name: of the metric. count: number of samples of the split.
    """
    if metric.value is not None and metric.low is None and metric.reason:
        return f"{metric.reason[0].upper()}{metric.reason[1:]}."
    if not metric.over:
        return ""
    caption = f"± is half the width of the 95 % confidence interval over {metric.over}."
    if count >= FEW_SAMPLES or "accuracy" in name:
        return caption
    return (
        f"{caption} Of fewer than {FEW_SAMPLES} {metric.over}, such intervals hold the true value in only 83 to 93 %."
    )


def baseline_verdict(
    name: str, ours: Metric, theirs: Metric | None, method: str, gain: Metric | None = None
) -> tuple[str, str]:
    """A sentence that compares the model with the baseline, and its level: "good", "warning" or "".

    Args:
        method: what the baseline predicts.
        gain: the difference on the same samples, where it decides instead of the intervals.
    """
    if theirs is None or theirs.value is None or ours.value is None:
        return "", ""
    baseline = f"the baseline (predicts {method}): {_without_interval(theirs)}"
    better = (ours.value > theirs.value) == ours.higher_is_better and ours.value != theirs.value
    if gain is not None and gain.low is not None and gain.low > 0:
        return f"Better than {baseline}; better by {gain} on the same {gain.over}.", "good"
    if gain is None and reference_metrics.significantly_better(ours, theirs):
        difference = _difference(name, ours, theirs)
        skill = reference_metrics.skill_score(ours, theirs)
        if skill is not None and skill <= reference_metrics.MIN_SKILL_SCORE:
            return (
                f"Only slightly better than {baseline}, outside the 95 % confidence interval; {difference}.",
                "warning",
            )
        return f"Better than {baseline}, outside the 95 % confidence interval; {difference}.", "good"
    if better and ours.low is None:
        return f"Better than {baseline}, without an interval.", "warning"
    if better:
        return f"Better than {baseline}, but within the 95 % confidence interval.", "warning"
    return f"Not better than {baseline}.", "warning"


def _without_interval(metric: Metric) -> str:
    """The value and unit of a metric without its interval."""
    return str(Metric(value=metric.value, percent=metric.percent, unit=metric.unit))


def _difference(name: str, ours: Metric, theirs: Metric) -> str:
    """The difference as a ratio of errors if the metric is an error or an accuracy, else in units of the metric."""
    assert ours.value is not None
    assert theirs.value is not None
    if not ours.higher_is_better:
        if ours.value > 0:
            return f"the error of the baseline is {theirs.value / ours.value:.2g} times as large"
        return "the model makes no error"
    if "accuracy" in name and 0.5 < ours.value < 1:
        ratio = float(f"{(1 - theirs.value) / (1 - ours.value):.2g}")
        return f"the baseline makes {ratio:g} times as many errors"
    step = 100 * (ours.value - theirs.value) if ours.percent else ours.value - theirs.value
    return f"better by {step:.3g} percentage points" if ours.percent else f"better by {step:.3g}"

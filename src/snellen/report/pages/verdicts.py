"""Figures in words: the headline, and the verdict against the baseline."""

from __future__ import annotations

from snellen.core.spec import Boxes, Numbers, PixelClasses, PixelNumbers, Spec
from snellen.core.views import Metric
from snellen.report import reference_metrics
from snellen.report.html_text import escaped, number, unbroken

SPLITS = {"train": "training", "val": "validation", "test": "test"}

# What a figure says of the samples: {m} the figure, {n} how many, {s} of which split, {w} what they are.
_HEADLINES = {
    "accuracy": "{m} of {n} {s} {w} right",
    "balanced accuracy": "{m} of a class right on average, over {n} {s} {w}",
    "average precision": "{m} average precision over {n} {s} {w}",
    "AP": "{m} average precision over {n} {s} {w}",
    "mask AP": "{m} average precision of masks over {n} {s} {w}",
    "keypoint AP": "{m} average precision of keypoints over {n} {s} {w}",
    "mean absolute error": "off by {m} on average, over {n} {s} {w}",
    "R2": "{m} of the variance explained, over {n} {s} {w}",
}


def things(spec: Spec) -> str:
    """What the samples are called."""
    return {"image": "pictures", "vector": "rows", "clip": "clips", "volume": "volumes"}.get(spec.modality, "samples")


def headline(name: str, metric: Metric, split: str, spec: Spec) -> str:
    """HTML: "<b>99.43 ± 0.15 %</b> of 10,000 test pictures right"."""
    count = number(spec.sizes.get(split, 0))
    where = f"{count} {SPLITS[split]} {things(spec)}"
    if metric.value is None:
        return f"{escaped(name)} is undefined over {where}: {escaped(metric.reason)}"
    pattern = _HEADLINES.get(name, "{m} " + escaped(name) + " over {n} {s} {w}")
    words = pattern.format(m=f"<b>{unbroken(str(metric))}</b>", n=count, s=SPLITS[split], w=things(spec))
    return words[0].upper() + words[1:]


def interval(metric: Metric) -> str:
    """What ± means here."""
    return f"± is half of the 95 % interval over {metric.over}." if metric.over else ""


def verdict(name: str, ours: Metric, theirs: Metric | None, spec: Spec) -> tuple[str, str]:
    """A sentence on the model against the baseline, and its level: "good", "warning" or ""."""
    if theirs is None or theirs.value is None or ours.value is None:
        return "", ""
    knows = (
        "says the mean of the training targets"
        if isinstance(spec.target, Numbers)
        else "knows only where objects usually are"
        if isinstance(spec.target, Boxes)
        else "says what is usual at every pixel"
        if isinstance(spec.target, PixelNumbers)
        else "says the most frequent class at every pixel"
        if isinstance(spec.target, PixelClasses)
        else "knows only how often each class occurs"
    )
    said = f"The baseline, which {knows}, reaches {_plain(theirs)}"
    better = (ours.value > theirs.value) == ours.higher_is_better and ours.value != theirs.value
    if reference_metrics.beats(ours, theirs):
        if (reference_metrics.gained(ours, theirs) or 0) <= reference_metrics.SKILL:
            return f"{said}. It is beaten, but hardly: {_times(name, ours, theirs)}.", "warning"
        return f"{said}. It is clearly beaten: {_times(name, ours, theirs)}.", "good"
    if better:
        return f"{said}: the difference is within the interval, so it may be chance.", "warning"
    return f"{said}: it is not beaten.", "warning"


def _plain(metric: Metric) -> str:
    """Without its interval."""
    return str(Metric(value=metric.value, percent=metric.percent, unit=metric.unit))


def _times(name: str, ours: Metric, theirs: Metric) -> str:
    """By how much: in errors where there is a share of them, else in the figure itself."""
    assert ours.value is not None
    assert theirs.value is not None
    if not ours.higher_is_better:
        return f"its error is {theirs.value / ours.value:.2g} times as large" if ours.value > 0 else "no error is left"
    if "accuracy" in name and 0.5 < ours.value < 1:
        return f"it makes {float(f'{(1 - theirs.value) / (1 - ours.value):.2g}'):g} times as many errors"
    step = 100 * (ours.value - theirs.value) if ours.percent else ours.value - theirs.value
    return f"by {step:.3g} points" if ours.percent else f"by {step:.3g}"

"""Diagnosis of a training run: each finding has one sentence of cause and one of remedy, causes before symptoms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from snellen.core.experience import Experience
from snellen.core.spec import Spec
from snellen.core.task import Predictions, Task
from snellen.core.views import Finding, Metric
from snellen.data.experience import samples_of
from snellen.report import reference_metrics
from snellen.report.diagnosis_size import GRADIENT_SAMPLES, UNIT_SAMPLES, DiagnosisSize
from snellen.report.learning_curves import HistoryRow, running_mean, scalar_series
from snellen.report.network_statistics import dead_units, gradient_norms

# Thresholds, each with its reason.
UNTRAINED = 0.2  # skill of the headline; the best of 20 networks with random weights had 0.08 on digits
CHANCE = 0.02  # relative to the baseline's log loss: class frequencies alone give no larger improvement
GAP = 0.05  # five points: every network has a smaller gap between training and validation
GAP_RATIO = 1.5  # for errors without a scale: validation error relative to training error
DEAD = 0.30  # fraction of a layer; initialisation alone leaves only a few units dead
VANISHING = 1e-3  # gradient of the first layer relative to the last: the first learns a thousand times slower
EXPLODING = 1e3  # the inverse ratio, or a gradient relative to its own weights
DIVERGED = 3.0  # highest smoothed loss relative to the first loss: more than noise between batches
MIN_DECREASE = 0.1  # relative to the first loss: a smaller decrease cannot be followed by a meaningful rise
REBOUND = 0.3  # rise of the loss relative to its decrease: more than the noise of the smoothed loss
FINAL_FRACTION = 0.1  # the last tenth of the steps counts as the end of a run
OVERFIT_LOSS = 0.05  # relative to the first loss: the loss of an overfit batch is lower


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Input of the diagnosis.

    Args:
        task, model, data: of the training run.
        history: the rows of `history.jsonl`.
        predictions: on the evaluated split.
        metrics: by split: "val", and "test" if the test split has been evaluated.
        notes: of the run.
        size: numbers of samples; None: without a bound.
        training_predictions: predictions on the training split, if training has stored them.
        baseline_gain: see `reference_metrics.paired_gain`.
    """

    task: Task[Any, Any]
    model: nn.Module
    data: Experience
    history: Sequence[HistoryRow]
    predictions: Predictions
    metrics: Mapping[str, Mapping[str, Metric]]
    notes: Mapping[str, Any]
    size: DiagnosisSize | None = None
    training_predictions: Predictions | None = None
    baseline_model: nn.Module | None = None
    baseline_gain: Metric | None = None

    @property
    def samples(self) -> DiagnosisSize:
        limit = reference_metrics.training_sample_limit(self.data)
        return self.size or DiagnosisSize(GRADIENT_SAMPLES, UNIT_SAMPLES, limit)

    @property
    def spec(self) -> Spec:
        return self.data.spec

    @property
    def split(self) -> str:
        return "test" if "test" in self.metrics else "val"

    @property
    def headline(self) -> str:
        return self.task.headline(self.spec)

    @property
    def device(self) -> torch.device:
        return reference_metrics.device_of(self.model)


def diagnose(e: Evidence, baseline: Mapping[str, Metric]) -> list[Finding]:
    """All findings on a run, causes before symptoms; an empty list for a healthy run.

    Args:
        baseline: metrics of the baseline on the evaluated split; empty if the task has no baseline.
    """
    findings = [*leakage_findings(e.data), *_learning_rate(e.history, rising=e.task.diagnosis.loss_may_rise)]
    if examines_layers(e.model, e.task):
        findings += [*_gradients(e), *_dead_units(e)]
    if "by heart" in e.notes:  # the run only overfits one batch
        has_floor = e.notes.get("soft targets", False)  # the loss of a perfect fit is their entropy, not zero
        return [*findings, *([] if has_floor else _overfit_batch(e.history, e.notes["by heart"]))]
    subset = reference_metrics.subsample(e.data, "train", e.samples.metrics)
    if e.training_predictions is not None:
        subset = e.data
    if len(subset.splits["train"]) and e.task.diagnosis.compares_training:
        if e.training_predictions is not None:
            train = e.task.measure(e.training_predictions, e.spec)
        else:
            train = reference_metrics.evaluate(e.task, e.model, subset, "train", e.device)
        baseline_model = e.baseline_model
        if baseline_model is None:
            baseline_model = reference_metrics.fit_baseline(e.task, e.data)
        theirs = reference_metrics.baseline_metrics(e.task, baseline_model, subset, "train")
        findings += _chance(train, theirs, e.headline, e.history)
        findings += _gap(train, e.metrics.get("val") or e.metrics.get("test") or {}, e.headline)
    headline = e.metrics.get(e.split, {}).get(e.headline)
    of_task = e.task.diagnosis.findings(e.predictions, e.data, e.split, None if headline is None else headline.value)
    return [*findings, *of_task, *_not_better_than_baseline(e, baseline)]


def examines_layers(model: nn.Module, task: Task[Any, Any]) -> bool:
    """Whether gradients and hidden units are examined: of a trained network with at least one hidden layer."""
    return task.diagnosis.output is not None and sum(p.requires_grad and p.ndim > 1 for p in model.parameters()) > 1


def leakage_findings(data: Experience) -> list[Finding]:
    """Findings of the data check on samples in several splits."""
    return [finding for finding in data.findings if finding.kind == "leakage"]


def _learning_rate(history: Sequence[HistoryRow], rising: bool = False) -> list[Finding]:
    """A learning rate that is too high: the loss rose above its first value, or fell and rose again.

    Args:
        rising: the loss may rise in a healthy run. In a detector, more proposals on objects add more box and mask
            losses.
    """
    _, losses = scalar_series(history, "loss")
    if len(losses) < 10:
        return []
    start = losses[0]  # before the first update
    means = running_mean(losses, max(5, len(losses) // 50))
    remedy = "Try a tenth of this --lr, or --lr auto (learning-rate range test)."
    if start > 0 and max(means) > DIVERGED * start:
        return [
            Finding(
                kind="rate",
                message=f"The learning rate is too high: the training loss rose from {start:.3g} at the first step "
                f"to {max(means):.3g}.",
                remedy=remedy,
            )
        ]
    if rising:
        return []
    final = losses[-max(5, int(FINAL_FRACTION * len(losses))) :]
    end, lowest = sum(final) / len(final), min(means[: -len(final)], default=start)
    if end - lowest > REBOUND * (start - lowest) and start - lowest > MIN_DECREASE * abs(start):
        return [
            Finding(
                kind="rate",
                message=f"The learning rate may be too high: the training loss fell to {lowest:.3g}, then rose to "
                f"{end:.3g} at the end.",
                remedy=remedy,
            )
        ]
    return []


def _overfit_batch(history: Sequence[HistoryRow], count: int) -> list[Finding]:
    """The model cannot overfit one batch."""
    _, losses = scalar_series(history, "loss")
    if len(losses) < 10:
        return []
    start, final = losses[0], losses[-5:]
    end = sum(final) / len(final)
    if end <= OVERFIT_LOSS * start:
        return []
    return [
        Finding(
            kind="by-heart",
            message=f"The model cannot overfit one batch of {count} samples: its loss only fell from {start:.3g} to "
            f"{end:.3g}.",
            remedy="Check the inputs and labels for equal samples with different labels. Then try another --lr or a "
            "larger network.",
        )
    ]


def _gradients(e: Evidence) -> list[Finding]:
    """Vanishing and exploding gradients by layer, from one backward pass over training samples."""
    samples = samples_of(reference_metrics.subsample(e.data, "train", e.samples.gradients))
    if samples is None:
        return []
    train = samples.samples("train", e.device)
    norms = gradient_norms(e.model, train.take(torch.arange(len(train))), e.task.diagnosis) if len(train) else []
    if len(norms) < 3:
        return []
    first, last = norms[0], norms[-1]
    if last.gradient > 0 and first.gradient < VANISHING * last.gradient:
        size = f"{last.gradient / first.gradient:.1g} times smaller than in the last" if first.gradient else "zero"
        weak = next((n for n, s in enumerate(norms) if s.gradient >= VANISHING * last.gradient), len(norms))
        return [
            Finding(
                kind="vanishing",
                count=weak,
                message=f"Vanishing gradients: in the first layer ({first.name}) they are {size}; in {weak} of "
                f"{len(norms)} layers the RMS gradient is below {VANISHING:g} of that of the last.",
                remedy="Try ReLU instead of sigmoid or tanh, fewer layers, normalisation or residual units.",
            )
        ]
    largest = max(norms, key=lambda s: s.gradient / max(s.weight, 1e-12))
    check_num_pixels = largest.gradient > EXPLODING * max(largest.weight, 1e-12)
    if check_num_pixels or (last.gradient > 0 and first.gradient > EXPLODING * last.gradient):
        worst = largest if check_num_pixels else first
        return [
            Finding(
                kind="exploding",
                message=f"Exploding gradients: in {worst.name} the RMS gradient is {worst.gradient:.2g} and the RMS "
                f"weight {worst.weight:.2g}; the RMS gradient of the last layer is {last.gradient:.2g}.",
                remedy="Try --clip-grad 1, a smaller --lr, smaller initial weights or normalisation.",
            )
        ]
    return []


def _dead_units(e: Evidence) -> list[Finding]:
    """Hidden ReLU units that are zero on every sample."""
    split = "val" if len(e.data.splits["val"]) else "train"
    dataset = samples_of(reference_metrics.subsample(e.data, split, e.samples.units))
    if dataset is None:
        return []
    samples = dataset.samples(split, e.device)
    layers = dead_units(e.model, samples, e.task.diagnosis)
    dead = [
        (k + 1, int(is_dead.sum()), len(is_dead))
        for k, is_dead in enumerate(layers)
        if len(is_dead) and float(is_dead.double().mean()) > DEAD
    ]
    if not dead:
        return []
    where = ", ".join(f"{count} of {units} in hidden layer {layer}" for layer, count, units in dead)
    return [
        Finding(
            kind="dead-units",
            count=sum(count for _, count, _ in dead),
            message=f"Many ReLU units are dead (zero on all of {len(samples)} samples): {where}.",
            remedy="Try a smaller --lr, leaky ReLU, or fewer units.",
        )
    ]


def _chance(
    train: Mapping[str, Metric], baseline: Mapping[str, Metric], headline: str, history: Sequence[HistoryRow]
) -> list[Finding]:
    """Loss and headline metric on training samples are no better than those of the baseline.

    Where the training loss fell nevertheless, the selected weights are early ones: the model overfits.
    """
    ours, theirs = train.get(headline), baseline.get(headline)
    if ours is None or theirs is None:
        return []
    loss, baseline_loss = train.get("log loss"), baseline.get("log loss")
    skill = reference_metrics.skill_score(ours, theirs)
    if skill is None or skill > (reference_metrics.MIN_SKILL_SCORE if loss is None else UNTRAINED):
        return []
    values = f"{headline} is {ours}, that of the baseline {theirs}"
    if loss is not None and baseline_loss is not None:
        loss_skill = reference_metrics.skill_score(loss, baseline_loss)
        if loss_skill is not None and loss_skill > CHANCE:
            return []
        if loss_skill is not None:
            values = f"the loss is {loss.value:.3g}, that of the baseline {baseline_loss.value:.3g}"
    _, losses = scalar_series(history, "loss")
    means = running_mean(losses, max(5, len(losses) // 50)) if len(losses) >= 10 else []
    if means and losses[0] > 0 and means[-1] < (1 - UNTRAINED) * losses[0] / 2:
        return [
            Finding(
                kind="overfitting",
                message=f"The training loss fell from {losses[0]:.3g} to {means[-1]:.3g}, but the weights with the "
                f"best validation score are early ones, no better than the baseline: {values}.",
                remedy="The model overfits. Try fewer inputs, more data, --weight-decay, dropout or a smaller model.",
            )
        ]
    return [
        Finding(
            kind="at-chance",
            message=f"The model is no better than the baseline even on training samples: {values}.",
            remedy="Try --overfit. If the model cannot overfit one batch, check the labels; if it can, change --lr or "
            "train longer.",
        )
    ]


def _gap(train: Mapping[str, Metric], val: Mapping[str, Metric], headline: str) -> list[Finding]:
    """Overfitting: much better on training samples than on validation samples."""
    training, validation = train.get(headline), val.get(headline)
    if training is None or validation is None or training.value is None or validation.value is None:
        return []
    if not training.ratio_scale:
        return []
    significant = reference_metrics.significantly_better(training, _better_bound(validation))
    if training.higher_is_better:
        large = training.value - validation.value > GAP
    else:
        large = validation.value > GAP_RATIO * training.value
    if not (significant and large):
        return []
    return [
        Finding(
            kind="gap",
            message=f"The model overfits: {headline} is {training} on training samples and {validation} on validation "
            "samples.",
            remedy="Try more data, augmentation, --weight-decay, dropout, --patience or a smaller model.",
        )
    ]


def _better_bound(metric: Metric) -> Metric:
    """The bound of the confidence interval on the better side."""
    end = metric.high if metric.higher_is_better else metric.low
    return Metric(value=metric.value if end is None else end, higher_is_better=metric.higher_is_better)


def _not_better_than_baseline(e: Evidence, baseline: Mapping[str, Metric]) -> list[Finding]:
    """Not better than the baseline by more than the confidence interval."""
    ours, theirs = e.metrics[e.split].get(e.headline), baseline.get(e.headline)
    if ours is None or theirs is None or reference_metrics.significantly_better(ours, theirs) is not False:
        return []
    if e.baseline_gain is not None and e.baseline_gain.low is not None and e.baseline_gain.low > 0:
        return []
    if ours.low is None and (ours.value > theirs.value) == ours.higher_is_better and ours.value != theirs.value:  # type: ignore[operator]
        return []  # better, without an interval: the verdict at the top says so
    return [
        Finding(
            kind="baseline",
            message="The model is not better than the baseline by more than its 95 % confidence interval: "
            f"{e.headline} is {ours}, that of the baseline {theirs}, over {len(e.predictions['ids']):,} {e.split} "
            "samples.",
            remedy="Try training longer, another model or more data. If the split is small, evaluate on more samples.",
        )
    ]

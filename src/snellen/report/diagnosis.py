"""What a tutor would say of a run: each finding one sentence with what to try, causes before symptoms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from snellen.core.spec import Boxes, Classes, Labels, PixelClasses, Spec
from snellen.core.task import Predictions, Task
from snellen.core.views import Finding, Metric
from snellen.data.dataset import Dataset, Labelled
from snellen.report import reference_metrics
from snellen.report.detection_diagnosis import FEW, amiss, never_said
from snellen.report.learning_curves import Row, scalar, smooth
from snellen.report.network_statistics import gradients, silent_units

# Thresholds, each with its reason.
CHANCE = 0.02  # of the baseline's log loss: a network that has only found the classes' shares is no further below it
ONE_CLASS = 0.99  # of the answers; the rest may be noise of a network that is about to say nothing else
COMMON = 0.90  # of the samples: where one class is as frequent as that, to say it often is right
PICTURES = 3  # with a class in some of their pixels: in fewer, it may be missed by chance
GAP = 0.05  # five points: below that, a gap is what every network shows and no remedy mends
GAP_RATIO = 1.5  # for errors without a scale: half as large again as on the training samples
DEAD = 0.30  # of a layer: a healthy layer loses a few units to chance and initialisation, not a third
PROBED = 512  # validation samples on which a unit must be zero throughout to count as dead
VANISHING = 1e-3  # first layer's gradient to the last's: at that ratio the first learns a thousand times slower
EXPLODING = 1e3  # the other way round, or a gradient a thousand times the weight it belongs to
CLIMBED = 3.0  # the loss at its worst, to that of the first step: noise of batches does not make three of one
FALLEN = 0.1  # of the first loss: before that, there is nothing to rise again from
REBOUND = 0.3  # of the way down that the loss went up again: beyond what batches scatter once averaged
LATE = 0.1  # the last tenth of a run is its end
BY_HEART = 0.05  # of the first loss: a batch that was learned by heart has left less than that


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the diagnosis is made from.

    Args:
        task, model, data: as trained.
        history: the rows of `history.jsonl`.
        said: predictions of the split that is judged.
        metrics: of the splits, by name: "val", and "test" where it was opened.
        notes: of the run.
    """

    task: Task[Any, Any]
    model: nn.Module
    data: Dataset[Labelled]
    history: Sequence[Row]
    said: Predictions
    metrics: Mapping[str, Mapping[str, Metric]]
    notes: Mapping[str, Any]

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
    """Everything that is amiss with a run, causes before symptoms; an empty list for a healthy one.

    Args:
        baseline: the baseline's metrics on the split that is judged; empty where there is none.
    """
    found = [*_leakage(e.data), *_rate(e.history, rising=isinstance(e.spec.target, Boxes))]
    if e.data.annotations is None:
        found += [*_gradients(e), *_dead(e)]
    if "by heart" in e.notes:  # it was not to learn anything else
        return [*found, *_by_heart(e.history, e.notes["by heart"])]
    learned = reference_metrics.few(e.data, "train")
    if len(learned.splits["train"]):
        train = reference_metrics.figures(e.task, e.model, learned, "train", e.device)
        found += _chance(train, reference_metrics.baseline_figures(e.task, e.data, "train", learned), e.headline)
        found += _gap(train, e.metrics.get("val") or e.metrics.get("test") or {}, e.headline)
    return [*found, *_one_class(e), *_unbeaten(e, baseline)]


def _leakage(data: Dataset[Labelled]) -> list[Finding]:
    return [finding for finding in data.findings if finding.kind == "leakage"]


def _rate(history: Sequence[Row], rising: bool = False) -> list[Finding]:
    """The loss climbed above where it started, or fell and rose again.

    Args:
        rising: the loss of a detector rises with what it finds: the more of its proposals lie on objects, the more of
            them are judged and cut out. That says nothing of the rate.
    """
    _, losses = scalar(history, "loss")
    if len(losses) < 10:
        return []
    start = losses[0]  # before the first update
    means = smooth(losses, max(5, len(losses) // 50))
    remedy = "Try a tenth of --lr, or leave --lr to be found."
    if start > 0 and max(means) > CLIMBED * start:
        return [
            Finding(
                kind="rate",
                message=f"The learning rate is too high: the training loss climbed to "
                f"{max(means):.3g} from {start:.3g} at the start.",
                remedy=remedy,
            )
        ]
    if rising:
        return []
    late = losses[-max(5, int(LATE * len(losses))) :]
    end, lowest = sum(late) / len(late), min(means[: -len(late)], default=start)
    if end - lowest > REBOUND * (start - lowest) and start - lowest > FALLEN * abs(start):
        return [
            Finding(
                kind="rate",
                message=f"The learning rate may be too high: the training loss fell to "
                f"{lowest:.3g} and ended at {end:.3g}.",
                remedy=remedy,
            )
        ]
    return []


def _by_heart(history: Sequence[Row], count: int) -> list[Finding]:
    """One batch could not be learned by heart."""
    _, losses = scalar(history, "loss")
    if len(losses) < 10:
        return []
    start, late = losses[0], losses[-5:]
    end = sum(late) / len(late)
    if end <= BY_HEART * start:
        return []
    return [
        Finding(
            kind="by-heart",
            message=f"One batch of {count} samples cannot be learned by heart: its loss is "
            f"{end:.3g} in the end, {start:.3g} at the start.",
            remedy="Look at its inputs and labels: are like samples labelled unlike? Then try another --lr, "
            "or a larger network.",
        )
    ]


def _gradients(e: Evidence) -> list[Finding]:
    """Vanishing and exploding gradients by layer, from one backward pass over training samples."""
    train = reference_metrics.few(e.data, "train", 64).samples("train", e.device)
    sizes = gradients(e.model, train.take(torch.arange(len(train))), e.spec) if len(train) else []
    if len(sizes) < 3:
        return []
    first, last = sizes[0], sizes[-1]
    if last.gradient > 0 and first.gradient < VANISHING * last.gradient:
        ratio = f"{last.gradient / first.gradient:.1g} times smaller" if first.gradient else "zero"
        weak = next((n for n, s in enumerate(sizes) if s.gradient >= VANISHING * last.gradient), len(sizes))
        return [
            Finding(
                kind="vanishing",
                count=weak,
                message=f"Gradients vanish: those of the first layer "
                f"({first.name}) are {ratio} against the last, and {weak} of {len(sizes)} layers hardly learn.",
                remedy="Try ReLU in place of sigmoid or tanh, fewer layers, normalisation or residual units.",
            )
        ]
    wild = max(sizes, key=lambda s: s.gradient / max(s.weight, 1e-12))
    too_large = wild.gradient > EXPLODING * max(wild.weight, 1e-12)
    if too_large or (last.gradient > 0 and first.gradient > EXPLODING * last.gradient):
        worst = wild if too_large else first
        return [
            Finding(
                kind="exploding",
                message=f"Gradients explode: in {worst.name} they are {worst.gradient:.2g} a "
                f"weight, where the weights are {worst.weight:.2g} and the last layer's gradients "
                f"{last.gradient:.2g}.",
                remedy="Try --clip 1, a smaller --lr, smaller initial weights or normalisation.",
            )
        ]
    return []


def _dead(e: Evidence) -> list[Finding]:
    """Hidden ReLU units that are zero on every sample."""
    split = "val" if len(e.data.splits["val"]) else "train"
    samples = reference_metrics.few(e.data, split, PROBED).samples(split, e.device)
    layers = silent_units(e.model, samples, e.spec)
    dead = [
        (place + 1, int(silent.sum()), len(silent))
        for place, silent in enumerate(layers)
        if len(silent) and float(silent.double().mean()) > DEAD
    ]
    if not dead:
        return []
    where = ", ".join(f"{count} of {units} in hidden layer {place}" for place, count, units in dead)
    return [
        Finding(
            kind="dead-units",
            count=sum(count for _, count, _ in dead),
            message=f"Many ReLU units are dead, zero on all of {len(samples)} samples: {where}.",
            remedy="Try a smaller --lr, leaky ReLU, or fewer units.",
        )
    ]


def _chance(train: Mapping[str, Metric], known_nothing: Mapping[str, Metric], headline: str) -> list[Finding]:
    """Nothing was learned: on training samples it is no better than the baseline, in its loss nor in its answers."""
    ours, theirs = train.get(headline), known_nothing.get(headline)
    if ours is None or theirs is None:
        return []
    gained = reference_metrics.gained(ours, theirs)
    if gained is None or gained > reference_metrics.SKILL:
        return []
    figures = f"its {headline} is {ours}, that of the baseline {theirs}"
    loss, chance = train.get("log loss"), known_nothing.get("log loss")
    if loss is not None and chance is not None:
        below = reference_metrics.gained(loss, chance)
        if below is not None and below > CHANCE:
            return []
        if below is not None:
            figures = f"its loss is {loss.value:.3g}, that of chance {chance.value:.3g}"
    return [
        Finding(
            kind="at-chance",
            message=f"Nothing was learned: even on its training samples {figures}.",
            remedy="Try --overfit: if one batch cannot be learned by heart, look at the labels; if it can, "
            "change --lr or train longer.",
        )
    ]


def _gap(train: Mapping[str, Metric], val: Mapping[str, Metric], headline: str) -> list[Finding]:
    """Much better on what it learned from than on what it did not."""
    seen, unseen = train.get(headline), val.get(headline)
    if seen is None or unseen is None or seen.value is None or unseen.value is None:
        return []
    worse = reference_metrics.beats(seen, _far_end(unseen))
    if seen.higher_is_better:
        far = seen.value - unseen.value > GAP
    else:
        far = unseen.value > GAP_RATIO * seen.value
    if not (worse and far):
        return []
    return [
        Finding(
            kind="gap",
            message=f"It learns by heart: {headline} is {seen} on training samples and {unseen} on validation samples.",
            remedy="Try more data, augmentation, --weight-decay, dropout, --patience or a smaller model.",
        )
    ]


def _far_end(metric: Metric) -> Metric:
    """The end of the interval nearest to a better figure."""
    end = metric.high if metric.higher_is_better else metric.low
    return Metric(value=metric.value if end is None else end, higher_is_better=metric.higher_is_better)


def _one_class(e: Evidence) -> list[Finding]:
    """The same answer to everything, or classes that are never answered."""
    if isinstance(e.spec.target, Boxes):
        return amiss(e.said, e.spec, e.metrics[e.split][e.headline].value)
    remedy = "Try --class-weights balanced or --sampling balanced, a smaller --lr, or train longer."
    target = e.spec.target
    if isinstance(target, Labels) and len(e.said["scores"]):
        if bool((e.said["scores"] > 0).any()) or not bool((e.said["truth"] > 0.5).any()):
            return []
        return [
            Finding(
                kind="one-class",
                message=f"It never says any label for all {len(e.said['truth']):,} samples.",
                remedy=remedy,
            )
        ]
    if not isinstance(target, Classes | PixelClasses) or not len(e.said["truth"]):
        return []
    if isinstance(target, PixelClasses):
        things, table = "pixels", e.said["confusion"].double().sum(0)
        remedy = remedy.replace(" or --sampling balanced", "")
        answers, truth = table.sum(0), table.sum(1)
        enough = (e.said["truth"] > 0).sum(0) >= PICTURES
    else:
        things, classes = "samples", len(target.names)
        answers = torch.bincount(e.said["scores"].argmax(1), minlength=classes).double()
        truth = torch.bincount(e.said["truth"], minlength=classes).double()
        enough = truth >= FEW
    most = int(answers.argmax())
    said, true = (float(counts[most] / counts.sum().clamp(min=1)) for counts in (answers, truth))
    if not (said == 1 and true < 1) and not (said >= ONE_CLASS and true < COMMON):
        return never_said(answers, truth, enough, target.names, things, remedy)
    return [
        Finding(
            kind="one-class",
            message=f"It says {target.names[most]} to {100 * said:.3g} % of the {things}, and {100 * true:.3g} % are.",
            remedy=remedy,
        )
    ]


def _unbeaten(e: Evidence, baseline: Mapping[str, Metric]) -> list[Finding]:
    """Not better than knowing nothing, or not surely so."""
    ours, theirs = e.metrics[e.split].get(e.headline), baseline.get(e.headline)
    if ours is None or theirs is None or reference_metrics.beats(ours, theirs) is not False:
        return []
    return [
        Finding(
            kind="baseline",
            message=f"The baseline is not beaten: {e.headline} is {ours} against {theirs} "
            f"of a model that knows nothing, over {len(e.said['ids']):,} {e.split} samples.",
            remedy="Try training longer, another model or more data; with few samples, more to judge by.",
        )
    ]

"""Training of the models of a ladder within the time, the cheap ones first, as the plan says."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from snellen.api import RunOptions, TrainedRun
from snellen.api.lookup import resolve_available
from snellen.core import file_io
from snellen.core.errors import DataError
from snellen.core.experience import Experience
from snellen.core.learner import InputSize
from snellen.core.settings import Suggestion, flatten, resolve, values
from snellen.core.spec import Classes, Numbers
from snellen.data.experience import is_annotated, samples_of
from snellen.metrics.intervals import wilson_interval
from snellen.model_selection import ladder_plan
from snellen.model_selection.advice import significantly_worse, validation_value
from snellen.model_selection.mirroring import harmful_changes, harmless_changes
from snellen.model_selection.rung_training import MIN_SECONDS, AnyLearner, prediction_seconds, train_rung
from snellen.model_selection.stored_plan import StoredPlan
from snellen.report.html_text import format_duration
from snellen.report.pages.ladder import Rung
from snellen.report.reference_metrics import baseline_learner, training_sample_limit

RESERVE = 4.0  # seconds for the report; other work after training is part of the time of each model
RESERVE_IMAGES = 6.0  # more where predictions are drawn on images
MIN_WRONG = 0.01  # of the validation samples, at the upper limit: with fewer the best model is not trained longer
MIN_FIRST = 30.0  # seconds of a budget from which a model with published weights is the first: loading them takes time
MAX_MIRRORING = 0.01  # of the budget, for the predictions of changed validation images
MORE = 10.0  # seconds more than this budget, at least, of one that is suggested
MARGIN = 1.2  # of an estimated time, before a training of that time is begun


class LadderTraining:
    """Training of all models within the time: the cheap ones, the pilots of the others, and the finals.

    Args:
        budget: seconds after start-up. whole_budget: as the user gave it.
        end: on the monotonic clock, when the last training must have ended.
        spent: seconds before the ladder was resumed. started: on the monotonic clock.
    """

    def __init__(
        self,
        data: Experience,
        folder: Path,
        seed: int,
        budget: float,
        end: float,
        options: RunOptions,
        *,
        spent: float = 0.0,
        started: float = 0.0,
        whole_budget: float | None = None,
    ) -> None:
        self.data, self.folder, self.seed, self.budget, self.end = data, folder, seed, budget, end
        self.options = options
        self.plan = StoredPlan(folder)
        self.whole_budget = budget if whole_budget is None else whole_budget
        self._spent, self._started = spent, started
        self.rungs: dict[str, Rung] = {}
        self.trained: dict[str, TrainedRun] = {}
        self.current = ""
        self.is_single = False  # only one model may be stopped early: it has no pilot and no rival
        self._page_seconds = 0.0
        self._suggested: dict[str, dict[str, Suggestion]] = {}
        self._changes: dict[str, str] | None = None  # settings of augmentation that change targets, or that do not

    @property
    def left(self) -> float:
        return self.end - time.monotonic()

    def run(self, learners: Sequence[AnyLearner]) -> None:
        """Train the cheap models completely, then the others as the plan says."""
        parts = self.plan.parts
        planned = {**parts.get("needed", {}), **parts.get("first", {})}
        slot = max(MIN_SECONDS, ladder_plan.CHEAP * self.budget)
        for learner in self.in_order(learners):
            if learner.name in planned:  # measured before the ladder was resumed
                self.rungs[learner.name] = Rung(
                    name=learner.name, status="no time", seconds_needed=planned[learner.name][0]
                )
            else:
                self._train(learner, learner.name, min(slot, self.left), min_fraction=1.0)
            if self.is_first(learner) and self.rungs[learner.name].seconds_needed is not None:
                self._train_first(learner)
        costly = {one.name: one for one in learners if self.rungs[one.name].seconds_needed is not None}
        if costly:
            self._train_costly(costly)
        self._train_longer({one.name: one for one in learners})

    def in_order(self, learners: Sequence[AnyLearner]) -> list[AnyLearner]:
        """The models as they are trained: from simple to complex, after the baseline those of `is_first`."""
        return sorted(learners, key=lambda one: one.name != "baseline" and not self.is_first(one))

    def is_first(self, learner: AnyLearner) -> bool:
        """Whether a model is trained before those that compare raw pixels, which would take its time: one with
        weights of photos that is trained completely or not at all, for images in colour. It is often the best.
        """
        spec_input = self.data.spec.input
        in_colour = spec_input.has_pixels and spec_input.shape[0] in (3, None)
        return self.budget >= MIN_FIRST and in_colour and not learner.stoppable and self._has_published_weights(learner)

    def _train_first(self, learner: AnyLearner) -> None:
        stored: dict[str, Any] = self.plan.get("first", dict)
        if learner.name not in stored:
            stored = self.plan.set("first", {**stored, learner.name: self.reduced(learner)})
        needed, pixels = stored[learner.name]
        self.suggest_size(learner, pixels)
        self._train_completely(learner, needed, min(self.max_fraction(learner) * self.left, 2 * MARGIN * needed))

    def measure(self, learner: AnyLearner) -> float | None:
        """Seconds of the complete training of a model, from a few steps; None: it could not be measured."""
        started = time.monotonic()
        self._train(learner, learner.name, MIN_SECONDS, min_fraction=1.0)
        rung = self.rungs[learner.name]
        return time.monotonic() - started if rung.status == "done" else rung.seconds_needed

    def _train_costly(self, costly: Mapping[str, AnyLearner]) -> None:
        """Pilots, and the finals of the best."""
        self.is_single = count_stoppable(costly.values()) == 1
        stored = self.plan.get("needed", lambda: {name: self.reduced(one) for name, one in costly.items()})
        needed = {name: stored[name] if name in stored else self.reduced(one) for name, one in costly.items()}
        for name, (_, pixels) in needed.items():
            self.suggest_size(costly[name], pixels)
        times = {name: seconds for name, (seconds, _) in needed.items()}
        for name in sorted(times, key=lambda name: times[name]):
            if not costly[name].stoppable:
                enough = min(self.max_fraction(costly[name]) * self.left, 2 * MARGIN * times[name])
                self._train_completely(costly[name], times[name], enough)
        pilots = self.plan.get("pilots", lambda: self.plan_pilots(costly, times, self.left))
        pilots = {name: seconds for name, seconds in pilots.items() if name in costly}  # resumed with other models
        for name, following in _with_following(sorted(pilots, key=lambda name: times[name]), pilots):
            limit = ladder_plan.limit(pilots[name], times[name], following, self.left)
            self._train(costly[name], name, limit, ladder_plan.min_fraction(self._visits(costly[name])))
        values = {
            name: value
            for name in pilots
            if name in self.trained and (value := validation_value(self.rungs[name])) is not None
        }
        worse = self._significantly_worse(values)
        contenders = {name: value for name, value in values.items() if name not in worse}
        finals = self.plan.get("finals", lambda: ladder_plan.finals(contenders, times, pilots, self.left))
        for name, following in _with_following([name for name in finals if name in costly], finals):
            self._train_anew(costly[name], ladder_plan.limit(finals[name], times[name], following, self.left))
        self._complete_shortened(costly, times)
        for name in sorted(times, key=lambda name: times[name]):
            self._train_completely(costly[name], times[name], self.left)
            self._say_what_time_would_buy(name, times[name])

    def _complete_shortened(self, costly: Mapping[str, AnyLearner], times: Mapping[str, float]) -> None:
        """Train models that a time limit cut completely, the best first, if time is left: a resumed ladder has more."""
        values = {
            name: value
            for name in costly
            if name in self.trained and (value := validation_value(self.rungs[name])) is not None
        }
        worse = self._significantly_worse(values)
        for name in sorted(values, key=lambda name: -values[name]):
            needed = self.rungs[name].seconds_needed
            is_cut = needed is not None and costly[name].stoppable and name not in worse
            if is_cut and self._fits(f"{name}-complete", max(needed or 0.0, times[name]), self.left):
                self._train_anew(costly[name], self.left, "complete")

    def _train_longer(self, learners: Mapping[str, AnyLearner]) -> None:
        """Train the best model anew with more epochs, while its validation result improves and time is left."""
        for k in itertools.count():
            plan = self.plan.get(f"longer-{k}", lambda: self._longer_training(learners))
            if plan is None or plan[0] not in self.trained:
                return
            name, epochs = plan
            rung, run = self.rungs[name], self.trained[name]
            reason = f"all models are trained, and {format_duration(self.left)} are left"
            self._suggested.setdefault(name, {})["epochs"] = Suggestion(value=epochs, reason=reason)
            self._train(learners[name], f"{name}-longer-{k}", self.left, ladder_plan.MIN_STEPS)
            before, after = validation_rank(rung), validation_rank(self.rungs[name])
            if after <= before:
                self.rungs[name], self.trained[name] = rung, run
                return
            if after[0] == before[0]:  # only the log loss is lower: after most longer trainings it is
                return

    def _longer_training(self, learners: Mapping[str, AnyLearner]) -> tuple[str, int] | None:
        """The best model and its epochs in a longer training; None if it has no epochs, or if too little can be gained.

        On few validation samples a model with few errors may still be far from perfect: more than the number of errors,
        the upper limit of their fraction counts.
        """
        if math.isinf(self.end) or not self.trained:
            return None
        name = max(self.trained, key=lambda name: validation_rank(self.rungs[name]))
        run, rung = self.trained[name], self.rungs[name]
        epochs, seconds = run.record.settings.get("epochs"), rung.seconds_learning
        if (
            rung.validation is None
            or epochs is None
            or not seconds
            or not learners[name].stoppable
            or rung.reason.startswith("trained")
        ):
            return None
        factor = ladder_plan.longer(seconds, self.left / MARGIN)
        if factor is None:
            return None
        errors = run.task.errors(run.predictions("val"), run.spec)
        if wilson_interval(int((errors > 0).sum()), len(errors))[1] < MIN_WRONG:
            return None
        return name, round(factor * epochs)

    def _settings(self, learner: AnyLearner) -> dict[str, Any]:
        return values(resolve_available(learner, {}, self.data.spec)[0])

    def explain(self, learner: AnyLearner) -> dict[str, tuple[Any, str]]:
        """Flag: value and reason, of the settings that the data or the time suggest for a model."""
        suggested = {**self._suggested.get(learner.name, {}), **self._suggest_augmentation(learner)}
        chosen, sources, _ = resolve_available(learner, {}, self.data.spec, suggested)
        return {
            setting.flag: (setting.default, sources[setting.name])
            for setting in flatten(learner.settings, chosen)
            if sources[setting.name] != "default"
        }

    def _has_published_weights(self, learner: AnyLearner) -> bool:
        chosen, _, missing = resolve_available(learner, {}, self.data.spec)
        settings = values(chosen)
        return missing is None and settings.get("pretrained") is not None and not settings.get("from_scratch")

    def _is_flat(self, learner: AnyLearner) -> bool:
        """Whether a model reads images as rows of pixels: it is rarely the best."""
        return self.data.spec.input.has_pixels and learner.flattens

    def plan_pilots(
        self, costly: Mapping[str, AnyLearner], times: Mapping[str, float], seconds: float
    ) -> dict[str, float]:
        """Seconds of the pilots. If not all models can be trained completely, only those with published weights have
        one; without any, those that do not read images as rows of pixels. The others get what is left over.
        """
        stoppable = {name: time for name, time in times.items() if costly[name].stoppable}
        if sum(stoppable.values()) <= seconds:
            return stoppable
        pretrained = {name: time for name, time in stoppable.items() if self._has_published_weights(costly[name])}
        for_images = {name: time for name, time in stoppable.items() if not self._is_flat(costly[name])}
        selected = pretrained or for_images or stoppable
        return ladder_plan.pilots(selected, {name: self._visits(costly[name]) for name in selected}, seconds)

    def _visits(self, learner: AnyLearner) -> float:
        """Training samples of a complete training, each visit counted."""
        epochs = self._settings(learner).get("epochs", 1)
        return float(epochs * self.data.spec.sizes["train"])

    def _train_anew(self, learner: AnyLearner, seconds: float, stage: str = "final") -> None:
        """A longer training of a model, whose result stays the earlier one if this one fails or is worse."""
        pilot, run = self.rungs[learner.name], self.trained.get(learner.name)
        self._train(learner, f"{learner.name}-{stage}", seconds, ladder_plan.min_fraction(self._visits(learner)))
        before, after = validation_value(pilot), validation_value(self.rungs[learner.name])
        if after is None or (before is not None and after < before):
            self.rungs[learner.name] = pilot
            if run is not None:
                self.trained[learner.name] = run

    def _significantly_worse(self, values: Mapping[str, float]) -> set[str]:
        """The models that are significantly worse than the best one on validation: they get no further training."""
        if len(values) < 2:
            return set()
        runs = {name: self.trained[name] for name in values}
        errors = {name: run.task.errors(run.predictions("val"), run.spec) for name, run in runs.items()}
        return significantly_worse(max(values, key=lambda name: values[name]), errors)

    def _train_completely(self, learner: AnyLearner, needed: float, seconds: float) -> None:
        """Train a model that has no result yet, if its complete training fits into `seconds`."""
        if learner.name not in self.trained and self._fits(learner.name, needed, seconds):
            self._train(learner, learner.name, seconds, ladder_plan.min_fraction(self._visits(learner)))

    def _fits(self, folder: str, needed: float, seconds: float) -> bool:
        """Whether a complete training fits into `seconds`, or was finished before the ladder was resumed."""
        return MARGIN * needed <= seconds or (self.folder / folder / "metrics.json").exists()

    def _say_what_time_would_buy(self, name: str, needed: float) -> None:
        """Add the time of a complete training, and a budget that allows it, to the reason of a shortened model."""
        rung = self.rungs[name]
        if rung.status == "failed" or (rung.status == "done" and "time limit" not in rung.reason):
            return
        if rung.status == "done":  # as it was trained, not as it was estimated
            needed = max(needed, rung.seconds_needed or 0.0)
        others = self.budget - self.left - (rung.seconds_learning or 0.0)  # the model itself is trained anew
        minutes = math.ceil(max(others + needed / ladder_plan.FIRST, self.whole_budget + MORE) / 60)
        first = "not trained" if rung.status == "no time" else rung.reason
        takes = f"more than {format_duration(needed / 2)}" if rung.needs_more else f"about {format_duration(needed)}"
        more = f"a complete training takes {takes}: --budget {minutes}m"
        self.rungs[name] = dataclasses.replace(rung, reason=f"{first}; {more}", seconds_needed=needed)

    def _train(self, learner: AnyLearner, folder: str, seconds: float, min_fraction: float) -> None:
        self.current = learner.name
        if self.options.progress is not None and seconds >= MIN_SECONDS:
            self.options.progress.message(f"{folder}: at most {format_duration(max(seconds, 0))}{self._state()}")
        limits = dataclasses.replace(
            self.options, seconds=seconds, min_fraction=min_fraction, evaluate_test=False, report=False
        )
        suggested = {**self._suggested.get(learner.name, {}), **self._suggest_augmentation(learner)}
        rung, run = train_rung(learner, self.data, self.folder / folder, self.seed, limits, suggested)
        if run is None:
            rung = self._with_earlier_failure(rung)
        self.rungs[learner.name] = rung
        self.store_spent()
        if run is not None:
            if learner.name not in self.trained:  # the test split is predicted once, by the last training
                self.end -= prediction_seconds(run, run.spec.sizes["test"])
            self.trained[learner.name] = run
            diagnosed = min(run.spec.sizes["train"], training_sample_limit(self.data))
            page = prediction_seconds(run, diagnosed)  # of the best model, which may be the slowest
            self.end -= max(0.0, page - self._page_seconds)
            self._page_seconds = max(page, self._page_seconds)
            if learner is baseline_learner(learner.task):  # the report fits it again, and compares the model with it
                self.end -= (rung.seconds_learning or 0.0) + page

    def _with_earlier_failure(self, rung: Rung) -> Rung:
        """Store the failure of a model; a resumed ladder without time for it reports that failure again."""
        failures: dict[str, str] = self.plan.get("failures", dict)
        if rung.status == "failed":
            self.plan.set("failures", {**failures, rung.name: rung.reason})
        elif rung.status == "no time" and rung.name in failures:
            folder = str(self.folder / rung.name)
            return Rung(name=rung.name, status="failed", reason=failures[rung.name], folder=folder)
        return rung

    def _state(self) -> str:
        """The best validation result so far and the time left, for the user."""
        rungs = [rung for rung in self.rungs.values() if validation_value(rung) is not None]
        best = max(rungs, key=lambda rung: validation_value(rung) or 0.0, default=None)
        so_far = "" if best is None else f"; best so far: {best.name}, {best.validation} on validation"
        left = "" if math.isinf(self.end) else f"; {format_duration(max(self.left, 0))} left"
        return so_far + left

    def reduced(self, learner: AnyLearner) -> tuple[float, int]:
        """Seconds of a complete training at the image size that the time allows, and that size; 0: unchanged."""
        needed = self.rungs[learner.name].seconds_needed
        assert needed is not None
        size = self._input_size(learner)
        if size is None:
            return needed, 0
        seconds = self.max_fraction(learner) * self.left / MARGIN
        if self.is_first(learner):  # features of the test split take as long as those of the others
            sizes = self.data.spec.sizes
            seconds *= 1 - sizes["test"] / sum(sizes.values())
        largest = next(iter(size.values))
        smaller = ladder_plan.image_size(needed, list(size.values), seconds)
        if smaller == largest:
            return needed, 0
        expected = needed * (smaller / largest) ** 2
        if learner.stoppable and not self._is_flat(learner):  # other work of a step is not proportional to the pixels
            self.suggest_size(learner, smaller)
            self._train(learner, learner.name, min(MIN_SECONDS, self.left), min_fraction=1.0)
            expected = self.rungs[learner.name].seconds_needed or expected
        return expected, smaller

    def _input_size(self, learner: AnyLearner) -> InputSize | None:
        chosen, _ = resolve(learner.settings, {}, learner.suggest(self.data.spec))
        return learner.input_size(chosen, self.data.spec)

    def max_fraction(self, learner: AnyLearner) -> float:
        """Fraction of the time left that the complete training of a model may take before the pilots of the others."""
        if self._has_published_weights(learner):
            return ladder_plan.PRETRAINED if learner.stoppable or self.is_first(learner) else ladder_plan.WHOLE
        if learner.stoppable:
            return ladder_plan.ONLY if self.is_single else ladder_plan.PILOT
        return ladder_plan.RAW_PIXELS if self.data.spec.input.has_pixels else ladder_plan.WHOLE

    def suggest_size(self, learner: AnyLearner, pixels: int) -> None:
        size = self._input_size(learner)
        if pixels and size is not None:
            if pixels not in size.values:
                raise DataError(
                    f"{self.folder / 'ladder.json'}: {learner.name} has no image size of {pixels} pixels",
                    "Train the ladder anew in another folder.",
                )
            reason = f"a complete training at a larger size does not fit in {format_duration(self.budget)}"
            self._suggested[learner.name] = {size.setting: Suggestion(value=size.values[pixels], reason=reason)}

    def _suggest_augmentation(self, learner: AnyLearner) -> dict[str, Suggestion]:
        """Suggest augmentation by what the best of the models trained so far predicts for changed validation images.

        Classes: no horizontal flips where they change targets. Numbers: flips and random crops where they do not.
        """
        defaults = {setting.name: setting.default for setting in flatten(learner.settings)}
        target, samples = self.data.spec.target, samples_of(self.data)
        if (
            samples is None
            or not self.data.spec.input.has_pixels
            or not defaults.get("hflip")
            or not isinstance(target, Classes | Numbers)
        ):
            return {}
        if self._changes is None:
            done = {
                name: value
                for name, run in self.trained.items()
                if (value := validation_value(self.rungs[name])) is not None
                and prediction_seconds(run, run.spec.sizes["val"]) <= MAX_MIRRORING * self.budget
            }
            best = max(done, key=lambda name: done[name], default="baseline")
            if done.get(best) == done.get("baseline") or self.trained[best].record.settings.get("hflip"):
                return {}
            run, baseline = self.trained[best], self.trained.get("baseline")
            if isinstance(target, Classes):
                self._changes = self.plan.get("harmful", lambda: harmful_changes(run, samples))
            elif baseline is not None:
                errors = baseline.task.errors(baseline.predictions("val"), baseline.spec)
                self._changes = self.plan.get("harmless", lambda: harmless_changes(run, samples, errors))
        enabled = isinstance(target, Numbers)
        return {
            name: Suggestion(value=defaults[name] if enabled else type(defaults[name])(0), reason=reason)
            for name, reason in (self._changes or {}).items()
            if defaults.get(name)
        }

    def store_spent(self) -> None:
        self.plan.set_spent(self._spent + time.monotonic() - self._started)


def count_stoppable(learners: Iterable[AnyLearner]) -> int:
    return sum(learner.stoppable for learner in learners)


def _with_following(names: Sequence[str], seconds: Mapping[str, float]) -> list[tuple[str, float]]:
    """Each name with the sum of the seconds of those after it."""
    return [(name, sum(seconds[other] for other in names[k + 1 :])) for k, name in enumerate(names)]


def validation_rank(rung: Rung) -> tuple[float, float]:
    """The validation result, of equal results the log loss of models with probabilities; higher is better."""
    value = validation_value(rung)
    if value is None:
        return -math.inf, -math.inf
    loss = file_io.read_json(Path(rung.folder) / "metrics.json")["splits"]["val"].get("log loss")
    return value, -loss["value"] if loss and loss["value"] is not None else -math.inf


def reserve(budget: float, data: Experience) -> float:
    """Seconds of a budget that are kept for the report."""
    return min(RESERVE + (RESERVE_IMAGES if is_annotated(data) else 0.0), 0.2 * budget)

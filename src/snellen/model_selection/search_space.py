"""Search space of a study: lists of values, ranges and learners, and the grid cells that they span."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from snellen.api import find_learner, find_task, unsupported_reason
from snellen.core.errors import UsageError, suggest_name
from snellen.core.learner import Learner
from snellen.core.legacy_names import setting_name, setting_value
from snellen.core.settings import Setting, check_effects, flatten, resolve
from snellen.core.spec import Spec
from snellen.core.task import Task
from snellen.nn.reset import parts_without_reset, reset_weights
from snellen.tasks import LEARNERS

AnyLearner = Learner[Any, Any, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChoiceAxis:
    """A setting and its values; a setting with one value is constant."""

    name: str
    values: tuple[Any, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RangeAxis:
    """A range of a numeric setting, both ends included; on a log scale if it spans more than a decade."""

    name: str
    low: float
    high: float
    is_integer: bool

    @property
    def log(self) -> bool:
        return self.low > 0 and self.high > 10 * self.low


Axis = ChoiceAxis | RangeAxis


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyCell:
    """One learner with its settings. `values` holds the varied settings, and the learner's name under "model"."""

    number: int
    learner: AnyLearner
    settings: Mapping[str, Any]
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"cell-{self.number}"

    @property
    def label(self) -> str:
        return " ".join(f"{name}={setting_text(value)}" for name, value in self.values.items()) or self.learner.name


def setting_text(value: Any) -> str:
    """A value as typed after --vary."""
    if value is None:
        return "auto"
    if isinstance(value, tuple):
        return "+".join(map(setting_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def parse_axes(vary: Mapping[str, Any], spec: Spec, task: str | None = None) -> tuple[list[AnyLearner], list[Axis]]:
    """Parse the learners and the axes (varied or constant settings) of a study.

    Args:
        vary: name of a setting, or "model", -> its values; see `study`.
        task: name of the task; None: the first that fits the data.
    Raises:
        UsageError: for an unknown learner or setting, a value outside its limits, a range of a setting without one, or
            a setting that has no effect in any cell.
    """
    learners = _learners(vary.get("model"), spec, find_task(task, spec))
    axes: dict[str, Axis] = {}
    for name, values in vary.items():
        if name == "model":
            continue
        axis = _parse_axis(name, values, learners)
        if axis.name in axes:
            raise UsageError(f"{axis.name} is given twice, once by a former name", f"Give --{axis.name} only once.")
        axes[axis.name] = axis
    for axis in axes.values():
        _check_effect(axis, axes, learners, spec)
    return learners, list(axes.values())


def _check_effect(axis: Axis, axes: Mapping[str, Axis], learners: Sequence[AnyLearner], spec: Spec) -> None:
    """Raises UsageError if the setting has no effect for any learner and any value of the setting it depends on."""
    error: UsageError | None = None
    constant = {a.name: a.values[0] for a in axes.values() if isinstance(a, ChoiceAxis)}
    for learner in learners:
        setting = next(s for s in flatten(learner.settings, help=False) if s.name == axis.name)
        if setting.effective_if is None:
            return
        other = axes.get(setting.effective_if.name)
        if isinstance(other, RangeAxis):
            return  # one of its values may be that of the condition
        for given in [{}] if other is None else [{other.name: value} for value in other.values]:
            resolved, _ = resolve(learner.settings, constant | given, learner.suggest(spec))
            try:
                check_effects(resolved, {axis.name: None})
            except UsageError as without_effect:
                error = error or without_effect
            else:
                return
    if error is not None:
        raise error


def _learners(models: Any, spec: Spec, task: Task[Any, Any]) -> list[AnyLearner]:
    names = models.split(",") if isinstance(models, str) else models if isinstance(models, list | tuple) else [models]
    learners: list[AnyLearner] = []
    for name in names:
        if not isinstance(name, str | nn.Module | Learner | None):
            raise UsageError(f"model cannot be {name!r}", f"Known: {', '.join(LEARNERS[task.name])}.")
        learner = find_learner(name, task, spec)
        if isinstance(name, nn.Module):
            learner = _with_new_weights(learner, name)
        reason = unsupported_reason(learner, spec)
        if reason:
            raise UsageError(f"{learner.name} {reason}", f"Models of {task.name}: {', '.join(LEARNERS[task.name])}.")
        learners.append(learner)
    _check_duplicates("model", [learner.name for learner in learners])
    return learners


def _with_new_weights(learner: AnyLearner, module: nn.Module) -> AnyLearner:
    """The learner of a module with weights drawn anew for every seed. Raises UsageError where that is not possible."""
    fixed = parts_without_reset(module)
    if fixed:
        raise UsageError(
            f"The weights of {type(module).__name__} would be the same for every seed: {fixed[0]} holds parameters "
            "and has no reset_parameters()",
            "Define reset_parameters() there, freeze these parameters, or give a Learner whose build makes the module.",
        )

    @functools.wraps(learner.build)  # its source is that of the run, so that the module itself loads the run
    def build(settings: Any, spec: Spec) -> nn.Module:
        model: nn.Module = learner.build(settings, spec)
        reset_weights(model)
        return model

    return dataclasses.replace(learner, build=build)


def _parse_axis(name: str, values: Any, learners: Sequence[AnyLearner]) -> Axis:
    parsed = []
    for learner in learners:
        known = {setting.name: setting for setting in flatten(learner.settings)}
        present = setting_name(name, known)
        if present not in known:
            raise UsageError(f"{learner.name} has no setting {name!r}", suggest_name(name, sorted({*known, "model"})))
        setting = known[present]
        parsed.append(_range_axis(setting, values) if _is_range(values) else _choice_axis(setting, values))
        if parsed[-1].name != parsed[0].name:
            raise UsageError(
                f"{name!r} is called {parsed[0].name} in {learners[0].name}, and {parsed[-1].name} in {learner.name}",
                "Vary a setting that all models have, or study one model.",
            )
    return parsed[0]


def _is_range(values: Any) -> bool:
    return isinstance(values, str) and ".." in values


def _range_axis(setting: Setting, text: str) -> RangeAxis:
    if setting.kind not in ("int", "float") or setting.many:
        raise UsageError(
            f"{setting.flag} cannot be varied over the range {text!r}: its value is not a single number",
            f"List its values: --vary {setting.name}=A,B. It takes {setting.accepted_values}.",
        )
    low, high = (setting.parse(part) for part in text.split("..", 1))
    if low is None or high is None or not low < high:
        raise UsageError(f"--vary {setting.name}={text} is empty", "Give the lower number first: 1e-4..0.1")
    return RangeAxis(name=setting.name, low=low, high=high, is_integer=setting.kind == "int")


def _choice_axis(setting: Setting, choices: Any) -> ChoiceAxis:
    if isinstance(choices, str):
        parts = [part for part in choices.split(",") if part]
        values = [
            setting.parse(part.replace("+", ",") if setting.many else setting_value(part, setting.choices))
            for part in parts
        ]
    elif isinstance(choices, list) or (isinstance(choices, tuple) and not setting.many):
        values = [setting.check(value) for value in choices]
    else:
        values = [setting.check(choices)]
    if not values:
        raise UsageError(f"--vary {setting.name} has no values", f"It takes {setting.accepted_values}.")
    _check_duplicates(setting.name, values)
    return ChoiceAxis(name=setting.name, values=tuple(values))


def _check_duplicates(name: str, values: Sequence[Any]) -> None:
    for k, value in enumerate(values):
        if value in values[:k]:
            raise UsageError(f"--vary {name} has {setting_text(value)} twice", "Give each value once.")


def varying_names(learners: Sequence[AnyLearner], axes: Sequence[Axis]) -> list[str]:
    """Names of the settings (and "model") with more than one value."""
    names = ["model"] if len(learners) > 1 else []
    return names + [axis.name for axis in axes if isinstance(axis, RangeAxis) or len(axis.values) > 1]


def make_cell(
    number: int, learner: AnyLearner, settings: Mapping[str, Any], varying: Sequence[str], spec: Spec
) -> StudyCell:
    """Make a cell. Raises UsageError if its settings are invalid in combination."""
    resolve(learner.settings, settings, learner.suggest(spec))
    values = {name: learner.name if name == "model" else settings[name] for name in varying}
    return StudyCell(number=number, learner=learner, settings=settings, values=values)


def grid_cells(learners: Sequence[AnyLearner], axes: Sequence[Axis], spec: Spec) -> Iterator[StudyCell]:
    """Cells of the full grid, the last setting varying fastest."""
    varying = varying_names(learners, axes)
    lists = [axis.values for axis in axes if isinstance(axis, ChoiceAxis)]
    for number, (learner, *values) in enumerate(itertools.product(learners, *lists), 1):
        settings = {axis.name: value for axis, value in zip(axes, values, strict=True)}
        yield make_cell(number, learner, settings, varying, spec)

"""What a study varies: lists of values, ranges, learners; and the cells that follow from them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from snellen.api import find_learner, find_task, refusal
from snellen.core.errors import UsageError, nearest
from snellen.core.learner import Learner
from snellen.core.renamed import setting_name
from snellen.core.settings import Setting, flat, resolve
from snellen.core.spec import Spec
from snellen.tasks import LEARNERS

AnyLearner = Learner[Any, Any, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choices:
    """A setting and its values; one that has one value is fixed."""

    name: str
    values: tuple[Any, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Between:
    """A range of a numeric setting, both ends included; searched on a log scale if it spans more than a decade."""

    name: str
    low: float
    high: float
    whole: bool

    @property
    def log(self) -> bool:
        return self.low > 0 and self.high > 10 * self.low


Axis = Choices | Between


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One learner with its settings. `values` holds those that vary, the learner's name under "model"."""

    number: int
    learner: AnyLearner
    settings: Mapping[str, Any]
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"cell-{self.number}"

    @property
    def words(self) -> str:
        return " ".join(f"{name}={text(value)}" for name, value in self.values.items()) or self.learner.name


def text(value: Any) -> str:
    """A value as it would be typed after --vary."""
    if value is None:
        return "auto"
    if isinstance(value, tuple):
        return "+".join(map(text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def axes(vary: Mapping[str, Any], spec: Spec) -> tuple[list[AnyLearner], list[Axis]]:
    """The learners, and what is varied or fixed of their settings.

    Args:
        vary: name of a setting, or "model", -> its values; see `study`.
    Raises:
        UsageError: for a learner or setting that is not there, a value outside its limits, or a range of what has none.
    """
    learners = _learners(vary.get("model"), spec)
    return learners, [_axis(name, given, learners) for name, given in vary.items() if name != "model"]


def _learners(given: Any, spec: Spec) -> list[AnyLearner]:
    task = find_task(None, spec)
    names = given.split(",") if isinstance(given, str) else given if isinstance(given, list | tuple) else [given]
    found: list[AnyLearner] = []
    for name in names:
        if not isinstance(name, str | nn.Module | Learner | None):
            raise UsageError(f"model cannot be {name!r}", f"Known: {', '.join(LEARNERS[task.name])}.")
        learner = find_learner(name, task, spec)
        why_not = refusal(learner, spec)
        if why_not:
            raise UsageError(f"{learner.name} {why_not}", f"Learners of {task.name}: {', '.join(LEARNERS[task.name])}.")
        found.append(learner)
    _refuse_twice("model", [learner.name for learner in found])
    return found


def _axis(name: str, given: Any, learners: Sequence[AnyLearner]) -> Axis:
    made = []
    for learner in learners:
        own = {setting.name: setting for setting in flat(learner.settings)}
        name = setting_name(name, own)
        if name not in own:
            raise UsageError(f"{learner.name} has no setting {name!r}", nearest(name, sorted({*own, "model"})))
        made.append(_between(own[name], given) if _is_range(given) else _choices(own[name], given))
    return made[0]


def _is_range(given: Any) -> bool:
    return isinstance(given, str) and ".." in given


def _between(setting: Setting, given: str) -> Between:
    if setting.kind not in ("int", "float") or setting.many:
        raise UsageError(
            f"{setting.flag} cannot be varied over {given!r}: it has no range",
            f"List its values: --vary {setting.name}=A,B. It takes {setting.describes}.",
        )
    low, high = (setting.parse(part) for part in given.split("..", 1))
    if low is None or high is None or not low < high:
        raise UsageError(f"--vary {setting.name}={given} is empty", "Give the lower number first: 1e-4..0.1")
    return Between(name=setting.name, low=low, high=high, whole=setting.kind == "int")


def _choices(setting: Setting, given: Any) -> Choices:
    if isinstance(given, str):
        parts = [part for part in given.split(",") if part]
        values = [setting.parse(part.replace("+", ",") if setting.many else part) for part in parts]
    elif isinstance(given, list) or (isinstance(given, tuple) and not setting.many):
        values = [setting.check(value) for value in given]
    else:
        values = [setting.check(given)]
    if not values:
        raise UsageError(f"--vary {setting.name} has no values", f"It takes {setting.describes}.")
    _refuse_twice(setting.name, values)
    return Choices(name=setting.name, values=tuple(values))


def _refuse_twice(name: str, values: Sequence[Any]) -> None:
    for place, value in enumerate(values):
        if value in values[:place]:
            raise UsageError(f"--vary {name} has {text(value)} twice", "Give each value once.")


def varying(learners: Sequence[AnyLearner], given: Sequence[Axis]) -> list[str]:
    """The names of what has more than one value."""
    names = ["model"] if len(learners) > 1 else []
    return names + [axis.name for axis in given if isinstance(axis, Between) or len(axis.values) > 1]


def cell(number: int, learner: AnyLearner, settings: Mapping[str, Any], shown: Sequence[str], spec: Spec) -> Cell:
    """A cell whose settings are within their limits together; raises UsageError where they are not."""
    resolve(learner.settings, settings, learner.suggest(spec))
    values = {name: learner.name if name == "model" else settings[name] for name in shown}
    return Cell(number=number, learner=learner, settings=settings, values=values)


def grid(learners: Sequence[AnyLearner], given: Sequence[Axis], spec: Spec) -> Iterator[Cell]:
    """Every combination, the last setting running fastest."""
    shown = varying(learners, given)
    lists = [axis.values for axis in given if isinstance(axis, Choices)]
    for number, (learner, *values) in enumerate(itertools.product(learners, *lists), 1):
        settings = {axis.name: value for axis, value in zip(given, values, strict=True)}
        yield cell(number, learner, settings, shown, spec)

"""A learner: one way to learn a task. Users know it as "the model"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from snellen.core.run import Run
from snellen.core.settings import Suggestion
from snellen.core.spec import Modality, Preprocessing, Spec
from snellen.core.task import Task
from snellen.core.views import View

C = TypeVar("C")
X = TypeVar("X")
M = TypeVar("M", bound=nn.Module)


def nothing_suggested(spec: Spec) -> Mapping[str, Suggestion]:
    return {}


def nothing_refused(spec: Spec) -> str | None:
    return None


def as_it_is(settings: Any, spec: Spec) -> Preprocessing:
    return Preprocessing()


def nothing_inside(model: Any, x: Tensor) -> list[View]:
    return []


def nothing_needed(settings: Any, spec: Spec) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Learner(Generic[C, X, M]):
    """Settings, network and the way it learns, for one task.

    Args:
        name, summary, source: "lenet", one sentence, the paper and the lecture.
        accepts: the modalities it can read.
        refuses: why it cannot learn this data ("needs 63 pixels, these are 28"), or None.
        settings: a class made with `@settings`.
        suggest: defaults for this data, each with its reason.
        reads: how the files become what the model is given.
        build: the model, untrained; reads no file and no pretrained weights.
        fit: learns in place, in whatever way the method does.
        inside: filters, hyperplanes, feature maps: what is to be seen in the model.
        needs: raises EnvironmentProblem or UsageError where something is missing that it begins with (pretrained
            weights); asked before anything is written.
        climbs: whether the ladder tries it unasked; of a family of like networks one does.
        parts: what it is made of besides its functions (a module it was given): its source counts as the learner's.
        stoppable: whether `fit` counts its work by `run.steps`, and so can keep a time budget. What cannot is run
            in a process of its own when there is one to keep.
    """

    name: str
    summary: str
    source: str
    task: Task[X, M]
    accepts: frozenset[Modality]
    settings: type[C]
    build: Callable[[C, Spec], M]
    fit: Callable[[C, X, M, Run], None]
    suggest: Callable[[Spec], Mapping[str, Suggestion]] = nothing_suggested
    unsupported_reason: Callable[[Spec], str | None] = nothing_refused
    preprocessing_of: Callable[[C, Spec], Preprocessing] = as_it_is
    inside: Callable[[M, Tensor], list[View]] = nothing_inside
    needs: Callable[[C, Spec], None] = nothing_needed
    in_default_ladder: bool = True
    parts: tuple[object, ...] = ()
    stoppable: bool = True

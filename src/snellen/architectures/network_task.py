"""What a task adds to a network, so that every architecture and every module of a user becomes a learner of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import nn

from snellen.core.learner import no_requirements
from snellen.core.run import Run
from snellen.core.settings import Suggestion
from snellen.core.spec import Spec
from snellen.core.task import Task
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.network import Network

M = TypeVar("M", bound=nn.Module)
ObjectiveType = TypeVar("ObjectiveType")


def prepare_nothing(model: Any, data: Dataset[Labelled]) -> None:
    """Default of `prepare`: the model needs no statistics of the targets."""


def suggest_nothing(architecture: Any, spec: Spec) -> Mapping[str, Suggestion]:
    """Default of `suggest`: the task suggests nothing besides the architecture."""
    return {}


def one_number(settings: Any) -> int:
    """Default of `numbers_per_output`: one number for each output."""
    return 1


@dataclass(frozen=True, kw_only=True)
class NetworkTask(Generic[M, ObjectiveType]):
    """What a task adds to a network.

    Args:
        settings: settings class, whose settings are added to those of the network.
        outputs: number of outputs of the network for the data: per sample, or per pixel.
        numbers_per_output: the task's settings to how many numbers the network returns for each output, such as
            quantiles.
        model: a network, the spec and the task's settings to the model of the task.
        objective: the spec, the task's settings and the run to the objective of training.
        prepare: called before training, to compute statistics of the targets.
        suggest: an architecture and the spec to settings that are suggested besides those of the architecture.
        check_requirements: raises UsageError where the task's settings do not suit each other or the data.
    """

    task: Task[Dataset[Labelled], Any]
    settings: type[Any]
    outputs: Callable[[Spec], int]
    model: Callable[[Network, Spec, Any], M]
    objective: Callable[[Spec, Any, Run], ObjectiveType]
    numbers_per_output: Callable[[Any], int] = one_number
    prepare: Callable[[M, Dataset[Labelled]], None] = prepare_nothing
    suggest: Callable[[Any, Spec], Mapping[str, Suggestion]] = suggest_nothing
    check_requirements: Callable[[Any, Spec], None] = no_requirements

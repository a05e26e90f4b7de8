"""Learner: one method for a task, with settings, network and training. The user interface calls it the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from torch import Tensor, nn

from snellen.core.run import Run
from snellen.core.settings import Suggestion
from snellen.core.spec import AXES, Modality, Preprocessing, Spec
from snellen.core.task import Task
from snellen.core.views import View

C = TypeVar("C")
X = TypeVar("X")
M = TypeVar("M", bound=nn.Module)


FLATTENED: frozenset[Modality] = frozenset(  # inputs of learners that flatten them
    {"vector", "image", "sequence", "points", "clip", "volume"}
)
ANY_INPUT: frozenset[Modality] = frozenset(AXES) - {"world"}  # of learners that do not look at the kind of samples


def no_suggestions(spec: Spec) -> Mapping[str, Suggestion]:
    """No suggested settings."""
    return {}


def no_reason(spec: Spec) -> str | None:
    """Any data is supported."""
    return None


def default_preprocessing(settings: Any, spec: Spec) -> Preprocessing:
    """Preprocessing that keeps size and channels of the source."""
    return Preprocessing()


def no_views(model: Any, x: Tensor) -> list[View]:
    """No views of the model."""
    return []


class InputSize(NamedTuple):
    """The image size of a network; the time of its training is proportional to the number of pixels.

    Args:
        setting: name of the setting.
        values: pixels of a side to the value of the setting; the first is the present size, the others are smaller, so
            that training takes less time.
    """

    setting: str
    values: Mapping[int, int]


SMALLER_SIZES = (224, 192, 160, 128, 96, 64, 48, 32)  # pixels a side to which a ladder may reduce images


def input_sizes(setting: str, pixels: int, smallest: int) -> InputSize:
    """The sizes of a setting in pixels a side, from `pixels` down to `smallest`."""
    return InputSize(
        setting, {size: size for size in (pixels, *SMALLER_SIZES) if size == pixels or smallest <= size < pixels}
    )


def no_input_size(settings: Any, spec: Spec) -> InputSize | None:
    """The size of the inputs is no setting."""
    return None


def no_requirements(settings: Any, spec: Spec) -> None:
    """No requirements."""
    return


@dataclass(frozen=True, kw_only=True)
class Learner(Generic[C, X, M]):
    """One method for one task: settings, network and training.

    Args:
        name, summary, source: "lenet", one sentence, the paper and the lecture.
        accepts: the modalities that it supports.
        unsupported_reason: why it does not support this data ("needs images of at least 63x63 pixels, these have
            28x28"), or None.
        settings: a class made with `@settings`.
        suggest: suggested settings for this data, each with its reason.
        preprocessing_of: the preprocessing from files to model inputs.
        input_size: the image size and its setting, if there is one.
        build: the untrained model; reads no file and no pretrained weights.
        fit: trains the model in place.
        model_views: views of the model itself: filters, hyperplanes, feature maps.
        check_requirements: raises EnvironmentProblem or UsageError where a requirement is missing (pretrained
            weights); called before anything is written.
        in_default_ladder: whether a ladder includes it by default; one network of each family is included.
        not_in_ladder: modalities of data whose ladders leave it out all the same.
        parts: objects besides the functions (such as a given module) whose source counts as that of the learner.
        several_inputs: whether it reads samples with several inputs, and only those.
        flattens: whether it reads a sample as one row of numbers, so that all samples need one shape.
        stoppable: whether `fit` iterates over `run.steps`, and so observes a time limit. With a time limit, other
            learners run in a separate process.
    """

    name: str
    summary: str
    source: str
    task: Task[X, M]
    accepts: frozenset[Modality]
    settings: type[C]
    build: Callable[[C, Spec], M]
    fit: Callable[[C, X, M, Run], None]
    suggest: Callable[[Spec], Mapping[str, Suggestion]] = no_suggestions
    unsupported_reason: Callable[[Spec], str | None] = no_reason
    preprocessing_of: Callable[[C, Spec], Preprocessing] = default_preprocessing
    input_size: Callable[[C, Spec], InputSize | None] = no_input_size
    model_views: Callable[[M, Tensor], list[View]] = no_views
    check_requirements: Callable[[C, Spec], None] = no_requirements
    in_default_ladder: bool = True
    not_in_ladder: frozenset[Modality] = frozenset()
    parts: tuple[object, ...] = ()
    stoppable: bool = True
    flattens: bool = False
    several_inputs: bool = False

    def is_in_default_ladder(self, modality: str) -> bool:
        """Whether a ladder on data of a modality includes it by default."""
        return self.in_default_ladder and modality not in self.not_in_ladder

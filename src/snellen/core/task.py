"""A task: what is asked of a model, how the answer is scored, and what is to be seen. It knows no learner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from snellen.core.run import Run
from snellen.core.spec import Spec
from snellen.core.views import Metric, View

X_contra = TypeVar("X_contra", contravariant=True)  # experience: Dataset[Labelled], an environment ...
P_contra = TypeVar("P_contra", contravariant=True)  # the task's Protocol; never bound to nn.Module

Answer = dict[str, Any]  # plain data: what `predict` prints and `serve` sends

# What the model said of every sample of a split, beside the truth; kept in a file. "ids" and "truth" are always there.
# The first axis of each tensor is that of the samples, or of what they have any number of (objects, runs), in the order
# of the samples and with the numbers of each sample in another tensor: so two of them put together are one again.
Predictions = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Output:
    """One named output of an exported model, (B, K), or (B, K, H, W) with K numbers for every pixel.

    Args:
        columns: what each of the K numbers is called.
        units: of each column, "" where none is known; none at all where the columns share one scale.
    """

    name: str
    columns: tuple[str, ...]
    units: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """A model as it leaves Snellen.

    Args:
        module: (B, ...) raw inputs to a dict of tensors, one for each of `outputs` and in their order.
        least: pixels a side that pictures have at least, where it takes any size.
        finds: whether it finds any number of objects: its outputs then have as many rows for every picture,
            (B, D, ...), and "count" (B,) says how many of them are finds.
    """

    module: nn.Module
    outputs: tuple[Output, ...]
    least: int = 1
    finds: bool = False


@dataclass(frozen=True, kw_only=True)
class Task(Generic[X_contra, P_contra]):
    """One question. The model is asked once a split; metrics and views are functions of what it said.

    Args:
        name, question: "classify", "Which class is this?".
        default: the learner that plain `train` takes for this data, by name.
        headline: the one metric quoted and ranked by for this data.
        asks: whether data of this kind asks this question; the first task that says yes is taken.
        predict: what the model says of a split ("train", "val", "test"), with the truth and the sample ids.
        measure: predictions to metrics with their intervals.
        answer: one batch of raw inputs to plain data.
        errors: (N,) how wrong each answer is, so that its mean ranks models as the headline does; what is compared
            pair by pair.
        of_rows: predictions to a function that gives the headline of resampled samples, (R, n) rows of them to (R,);
            the interval of a difference between two models is made from it.
        worst: predictions to (W,) rows of the most wrong answers, worst first, at most so many.
        truth: the truth of a sample, by its id, as an answer would say it.
        views: predictions to what the report shows.
        exported: a model with its answers as named tensors, for use without Snellen.
    """

    name: str
    question: str
    default: Callable[[Spec], str]
    headline: Callable[[Spec], str]
    asks: Callable[[Spec], bool]
    predict: Callable[[P_contra, X_contra, str, Run], Predictions]
    measure: Callable[[Predictions, Spec], dict[str, Metric]]
    answer: Callable[[P_contra, Tensor, Spec], list[Answer]]
    errors: Callable[[Predictions, Spec], Tensor]
    resampled_headline: Callable[[Predictions, Spec], Callable[[Tensor], Tensor]]
    worst: Callable[[Predictions, Spec, int], Tensor]
    truth: Callable[[X_contra, int], Any]
    views: Callable[[Predictions, X_contra, Spec], list[View]]
    export: Callable[[P_contra, Spec], ExportedModel]

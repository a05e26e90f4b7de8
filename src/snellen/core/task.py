"""Task: the protocol of a model, its predictions, metrics and views. Independent of any learner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from snellen.core.run import Run
from snellen.core.spec import Spec
from snellen.core.views import AnnotatedImage, Finding, Mark, Metric, View

X_contra = TypeVar("X_contra", contravariant=True)  # the data: Dataset[Labelled], an environment ...
P_contra = TypeVar("P_contra", contravariant=True)  # the task's Protocol; never bound to nn.Module

SAMPLES = "samples"
PredictionDict = dict[str, Any]  # one sample as plain data: what `predict` prints and `serve` returns

# Predictions for every sample of a split with the ground truth, stored in a file. "ids" and "truth" are always present.
# The first axis of each tensor is that of the samples, or of their parts (objects, runs) in the order of the samples,
# with the number of parts of each sample in another tensor: so predictions can be concatenated.
Predictions = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Output:
    """Named output of an exported model, (B, K), or (B, K, *places) with K numbers for every pixel or other place.

    Args:
        columns: names of the K numbers.
        units: unit of each column, "" where unknown; empty where the columns share one scale.
    """

    name: str
    columns: tuple[str, ...]
    units: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """Model for export, with named tensors as outputs.

    Args:
        module: (B, ...) raw inputs to a dict of tensors, one for each of `outputs` and in their order.
        min_size: smallest height and width in pixels, where it accepts any size.
        is_detector: whether the number of detections varies: the outputs then have the same number of rows for every
            image, (B, D, ...), and "count" (B,) is the number of rows that are detections.
    """

    module: nn.Module
    outputs: tuple[Output, ...]
    min_size: int = 1
    is_detector: bool = False


def no_marks(prediction: PredictionDict, spec: Spec) -> list[Mark]:
    """No marks: the prediction has no place in the image."""
    return []


@dataclass(frozen=True, kw_only=True)
class Display:
    """How predictions are described and drawn, by `predict --draw`, reports and model cards.

    Args:
        lines: text lines that describe a prediction, the most important first.
        baseline: what the baseline predicts, such as "the median of the training targets".
        outputs: what a model predicts, a sentence for the model card; "" without one.
        hub_names: modality to the name that model hubs give the task.
        names: what the names of the target are: "classes", "targets" or "actions".
        marks: boxes, masks and keypoints to draw on the image.
        class_map: (H, W) int64 class of every pixel, or (*places), -1 for none; None for a task without such a map.
        number_maps: (T, H, W) float32 numbers of every pixel, or (T, *places); None for a task without such a map.
        map_view: number maps to an image.
    """

    lines: Callable[[PredictionDict, Spec], list[str]]
    baseline: Callable[[Spec], str]
    outputs: Callable[[Spec], str]
    hub_names: Mapping[str, str]
    names: Literal["classes", "targets", "actions"] = "classes"
    marks: Callable[[PredictionDict, Spec], list[Mark]] = no_marks
    class_map: Callable[[PredictionDict, Spec], Tensor] | None = None
    number_maps: Callable[[PredictionDict, Spec], Tensor] | None = None
    map_view: Callable[[Tensor, Spec], AnnotatedImage] | None = None


def not_right_or_wrong(predictions: Predictions, spec: Spec) -> Tensor | None:
    """The predictions are more or less wrong, not right or wrong."""
    return None


def no_model_views(model: Any, data: Any, spec: Spec) -> list[View]:
    """The report has no views of the model itself."""
    return []


class TrainingModel(NamedTuple):
    """A model at a time of its training: what it is called, the epoch (None where unknown), the model."""

    title: str
    epoch: int | None
    model: Any


def no_training_views(models: Iterable[TrainingModel], data: Any, spec: Spec) -> list[View]:
    """The report has no views of the model in training."""
    return []


def no_input_maps(model: Any, data: Any, spec: Spec, split: str) -> list[View]:
    """The model is not drawn over its inputs."""
    return []


def sample_count(predictions: Predictions, spec: Spec) -> int:
    """Number of samples."""
    return len(predictions["ids"])


def no_metric(spec: Spec) -> str:
    """The validation score is no metric."""
    return ""


def no_findings(predictions: Predictions, data: Any, split: str, headline: float | None) -> list[Finding]:
    """Nothing is known that could be wrong with such predictions."""
    return []


@dataclass(frozen=True, kw_only=True)
class Diagnosis(Generic[X_contra]):
    """What a task adds to the diagnosis of a run.

    Args:
        findings: predictions of a split ("val" or "test"), the data, the split and its headline value to findings.
        compares_training: whether predictions on training samples are compared with those on validation samples and
            with the baseline.
        loss_may_rise: whether the training loss of a healthy run may rise.
        output: a trained network and (B, ...) inputs to its output, with gradients; None: its layers are not examined.
        loss: outputs and targets of a batch to a loss, whose gradients are examined.
    """

    findings: Callable[[Predictions, X_contra, str, float | None], list[Finding]] = no_findings
    compares_training: bool = True
    loss_may_rise: bool = False
    output: Callable[[Any, Tensor], Tensor] | None = None
    loss: Callable[[Tensor, Tensor], Tensor] | None = None


@dataclass(frozen=True, kw_only=True)
class Task(Generic[X_contra, P_contra]):
    """Task, such as classification. A split is predicted once; metrics and views are functions of the predictions.

    Args:
        name, question: "classify", "Which class belongs to each sample?".
        default: name of the default learner for this data.
        headline: name of the metric that ranks models on this data.
        asks: whether the task fits data of this spec; the first task that fits is the default.
        predict: predictions for a split ("train", "val", "test"), with the ground truth and the sample ids.
        measure: predictions to metrics with confidence intervals.
        predict_batch: one batch of raw inputs to predictions as plain data.
        errors: (N,) error of each prediction, or of each block of predictions that overlap; its mean ranks models as
            the headline does. Used in paired comparisons.
        resampled_headline: predictions to a function from resampled rows (R, n) of the units of `errors` to the
            headline of each resample, (R,); used for the confidence interval of a difference between two models. Of
            the concatenated predictions of two runs, the units of the second run come after those of the first.
        unit_count, unit_noun: number of units of `errors`, and what they are.
        worst_samples: predictions to at most so many rows (W,) of the largest errors, largest first.
        truth: ground truth of a sample by its id, in the form of a prediction.
        views: predictions to the views of the report.
        export: the model with its predictions as named tensors, for use without Snellen.
        correct: (N,) bool, whether each prediction is right; None where they are more or less wrong.
        validation_score: name of the metric that is the validation score of a training, negated where lower is
            better; "": minus a loss.
        display: how a prediction is described and drawn.
        diagnosis: what may be wrong with a run of this task.
        has_target: whether a model predicts a target of the data. False: the samples themselves are the ground truth, a
            run uses the data without its target (`without_target`), and the baseline reads the inputs too.
        sample: new samples of a model, (count, ...) in raw units of the data; None: its models draw none.
        model_views: views of the report that need the model itself, such as samples that it draws.
        training_views: views of how a model changes in training: of its snapshots in the order of their epochs, and of
            the selected model; only where `Spec.has_training_views`. Each model is valid until the next one is taken.
        input_maps: views of the model over the range of its one or two inputs, with the training samples and those of a
            split ("val" or "test"); the first is the map itself, which a study shows of each cell.
    """

    name: str
    question: str
    default: Callable[[Spec], str]
    headline: Callable[[Spec], str]
    applies_to: Callable[[Spec], bool]
    predict: Callable[[P_contra, X_contra, str, Run], Predictions]
    measure: Callable[[Predictions, Spec], dict[str, Metric]]
    predict_batch: Callable[[P_contra, Tensor, Spec], list[PredictionDict]]
    errors: Callable[[Predictions, Spec], Tensor]
    resampled_headline: Callable[[Predictions, Spec], Callable[[Tensor], Tensor]]
    worst_samples: Callable[[Predictions, Spec, int], Tensor]
    truth: Callable[[X_contra, int], Any]
    views: Callable[[Predictions, X_contra, Spec], list[View]]
    export: Callable[[P_contra, Spec], ExportedModel]
    display: Display
    unit_count: Callable[[Predictions, Spec], int] = sample_count
    unit_noun: str = SAMPLES
    correct: Callable[[Predictions, Spec], Tensor | None] = not_right_or_wrong
    diagnosis: Diagnosis[X_contra] = Diagnosis()
    validation_score: Callable[[Spec], str] = no_metric
    has_target: bool = True
    sample: Callable[[P_contra, int, torch.Generator], Tensor] | None = None
    model_views: Callable[[P_contra, X_contra, Spec], list[View]] = no_model_views
    training_views: Callable[[Iterable[TrainingModel], X_contra, Spec], list[View]] = no_training_views
    input_maps: Callable[[P_contra, X_contra, Spec, str], list[View]] = no_input_maps

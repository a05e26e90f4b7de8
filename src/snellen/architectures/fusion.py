"""Late fusion of several inputs, for every task with one answer for each sample.

An image is encoded by a ConvNet, a row by an MLP of one hidden layer, a sequence by a GRU.
Source: Baltrušaitis, Ahuja and Morency 2019; lecture 004 (several inputs).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar, cast

from torch import nn

from snellen.architectures.network_task import NetworkTask
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, Suggestion, merge_groups, settings
from snellen.core.spec import Modality, Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size, input_shape
from snellen.nn.convnets.convnet import ConvNet
from snellen.nn.fusion import Fusion, SeveralStandardize
from snellen.nn.layers import Standardize
from snellen.nn.mlp import MLP
from snellen.nn.network import Network
from snellen.nn.recurrent import GRU
from snellen.training.settings import TrainingSettings
from snellen.training.supervised import SupervisedObjective, fit_supervised

M = TypeVar("M", bound=nn.Module)
UNITS = 64  # of the hidden layer of a row's encoder, and of the state of a sequence's

ENCODERS: Mapping[Modality, Callable[[tuple[int, ...], int], nn.Module]] = {  # shape and features to an encoder
    "image": lambda shape, features: ConvNet(shape[0], (shape[1], shape[2]), features),
    "vector": lambda shape, features: MLP((shape[0], UNITS, features)),
    "sequence": lambda shape, features: GRU(shape[1], UNITS, 1, features),
}


@settings
class FusionSettings:
    """Sizes of the encoders' outputs and of the head, image size, dropout, training."""

    features: Annotated[int, Limit(min=1)] = 64
    """Features of each input."""
    hidden: Annotated[int, Limit(min=1)] = 64
    """Units of the hidden layer on the features of all inputs."""
    dropout: Annotated[float, Limit(min=0, below=1)] = 0.1
    """Fraction of the features that are set to zero in training."""
    image_size: Annotated[int, Limit(min=8)] | None = None
    """Image size: side in pixels after resizing; auto: the typical size of the images (of the majority, else the
    median), at most 64."""
    training: TrainingSettings = TrainingSettings(
        epochs=30, batch_size=32, optimizer="adamw", lr=0.003, weight_decay=0.02, schedule="one-cycle"
    )


def unsupported_reason(spec: Spec) -> str | None:
    """Reason why the data is not supported, or None."""
    return None if len(spec.inputs) > 1 else "needs several inputs (--inputs), this data has one"


def preprocessing_of(c: FusionSettings, spec: Spec) -> Preprocessing:
    """One size for all images."""
    image = next((name for name, one in spec.inputs.items() if one.has_pixels), None)
    return fixed_size(spec.with_input(image), max_side=64, requested=c.image_size) if image else Preprocessing()


def network(c: FusionSettings, spec: Spec, outputs: int) -> Fusion:
    """Encoders of all inputs, and the head."""
    preprocessing = preprocessing_of(c, spec)
    standardize, encoders = {}, []
    for name, one in spec.inputs.items():
        of_input = spec.with_input(name)
        own = preprocessing if one.has_pixels else Preprocessing()
        standardize[name] = Standardize(one, own.channels)
        encoders.append(ENCODERS[one.modality](input_shape(of_input, own), c.features))
    return Fusion(SeveralStandardize(standardize), encoders, c.features, c.hidden, outputs, c.dropout)


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    if 0 < count < 2000:
        return {"epochs": Suggestion(value=60, reason=f"{count:,} samples: more epochs")}
    return {}


def from_fusion(kind: NetworkTask[M, SupervisedObjective[M]]) -> Learner[Any, Dataset[Labelled], M]:
    """Learner that fuses several inputs, with the outputs of the task."""

    def build(c: Any, spec: Spec) -> M:
        return kind.model(cast(Network, network(c.network, spec, kind.outputs(spec))), spec, c.task)

    def fit(c: Any, data: Dataset[Labelled], model: M, run: Run) -> None:
        kind.prepare(model, data)
        fit_supervised(model, kind.objective(data.spec, c.task, run), data, run, c.network.training, None)

    return Learner[Any, Dataset[Labelled], M](
        name="fusion",
        summary="Late fusion: an encoder for each of several inputs; the features of a missing input are learned.",
        source="Baltrušaitis, Ahuja and Morency 2019; lecture 004",
        task=kind.task,
        accepts=frozenset(ENCODERS),
        several_inputs=True,
        settings=merge_groups(FusionSettings.__name__, network=FusionSettings, task=kind.settings),
        suggest=suggest,
        unsupported_reason=unsupported_reason,
        preprocessing_of=lambda c, spec: preprocessing_of(c.network, spec),
        build=build,
        fit=fit,
    )

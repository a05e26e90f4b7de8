"""Fusion of several inputs, for every task with one answer for each sample.

Late: an image is encoded by a ConvNet, a row by an MLP of one hidden layer, a sequence by a GRU, a clip by a 3D
ConvNet. Early: at each step the row of a sequence is encoded by an MLP, the frame of a clip by a ConvNet, and one GRU
reads the concatenated features; inputs without steps are encoded once.
Source: Baltrušaitis, Ahuja and Morency 2019; Neverova, Wolf, Taylor and Nebout 2016 (gestures from several inputs);
lectures 000 (gesture recognition), 004 (several inputs).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar, cast

from torch import Tensor, nn

from snellen.architectures.network_task import NetworkTask
from snellen.core.errors import UsageError, suggest_name
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, Suggestion, merge_groups, settings
from snellen.core.spec import Modality, Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size, input_shape
from snellen.nn.convnets.convnet import ConvNet
from snellen.nn.convnets.convnet3d import ConvNet3d
from snellen.nn.fusion import EarlyFusion, Fusion, FusionNetwork, SeveralStandardize
from snellen.nn.layers import Standardize
from snellen.nn.mlp import MLP
from snellen.nn.network import Network
from snellen.nn.recurrent import GRU
from snellen.training.settings import TrainingSettings
from snellen.training.supervised import SupervisedObjective, fit_supervised

M = TypeVar("M", bound=nn.Module)
UNITS = 64  # of the hidden layer of a row's encoder, and of the state of a sequence's
FEATURES = {"late": 64, "early": 16}  # of each input; those of early fusion are of one step
WIDTH = 8  # channels of the first stage of the encoders of clips and frames
MODALITY_DROPOUT = 0.2  # where samples lack inputs

Encoders = Mapping[Modality, Callable[[tuple[int, ...], int], nn.Module]]  # shape and features to an encoder


class ClipEncoder(nn.Module):
    """3D ConvNet of clips (B, T, C, H, W) to (B, F)."""

    def __init__(self, shape: tuple[int, ...], features: int) -> None:
        super().__init__()
        frames, channels, *sides = shape
        self.network = ConvNet3d(channels, (frames, *sides), features, width=WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.network(x.movedim(1, 2))
        return y


ENCODERS: Encoders = {
    "image": lambda shape, features: ConvNet(shape[0], (shape[1], shape[2]), features),
    "vector": lambda shape, features: MLP((shape[0], UNITS, features)),
    "sequence": lambda shape, features: GRU(shape[1], UNITS, 1, features),
    "clip": ClipEncoder,
}
STEP_ENCODERS: Encoders = {  # of one step of the inputs with a clock
    "sequence": lambda shape, features: MLP((shape[1], UNITS, features)),
    "clip": lambda shape, features: ConvNet(shape[1], (shape[2], shape[3]), features, width=WIDTH),
}


@settings
class FusionSettings:
    """Where inputs are fused and which are read, sizes of the encoders' outputs and of the head, dropout, training."""

    fusion: Literal["late", "early"] = "late"
    """Where inputs are fused: late, after an encoder of each whole input; early, at each step, before one GRU (for
    inputs with the same steps)."""
    use_inputs: tuple[str, ...] | None = None
    """Inputs that the model reads, names separated by commas; auto: all."""
    modality_dropout: Annotated[float, Limit(min=0, below=1)] = 0.0
    """Modality dropout: probability with which an input of a sample is taken as missing in training."""
    features: Annotated[int, Limit(min=1)] | None = None
    """Features of each input; auto: 64, of early fusion 16 at each step."""
    hidden: Annotated[int, Limit(min=1)] = 64
    """Units of the hidden layer on the features of all inputs, or of the state of the GRU of early fusion."""
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


def read_inputs(c: FusionSettings, spec: Spec) -> list[str]:
    """Names of the inputs that the model reads, in the order of the data."""
    return [name for name in spec.inputs if c.use_inputs is None or name in c.use_inputs]


def check_requirements(c: FusionSettings, spec: Spec) -> None:
    """Raise UsageError for inputs that the data lacks, and for early fusion of inputs without a common clock."""
    for name in c.use_inputs or ():
        if name not in spec.inputs:
            raise UsageError(f"--use-inputs: the data has no input {name!r}", suggest_name(name, list(spec.inputs)))
    if c.fusion == "late":
        return
    steps = {name: spec.inputs[name].shape[0] for name in read_inputs(c, spec) if _has_steps(spec, name)}
    shown = ", ".join(f"{name} has {'several lengths' if n is None else f'{n:,} steps'}" for name, n in steps.items())
    if not steps or len({count for count in steps.values() if count is not None}) > 1:
        raise UsageError(
            f"Early fusion needs inputs with equally many steps: {shown}"
            if steps
            else f"Early fusion needs an input with steps, not only {', '.join(read_inputs(c, spec))}",
            "Use --fusion late, or resample the inputs to one rate." if steps else "Use --fusion late.",
        )


def _has_steps(spec: Spec, name: str) -> bool:
    return spec.inputs[name].modality in STEP_ENCODERS


def network(c: FusionSettings, spec: Spec, outputs: int) -> FusionNetwork:
    """Encoders of the inputs, and what follows them."""
    preprocessing = preprocessing_of(c, spec)
    names, features = read_inputs(c, spec), c.features or FEATURES[c.fusion]
    timed = [c.fusion == "early" and _has_steps(spec, name) for name in names]
    standardize, encoders = {}, []
    for name, has_steps in zip(names, timed, strict=True):
        one, of_input = spec.inputs[name], spec.with_input(name)
        own = preprocessing if one.has_pixels else Preprocessing()
        standardize[name] = Standardize(one, own.channels)
        encoder = (STEP_ENCODERS if has_steps else ENCODERS)[one.modality]
        encoders.append(encoder(input_shape(of_input, own), features))
    inputs = SeveralStandardize(standardize)
    if c.fusion == "early":
        return EarlyFusion(inputs, encoders, timed, features, c.hidden, outputs, c.dropout, c.modality_dropout)
    return Fusion(inputs, encoders, features, c.hidden, outputs, c.dropout, c.modality_dropout)


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count, suggested = spec.sizes.get("train", 0), {}
    if 0 < count < 2000:
        suggested["epochs"] = Suggestion(value=60, reason=f"{count:,} samples: more epochs")
    if any(one.optional for one in spec.inputs.values()):
        reason = "samples lack inputs: more of them in training"
        suggested["modality_dropout"] = Suggestion(value=MODALITY_DROPOUT, reason=reason)
    return suggested


def from_fusion(kind: NetworkTask[M, SupervisedObjective[M]]) -> Learner[Any, Dataset[Labelled], M]:
    """Learner that fuses several inputs, with the outputs of the task."""

    def build(c: Any, spec: Spec) -> M:
        return kind.model(cast(Network, network(c.network, spec, kind.outputs(spec))), spec, c.task)

    def fit(c: Any, data: Dataset[Labelled], model: M, run: Run) -> None:
        kind.prepare(model, data)
        fit_supervised(model, kind.objective(data.spec, c.task, run), data, run, c.network.training, None)

    return Learner[Any, Dataset[Labelled], M](
        name="fusion",
        summary="Fusion of several inputs, late or early; the features of a missing input are learned.",
        source="Baltrušaitis, Ahuja and Morency 2019; lecture 004",
        task=kind.task,
        accepts=frozenset(ENCODERS),
        several_inputs=True,
        settings=merge_groups(FusionSettings.__name__, network=FusionSettings, task=kind.settings),
        suggest=suggest,
        unsupported_reason=unsupported_reason,
        preprocessing_of=lambda c, spec: preprocessing_of(c.network, spec),
        check_requirements=lambda c, spec: check_requirements(c.network, spec),
        build=build,
        fit=fit,
    )

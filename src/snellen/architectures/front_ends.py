"""Front ends: first layers that make inputs of one kind into those of another, so that its architectures read both.

An architecture for images reads recordings as log-mel spectrograms of 64 bands and 64 equal parts of the duration; one
for sequences reads them frame by frame.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from snellen.architectures.architecture import Architecture, init_of
from snellen.core.errors import UsageError
from snellen.core.spec import Input, Modality, Spec
from snellen.data.augment.images import Augment
from snellen.nn.spectrogram import SpectrogramImage, SpectrogramSteps

IMAGE_SIDE = 64  # mel bands and parts of a spectrogram as an image, of the largest that small networks read
BANDS = 40  # mel bands of a spectrogram as a sequence
WINDOW, IMAGE_HOP, STEP = 0.032, 0.01, 0.02  # seconds: window, and from one frame to the next
MIN_WINDOW, MAX_WINDOW = 8, 1 << 14  # samples
SPEC_MASK = 0.2  # SpecAugment: largest fraction of the frames and of the bands that is set to the mean in training


@dataclass(frozen=True, kw_only=True)
class FrontEnd:
    """Layers before a network, for inputs that it does not read itself.

    Args:
        reads: the modality of the data. gives: that of the network.
        input_of: an input of the data to the input that the network gets.
        module: an input of the data, and the shape that the network reads, to the layers.
    """

    reads: Modality
    gives: Modality
    input_of: Callable[[Input], Input]
    module: Callable[[Input, tuple[int, ...]], nn.Module]


def frame_lengths(rate: float, hop: float) -> tuple[int, int]:
    """Window, and samples from one frame to the next.

    Args:
        rate: samples per second. hop: seconds.
    """
    window = min(max(MIN_WINDOW, round(WINDOW * rate)), MAX_WINDOW)
    return window, min(window, max(1, round(hop * rate)))


def _image(spec_input: Input, shape: tuple[int, ...]) -> nn.Module:
    channels, height, width = shape
    rate = spec_input.rate or 1.0
    return SpectrogramImage(rate, *frame_lengths(rate, IMAGE_HOP), (channels, height, width), SPEC_MASK)


def _steps(spec_input: Input, shape: tuple[int, ...]) -> nn.Module:
    rate = spec_input.rate or 1.0
    return SpectrogramSteps(rate, *frame_lengths(rate, STEP), shape[-1], SPEC_MASK)


FRONT_ENDS = (
    FrontEnd(
        reads="audio",
        gives="image",
        input_of=lambda spec_input: Input(modality="image", shape=(1, IMAGE_SIDE, IMAGE_SIDE)),
        module=_image,
    ),
    FrontEnd(
        reads="audio",
        gives="sequence",
        input_of=lambda spec_input: Input(modality="sequence", shape=(None, BANDS)),
        module=_steps,
    ),
)


def front_end_of(architecture: Architecture[Any], modality: Modality) -> FrontEnd | None:
    """The front end by which an architecture reads a modality; None if it reads it itself, or not at all."""
    if modality in architecture.accepts:
        return None
    return next((f for f in FRONT_ENDS if f.reads == modality and f.gives in architecture.accepts), None)


def accepted(architecture: Architecture[Any]) -> frozenset[Modality]:
    """The modalities that an architecture reads, itself or by a front end."""
    return architecture.accepts | {front.reads for front in FRONT_ENDS if front_end_of(architecture, front.reads)}


def not_in_ladder(architecture: Architecture[Any]) -> frozenset[Modality]:
    """The modalities whose ladders leave out an architecture unless it is named: spectrograms, of a large network."""
    is_large = "image" in architecture.accepts and architecture.max_size > IMAGE_SIDE
    return accepted(architecture) - architecture.accepts if is_large else frozenset()


def seen_by(architecture: Architecture[Any], spec: Spec) -> Spec:
    """The spec with the input that the body of the architecture gets."""
    front = front_end_of(architecture, spec.modality)
    if front is None or len(spec.inputs) > 1:
        return spec
    name, spec_input = next(iter(spec.inputs.items()))
    return dataclasses.replace(spec, inputs={name: front.input_of(spec_input)})


def suggestions(architecture: Architecture[Any], spec: Spec) -> dict[str, Any]:
    """Suggested settings; those of the augmentation of images only for images themselves."""
    suggested = architecture.suggestions(seen_by(architecture, spec))
    if front_end_of(architecture, spec.modality) is None:
        return suggested
    of_images = {field.name for field in dataclasses.fields(Augment)}
    return {name: suggestion for name, suggestion in suggested.items() if name not in of_images}


def check_requirements(architecture: Architecture[Any], settings: Any, spec: Spec) -> None:
    """Raise UsageError for settings that apply to images, not to what a front end makes of the data."""
    if front_end_of(architecture, spec.modality) is None:
        return
    if init_of(settings).initial_weights is not None:
        raise UsageError(
            f"--pretrained {init_of(settings).initial_weights}: weights of {architecture.name} are of images, not of "
            f"{spec.modality}",
            "Omit it, or use --from-scratch.",
        )
    given, default = getattr(settings, "augment", None), getattr(architecture.settings(), "augment", None)
    if given != default:
        names = [f.name for f in dataclasses.fields(Augment) if getattr(given, f.name) != getattr(default, f.name)]
        flags = ", ".join("--" + name.replace("_", "-") for name in names)
        raise UsageError(f"{flags} changes images; the inputs are {spec.modality}", f"Omit {flags}.")


class WithFrontEnd(nn.Module):
    """A front end, and a body that reads what it gives.

    Args:
        channel_axis: the axis of its outputs that the body reads as the first after the batch.
    """

    def __init__(self, front: nn.Module, body: nn.Module, channel_axis: int) -> None:
        super().__init__()
        self.front = front
        self.body = body
        self.channel_axis = channel_axis

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) standardised inputs of the data to (B, K)."""
        x = self.front(x)
        y: Tensor = self.body(x.movedim(self.channel_axis, 1))
        return y


def build(architecture: Architecture[Any], settings: Any, spec: Spec, outputs: int) -> nn.Module:
    """The body of an architecture, behind the front end that the data needs, if any."""
    front = front_end_of(architecture, spec.modality)
    if front is None:
        return architecture.build(settings, spec, outputs)
    seen = seen_by(architecture, spec)
    preprocessing = architecture.preprocessing_of(init_of(settings), seen)
    shape = tuple(side or 1 for side in seen.input.shape)
    if preprocessing.size is not None:
        shape = (preprocessing.channels or shape[0], *preprocessing.size)
    body = architecture.build(settings, seen, outputs)
    return WithFrontEnd(front.module(spec.input, shape), body, architecture.channel_axis(seen))

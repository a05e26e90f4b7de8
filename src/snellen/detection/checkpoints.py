"""Published weights of detectors: anchors, preprocessing and input size that go with them.

torchvision's detectors are trained on COCO; of EfficientNet-Lite0 the backbone alone has weights, trained on ImageNet.

Source: Lin et al. 2014, "Microsoft COCO"; torchvision's training recipes; a test compares against them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from snellen.architectures.architecture import PUBLISHED
from snellen.architectures.efficientnet import EFFICIENTNET_LITE0
from snellen.core.spec import Spec
from snellen.detection.settings import BackboneSettings
from snellen.nn.detection.backbones import EPSILON, FeaturePyramid, feature_pyramid
from snellen.nn.detection.image_batch import DetectorTransform
from snellen.nn.layers import Standardize

FPN_ANCHORS = tuple((float(side),) for side in (32, 64, 128, 256, 512))  # one anchor size per feature map
RETINANET_ANCHORS = tuple(  # in whole pixels
    (side, side * 2 ** (1 / 3) // 1, side * 2 ** (2 / 3) // 1) for (side,) in FPN_ANCHORS
)
MOBILENET_ANCHORS = (tuple(side for (side,) in FPN_ANCHORS),) * 3  # every size on each of three feature maps
TRAINABLE_STAGES = 3  # of a backbone with published weights, as published

RGB = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class DetectorCheckpoint:
    """Published weights of a detector and the configuration they were trained with.

    Args:
        name: torchvision's name, as for `snellen get`.
        min_max_size: the shorter side and the maximum of the longer side, in pixels.
        anchors: anchor sizes per feature map; empty if the method fixes them.
        mean, std: of red, green and blue, for values in 0 … 1.
        epsilon: added to variances by frozen batch normalisation; 0 for torchvision's first weights.
        max_proposals: region proposals per image after NMS.
        min_score: minimum objectness of a proposal, in 0 … 1.
    """

    name: str
    min_max_size: tuple[int, int] = (800, 1333)
    anchors: tuple[tuple[float, ...], ...] = ()
    mean: RGB = (0.485, 0.456, 0.406)
    std: RGB = (0.229, 0.224, 0.225)
    epsilon: float = EPSILON
    max_proposals: int = 1000
    min_score: float = 0.0


Checkpoints = Mapping[str, DetectorCheckpoint]  # by backbone


def selected_checkpoint(backbone_settings: BackboneSettings, checkpoints: Checkpoints) -> DetectorCheckpoint | None:
    """The published checkpoint of the detector that training starts from, or None."""
    return checkpoints.get(backbone_settings.backbone) if backbone_settings.initial_weights == PUBLISHED else None


def has_imagenet_backbone(backbone_settings: BackboneSettings) -> bool:
    """Whether training starts from published weights of the backbone alone."""
    is_published = backbone_settings.initial_weights == PUBLISHED
    return is_published and backbone_settings.backbone == EFFICIENTNET_LITE0.name


def detector_transform(
    backbone_settings: BackboneSettings, spec: Spec, channels: int, checkpoints: Checkpoints, square: bool = False
) -> DetectorTransform:
    """Image transform with the statistics and the image size of the published weights, or unfitted without them."""
    checkpoint = selected_checkpoint(backbone_settings, checkpoints)
    layer = Standardize(spec.input, channels)
    if checkpoint is not None:
        set_statistics(layer, checkpoint.mean, checkpoint.std)
    elif has_imagenet_backbone(backbone_settings):
        set_statistics(layer, *EFFICIENTNET_LITE0.mean_std)
    size = backbone_settings.min_max_size(spec, checkpoint.min_max_size if checkpoint else None)
    return DetectorTransform(layer, *size, square=square)


def set_statistics(layer: Standardize, mean: Sequence[float], std: Sequence[float]) -> None:
    """Set mean and standard deviation of values in 0 … 1.

    They are of 8-bit values: images of higher bit depth are standardised by the training split.
    """
    if not layer.deep:
        layer.mean.copy_(torch.tensor(mean) * 255)
        layer.std.copy_(torch.tensor(std) * 255)
        layer.load_state_dict(layer.state_dict())  # updates the derived scale and shift
        layer.is_fixed = True


def detector_pyramid(
    backbone_settings: BackboneSettings, channels: int, checkpoints: Checkpoints, coarse: bool = False
) -> FeaturePyramid:
    """Feature pyramid; with published weights, normalisation and the first stages are frozen.

    Args:
        coarse: see `feature_pyramid`.
    """
    checkpoint = selected_checkpoint(backbone_settings, checkpoints)
    is_published = checkpoint is not None or has_imagenet_backbone(backbone_settings)
    return feature_pyramid(
        backbone_settings.backbone,
        channels,
        "frozen" if is_published else backbone_settings.norm,
        TRAINABLE_STAGES if is_published else 5,
        coarse,
        checkpoint.epsilon if checkpoint else EPSILON,
    )

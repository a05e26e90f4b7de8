"""torchvision's detectors trained on COCO: anchors, preprocessing and input size that go with their weights.

Source: Lin et al. 2014, "Microsoft COCO"; torchvision's training recipes; a test compares against them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from snellen.core.spec import Spec
from snellen.detection.settings import PUBLISHED, BackboneSettings
from snellen.nn.detection.backbones import EPSILON
from snellen.nn.layers import Standardize

FPN_ANCHORS = tuple((float(side),) for side in (32, 64, 128, 256, 512))  # one anchor size per feature map
RETINANET_ANCHORS = tuple(  # in whole pixels
    (side, side * 2 ** (1 / 3) // 1, side * 2 ** (2 / 3) // 1) for (side,) in FPN_ANCHORS
)
MOBILENET_ANCHORS = (tuple(side for (side,) in FPN_ANCHORS),) * 3  # every size on each of three feature maps

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
    """The published checkpoint that training starts from, or None."""
    return checkpoints.get(backbone_settings.backbone) if backbone_settings.initial_weights == PUBLISHED else None


def standardize(spec: Spec, channels: int, checkpoint: DetectorCheckpoint | None) -> Standardize:
    """Standardisation layer with the statistics of the checkpoint, or unfitted without one.

    The statistics are of 8-bit values: images of higher bit depth are standardised by the training split.
    """
    layer = Standardize(spec.input, channels)
    if checkpoint is not None and not layer.deep:
        layer.mean.copy_(torch.tensor(checkpoint.mean) * 255)
        layer.std.copy_(torch.tensor(checkpoint.std) * 255)
        layer.load_state_dict(layer.state_dict())  # updates the derived scale and shift
        layer.is_fixed = True
    return layer

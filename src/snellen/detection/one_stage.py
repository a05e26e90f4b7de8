"""Builders of one-stage detectors from settings: RetinaNet, FCOS, SSDLite."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from torch import nn

from snellen.core.spec import Boxes, Spec
from snellen.core.torchvision_import import import_torchvision
from snellen.detection.checkpoints import Checkpoints, detector_pyramid, detector_transform, selected_checkpoint
from snellen.detection.settings import BackboneSettings, preprocessing_of
from snellen.nn.detection.anchors import Anchors
from snellen.nn.detection.detector import DetectionNetwork
from snellen.nn.detection.one_stage import OneStageDetector, OneStageKind

SCALES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))  # RetinaNet's anchor sizes per location
ANCHOR_CELLS = 4.0  # side of RetinaNet's smallest anchor in feature-map cells, before fitting to the boxes


def one_stage_detector(
    kind: OneStageKind, backbone_settings: BackboneSettings, spec: Spec, checkpoints: Checkpoints
) -> DetectionNetwork:
    """Build an untrained RetinaNet, FCOS or SSDLite."""
    target = spec.target
    assert isinstance(target, Boxes)
    channels = 3 if kind == "ssdlite" else preprocessing_of(backbone_settings, spec).channels or 3
    checkpoint = selected_checkpoint(backbone_settings, checkpoints)
    transform = detector_transform(backbone_settings, spec, channels, checkpoints, square=kind == "ssdlite")
    if kind == "ssdlite":
        return DetectionNetwork(transform, OneStageDetector(kind, build_ssdlite(len(target.names) + 1)))
    maps = detector_pyramid(backbone_settings, channels, checkpoints, coarse=True)
    if kind == "fcos":
        from torchvision.models.detection.fcos import FCOS

        anchors = Anchors([[float(stride)] for stride in maps.strides], (1.0,), fixed=True)
        return DetectionNetwork(transform, OneStageDetector(kind, FCOS(maps, len(target.names)), anchors))
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.retinanet import RetinaNet

    shapes = (0.5, 1.0, 2.0)
    generator = AnchorGenerator(((1,) * len(SCALES),) * len(maps.strides), (shapes,) * len(maps.strides))
    net = RetinaNet(maps, len(target.names), anchor_generator=generator)
    if checkpoint:
        anchors = Anchors(checkpoint.anchors, shapes, fixed=True)
    else:
        anchors = Anchors(
            [[ANCHOR_CELLS * stride * scale for scale in SCALES] for stride in maps.strides], shapes, SCALES
        )
    return DetectionNetwork(transform, OneStageDetector(kind, net, anchors))


def build_ssdlite(classes: int) -> Any:
    """Build SSDLite on MobileNetV3, with batch-normalisation momentum 0.1 in place of the published 0.03.

    With 0.03, the running statistics of a run of some hundred steps lag far behind the weights: the training loss in
    evaluation mode was twice that in training mode.
    """
    import_torchvision()
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.1)
    return cast(
        Any, ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes, norm_layer=norm)
    )

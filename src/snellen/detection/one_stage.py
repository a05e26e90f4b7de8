"""RetinaNet, FCOS and SSDLite from settings."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from torch import nn

from snellen.core.spec import Boxes, Spec
from snellen.detection.checkpoints import Known, begun, standardize
from snellen.detection.settings import Sight, preprocessing_of
from snellen.nn.detection.anchors import Anchors
from snellen.nn.detection.backbones import EPSILON, Norm, pyramid
from snellen.nn.detection.detector import Detector
from snellen.nn.detection.image_batch import DetectorTransform
from snellen.nn.detection.one_stage import Kind, OneStage

SCALES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))  # of RetinaNet's anchors at a place
CELLS = 4.0  # sides of RetinaNet's smallest anchor in cells of its map, until they are fitted to the boxes


def detector(kind: Kind, sight: Sight, spec: Spec, known: Known) -> Detector:
    """The untrained detector."""
    target = spec.target
    assert isinstance(target, Boxes)
    channels = 3 if kind == "ssdlite" else preprocessing_of(sight, spec).channels or 3
    published = begun(sight, known)
    sides = sight.sides(spec, published.sides if published else None)
    pictures = DetectorTransform(standardize(spec, channels, published), *sides, square=kind == "ssdlite")
    if kind == "ssdlite":
        return Detector(pictures, OneStage(kind, ssdlite(len(target.names) + 1)))
    norm: Norm = "frozen" if published else sight.norm
    maps = pyramid(
        sight.backbone,
        channels,
        norm,
        3 if published else 5,
        coarse=True,
        epsilon=published.epsilon if published else EPSILON,
    )
    if kind == "fcos":
        from torchvision.models.detection.fcos import FCOS

        anchors = Anchors([[float(stride)] for stride in maps.strides], (1.0,), fixed=True)
        return Detector(pictures, OneStage(kind, FCOS(maps, len(target.names)), anchors))
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.retinanet import RetinaNet

    shapes = (0.5, 1.0, 2.0)
    per = AnchorGenerator(((1,) * len(SCALES),) * len(maps.strides), (shapes,) * len(maps.strides))
    net = RetinaNet(maps, len(target.names), anchor_generator=per)
    if published:
        anchors = Anchors(published.anchors, shapes, fixed=True)
    else:
        anchors = Anchors([[CELLS * stride * scale for scale in SCALES] for stride in maps.strides], shapes, SCALES)
    return Detector(pictures, OneStage(kind, net, anchors))


def ssdlite(classes: int) -> Any:
    """SSDLite on MobileNetV3, with batch normalisation as it is published but for its memory.

    There a step adds 3 % to the running statistics. Those of a run of some hundred steps would be of weights that are
    long gone: in use the loss on pictures that were learned from was twice that of the same weights while learning.
    """
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.1)
    return cast(
        Any, ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes, norm_layer=norm)
    )

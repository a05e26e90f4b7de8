"""RetinaNet, FCOS and SSDLite from settings."""

from __future__ import annotations

from typing import Any, cast

from snellen.core.spec import Boxes, Spec
from snellen.nn.layers import Standardize
from snellen.nn.rcnn.anchors import Anchors
from snellen.nn.rcnn.backbones import Norm, pyramid
from snellen.nn.rcnn.detector import Detector
from snellen.nn.rcnn.one_stage import Kind, OneStage
from snellen.nn.rcnn.pictures import Pictures
from snellen.objects.settings import PUBLISHED, Sight, reads

SCALES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))  # of RetinaNet's anchors at a place
CELLS = 4.0  # sides of RetinaNet's smallest anchor in cells of its map, until they are fitted to the boxes


def detector(kind: Kind, sight: Sight, spec: Spec) -> Detector:
    """The untrained detector."""
    target = spec.target
    assert isinstance(target, Boxes)
    channels = 3 if kind == "ssdlite" else reads(sight, spec).channels or 3
    pictures = Pictures(Standardize(spec.input, channels), *sight.sides)
    if kind == "ssdlite":
        return Detector(pictures, OneStage(kind, ssdlite(len(target.names) + 1)))
    published = sight.origin == PUBLISHED
    norm: Norm = "frozen" if published else sight.norm
    maps = pyramid(sight.backbone, channels, norm, 3 if published else 5, coarse=True)
    if kind == "fcos":
        from torchvision.models.detection.fcos import FCOS

        sizes = [float(stride) for stride in maps.strides]
        return Detector(pictures, OneStage(kind, FCOS(maps, len(target.names)), Anchors(sizes, (1.0,), fixed=True)))
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.retinanet import RetinaNet

    shapes = (0.5, 1.0, 2.0)
    per = AnchorGenerator(((1,) * len(SCALES),) * len(maps.strides), (shapes,) * len(maps.strides))
    net = RetinaNet(maps, len(target.names), anchor_generator=per)
    return Detector(pictures, OneStage(kind, net, Anchors([CELLS * stride for stride in maps.strides], shapes, SCALES)))


def ssdlite(classes: int) -> Any:
    """SSDLite on MobileNetV3, with batch normalisation as it is published."""
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    return cast(Any, ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes))

"""Detectors that torchvision learned on COCO, and what their weights go with: they find nothing without it.

Source: Lin et al. 2014, "Microsoft COCO"; torchvision's recipes, which a test holds equal to this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from snellen.core.spec import Spec
from snellen.detection.settings import PUBLISHED, Sight
from snellen.nn.detection.backbones import EPSILON
from snellen.nn.layers import Standardize

EACH = tuple((float(side),) for side in (32, 64, 128, 256, 512))  # one size of anchors for each map
THIRDS = tuple((side, side * 2 ** (1 / 3) // 1, side * 2 ** (2 / 3) // 1) for (side,) in EACH)  # in whole pixels
ALL = (tuple(side for (side,) in EACH),) * 3  # every size at each of three maps

Three = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Published:
    """Weights, and what they were learned with.

    Args:
        name: torchvision's, which `snellen get` takes.
        sides: pixels of the shorter side, and of the longer at most.
        anchors: sides of squares, for each map; none where they belong to the method.
        mean, std: of red, green and blue in 0 … 1.
        epsilon: what frozen batch normalisation adds to variances. Torchvision's first weights were learned without.
        proposals: regions a picture that are looked at. least: how sure of each, in 0 … 1.
    """

    name: str
    sides: tuple[int, int] = (800, 1333)
    anchors: tuple[tuple[float, ...], ...] = ()
    mean: Three = (0.485, 0.456, 0.406)
    std: Three = (0.229, 0.224, 0.225)
    epsilon: float = EPSILON
    proposals: int = 1000
    least: float = 0.0


Known = Mapping[str, Published]  # by the backbone


def begun(sight: Sight, known: Known) -> Published | None:
    """The published weights that are begun with, or None."""
    return known.get(sight.backbone) if sight.origin == PUBLISHED else None


def standardize(spec: Spec, channels: int, published: Published | None) -> Standardize:
    """The first layer: as it goes with published weights, or to be learned from the data.

    What the weights know of values is of 8 bits: deeper pictures are standardised by themselves.
    """
    made = Standardize(spec.input, channels)
    if published is not None and not made.deep:
        made.mean.copy_(torch.tensor(published.mean) * 255)
        made.std.copy_(torch.tensor(published.std) * 255)
        made.load_state_dict(made.state_dict())  # prepares what follows from them
        made.known = True
    return made

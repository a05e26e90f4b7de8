"""R-CNN and Fast R-CNN from settings."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import nn

from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Boxes, Spec
from snellen.detection.selective_search import SelectiveSearch, search
from snellen.detection.training import Lesson, learn, prepare
from snellen.nn.detection.backbones import PATH, WIDTHS, pyramid
from snellen.nn.detection.box_head import Choice, Regions
from snellen.nn.detection.builders import GRID
from snellen.nn.detection.detector import Detector
from snellen.nn.detection.image_batch import DetectorTransform
from snellen.nn.detection.proposals_from_search import Crops, Features, OneMap, Searched
from snellen.nn.detection.roi_pooling import Pool
from snellen.nn.detection.rpn import Share
from snellen.nn.layers import Standardize
from snellen.training.settings import TrainingSettings

ABOUT = 16 / 227  # of a crop's side that lies outside its region, as published
MAP = 0  # of the pyramid that Fast R-CNN reads: stride 8


@settings
class Given:
    """How regions are found, and how many are learned from."""

    min_size: Annotated[int, Limit(least=32)] = 256
    """Pixels that the shorter side is scaled to."""
    search_size: Annotated[int, Limit(least=32)] = 160
    """Pixels of the shorter side at which a picture is searched."""
    max_proposals: Annotated[int, Limit(least=1)] = 400
    """Regions a picture that are looked at."""
    rois_per_image: Annotated[int, Limit(least=1)] = 64
    """Regions a picture that are learned from."""


def parts(given: Given, spec: Spec) -> tuple[DetectorTransform, SelectiveSearch, Share, int]:
    channels = spec.input.shape[0] or 3
    pictures = DetectorTransform(Standardize(spec.input, channels), given.min_size, given.min_size * 5 // 3)
    share = Share(count=given.rois_per_image, positive=0.25, high=0.5, low=0.5)
    return pictures, SelectiveSearch(given.search_size, given.max_proposals), share, channels


def by_crops(given: Given, side: int, spec: Spec) -> Detector:
    """R-CNN: each region is cut out, warped to `side` pixels a side, and given to a network by itself."""
    pictures, finder, share, channels = parts(given, spec)
    crops = Crops(side, round(ABOUT * side))
    return Detector(pictures, Searched(finder, None, _regions(crops, Features(channels), WIDTHS[-1], share, spec)))


def by_one_map(given: Given, pool: Literal["roi-align", "roi-pool"], spec: Spec) -> Detector:
    """Fast R-CNN: every region is read from one map of the whole picture."""
    from torchvision.models.detection.faster_rcnn import TwoMLPHead

    pictures, finder, share, channels = parts(given, spec)
    maps = OneMap(pyramid("small", channels, "batch", coarse=True), MAP)
    head = TwoMLPHead(PATH * GRID**2, 256)
    return Detector(pictures, Searched(finder, maps, _regions(Pool(pool, GRID), head, 256, share, spec)))


def _regions(pool: nn.Module, head: nn.Module, width: int, share: Share, spec: Spec) -> Regions:
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor

    assert isinstance(spec.target, Boxes)
    return Regions(pool, head, FastRCNNPredictor(width, 1 + len(spec.target.names)), share, Choice())


def in_stages(model: Detector, lesson: Lesson, run: Run, how: TrainingSettings) -> None:
    """Searches every picture, then learns class and box of what was found. Both stages resume where they stood."""
    data = lesson.data
    model.to(run.device)
    train, val = data.scenes("train", run.device), data.scenes("val", run.device)
    prepare(model, train, data.value_range, run)
    body = model.body
    assert isinstance(body, Searched)
    assert isinstance(body.search, SelectiveSearch)
    search(model, body.search, [train, val], run)
    learn(model, lesson, run, how)

"""Builders of R-CNN and Fast R-CNN from settings, and their training in stages."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import nn

from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Boxes, Spec
from snellen.data.augment.images_with_targets import SceneAugment
from snellen.data.dataset import Dataset, Labelled
from snellen.detection.selective_search import SelectiveSearch, cache_proposals
from snellen.detection.training import detection_split, fit_detector, prepare_detector
from snellen.nn.detection.backbones import SMALL_FPN_CHANNELS, SMALL_WIDTHS, feature_pyramid
from snellen.nn.detection.box_head import BoxHead, DetectionFilter
from snellen.nn.detection.builders import BOX_POOL_SIZE
from snellen.nn.detection.detector import DetectionNetwork
from snellen.nn.detection.image_batch import DetectorTransform
from snellen.nn.detection.proposals_from_search import (
    RegionWarping,
    RoIFeatures,
    SelectiveSearchDetector,
    SingleFeatureMap,
)
from snellen.nn.detection.roi_align import RoIPooling
from snellen.nn.detection.rpn import BoxSampling
from snellen.nn.layers import Standardize
from snellen.training.settings import TrainingSettings

CONTEXT = 16 / 227  # fraction of a crop's side that is context around its region, as published
MAP_INDEX = 0  # feature map that Fast R-CNN pools from: stride 8


@settings
class ProposalSettings:
    """Region proposals by selective search: image size, and numbers of proposals and RoIs."""

    min_size: Annotated[int, Limit(min=32)] = 256
    """Minimum image size: pixels of the shorter side after resizing."""
    search_size: Annotated[int, Limit(min=32)] = 160
    """Image size for selective search: pixels of the shorter side."""
    max_proposals: Annotated[int, Limit(min=1)] = 400
    """Region proposals kept per image."""
    rois_per_image: Annotated[int, Limit(min=1)] = 64
    """Regions of interest (RoIs) sampled per image for the training loss."""


def _components(proposals: ProposalSettings, spec: Spec) -> tuple[DetectorTransform, SelectiveSearch, BoxSampling, int]:
    """Image transform, selective search, RoI sampling, and number of channels."""
    channels = spec.input.shape[0] or 3
    transform = DetectorTransform(Standardize(spec.input, channels), proposals.min_size, proposals.min_size * 5 // 3)
    sampling = BoxSampling(
        batch_size_per_image=proposals.rois_per_image, positive_fraction=0.25, foreground_iou=0.5, background_iou=0.5
    )
    return transform, SelectiveSearch(proposals.search_size, proposals.max_proposals), sampling, channels


def build_rcnn(proposals: ProposalSettings, side: int, spec: Spec) -> DetectionNetwork:
    """Build R-CNN: each region is cropped, warped to `side` × `side` pixels and classified on its own."""
    transform, proposer, sampling, channels = _components(proposals, spec)
    crops = RegionWarping(side, round(CONTEXT * side))
    head = _box_head(crops, RoIFeatures(channels), SMALL_WIDTHS[-1], sampling, spec)
    return DetectionNetwork(transform, SelectiveSearchDetector(proposer, None, head))


def build_fast_rcnn(
    proposals: ProposalSettings, pool: Literal["roi-align", "roi-pool"], spec: Spec
) -> DetectionNetwork:
    """Build Fast R-CNN: all regions are pooled from one feature map of the image."""
    from torchvision.models.detection.faster_rcnn import TwoMLPHead

    transform, proposer, sampling, channels = _components(proposals, spec)
    maps = SingleFeatureMap(feature_pyramid("small", channels, "batch", coarse=True), MAP_INDEX)
    features = TwoMLPHead(SMALL_FPN_CHANNELS * BOX_POOL_SIZE**2, 256)
    head = _box_head(RoIPooling(pool, BOX_POOL_SIZE), features, 256, sampling, spec)
    return DetectionNetwork(transform, SelectiveSearchDetector(proposer, maps, head))


def _box_head(pool: nn.Module, head: nn.Module, width: int, sampling: BoxSampling, spec: Spec) -> BoxHead:
    """Box head: classification and box regression of pooled RoIs."""
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor

    assert isinstance(spec.target, Boxes)
    return BoxHead(pool, head, FastRCNNPredictor(width, 1 + len(spec.target.names)), sampling, DetectionFilter())


def train_in_stages(
    model: DetectionNetwork, data: Dataset[Labelled], run: Run, settings: TrainingSettings, augmentation: SceneAugment
) -> None:
    """Train in two stages: region proposals of every image, then the network. Both stages can be resumed."""
    model.to(run.device)
    split = detection_split(data, run, augmentation)
    prepare_detector(model, split, data.value_range, run)
    body = model.body
    assert isinstance(body, SelectiveSearchDetector)
    assert isinstance(body.search, SelectiveSearch)
    cache_proposals(model, body.search, [split.scenes, data.scenes("val", run.device)], run)
    fit_detector(model, "boxes", data, run, settings, augmentation)

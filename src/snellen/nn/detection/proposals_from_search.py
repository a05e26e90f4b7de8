"""R-CNN and Fast R-CNN: detectors on proposals from selective search.

Source: Girshick, Donahue, Darrell and Malik 2014, "Rich feature hierarchies"; Girshick 2015, "Fast R-CNN"; lecture 003.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from snellen.core.detections import GroundTruth
from snellen.core.errors import UsageError
from snellen.nn.detection.backbones import SmallResNet, norm_layer
from snellen.nn.detection.box_head import BoxHead, BoxPredictions
from snellen.nn.detection.image_batch import ImageBatch
from snellen.nn.detection.roi_align import RoIPooling

ProposalSearch = Callable[[Tensor], Tensor]  # (C, H, W) standardised image to (P, 4) region proposals


class RegionWarping(nn.Module):
    """Region warping of R-CNN: crop each region of the image with some context and resize it to a square.

    Args:
        side: pixels of the square.
        context: pixels of the square on each side that lie outside the region.
    """

    def __init__(self, side: int, context: int) -> None:
        super().__init__()
        self.pool = RoIPooling("roi-align", side)
        self.context_fraction = context / (side - 2 * context)

    def forward(self, maps: Sequence[Tensor], x: Tensor, regions: Tensor) -> Tensor:
        """(R, 5) regions of the images x to (R, C, side, side)."""
        first, last = regions[:, 1:3], regions[:, 3:]
        margin = self.context_fraction * (last - first)
        crops: Tensor = self.pool([x], x, torch.cat([regions[:, :1], first - margin, last + margin], 1))
        return crops


class RoIFeatures(nn.Module):
    """Feature extractor of R-CNN for warped regions: (R, C, s, s) to (R, F)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = SmallResNet(channels, norm_layer("batch"))
        self.mean = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mean(self.body(x.contiguous(memory_format=torch.channels_last)))
        return y.flatten(1)


class SingleFeatureMap(nn.Module):
    """A single feature map of a pyramid, as Fast R-CNN uses it."""

    def __init__(self, pyramid: nn.Module, index: int) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.index = index

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) to one feature map."""
        return [list(self.pyramid(x).values())[self.index]]


class SelectiveSearchDetector(nn.Module):
    """R-CNN (without `maps`) or Fast R-CNN: a box head on proposals from selective search.

    Args:
        search: gives the proposals.
        maps: (B, C, H, W) to the feature maps for RoI pooling; None: regions are cropped from the image.
        regions: the box head.
    """

    def __init__(self, search: ProposalSearch, maps: SingleFeatureMap | None, regions: BoxHead) -> None:
        super().__init__()
        self.search = search
        self.maps = maps
        self.regions = regions

    def proposals(self, batch: ImageBatch) -> list[Tensor]:
        """(P, 4) proposals of each image, in pixels of the batch."""
        proposals = []
        for x, size in zip(batch.x, batch.sizes, strict=True):
            height, width = (int(side) for side in size)
            proposals.append(self.search(x[:, :height, :width]).to(x.device))
        return proposals

    def losses(self, batch: ImageBatch, truths: Sequence[GroundTruth]) -> dict[str, Tensor]:
        maps = [batch.x] if self.maps is None else self.maps(batch.x)
        losses, _ = self.regions.losses(maps, batch, self.proposals(batch), truths)
        return losses

    def forward(self, batch: ImageBatch) -> BoxPredictions:
        if torch.compiler.is_exporting():
            raise UsageError(
                "Selective search runs outside the network and cannot be exported",
                "Export a detector with a region proposal network, such as faster-rcnn.",
            )
        proposals = self.proposals(batch)
        scores = pad_sequence([boxes.new_ones(len(boxes)) for boxes in proposals], batch_first=True, padding_value=-1.0)
        maps = [batch.x] if self.maps is None else self.maps(batch.x)
        detections: BoxPredictions = self.regions(maps, batch, pad_sequence(proposals, batch_first=True), scores)
        return detections

"""Detectors that are given regions: R-CNN looks at each by itself, Fast R-CNN at one map of the whole picture.

Source: Girshick, Donahue, Darrell and Malik 2014, "Rich feature hierarchies"; Girshick 2015, "Fast R-CNN"; lecture 003.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from snellen.core.detections import Objects
from snellen.core.errors import UsageError
from snellen.nn.detection.backbones import Small, norm_layer
from snellen.nn.detection.box_head import Finds, Regions
from snellen.nn.detection.image_batch import Batch
from snellen.nn.detection.roi_pooling import Pool

Search = Callable[[Tensor], Tensor]  # (C, H, W) a standardised picture to (P, 4) regions where something may be


class Crops(nn.Module):
    """Each region cut out of the picture with some of what is about it, and warped to a square.

    Args:
        side: pixels of the square.
        about: pixels of it on each side that lie outside the region.
    """

    def __init__(self, side: int, about: int) -> None:
        super().__init__()
        self.pool = Pool("roi-align", side)
        self.share = about / (side - 2 * about)

    def forward(self, maps: Sequence[Tensor], x: Tensor, regions: Tensor) -> Tensor:
        """(R, 5) regions of the pictures x to (R, C, side, side)."""
        first, last = regions[:, 1:3], regions[:, 3:]
        more = self.share * (last - first)
        crops: Tensor = self.pool([x], x, torch.cat([regions[:, :1], first - more, last + more], 1))
        return crops


class Features(nn.Module):
    """The network that R-CNN gives each crop to: (R, C, s, s) to (R, F)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = Small(channels, norm_layer("batch"))
        self.mean = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.mean(self.body(x.contiguous(memory_format=torch.channels_last)))
        return y.flatten(1)


class OneMap(nn.Module):
    """One map of a pyramid: the only one that Fast R-CNN reads its regions from."""

    def __init__(self, pyramid: nn.Module, place: int) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.place = place

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) to one map."""
        return [list(self.pyramid(x).values())[self.place]]


class Searched(nn.Module):
    """Class and box of regions that are found without learning.

    Args:
        search: finds them.
        maps: (B, C, H, W) to the maps that regions are read from; None: from the picture itself.
        regions: what it is.
    """

    def __init__(self, search: Search, maps: OneMap | None, regions: Regions) -> None:
        super().__init__()
        self.search = search
        self.maps = maps
        self.regions = regions

    def proposed(self, batch: Batch) -> list[Tensor]:
        """(P, 4) regions of each picture, in pixels of the batch."""
        found = []
        for x, size in zip(batch.x, batch.sizes, strict=True):
            height, width = (int(side) for side in size)
            found.append(self.search(x[:, :height, :width]).to(x.device))
        return found

    def losses(self, batch: Batch, truths: Sequence[Objects]) -> dict[str, Tensor]:
        maps = [batch.x] if self.maps is None else self.maps(batch.x)
        losses, _ = self.regions.learn(maps, batch, self.proposed(batch), truths)
        return losses

    def forward(self, batch: Batch) -> Finds:
        if torch.compiler.is_exporting():
            raise UsageError(
                "Selective search is no part of a network, and cannot be exported",
                "Export a detector that proposes by itself, such as faster-rcnn.",
            )
        proposed = self.proposed(batch)
        there = pad_sequence([one.new_ones(len(one)) for one in proposed], batch_first=True, padding_value=-1.0)
        maps = [batch.x] if self.maps is None else self.maps(batch.x)
        finds: Finds = self.regions(maps, batch, pad_sequence(proposed, batch_first=True), there)
        return finds

"""Pictures of any size to one batch that a network takes, and its answers back into their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snellen.core.detections import Objects
from snellen.nn.layers import Standardize

MULTIPLE = 32  # sides of a batch: what a network halves five times


class Batch(NamedTuple):
    """Pictures as the network sees them.

    x: (B, C, H, W) float32, standardised, scaled, with zeros to the right and below.
    sizes: (B, 2) float32: height and width of each picture in it.
    ratios: (B, 2) float32: pixels of the network to a pixel of the picture, down and across.
    """

    x: Tensor
    sizes: Tensor
    ratios: Tensor

    def inwards(self, k: int, objects: Objects) -> Objects:
        """The objects of picture k in pixels of the network; masks stay as they are."""
        down, across = self.ratios[k].unbind()
        boxes = objects.boxes * torch.stack([across, down, across, down])
        points = objects.keypoints
        if points is not None:
            points = points * torch.stack([across, down, torch.ones_like(down)])
        return objects._replace(boxes=boxes, keypoints=points)


class DetectorTransform(nn.Module):
    """Standardises, scales and joins pictures: the first layer of every detector.

    A picture is made as large as it may be with its shorter side at most `shorter` and its longer at most `longer`.

    Args:
        shorter, longer: pixels.
        square: every picture is warped to a square with sides of `shorter`.
    """

    def __init__(self, standardize: Standardize, shorter: int, longer: int, square: bool = False) -> None:
        super().__init__()
        self.standardize = standardize
        self.shorter = shorter
        self.longer = longer
        self.square = square

    def forward(self, images: Sequence[Tensor]) -> Batch:
        """(C, H, W) each, at the depth of the source, to a batch."""
        scaled = [self.scaled(image[None], self.size(*image.shape[1:])) for image in images]
        height, width = (max(x.shape[axis] for x in scaled) for axis in (2, 3))
        tall, wide = (side + -side % MULTIPLE for side in (height, width))
        joined = torch.cat([nn.functional.pad(x, (0, wide - x.shape[3], 0, tall - x.shape[2])) for x in scaled])
        joined = joined.contiguous(memory_format=torch.channels_last)
        device = joined.device
        before = torch.tensor([image.shape[1:] for image in images], dtype=torch.float32, device=device)
        sizes = torch.tensor([x.shape[2:] for x in scaled], dtype=torch.float32, device=device)
        return Batch(joined, sizes, sizes / before)

    def alike(self, x: Tensor) -> Batch:
        """Pictures of one size, (B, C, H, W) at the depth of the source, for any B, H and W."""
        height, width = (whole(side, self.longer) for side in self.size(x.shape[2], x.shape[3]))
        tall, wide = (MULTIPLE * whole((side + MULTIPLE - 1) // MULTIPLE, self.longer) for side in (height, width))
        torch._check(height <= tall)
        torch._check(width <= wide)
        joined = nn.functional.pad(self.scaled(x, (height, width)), (0, wide - width, 0, tall - height))
        size = torch.stack([as_tensor(height), as_tensor(width)])
        before = torch.stack([as_tensor(x.shape[2]), as_tensor(x.shape[3])])
        size, ratio = (pair.to(x.device).expand(x.shape[0], 2) for pair in (size, size / before))
        return Batch(joined, size, ratio)

    def scaled(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, C, H, W) to height and width that the network sees, float32."""
        return nn.functional.interpolate(self.standardize(x), size=size, mode="bilinear")

    def size(self, height: Any, width: Any) -> tuple[Any, Any]:
        """(height, width) of a picture to those that the network sees: whole numbers, or symbols while exporting."""
        if self.square:
            return self.shorter, self.shorter
        short, long = torch.sym_min(height, width), torch.sym_max(height, width)
        down = torch.sym_min(height * self.shorter // short, height * self.longer // long)
        across = torch.sym_min(width * self.shorter // short, width * self.longer // long)
        return torch.sym_max(down, 1), torch.sym_max(across, 1)


def as_tensor(side: Any) -> Tensor:
    """A side, which is a symbol while exporting, as a scalar."""
    return torch.scalar_tensor(side, dtype=torch.float32)


def whole(number: Any, most: int) -> Any:
    """A number in 1 … most; while exporting, a symbol of its own, and no more how it follows from a picture's sides.

    The sizes of all maps follow from it: as 16 u they are compared at once, as minima of fractions of sides in minutes.
    """
    found = torch.scalar_tensor(number, dtype=torch.int64).item()
    torch._check(found >= 1)
    torch._check(found <= most)
    return found

"""Image transform of detectors: standardise, resize and pad images of any size to one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snellen.core.detections import GroundTruth
from snellen.nn.layers import Standardize

SIZE_DIVISOR = 32  # of the sides of a batch, for five poolings


class ImageBatch(NamedTuple):
    """A batch of preprocessed images.

    x: (B, C, H, W) float32, standardised, resized, padded with zeros to the right and below.
    sizes: (B, 2) float32: height and width of each image in it.
    ratios: (B, 2) float32: scale factors from the image to the network, vertical and horizontal.
    """

    x: Tensor
    sizes: Tensor
    ratios: Tensor

    def to_network_pixels(self, k: int, objects: GroundTruth) -> GroundTruth:
        """Objects of image k in pixels of the network; masks are unchanged."""
        scale_y, scale_x = self.ratios[k].unbind()
        boxes = objects.boxes * torch.stack([scale_x, scale_y, scale_x, scale_y])
        points = objects.keypoints
        if points is not None:
            points = points * torch.stack([scale_x, scale_y, torch.ones_like(scale_y)])
        return objects._replace(boxes=boxes, keypoints=points)


class DetectorTransform(nn.Module):
    """Image transform: standardise, resize and pad images to a batch; the first layer of every detector.

    An image is resized to the largest size with its shorter side at most `min_size` and its longer at most `max_size`.

    Args:
        min_size, max_size: pixels.
        square: resize every image to a square with sides of `min_size`.
    """

    def __init__(self, standardize: Standardize, min_size: int, max_size: int, square: bool = False) -> None:
        super().__init__()
        self.standardize = standardize
        self.min_size = min_size
        self.max_size = max_size
        self.square = square

    def forward(self, images: Sequence[Tensor]) -> ImageBatch:
        """A batch of (C, H, W) images at the depth of the source."""
        resized = [self.resize(image[None], self.size(*image.shape[1:])) for image in images]
        height, width = (max(x.shape[axis] for x in resized) for axis in (2, 3))
        padded_height, padded_width = (side + -side % SIZE_DIVISOR for side in (height, width))
        batch = torch.cat(
            [nn.functional.pad(x, (0, padded_width - x.shape[3], 0, padded_height - x.shape[2])) for x in resized]
        )
        batch = batch.contiguous(memory_format=torch.channels_last)
        device = batch.device
        originals = torch.tensor([image.shape[1:] for image in images], dtype=torch.float32, device=device)
        sizes = torch.tensor([x.shape[2:] for x in resized], dtype=torch.float32, device=device)
        return ImageBatch(batch, sizes, sizes / originals)

    def same_size_batch(self, x: Tensor) -> ImageBatch:
        """A batch of images of one size, (B, C, H, W) at the depth of the source, for any B, H and W."""
        height, width = (bounded_size(side, self.max_size) for side in self.size(x.shape[2], x.shape[3]))
        padded_height, padded_width = (
            SIZE_DIVISOR * bounded_size((side + SIZE_DIVISOR - 1) // SIZE_DIVISOR, self.max_size)
            for side in (height, width)
        )
        torch._check(height <= padded_height)
        torch._check(width <= padded_width)
        batch = nn.functional.pad(self.resize(x, (height, width)), (0, padded_width - width, 0, padded_height - height))
        size = torch.stack([size_tensor(height), size_tensor(width)])
        original = torch.stack([size_tensor(x.shape[2]), size_tensor(x.shape[3])])
        size, ratio = (pair.to(x.device).expand(x.shape[0], 2) for pair in (size, size / original))
        return ImageBatch(batch, size, ratio)

    def resize(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Standardise and resize (B, C, H, W) to (height, width), float32."""
        return nn.functional.interpolate(self.standardize(x), size=size, mode="bilinear")

    def size(self, height: Any, width: Any) -> tuple[Any, Any]:
        """(height, width) of an image after resizing: integers, or symbols while exporting."""
        if self.square:
            return self.min_size, self.min_size
        short, long = torch.sym_min(height, width), torch.sym_max(height, width)
        new_height = torch.sym_min(height * self.min_size // short, height * self.max_size // long)
        new_width = torch.sym_min(width * self.min_size // short, width * self.max_size // long)
        return torch.sym_max(new_height, 1), torch.sym_max(new_width, 1)


def size_tensor(side: Any) -> Tensor:
    """A size, which is a symbol while exporting, as a scalar tensor."""
    return torch.scalar_tensor(side, dtype=torch.float32)


def bounded_size(number: Any, maximum: int) -> Any:
    """A size in 1 … maximum; while exporting, a new symbol, independent of the expression in the image size.

    The sizes of all feature maps depend on it. As 16 u they are compared at once; as minima of fractions of the image
    size it takes minutes.
    """
    size = torch.scalar_tensor(number, dtype=torch.int64).item()
    torch._check(size >= 1)
    torch._check(size <= maximum)
    return size

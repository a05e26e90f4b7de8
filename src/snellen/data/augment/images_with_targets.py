"""Data augmentation of images with their masks, maps or boxes: a function of (seed, epoch, sample).

Source: lecture 002, "Data augmentation"; Liu et al. 2016, "SSD", section 2.2, for crops and zooms of detectors.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from snellen.core.detections import GroundTruth
from snellen.core.random import uniform
from snellen.core.settings import Limit, settings
from snellen.core.spec import PixelNumbers, Preprocessing, Target
from snellen.data.annotations import IGNORE_INDEX, Annotation, masks_to_boxes
from snellen.data.augment.dihedral import dihedral_transform, transform_annotation
from snellen.data.scenes import Scene
from snellen.data.source import apply_preprocessing, cast_to_dtype


@settings
class SceneAugment:
    """Strength of data augmentation in training; 0 or no switches an operation off."""

    hflip: bool = True
    """Horizontal flip with probability 0.5."""
    rot90: bool = False
    """Random rotation by a multiple of 90°, for images without a preferred orientation (microscopy, aerial images)."""
    zoom: Annotated[float, Limit(min=0, below=1)] = 0.0
    """Random zoom: its factor lies between 1 − this value and 1 + this value; 0: off."""
    random_crop: Annotated[float, Limit(min=0, below=1)] = 0.0
    """Random crop of whole images: maximum fraction by which height and width are reduced; 0: off."""
    brightness: Annotated[float, Limit(min=0, below=1)] = 0.0
    """Brightness jitter: maximum relative change, as a fraction; 0: off."""
    channel_scale: Annotated[float, Limit(min=0, below=1)] = 0.0
    """Channel scale jitter (colour): maximum relative change of each channel, as a fraction; 0: off."""
    noise_std: Annotated[float, Limit(min=0)] = 0.0
    """Gaussian noise: standard deviation, as a fraction of the image's own value range; 0: off."""


MIN_VISIBLE_FRACTION = 0.3  # objects with a smaller visible fraction after a crop are ignored

_DRAWS = 12  # flip, rotation, zoom, two sides, row, column, brightness, three channels, one unused


def augment_scene(
    scene: Scene,
    epoch: int,
    augmentation: SceneAugment,
    seed: int,
    target: Target | None,
    tile: tuple[int, int] | None = None,
) -> Scene:
    """Augment a scene for an epoch.

    Args:
        target: states which numbers are vectors, and which keypoints swap in a flip.
        tile: (height, width) of the crop in pixels, for training on images of one size; None keeps the image's size
            except for `random_crop`. Outside the image, pixels are zero and have no annotation.
    Returns:
        a scene of the same depth. Boxes of cropped objects are those of the visible part; objects of which less than
        30 % is visible are `ignored`, invisible ones are removed.
    """
    u = uniform(torch.tensor([scene.id]), _DRAWS, seed, "scene", epoch)[0].tolist()
    image, truth = scene.image, scene.truth
    flip, quarter_turns = augmentation.hflip and u[0] < 0.5, int(4 * u[1]) if augmentation.rot90 else 0
    if flip or quarter_turns:
        height, width = image.shape[-2:]
        image = dihedral_transform(image, flip, quarter_turns)
        truth = transform_annotation(truth, target, width, height, flip, quarter_turns)
    window = _window(image.shape[-2], image.shape[-1], augmentation, u, tile)
    if window != Window(0, 0, *image.shape[-2:], *image.shape[-2:]):
        image, truth = window.crop_image(image), window.crop_annotation(truth, target)
    return Scene(_photometric(image, scene.id, augmentation, u, seed, epoch), truth, scene.id)


class Window(NamedTuple):
    """A crop of an image, in pixels, with its output size. It may extend beyond the image."""

    top: int
    left: int
    height: int
    width: int
    out_height: int
    out_width: int

    @property
    def scale(self) -> tuple[float, float]:
        """Scale factors of x and y."""
        return self.out_width / self.width, self.out_height / self.height

    def crop_image(self, image: Tensor) -> Tensor:
        """(C, out_height, out_width): bilinear with antialiasing; zero outside."""
        rows, columns = self._indices(image, 1.0)
        cut = _gather(image, rows, columns, 0)
        return apply_preprocessing(cut[None], Preprocessing(size=(self.out_height, self.out_width)))[0]

    def crop_map(self, x: Tensor, outside: float) -> Tensor:
        """(..., out_height, out_width): nearest neighbour; `outside` beyond the image."""
        rows, columns = self._indices(x, None)
        return _gather(x, rows, columns, outside)

    def crop_annotation(self, truth: Annotation, target: Target | None) -> Annotation:
        if isinstance(truth, GroundTruth):
            return self._objects(truth)
        if not truth.is_floating_point():
            return self.crop_map(truth, IGNORE_INDEX)
        moved = self.crop_map(truth, math.nan)
        if isinstance(target, PixelNumbers) and target.kind == "flow":
            moved = moved * moved.new_tensor(self.scale)[:, None, None]
        return moved

    def _indices(self, x: Tensor, step: float | None) -> tuple[Tensor, Tensor]:
        """Rows and columns of `x` for those of the window, or of its output if `step` is None."""
        sizes = (self.height, self.width) if step is not None else (self.out_height, self.out_width)
        starts, lengths = (self.top, self.left), (self.height, self.width)
        rows, columns = (
            start + ((torch.arange(size, device=x.device) + 0.5) * (length / size)).long()
            for start, length, size in zip(starts, lengths, sizes, strict=True)
        )
        return rows, columns

    def _objects(self, truth: GroundTruth) -> GroundTruth:
        scale = truth.boxes.new_tensor(self.scale)  # (2,)
        start = truth.boxes.new_tensor([self.left, self.top])
        size = truth.boxes.new_tensor([self.out_width, self.out_height])
        corners = (truth.boxes.view(-1, 2, 2) - start) * scale
        inside = corners.clamp(min=torch.zeros_like(size), max=size)  # (N, 2, 2)
        full_area, visible_area = ((c[:, 1] - c[:, 0]).prod(1) for c in (corners, inside))
        visible = torch.where(full_area > 0, visible_area / full_area, 0.0)
        boxes, areas, masks = inside.flatten(1), truth.areas * scale.prod() * visible, None
        if truth.masks is not None:
            masks = self.crop_map(truth.masks, 0)
            visible_pixels = masks.flatten(1).sum(1)
            full_pixels = truth.masks.flatten(1).sum(1) * scale.prod()
            visible = torch.where(full_pixels > 0, visible_pixels / full_pixels, 0.0)
            boxes, areas = masks_to_boxes(masks), visible_pixels.float()
        points = None if truth.keypoints is None else self._keypoints(truth.keypoints, start, scale, size)
        ignored = truth.ignored | ((visible < MIN_VISIBLE_FRACTION) & ~truth.crowd)
        cropped = truth._replace(boxes=boxes, areas=areas, masks=masks, keypoints=points, ignored=ignored)
        return cropped.select((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))

    def _keypoints(self, points: Tensor, start: Tensor, scale: Tensor, size: Tensor) -> Tensor:
        xy = (points[..., :2] - start) * scale
        inside = (points[..., 2] > 0) & (xy >= 0).all(-1) & (xy < size).all(-1)
        return torch.cat([xy, points[..., 2:]], -1) * inside[..., None]


def _gather(x: Tensor, rows: Tensor, columns: Tensor, outside: float) -> Tensor:
    """Gather rows and columns of (..., H, W); fill those outside."""
    if x.dtype == torch.uint16:  # torch supports few operations on uint16
        return _gather(x.view(torch.int16), rows, columns, outside).view(torch.uint16)
    height, width = x.shape[-2:]
    is_outside = ((rows < 0) | (rows >= height))[:, None] | ((columns < 0) | (columns >= width))
    cut = x[..., rows.clamp(0, height - 1), :][..., columns.clamp(0, width - 1)]
    return cut.masked_fill(is_outside, outside) if bool(is_outside.any()) else cut


def _window(
    height: int, width: int, augmentation: SceneAugment, u: list[float], tile: tuple[int, int] | None
) -> Window:
    output = tile or (
        max(1, round(height * (1 - augmentation.random_crop * u[3]))),
        max(1, round(width * (1 - augmentation.random_crop * u[4]))),
    )
    scale = 1 + augmentation.zoom * (2 * u[2] - 1)
    crop_height, crop_width = (max(1, round(side / scale)) for side in output)
    top, left = (
        _random_start(side, crop, u) for side, crop, u in ((height, crop_height, u[5]), (width, crop_width, u[6]))
    )
    return Window(top, left, crop_height, crop_width, *output)


def _random_start(side: int, crop: int, u: float) -> int:
    """Random start of a crop along one side: inside the image, or around it if the crop is longer. u: in [0, 1)."""
    slack = abs(side - crop)
    start = min(int(u * (slack + 1)), slack)
    return start if crop <= side else -start


def _photometric(image: Tensor, id: int, augmentation: SceneAugment, u: list[float], seed: int, epoch: int) -> Tensor:
    """Photometric augmentation: brightness, colour and noise."""
    if not (augmentation.brightness or augmentation.channel_scale or augmentation.noise_std):
        return image
    x = image.float()
    value_range = x.amax() - x.amin()
    factor = x.new_tensor(
        [
            (1 + augmentation.brightness * (2 * u[7] - 1)) * (1 + augmentation.channel_scale * (2 * u[8 + c % 3] - 1))
            for c in range(x.shape[0])
        ]
    )  # (C,)
    x = x * factor[:, None, None]
    if augmentation.noise_std:
        # Box-Muller transform: two uniform numbers per value.
        v = uniform(torch.tensor([id], device=x.device), 2 * x.numel(), seed, "scene noise", epoch)[0].view(2, -1)
        normal = torch.sqrt(-2 * torch.log1p(-v[0])) * torch.cos(2 * math.pi * v[1])
        x = x + normal.view(x.shape) * (augmentation.noise_std * value_range)
    return cast_to_dtype(x, image.dtype)

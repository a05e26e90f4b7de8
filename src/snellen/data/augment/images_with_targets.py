"""Augmentation of a picture with all that is told of places in it: a function of (seed, epoch, sample).

Source: lecture 002, "Data augmentation"; Liu et al. 2016, "SSD", section 2.2, for crops and zooms of detectors.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from snellen.core.detections import Objects
from snellen.core.random import uniform
from snellen.core.settings import Limit, settings
from snellen.core.spec import PixelNumbers, Preprocessing, Target
from snellen.data.annotations import NO_TRUTH, Truth, boxes_around
from snellen.data.augment.dihedral import turned, turned_truth
from snellen.data.scenes import Scene
from snellen.data.source import as_read, at_depth


@settings
class SceneAugment:
    """How far scenes are varied while learning; 0 or no is not at all."""

    hflip: bool = True
    """Mirror half of the pictures left to right."""
    rot90: bool = False
    """Turn by a random number of quarter turns: for pictures without an upright, of a microscope or from above."""
    zoom: Annotated[float, Limit(least=0, below=1)] = 0.0
    """Enlarge or shrink by up to this share."""
    random_crop: Annotated[float, Limit(least=0, below=1)] = 0.0
    """Cut off up to this share of each side."""
    brightness: Annotated[float, Limit(least=0, below=1)] = 0.0
    """Brighten or darken by up to this share."""
    channel_scale: Annotated[float, Limit(least=0, below=1)] = 0.0
    """Scale each channel by up to this share."""
    noise_std: Annotated[float, Limit(least=0)] = 0.0
    """Standard deviation of Gaussian noise, as a share of the picture's range of values."""


VISIBLE = 0.3  # of an object; of what less is left after a crop is not learned from

_DRAWS = 12  # flip, turn, zoom, two sides, row, column, brightness, three channels, one to spare


def varied(
    scene: Scene, epoch: int, how: SceneAugment, seed: int, target: Target | None, tile: tuple[int, int] | None = None
) -> Scene:
    """The scene as it is seen in an epoch.

    Args:
        target: says which numbers are vectors, and which keypoints change places in a mirror.
        tile: (height, width) in pixels to cut out, for learning from pictures of one size; None keeps the picture's
            size but for `cut`. What lies outside the picture is zero, and has no truth.
    Returns:
        a scene of the same depth. Of an object that was cut the box is that of what is left; with less than 30 % left
        it is `ignored`, and with nothing it is gone.
    """
    u = uniform(torch.tensor([scene.id]), _DRAWS, seed, "scene", epoch)[0].tolist()
    image, truth = scene.image, scene.truth
    mirror, quarters = how.hflip and u[0] < 0.5, int(4 * u[1]) if how.rot90 else 0
    if mirror or quarters:
        height, width = image.shape[-2:]
        image = turned(image, mirror, quarters)
        truth = turned_truth(truth, target, width, height, mirror, quarters)
    window = _window(image.shape[-2], image.shape[-1], how, u, tile)
    if window != Window(0, 0, *image.shape[-2:], *image.shape[-2:]):
        image, truth = window.of_picture(image), window.of_truth(truth, target)
    return Scene(_lit(image, scene.id, how, u, seed, epoch), truth, scene.id)


class Window(NamedTuple):
    """A part of a picture, in its pixels, that is brought to a size. It may reach beyond the picture."""

    top: int
    left: int
    height: int
    width: int
    to_height: int
    to_width: int

    @property
    def scale(self) -> tuple[float, float]:
        """By how much x and y grow."""
        return self.to_width / self.width, self.to_height / self.height

    def of_picture(self, image: Tensor) -> Tensor:
        """(C, to_height, to_width): bilinear, averaged where it shrinks; zero outside."""
        rows, columns = self._places(image, 1.0)
        cut = _gathered(image, rows, columns, 0)
        return as_read(cut[None], Preprocessing(size=(self.to_height, self.to_width)))[0]

    def of_map(self, x: Tensor, outside: float) -> Tensor:
        """(..., to_height, to_width): the value of the pixel in which the new pixel's centre lies."""
        rows, columns = self._places(x, None)
        return _gathered(x, rows, columns, outside)

    def of_truth(self, truth: Truth, target: Target | None) -> Truth:
        if isinstance(truth, Objects):
            return self._objects(truth)
        if not truth.is_floating_point():
            return self.of_map(truth, NO_TRUTH)
        moved = self.of_map(truth, math.nan)
        if isinstance(target, PixelNumbers) and target.kind == "flow":
            moved = moved * moved.new_tensor(self.scale)[:, None, None]
        return moved

    def _places(self, x: Tensor, step: float | None) -> tuple[Tensor, Tensor]:
        """The row and column of `x` for every row and column of the window, or of what it is brought to."""
        sizes = (self.height, self.width) if step is not None else (self.to_height, self.to_width)
        starts, lengths = (self.top, self.left), (self.height, self.width)
        rows, columns = (
            start + ((torch.arange(size, device=x.device) + 0.5) * (length / size)).long()
            for start, length, size in zip(starts, lengths, sizes, strict=True)
        )
        return rows, columns

    def _objects(self, truth: Objects) -> Objects:
        scale = truth.boxes.new_tensor(self.scale)  # (2,)
        start = truth.boxes.new_tensor([self.left, self.top])
        most = truth.boxes.new_tensor([self.to_width, self.to_height])
        corners = (truth.boxes.view(-1, 2, 2) - start) * scale
        inside = corners.clamp(min=torch.zeros_like(most), max=most)  # (N, 2, 2)
        whole, left = ((c[:, 1] - c[:, 0]).prod(1) for c in (corners, inside))
        share = torch.where(whole > 0, left / whole, 0.0)
        boxes, areas, masks = inside.flatten(1), truth.areas * scale.prod() * share, None
        if truth.masks is not None:
            masks = self.of_map(truth.masks, 0)
            there = masks.flatten(1).sum(1)
            size = truth.masks.flatten(1).sum(1) * scale.prod()
            share = torch.where(size > 0, there / size, 0.0)
            boxes, areas = boxes_around(masks), there.float()
        points = None if truth.keypoints is None else self._keypoints(truth.keypoints, start, scale, most)
        ignored = truth.ignored | ((share < VISIBLE) & ~truth.crowd)
        changed = truth._replace(boxes=boxes, areas=areas, masks=masks, keypoints=points, ignored=ignored)
        return changed.of((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))

    def _keypoints(self, points: Tensor, start: Tensor, scale: Tensor, most: Tensor) -> Tensor:
        xy = (points[..., :2] - start) * scale
        there = (points[..., 2] > 0) & (xy >= 0).all(-1) & (xy < most).all(-1)
        return torch.cat([xy, points[..., 2:]], -1) * there[..., None]


def _gathered(x: Tensor, rows: Tensor, columns: Tensor, outside: float) -> Tensor:
    """Rows and columns of (..., H, W), those beyond it filled."""
    if x.dtype == torch.uint16:  # for which torch has few operations
        return _gathered(x.view(torch.int16), rows, columns, outside).view(torch.uint16)
    height, width = x.shape[-2:]
    off = ((rows < 0) | (rows >= height))[:, None] | ((columns < 0) | (columns >= width))
    cut = x[..., rows.clamp(0, height - 1), :][..., columns.clamp(0, width - 1)]
    return cut.masked_fill(off, outside) if bool(off.any()) else cut


def _window(height: int, width: int, how: SceneAugment, u: list[float], tile: tuple[int, int] | None) -> Window:
    to = tile or (
        max(1, round(height * (1 - how.random_crop * u[3]))),
        max(1, round(width * (1 - how.random_crop * u[4]))),
    )
    scale = 1 + how.zoom * (2 * u[2] - 1)
    tall, wide = (max(1, round(side / scale)) for side in to)
    top, left = (_start(whole, part, draw) for whole, part, draw in ((height, tall, u[5]), (width, wide, u[6])))
    return Window(top, left, tall, wide, *to)


def _start(whole: int, part: int, draw: float) -> int:
    """Where a part of that length begins: anywhere inside, or anywhere around where it is longer."""
    room = abs(whole - part)
    start = min(int(draw * (room + 1)), room)
    return start if part <= whole else -start


def _lit(image: Tensor, id: int, how: SceneAugment, u: list[float], seed: int, epoch: int) -> Tensor:
    """Brightness, colour and noise, which leave every place where it is."""
    if not (how.brightness or how.channel_scale or how.noise_std):
        return image
    x = image.float()
    value_range = x.amax() - x.amin()
    factor = x.new_tensor(
        [
            (1 + how.brightness * (2 * u[7] - 1)) * (1 + how.channel_scale * (2 * u[8 + c % 3] - 1))
            for c in range(x.shape[0])
        ]
    )  # (C,)
    x = x * factor[:, None, None]
    if how.noise_std:
        # Box-Muller on counter draws: one pair of uniforms a value.
        v = uniform(torch.tensor([id], device=x.device), 2 * x.numel(), seed, "scene noise", epoch)[0].view(2, -1)
        normal = torch.sqrt(-2 * torch.log1p(-v[0])) * torch.cos(2 * math.pi * v[1])
        x = x + normal.view(x.shape) * (how.noise_std * value_range)
    return at_depth(x, image.dtype)

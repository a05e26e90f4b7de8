"""Data augmentation of image batches: a function of (seed, epoch, sample).

Source: lecture 002, "Data augmentation".
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor

from snellen.core.random import uniform
from snellen.core.settings import Limit, settings


@settings
class Augment:
    """Strength of data augmentation in training; 0 or no switches an operation off."""

    hflip: bool = False
    """Horizontal flip with probability 0.5."""
    pad_crop: Annotated[int, Limit(min=0)] = 0
    """Zero padding in pixels on each edge before a random crop to the original size; 0: off."""
    rotate: Annotated[float, Limit(min=0, max=180)] = 0.0
    """Random rotation: maximum angle in degrees; 0: off."""
    zoom: Annotated[float, Limit(min=0, below=1)] = 0.0
    """Random zoom: its factor lies between 1 − this value and 1 + this value; 0: off."""
    translate: Annotated[float, Limit(min=0, max=1)] = 0.0
    """Random translation: maximum, as a fraction of the side; 0: off."""
    brightness: Annotated[float, Limit(min=0, below=1)] = 0.0
    """Brightness jitter: maximum relative change, as a fraction; 0: off."""
    channel_scale: Annotated[float, Limit(min=0, below=1)] = 0.0
    """Channel scale jitter (colour): maximum relative change of each channel, as a fraction; 0: off."""
    noise_std: Annotated[float, Limit(min=0)] = 0.0
    """Gaussian noise: standard deviation, as a fraction of the training split's value range (8 bits: 255); 0: off."""

    def __bool__(self) -> bool:
        return self != Augment()


_DRAWS = 11  # flip, row, column, rotation, zoom, right, down, brightness, three channels


def augment(
    x: Tensor, ids: Tensor, augmentation: Augment, value_range: tuple[float, float], seed: int, epoch: int
) -> Tensor:
    """Augment a batch of images.

    Args:
        x: (B, C, H, W) of any depth.
        ids: (B,) ids of the samples; the augmentation of a sample is independent of its batch.
        value_range: values of black and white, for `noise_std`.
    Returns:
        (B, C, H, W) of the same dtype if only flipped and cropped, else float32.
    """
    u = uniform(ids, _DRAWS, seed, "augment", epoch)  # (B, 11)
    if augmentation.hflip or augmentation.pad_crop:
        x = _flip_and_crop(x, u, augmentation)
    if augmentation.rotate or augmentation.zoom or augmentation.translate:
        x = _affine(x.float(), u, augmentation)
    if augmentation.brightness or augmentation.channel_scale:
        factor = 1 + augmentation.brightness * (2 * u[:, 7:8] - 1)  # (B, 1)
        if augmentation.channel_scale:
            channel = torch.arange(x.shape[1], device=x.device) % 3
            factor = factor * (1 + augmentation.channel_scale * (2 * u[:, 8:11][:, channel] - 1))  # (B, C)
        x = x.float() * factor[:, :, None, None]
    if augmentation.noise_std:
        # Box-Muller transform: two uniform numbers per value.
        count = x[0].numel()
        v = uniform(ids, 2 * count, seed, "noise", epoch)  # (B, 2CHW)
        normal = torch.sqrt(-2 * torch.log1p(-v[:, :count])) * torch.cos(2 * math.pi * v[:, count:])
        x = x.float() + normal.view(x.shape) * (augmentation.noise_std * (value_range[1] - value_range[0]))
    return x


def _flip_and_crop(x: Tensor, u: Tensor, augmentation: Augment) -> Tensor:
    """Horizontal flip and random crop of the padded image, in one gather."""
    batch, channels, height, width = x.shape
    pad = augmentation.pad_crop
    rows = torch.arange(height, device=x.device).expand(batch, -1)  # (B, H)
    columns = torch.arange(width, device=x.device).expand(batch, -1)  # (B, W)
    if augmentation.hflip:
        columns = torch.where(u[:, :1] < 0.5, width - 1 - columns, columns)
    if pad:
        padded = x.new_zeros(batch, channels, height + 2 * pad, width + 2 * pad)
        padded[:, :, pad : pad + height, pad : pad + width] = x
        x = padded
        rows = rows + (u[:, 1:2] * (2 * pad + 1)).long()
        columns = columns + (u[:, 2:3] * (2 * pad + 1)).long()
    sample = torch.arange(batch, device=x.device)[:, None, None, None]
    channel = torch.arange(channels, device=x.device)[None, :, None, None]
    return x[sample, channel, rows[:, None, :, None], columns[:, None, None, :]]


def _affine(x: Tensor, u: Tensor, augmentation: Augment) -> Tensor:
    """Rotate, zoom and translate in one bilinear resampling, with border padding."""
    angle = (2 * u[:, 3] - 1) * math.radians(augmentation.rotate)
    scale = 1 / (1 + augmentation.zoom * (2 * u[:, 4] - 1))
    right, down = (2 * augmentation.translate * (2 * u[:, k] - 1) for k in (5, 6))  # grid coordinates span 2
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    height, width = x.shape[2:]
    ratio = height / width  # grid coordinates are square, the image may not be
    across = (2 * torch.arange(width, device=x.device) + 1) / width - 1  # pixel centres, edges at -1 and 1
    along = (2 * torch.arange(height, device=x.device) + 1) / height - 1
    columns, rows = torch.stack([cos, sin / ratio]), torch.stack([-sin * ratio, cos])  # (2, B)
    # Faster than affine_grid, whose matrix product takes as long as the resampling.
    start = rows[:, :, None] * along + torch.stack([right, down])[:, :, None]  # (2, B, H)
    grid = torch.addcmul(start[..., None], columns[..., None, None], across).permute(1, 2, 3, 0)  # (B, H, W, 2)
    return torch.nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=False)

"""Augmentation of whole batches, each sample by draws of its own: a function of (seed, epoch, sample).

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
    """How far pictures are varied while learning; 0 or no is not at all."""

    hflip: bool = False
    """Mirror half of the pictures left to right."""
    pad_crop: Annotated[int, Limit(least=0)] = 0
    """Pad by so many pixels of zero, then cut the old size out at a random place."""
    rotate: Annotated[float, Limit(least=0, most=180)] = 0.0
    """Turn by up to so many degrees."""
    zoom: Annotated[float, Limit(least=0, below=1)] = 0.0
    """Enlarge or shrink by up to this share."""
    translate: Annotated[float, Limit(least=0, most=1)] = 0.0
    """Move by up to this share of the side."""
    brightness: Annotated[float, Limit(least=0, below=1)] = 0.0
    """Brighten or darken by up to this share."""
    channel_scale: Annotated[float, Limit(least=0, below=1)] = 0.0
    """Scale each channel by up to this share."""
    noise_std: Annotated[float, Limit(least=0)] = 0.0
    """Standard deviation of Gaussian noise, as a share of the range of values."""

    def __bool__(self) -> bool:
        return self != Augment()


_DRAWS = 11  # flip, row, column, turn, zoom, right, down, brightness, three channels


def augment(x: Tensor, ids: Tensor, how: Augment, value_range: tuple[float, float], seed: int, epoch: int) -> Tensor:
    """Varied copies of a batch of pictures.

    Args:
        x: (B, C, H, W) of any depth.
        ids: (B,) the samples, so that a sample's draws do not depend on its batch.
        span: the values drawn from black to white, for `noise`.
    Returns:
        (B, C, H, W) of the same dtype after flip and crop alone, else float32.
    """
    u = uniform(ids, _DRAWS, seed, "augment", epoch)  # (B, 11)
    if how.hflip or how.pad_crop:
        x = _flip_and_crop(x, u, how)
    if how.rotate or how.zoom or how.translate:
        x = _affine(x.float(), u, how)
    if how.brightness or how.channel_scale:
        factor = 1 + how.brightness * (2 * u[:, 7:8] - 1)  # (B, 1)
        if how.channel_scale:
            channel = torch.arange(x.shape[1], device=x.device) % 3
            factor = factor * (1 + how.channel_scale * (2 * u[:, 8:11][:, channel] - 1))  # (B, C)
        x = x.float() * factor[:, :, None, None]
    if how.noise_std:
        # Box-Muller on counter draws: one pair of uniforms a value.
        count = x[0].numel()
        v = uniform(ids, 2 * count, seed, "noise", epoch)  # (B, 2CHW)
        normal = torch.sqrt(-2 * torch.log1p(-v[:, :count])) * torch.cos(2 * math.pi * v[:, count:])
        x = x.float() + normal.view(x.shape) * (how.noise_std * (value_range[1] - value_range[0]))
    return x


def _flip_and_crop(x: Tensor, u: Tensor, how: Augment) -> Tensor:
    """One gather: each sample's rows and columns, mirrored or not, out of the padded picture."""
    batch, channels, height, width = x.shape
    pad = how.pad_crop
    rows = torch.arange(height, device=x.device).expand(batch, -1)  # (B, H)
    columns = torch.arange(width, device=x.device).expand(batch, -1)  # (B, W)
    if how.hflip:
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


def _affine(x: Tensor, u: Tensor, how: Augment) -> Tensor:
    """Turn, zoom and shift in one bilinear resampling; the border's values continue outside."""
    angle = (2 * u[:, 3] - 1) * math.radians(how.rotate)
    scale = 1 / (1 + how.zoom * (2 * u[:, 4] - 1))
    right, down = (2 * how.translate * (2 * u[:, k] - 1) for k in (5, 6))  # the grid spans 2
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    height, width = x.shape[2:]
    ratio = height / width  # the grid is square, the picture need not be
    across = (2 * torch.arange(width, device=x.device) + 1) / width - 1  # centres of pixels, from edge to edge: -1 … 1
    along = (2 * torch.arange(height, device=x.device) + 1) / height - 1
    columns, rows = torch.stack([cos, sin / ratio]), torch.stack([-sin * ratio, cos])  # (2, B)
    # A row's places, then its columns' share: affine_grid multiplies matrices of three and takes as long as resampling.
    start = rows[:, :, None] * along + torch.stack([right, down])[:, :, None]  # (2, B, H)
    grid = torch.addcmul(start[..., None], columns[..., None, None], across).permute(1, 2, 3, 0)  # (B, H, W, 2)
    return torch.nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=False)

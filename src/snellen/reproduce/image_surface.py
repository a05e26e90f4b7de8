"""A grey image as a surface I = f(x, y), synthetic: a landscape with smooth shading and sharp edges."""

from __future__ import annotations

import torch
from torch import Tensor


def intensity(points: Tensor) -> Tensor:
    """Grey value of each position.

    A sky with a glow about the sun, a hill in front of it, on the hill a house with a roof, a window and a door.

    Args:
        points: (..., 2) positions in −1 … 1, x to the right and y upwards.
    Returns:
        (...) grey values in 0 … 1.
    """
    x, y = points.unbind(-1)

    def box(left: float, right: float, bottom: float, top: float) -> Tensor:
        return (x > left) & (x < right) & (y > bottom) & (y < top)

    sky = 0.5 + 0.2 * y + 0.3 * torch.exp(-((x + 0.45) ** 2 + (y - 0.5) ** 2) / 0.08)
    hill = 0.3 + 0.15 * torch.sin(3 * x + 1) * (1 + y)
    grey = torch.where(y < -0.2 + 0.25 * torch.sin(2.5 * x + 0.5), hill, sky)
    wall = 0.85 - 0.15 * x
    for region, value in (
        (box(0.15, 0.65, -0.6, 0.1), wall),
        ((y > 0.1) & (y < 0.45 - 1.1 * (x - 0.4).abs()), torch.full_like(x, 0.15)),  # roof
        (box(0.22, 0.36, -0.25, -0.05), torch.full_like(x, 0.1)),  # window
        (box(0.44, 0.57, -0.6, -0.2), torch.full_like(x, 0.25)),  # door
    ):
        grey = torch.where(region, value, grey)
    return grey


def grid(side: int) -> Tensor:
    """(side², 2) centres of the pixels of a square image in −1 … 1, row by row from the top."""
    centres = (torch.arange(side, dtype=torch.float64) + 0.5) / side * 2 - 1
    y, x = torch.meshgrid(-centres, centres, indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)


def standardised(side: int) -> tuple[Tensor, Tensor]:
    """(side², 2) positions and (side², 1) grey values with mean 0 and variance 1 over the image, float64."""
    points = grid(side)
    grey = intensity(points)
    return points, ((grey - grey.mean()) / grey.std(correction=0))[:, None]

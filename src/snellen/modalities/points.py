"""Points: clouds in array files and as JSON, and meshes, from whose surfaces points are sampled."""

from __future__ import annotations

import math
from typing import IO

import torch
from torch import Tensor

from snellen.core.errors import DataError
from snellen.core.spec import Input
from snellen.data.decode.mesh import POINTS as DEFAULT_POINTS
from snellen.data.decode.mesh import SUFFIXES, parse_mesh
from snellen.modalities.arrays import array_modality

SIDE = 160  # pixels of a drawing
_DOT = 60.0  # radius of a dot in pixels, times the root of the number of points
_WHITE, _NEAR, _FAR = 255.0, 20.0, 205.0  # grey levels
_TURN, _TILT = math.radians(30), math.radians(20)  # of the view about the vertical and the horizontal axis


def read_mesh_cloud(name: str, file: IO[bytes], spec_input: Input) -> Tensor:
    """Sample as many points of a mesh as a sample of the input has. Raises DataError."""
    count, features = spec_input.shape
    if features != 3:
        raise DataError(
            f"is a mesh, whose points have 3 coordinates; the model reads points of {features} numbers",
            "Give such clouds as NPY or NPZ.",
        )
    return parse_mesh(name, file).cloud(count or DEFAULT_POINTS)


def draw(x: Tensor, spec_input: Input) -> Tensor:
    """Draw a cloud in parallel projection: (P, D), D ≥ 2, to (1, H, W) uint8. The nearer a point, the darker.

    The first three numbers are x to the right, y up and z towards the viewer, seen from the right and above; clouds in
    the plane are seen from the front.
    """
    points = x[~x.isnan().any(1), :3].double()
    image = torch.full((SIDE, SIDE), _WHITE)
    if not len(points):
        return image[None].to(torch.uint8)
    points = points - (points.amax(0) + points.amin(0)) / 2
    if points.shape[1] == 3:
        points = points @ _view().T
    else:
        points = torch.nn.functional.pad(points, (0, 3 - points.shape[1]))
    radius = float(points.norm(dim=1).amax()) or 1.0
    dot = min(max(round(_DOT / math.sqrt(len(points))), 1), 5)
    scale = (SIDE / 2 - dot - 1) / radius
    column = (SIDE / 2 + scale * points[:, 0]).long()
    row = (SIDE / 2 - scale * points[:, 1]).long()
    depth = points[:, 2]
    nearness = (depth - depth.min()) / (float(depth.max() - depth.min()) or 1.0)  # 0 … 1
    grey = (_FAR + (_NEAR - _FAR) * nearness).float()
    for down in range(-dot, dot + 1):
        for right in range(-dot, dot + 1):
            if down * down + right * right <= dot * dot:  # a disc; of several points the nearest is seen
                place = (row + down).clamp(0, SIDE - 1) * SIDE + (column + right).clamp(0, SIDE - 1)
                image.view(-1).scatter_reduce_(0, place, grey, "amin")
    return image[None].to(torch.uint8)


def _view() -> Tensor:
    """Rotation (3, 3) of the view."""
    turn, tilt = (
        torch.tensor([[math.cos(_TURN), 0, -math.sin(_TURN)], [0, 1, 0], [math.sin(_TURN), 0, math.cos(_TURN)]]),
        torch.tensor([[1, 0, 0], [0, math.cos(_TILT), -math.sin(_TILT)], [0, math.sin(_TILT), math.cos(_TILT)]]),
    )
    return (tilt @ turn).double()


POINTS = array_modality("clouds", dict.fromkeys(SUFFIXES, read_mesh_cloud), draw)

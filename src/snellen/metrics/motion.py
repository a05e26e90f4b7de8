"""Metrics of human motion: joint position error (MPJPE) and Euler-angle error, of each window and step.

Source: Ionescu, Papava, Olaru and Sminchisescu 2014 (MPJPE); Jain, Zamir, Savarese and Saxena 2016, with the code of
Martinez, Black and Romero 2017 (Euler-angle error).
"""

from __future__ import annotations

import torch
from torch import Tensor

STILL = 1e-4  # radians: an angle of smaller standard deviation over a window's true future is left out


def mean_joint_distance(forecast: Tensor, truth: Tensor, aligned: bool) -> Tensor:
    """Mean per-joint position error (MPJPE): the mean distance of the joints from their true positions.

    Args:
        forecast, truth: (N, H, J, 3) positions; the first joint is the root.
        aligned: both skeletons are first moved so that their roots coincide.
    Returns:
        (N, H), in the unit of the positions.
    """
    if aligned:
        forecast, truth = forecast - forecast[..., :1, :], truth - truth[..., :1, :]
    distance: Tensor = (forecast - truth).norm(dim=-1)
    return distance.mean(-1)


def euler_angle_error(forecast: Tensor, truth: Tensor) -> Tensor:
    """Euler-angle error: the L2 norm of the differences of all angles that change in the true future of the window.

    Args:
        forecast, truth: (N, H, C) radians of all joints but the root.
    Returns:
        (N, H), radians. Differences are not wrapped at a full turn, as in the published code.
    """
    moves = truth.std(1, correction=0, keepdim=True) > STILL
    return torch.where(moves, forecast - truth, torch.zeros_like(truth)).square().sum(-1).sqrt()

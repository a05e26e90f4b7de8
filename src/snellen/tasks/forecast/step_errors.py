"""Errors of forecasts of each window and step ahead: which ones, and which is the headline, by the data.

Motion is measured by the positions of its joints (MPJPE), as its features mix lengths and angles; all else by the mean
absolute error over the features.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from snellen.core.spec import Skeleton, Spec
from snellen.metrics.motion import euler_angle_error, mean_joint_distance
from snellen.tasks.forecast import poses
from snellen.tasks.forecast.display import future

ABSOLUTE = "mean absolute error"
MPJPE = "MPJPE"
IN_ROOM = "MPJPE in the room"
EULER = "Euler-angle error"
HORIZONS = (80, 160, 320, 400, 1000)  # ms, those of the literature
_MS = {"ms": 1.0, "s": 1000.0}
_CHUNK = 1 << 15  # poses at once


class StepErrors(NamedTuple):
    """(N, H) float64 errors of N windows at H steps ahead, and their unit."""

    values: Tensor
    unit: str = ""


def headline(spec: Spec) -> str:
    """Name of the error that ranks models."""
    skeleton = future(spec).skeleton
    if skeleton is None:
        return ABSOLUTE
    return MPJPE if skeleton.has_positions else EULER


def headline_unit(spec: Spec) -> str:
    """Unit of the headline; "" for features, which may have several."""
    skeleton = future(spec).skeleton
    return "" if skeleton is None else skeleton.unit if skeleton.has_positions else "rad"


def headline_errors(forecast: Tensor, truth: Tensor, spec: Spec) -> Tensor:
    """(N, H) errors of the headline, of (N, H, D) forecasts and truth in the user's units."""
    return _named(forecast, truth, spec, headline(spec)).values


def step_errors(forecast: Tensor, truth: Tensor, spec: Spec) -> dict[str, StepErrors]:
    """All errors by name, that of the headline first."""
    skeleton = future(spec).skeleton
    names = [headline(spec)]
    if skeleton is not None:
        names += [IN_ROOM] if skeleton.has_positions else []
        names += [EULER] if skeleton.form == "exponential-maps" and EULER not in names else []
        names += [ABSOLUTE]
    return {name: _named(forecast, truth, spec, name) for name in names}


def _named(forecast: Tensor, truth: Tensor, spec: Spec, name: str) -> StepErrors:
    skeleton = future(spec).skeleton
    if name == ABSOLUTE or skeleton is None:
        return StepErrors((forecast - truth).abs().mean(2))
    count = max(1, _CHUNK // max(1, truth.shape[1]))
    parts = [
        _of_motion(f.double(), t.double(), skeleton, name)
        for f, t in zip(torch.split(forecast, count), torch.split(truth, count), strict=True)
    ]
    unit = "rad" if name == EULER else skeleton.unit
    return StepErrors(torch.cat(parts) if parts else truth.new_zeros(truth.shape[:2]), unit)


def _of_motion(forecast: Tensor, truth: Tensor, skeleton: Skeleton, name: str) -> Tensor:
    if name == EULER:
        return euler_angle_error(poses.euler_angles(forecast, skeleton), poses.euler_angles(truth, skeleton))
    return mean_joint_distance(
        poses.positions(forecast, skeleton), poses.positions(truth, skeleton), aligned=name == MPJPE
    )


def horizons(spec: Spec) -> dict[str, int]:
    """Steps ahead (from 0) nearest to the horizons of the literature, by their time; of motion whose step is known."""
    target = future(spec)
    if target.skeleton is None or target.duration is None or target.duration_unit not in _MS:
        return {}
    step = target.duration * _MS[target.duration_unit]
    steps: dict[str, int] = {}
    for horizon in HORIZONS:
        count = round(horizon / step)
        if 1 <= count <= target.steps and abs(count * step - horizon) <= step / 2:
            steps.setdefault(f"{count * step:.0f} ms", count - 1)
    return steps

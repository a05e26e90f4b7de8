"""Prediction intervals of a forecaster: around its forecasts, or around its quantiles, widened by a margin.

The margins are those that cover the validation windows, see `tasks.forecast.calibration`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor, nn

from snellen.core.settings import Limit, settings
from snellen.core.task import PredictionDict, Predictions
from snellen.metrics.prediction_intervals import nested


@settings
class IntervalSettings:
    """Levels of the prediction intervals."""

    levels: Annotated[tuple[float, ...], Limit(min=1, below=100)] = (50.0, 90.0)
    """Levels of the prediction intervals in %, separated by commas; "": no intervals."""


class Spread(NamedTuple):
    """Forecasts with the distances of the ends of their intervals.

    Args:
        forecast: (B, H, D). below, above: (B, L, H, D), at least 0, increasing with the level; infinite: no interval.
    """

    forecast: Tensor
    below: Tensor
    above: Tensor


class PredictionIntervals(nn.Module):
    """Margins of the intervals of a forecaster, by level, step ahead and feature.

    Args:
        levels: L ascending levels in percent.
    margin: (L, H, D) float64; infinite before the calibration, and where it has too few windows. A run folder written
        before there were intervals has none: its margins stay infinite.
    """

    optional_tensors = ("margin",)
    margin: Tensor

    def __init__(self, levels: Sequence[float], steps: int, features: int) -> None:
        super().__init__()
        self.levels = tuple(levels)
        margin = torch.full((len(self.levels), steps, features), math.inf, dtype=torch.float64)
        self.register_buffer("margin", margin)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        state_dict.setdefault(f"{prefix}margin", self.margin)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def available(self) -> list[int]:
        """Indices of the levels with finite margins."""
        return [k for k in range(len(self.levels)) if bool(torch.isfinite(self.margin[k]).all())]

    def widened(self, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
        """Distances (B, L, H, D) of the ends of the intervals, after the margins."""
        if not self.levels:
            return below, above
        lower, upper = (nested(list((ends + self.margin).unbind(1))) for ends in (below, above))
        return torch.stack(lower, 1), torch.stack(upper, 1)


def level_name(level: float) -> str:
    """A level: "90 %"."""
    return f"{level:g} %"


def intervals_of(model: Any) -> PredictionIntervals | None:
    """The intervals of a model; None of a learner that has none."""
    intervals = getattr(model, "intervals", None)
    return intervals if isinstance(intervals, PredictionIntervals) else None


def quantile_levels(model: Any) -> tuple[float, ...]:
    """Levels between whose quantiles a network forecasts; () of other models, which forecast no quantiles."""
    return tuple(getattr(model, "levels", ()))


def spread(model: Any, x: Tensor) -> Spread:
    """Forecasts with their intervals from (B, T, D') raw inputs; of a model without intervals L is 0."""
    intervals = intervals_of(model)
    if quantile_levels(model):
        forecast, below, above = model.forecast_quantiles(x)
    else:
        forecast = model.forecast(x)
        count = 0 if intervals is None else len(intervals.levels)
        below = above = forecast.new_zeros(len(forecast), 1, *forecast.shape[1:]).expand(-1, count, -1, -1)
    if intervals is None:
        return Spread(forecast, below[:, :0], above[:, :0])
    return Spread(forecast, *intervals.widened(below, above))


def stored(model: Any, spreads: Sequence[Spread], split: str) -> dict[str, Tensor]:
    """The intervals of N forecasts as predictions; {} of a model without intervals.

    Returns:
        below, above: (N, L, H, D) float32 distances from the forecast. levels: (N, L) in percent.
        calibrated_on: (N,) bool, whether these are the windows of the calibration, which the intervals cover by
        construction.
    """
    intervals = intervals_of(model)
    if intervals is None or not intervals.levels or not spreads:
        return {}
    below, above = (torch.cat([getattr(s, end).float().cpu() for s in spreads]) for end in ("below", "above"))
    count = len(below)
    return {
        "below": below,
        "above": above,
        "levels": torch.tensor(intervals.levels, dtype=torch.float64).expand(count, -1).contiguous(),
        "calibrated_on": torch.full((count,), split == "val"),
    }


def levels_of(predictions: Predictions) -> list[float]:
    """The levels of stored intervals in percent; [] where there are none."""
    if "levels" not in predictions or not len(predictions["levels"]):
        return []
    return [float(level) for level in predictions["levels"][0]]


def as_plain(one: Spread, levels: Mapping[int, float], names: Sequence[str]) -> list[PredictionDict]:
    """The intervals of each forecast of a batch: {"90 %": {feature: {"low": H numbers, "high": H numbers}}}."""
    low, high = (one.forecast[:, None] - one.below).cpu(), (one.forecast[:, None] + one.above).cpu()
    return [
        {
            level_name(level): {
                name: {"low": low[row, k, :, d].tolist(), "high": high[row, k, :, d].tolist()}
                for d, name in enumerate(names)
            }
            for k, level in levels.items()
        }
        for row in range(len(low))
    ]


def available_levels(model: Any) -> dict[int, float]:
    """Index and level of the finite intervals of a model."""
    intervals = intervals_of(model)
    return {} if intervals is None else {k: intervals.levels[k] for k in intervals.available()}

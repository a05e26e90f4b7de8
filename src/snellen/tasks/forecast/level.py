"""Level of each series in a window, and the unit of its forecasts: of series above 0 the level itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.core.spec import Spec
from snellen.data.dataset import Samples
from snellen.tasks.forecast.display import future

PLAIN_SEASON = 7  # steps of the level, without a season
FLOOR = 0.1  # of the mean level, below which a level is no unit
BATCH = 4096  # windows


class Level(nn.Module):
    """The level ℓ, the mean of the last season, and the unit: ℓ itself of series that are never negative, else one.

    In units of its level a series that grows has the same season, and a holiday the same effect, in all years.

    is_relative: (D,) bool. floor: (D,) float64, the least unit of relative series. scale: (D,) float64, the unit of all
    others.
    """

    optional_tensors = ("is_relative", "floor", "scale")
    is_relative: Tensor
    floor: Tensor
    scale: Tensor

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        target, window = future(spec), spec.input.shape[0] or 1
        self.targets = len(target.names)
        season = target.season or 1
        self.steps = min(window, season if season > 1 else PLAIN_SEASON)
        self.register_buffer("is_relative", torch.zeros(self.targets, dtype=torch.bool))
        self.register_buffer("floor", torch.ones(self.targets, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(self.targets, dtype=torch.float64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D') inputs to the (B, D) float64 levels and units."""
        level = x[:, -self.steps :, : self.targets].double().mean(1)
        return level, torch.where(self.is_relative, torch.maximum(level, self.floor), self.scale)

    def fit(self, samples: Samples) -> None:
        """Set the unit of each series by the training windows.

        A series is relative if no value is negative.
        """
        lowest = torch.full_like(self.floor, torch.inf)
        sums = torch.zeros(3, self.targets, dtype=torch.float64)  # levels, distances of futures, number
        for batch in samples.in_order(BATCH):
            level, _ = self(batch.x)
            y = batch.y.double()
            past = batch.x[..., : self.targets].double()
            lowest = torch.minimum(lowest, torch.minimum(y.amin((0, 1)), past.amin((0, 1))))
            distance = (y - level[:, None]).abs().mean(1)
            sums += torch.stack([level.sum(0), distance.sum(0), torch.full_like(level[0], len(y))])
        mean = sums[0] / sums[2].clamp(min=1)
        self.is_relative.copy_((lowest >= 0) & (mean > 0))
        self.floor.copy_(torch.where(mean > 0, FLOOR * mean, torch.ones_like(mean)))
        distance = sums[1] / sums[2].clamp(min=1)
        self.scale.copy_(torch.where(distance > 0, distance, torch.ones_like(distance)))

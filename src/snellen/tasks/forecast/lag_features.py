"""Lag features of windows of a time series, one row for each step ahead: recent and seasonal values, known inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.core.spec import Spec
from snellen.tasks.forecast.display import future
from snellen.tasks.forecast.level import Level

MAX_LAGS = 28  # last values that are features
MAX_SEASONS = 4  # values at the same place of earlier seasons


class LagFeatures(nn.Module):
    """Features of one of the D series for each of H steps ahead, relative to its level and in its unit (see `Level`).

    With m the season and t the last step of the window, the features of the
    step t + h are: h; the last values x(t), x(t − 1) …; x(t + h − m j) of up to four earlier seasons and their mean;
    the change of the level over a season; the values of inputs known in advance at t + h, and of those that are no
    calendar feature m ⌈h / m⌉ steps before; the last values and the means of the last season of all other inputs.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        target, window = future(spec), spec.input.shape[0] or 1
        self.steps, self.targets, self.window = target.steps, len(target.names), window
        self.season = min(target.season or 1, window)
        self.level = Level(spec)
        self.lags = min(window, MAX_LAGS)
        self.seasons = min(MAX_SEASONS, window // self.season) if self.season > 1 else 0
        self.known = target.known
        calendar = len(target.time_steps.calendar) if target.time_steps is not None else 0
        self.events = self.known - calendar  # known in advance, no calendar feature
        self.others = len(target.input_names) - self.targets - self.known
        ahead = range(1, self.steps + 1)
        before = [h - self.season * -(-h // self.season) for h in ahead]  # of the last season, at most 0
        self.places = [[window - 1 + b - self.season * j for j in range(self.seasons)] for b in before]  # (H, J)
        self.ahead = [window - 1 - self.steps + h for h in ahead]  # of t + h, in inputs that are read H steps early
        self.earlier = [window - 1 - self.steps + b for b in before]

    @property
    def count(self) -> int:
        """Number of features of a row."""
        own = 1 + self.lags + (self.seasons + 1 if self.seasons else 0) + 2
        return own + self.known + self.events + 2 * self.others

    def forward(self, x: Tensor, target: int) -> Tensor:
        """(B, T, D') inputs to the (B, H, F) float64 features of a target; NaN where a value is before the window."""
        level, unit = (values[:, target : target + 1] for values in self.level(x))
        x, span = x.double(), self.level.steps
        own = (x[..., target] - level) / unit  # (B, T)
        batch, steps = len(x), self.steps

        def each_step(values: Tensor) -> Tensor:
            """(B, K) to (B, H, K)."""
            return values[:, None].expand(-1, steps, -1)

        ahead = torch.arange(1, steps + 1, dtype=x.dtype, device=x.device)
        parts = [ahead[None, :, None].expand(batch, -1, -1), each_step(own[:, -self.lags :])]
        if self.seasons:
            aligned = own[:, self.places]
            parts += [aligned, aligned.mean(2, keepdim=True)]
        earlier = own[:, : self.window - span] if self.window > span else own
        parts += [each_step(torch.stack([earlier[:, -span:].mean(1), own.mean(1)], 1))]
        if self.known:
            known = x[..., x.shape[2] - self.known :]
            parts.append(known[:, self.ahead])
            if self.events:
                before = known[:, [max(row, 0) for row in self.earlier], : self.events]
                is_read = torch.tensor([row >= 0 for row in self.earlier], device=x.device)
                parts.append(torch.where(is_read[None, :, None], before, torch.nan))
        if self.others:
            rest = x[..., self.targets : self.targets + self.others]
            parts.append(each_step(torch.cat([rest[:, -1], rest[:, -span:].mean(1)], 1)))
        return torch.cat(parts, 2)

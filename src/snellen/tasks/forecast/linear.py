"""Linear autoregression: the model and its least-squares fit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks.forecast.display import future
from snellen.tasks.forecast.level import Level


class LinearAutoregression(nn.Module):
    """Direct autoregression x(t + h) = x(t) + Σ w_hk (x(t − k) − x(t)) + Σ v_hj u_j, of each feature, step by step.

    u are a constant and the other inputs, if there are any, in the unit of the level (see `Level`): the last values of
    those that are not forecast, the values at t + h of those known in advance, and of these, where they are no calendar
    features, those at t and one season before t + h.

    w: (D, K, H) float64, of the K steps before the last. v: (D, H, J) float64.
    """

    optional_tensors = ("v",)
    w: Tensor
    v: Tensor

    def __init__(self, spec: Spec, order: int) -> None:
        super().__init__()
        target, self.order = future(spec), order
        features, self.steps, window = len(target.names), target.steps, spec.input.shape[0] or 1
        self.others = len(target.input_names) - features - target.known
        self.known = target.known
        self.events = target.known - (len(target.time_steps.calendar) if target.time_steps is not None else 0)
        self.ahead = [
            window - self.steps + h for h in range(self.steps)
        ]  # row of t + h, as they are read H steps early
        now = [window - 1 - self.steps] * self.steps
        earlier = [row - (target.season or self.steps) for row in self.ahead]
        self.before = [rows for rows in (now, earlier) if min(rows) >= 0] if self.events else []
        count = self.others + self.known + len(self.before) * self.events
        self.level = Level(spec)
        self.register_buffer("w", torch.zeros(features, order - 1, self.steps, dtype=torch.float64))
        self.register_buffer("v", torch.zeros(features, self.steps, count + 1 if count else 0, dtype=torch.float64))

    def changes(self, x: Tensor) -> Tensor:
        """(B, T, D') inputs to the (B, K, D) changes of the past from the last step."""
        own = x[:, -self.order :, : self.w.shape[0]].double()
        return own[:, :-1] - own[:, -1:]

    def inputs(self, x: Tensor) -> Tensor:
        """(B, T, D') inputs to (B, H, J), u for each step ahead."""
        last = x.shape[2] - self.known
        one = torch.ones_like(x[:, :1, :1]).double().expand(-1, self.steps, -1)
        others = x[:, -1:, last - self.others : last].double().expand(-1, self.steps, -1)
        if not self.known:  # the window may then be shorter than the horizon
            return torch.cat([one, others], 2)
        known = x[..., last:].double()
        earlier = [known[:, rows, : self.events] for rows in self.before]
        return torch.cat([one, others, known[:, self.ahead], *earlier], 2)

    def forecast(self, x: Tensor) -> Tensor:
        y: Tensor = x[:, -1:, : self.w.shape[0]].double() + torch.einsum("bkd,dkh->bhd", self.changes(x), self.w)
        if self.v.shape[2]:
            y = y + torch.einsum("bhj,dhj->bhd", self.inputs(x), self.v) * self.level(x)[1][:, None]
        return y


def least_squares(model: LinearAutoregression, data: Dataset[Labelled], rcond: float = 1e-6) -> None:
    """Least squares of minimum norm for each feature, by the QR decomposition of the samples read so far."""
    if model.v.shape[2]:
        _fit_with_inputs(model, data, rcond)
    else:
        _fit_past(model, data, rcond)


def _fit_past(model: LinearAutoregression, data: Dataset[Labelled], rcond: float) -> None:
    features, past, steps = model.w.shape
    triangle = torch.zeros(features, 0, past + steps, dtype=torch.float64)
    for batch in data.samples("train").in_order(max(1024, 4 * (past + steps))):
        last = batch.x[:, -1:, :features].double()
        rows = torch.cat([model.changes(batch.x), batch.y.double() - last], 1).permute(2, 0, 1)  # (D, B, K + H)
        triangle = torch.linalg.qr(torch.cat([triangle, rows], 1), mode="r").R
    for feature in range(features):
        inputs, outputs = triangle[feature, :, :past], triangle[feature, :, past:]
        model.w[feature] = torch.linalg.lstsq(inputs, outputs, rcond=rcond, driver="gelsd").solution


def _fit_with_inputs(model: LinearAutoregression, data: Dataset[Labelled], rcond: float) -> None:
    """One regression for each feature and step ahead, of columns in units of their root mean square."""
    features, past, steps = model.w.shape
    width = past + model.v.shape[2]
    triangle = torch.zeros(features, steps, 0, width + 1, dtype=torch.float64)
    model.level.fit(data.samples("train"))
    for batch in data.samples("train").in_order(max(256, 4 * width)):
        count = len(batch.x)
        unit = model.level(batch.x)[1]  # (B, D)
        own = (
            (model.changes(batch.x) / unit[:, None]).permute(2, 0, 1)[:, None].expand(-1, steps, -1, -1)
        )  # (D, H, B, K)
        inputs = model.inputs(batch.x).transpose(0, 1)[None].expand(features, -1, -1, -1)
        change = (batch.y.double() - batch.x[:, -1:, :features].double()) / unit[:, None]
        output = change.permute(2, 1, 0)[..., None]
        rows = torch.cat([own, inputs, output], 3).reshape(features, steps, count, width + 1)
        triangle = torch.linalg.qr(torch.cat([triangle, rows], 2), mode="r").R
    size = torch.linalg.vector_norm(triangle[..., :width], dim=2)  # (D, H, width)
    size = torch.where(size > 0, size, torch.ones_like(size))
    for feature in range(features):
        for h in range(steps):
            inputs, output = triangle[feature, h, :, :width] / size[feature, h], triangle[feature, h, :, width:]
            solution = torch.linalg.lstsq(inputs, output, rcond=rcond, driver="gelsd").solution[:, 0]
            solution = solution / size[feature, h]
            model.w[feature, :, h], model.v[feature, h] = solution[:past], solution[past:]

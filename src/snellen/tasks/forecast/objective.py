"""Forecasting network and objective: changes since the last step, in units of the typical change of each feature."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from snellen.core.errors import UsageError
from snellen.core.run import Run
from snellen.core.settings import Suggestion, settings
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled, Samples
from snellen.metrics.motion import mean_joint_distance
from snellen.metrics.prediction_intervals import pinball_loss, tails
from snellen.nn.network import Network
from snellen.tasks.forecast import poses
from snellen.tasks.forecast.display import future
from snellen.tasks.forecast.intervals import IntervalSettings
from snellen.tasks.forecast.linear import LinearAutoregression, least_squares
from snellen.tasks.forecast.mirror import check_mirror, suggest_mirror
from snellen.tasks.forecast.step_errors import headline_errors
from snellen.tasks.forecast.vector import VectorAutoregression, fit_vector


@settings
class ForecastSettings(IntervalSettings):
    """Levels of the prediction intervals, reference of the inputs, the forecast that the network corrects, the loss."""

    reference: Literal["last-value", "none"] = "last-value"
    """Inputs of the network: last-value, changes since the last step of the window, so that a constant added to a
    feature is added to its forecast; none, the values, standardised by feature."""
    base: Literal["last-value", "linear-autoregression", "vector-autoregression"] = "last-value"
    """Forecast to which the network adds a correction: last-value; linear-autoregression, or vector-autoregression,
    fitted before training. The correction of these two is zero at the start."""
    mirror: bool = False
    """Motion: train on each recording a second time, reflected left to right."""
    loss: Literal["absolute", "squared", "huber", "positions", "quantile"] = "absolute"
    """Loss of an error e in units of the typical change of the feature over the horizon: absolute, |e|; squared, e²;
    huber, quadratic below |e| = 1 and linear above; positions, of motion: the mean distance
    of the joints after the roots are moved together, plus that of the root, as a fraction of those of `base`;
    quantile, the pinball loss of the median, which is the forecast,
    and of the ends of the intervals, which the network forecasts too."""


def levels_of_network(c: ForecastSettings) -> tuple[float, ...]:
    """Ascending levels of the intervals whose ends a network forecasts; () where it forecasts no quantiles."""
    return tuple(sorted(c.levels)) if c.loss == "quantile" else ()


def numbers_per_output(c: ForecastSettings) -> int:
    """Numbers that a network returns for each step and feature: the forecast, and two ends of each interval."""
    return 1 + 2 * len(levels_of_network(c))


class ForecastNetwork(nn.Module):
    """Forecast b + s f(...): a simple forecast b, the last step x, plus the output of a network in units s.

    s is, for each feature, the root mean square of x(t + h) − b(t + h) of the training windows. A feature that never
    changes there has s = 0: its forecast is its last value. With an autoregression as b, the output of the network
    is multiplied by a gain that is learned, and zero at the start (a correction of the linear forecast).

    Args:
        network: (B, T, D') to (B, H · D); the first D features of its input are those that are forecast. With levels,
            to (B, (1 + 2 L) · H · D): the forecast, and how far each end lies below or above the one before (see
            `forecast_quantiles`).
        reference, base: see `ForecastSettings`.
        levels: of L intervals whose ends are forecast, ascending, in percent.
    scale: (D,) float64, the root mean square of the changes x(t + h) − x(t), in whose units changes are read.
    correction: (D,) float64, s of an autoregression.
    Source: the subtraction of the last value as in NLinear, Zeng, Chen, Zhang and Xu 2023; a network for what a linear
        forecast leaves: Zhang 2003; the gain: Bachlechner et al. 2021 (ReZero).
    """

    scale: Tensor
    correction: Tensor

    def __init__(
        self,
        network: Network,
        spec: Spec,
        reference: str,
        base: str = "last-value",
        levels: tuple[float, ...] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self.spec = spec
        self.levels = levels
        self.steps = future(spec).steps
        self.is_relative = reference == "last-value"
        network.standardize.is_fixed = self.is_relative  # changes are divided by the scale here
        features, window = len(future(spec).names), spec.input.shape[0] or 1
        self.register_buffer("scale", torch.ones(features, dtype=torch.float64))
        self.linear: LinearAutoregression | VectorAutoregression | None = None
        if base != "last-value" and window > 1:
            self.linear = (
                VectorAutoregression(spec) if base == "vector-autoregression" else LinearAutoregression(spec, window)
            )
            self.register_buffer("correction", torch.ones(features, dtype=torch.float64))
            self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D') raw inputs to (B, H · D) changes in units of the scale; more with levels."""
        y: Tensor = self.network(self.network_input(x))
        return y if self.linear is None else self.gain * y

    def simple_forecast(self, x: Tensor) -> Tensor:
        """(B, T, D') raw inputs to the float64 forecast b: (B, 1, D), the same at every step, or (B, H, D)."""
        if self.linear is None:
            return x[:, -1:, : len(self.scale)].double()
        return self.linear.forecast(x)

    @property
    def output_scale(self) -> Tensor:
        """(D,) s."""
        return self.scale if self.linear is None else self.correction

    def network_input(self, x: Tensor) -> Tensor:
        """(B, T, D') raw inputs to the input of the network: changes since the last step, or the same values."""
        if not self.is_relative:
            return x
        own = x[..., : len(self.scale)].double()
        changes, others = (own - own[:, -1:]) * _inverse(self.scale), x[..., len(self.scale) :].double()
        return torch.cat([changes, others], 2) if others.shape[2] else changes.float()

    def changes(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, H, D) float32 differences of the next steps y (B, H, D) from the simple forecast, in its units s."""
        return ((y.double() - self.simple_forecast(x)) * _inverse(self.output_scale)).float()

    def forecast(self, x: Tensor) -> Tensor:
        """(B, T, D') raw inputs to (B, H, D) float64 in the user's units."""
        return self._in_units(x, self(x)[:, : self.steps * len(self.scale)].reshape(x.shape[0], self.steps, -1))

    def forecast_quantiles(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, D') raw inputs to forecasts (B, H, D) and distances of the ends of the intervals below and above it,
        (B, L, H, D), float64 in the user's units.
        """
        median, below, above = self.quantile_changes(x)
        return self._in_units(x, median), below.double() * self.output_scale, above.double() * self.output_scale

    def quantile_changes(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The median change (B, H, D), and distances of the quantiles below and above it, (B, L, H, D), in units of the
        scale. Distances are sums of softplus(...) > 0, so quantiles do not cross.
        """
        count = len(self.levels)
        y = self(x).reshape(x.shape[0], 1 + 2 * count, self.steps, len(self.scale))
        ends = nn.functional.softplus(y[:, 1:])
        return y[:, 0], ends[:, :count].cumsum(1), ends[:, count:].cumsum(1)

    def _in_units(self, x: Tensor, changes: Tensor) -> Tensor:
        y: Tensor = self.simple_forecast(x) + changes.double() * self.output_scale  # (B, H, D)
        return y


def _inverse(scale: Tensor) -> Tensor:
    """1 / scale, 0 where the scale is 0."""
    return torch.where(scale > 0, 1 / scale, torch.zeros_like(scale))


class ForecastObjective:
    """Forecasting objective: errors in units of the typical change of each feature, so that all have equal weight.

    Args:
        run: `run.loss` is the user's loss, if there is one; called with (forecasts, truth) in the user's units,
            (B, H, D) float64.
    """

    def __init__(self, loss_settings: ForecastSettings, run: Run) -> None:
        self.loss_settings = loss_settings
        self.custom_loss = run.loss

    def loss(self, model: ForecastNetwork, batch: Labelled) -> Tensor:
        if self.custom_loss is not None:
            custom: Tensor = self.custom_loss(model.forecast(batch.x), batch.y.double())
            return custom
        truth = model.changes(batch.x, batch.y)
        if self.loss_settings.loss == "positions":
            return self.mean_distance(model, batch)
        if model.levels:
            return mean_pinball_loss(model, batch.x, truth)
        return self.mean_loss(model, model(batch.x).reshape(truth.shape) - truth)

    def mean_distance(self, model: ForecastNetwork, batch: Labelled) -> Tensor:
        """MPJPE plus the mean distance of the root, divided by the same of the simple forecast of the batch."""
        skeleton = future(model.spec).skeleton
        assert skeleton is not None  # check_forecast
        truth = poses.positions(batch.y.float(), skeleton)

        def distance(values: Tensor) -> Tensor:
            places = poses.positions(values.float(), skeleton)
            root: Tensor = (places - truth)[..., 0, :].norm(dim=-1)
            return mean_joint_distance(places, truth, aligned=True).mean() + root.mean()

        with torch.no_grad():
            simple = distance(model.simple_forecast(batch.x).expand(batch.y.shape))
        return distance(model.forecast(batch.x)) / simple.clamp(min=torch.finfo(simple.dtype).tiny)

    def mean_loss(self, model: ForecastNetwork, error: Tensor) -> Tensor:
        """The mean loss of errors (B, T, D) in units of the scale, over the features that change."""
        varies = (model.output_scale > 0).float()  # (D,)
        error = error * varies
        size = error.abs()
        if self.loss_settings.loss == "squared":
            size = error.square()
        elif self.loss_settings.loss == "huber":
            size = torch.where(size < 1, error.square() / 2, size - 0.5)
        mean: Tensor = size.mean() * (len(varies) / varies.sum().clamp(min=1))
        return mean

    def score(self, model: ForecastNetwork, samples: Samples) -> float:
        """Validation score: minus the headline metric."""
        total = torch.zeros((), dtype=torch.float64)
        for batch in samples.in_order():
            total += headline_errors(model.forecast(batch.x), batch.y.double(), model.spec).mean(1).sum().cpu()
        return -float(total) / len(samples)

    def weights(self, samples: Samples) -> Tensor | None:
        return None


def mean_pinball_loss(model: ForecastNetwork, x: Tensor, truth: Tensor) -> Tensor:
    """Twice the mean pinball loss of the median and of the ends of all intervals, over the features that change.

    Args:
        x: (B, T, D') raw inputs. truth: (B, H, D) changes in units of the scale.
    """
    median, below, above = model.quantile_changes(x)
    error = truth - median
    losses = [pinball_loss(error, 0.5)]
    for k, level in enumerate(model.levels):
        low, high = tails(level)
        losses += [pinball_loss(error + below[:, k], low), pinball_loss(error - above[:, k], high)]
    varies = (model.output_scale > 0).float()  # (D,)
    mean: Tensor = 2 * (torch.stack(losses) * varies).mean() * (len(varies) / varies.sum().clamp(min=1))
    return mean


def check_forecast(c: ForecastSettings, spec: Spec) -> None:
    """Raise UsageError for settings that do not suit the data."""
    check_mirror(c.mirror, spec)
    skeleton = future(spec).skeleton
    if c.loss == "positions" and (skeleton is None or not skeleton.has_positions):
        raise UsageError("--loss positions needs motion whose bones are known", "Omit it, or give --skeleton.")


def output_count(spec: Spec) -> int:
    """Number of outputs of a network: H · D."""
    return future(spec).steps * len(future(spec).names)


def suggest_base(spec: Spec) -> dict[str, Suggestion]:
    """Motion is smooth: vector autoregression is near, and a network corrects it."""
    if future(spec).skeleton is None:
        return {}
    reason = "motion is smooth: a network corrects the linear forecast"
    return {"base": Suggestion(value="vector-autoregression", reason=reason), **suggest_mirror(spec)}


def fit_scale(model: ForecastNetwork, data: Dataset[Labelled]) -> None:
    """Compute the typical change of each feature that is forecast, and the statistics of all others, of the training
    windows.
    """
    features, standardize = len(model.scale), model.network.standardize
    total, count = torch.zeros(features, dtype=torch.float64), 0
    others = torch.zeros(3, len(standardize.mean) - features, dtype=torch.float64)  # number, sum, sum of squares
    for batch in data.samples("train").in_order(4096):
        total += (batch.y.double() - batch.x[:, -1:, :features].double()).square().sum((0, 1))
        count += batch.y.shape[0] * batch.y.shape[1]
        x = batch.x[..., features:].double().flatten(0, 1)
        others += torch.stack([torch.full_like(x[0], len(x)), x.sum(0), x.square().sum(0)])
    model.scale.copy_((total / max(count, 1)).sqrt())
    if model.is_relative and others.shape[1]:
        mean = others[1] / others[0]
        std = (others[2] / others[0] - mean.square()).clamp(min=0).sqrt()
        zeros = torch.zeros(features, dtype=torch.float64)
        standardize.set_statistics(torch.cat([zeros, mean]), torch.cat([zeros, std]))
    if model.linear is not None:
        if isinstance(model.linear, VectorAutoregression):
            fit_vector(model.linear, data)
        else:
            least_squares(model.linear, data)
        left = torch.zeros(features, dtype=torch.float64)
        for batch in data.samples("train").in_order(4096):
            left += (batch.y.double() - model.linear.forecast(batch.x)).square().sum((0, 1))
        rounding = 1e-9 * model.scale  # below, linear autoregression is exact
        correction = (left / max(count, 1)).sqrt()
        model.correction.copy_(torch.where(correction > rounding, correction, torch.zeros_like(correction)))

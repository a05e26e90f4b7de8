"""Report views of forecasts of motion: errors by horizon beside simple forecasts, skeletons, errors by joint."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from snellen.core.spec import Skeleton, Spec
from snellen.core.task import Predictions
from snellen.core.views import Motion, Plot, Series, Table, Track, View
from snellen.data.dataset import Dataset, Labelled
from snellen.geometry.kinematics import bones
from snellen.metrics import forecasting
from snellen.tasks.forecast import poses
from snellen.tasks.forecast.display import future
from snellen.tasks.forecast.linear import LinearAutoregression, least_squares
from snellen.tasks.forecast.step_errors import ABSOLUTE, headline, headline_errors, horizons, step_errors

MAX_JOINTS = 12  # of the table of errors by joint
MAX_VALUES = 1 << 25  # of the training windows to which a report fits linear autoregression
_SECONDS = {"ms": 0.001, "s": 1.0}


def motion_views(predictions: Predictions, data: Dataset[Labelled], spec: Spec, skeleton: Skeleton) -> list[View]:
    """Errors by horizon as plots and a table, the windows of median and of largest error, errors by joint."""
    forecasts = {"model": predictions["said"], **reference_forecasts(predictions, data, spec)}
    truth = predictions["truth"]
    errors = {name: step_errors(forecast, truth, spec) for name, forecast in forecasts.items()}
    by_name = {kind: {name: e[kind].values for name, e in errors.items()} for kind in errors["model"]}
    units = {kind: e.unit for kind, e in errors["model"].items()}
    own = headline_errors(predictions["said"], truth, spec).mean(1)
    order = torch.argsort(own, stable=True)
    result: list[View] = []
    if skeleton.has_positions:
        result += [
            _motion(predictions, data, int(order[len(order) // 2]), spec, skeleton, "Window of median error", own),
            _motion(predictions, data, int(order[-1]), spec, skeleton, "Window of the largest error", own),
        ]
    result += [_plot(kind, by_name[kind], units[kind], spec) for kind in by_name if kind != ABSOLUTE]
    result += [
        _table(kind, by_name[kind], units[kind], spec) for kind in by_name if kind != ABSOLUTE and horizons(spec)
    ]
    return [*result, _by_joint(predictions, spec, skeleton)] if skeleton.has_positions else result


def reference_forecasts(predictions: Predictions, data: Dataset[Labelled], spec: Spec) -> dict[str, Tensor]:
    """(N, H, D) simple forecasts by name; linear autoregression is fitted to the training split if that is small."""
    recent, steps = predictions["recent"], predictions["truth"].shape[1]
    forecasts = {"last value": forecasting.last_value(recent, steps)}
    if recent.shape[1] < 2:
        return forecasts
    forecasts["constant velocity"] = forecasting.constant_velocity(recent, steps)
    window, features = spec.input.shape[0] or 1, len(future(spec).names)
    if 0 < len(data.splits.get("train", ())) * (window + steps) * features <= MAX_VALUES:
        model = LinearAutoregression(spec, window)
        least_squares(model, data)
        ids = predictions["ids"].split(1024)  # type: ignore[no-untyped-call]
        parts = [model.forecast(data.source.read(part.numpy(), data.preprocessing)) for part in ids]
        forecasts["linear autoregression"] = torch.cat(parts)
    return forecasts


def _unit(unit: str) -> str:
    return f" [{unit}]" if unit else ""


def _plot(kind: str, errors: Mapping[str, Tensor], unit: str, spec: Spec) -> Plot:
    target = future(spec)
    step, axis = (target.duration, f"ahead [{target.duration_unit}]") if target.duration else (1.0, "steps ahead")
    x = [step * h for h in range(1, target.steps + 1)]
    return Plot(
        title=f"{kind} against horizon",
        x=axis,
        y=f"{kind}{_unit(unit)}",
        series=[Series(name=name, x=x, y=values.mean(0).tolist()) for name, values in errors.items()],
        caption=_CAPTIONS.get(kind, ""),
    )


_CAPTIONS = {
    "MPJPE": "The mean distance of the joints from their true positions, both skeletons moved so that their roots "
    "coincide.",
    "MPJPE in the room": "The mean distance of the joints from their true positions, with the way of the root.",
    "Euler-angle error": "The L2 norm of the differences of all angles (ZYX) of the joints but the root that change in "
    "the window.",
}


def _table(kind: str, errors: Mapping[str, Tensor], unit: str, spec: Spec) -> Table:
    steps = horizons(spec)
    return Table(
        title=f"{kind} by horizon",
        columns=[f"{kind}{_unit(unit)}", *steps],
        rows=[[name, *(f"{float(e[:, h].mean()):.4g}" for h in steps.values())] for name, e in errors.items()],
        caption=f"Means over {len(errors['model']):,} windows. Intervals of the model are in the table of metrics.",
    )


def _motion(
    predictions: Predictions,
    data: Dataset[Labelled],
    row: int,
    spec: Spec,
    skeleton: Skeleton,
    title: str,
    errors: Tensor,
) -> Motion:
    """The truth of a window and its future, and the forecast from the last step of the window on."""
    id = int(predictions["ids"][row])
    past = data.source.read(np.array([id]), data.preprocessing)[0, :, : len(future(spec).names)].double()
    whole = torch.cat([past, predictions["truth"][row]])
    ahead = torch.cat([past[-1:], predictions["said"][row]])
    present = len(past) - 1
    both = poses.upright(poses.positions(torch.cat([whole, ahead]), skeleton), skeleton, present, len(whole))
    target, unit = future(spec), skeleton.unit
    known = target.duration is not None and target.duration_unit in _SECONDS
    return Motion(
        title=title,
        tracks=[
            Track(name="truth", positions=both[: len(whole)]),
            Track(name="forecast", positions=both[len(whole) :], start=present),
        ],
        bones=bones(skeleton.parents),
        frame_seconds=(target.duration or 0) * _SECONDS[target.duration_unit] if known else None,
        present=present,
        caption=f"{data.name(id)}: {headline(spec)} {float(errors[row]):.4g} {unit}".rstrip() + ".",
    )


def joint_distances(forecast: Tensor, truth: Tensor, skeleton: Skeleton) -> Tensor:
    """(..., J) distances of the joints of (..., D) poses from their true positions, the roots moved together."""
    positions, true = poses.positions(forecast, skeleton), poses.positions(truth, skeleton)
    difference = positions - positions[..., :1, :] - true + true[..., :1, :]
    distances: Tensor = torch.linalg.vector_norm(difference, dim=-1)
    return distances


def _by_joint(predictions: Predictions, spec: Spec, skeleton: Skeleton) -> Table:
    """Mean distances at the last step, of the roots moved together."""
    last = forecasting.last_value(predictions["recent"], predictions["truth"].shape[1])
    columns = []
    for forecast in (predictions["said"], last):
        columns.append(joint_distances(forecast[:, -1], predictions["truth"][:, -1], skeleton).mean(0))
    own, reference = columns
    order = [j for j in torch.argsort(own, descending=True, stable=True).tolist() if float(reference[j]) > 0]
    unit = _unit(skeleton.unit)
    return Table(
        title="Errors by joint",
        columns=["joint", f"distance at the last step{unit}", f"of the last value{unit}"],
        rows=[[skeleton.joints[j], f"{float(own[j]):.4g}", f"{float(reference[j]):.4g}"] for j in order[:MAX_JOINTS]],
        caption="Mean distances from the true positions, the roots moved together; the largest first.",
    )

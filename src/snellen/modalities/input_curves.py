"""Curves of a model over its only input: a fitted function with its data and breakpoints, or class probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from snellen.core.views import Plot, Series
from snellen.geometry.linear_regions import breakpoints, max_pieces
from snellen.modalities.input_space import LINE_POINTS, SPLIT_NAMES, Function, InputSpace
from snellen.nn.piecewise_linear import LinearLayers

MAX_BREAKPOINTS = 100  # drawn
MAX_CLASSES = 6  # curves
MAX_UNITS = 1024  # hidden units of a network whose breakpoints are enumerated
ROW = 0.06  # distance between the rows of samples below a plot of probabilities


def fitted_curve(
    space: InputSpace,
    title: str,
    name: str,
    values_of: Function,
    truth: Sequence[Tensor],
    layers: LinearLayers | None,
) -> Plot:
    """The fitted function of one input with its samples; of a ReLU network with its breakpoints.

    Args:
        name: of the number, with its unit.
        values_of: raw inputs to (B, 1) numbers.
        truth: (N,) numbers of each of `space.shown`.
        layers: of a piecewise linear model with this output alone.
    """
    axis = space.axes[0]
    x = axis.points(LINE_POINTS)
    bends, sentence = _breakpoints(space, layers)
    inside = bends[axis.contains(bends)]
    points = np.union1d(x, inside) if len(inside) <= MAX_BREAKPOINTS else x  # the line bends at its breakpoints
    y = space.outputs(values_of, space.as_inputs(points[:, None]))[:, 0]
    series = [
        Series(
            name=f"{SPLIT_NAMES[samples.split]} samples",
            x=samples.coordinates[:, 0].tolist(),
            y=numbers.double().tolist(),
            style="points",
            colour_index=(0, 2)[k],
        )
        for k, (samples, numbers) in enumerate(zip(space.shown, truth, strict=True))
    ]
    series.append(Series(name="model", x=points.tolist(), y=_numbers(y), colour_index=1))
    if 0 < len(inside) <= MAX_BREAKPOINTS:
        heights = space.outputs(values_of, space.as_inputs(inside[:, None]))[:, 0]
        series.append(
            Series(name="breakpoints", x=inside.tolist(), y=_numbers(heights), style="points", colour_index=3)
        )
    return Plot(
        title=title,
        x=axis.name,
        y=name,
        series=series,
        log_x=axis.log,
        caption=" ".join(part for part in (sentence, space.note()) if part),
    )


def class_curves(
    space: InputSpace,
    title: str,
    names: Sequence[str],
    scores: Function,
    truth: Sequence[Tensor],
    layers: LinearLayers | None,
    probabilistic: bool,
) -> Plot:
    """The probability of each class over one input; without probabilities 1 where a class is predicted, else 0.

    Args:
        scores: raw inputs to (B, K) scores. truth: (N,) int64 class of each of `space.shown`.
    """
    axis = space.axes[0]
    x = axis.points(LINE_POINTS)
    values = torch.from_numpy(space.outputs(scores, space.as_inputs(x[:, None])))
    if not probabilistic:
        values = torch.nn.functional.one_hot(values.nan_to_num().argmax(1), len(names)).double()
    heights = (values.softmax(1) if probabilistic else values).numpy()
    shown = range(min(len(names), MAX_CLASSES))
    series = [Series(name=names[k], x=x.tolist(), y=_numbers(heights[:, k]), colour_index=k) for k in shown]
    for k in shown:
        of_class = [
            samples.coordinates[:, 0][classes.cpu().numpy() == k]
            for samples, classes in zip(space.shown[:1], truth, strict=False)
        ]
        below = np.concatenate(of_class)
        series.append(
            Series(
                name=f"training samples of {names[k]}",
                x=below.tolist(),
                y=[-ROW * (k + 1)] * len(below),
                style="points",
                colour_index=k,
            )
        )
    _, sentence = _breakpoints(space, layers)
    more = f"The first {MAX_CLASSES} of {len(names)} classes." if len(names) > MAX_CLASSES else ""
    parts = ("Points below zero are training samples, one row for each class.", more, sentence, space.note())
    return Plot(
        title=title,
        x=axis.name,
        y="probability" if probabilistic else "predicted (1) or not (0)",
        series=series,
        log_x=axis.log,
        caption=" ".join(part for part in parts if part),
    )


def _breakpoints(space: InputSpace, layers: LinearLayers | None) -> tuple[np.ndarray, str]:
    """The breakpoints of a ReLU network, and a sentence with their number and its bound."""
    if layers is None or layers.is_linear:
        return np.zeros(0), ""
    widths = [len(weight) for weight in layers.weights[:-1]]
    if sum(widths) > MAX_UNITS:
        return np.zeros(0), f"Breakpoints are enumerated for at most {MAX_UNITS} hidden units."
    bends = breakpoints([w.numpy() for w in layers.weights], [b.numpy() for b in layers.biases], layers.slope)
    inside = int(space.axes[0].contains(bends).sum())
    bound = max_pieces(widths)
    text = f"{bound:,}" if bound < 10**15 else f"{bound:.2e}"
    return bends, (
        f"The network has {len(bends):,} breakpoints ({inside:,} on this axis), so {len(bends) + 1:,} linear pieces; "
        f"hidden layers of {', '.join(map(str, widths))} units have at most ∏(W + 1) = {text}."
    )


def _numbers(values: np.ndarray) -> list[float | None]:
    """NaN as None."""
    return [None if np.isnan(v) else float(v) for v in values]

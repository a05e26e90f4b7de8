"""Decision maps: classes or fitted surfaces of any model over two inputs, with samples, boundaries and unit lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from snellen.core.views import DecisionMap, MapLines, MapPoints
from snellen.geometry.contours import contour_lines
from snellen.geometry.hyperplane import boundary_distance, class_boundaries, project
from snellen.geometry.linear_regions import MAX_REGIONS, linear_regions
from snellen.modalities.input_space import SPLIT_NAMES, Function, InputSpace
from snellen.nn.piecewise_linear import LinearLayers

Path = list[tuple[float, float]]

MAX_UNITS = 512  # hidden units of a network whose regions are counted
MAX_SEGMENTS = 1500  # of unit lines in a drawing
MAX_ASPECT = 3.0  # of the ranges of two axes with one scale, where perpendiculars are drawn
FILLING = (0.6, 1.1)  # range of y by that of x, between which a map with one scale is as wide as the page allows
NUM_LEVELS = 8  # about, of a surface
NUM_PERPENDICULARS = 6  # points whose distance is drawn


def class_map(
    space: InputSpace,
    title: str,
    names: Sequence[str],
    scores: Function,
    truth: Sequence[Tensor],
    layers: LinearLayers | None,
    probabilistic: bool,
) -> DecisionMap:
    """Map of the classes of a model over two inputs.

    Args:
        names: of the K classes.
        scores: raw inputs to (B, K) scores; the class with the highest is predicted.
        truth: (N,) int64 class of each of `space.shown`.
        layers: of a linear or piecewise linear model of these scores.
        probabilistic: whether the scores are log-probabilities up to a constant.
    """
    values, side = space.grid_outputs(scores)
    is_valid = ~np.isnan(values).any(2)
    predicted = np.where(is_valid, np.nan_to_num(values).argmax(2), -1)
    strength = None
    if probabilistic:
        highest = torch.from_numpy(np.nan_to_num(values)).softmax(2).amax(2)
        strength = ((highest - 1 / len(names)) / (1 - 1 / len(names)) if len(names) > 1 else highest).float()
    points: list[MapPoints] = []
    wrong, total = 0, 0
    for samples, classes in zip(space.shown, truth, strict=True):
        highest_class = np.nan_to_num(space.outputs(scores, samples.x), nan=-np.inf).argmax(1)
        is_wrong = highest_class != classes.cpu().numpy()
        wrong, total = wrong + int(is_wrong.sum()), total + len(is_wrong)
        points.append(_points(space, len(points), classes=classes.tolist(), wrong=is_wrong.tolist()))
    linear = layers is not None and layers.is_linear and not _has_log(space)
    boundary = _linear_boundary(space, layers) if linear and layers else _class_contours(space, values, side)
    lines = [MapLines(name="decision boundary", kind="boundary", paths=boundary)]
    parts = [f"{wrong:,} of {total:,} drawn samples are misclassified."]
    perpendiculars = _perpendiculars(space, layers) if linear and layers else []
    equal = _is_equal(space, bool(perpendiculars))
    if perpendiculars:
        lines.append(MapLines(name="distance from the boundary", kind="distance", paths=perpendiculars))
        if not equal:
            parts.append("The axes have different scales, so a perpendicular does not look perpendicular.")
    unit_lines, sentence = _unit_lines(space, layers)
    note = "" if side == 161 else f"Predicted at {side} × {side} points."
    return _map(
        space,
        title=title,
        values=torch.from_numpy(predicted),
        strength=strength,
        classes=tuple(names),
        points=points,
        lines=[*unit_lines, *lines],
        equal=equal,
        caption=_sentences(
            *parts, "Colours are stronger where the predicted probability is higher." * probabilistic, sentence, note
        ),
        note=space.note(),
    )


def surface_map(
    space: InputSpace,
    title: str,
    name: str,
    values_of: Function,
    truth: Sequence[Tensor],
    layers: LinearLayers | None,
) -> DecisionMap:
    """Map of a number over two inputs: colours, contour lines, samples in the colour of their true number.

    Args:
        name: of the number, with its unit.
        values_of: raw inputs to (B, 1) numbers.
        truth: (N,) numbers of each of `space.shown`.
        layers: of a linear or piecewise linear model.
    """
    grid, side = space.grid_outputs(values_of)
    values = grid[..., 0]
    levels, is_skewed = surface_levels(values)
    x, y = (axis.points(side) for axis in space.axes)
    paths = [_path(line) for level in levels[1:-1] for line in contour_lines(values, level, x, y)]
    unit_lines, sentence = _unit_lines(space, layers)
    return _map(
        space,
        title=title,
        values=torch.from_numpy(values),
        levels=levels,
        value_name=name,
        points=[_points(space, k, values=numbers.double().tolist()) for k, numbers in enumerate(truth)],
        lines=[*unit_lines, MapLines(name="contour line of the model", kind="boundary", paths=paths)],
        equal=_is_equal(space, False),
        caption=_sentences(
            "Samples have the colour of their true number: one that is hard to see is predicted well.",
            "The levels of the colour bar divide the map into equal areas." * is_skewed,
            sentence,
            "" if side == 161 else f"Predicted at {side} × {side} points.",
        ),
        note=space.note(),
    )


def surface_levels(values: np.ndarray) -> tuple[list[float], bool]:
    """Ascending levels from the smallest to the largest value, and whether they are quantiles, as of a skewed surface.

    Args:
        values: of the surface; NaN is left out.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return [0.0], False
    low, high = float(finite.min()), float(finite.max())
    if not high - low > 1e-9 * max(abs(low), abs(high)):
        return [low], False
    middle = (float(np.median(finite)) - low) / (high - low)
    if 0.15 <= middle <= 0.85:
        step = 10.0 ** np.floor(np.log10((high - low) / NUM_LEVELS))
        step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (factor * step) <= NUM_LEVELS + 1)
        return [float(k * step) for k in range(int(np.floor(low / step)), int(np.ceil(high / step)) + 1)], False
    inner = [float(f"{v:.2g}") for v in np.quantile(finite, np.linspace(0, 1, NUM_LEVELS + 1)[1:-1])]
    return sorted({low, *(v for v in inner if low < v < high), high}), True


def unit_line_count(layers: LinearLayers) -> int:
    """Number of hidden units."""
    return sum(len(weight) for weight in layers.weights[:-1])


def _unit_lines(space: InputSpace, layers: LinearLayers | None) -> tuple[list[MapLines], str]:
    """The line of each hidden unit of a piecewise linear network, and a sentence on its linear regions."""
    if layers is None or layers.is_linear:
        return [], ""
    units = unit_line_count(layers)
    if units > MAX_UNITS:
        return [], f"Linear regions are counted for at most {MAX_UNITS} hidden units; this network has {units:,}."
    regions = linear_regions(
        [w.numpy() for w in layers.weights[:-1]],
        [b.numpy() for b in layers.biases[:-1]],
        [axis.low for axis in space.axes],
        [axis.high for axis in space.axes],
        layers.slope,
    )
    if not regions.complete:
        return [], f"The network has more than {MAX_REGIONS:,} linear regions in this window; they are not drawn."
    count = len(regions.vertices)
    sentence = f"The network has {count:,} linear region{'s' if count != 1 else ''} in this window (exact)."
    result, segments = [], 0
    for depth, (owners, ends) in enumerate(regions.lines):
        paths = _whole_lines(owners, ends) if depth == 0 else [_path(segment) for segment in ends]
        segments += len(paths)
        name = f"line of a unit of hidden layer {depth + 1}"
        if paths:
            result.append(MapLines(name=name, kind="unit", paths=paths))
    if _has_log(space):
        return [], f"{sentence} Its unit lines are curved on logarithmic axes and are not drawn."
    if segments > MAX_SEGMENTS:
        return [], f"{sentence} Its unit lines ({segments:,} segments) are not drawn."
    return result, sentence


def _whole_lines(owners: np.ndarray, ends: np.ndarray) -> list[Path]:
    """One segment for each unit of the first layer, whose pieces lie on one straight line."""
    paths = []
    for unit in np.unique(owners):
        points = ends[owners == unit].reshape(-1, 2)
        direction = points[1] - points[0]
        along = points @ direction
        paths.append(_path(points[[along.argmin(), along.argmax()]]))
    return paths


def _linear_boundary(space: InputSpace, layers: LinearLayers) -> list[Path]:
    corners = [
        torch.tensor([getattr(axis, end) for axis in space.axes], dtype=torch.float64) for end in ("low", "high")
    ]
    return [_path(segment.numpy()) for segment in class_boundaries(layers.weights[0], layers.biases[0], *corners)]


def _class_contours(space: InputSpace, values: np.ndarray, side: int) -> list[Path]:
    """Where the highest and the second highest score are equal."""
    x, y = (axis.points(side) for axis in space.axes)
    count = values.shape[2]
    paths: list[Path] = []
    for k in range(count if count > 2 else count - 1):
        others = np.delete(values, k, axis=2).max(2)
        paths += [_path(line) for line in contour_lines(values[..., k] - others, 0.0, x, y)]
    return paths


def _perpendiculars(space: InputSpace, layers: LinearLayers) -> list[Path]:
    """Segments from a few drawn training samples to the nearest boundary of their class: near ones and far ones."""
    w, b = layers.weights[0], layers.biases[0]
    x = torch.from_numpy(space.shown[0].coordinates)
    predicted, neighbour, distance = boundary_distance(w, b, x)
    has_boundary = torch.isfinite(distance)
    normal, offset = (w - w[:, None])[predicted, neighbour], (b - b[:, None])[predicted, neighbour]
    feet = x.clone()
    for k in torch.nonzero(has_boundary)[:, 0].tolist():
        feet[k] = project(normal[k], offset[k], x[k : k + 1])[0]
    inside = has_boundary.numpy() & np.all(
        [axis.contains(feet[:, k].numpy()) for k, axis in enumerate(space.axes)], axis=0
    )
    rows = np.flatnonzero(inside)
    order = rows[np.argsort(distance.numpy()[rows], kind="stable")]
    if not len(order):
        return []
    chosen = order[np.unique(np.linspace(0, len(order) - 1, NUM_PERPENDICULARS).round().astype(int))]
    return [_path(torch.stack([x[k], feet[k]]).numpy()) for k in chosen]


def _points(
    space: InputSpace, k: int, classes: Sequence[int] = (), wrong: Sequence[bool] = (), values: Sequence[float] = ()
) -> MapPoints:
    samples = space.shown[k]
    coordinates = samples.coordinates
    return MapPoints(
        name=f"{SPLIT_NAMES[samples.split]} sample",
        x=coordinates[:, 0].tolist(),
        y=coordinates[:, 1].tolist(),
        classes=classes,
        wrong=wrong,
        values=values,
        filled=k == 0,
    )


def _path(points: np.ndarray) -> Path:
    return [(float(x), float(y)) for x, y in points]


def _has_log(space: InputSpace) -> bool:
    return any(axis.log for axis in space.axes)


def _is_equal(space: InputSpace, has_perpendiculars: bool) -> bool:
    """Whether both axes have one scale: where right angles are drawn, or where it costs no width."""
    across, up = (axis.high - axis.low for axis in space.axes)
    low, high = (1 / MAX_ASPECT, MAX_ASPECT) if has_perpendiculars else FILLING
    return not _has_log(space) and low <= up / across <= high


def _sentences(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _map(
    space: InputSpace,
    *,
    title: str,
    values: Tensor,
    points: Sequence[MapPoints],
    lines: Sequence[MapLines],
    equal: bool,
    caption: str,
    note: str,
    classes: Sequence[str] = (),
    strength: Tensor | None = None,
    levels: Sequence[float] = (),
    value_name: str = "",
) -> DecisionMap:
    x, y = space.axes
    return DecisionMap(
        title=title,
        x=x.name,
        y=y.name,
        x_range=(x.low, x.high),
        y_range=(y.low, y.high),
        values=values,
        classes=classes,
        strength=strength,
        levels=levels,
        value_name=value_name,
        points=points,
        lines=[line for line in lines if line.paths],
        equal=equal,
        log_x=x.log,
        log_y=y.log,
        caption=_sentences(caption, note),
    )

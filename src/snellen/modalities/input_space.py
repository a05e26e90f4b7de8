"""The space of the inputs of a model with numeric columns: axes of a plot, samples in it, a grid over it."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from snellen.core.random import permutation
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.modalities import modality_of

Function = Callable[[Tensor], Tensor]  # raw inputs (B, D) to outputs (B, K)

MAX_COLUMNS = 20  # of a table of distances
MAX_READ = 20_000  # training samples whose range and distances are computed
MAX_SHOWN = {"train": 400, "val": 200, "test": 200}  # samples drawn
SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}
MARGIN = 0.08  # of the range of the samples, on both sides of it
CENTRAL = 0.98  # fraction of the samples without outliers
OUTLYING = 6.0  # ranges of these samples: a longer axis is cut
MIN_SAMPLES = 20  # from which samples can be outliers
LOG_RATIO = 1000.0  # of largest and smallest value, from which an axis may be logarithmic
SIDES = (161, 121, 81, 61, 41, 25)  # grid points of an axis
GRID_SECONDS = 0.25  # for the predictions of a grid
LINE_POINTS = 401  # of a curve
BATCH = 4096


class InputAxis(NamedTuple):
    """Axis of an input column.

    Args:
        name: of the column, with its unit if the header has one.
        low, high: ends of the axis. log: whether it is logarithmic.
    """

    name: str
    low: float
    high: float
    log: bool = False

    def points(self, count: int) -> np.ndarray:
        """(count,) float64, evenly spaced on the axis, both ends included."""
        return np.geomspace(self.low, self.high, count) if self.log else np.linspace(self.low, self.high, count)

    def contains(self, values: np.ndarray) -> np.ndarray:
        """Whether each value lies on the axis."""
        return (values >= self.low) & (values <= self.high)


@dataclass(frozen=True, kw_only=True)
class SpaceSamples:
    """Samples of a split, those with finite inputs: x (N, D) as the model reads them, y as in `Labelled`, ids (N,)."""

    split: str
    x: Tensor
    y: Tensor
    ids: Tensor
    outside: int = 0  # of the samples, those beyond the axes

    @property
    def coordinates(self) -> np.ndarray:
        """(N, D) float64."""
        values: np.ndarray = self.x.double().cpu().numpy()
        return values


@dataclass(frozen=True, kw_only=True)
class InputSpace:
    """Numeric inputs of a model.

    Args:
        names: of the D columns.
        axes: one for each column where D is 1 or 2, else empty.
        train: training samples, at most MAX_READ.
        shown: a bounded seeded subset of the training samples within the axes, then of the evaluated split.
        missing: training samples without a finite number in some column.
        device, dtype: of the inputs.
    """

    names: tuple[str, ...]
    axes: tuple[InputAxis, ...]
    train: SpaceSamples
    shown: tuple[SpaceSamples, ...]
    missing: int
    device: torch.device
    dtype: torch.dtype

    def grid(self, count: int) -> Tensor:
        """(count ** D, D) inputs at a grid over the axes, the first axis the fastest."""
        columns = np.meshgrid(*(axis.points(count) for axis in self.axes), indexing="xy")
        return self.as_inputs(np.stack([column.reshape(-1) for column in columns], 1))

    def as_inputs(self, points: np.ndarray) -> Tensor:
        """(N, D) float64 in the dtype of the inputs, on the device of the model."""
        x = torch.from_numpy(points)
        if not self.dtype.is_floating_point:
            limits = torch.iinfo(self.dtype)
            x = x.round().clamp(limits.min, limits.max)
        return x.to(self.dtype).to(self.device)

    def outputs(self, function: Function, x: Tensor) -> np.ndarray:
        """(N, K) float64 outputs of a model; not finite ones are NaN."""
        with torch.inference_mode():
            parts = [function(part.to(self.device)).double().cpu() for part in torch.split(x, BATCH)]
        values = torch.cat(parts).numpy()
        return np.where(np.isfinite(values), values, np.nan)

    def grid_outputs(self, function: Function) -> tuple[np.ndarray, int]:
        """(H, W, K) outputs at a grid over the plane, and its points along an axis: fewer for slow models."""
        self.outputs(function, self.grid(2))  # the first call may take longer
        started = time.monotonic()
        self.outputs(function, self.grid(SIDES[-1]))
        seconds = (time.monotonic() - started) / SIDES[-1] ** 2
        side = next((s for s in SIDES if s**2 * seconds <= GRID_SECONDS), SIDES[-1])
        values = self.outputs(function, self.grid(side))
        return values.reshape(side, side, -1), side

    def note(self) -> str:
        """Sentences on samples that are not drawn."""
        parts = []
        for samples in self.shown:
            if samples.outside:
                name, count = SPLIT_NAMES[samples.split], samples.outside
                parts.append(f"{count:,} {name} sample{'s lie' if count > 1 else ' lies'} outside the axes.")
        if self.missing:
            parts.append(f"{self.missing:,} training samples without a finite number in a column are not drawn.")
        return " ".join(parts)


def device_of(model: object) -> torch.device:
    """The device of a model's tensors."""
    if isinstance(model, nn.Module):
        for tensor in itertools.chain(model.parameters(), model.buffers()):
            return tensor.device
    return torch.device("cpu")


def input_space(model: object, data: Dataset[Labelled], spec: Spec, split: str) -> InputSpace | None:
    """The space of numeric inputs with its samples; None where a sample is not a row of at most MAX_COLUMNS numbers.

    Args:
        split: whose samples are drawn beside the training samples: "val" or "test".
    """
    names = modality_of(spec).axis_names(spec.input)
    if not 1 <= len(names) <= MAX_COLUMNS or not len(data.splits["train"]):
        return None
    train, missing = _read(data, "train", MAX_READ)
    if not len(train.ids):
        return None
    axes = tuple(_axis(name, train.coordinates[:, k]) for k, name in enumerate(names)) if len(names) <= 2 else ()
    groups = [train]
    if len(data.splits[split]) and not torch.equal(data.splits[split], data.splits["train"]):
        groups.append(_read(data, split, MAX_READ)[0])
    return InputSpace(
        names=names,
        axes=axes,
        train=train,
        shown=tuple(_subset(samples, axes) for samples in groups),
        missing=missing,
        device=device_of(model),
        dtype=getattr(torch, spec.input.dtype),
    )


def _read(data: Dataset[Labelled], split: str, limit: int) -> tuple[SpaceSamples, int]:
    """At most so many samples of a split, and the number of those without a finite number in a column."""
    samples = data.samples(split)
    positions = torch.sort(permutation(len(samples), 0, "decision map", split)[:limit]).values
    batch = samples.take(positions)
    x = batch.x.flatten(1)
    finite = torch.isfinite(x.double()).all(1)
    return SpaceSamples(split=split, x=x[finite], y=batch.y[finite], ids=batch.ids[finite]), int((~finite).sum())


def _subset(samples: SpaceSamples, axes: Sequence[InputAxis]) -> SpaceSamples:
    """A seeded subset of the samples within the axes."""
    inside = np.ones(len(samples.ids), bool)
    for k, axis in enumerate(axes):
        inside &= axis.contains(samples.coordinates[:, k])
    rows = torch.from_numpy(np.flatnonzero(inside))
    chosen = torch.sort(rows[permutation(len(rows), 0, "subset", samples.split)[: MAX_SHOWN[samples.split]]]).values
    return SpaceSamples(
        split=samples.split,
        x=samples.x[chosen],
        y=samples.y[chosen],
        ids=samples.ids[chosen],
        outside=int((~inside).sum()),
    )


def _axis(name: str, values: np.ndarray) -> InputAxis:
    """The axis of a column: its range with a margin; without outliers; logarithmic where values span decades."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        reach = abs(low) * 0.5 or 1.0
        return InputAxis(name, low - reach, high + reach)
    if low > 0 and high / low >= LOG_RATIO and (float(np.median(values)) - low) < 0.05 * (high - low):
        factor = (high / low) ** MARGIN
        return InputAxis(name, low / factor, high * factor, log=True)
    cut = math.ceil((1 - CENTRAL) / 2 * len(values))
    first, last = (float(v) for v in np.sort(values)[[cut, -1 - cut]]) if len(values) >= MIN_SAMPLES else (low, high)
    if last > first and high - low > OUTLYING * (last - first):
        low, high = max(low, first - (last - first) / 2), min(high, last + (last - first) / 2)
    margin = MARGIN * (high - low)
    low, high = low - margin, high + margin
    return (
        InputAxis(name, low, high)
        if math.isfinite(high - low)
        else InputAxis(name, float(values.min()), float(values.max()))
    )

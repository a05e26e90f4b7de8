"""Stages of `snellen filter`: a filter or a pooling applied to all channels, with the arithmetic of one output."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snellen.core.errors import DataError, UsageError
from snellen.filters.correlation import Array, Filtering, apply_filter, plan_filter, products_at
from snellen.filters.pooling import POOLINGS, Pooled, pool, pool_gradient, window_at
from snellen.filters.windows import Axis

MAX_VALUES = 1 << 27  # of a result: 1 GiB


@dataclass(frozen=True, kw_only=True)
class Term:
    """One value under a window: its position, the value, its weight and their product.

    Args:
        x, y: position in the input; beyond the border it is below 0 or at least the size.
        outside: whether it lies beyond the border.
        source: (x, y) of the pixel that the border rule repeats; None: the value 0, or the position is inside.
        weight, product: of a filter and of mean pooling; of max pooling 1 and the value where it was chosen, else 0.
    """

    x: int
    y: int
    value: float
    weight: float
    product: float
    outside: bool = False
    source: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class FilterStage:
    """A filter or a pooling of an image.

    Args:
        title: what was applied.
        formula: of one output.
        source: (C, H, W) input at its own depth; a signal has H = 1.
        result: (C, rows, columns) float64.
        y, x: windows along the axes.
        kernel: (rows, columns) as given; None: pooling.
        plan: of a filter. pooled: of a pooling; kind: max or mean.
    """

    title: str
    formula: str
    source: NDArray[Any]
    result: Array
    y: Axis
    x: Axis
    kernel: Array | None = None
    plan: Filtering | None = None
    pooled: Pooled | None = None
    kind: str = ""

    def weights(self) -> Array | None:
        """Weights of a window (rows, columns) in the order of its values; None for max pooling, which has none."""
        if self.plan is not None:
            return self.plan.weights
        return None if self.kind == "max" else np.full((self.y.taps, self.x.taps), 1.0 / (self.y.taps * self.x.taps))

    def terms(self, channel: int, x: int, y: int) -> list[Term]:
        """The values under the window of the output at `x`, `y` in row order; their products sum to the output.

        Raises:
            UsageError: if the result has no such pixel.
        """
        image = self.source[channel]
        if self.plan is not None:
            at = products_at(image, self.plan, x, y)
            values, weights, outside = at.values, at.weights, at.outside
        else:
            assert self.pooled is not None
            values, chosen = window_at(image, self.pooled, x, y)
            outside = np.zeros(values.shape, dtype=np.bool_)
            parts = self.weights()
            weights = (np.arange(values.size) == chosen).astype(np.float64).reshape(values.shape)
            weights = weights if parts is None else parts
        rows, columns = self.y.positions(y), self.x.positions(x)
        source_rows, source_columns = self.y.sources(y), self.x.sources(x)
        terms = []
        for i, j in np.ndindex(values.shape):
            source = int(source_columns[j]), int(source_rows[i])
            terms.append(
                Term(
                    x=int(columns[j]),
                    y=int(rows[i]),
                    value=float(values[i, j]),
                    weight=float(weights[i, j]),
                    product=float(values[i, j] * weights[i, j]),
                    outside=bool(outside[i, j]),
                    source=source if outside[i, j] and min(source) >= 0 else None,
                )
            )
        return terms

    def gradient(self) -> Array | None:
        """Of pooling: the gradient (C, H, W) of the sum of all outputs with respect to the input; of a filter None."""
        return None if self.pooled is None else pool_gradient(np.ones(self.result.shape), self.pooled)


def filter_stage(
    source: NDArray[Any], kernel: Array, title: str, *, signal: bool = False, **options: Any
) -> FilterStage:
    """Filter every channel of (C, H, W).

    Args:
        kernel: (rows, columns). signal: H is 1, and padding concerns the x axis only.
        options: of `plan_filter`.
    Raises:
        UsageError, DataError: as `correlate`; UsageError also for a result of more than MAX_VALUES.
    """
    plan = plan_filter(source.shape[2:] if signal else source.shape[1:], kernel[0] if signal else kernel, **options)
    require_memory(len(source) * plan.shape[0] * plan.shape[1])
    result = np.empty((len(source), *plan.shape))
    for image, out in zip(source, result, strict=True):
        apply_filter(image, plan, out)
        if not np.isfinite(out).all():
            raise DataError("A result of the filter exceeds float64", "Give an input or a kernel of smaller numbers.")
    sign = "−" if plan.convolve else "+"
    formula = f"G[x] = Σ_i H[i] F[x {sign} i]"
    if not signal:
        formula = f"G[x, y] = Σ_i Σ_j H[i, j] F[x {sign} i, y {sign} j]"
    return FilterStage(
        title=title, formula=formula, source=source, result=result, y=plan.y, x=plan.x, kernel=kernel, plan=plan
    )  # fmt: skip


def pool_stage(source: NDArray[Any], kind: str, *, signal: bool = False, **options: Any) -> FilterStage:
    """Pool every channel of (C, H, W); `options` are those of `pool`."""
    pooled = pool(source[0, 0] if signal else source, kind, **options)
    if signal:
        argmax = None if pooled.argmax is None else pooled.argmax[None, None]
        pooled = replace(pooled, values=pooled.values[None, None], argmax=argmax)
    size = f"{pooled.x.taps}" if signal else f"{pooled.x.taps} × {pooled.y.taps}"
    return FilterStage(
        title=f"{kind} pooling, {size}, stride {pooled.x.stride}",
        formula=f"G = {POOLINGS[kind].summary}",
        source=source,
        result=pooled.values,
        y=pooled.y,
        x=pooled.x,
        pooled=pooled,
        kind=kind,
    )


def require_memory(values: int) -> None:
    """Raise UsageError for a result of more than MAX_VALUES numbers."""
    if values > MAX_VALUES:
        raise UsageError(
            f"The result has {values:,} values, more than {MAX_VALUES:,}",
            "Filter in grey (--grey), with --stride 2, or crop the image first.",
        )


def sum_of(kernel: Array) -> float:
    """Sum of the elements of a kernel; 0 where it is a rounding error of theirs."""
    total = float(kernel.sum())
    return total if abs(total) > 1e-12 * float(np.abs(kernel).sum()) else 0.0


def format_value(value: float) -> str:
    """Six significant digits, whole numbers in full: the form of every number in the terminal and in the page."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value)).replace("-", "−")
    if not 1e-4 <= abs(value) < 1e6:
        mantissa, _, exponent = f"{value:.5e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}".replace("-", "−")
    return f"{value:.6g}".replace("-", "−")

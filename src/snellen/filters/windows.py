"""Windows of a filter along an axis: borders, padding, stride, dilation, and the input of each output.

An axis of n values, padded by p before and q after, has ⌊(n + p + q − d (k − 1) − 1) / s⌋ + 1 outputs of a kernel of k
elements with stride s and dilation d. A window spans d (k − 1) + 1 values: the receptive field of one output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from snellen.core.errors import UsageError, counted, suggest_name
from snellen.filters.names import BORDER_NAMES

Indices = NDArray[np.int64]

MAX_PADDING = 4096  # values on each side


@dataclass(frozen=True, kw_only=True)
class Border:
    """Rule for values beyond the border. `index` maps positions and n to positions inside, −1 for the value 0.

    `numpy_mode` is the mode of `numpy.pad` with the same values.
    """

    summary: str
    index: Callable[[Indices, int], Indices]
    numpy_mode: str


def _zero(position: Indices, n: int) -> Indices:
    return np.where((position < 0) | (position >= n), -1, position)


def _wrap(position: Indices, n: int) -> Indices:
    return position % n


def _copy(position: Indices, n: int) -> Indices:
    return position.clip(0, n - 1)


def _reflect(position: Indices, n: int) -> Indices:
    if n == 1:
        return np.zeros_like(position)
    folded = position % (2 * n - 2)
    return np.minimum(folded, 2 * n - 2 - folded)


def _symmetric(position: Indices, n: int) -> Indices:
    folded = position % (2 * n)
    return np.minimum(folded, 2 * n - 1 - folded)


BORDERS: dict[str, Border] = {
    "zero": Border(summary=BORDER_NAMES["zero"], index=_zero, numpy_mode="constant"),
    "wrap": Border(summary=BORDER_NAMES["wrap"], index=_wrap, numpy_mode="wrap"),
    "copy": Border(summary=BORDER_NAMES["copy"], index=_copy, numpy_mode="edge"),
    "reflect": Border(summary=BORDER_NAMES["reflect"], index=_reflect, numpy_mode="reflect"),
    "symmetric": Border(summary=BORDER_NAMES["symmetric"], index=_symmetric, numpy_mode="symmetric"),
}


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Windows along one axis of `inputs` values.

    Args:
        taps: elements of the kernel, or values of a pooling window.
        before, after: padded values at each end, with the rule `border`, a name in BORDERS.
    """

    inputs: int
    taps: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0
    border: str = "zero"

    @property
    def span(self) -> int:
        """Receptive field: values from the first to the last of a window, d (k − 1) + 1."""
        return self.dilation * (self.taps - 1) + 1

    @property
    def outputs(self) -> int:
        """Number of outputs; 0 or less if the window is longer than the padded axis."""
        return (self.inputs + self.before + self.after - self.span) // self.stride + 1

    @cached_property
    def padded(self) -> Indices:
        """Input position of each value of the padded axis; −1: the value 0 beyond the border."""
        positions = np.arange(-self.before, self.inputs + self.after, dtype=np.int64)
        return BORDERS[self.border].index(positions, self.inputs)

    def positions(self, output: int) -> Indices:
        """Positions (taps,) under the window of an output; below 0 or from `inputs` they lie beyond the border."""
        start = output * self.stride - self.before
        return start + self.dilation * np.arange(self.taps, dtype=np.int64)

    def sources(self, output: int) -> Indices:
        """Input positions (taps,) from which the window of an output takes its values; −1: 0 beyond the border."""
        return BORDERS[self.border].index(self.positions(output), self.inputs)


def filter_axis(
    inputs: int,
    taps: int,
    *,
    border: str = "zero",
    padding: str | int = "same",
    stride: int = 1,
    dilation: int = 1,
    flipped: bool = False,
    name: str = "the axis",
) -> Axis:
    """The windows of a filter along one axis.

    Args:
        padding: "valid", none; "same", d (k − 1) in total, so that stride 1 keeps the size: the smaller half before,
            or after if `flipped`; a number, that many at both ends.
        flipped: for a convolution, whose kernel is flipped.
        name: of the axis in messages.
    Raises:
        UsageError: an unknown border or padding, a number out of range, a window longer than the padded axis.
    """
    if border not in BORDERS:
        raise UsageError(f"Unknown border {border!r}", suggest_name(border, list(BORDERS)))
    for label, value in (("stride", stride), ("dilation", dilation)):
        if not 1 <= value <= MAX_PADDING:
            raise UsageError(f"{label} {value}", f"Give a whole number from 1 to {MAX_PADDING}.")
    before = after = 0
    if padding == "same":
        total = dilation * (taps - 1)
        before, after = total // 2, total - total // 2
        before, after = (after, before) if flipped else (before, after)
    elif isinstance(padding, int) and 0 <= padding <= MAX_PADDING:
        before = after = padding
    elif padding != "valid":
        raise UsageError(f"padding {padding!r}", f"Give valid, same, or a whole number from 0 to {MAX_PADDING}.")
    axis = Axis(
        inputs=inputs, taps=taps, stride=stride, dilation=dilation, before=before, after=after, border=border
    )  # fmt: skip
    require_outputs(axis, name, "Give a smaller kernel or dilation, or padding same.")
    return axis


def require_outputs(axis: Axis, name: str, remedy: str = "Give a smaller window.") -> None:
    """Raise UsageError for an axis without values, or with a window that does not fit."""
    if axis.inputs < 1:
        raise UsageError(f"{name} holds no values", "Give at least one value.")
    if axis.outputs < 1:
        room = axis.inputs + axis.before + axis.after
        raise UsageError(
            f"A window of {counted(axis.span, 'value')} is longer than {name}: {room} values with the padding",
            remedy,
        )


def require_output_at(x: int, y: int, shape: tuple[int, ...]) -> None:
    """Raise UsageError if a result (rows, columns) has no output at column `x`, row `y`."""
    rows, columns = shape
    if 0 <= x < columns and 0 <= y < rows:
        return
    if rows == 1:
        place = f"{x},{y}" if y else f"{x}"
        raise UsageError(
            f"No output at {place}: the result is one row of {columns}", f"Give X from 0 to {columns - 1}."
        )
    raise UsageError(
        f"No output at {x},{y}: the result has {counted(columns, 'column')} and {counted(rows, 'row')}",
        f"Give X from 0 to {columns - 1} and Y from 0 to {rows - 1}.",
    )

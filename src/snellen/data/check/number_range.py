"""Numbers whose squares exceed the range of float64: neither a variance nor a squared error of them can be computed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from snellen.core.errors import DataError, short_repr
from snellen.core.spec import Numbers
from snellen.data.dataset import RawDataset, each_target
from snellen.data.flat_sequences import RaggedSource
from snellen.data.source import ArraySource

LARGEST = 1e150  # the square, and the sum of many, is below 1.8e308
SMALLEST = 1e-150  # of the largest value of a column; smaller squares are rounded to zero
_REMEDY = "Divide the column by a constant, that is, give it in another unit."


def check_number_range(raw: RawDataset, where: str = "") -> None:
    """Raise DataError naming the first column of inputs or targets that is too large or too small to compute with."""
    first = next(iter(raw.inputs.values()))
    if isinstance(raw.source, ArraySource) and first.axes[-1] == "feature":
        names = [c.name for c in first.columns if c.categories is None]
        if isinstance(raw.source, RaggedSource):
            sequences = raw.source.sequences
            sample = torch.repeat_interleave(torch.arange(len(sequences)), sequences.lengths)
            _check(sequences.values, names, raw, "column", where, sample)
        else:
            _check(raw.source.values, names, raw, "column", where)
    for part in each_target(raw):
        if isinstance(part.target, Numbers) and part.truth is not None:
            _check(part.truth, part.target.names, raw, "target", where)


def _check(
    values: Tensor, names: Sequence[str], raw: RawDataset, word: str, where: str, sample: Tensor | None = None
) -> None:
    """Check values by row; `sample` is the sample of each row, if they are not the rows."""
    if not values.is_floating_point() or not len(values):
        return
    per_row = values.nan_to_num(0.0, math.inf, math.inf).abs().reshape(len(values), -1, values.shape[-1]).amax(1)
    largest = per_row.amax(0)  # (D,); NaN follows the end of a sequence
    bad = torch.nonzero((largest > LARGEST) | ((largest < SMALLEST) & (largest > 0)))
    if not len(bad):
        return
    column = int(bad[0])
    row = int(per_row[:, column].argmax())
    row = row if sample is None else int(sample[row])
    name = short_repr(names[column]) if len(names) == values.shape[-1] else f"{column + 1}"
    place = f"{where}, {raw.source.name(row)}" if where else raw.source.name(row)
    raise DataError(
        f"{place}: {word} {name} is {float(largest[column]):g}, the largest of the {word}: squares of such numbers "
        "exceed the range of float64",
        _REMEDY,
    )

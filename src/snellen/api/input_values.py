"""Values of inputs that a trained model cannot use: outside the range of training, or with a prediction not finite."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from snellen.core.errors import DataError, Diverged, short_repr
from snellen.core.several_tensors import SeveralTensors
from snellen.core.spec import Spec

MAX_FRACTION_OUTSIDE = 0.05  # of the values of an image; of the training values, 0.002 lie outside


def fraction_outside_range(x: Tensor, low: float, high: float) -> float:
    """Fraction of the values of `x` below `low` or above `high`."""
    values = x.double()
    return float(((values < low) | (values > high)).double().mean()) if values.numel() else 0.0


def range_warnings(names: Sequence[str], x: Tensor, value_range: tuple[float, float] | None) -> list[str]:
    """Warnings for images with values outside `value_range`, the range of the training values."""
    if value_range is None or (x.dtype == torch.uint8 and value_range[0] <= 0 and value_range[1] >= 255):
        return []
    fractions = [fraction_outside_range(values, *value_range) for values in x]
    return [
        f"{name}: {fraction:.0%} of the values lie outside {value_range[0]:g} … {value_range[1]:g}, "
        "the range of the training values. Was the image acquired or saved differently?"
        for name, fraction in zip(names, fractions, strict=True)
        if fraction > MAX_FRACTION_OUTSIDE
    ]


def input_error(
    names: Sequence[str], x: Tensor, spec: Spec, model: nn.Module, predict: Callable[[Tensor], object]
) -> DataError | None:
    """The error of the first sample whose prediction is not finite; None if the weights of the model are not finite.

    Args:
        names: one per sample.
        x: (B, ...) raw inputs.
        predict: predicts a batch; raises Diverged.
    """
    weights = (tensor for tensor in model.state_dict().values() if tensor.is_floating_point())
    if not all(bool(torch.isfinite(tensor).all()) for tensor in weights):
        return None
    for k, name in enumerate(names):
        try:
            predict(x[k : k + 1])
        except Diverged:
            return DataError(
                f"{name}: the prediction is NaN or infinite; {_extreme(x[k], spec)}",
                "Correct the input: its values must be comparable to those of the training data.",
            )
    return None


def _extreme(sample: Tensor | SeveralTensors, spec: Spec) -> str:
    """The value of largest magnitude of a sample, with its column, or the number of values that are not finite."""
    if isinstance(sample, SeveralTensors):
        largest = {name: float(x.double().nan_to_num(0).abs().max()) for name, x in sample.tensors.items()}
        return "largest magnitudes: " + ", ".join(f"{name} {value:g}" for name, value in largest.items())
    values = sample.double()
    not_finite = int((~torch.isfinite(values)).sum())
    if not_finite:
        return f"{not_finite:,} of its values are NaN or infinite"
    flat = values.flatten()
    index = int(flat.abs().argmax())
    names = [column.name for column in spec.input.columns or () for _ in column.categories or ("number",)]
    column = f" (column {short_repr(names[index])})" if len(names) == len(flat) else ""
    return f"the value of largest magnitude is {float(flat[index]):g}{column}"

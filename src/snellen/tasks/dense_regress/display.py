"""Description and maps of the predictions of a dense regressor."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
import torch
from torch import Tensor

from snellen.core.spec import PixelNumbers, Spec
from snellen.core.task import Display, PredictionDict
from snellen.core.views import AnnotatedImage
from snellen.tasks.dense_regress.views import render_maps


def _target(spec: Spec) -> PixelNumbers:
    assert isinstance(spec.target, PixelNumbers)
    return spec.target


def lines(prediction: PredictionDict, spec: Spec) -> list[str]:
    """One line for each number: its lowest, highest and mean value in the sample, with its unit."""
    target = _target(spec)
    units = target.units or ("",) * len(target.names)
    channels = [(name, unit, prediction["numbers"][name]) for name, unit in zip(target.names, units, strict=True)]
    return [
        f"{name} {stats['least']:.3g} … {stats['most']:.3g}, mean {stats['mean']:.3g} {unit}".rstrip()
        for name, unit, stats in channels
    ]


def number_maps(prediction: PredictionDict, spec: Spec) -> Tensor:
    """(T, H, W) or (T, *places) float32 numbers of every pixel or place, NaN for none.

    Those of images and volumes are resolved to 1/65,535 of their range.
    """
    from PIL import Image

    if "values" in prediction:
        rows = [prediction["values"][name] for name in _target(spec).names]
        return torch.tensor([[math.nan if value is None else value for value in row] for row in rows]).float()

    encoded, channels = prediction["map"], []
    for name in _target(spec).names:
        levels = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded["png"][name]))))
        channels.append(torch.from_numpy(levels.astype(np.float64)))
    low, high = float(encoded["low"]), float(encoded["high"])
    maps = (low + (high - low) * torch.stack(channels) / 65535).float()
    return maps.view(len(channels), *encoded["size"]) if "size" in encoded else maps


def map_view(maps: Tensor, spec: Spec) -> AnnotatedImage:
    """Number maps (T, H, W) as an image."""
    (rendered,) = render_maps([maps], _target(spec), ("prediction",))
    return rendered


DISPLAY = Display(
    lines=lines,
    baseline=lambda spec: f"the same constant at every {spec.input.place}",
    outputs=lambda spec: "",
    names="targets",
    hub_names={},
    number_maps=number_maps,
    map_view=map_view,
)

"""Description and class map of the predictions of a segmenter."""

from __future__ import annotations

import torch
from torch import Tensor

from snellen.core.rle import decode_region
from snellen.core.spec import PixelClasses, Spec
from snellen.core.task import Display, PredictionDict


def lines(prediction: PredictionDict, spec: Spec) -> list[str]:
    """One line: the fraction of the pixels of each class, the largest first."""
    fractions = sorted(prediction["shares"].items(), key=lambda pair: -pair[1])
    return [", ".join(f"{name} {100 * fraction:.3g} %" for name, fraction in fractions if fraction)]


def class_map(prediction: PredictionDict, spec: Spec) -> Tensor:
    """(H, W) int64 class of every pixel, -1 for none."""
    assert isinstance(spec.target, PixelClasses)
    height, width = next(iter(prediction["segments"].values()))["size"]
    classes = torch.full((height, width), -1)
    for name, mask in prediction["segments"].items():
        classes[decode_region(mask["counts"], (height, width)).full(height, width)] = spec.target.names.index(name)
    return classes


DISPLAY = Display(
    lines=lines,
    baseline=lambda spec: "the most frequent class at every pixel",
    outputs=lambda spec: "",
    hub_names={},
    class_map=class_map,
)

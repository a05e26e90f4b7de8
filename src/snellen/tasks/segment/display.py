"""Description and class map of the predictions of a segmenter."""

from __future__ import annotations

import torch
from torch import Tensor

from snellen.core.rle import decode_region
from snellen.core.spec import PixelClasses, Spec
from snellen.core.task import Display, PredictionDict


def lines(prediction: PredictionDict, spec: Spec) -> list[str]:
    """One line: the fraction of the places of each class, the largest first."""
    fractions = sorted(prediction["shares"].items(), key=lambda pair: -pair[1])
    return [", ".join(f"{name} {100 * fraction:.3g} %" for name, fraction in fractions if fraction)]


def class_map(prediction: PredictionDict, spec: Spec) -> Tensor:
    """(H, W) int64 class of every pixel, or (*places) of every other place, -1 for none."""
    assert isinstance(spec.target, PixelClasses)
    if "classes" in prediction:
        index = {name: k for k, name in enumerate(spec.target.names)}
        return torch.tensor([index.get(name, -1) for name in prediction["classes"]], dtype=torch.int64)
    size = next(iter(prediction["segments"].values()))["size"]
    classes = torch.full(size, -1)
    height, width = size if len(size) == 2 else (classes.numel(), 1)  # see `encode_mask`
    for name, mask in prediction["segments"].items():
        region = decode_region(mask["counts"], (height, width)).full(height, width)
        classes[region.view(size)] = spec.target.names.index(name)
    return classes


DISPLAY = Display(
    lines=lines,
    baseline=lambda spec: f"the most frequent class at every {spec.input.place}",
    outputs=lambda spec: "",
    hub_names={},
    class_map=class_map,
)

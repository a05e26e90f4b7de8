"""A prediction as marks on its image (boxes, masks, keypoints), or as a class map or number map."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from snellen.core.rle import decode_region
from snellen.core.spec import Boxes, PixelClasses, PixelNumbers, Spec
from snellen.core.task import PredictionDict
from snellen.core.views import Mark


def prediction_marks(prediction: PredictionDict, spec: Spec) -> list[Mark]:
    """Boxes with class and score, masks and keypoints; an empty list for a task without boxes."""
    return of_objects(prediction["objects"], spec.target) if isinstance(spec.target, Boxes) else []


def of_objects(objects: Sequence[PredictionDict], target: Boxes) -> list[Mark]:
    """A mark for each object, in reverse order: the highest-scoring are drawn last, on top."""
    by_object = len(target.names) == 1 and any("mask" in item for item in objects)  # masks that touch are told apart
    colours = [k if by_object else target.names.index(item["class"]) for k, item in enumerate(objects)]
    return [
        _object_mark(item, colour, target) for item, colour in zip(reversed(objects), reversed(colours), strict=True)
    ]


def _object_mark(item: PredictionDict, colour: int, target: Boxes) -> Mark:
    mask, score = item.get("mask"), item.get("score")
    x1, y1, x2, y2 = item["box"]
    return Mark(
        label=item["class"] if score is None else f"{item['class']} {score:.2f}",
        colour_index=colour,
        box=(x1, y1, x2, y2),
        points=[(x, y) for x, y, _ in item.get("keypoints", ())],
        bones=target.bones,
        region=None if mask is None else decode_region(mask["counts"], (mask["size"][0], mask["size"][1])),
    )


def class_map(prediction: PredictionDict, spec: Spec) -> Tensor | None:
    """(H, W) int64 class of every pixel, -1 for none; None for a task without a class map."""
    if not isinstance(spec.target, PixelClasses):
        return None
    classes = None
    for name, mask in prediction["segments"].items():
        height, width = mask["size"]
        classes = torch.full((height, width), -1) if classes is None else classes
        classes[decode_region(mask["counts"], (height, width)).full(height, width)] = spec.target.names.index(name)
    return classes


def number_maps(prediction: PredictionDict, spec: Spec) -> Tensor | None:
    """(T, H, W) float32 numbers of every pixel, resolved to 1/65,535 of their range; None for a task without a map."""
    if not isinstance(spec.target, PixelNumbers):
        return None
    from PIL import Image

    encoded, channels = prediction["map"], []
    for name in spec.target.names:
        levels = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded["png"][name]))))
        channels.append(torch.from_numpy(levels.astype(np.float64)))
    low, high = float(encoded["low"]), float(encoded["high"])
    return (low + (high - low) * torch.stack(channels) / 65535).float()

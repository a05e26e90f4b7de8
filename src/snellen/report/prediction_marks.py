"""An answer as marks on its picture, or as a map of it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from snellen.core.rle import of_text
from snellen.core.spec import Boxes, PixelClasses, PixelNumbers, Spec
from snellen.core.task import Answer
from snellen.core.views import Mark


def marks(answer: Answer, spec: Spec) -> list[Mark]:
    """Boxes with class and score, masks and keypoints; nothing for an answer that is told of no places."""
    return of_objects(answer["objects"], spec.target) if isinstance(spec.target, Boxes) else []


def of_objects(objects: Sequence[Answer], target: Boxes) -> list[Mark]:
    """A mark for each object, the least sure first, so that the surest lie on top."""
    places = [target.names.index(one["class"]) if len(target.names) > 1 else k for k, one in enumerate(objects)]
    return [_of_object(one, place, target) for one, place in zip(reversed(objects), reversed(places), strict=True)]


def _of_object(one: Answer, place: int, target: Boxes) -> Mark:
    mask, score = one.get("mask"), one.get("score")
    x1, y1, x2, y2 = one["box"]
    return Mark(
        label=one["class"] if score is None else f"{one['class']} {score:.2f}",
        place=place,
        box=(x1, y1, x2, y2),
        points=[(x, y) for x, y, _ in one.get("keypoints", ())],
        bones=target.bones,
        region=None if mask is None else of_text(mask["counts"], (mask["size"][0], mask["size"][1])),
    )


def classes(answer: Answer, spec: Spec) -> Tensor | None:
    """(H, W) int64, the class of every pixel, -1 for none; None for an answer that has no segments."""
    if not isinstance(spec.target, PixelClasses):
        return None
    found = None
    for name, mask in answer["segments"].items():
        height, width = mask["size"]
        found = torch.full((height, width), -1) if found is None else found
        found[of_text(mask["counts"], (height, width)).full(height, width)] = spec.target.names.index(name)
    return found


def numbers(answer: Answer, spec: Spec) -> Tensor | None:
    """(T, H, W) float32, the numbers of every pixel, to a 65,535th of their range; None for an answer without a map."""
    if not isinstance(spec.target, PixelNumbers):
        return None
    from PIL import Image

    said, channels = answer["map"], []
    for name in spec.target.names:
        steps = np.asarray(Image.open(io.BytesIO(base64.b64decode(said["png"][name]))))
        channels.append(torch.from_numpy(steps.astype(np.float64)))
    low, high = float(said["low"]), float(said["high"])
    return (low + (high - low) * torch.stack(channels) / 65535).float()

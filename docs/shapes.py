"""Draws docs/shapes.png: some worlds of `shapes`, each with every truth that is told of it.

python docs/shapes.py
"""

from __future__ import annotations

import colorsys
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from snellen.core.detections import Objects, Region
from snellen.core.spec import Boxes
from snellen.core.views import Mark
from snellen.data.synthetic.shapes import SIDE, TARGETS, Drawn
from snellen.report.overlay import font, overlaid

OUT = Path(__file__).parent / "shapes.png"
IDS = (3, 9, 13)
SCALE = 2
TOLD = ("masks", "keypoints", "pixels", "depth", "normals", "edges", "reflectance", "flow")


def tile(target: str, id: int) -> Image.Image:
    image, truth = Drawn(0, target).drawn(id)
    picture = Image.fromarray(image[:3].permute(1, 2, 0).numpy()).resize((SCALE * SIDE, SCALE * SIDE))
    if isinstance(truth, Objects):
        return overlaid(picture, SCALE, marks(truth, target))
    assert isinstance(truth, Tensor)
    if target == "pixels":
        return overlaid(picture, SCALE, classes=truth - 1)
    shown = {
        "depth": near_is_bright,
        "normals": lambda x: (x + 1) / 2,
        "edges": lambda x: x.expand(3, -1, -1),
        "reflectance": lambda x: x,
        "flow": wheel,
    }[target](truth)
    values = (255 * shown.clamp(0, 1)).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(values).resize((SCALE * SIDE, SCALE * SIDE), Image.Resampling.NEAREST)


def marks(truth: Objects, target: str) -> list[Mark]:
    spec = TARGETS[target]
    assert isinstance(spec, Boxes)
    found = []
    for k, (box, label) in enumerate(zip(truth.boxes.tolist(), truth.labels.tolist(), strict=True)):
        region = Region(0, 0, truth.masks[k]) if truth.masks is not None else None
        points = () if truth.keypoints is None else tuple((x, y) for x, y, _ in truth.keypoints[k].tolist())
        whole = truth.keypoints is not None and bool((truth.keypoints[k, :, 2] > 0).all())
        found.append(
            Mark(
                label=spec.names[label],
                place=label,
                box=tuple(box),
                region=region,
                points=points if whole else (),
                bones=spec.bones if whole else (),
            )
        )
    return found


def near_is_bright(depth: Tensor) -> Tensor:
    near = 1 / depth
    return ((near - near.amin()) / (near.amax() - near.amin())).expand(3, -1, -1)


def wheel(flow: Tensor) -> Tensor:
    """The direction as a hue, the length as how full the colour is."""
    u, v = flow.numpy()
    length = np.hypot(u, v) / np.hypot(u, v).max()
    hue = np.arctan2(v, u) / (2 * math.pi) % 1
    return torch.from_numpy(np.stack(np.vectorize(colorsys.hsv_to_rgb)(hue, length, 1.0)))


def sheet() -> Image.Image:
    side, top = SCALE * SIDE + 4, 20
    whole = Image.new("RGB", (side * len(TOLD), top + side * len(IDS)), "white")
    from PIL import ImageDraw

    pen = ImageDraw.Draw(whole)
    for column, target in enumerate(TOLD):
        pen.text((side * column + 4, 3), target, fill="black", font=font(13))
        for row, id in enumerate(IDS):
            whole.paste(tile(target, id), (side * column, top + side * row))
    return whole


if __name__ == "__main__":
    sheet().save(OUT, optimize=True)
    print(f"{OUT}: {OUT.stat().st_size / 1024:.0f} KiB")

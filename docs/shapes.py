"""Draw docs/shapes.png: scenes of the synthetic dataset `shapes` with each kind of ground truth.

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

from snellen.core.detections import GroundTruth, MaskRegion
from snellen.core.spec import Boxes
from snellen.core.views import Mark
from snellen.data.synthetic.shapes import SIDE, TARGETS, ShapesSource
from snellen.report.overlay import draw_marks, font

OUT = Path(__file__).parent / "shapes.png"
IDS = (3, 9, 13)
SCALE = 2
TARGET_COLUMNS = ("masks", "keypoints", "pixels", "depth", "normals", "edges", "reflectance", "flow")


def tile(target: str, id: int) -> Image.Image:
    """Draw the ground truth of one scene for one target."""
    values, truth = ShapesSource(0, target).render_sample(id)
    image = Image.fromarray(values[:3].permute(1, 2, 0).numpy()).resize((SCALE * SIDE, SCALE * SIDE))
    if isinstance(truth, GroundTruth):
        return draw_marks(image, SCALE, marks(truth, target))
    assert isinstance(truth, Tensor)
    if target == "pixels":
        return draw_marks(image, SCALE, classes=truth - 1)
    colours = {
        "depth": inverse_depth,
        "normals": lambda x: (x + 1) / 2,
        "edges": lambda x: x.expand(3, -1, -1),
        "reflectance": lambda x: x,
        "flow": flow_colours,
    }[target](truth)
    pixels = (255 * colours.clamp(0, 1)).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(pixels).resize((SCALE * SIDE, SCALE * SIDE), Image.Resampling.NEAREST)


def marks(truth: GroundTruth, target: str) -> list[Mark]:
    """Marks of the ground-truth objects; a skeleton only if all its keypoints are visible."""
    spec = TARGETS[target]
    assert isinstance(spec, Boxes)
    result = []
    for k, (box, label) in enumerate(zip(truth.boxes.tolist(), truth.labels.tolist(), strict=True)):
        region = MaskRegion(0, 0, truth.masks[k]) if truth.masks is not None else None
        points = () if truth.keypoints is None else tuple((x, y) for x, y, _ in truth.keypoints[k].tolist())
        all_visible = truth.keypoints is not None and bool((truth.keypoints[k, :, 2] > 0).all())
        result.append(
            Mark(
                label=spec.names[label],
                colour_index=label,
                box=tuple(box),
                region=region,
                points=points if all_visible else (),
                bones=spec.bones if all_visible else (),
            )
        )
    return result


def inverse_depth(depth: Tensor) -> Tensor:
    """Inverse depth as grey values: near is bright."""
    inverse = 1 / depth
    return ((inverse - inverse.amin()) / (inverse.amax() - inverse.amin())).expand(3, -1, -1)


def flow_colours(flow: Tensor) -> Tensor:
    """Colour wheel of optical flow: direction as hue, length as saturation."""
    u, v = flow.numpy()
    length = np.hypot(u, v) / np.hypot(u, v).max()
    hue = np.arctan2(v, u) / (2 * math.pi) % 1
    return torch.from_numpy(np.stack(np.vectorize(colorsys.hsv_to_rgb)(hue, length, 1.0)))


def sheet() -> Image.Image:
    """Grid of all tiles: a row per scene, a column per target."""
    side, top = SCALE * SIDE + 4, 20
    grid = Image.new("RGB", (side * len(TARGET_COLUMNS), top + side * len(IDS)), "white")
    from PIL import ImageDraw

    pen = ImageDraw.Draw(grid)
    for column, target in enumerate(TARGET_COLUMNS):
        pen.text((side * column + 4, 3), target, fill="black", font=font(13))
        for row, id in enumerate(IDS):
            grid.paste(tile(target, id), (side * column, top + side * row))
    return grid


if __name__ == "__main__":
    sheet().save(OUT, optimize=True)
    print(f"{OUT}: {OUT.stat().st_size / 1024:.0f} KiB")

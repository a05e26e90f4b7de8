"""Drawing on images: boxes, labels, masks, keypoints and class maps."""

from __future__ import annotations

import colorsys
import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from snellen.core.detections import MaskRegion
from snellen.core.views import Mark
from snellen.report.html_text import clean
from snellen.report.palette import SERIES

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

_MASK_OPACITY = 0.45  # of a mask's colour over the image
Rectangle = tuple[float, float, float, float]  # x1, y1, x2, y2

_GOLDEN_RATIO = 0.618034  # step in hue: successive classes get distant hues


def class_colour(index: int) -> tuple[int, int, int]:
    """RGB colour of a class index: first the colours of plots, then hues a golden ratio apart."""
    if index < len(SERIES):
        return tuple(bytes.fromhex(SERIES[index][1:]))  # type: ignore[return-value]
    hue = (index - len(SERIES)) * _GOLDEN_RATIO % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75 if index % 2 else 0.5, 0.9 if index % 3 else 0.65)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_marks(
    image: Image.Image, scale: float, marks: Sequence[Mark] = (), classes: Tensor | None = None
) -> Image.Image:
    """Draw marks and a class map on an image, the last mark on top.

    A label that has no free place at its box is left out; the labels of the last marks are placed first.

    Args:
        image: at its display size.
        scale: pixels of `image` per pixel of the coordinates of the marks.
        classes: (H, W) int64, -1 for none.
    """
    from PIL import Image, ImageDraw

    canvas = image.convert("RGB")
    if classes is not None:
        count = int(classes.max()) + 1 if classes.numel() else 0
        table = np.array([*(class_colour(k) for k in range(max(count, 0))), (0, 0, 0)], np.uint8)
        layer = Image.fromarray(table[classes.cpu().numpy()]).resize(canvas.size, Image.Resampling.NEAREST)
        alpha = Image.fromarray(np.where(classes.cpu().numpy() >= 0, round(255 * _MASK_OPACITY), 0).astype(np.uint8))
        canvas.paste(layer, (0, 0), alpha.resize(canvas.size, Image.Resampling.NEAREST))
    for mark in marks:
        if mark.region is not None:
            _draw_mask(canvas, mark.region, class_colour(mark.colour_index), scale)
    draw = ImageDraw.Draw(canvas)
    width = max(1, round(max(canvas.size) / 250))
    text_font = font(max(10, max(canvas.size) // 32))
    for mark in marks:
        colour = class_colour(mark.colour_index)
        if mark.box is not None:
            x1, y1, x2, y2 = (scale * side for side in mark.box)
            draw.rectangle((x1, y1, max(x2 - 1, x1), max(y2 - 1, y1)), outline=colour, width=width)
        points = [(scale * x, scale * y) for x, y in mark.points]
        for a, b in mark.bones:
            if max(a, b) < len(points):
                draw.line((*points[a], *points[b]), fill=colour, width=width)
        for x, y in points:
            draw.ellipse((x - 2 * width, y - 2 * width, x + 2 * width, y + 2 * width), fill=colour, outline="white")
    taken: list[Rectangle] = []
    for mark in reversed(marks):
        if mark.label and mark.box is not None:
            corners = tuple(scale * side for side in mark.box)
            _draw_label(
                draw, clean(mark.label), corners, class_colour(mark.colour_index), text_font, canvas.size, taken
            )
    return canvas


def _draw_mask(canvas: Image.Image, region: MaskRegion, colour: tuple[int, int, int], scale: float) -> None:
    """Draw a mask as a translucent layer of its colour."""
    from PIL import Image

    height, width = region.mask.shape
    size = max(1, round(scale * width)), max(1, round(scale * height))
    layer = Image.fromarray((region.mask.to(torch.uint8) * round(255 * _MASK_OPACITY)).cpu().numpy())
    layer = layer.resize(size, Image.Resampling.NEAREST)
    canvas.paste(colour, (round(scale * region.left), round(scale * region.top)), layer)


def _draw_label(
    draw: ImageDraw.ImageDraw,
    text: str,
    box: tuple[float, ...],
    colour: tuple[int, int, int],
    text_font: ImageFont.FreeTypeFont,
    size: tuple[int, int],
    taken: list[Rectangle],
) -> None:
    """Draw white text on a coloured background: above the box, below it, or inside at the top, where nothing is taken.

    Args:
        box: x1, y1, x2, y2 in pixels of the image.
        size: width and height of the image.
        taken: rectangles of the labels drawn so far; the new one is appended.
    """
    left, top, right, bottom = draw.textbbox((0, 0), text, font=text_font)
    width, height = right - left + 4, bottom - top + 4
    x = max(0.0, min(box[0], size[0] - width - 1))
    for y in (box[1] - height, box[3], box[1]):
        place = (x, y, x + width, y + height)
        if y >= 0 and place[3] <= size[1] and not any(_overlap(place, other) for other in taken):
            taken.append(place)
            draw.rectangle((x, y, x + width - 1, y + height - 1), fill=colour)  # the end is drawn too
            draw.text((x + 2 - left, y + 2 - top), text, fill="white", font=text_font)
            return


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans from matplotlib; the default font of Pillow covers few scripts."""
    from PIL import ImageFont

    package = importlib.util.find_spec("matplotlib")  # found, not imported: that takes long and reads configuration
    assert package is not None
    folder = Path(package.origin or "").parent
    return ImageFont.truetype(folder / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf", size)

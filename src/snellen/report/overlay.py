"""What is drawn on pictures: boxes, masks, keypoints, and a class for every pixel."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from snellen.core.detections import Region
from snellen.core.views import Mark
from snellen.report.html_text import clean
from snellen.report.palette import SERIES

if TYPE_CHECKING:
    from PIL import Image, ImageFont

_VEIL = 0.45  # of the colour, over what lies below
FEW = 12  # marks that all have their words; of more, those whose words are no wider than their box
_GOLDEN = 0.618034  # of the circle of hues: neighbours in a list come far apart


def colour(place: int) -> tuple[int, int, int]:
    """RGB of the class at a place: first the colours of plots, then hues as far apart as may be."""
    if place < len(SERIES):
        return tuple(bytes.fromhex(SERIES[place][1:]))  # type: ignore[return-value]
    hue = (place - len(SERIES)) * _GOLDEN % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75 if place % 2 else 0.5, 0.9 if place % 3 else 0.65)
    return round(255 * red), round(255 * green), round(255 * blue)


def overlaid(
    picture: Image.Image, scale: float, marks: Sequence[Mark] = (), classes: Tensor | None = None
) -> Image.Image:
    """The picture with marks and classes on it.

    Args:
        picture: as large as it will be shown.
        scale: its pixels for one pixel of what the marks were made for.
        classes: (H, W) int64, -1 for none.
    """
    from PIL import Image, ImageDraw

    shown = picture.convert("RGB")
    if classes is not None:
        known = int(classes.max()) + 1 if classes.numel() else 0
        table = np.array([*(colour(k) for k in range(max(known, 0))), (0, 0, 0)], np.uint8)
        veil = Image.fromarray(table[classes.cpu().numpy()]).resize(shown.size, Image.Resampling.NEAREST)
        there = Image.fromarray(np.where(classes.cpu().numpy() >= 0, round(255 * _VEIL), 0).astype(np.uint8))
        shown.paste(veil, (0, 0), there.resize(shown.size, Image.Resampling.NEAREST))
    for mark in marks:
        if mark.region is not None:
            _lay(shown, mark.region, colour(mark.place), scale)
    pen = ImageDraw.Draw(shown)
    width = max(1, round(max(shown.size) / 250))
    lettering = font(max(10, max(shown.size) // 32))
    few = len(marks) <= FEW
    for mark in marks:
        ink = colour(mark.place)
        if mark.box is not None:
            x1, y1, x2, y2 = (scale * side for side in mark.box)
            pen.rectangle((x1, y1, max(x2 - 1, x1), max(y2 - 1, y1)), outline=ink, width=width)
        places = [(scale * x, scale * y) for x, y in mark.points]
        for a, b in mark.bones:
            if max(a, b) < len(places):
                pen.line((*places[a], *places[b]), fill=ink, width=width)
        for x, y in places:
            pen.ellipse((x - 2 * width, y - 2 * width, x + 2 * width, y + 2 * width), fill=ink, outline="white")
        if mark.label and mark.box is not None and (few or _fits(mark, scale, lettering)):
            _label(pen, clean(mark.label), (scale * mark.box[0], scale * mark.box[1]), ink, lettering)
    return shown


def _lay(shown: Image.Image, region: Region, ink: tuple[int, int, int], scale: float) -> None:
    """A mask as a veil of its colour."""
    from PIL import Image

    height, width = region.inside.shape
    size = max(1, round(scale * width)), max(1, round(scale * height))
    veil = Image.fromarray((region.inside.to(torch.uint8) * round(255 * _VEIL)).cpu().numpy())
    veil = veil.resize(size, Image.Resampling.NEAREST)
    shown.paste(ink, (round(scale * region.left), round(scale * region.top)), veil)


def _fits(mark: Mark, scale: float, lettering: ImageFont.FreeTypeFont) -> bool:
    assert mark.box is not None
    return lettering.getlength(clean(mark.label)) <= scale * (mark.box[2] - mark.box[0])


def _label(
    pen: object, words: str, corner: tuple[float, float], ink: tuple[int, int, int], lettering: ImageFont.FreeTypeFont
) -> None:
    """White words on the colour, above the corner of the box where there is room."""
    from PIL import ImageDraw

    assert isinstance(pen, ImageDraw.ImageDraw)
    left, top, right, bottom = pen.textbbox((0, 0), words, font=lettering)
    x, y = corner[0], corner[1] - (bottom - top) - 4
    y = y if y >= 0 else corner[1]
    pen.rectangle((x, y, x + right - left + 4, y + bottom - top + 4), fill=ink)
    pen.text((x + 2 - left, y + 2 - top), words, fill="white", font=lettering)


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings: Pillow's own font knows few scripts."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)

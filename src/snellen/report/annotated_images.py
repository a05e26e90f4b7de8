"""Annotated images: an input image with the model's prediction drawn on it, as `snellen predict --draw` writes."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from snellen.core import file_io
from snellen.core.errors import UsageError
from snellen.core.spec import Preprocessing, Spec
from snellen.core.task import Display, PredictionDict, Task
from snellen.data.decode.image_decoder import decode
from snellen.data.decode.image_files import parse_page_name
from snellen.data.decode.video import frames, parse_frame_name
from snellen.data.formats.file_names import is_image_name
from snellen.nn.layers import robust_range
from snellen.report.html_text import clean
from snellen.report.overlay import draw_marks, font
from snellen.report.view_html import to_pil_image

if TYPE_CHECKING:
    from PIL import Image, ImageFont

AnyTask = Task[Any, Any]

MIN_SIDE, MAX_SIDE = 256, 1600  # pixels of the longer side; smaller images are enlarged by nearest neighbour
MAX_LINES = 6


class AnnotatedImageWriter:
    """Write annotated images into a folder, as PNG with the name of the input, which has a number for a page or frame.

    Args:
        folder: output folder. It must not contain the input images.
        task, spec: of the model.
        preprocessing: the model's; the image is drawn at its original size.
    """

    def __init__(self, folder: Path, task: AnyTask, spec: Spec, preprocessing: Preprocessing) -> None:
        if len(spec.inputs) > 1 or not spec.input.has_pixels:
            inputs = " and ".join(one.modality for one in spec.inputs.values())
            raise UsageError(f"--draw needs images; the input of this model is: {inputs}", "Omit --draw.")
        self.folder = folder
        self.display = task.display
        self.spec = spec
        self.preprocessing = Preprocessing(pages=preprocessing.pages, nodata=preprocessing.nodata)
        self._taken: set[str] = set()
        self._video: tuple[Path, Iterator[tuple[int, Tensor]]] | None = None  # open video and its remaining frames

    def write(self, path: Path, value_range: tuple[float, float] | None, prediction: PredictionDict) -> Path:
        """Write one annotated image and return its path.

        Args:
            path: of the input image, page or frame; frames of a video in ascending order.
            value_range: values drawn as black and white for images deeper than 8 bits; None: a robust range of values.
        """
        if os.path.dirname(os.path.realpath(path)) == os.path.realpath(self.folder):
            raise UsageError(f"{path} lies in the output folder of --draw", "Give --draw another folder.")
        stem = path.stem if is_image_name(path.name) else path.name  # "stack.tif#2", a page, stays whole
        number, name = 1, f"{stem}.png"
        while name in self._taken:
            number += 1
            name = f"{stem}-{number}.png"
        self._taken.add(name)
        values = self._values(path)
        if value_range is None:
            value_range = (0.0, 255.0) if values.dtype == torch.uint8 else robust_range(values.double())
        buffer = io.BytesIO()
        image = _draw_prediction(values, value_range, prediction, self.display, self.spec)
        add_caption(image, self.display.lines(prediction, self.spec)).save(buffer, format="PNG")
        file_io.write_bytes(self.folder / name, buffer.getvalue())
        return self.folder / name

    def _values(self, path: Path) -> Tensor:
        """(C, H, W) values of an image, of a page, or of a frame of a video."""
        frame = parse_frame_name(str(path))
        if frame is None or path.exists():
            page = parse_page_name(str(path)) if self.preprocessing.pages == "each" and not path.exists() else None
            return decode(path, self.preprocessing) if page is None else decode(page[0], self.preprocessing, page[1])
        if self._video is None or self._video[0] != frame[0]:
            self._video = (frame[0], enumerate(frames(frame[0])))
        return next(values for number, values in self._video[1] if number == frame[1])


def _draw_prediction(
    values: Tensor, value_range: tuple[float, float], prediction: PredictionDict, display: Display, spec: Spec
) -> Image.Image:
    """The image with the prediction drawn on it; a map of numbers is drawn to the right of the image.

    Args:
        values: (C, H, W).
        value_range: values drawn as black and white.
    """
    from PIL import Image

    if display.number_maps is not None and values.shape[0] == 6:  # of a pair of frames, the first
        values = values[:3]
    image = resize_for_display(to_pil_image(values, *value_range).convert("RGB"))
    if display.number_maps is not None and display.map_view is not None:
        rendered = display.map_view(display.number_maps(prediction, spec), spec)
        other = to_pil_image(rendered.values, rendered.low, rendered.high).convert("RGB")
        other = other.resize(image.size, Image.Resampling.NEAREST)
        both = Image.new("RGB", (2 * image.width, image.height))
        both.paste(image, (0, 0))
        both.paste(other, (image.width, 0))
        return both
    marks = display.marks(prediction, spec)
    classes = None if display.class_map is None else display.class_map(prediction, spec)
    if not marks and classes is None:
        return image
    return draw_marks(image, image.width / values.shape[-1], marks, classes)


def resize_for_display(image: Image.Image) -> Image.Image:
    """Enlarge a small image by nearest neighbour, reduce a large one."""
    from PIL import Image

    factor = -(-MIN_SIDE // max(image.size))
    if factor > 1:
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    return image


def add_caption(image: Image.Image, lines: list[str]) -> Image.Image:
    """The image above a white band with lines of text; at most MAX_LINES are shown."""
    from PIL import Image, ImageDraw

    width = max(image.width, MIN_SIDE)
    size = max(16, width // 24)
    text_font = font(size)
    shown = lines if len(lines) <= MAX_LINES else [*lines[: MAX_LINES - 1], f"and {len(lines) - MAX_LINES + 1} more"]
    row, margin = round(1.4 * size), size // 2
    canvas = Image.new("RGB", (width, image.height + row * len(shown) + margin), "white")
    canvas.paste(image, ((width - image.width) // 2, 0))
    draw = ImageDraw.Draw(canvas)
    for k, line in enumerate(shown):
        text = _shorten(clean(line), text_font, width - 2 * margin)
        draw.text((margin, image.height + margin // 2 + k * row), text, fill="black", font=text_font)
    return canvas


def _shorten(line: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Replace the middle of a line wider than `width` pixels by an ellipsis; the end holds the probability."""
    length = len(line)
    shortened = line
    while font.getlength(shortened) > width and length > 2:
        length -= 1
        shortened = f"{line[: length - length // 2]}…{line[len(line) - length // 2 :]}"
    return shortened

"""A picture with its answer on it: what `snellen predict --draw` writes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from snellen.core import files
from snellen.core.errors import UsageError
from snellen.core.spec import Numbers, Reading, Spec
from snellen.core.task import Answer
from snellen.data.decode import decode
from snellen.look.draw import image
from snellen.look.overlay import font
from snellen.look.words import clean
from snellen.nn.layers import robust_range

if TYPE_CHECKING:
    from PIL import Image, ImageFont

LEAST, MOST = 256, 1600  # pixels of the longer side: smaller pictures are enlarged in crisp squares
MOST_LINES = 6


class Annotated:
    """A folder of annotated pictures, each under the name of its file with .png after it.

    Args:
        folder: where they are written. No picture that is asked about may lie there.
        spec: of the model's data, for the units of numbers.
        reading: the model's. The picture is drawn at its own size.
    """

    def __init__(self, folder: Path, spec: Spec, reading: Reading) -> None:
        if spec.modality != "image":
            raise UsageError(f"--draw needs pictures, the model reads {spec.modality}s", "Leave --draw out.")
        self.folder = folder
        self.spec = spec
        self.reading = Reading(pages=reading.pages)
        self._taken: set[str] = set()

    def write(self, path: Path, span: tuple[float, float] | None, answer: Answer) -> Path:
        """Writes one picture and returns where.

        Args:
            path: of the picture that was asked about.
            span: the values drawn black and white where they are deeper than 8 bits; None: all but its outermost.
        """
        if path.resolve().parent == self.folder.resolve():
            raise UsageError(f"{path} lies in the folder of --draw", "Give a folder of its own.")
        number, name = 1, f"{path.name}.png"
        while name in self._taken:
            number += 1
            name = f"{path.name}-{number}.png"
        self._taken.add(name)
        values = decode(path, self.reading)
        if span is None:
            span = (0.0, 255.0) if values.dtype == torch.uint8 else robust_range(values.double())
        written = io.BytesIO()
        annotated(values, span, lines(answer, self.spec)).save(written, format="PNG")
        files.write_bytes(self.folder / name, written.getvalue())
        return self.folder / name


def lines(answer: Answer, spec: Spec) -> list[str]:
    """An answer in words, the first line the most telling."""
    if isinstance(spec.target, Numbers):
        units = spec.target.units or ("",) * len(spec.target.names)
        named = zip(spec.target.names, units, strict=True)
        return [f"{name} {answer[name]:.4g} {unit}".rstrip() for name, unit in named]
    sure: dict[str, Any] = answer.get("probabilities", {})
    said = answer["labels"] if "labels" in answer else [answer["class"]]
    return [f"{name} ({100 * sure[name]:.0f} %)" if name in sure else name for name in said] or ["no label"]


def annotated(values: Tensor, span: tuple[float, float], told: list[str]) -> Image.Image:
    """The picture, enlarged where it is small, above a band with what is told of it.

    Args:
        values: (C, H, W).
        span: the values drawn black and white.
    """
    from PIL import Image, ImageDraw

    picture = image(values, *span).convert("RGB")
    factor = -(-LEAST // max(picture.size))
    if factor > 1:
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    picture.thumbnail((MOST, MOST), Image.Resampling.LANCZOS)
    width = max(picture.width, LEAST)
    size = max(16, width // 24)
    lettering = font(size)
    shown = told if len(told) <= MOST_LINES else [*told[: MOST_LINES - 1], f"and {len(told) - MOST_LINES + 1} more"]
    row, margin = round(1.4 * size), size // 2
    whole = Image.new("RGB", (width, picture.height + row * len(shown) + margin), "white")
    whole.paste(picture, ((width - picture.width) // 2, 0))
    pen = ImageDraw.Draw(whole)
    for place, line in enumerate(shown):
        words = _fitting(clean(line), lettering, width - 2 * margin)
        pen.text((margin, picture.height + margin // 2 + place * row), words, fill="black", font=lettering)
    return whole


def _fitting(line: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The line, with its middle left out where it is wider than `width` pixels: the end holds how sure it is."""
    kept = len(line)
    shown = line
    while font.getlength(shown) > width and kept > 2:
        kept -= 1
        shown = f"{line[: kept - kept // 2]}…{line[len(line) - kept // 2 :]}"
    return shown

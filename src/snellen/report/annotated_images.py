"""A picture with its answer on it: what `snellen predict --draw` writes."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from snellen.core import files
from snellen.core.errors import UsageError
from snellen.core.spec import Boxes, Numbers, PixelClasses, PixelNumbers, Preprocessing, Spec
from snellen.core.task import Answer
from snellen.data.decode.image_decoder import decode
from snellen.data.decode.image_files import page_of
from snellen.data.decode.video import film_of, frames
from snellen.nn.layers import robust_range
from snellen.report.html_text import clean
from snellen.report.overlay import font, overlaid
from snellen.report.prediction_marks import classes, marks, numbers
from snellen.report.view_html import image
from snellen.tasks.dense_regress import views as maps

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

    def __init__(self, folder: Path, spec: Spec, preprocessing: Preprocessing) -> None:
        if spec.modality != "image":
            raise UsageError(f"--draw needs pictures, the model reads {spec.modality}s", "Leave --draw out.")
        self.folder = folder
        self.spec = spec
        self.preprocessing = Preprocessing(pages=preprocessing.pages)
        self._taken: set[str] = set()
        self._film: tuple[Path, Iterator[tuple[int, Tensor]]] | None = None  # the one that is drawn from, and its rest

    def write(self, path: Path, value_range: tuple[float, float] | None, answer: Answer) -> Path:
        """Writes one picture and returns where.

        Args:
            path: of the picture that was asked about; of the page or frame as it is named, frames in their order.
            span: the values drawn black and white where they are deeper than 8 bits; None: all but its outermost.
        """
        if path.resolve().parent == self.folder.resolve():
            raise UsageError(f"{path} lies in the folder of --draw", "Give a folder of its own.")
        number, name = 1, f"{path.name}.png"
        while name in self._taken:
            number += 1
            name = f"{path.name}-{number}.png"
        self._taken.add(name)
        values = self._values(path)
        if value_range is None:
            value_range = (0.0, 255.0) if values.dtype == torch.uint8 else robust_range(values.double())
        written = io.BytesIO()
        drawn = _drawn(values, value_range, answer, self.spec)
        annotated(drawn, lines(answer, self.spec)).save(written, format="PNG")
        files.write_bytes(self.folder / name, written.getvalue())
        return self.folder / name

    def _values(self, path: Path) -> Tensor:
        """(C, H, W) of a picture, of a page, or of a frame of a film."""
        film = film_of(str(path))
        if film is None or path.exists():
            page = page_of(str(path)) if self.preprocessing.pages == "each" and not path.exists() else None
            return decode(path, self.preprocessing) if page is None else decode(page[0], self.preprocessing, page[1])
        if self._film is None or self._film[0] != film[0]:
            self._film = (film[0], enumerate(frames(film[0])))
        return next(values for number, values in self._film[1] if number == film[1])


def lines(answer: Answer, spec: Spec) -> list[str]:
    """An answer in words, the first line the most telling."""
    if isinstance(spec.target, Boxes):
        return [_counted(answer["objects"], spec.target)]
    if isinstance(spec.target, PixelClasses):
        shares = sorted(answer["shares"].items(), key=lambda pair: -pair[1])
        return [", ".join(f"{name} {100 * share:.3g} %" for name, share in shares if share)]
    if isinstance(spec.target, PixelNumbers):
        units = spec.target.units or ("",) * len(spec.target.names)
        told = [(name, unit, answer["numbers"][name]) for name, unit in zip(spec.target.names, units, strict=True)]
        return [
            f"{name} {n['least']:.3g} … {n['most']:.3g}, mean {n['mean']:.3g} {unit}".rstrip() for name, unit, n in told
        ]
    if isinstance(spec.target, Numbers):
        units = spec.target.units or ("",) * len(spec.target.names)
        named = zip(spec.target.names, units, strict=True)
        return [f"{name} {answer[name]:.4g} {unit}".rstrip() for name, unit in named]
    sure: dict[str, Any] = answer.get("probabilities", {})
    said = answer["labels"] if "labels" in answer else [answer["class"]]
    return [f"{name} ({100 * sure[name]:.0f} %)" if name in sure else name for name in said] or ["no label"]


def _counted(objects: Sequence[Answer], target: Boxes) -> str:
    """ "3 RBC, 1 WBC"."""
    counts = [(sum(one["class"] == name for one in objects), name) for name in target.names]
    return ", ".join(f"{count} {name}" for count, name in counts if count) or "nothing found"


def _drawn(values: Tensor, value_range: tuple[float, float], answer: Answer, spec: Spec) -> Image.Image:
    """The picture with its answer on it, or beside it where that is a map of numbers; enlarged where it is small.

    Args:
        values: (C, H, W).
        span: the values drawn black and white.
    """
    from PIL import Image

    found = numbers(answer, spec)
    if found is not None and values.shape[0] == 6:  # of two frames, the first
        values = values[:3]
    picture = sized(image(values, *value_range).convert("RGB"))
    if found is not None:
        assert isinstance(spec.target, PixelNumbers)
        (shown,) = maps.drawn([found], spec.target, ("answer",))
        other = image(shown.values, shown.low, shown.high).convert("RGB").resize(picture.size, Image.Resampling.NEAREST)
        both = Image.new("RGB", (2 * picture.width, picture.height))
        both.paste(picture, (0, 0))
        both.paste(other, (picture.width, 0))
        return both
    on, kinds = marks(answer, spec), classes(answer, spec)
    return overlaid(picture, picture.width / values.shape[-1], on, kinds) if on or kinds is not None else picture


def sized(picture: Image.Image) -> Image.Image:
    """Enlarged in crisp squares where it is small, reduced where it is large."""
    from PIL import Image

    factor = -(-LEAST // max(picture.size))
    if factor > 1:
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    picture.thumbnail((MOST, MOST), Image.Resampling.LANCZOS)
    return picture


def annotated(picture: Image.Image, told: list[str]) -> Image.Image:
    """A drawn picture above a band with what is told of it."""
    from PIL import Image, ImageDraw

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

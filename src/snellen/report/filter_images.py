"""Images of filtered images: how values map to grey levels, and PNG or JPEG files of them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from snellen.filters.stages import FilterStage, format_value

if TYPE_CHECKING:
    from PIL import Image

SIGNED = 0.01  # |Σ weights| / Σ |weights| up to which a kernel is a derivative: its results lie about 0
MAX_CHANNELS = 6  # drawn side by side, if they are neither grey nor RGB
_ENLARGED = 256  # pixels to which the longer side of a small image is enlarged
_BAND = 1 << 18  # values that are mapped at a time


@dataclass(frozen=True, kw_only=True)
class GreyScale:
    """Values that map to black and white, linearly in between; values outside are clipped."""

    low: float
    high: float

    @property
    def signed(self) -> bool:
        return self.low < 0 and self.low == -self.high

    def __str__(self) -> str:
        if self.signed:
            return f"0 is mid-grey, {format_value(self.low)} black, {format_value(self.high)} white"
        return f"{format_value(self.low)} is black, {format_value(self.high)} white"

    def clipped(self, values: NDArray[Any]) -> int:
        """Number of values below black or above white."""
        if values.min() >= self.low and values.max() <= self.high:
            return 0
        return sum(int(np.count_nonzero((part < self.low) | (part > self.high))) for part in values)


def scale_of_input(values: NDArray[Any], white: float, numbers: bool) -> GreyScale:
    """An image maps 0 to black and `white` to white; numbers map their smallest and largest."""
    smallest = float(values.min())
    return (
        GreyScale(low=smallest, high=float(values.max())) if numbers else GreyScale(low=min(0.0, smallest), high=white)
    )


def scale_of_result(stage: FilterStage, scale: GreyScale, numbers: bool) -> GreyScale:
    """Scale of a result, from the scale of its input.

    Pooling keeps the scale. Weights with a sum of about 0, as of derivatives, map 0 to mid-grey. Other weights multiply
    the scale of an image by their sum, so that a mean stays as bright as its image. Numbers map their own range.
    """
    if stage.plan is None:
        return scale
    weights = stage.plan.weights
    total, size = float(weights.sum()), float(np.abs(weights).sum())
    low, high = float(stage.result.min()), float(stage.result.max())
    if abs(total) <= SIGNED * size:
        largest = max(high, -low)
        return GreyScale(low=-largest, high=largest)
    if numbers or scale.signed:
        return GreyScale(low=low, high=high)
    return GreyScale(low=min(scale.low * total, scale.high * total), high=max(scale.low * total, scale.high * total))


def to_pixels(values: NDArray[Any], scale: GreyScale) -> NDArray[np.uint8]:
    """(C, H, W) values as (H, W) or (H, W, 3) uint8; channels that are not RGB stand side by side."""
    values = values if len(values) in (1, 3) else np.concatenate(list(values[:MAX_CHANNELS]), axis=1)[None]
    channels, height, width = values.shape
    pixels = np.empty((height, width, channels), dtype=np.uint8)
    extent = scale.high - scale.low
    factor = 255.0 / extent if extent > 0 and np.isfinite(extent) else 0.0
    step = max(1, _BAND // max(1, width))
    for top in range(0, height, step):
        for channel in range(channels):
            part = values[channel, top : top + step].astype(np.float64)
            part -= scale.low
            part *= factor
            np.rint(part, out=part)
            np.clip(part, 0, 255, out=part)
            pixels[top : top + step, :, channel] = part
    return pixels[..., 0] if channels == 1 else pixels


def png_bytes(values: NDArray[Any], scale: GreyScale) -> bytes:
    """PNG of (C, H, W) values; a small image is enlarged, a value becoming a square."""
    image = _image(to_pixels(values, scale))
    times = _ENLARGED // max(image.size)
    if times > 1:
        image = image.resize((image.width * times, image.height * times), 0)
    return _encode(image, "PNG", compress_level=1 if image.width * image.height > 1 << 20 else 6)


def png_uri(values: NDArray[Any], scale: GreyScale) -> str:
    """Data URI of a PNG with one pixel for each value."""
    return _uri("png", _encode(_image(to_pixels(values, scale)), "PNG"))


def overview_uri(values: NDArray[Any], scale: GreyScale, side: int) -> str:
    """Data URI of a JPEG of (C, H, W) values, reduced to at most `side` pixels."""
    image = _image(to_pixels(values[:, :: _step(values, side), :: _step(values, side)], scale))
    image.thumbnail((side, side))
    return _uri("jpeg", _encode(image, "JPEG", quality=80))


def contact_sheet(maps: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Images (H, W) of one size in rows of `columns`, with lines of white between them."""
    height, width = maps[0].shape
    rows = -(-len(maps) // columns)
    sheet = np.full((rows * (height + 4) - 4, columns * (width + 4) - 4), 255, dtype=np.uint8)
    for k, image in enumerate(maps):
        top, left = k // columns * (height + 4), k % columns * (width + 4)
        sheet[top : top + height, left : left + width] = image
    return sheet


def reduce_peaks(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """(H, W) values in squares, of each the one of largest magnitude, so that no side is longer than `side`.

    A mean would cancel the signs of a response to stripes.
    """
    step = -(-max(values.shape) // side)
    if step == 1:
        return values
    height, width = (-(-n // step) for n in values.shape)
    tops, lefts = np.arange(height) * step, np.arange(width) * step
    high, low = (
        ufunc.reduceat(ufunc.reduceat(values, tops, axis=0), lefts, axis=1) for ufunc in (np.maximum, np.minimum)
    )
    return np.asarray(np.where(high >= -low, high, low))


def pixels_png(pixels: NDArray[np.uint8]) -> bytes:
    return _encode(_image(pixels), "PNG")


def pixels_uri(pixels: NDArray[np.uint8], lossless: bool = True) -> str:
    image = _image(pixels)
    return _uri("png", _encode(image, "PNG")) if lossless else _uri("jpeg", _encode(image, "JPEG", quality=80))


def _step(values: NDArray[Any], side: int) -> int:
    """Every how many pixels a image of at most four times `side` is taken, before it is reduced by averaging."""
    return max(1, max(int(n) for n in values.shape[1:]) // (4 * side))


def _image(pixels: NDArray[np.uint8]) -> Image.Image:
    from PIL import Image

    return Image.fromarray(pixels)


def _encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"

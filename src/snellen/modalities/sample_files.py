"""Files of generated samples: a grid of images as PNG, rows as CSV, arrays as NPZ."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snellen.core import file_io
from snellen.core.errors import UsageError
from snellen.core.spec import Input
from snellen.nn.layers import robust_range

GAP = 2  # pixels between the images of a grid, white
MAX_GRID_PIXELS = 1 << 26  # of a grid


def write_npz(path: Path, x: Tensor, spec_input: Input) -> None:
    """Samples (N, ...) as the array "x"; images with their channels last, as arrays are read."""
    values = x.numpy()
    if spec_input.has_pixels:
        values = np.moveaxis(values, 1, -1) if values.shape[1] > 1 else values[:, 0]
    buffer = io.BytesIO()
    np.savez(buffer, x=np.ascontiguousarray(values))
    file_io.write_bytes(path, buffer.getvalue())


def write_csv(path: Path, x: Tensor, spec_input: Input) -> None:
    """Rows (N, D) with a header: numbers, and of one-hot columns the category of the largest value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = spec_input.columns
    writer.writerow([column.name for column in columns] or [f"x{k}" for k in range(x.shape[1])])
    shown = x.numpy()  # str() of a NumPy number is the shortest text that is read back as the same number
    for row in shown:
        cells: list[str] = []
        start = 0
        for column in columns:
            part = row[start : start + column.width]
            cells.append(str(part[0]) if column.categories is None else column.categories[int(part.argmax())])
            start += column.width
        writer.writerow(cells or [str(value) for value in row])
    file_io.write_text(path, text.getvalue())


def write_grid(path: Path, x: Tensor, spec_input: Input) -> None:
    """Images (N, C, H, W) as one PNG, row by row; values deeper than 8 bits from their 0.1 % to their 99.9 % quantile.

    Raises:
        UsageError: neither 1 nor 3 channels, or too many pixels for one file.
    """
    from PIL import Image

    count, channels, height, width = x.shape
    if channels not in (1, 3):
        raise UsageError(f"Images of {channels} channels cannot be written as PNG", "Give --out with the suffix .npz.")
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    size = rows * (height + GAP) + GAP, columns * (width + GAP) + GAP
    if math.prod(size) > MAX_GRID_PIXELS:
        raise UsageError(
            f"A grid of {count:,} images of {width}x{height} pixels has {math.prod(size):,} pixels, more than "
            f"{MAX_GRID_PIXELS:,}",
            "Give a smaller --count, or --out with the suffix .npz.",
        )
    low, high = (0.0, 255.0) if x.dtype == torch.uint8 else robust_range(x.double())
    pixels = ((x.double() - low) / (high - low)).clamp(0, 1).mul(255).round().to(torch.uint8)
    grid = torch.full((channels, *size), 255, dtype=torch.uint8)
    for k, image in enumerate(pixels):
        top, left = GAP + k // columns * (height + GAP), GAP + k % columns * (width + GAP)
        grid[:, top : top + height, left : left + width] = image
    array = grid.permute(1, 2, 0).contiguous().numpy()  # (H, W, C)
    buffer = io.BytesIO()
    Image.fromarray(array[..., 0] if channels == 1 else array).save(buffer, format="PNG")
    file_io.write_bytes(path, buffer.getvalue())

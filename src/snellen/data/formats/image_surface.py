"""One image as a surface I = f(x, y): each pixel is a sample, its position the input and its colour the target.

Source: lecture 004, "Approximating an image".
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from snellen.core.errors import DataError, UsageError
from snellen.core.input_files import real_path
from snellen.core.spec import Column, Input, Numbers, Preprocessing
from snellen.core.views import Finding
from snellen.data.check.findings import conversion_findings
from snellen.data.check.nodata_check import check_nodata
from snellen.data.dataset import RawDataset
from snellen.data.decode.header import Header, UnusableFile
from snellen.data.decode.image_files import ImageFiles, open_images, stat_files
from snellen.data.formats import SURFACE, Format, OpenOptions
from snellen.data.formats.file_names import is_image_name
from snellen.data.source import ArraySource

NAME = "image-surface"
SIDE = 128  # pixels of the longer side, of larger images after reduction
MAX_SIDE = 1024  # a million samples
MIN_PIXELS = 64
MAX_CHANNELS = 16
COLOURS = {1: ("grey",), 3: ("red", "green", "blue")}
AXES = ("x", "y")


def recognises(path: Path) -> bool:
    """Whether the path is one image file, by its name."""
    return path.is_file() and is_image_name(path.name)


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """The pixels of an image: positions (N, 2) in row-major order, colours (N, C) in the values of the file.

    x is (column + ½) / width and y is (row + ½) / height: from 0 at the left and upper edge to 1 at the right and lower
    edge. Larger images are reduced by the means of areas.

    Raises:
        DataError: no image file, one that cannot be read, of fewer than 64 pixels or more than 16 channels.
        UsageError: options that do not apply.
    """
    if not path.is_file():
        raise DataError(f"{path} is no file: a surface is fitted to one image", "Give one image file.")
    if options.target not in ((), (SURFACE,)):
        raise UsageError(
            f"{path}: the targets of an image surface are its channels, not {','.join(options.target)!r}",
            "Omit --target.",
        )
    if options.group is not None:
        raise UsageError("--group applies to several files: an image surface is one", "Omit --group.")
    side = options.surface_side or SIDE
    if side > MAX_SIDE:
        raise UsageError(f"--surface-side {side} is too large", f"Use at most {MAX_SIDE}: each pixel is a sample.")
    image, source = _read(path, options)
    channels, height, width = image.shape
    if channels > MAX_CHANNELS:
        raise DataError(f"{path} has {channels} channels, more than {MAX_CHANNELS}", "Save some of them as an image.")
    colours = area_mean(image, *reduced_size(height, width, side))  # (C, h, w)
    rows, columns = colours.shape[1:]
    is_reduced = (rows, columns) != (height, width)
    if rows * columns < MIN_PIXELS:
        raise DataError(
            f"{path} has {columns}x{rows} pixels, too few to fit",
            f"Give an image of at least {MIN_PIXELS} pixels{', or a larger --surface-side' if is_reduced else ''}.",
        )
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    positions = torch.stack([(x.flatten() + 0.5) / columns, (y.flatten() + 0.5) / rows], dim=1)  # (N, 2) float32
    names = COLOURS.get(channels) or tuple(f"channel {k + 1}" for k in range(channels))
    reduced = f", reduced from {width}x{height} by area means (--surface-side {side})"
    return RawDataset(
        source=ArraySource(
            positions, [f"pixel {c},{r}" for r, c in zip(y.flatten().tolist(), x.flatten().tolist(), strict=True)]
        ),
        inputs={
            "position": Input(
                modality="vector",
                shape=(2,),
                columns=tuple(Column(name=name) for name in AXES),
                grid=(rows, columns),
            )
        },
        target=Numbers(names=names, units=("" if image.is_floating_point() else "levels",) * channels),
        truth=colours.flatten(1).T.contiguous(),
        nodata_replaced=source.dtype != "uint8",
        recognised_as=f"an image as a surface: {columns}x{rows} pixels (width x height)"
        f"{reduced if is_reduced else ''}, each one sample: its position x, y in fractions of "
        f"width and height, its {', '.join(names)} in the values of the file ({source.dtype})",
        findings=(*(finding for finding in conversion_findings(source) if finding.kind != "range"), _interpolation()),
        files={"found": 1, "used": 1},
    )


def _read(path: Path, options: OpenOptions) -> tuple[Tensor, ImageFiles]:
    """(C, H, W) pixels at the depth of the file, and the file as a source. Raises DataError."""
    if options.pages == "each":
        raise UsageError("--pages each makes several images; a surface is fitted to one", "Use --pages first or max.")
    real = real_path(path)  # a link that the user names is read
    source = open_images(real.parent, stat_files(real.parent, [real.name]), options.pages)
    if options.nodata is not None and source.dtype != "uint8":
        source = source.with_nodata(options.nodata)
    try:
        if not isinstance(source.headers[0], Header):
            raise source.headers[0]
        check_nodata(source)
        return source.decode(0, Preprocessing(pages=options.pages)), source
    except UnusableFile as error:
        remedy = "Choose --pages first or max." if error.kind == "pages" else error.remedy
        raise DataError(f"{path} {error.cause}", remedy.replace(", or skip the image with --quarantine", "")) from error


def reduced_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Rows and columns of an image whose longer side has at most `side` pixels, in its proportions."""
    scale = min(1.0, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def area_mean(image: Tensor, rows: int, columns: int) -> Tensor:
    """Reduce an image by the mean of the area that each new pixel covers, where pixels are unit squares.

    Args:
        image: (C, H, W) of any dtype; rows ≤ H, columns ≤ W.
    Returns:
        (C, rows, columns) float64.
    """
    vertical, horizontal = _overlaps(image.shape[1], rows), _overlaps(image.shape[2], columns).T
    lines = [
        weights @ image[:, first:last].double() for first, last, weights in _spans(vertical)
    ]  # each (C, W): only the rows below one new row are float64 at once
    return torch.stack(lines, dim=1) @ horizontal


def _overlaps(old: int, new: int) -> Tensor:
    """(new, old) float64: the fraction of each new interval that each old one of length 1 covers; rows sum to 1."""
    edges = torch.arange(new + 1, dtype=torch.float64) * old / new
    cells = torch.arange(old, dtype=torch.float64)
    covered = torch.minimum(edges[1:, None], cells + 1) - torch.maximum(edges[:-1, None], cells)
    return covered.clamp(min=0) * new / old


def _spans(weights: Tensor) -> list[tuple[int, int, Tensor]]:
    """First and last old index that each new one covers, and their weights."""
    result = []
    for row in weights:
        covered = torch.nonzero(row)[:, 0]
        first, last = int(covered[0]), int(covered[-1]) + 1
        result.append((first, last, row[first:last]))
    return result


def _interpolation() -> Finding:
    return Finding(
        kind="interpolation",
        severity="note",
        message="The pixels are split at random, so nearly every test pixel lies between training pixels: the metrics "
        "measure interpolation within this image, and nothing about another image",
    )


FORMAT = Format(NAME, recognises, open_raw, for_target=SURFACE)

"""Image files for tests: valid ones, and one of each kind of bad file."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image


def scene(seed: int, size: tuple[int, int] = (48, 40), channels: int = 3) -> np.ndarray:
    """(H, W, 3) or (H, W) uint8: smooth blobs with noise, a different image for each seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 5, channels), dtype=np.uint8)
    layers = [Image.fromarray(coarse[..., c]).resize(size, Image.Resampling.BICUBIC) for c in range(channels)]
    smooth = np.stack([np.asarray(layer, np.float64) for layer in layers], -1)
    image = np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
    return image if channels > 1 else image[..., 0]


def save(path: Path, values: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)
    return path


def png_header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    return _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


def png(rows: bytes, width: int, height: int, depth: int, colour: int) -> bytes:
    """A PNG of unfiltered rows, for formats that Pillow cannot write."""
    start = b"\x89PNG\r\n\x1a\n" + png_header(width, height, depth, colour)
    return start + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_16(path: Path, values: np.ndarray) -> Path:
    """(H, W, C) uint16 with C = 3 or 4."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    path.write_bytes(png(rows, width, height, 16, {3: 2, 4: 6}[channels]))
    return path


def encoded(values: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(path: Path, values: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values, **options)
    return path


def class_folders(root: Path, classes: dict[str, int], seed: int = 0, suffix: str = ".png") -> Path:
    """Write an image folder with a number of different images for each class."""
    for label, count in classes.items():
        for k in range(count):
            seed += 1
            save(root / label / f"{k:03d}{suffix}", scene(seed))
    return root


def write_bad_files(folder: Path) -> dict[str, str]:
    """Write one bad file of each kind. Returns name -> a word that the error must contain."""
    folder.mkdir(parents=True, exist_ok=True)
    complete_png, complete_jpeg = encoded(scene(900)), encoded(scene(901), "JPEG")
    contents = {
        "zero.png": (b"", "0 bytes"),
        "page.jpg": (b"<!DOCTYPE html><html><body>Not found</body></html>", "web page"),
        "cut.jpg": (complete_jpeg[: len(complete_jpeg) // 2], "truncated"),
        "cut.png": (complete_png[: len(complete_png) // 2], "truncated"),
        "noise.png": (bytes(range(256)) * 4, "not an image"),
        "bomb.png": (b"\x89PNG\r\n\x1a\n" + png_header(60_000, 60_000) + _chunk(b"IDAT", b""), "pixels"),
    }
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    values = np.ones((8, 8), np.float32)
    values[2, 3] = np.nan
    tiff(folder / "nan.tif", values)
    tiff(folder / "stack.tif", np.zeros((3, 8, 8), np.uint16), photometric="minisblack")
    complete = tiff(folder / "short.tif", scene(902, channels=1).astype(np.uint16)).read_bytes()
    (folder / "short.tif").write_bytes(complete[:-100])
    (folder / "gone.png").unlink(missing_ok=True)
    (folder / "gone.png").symlink_to(folder / "nothing.png")
    return {name: word for name, (_, word) in contents.items()} | {
        "nan.tif": "NaN",
        "stack.tif": "pages",
        "short.tif": "truncated",
        "gone.png": "dangling link",
    }

"""Small files that unpack to much, and large ones, each with the bytes that its header declares.

Run as a program, it reads each case under a limit of memory: 4 times the declared bytes and 300 MB above what the
process takes before. It prints a line of JSON per case: the name, the result, and the peak of memory.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import random
import resource
import struct
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from snellen.core.errors import DataError

FREE = 300 << 20  # bytes beside four times the expected size


def zeros(count: int, wbits: int = zlib.MAX_WBITS) -> bytes:
    """`count` zero bytes as a deflate stream."""
    encoder = zlib.compressobj(1, zlib.DEFLATED, wbits)
    part = bytes(1 << 24)
    return b"".join([*(encoder.compress(part) for _ in range(count >> 24)), encoder.flush()])


def tiff(
    path: Path, shape: tuple[int, int, int], bits: int, compression: int, data: bytes, tile: int = 0, kind: int = 1
) -> int:
    """TIFF (H, W, C) with one strip or tile of raw compressed data; returns the bytes that it declares.

    Args:
        kind: SampleFormat: 1 unsigned, 2 signed, 3 float.
    """
    height, width, channels = shape
    offset = 8 + len(data) + (len(data) & 1)
    entries = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, bits),
        (259, 3, compression),
        (262, 3, 1),
        (277, 3, channels),
        (284, 3, 1),
        (339, 3, kind),
    ]
    places = [(322, 4, tile), (323, 4, tile), (324, 4, 8), (325, 4, len(data))]
    strips = [(273, 4, 8), (278, 4, height), (279, 4, len(data))]
    entries += places if tile else strips
    more = b""
    directory = b""
    for tag, type_, value in sorted(entries):
        if tag in (258, 339) and channels > 2:  # one value per channel, stored after the directory
            start = offset + 2 + 12 * len(entries) + 4 + len(more)
            more += struct.pack("<H", value) * channels
            directory += struct.pack("<HHII", tag, type_, channels, start)
        elif tag in (258, 339):
            directory += struct.pack("<HHIHH", tag, type_, channels, value, value if channels == 2 else 0)
        else:
            directory += struct.pack("<HHII", tag, type_, 1, value)
    head = b"II*\0" + struct.pack("<I", offset)
    path.write_bytes(
        head + data.ljust(offset - 8, b"\0") + struct.pack("<H", len(entries)) + directory + bytes(4) + more
    )
    return height * width * channels * bits // 8


def png(path: Path, height: int, width: int, colour: int, bits: int, data: bytes, extra: bytes = b"") -> int:
    """PNG around arbitrary compressed rows. colour: colour type of the header."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return height * width * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] * max(bits, 8) // 8


def decode(path: Path) -> None:
    from snellen.core.spec import Preprocessing
    from snellen.data.decode.image_decoder import decode, header

    header(path)
    decode(path, Preprocessing(pages="max"))
    decode(path, Preprocessing(pages="first", size=(8, 8)))


def decode_raw(path: Path) -> None:
    from snellen.data.decode.image_decoder import read_raw_values

    read_raw_values(path)


def open_dataset(path: Path) -> None:
    from snellen.data.formats import OpenOptions, arrays, idx

    raw: Any = (arrays if path.is_file() else idx).open_raw(path, OpenOptions())
    raw.source.read(np.arange(1), __import__("snellen.core.spec", fromlist=["Preprocessing"]).Preprocessing())


def read_pickle(path: Path) -> None:
    from snellen.data.formats.safe_pickle import read_pickle

    read_pickle(path)


def read_tensors(path: Path) -> None:
    from snellen.core.file_io import read_tensors

    read_tensors(path)


Case = tuple[Path, int, Callable[[Path], None]]


def tiff_bomb(folder: Path, draw: random.Random, size: int) -> Case:
    """A strip or tile that unpacks to `size` bytes in a small image."""
    compression = draw.choice([8, 32946, 32773, 34925])
    data = {
        32773: lambda: b"\x81\0" * (min(size, 1 << 28) // 128),
        34925: lambda: lzma.compress(bytes(min(size, 1 << 29)), preset=0),
    }.get(compression, lambda: zeros(size))()
    bits, kind = draw.choice([(8, 1), (16, 1), (16, 2), (32, 3), (64, 3)])
    shape = draw.choice([(8, 8, 5), (64, 16, 2)]) if bits == 8 else (8, 8, draw.choice([1, 3, 5]))
    return folder / "x.tif", tiff(folder / "x.tif", shape, bits, compression, data, draw.choice([0, 16]), kind), decode


def tiff_huge_tile(folder: Path, draw: random.Random, size: int) -> Case:
    return folder / "x.tif", tiff(folder / "x.tif", (8, 8, 5), 8, 8, zeros(1 << 24), 1 << 16), decode


def tiff_large(folder: Path, draw: random.Random, size: int) -> Case:
    """An honest large image of zeros."""
    bits, kind = draw.choice([(8, 1), (16, 1), (8, 2), (32, 3), (64, 3)])
    channels = draw.choice([1, 2, 5]) if bits > 8 else 5
    side = int((size // 4 / channels / (bits // 8)) ** 0.5) // 8 * 8
    data = zeros((side * side * channels * bits // 8 + (1 << 24)) >> 24 << 24)
    expected = tiff(folder / "x.tif", (side, side, channels), bits, 8, data, 0, kind)
    return folder / "x.tif", expected * (4 if kind == 2 else 1), decode  # int8 is made float32


def tiff_metadata(folder: Path, draw: random.Random, size: int) -> Case:
    """Metadata that declare a million times the pages of the file."""
    import tifffile

    count = draw.choice([1 << 16, 1 << 24, (1 << 31) - 1])
    ome = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        f'<Pixels DimensionOrder="XYCZT" ID="Pixels:0" SizeC="1" SizeT="{count}" SizeX="16" SizeY="16" SizeZ="{count}"'
        f' Type="uint16"><TiffData IFD="0" PlaneCount="{count}"/></Pixels></Image></OME>'
    )
    text = draw.choice(
        [
            ome,
            f"ImageJ=1.53\nimages={count}\nframes={count}\nhyperstack=true\n",
            json.dumps({"shape": [count, 16, 16]}),
        ]
    )
    tifffile.imwrite(folder / "x.tif", np.zeros((16, 16), np.uint16), description=text, metadata=None)
    return folder / "x.tif", 512, decode


def stack(folder: Path, draw: random.Random, size: int) -> Case:
    """The maximum over pages takes the memory of two pages, not of all."""
    import tifffile

    values = np.zeros((16, 1024, 1024), draw.choice([np.uint16, np.float32]))
    tifffile.imwrite(folder / "x.tif", values, compression="zlib", metadata=None, photometric="minisblack")
    return folder / "x.tif", values[0].nbytes, decode


def png_bomb(folder: Path, draw: random.Random, size: int) -> Case:
    """Rows far beyond the image, or a text or profile that unpacks to `size` bytes."""
    colour, bits = draw.choice([(0, 8), (0, 16), (2, 8), (2, 16), (4, 8), (6, 8), (6, 16)])
    extra = b""
    if draw.random() < 0.5:
        name, start = draw.choice([(b"zTXt", b"x\0\0"), (b"iCCP", b"x\0\0"), (b"iTXt", b"x\0\1\0\0\0")])
        content = start + zeros(size)
        extra = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return (
        folder / "x.png",
        png(folder / "x.png", 8, 8, colour, bits, zeros(size), extra),
        draw.choice([decode, decode_raw]),
    )


def png_large(folder: Path, draw: random.Random, size: int) -> Case:
    """An honest large image of zeros, with alpha or a palette."""
    colour, bits = draw.choice([(0, 8), (0, 1), (0, 16), (2, 8), (2, 16), (3, 8), (4, 8), (6, 8), (6, 16)])
    count = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] * max(bits, 8) // 8
    side = min(int((size // 4 / count) ** 0.5), 13_000)
    extra = b""
    if colour == 3:
        for name, content in ((b"PLTE", bytes(range(6))), (b"tRNS", b"\x80\xff")):
            extra += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    rows = (side * count + 1) * side
    expected = png(folder / "x.png", side, side, colour, bits, zeros((rows >> 24) + 1 << 24), extra)
    return folder / "x.png", expected * (3 if colour == 3 else 1), draw.choice([decode, decode_raw])


def long_image(folder: Path, draw: random.Random, size: int) -> Case:
    """One pixel wide: a decoder keeps a pointer for each row."""
    height = draw.choice([1 << 20, 1 << 27])
    shape = draw.choice([(height, 1), (1, height)])
    return folder / "x.png", png(folder / "x.png", *shape, 0, 8, zeros(1 << 28)), decode


def photograph(folder: Path, draw: random.Random, size: int) -> Case:
    """Honest large images. Two decoders need more working memory: WebP several canvases, JPEG 2000 int32 values."""
    from PIL import Image, features

    kinds = [("JPEG", "RGB"), ("JPEG", "CMYK"), ("JPEG", "L"), ("GIF", "P"), ("BMP", "RGB"), ("TIFF", "RGB")]
    kinds += [("TIFF", "L"), ("WEBP", "RGB"), ("JPEG2000", "RGB"), ("JPEG2000", "RGBA")]
    kind, mode = draw.choice(kinds + [("AVIF", "RGB")] * bool(features.check("avif")))
    more = {"compression": draw.choice(["tiff_lzw", "packbits", "tiff_deflate"])} if kind == "TIFF" else {}
    exif = Image.Exif()
    exif[274] = draw.choice([1, 6])
    side = min(int((size // 8 / len(Image.new(mode, (1, 1)).getbands())) ** 0.5), 13_000)
    image = Image.new(mode, (side, side))
    path = folder / f"x.{'jp2' if kind == 'JPEG2000' else kind.lower()}"
    image.save(path, kind, **more, **({"exif": exif} if kind == "JPEG" else {}))
    expected = side * side * (3 if mode == "P" else len(image.getbands()))
    return path, int(expected * {"WEBP": 1.5, "JPEG2000": 2.25}.get(kind, 1)), decode


def idx_bomb(folder: Path, draw: random.Random, size: int) -> Case:
    count = draw.choice([3, 20])
    images = struct.pack(">I3I", 0x803, count, 28, 28) + bytes(count * 784)
    with gzip.GzipFile(folder / "train-images-idx3-ubyte.gz", "wb", 1) as file:
        file.write(images)
        for _ in range(size >> 24):
            file.write(bytes(1 << 24))
    labels = struct.pack(">II", 0x801, count) + bytes(k % 2 for k in range(count))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return folder, len(images), open_dataset


def npz(folder: Path, draw: random.Random, size: int) -> Case:
    """Integers of 8 bits, which become float32; or a member that unpacks to more than its header declares."""
    dtype = np.dtype(draw.choice(["i1", "u1", "f2", "f8", "?"]))
    rows = size // 8 // dtype.itemsize // 1000
    names = {"x": ((rows, 1000), dtype), "y": ((rows,), np.dtype("u1"))}
    kind = draw.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    with zipfile.ZipFile(folder / "x.npz", "w", kind, compresslevel=1) as archive:
        for name, (shape, kind_) in names.items():
            head = io.BytesIO()
            np.lib.format.write_array_header_1_0(head, {"descr": kind_.str, "fortran_order": False, "shape": shape})
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                member.write(head.getvalue())
                content = bytes(int(np.prod(shape)) * kind_.itemsize)
                member.write(content if name == "x" else bytes(k % 2 for k in range(rows)))
    made = {"i1": 4, "u1": 1, "f2": 4, "f8": 8, "b1": 1}[dtype.str[1:]]
    return folder / "x.npz", rows * (1000 * made + 16), open_dataset


def hdf5(folder: Path, draw: random.Random, size: int) -> Case:
    """A chunk that unpacks to `size` bytes."""
    import h5py

    with h5py.File(folder / "x.h5", "w") as file:
        x = file.create_dataset("x", (64, 1000), "u1", chunks=(8, 1000), compression="gzip")
        x.id.write_direct_chunk((0, 0), zeros(size))
        file["y"] = np.arange(64) % 2
    return folder / "x.h5", 8000, open_dataset


def pickled(folder: Path, draw: random.Random, size: int) -> Case:
    """A string converted again and again, a list of one large object, or a million marks."""
    length = 1 << 16
    text = b"X" + struct.pack("<I", length) + b"a" * length
    one = b"c_codecs\nencode\nq\0" + text + b"q\1" + b"X\6\0\0\0latin1q\2"
    content = draw.choice(
        [
            b"}(U\1a](" + one + b"h\0h\1h\2\x86R" * (size // length) + b"eu.",
            b"(" * (size // 200),
            b"N" + b"\x94" * (size // 200),
            b"]" * (size // 200),
        ]
    )
    (folder / "x.pkl").write_bytes(b"\x80\2" + content)
    return folder / "x.pkl", len(content), read_pickle


def safetensors(folder: Path, draw: random.Random, size: int) -> Case:
    """A header of 60 MB, which would take a gigabyte when it is parsed."""
    entries = ",".join(f'"{k}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for k in range(1_000_000))
    header = ("{" + entries + "}").encode()
    (folder / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    return folder / "x.safetensors", 0, read_tensors


QUICK: tuple[tuple[Callable[..., Case], int], ...] = (
    (tiff_bomb, 0),
    (tiff_huge_tile, 0),
    (tiff_metadata, 0),
    (tiff_metadata, 1),
    (png_bomb, 0),
    (long_image, 0),
    (long_image, 1),
    (idx_bomb, 0),
    (hdf5, 0),
    (pickled, 0),
    (pickled, 1),
    (stack, 0),
)
ALL = (
    tiff_bomb,
    tiff_huge_tile,
    tiff_large,
    tiff_metadata,
    stack,
    png_bomb,
    png_large,
    long_image,
    photograph,
    idx_bomb,
    npz,
    hdf5,
    pickled,
    safetensors,
)


def memory(field: str) -> int:
    """VmSize or VmPeak of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def read_limited(case: Case) -> tuple[str, float]:
    """Result of reading a case under its limit, and seconds."""
    path, expected, read = case
    limit = memory("VmSize") + 4 * expected + FREE
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    begin = time.monotonic()
    try:
        read(path)
        result = "read"
    except DataError as error:
        out_of_memory = "bad_alloc" in error.cause or ("memory" in error.cause and "free" not in error.cause)
        result = f"{'OUT OF MEMORY' if out_of_memory else 'refused'}: {error.cause[:200]}"
    except MemoryError:
        result = "OUT OF MEMORY"
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    return result, time.monotonic() - begin


def main(kind: str, seeds: int, size: int) -> None:
    import torch

    import snellen.data.decode.image_files  # noqa: F401

    torch.set_num_threads(1)
    cases = QUICK if kind == "quick" else tuple((make, seed) for seed in range(seeds) for make in ALL)
    for make, seed in cases:
        with tempfile.TemporaryDirectory() as folder:
            case = make(Path(folder), random.Random(f"{make.__name__} {seed}"), size)
            result, seconds = read_limited(case)
        line = {"case": f"{make.__name__} {seed}", "expected": case[1], "result": result, "seconds": round(seconds, 2)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

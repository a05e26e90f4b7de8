"""Triangle meshes in OBJ, OFF and PLY files, and point clouds sampled from their surfaces.

Polygons are divided into triangles from their first corner, which is right for convex ones. Normals, colours, texture
coordinates, materials, lines and single points are not read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.core.input_files import open_regular
from snellen.core.random import generator
from snellen.data.decode.header import UnusableFile
from snellen.data.decode.ply import parse_ply
from snellen.geometry.surface_sampling import on_triangles, triangle_areas

SUFFIXES = (".obj", ".off", ".ply")
POINTS = 1024  # of a cloud, where nothing else is given
MAX_BYTES = 1 << 29  # of a file
MAX_COORDINATE = 1e30  # areas of larger triangles, and statistics of many points, overflow
_REPAIR = "Repair it, or export it again."


class TriangleMesh(NamedTuple):
    """vertices: (V, 3) float64, finite. faces: (F, 3) int64 indices of vertices; the total area is not zero."""

    vertices: np.ndarray
    faces: np.ndarray

    def digest(self) -> str:
        """Hash of vertices and faces; comments, colours and the notation of numbers do not count."""
        return hashlib.sha256(self.vertices.tobytes() + self.faces.tobytes()).hexdigest()

    def cloud(self, count: int, number: int = 0) -> Tensor:
        """(count, 3) float64 points, uniform by area: a function of the mesh and the number of the sample."""
        rng = generator(0, "mesh", self.digest(), number)
        u = torch.rand(count, 3, generator=rng, dtype=torch.float64).numpy()
        return torch.from_numpy(on_triangles(u, self.vertices, self.faces))


class Polygons(NamedTuple):
    """Corners of polygons as they stand in a file: (n,) indices of vertices, and (m,) number of corners of each."""

    corners: np.ndarray
    sizes: np.ndarray


def read_mesh(path: Path) -> TriangleMesh:
    """Read the mesh of a file. Raises UnusableFile, whose cause follows the path."""
    try:
        with open_regular(path) as file:
            return parse_mesh(path.name, file)
    except OSError as error:
        reason = (error.strerror or "cannot be opened").lower()
        raise UnusableFile("unreadable", f"cannot be read ({reason})", "Check the path and its permissions.") from error


def parse_mesh(name: str, file: IO[bytes]) -> TriangleMesh:
    """The mesh of an open file; its name gives the format.

    Raises:
        UnusableFile: another format or malformed text, no face, an index without vertex, NaN or infinity, no area.
    """
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UnusableFile("corrupt", f"has more than {MAX_BYTES >> 20} MiB", "Simplify the mesh first.")
    if not content.strip():
        raise UnusableFile("corrupt", "is empty", _REPAIR)
    suffix = Path(name).suffix.lower()
    parse = {".obj": _parse_obj, ".off": _parse_off, ".ply": parse_ply}[suffix]
    vertices, corners, sizes = parse(content)
    if not len(vertices):
        raise UnusableFile("corrupt", "has no vertices", _REPAIR)
    bad = np.flatnonzero(~(np.abs(vertices) <= MAX_COORDINATE).all(1))
    if len(bad):
        raise UnusableFile(
            "corrupt",
            f"has NaN, infinite or huge coordinates (above {MAX_COORDINATE:g}) in {len(bad):,} vertices, the first is "
            f"vertex {bad[0] + 1}",
            _REPAIR,
        )
    if not len(sizes):
        raise UnusableFile(
            "corrupt",
            f"has no faces, only {len(vertices):,} vertices",
            "A cloud of points is not sampled: save clouds of equal length as NPZ (N, P, 3), with --modality points.",
        )
    wrong = np.flatnonzero((corners < 0) | (corners >= len(vertices)))
    if len(wrong):
        face = int(np.searchsorted(np.cumsum(sizes), wrong[0], side="right")) + 1
        raise UnusableFile("corrupt", f"has a face without vertex: face {face} of {len(vertices):,} vertices", _REPAIR)
    mesh = TriangleMesh(vertices, triangles(Polygons(corners, sizes)))
    if not float(triangle_areas(*mesh).sum()) > 0:
        raise UnusableFile("corrupt", "has no area: all of its faces are lines or points", _REPAIR)
    return mesh


def triangles(polygons: Polygons) -> np.ndarray:
    """Triangles (F, 3) of polygons: (first, k, k + 1) for each corner k from the second to the last but one."""
    corners, sizes = polygons
    starts = np.cumsum(sizes) - sizes
    counts = sizes - 2  # triangles of each polygon
    first = np.repeat(starts, counts)
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    faces: np.ndarray = np.stack([corners[first], corners[first + within + 1], corners[first + within + 2]], 1)
    return faces


def _parse_obj(content: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, corners and sizes of the polygons of an OBJ file; negative indices count from the last vertex."""
    positions: list[list[bytes]] = []
    position_lines: list[int] = []
    corners: list[int] = []
    sizes: list[int] = []
    _check_text(content, "OBJ")
    for number, line in enumerate(_joined_lines(content), 1):
        words = line.partition(b"#")[0].split()
        if not words:
            continue
        if words[0] == b"v":
            if len(words) < 4:
                raise _bad_line(number, line, "a vertex needs three coordinates")
            positions.append(words[1:4])
            position_lines.append(number)
        elif words[0] == b"f":
            if len(words) < 4:
                raise _bad_line(number, line, "a face needs three corners")
            for word in words[1:]:
                text = word.partition(b"/")[0]
                if not text.removeprefix(b"-").isdigit() or not (index := int(text)):
                    raise _bad_line(number, line, "corners are whole numbers from 1, or negative ones")
                corners.append(index - 1 if index > 0 else max(len(positions) + index, -1))
            sizes.append(len(words) - 1)
    return _numbers(positions, position_lines), _indices(corners), np.array(sizes, np.int64)


def _joined_lines(content: bytes) -> list[bytes]:
    """Lines; one that ends in a backslash continues on the next."""
    if b"\\" in content:
        content = content.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ")
    return content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")


def _parse_off(content: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, corners and sizes of the polygons of an OFF file, also where the counts follow "OFF" in its line."""
    _check_text(content, "OFF")
    lines = [
        (number, words)
        for number, line in enumerate(_joined_lines(content), 1)
        if (words := line.partition(b"#")[0].split())
    ]
    if not lines:
        raise UnusableFile("corrupt", "holds comments only", _REPAIR)
    head = lines[0][1][0]
    kind = next((kind for kind in (b"OFF", b"COFF", b"NOFF", b"CNOFF") if head.startswith(kind)), None)
    if kind is None:
        raise UnusableFile("corrupt", f"begins with {_shown(head)}, not with OFF", _REPAIR)
    rest = [word for word in (head[len(kind) :], *lines[0][1][1:]) if word]
    lines = [(lines[0][0], rest), *lines[1:]] if rest else lines[1:]
    counts = lines[0][1] if lines else []
    if len(counts) < 2 or not all(word.isdigit() for word in counts[:2]):
        raise UnusableFile("corrupt", "has no numbers of vertices and faces after OFF", _REPAIR)
    vertices, faces = int(counts[0]), int(counts[1])
    body = lines[1:]
    if len(body) < vertices + faces:
        raise UnusableFile(
            "corrupt", f"ends early: {vertices:,} vertices and {faces:,} faces, {len(body):,} lines", _REPAIR
        )
    corners: list[int] = []
    sizes: list[int] = []
    for number, words in body[:vertices]:
        if len(words) < 3:
            raise _bad_line(number, b" ".join(words), "a vertex needs three coordinates")
    for number, words in body[vertices : vertices + faces]:
        size = int(words[0]) if words[0].isdigit() else 0
        texts = words[1 : size + 1]
        if size < 3 or len(texts) < size or not all(text.isdigit() for text in texts):
            raise _bad_line(number, b" ".join(words), "a face is its number of corners, at least 3, and their vertices")
        corners += map(int, texts)
        sizes.append(size)
    positions = [words[:3] for _, words in body[:vertices]]
    return _numbers(positions, [number for number, _ in body[:vertices]]), _indices(corners), np.array(sizes, np.int64)


def _check_text(content: bytes, kind: str) -> None:
    if b"\0" in content[:4096]:
        raise UnusableFile("corrupt", f"is not an {kind} text file", "Export it as text, or as PLY.")


def _numbers(rows: Sequence[Sequence[bytes]], lines: Sequence[int]) -> np.ndarray:
    """(V, 3) float64. Raises UnusableFile, which names the first line without numbers."""
    try:
        if any(b"_" in word for row in rows for word in row):  # which float accepts
            raise ValueError
        values: np.ndarray = np.array(rows, dtype=np.bytes_).astype(np.float64).reshape(-1, 3)
        return values
    except ValueError:
        for row, line in zip(rows, lines, strict=True):
            if not all(map(_is_number, row)):
                raise _bad_line(line, b" ".join(row), "coordinates are three numbers") from None
        raise


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return b"_" not in word


def _indices(corners: Sequence[int]) -> np.ndarray:
    """(n,) int64; -1 for an index above the number of vertices that a file can hold."""
    return np.array([corner if corner <= MAX_BYTES else -1 for corner in corners], np.int64)


def _bad_line(number: int, line: bytes, rule: str) -> UnusableFile:
    return UnusableFile("corrupt", f"line {number}: {_shown(line)}, but {rule}", _REPAIR)


def _shown(text: bytes) -> str:
    return repr(text.strip()[:40].decode("utf-8", "replace"))

"""PLY files of polygons, as text and in binary.

Source: Turk 1994, "The PLY polygon file format".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from snellen.data.decode.header import UnusableFile

_TYPES = {
    "char": "i1",
    "int8": "i1",
    "uchar": "u1",
    "uint8": "u1",
    "short": "i2",
    "int16": "i2",
    "ushort": "u2",
    "uint16": "u2",
    "int": "i4",
    "int32": "i4",
    "uint": "u4",
    "uint32": "u4",
    "float": "f4",
    "float32": "f4",
    "double": "f8",
    "float64": "f8",
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_CORNERS = ("vertex_indices", "vertex_index")
_REPAIR = "Repair it, or export it again."
_MAX_HEADER = 1 << 16  # bytes


class Property(NamedTuple):
    """type: of the values, as NumPy names it. length: type of the length of a list; None for a single value."""

    name: str
    type: str
    length: str | None = None


class Element(NamedTuple):
    name: str
    rows: int
    properties: list[Property]

    @property
    def position_columns(self) -> list[int] | None:
        """Columns of x, y and z; None if one is missing or a list stands among the properties."""
        names = [p.name for p in self.properties]
        if any(p.length for p in self.properties) or not {"x", "y", "z"} <= set(names):
            return None
        return [names.index(axis) for axis in "xyz"]


def parse_ply(content: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (V, 3), corners (n,) of all polygons and numbers (F,) of corners. Raises UnusableFile."""
    order, elements, body = _parse_header(content)
    vertices, corners, sizes = np.zeros((0, 3)), np.zeros(0, np.int64), np.zeros(0, np.int64)
    reader = _Text(body) if order == "" else _Binary(body, order)
    for element in elements:
        if element.name == "vertex":
            columns = element.position_columns
            if columns is None:
                raise UnusableFile("corrupt", "has vertices without x, y and z", _REPAIR)
            vertices = reader.table(element)[:, columns]
        else:
            corners_of, sizes_of = reader.lists(element)
            if element.name == "face":
                corners, sizes = corners_of, sizes_of
    if len(sizes) and int(sizes.min()) < 3:
        face = int(np.flatnonzero(sizes < 3)[0]) + 1
        raise UnusableFile("corrupt", f"has a face of fewer than three corners: face {face}", _REPAIR)
    return vertices, corners, sizes


def _parse_header(content: bytes) -> tuple[str, list[Element], bytes]:
    """Byte order ("" for text), elements, and what follows the header."""
    end = content.find(b"end_header", 0, _MAX_HEADER)
    newline = content.find(b"\n", end)
    if not content.startswith(b"ply") or end < 0 or newline < 0:
        raise UnusableFile("corrupt", "has no PLY header", _REPAIR)
    order, elements = None, list[Element]()
    for line in content[:end].decode("ascii", "replace").splitlines()[1:]:
        words = line.split()
        match words:
            case [] | ["comment" | "obj_info", *_]:
                continue
            case ["format", name, _] if name in _ORDERS:
                order = _ORDERS[name]
                continue
            case ["element", name, count] if count.isdecimal():
                elements.append(Element(name, int(count), []))
                continue
            case ["property", "list", count, kind, name] if count in _TYPES and kind in _TYPES and elements:
                if _TYPES[count][0] != "f":
                    elements[-1].properties.append(Property(name, _TYPES[kind], _TYPES[count]))
                    continue
            case ["property", kind, name] if kind in _TYPES and elements:
                elements[-1].properties.append(Property(name, _TYPES[kind]))
                continue
        raise UnusableFile("corrupt", f"has an unknown line in its PLY header: {line[:60]!r}", _REPAIR)
    if order is None:
        raise UnusableFile("corrupt", "has no format in its PLY header", _REPAIR)
    body = content[newline + 1 :]
    for element in elements:  # so that no count allocates more than the file holds
        if element.rows > len(body) or not element.properties:
            raise _ends_early(element)
    return order, elements, body


def _ends_early(element: Element) -> UnusableFile:
    return UnusableFile("corrupt", f"ends before its {element.rows:,} rows of {element.name!r}", _REPAIR)


def _bad_row(element: Element, row: int) -> UnusableFile:
    return UnusableFile("corrupt", f"has no valid numbers in row {row + 1} of {element.name!r}", _REPAIR)


class _Text:
    """Rows of text, one line for each."""

    def __init__(self, body: bytes) -> None:
        self.lines = [words for line in body.split(b"\n") if (words := line.split())]
        self.at = 0

    def _rows(self, element: Element) -> list[list[bytes]]:
        rows = self.lines[self.at : self.at + element.rows]
        if len(rows) < element.rows:
            raise _ends_early(element)
        self.at += element.rows
        return rows

    def table(self, element: Element) -> np.ndarray:
        width = len(element.properties)
        rows = self._rows(element)
        values = np.empty((len(rows), width))
        for k, row in enumerate(rows):
            try:
                values[k] = [float(word) for word in row[:width]]
            except ValueError:
                raise _bad_row(element, k) from None
        return values

    def lists(self, element: Element) -> tuple[np.ndarray, np.ndarray]:
        corners: list[int] = []
        sizes: list[int] = []
        for k, words in enumerate(self._rows(element)):
            at = 0
            try:
                for p in element.properties:
                    size = 1 if p.length is None else int(words[at])
                    at += p.length is not None
                    if size < 0 or at + size > len(words):
                        raise ValueError
                    if p.name in _CORNERS:
                        corners += map(int, words[at : at + size])
                        sizes.append(size)
                    at += size
            except (ValueError, IndexError):
                raise _bad_row(element, k) from None
        limited = [corner if abs(corner) < 1 << 40 else -1 for corner in corners]
        return np.array(limited, np.int64), np.array(sizes, np.int64)


class _Binary:
    """Rows in binary."""

    def __init__(self, body: bytes, order: str) -> None:
        self.body = body
        self.order = order
        self.at = 0

    def _take(self, element: Element, dtype: np.dtype[np.void]) -> np.ndarray:
        if self.at + element.rows * dtype.itemsize > len(self.body):
            raise _ends_early(element)
        rows = np.frombuffer(self.body, dtype, element.rows, self.at)
        self.at += element.rows * dtype.itemsize
        return rows

    def table(self, element: Element) -> np.ndarray:
        rows = self._take(element, self._dtype(element, ()))
        return np.stack([rows[f"{k}"].astype(np.float64) for k in range(len(element.properties))], 1)

    def _dtype(self, element: Element, sizes: tuple[int, ...]) -> np.dtype[np.void]:
        """Type of a row whose lists have these sizes."""
        fields: list[tuple[str, str] | tuple[str, str, tuple[int, ...]]] = []
        lists = iter(sizes)
        for k, p in enumerate(element.properties):
            if p.length is None:
                fields.append((f"{k}", self.order + p.type))
            else:
                fields += [(f"n{k}", self.order + p.length), (f"{k}", self.order + p.type, (next(lists),))]
        return np.dtype(fields)

    def lists(self, element: Element) -> tuple[np.ndarray, np.ndarray]:
        if not element.rows:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        start = self.at
        first = self._row(element)
        sizes = tuple(len(values) for p, values in zip(element.properties, first, strict=True) if p.length is not None)
        self.at = start
        corners: list[np.ndarray] = []
        lengths: list[np.ndarray] = []
        dtype = self._dtype(element, sizes)
        chosen = [k for k, p in enumerate(element.properties) if p.name in _CORNERS and p.length is not None]
        if start + element.rows * dtype.itemsize <= len(self.body):
            rows = self._take(element, dtype)
            counted = [k for k, p in enumerate(element.properties) if p.length is not None]
            if all(bool((rows[f"n{k}"] == size).all()) for k, size in zip(counted, sizes, strict=True)):
                for k in chosen:
                    corners.append(rows[f"{k}"].astype(np.int64).ravel())
                    lengths.append(np.full(element.rows, rows[f"{k}"].shape[1], np.int64))
                return _concatenated(corners), _concatenated(lengths)
            self.at = start
        for _ in range(element.rows):  # lists of several lengths
            row = self._row(element)
            corners += [row[k].astype(np.int64) for k in chosen]
            lengths += [np.array([len(row[k])]) for k in chosen]
        return _concatenated(corners), _concatenated(lengths)

    def _row(self, element: Element) -> list[np.ndarray]:
        """Values of each property of the next row."""
        values = []
        for p in element.properties:
            size = 1 if p.length is None else int(self._values(element, p.length, 1)[0])
            values.append(self._values(element, p.type, size))
        return values

    def _values(self, element: Element, kind: str, count: int) -> np.ndarray:
        dtype = np.dtype(self.order + kind)
        if count < 0 or self.at + count * dtype.itemsize > len(self.body):
            raise _ends_early(element)
        values = np.frombuffer(self.body, dtype, count, self.at)
        self.at += count * dtype.itemsize
        return values


def _concatenated(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)

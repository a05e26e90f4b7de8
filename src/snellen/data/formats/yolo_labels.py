"""YOLO label files: a class with a box, a polygon, or a box and keypoints on each line, in normalised coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from snellen.core.errors import first_line, short_repr
from snellen.core.input_files import read_text
from snellen.data.formats.polygons import Ring


class Line(NamedTuple):
    """An object, in coordinates normalised by image width and height.

    number: line number in the file, from 1. box: x1, y1, x2, y2. ring: its polygon. points: x, y, v of each keypoint.
    """

    number: int
    label: int
    box: tuple[float, float, float, float]
    ring: Ring | None = None
    points: tuple[float, ...] | None = None


def read_lines(path: Path, keypoints: tuple[int, int] | None) -> list[Line]:
    """Read the objects of one file; an empty file has none.

    Args:
        keypoints: their number, and values for each: 2 (x, y) or 3 (x, y, v).
    Raises:
        ValueError: a line is invalid; the message gives its number.
    """
    try:
        text = read_text(path)
    except UnicodeDecodeError as error:
        raise ValueError("is not UTF-8 text") from error
    except OSError as error:
        raise ValueError(f"cannot be read ({first_line(error)})") from error
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if fields:
            try:
                lines.append(_line(number, fields, keypoints))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
    return lines


def _line(number: int, fields: list[str], keypoints: tuple[int, int] | None) -> Line:
    try:
        label, *numbers = map(float, fields)
    except ValueError as error:
        raise ValueError(f"{short_repr(' '.join(fields))} are not all numbers") from error
    if not label.is_integer() or label < 0:  # NaN and infinity are not integers
        raise ValueError(f"{short_repr(fields[0])} is not a class index")
    if len(numbers) == 4:
        return Line(number, int(label), _corners(numbers))
    if keypoints is not None:
        count, values_per_point = keypoints
        if len(numbers) != 4 + count * values_per_point:
            raise ValueError(
                f"{len(fields)} numbers are not the class, 4 of a box and {count} x {values_per_point} of keypoints"
            )
        return Line(number, int(label), _corners(numbers[:4]), None, _points(numbers[4:], values_per_point))
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError(f"{len(fields)} numbers are neither a class and 4 of a box nor a class and a polygon")
    x, y = numbers[0::2], numbers[1::2]
    return Line(number, int(label), (min(x), min(y), max(x), max(y)), numbers)


def _corners(box: list[float]) -> tuple[float, float, float, float]:
    x, y, width, height = box
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _points(numbers: list[float], values_per_point: int) -> tuple[float, ...]:
    """x, y, v of each keypoint. Without v, a point at 0, 0 is not labelled and any other is visible."""
    points: list[float] = []
    for start in range(0, len(numbers), values_per_point):
        x, y, *visibility = numbers[start : start + values_per_point]
        points += [x, y, visibility[0] if visibility else 2.0 * bool(x or y)]
    return tuple(points)

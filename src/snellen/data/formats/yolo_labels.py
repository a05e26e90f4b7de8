"""The lines of YOLO's text files: a class and a box, a polygon, or a box with keypoints, in shares of the picture."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from snellen.core.errors import first_line, shown
from snellen.data.formats.polygons import Ring


class Line(NamedTuple):
    """An object, in shares of width and height.

    number: of the line in its file, from 1. box: x1, y1, x2, y2. ring: its polygon. points: x, y, v of each keypoint.
    """

    number: int
    label: int
    box: tuple[float, float, float, float]
    ring: Ring | None = None
    points: tuple[float, ...] | None = None


def read_lines(path: Path, keypoints: tuple[int, int] | None) -> list[Line]:
    """The objects of one file; an empty one has none.

    Args:
        keypoints: how many, and numbers for each: x, y or x, y, v.
    Raises:
        ValueError: naming the line that cannot be read.
    """
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("is no text in UTF-8") from error
    except OSError as error:
        raise ValueError(f"cannot be read ({first_line(error)})") from error
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words:
            try:
                lines.append(_line(number, words, keypoints))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
    return lines


def _line(number: int, words: list[str], keypoints: tuple[int, int] | None) -> Line:
    try:
        label, *numbers = map(float, words)
    except ValueError as error:
        raise ValueError(f"{shown(' '.join(words))} are not all numbers") from error
    if not label.is_integer() or label < 0:  # NaN and infinity are no integers
        raise ValueError(f"{shown(words[0])} is no number of a class")
    if len(numbers) == 4:
        return Line(number, int(label), _corners(numbers))
    if keypoints is not None:
        count, each = keypoints
        if len(numbers) != 4 + count * each:
            raise ValueError(f"{len(words)} numbers are not the class, 4 of a box and {count} x {each} of keypoints")
        return Line(number, int(label), _corners(numbers[:4]), None, _points(numbers[4:], each))
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError(f"{len(words)} numbers are neither a class and 4 of a box nor a class and a polygon")
    x, y = numbers[0::2], numbers[1::2]
    return Line(number, int(label), (min(x), min(y), max(x), max(y)), numbers)


def _corners(box: list[float]) -> tuple[float, float, float, float]:
    x, y, width, height = box
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _points(numbers: list[float], each: int) -> tuple[float, ...]:
    """x, y, v; where v is not told, a point at 0, 0 is not labelled and any other is seen."""
    points: list[float] = []
    for start in range(0, len(numbers), each):
        x, y, *seen = numbers[start : start + each]
        points += [x, y, seen[0] if seen else 2.0 * bool(x or y)]
    return tuple(points)

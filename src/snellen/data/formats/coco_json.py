"""One JSON file in COCO's layout: pictures, categories and annotations, checked and sorted by picture.

Numbers of pictures and categories are names: they may have gaps, begin at 0, or be text.
"""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from snellen.core.errors import DataError, first_line, shown
from snellen.data.formats.object_datasets import is_name, leads_out
from snellen.data.formats.polygons import Outline, Runs, compressed

_NUMBERS = {int, float}
_EXPORT = "Export it again, or mend the file."


class Category(NamedTuple):
    """`bones`: pairs of places in `keypoints`."""

    name: str
    keypoints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]


class Row(NamedTuple):
    """An annotation.

    id: as told; -k for the k-th in the file where none is told that can be written so.
    category: its number. box: x1, y1, x2, y2. area: NaN where it is not told. points: x, y, v, one after the other.
    """

    id: int
    category: int | str
    box: tuple[float, ...]
    crowd: bool
    ignored: bool
    area: float
    outline: Outline | None
    points: tuple[float, ...] | None


@dataclass(kw_only=True)
class CocoFile:
    """What a file tells.

    Args:
        called: what the user knows the file by.
        ids, names, sizes: of each picture: its number, its file as told, height and width (0 where not told).
        rows: of each picture.
        wrong: picture, kind of the finding, and what is wrong.
        homeless: annotations of pictures that the file does not have.
    """

    path: Path
    called: str
    categories: Mapping[Any, Category]
    ids: list[int | str]
    names: list[str]
    sizes: list[tuple[int, int]]
    rows: list[list[Row]]
    wrong: list[tuple[int, str, str]] = field(default_factory=list)
    homeless: list[str] = field(default_factory=list)


def read(path: Path, root: Path) -> CocoFile:
    """What a file below `root` tells.

    Raises:
        DataError: where it is no JSON, or not in COCO's layout.
    """
    told = _json(path)
    pictures, categories, annotations = (_list(told, key, path) for key in ("images", "categories", "annotations"))
    known = _categories(categories, path)
    names: list[str] = []
    sizes: list[tuple[int, int]] = []
    place: dict[Any, int] = {}
    for k, picture in enumerate(pictures):
        id, name = picture.get("id"), picture.get("file_name")
        if not isinstance(id, int | str) or not isinstance(name, str) or not name:
            without = "id" if not isinstance(id, int | str) else "file_name"
            raise DataError(f"{path}: picture {k + 1} of images has no {without} ({shown(picture)})", _EXPORT)
        if id in place:
            raise DataError(f"{path}: two pictures have the id {shown(id)} ({names[place[id]]}, {name})", _EXPORT)
        if not is_name(name):
            raise DataError(f"{path} names {shown(name)}, which no file can be called", _EXPORT)
        if leads_out(name):
            raise DataError(
                f"{path} names {shown(name)}, which leads out of the folder of the pictures",
                "Name the files relative to the folder that they lie in.",
            )
        place[id] = k
        names.append(PurePosixPath(name.replace("\\", "/")).as_posix())
        sizes.append((_size(picture.get("height")), _size(picture.get("width"))))
    twice = next((name for name, first in zip(names, _firsts(names), strict=True) if not first), None)
    if twice is not None:
        raise DataError(f"{path} names {shown(twice)} twice", "A picture has one id.")
    file = CocoFile(
        path=path,
        called=path.relative_to(root).as_posix(),
        categories=known,
        ids=list(place),
        names=names,
        sizes=sizes,
        rows=[[] for _ in names],
    )
    for k, annotation in enumerate(annotations):
        _add(file, annotation, place, k)
    return file


def _json(path: Path) -> dict[str, Any]:
    collecting = gc.isenabled()
    gc.disable()  # it would look at every object made, again and again
    try:
        told = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON ({first_line(error)})", "Export or fetch it again.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({first_line(error)})", "Mend its permissions.") from error
    finally:
        if collecting:
            gc.enable()
    if not isinstance(told, dict):
        raise DataError(f"{path} holds no object with images, categories and annotations", _EXPORT)
    return told


def _list(told: Mapping[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    found = told.get(key)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise DataError(f"{path} has no list of {key}", _EXPORT)
    return found


def _firsts(names: Sequence[str]) -> Iterator[bool]:
    seen: set[str] = set()
    for name in names:
        yield name not in seen
        seen.add(name)


def _size(told: Any) -> int:
    return min(told, 1 << 31) if isinstance(told, int) and told > 0 else 0


def _categories(told: Sequence[dict[str, Any]], path: Path) -> dict[Any, Category]:
    found: dict[Any, Category] = {}
    for k, entry in enumerate(told):
        id, name = entry.get("id"), entry.get("name")
        if not isinstance(id, int | str) or not isinstance(name, str) or not is_name(name):
            raise DataError(
                f"{path}: category {k + 1} has no {'name' if isinstance(id, int | str) else 'id'} ({shown(entry)})",
                _EXPORT,
            )
        if id in found or name in (category.name for category in found.values()):
            raise DataError(
                f"{path}: two categories have the {'id' if id in found else 'name'} "
                f"{shown(id if id in found else name)}",
                "Give each its own.",
            )
        points = entry.get("keypoints") or []
        if not isinstance(points, list) or not all(isinstance(point, str) and is_name(point) for point in points):
            raise DataError(f"{path}: category {shown(name)} has keypoints {shown(points)}", "Name each keypoint.")
        found[id] = Category(name, tuple(points), _bones(entry.get("skeleton") or [], len(points), name, path))
    if not found:
        raise DataError(f"{path} has no categories", _EXPORT)
    return found


def _bones(told: Any, count: int, name: str, path: Path) -> tuple[tuple[int, int], ...]:
    """COCO counts keypoints from 1; where a 0 stands, they are counted from 0."""
    try:
        pairs = [(int(a), int(b)) for a, b in told]
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{path}: category {shown(name)} has a skeleton {shown(told)}", "Give pairs of keypoints."
        ) from error
    start = 0 if any(0 in pair for pair in pairs) else 1
    if any(not start <= end < count + start for pair in pairs for end in pair):
        raise DataError(f"{path}: category {shown(name)} has a skeleton of other than its {count} keypoints", _EXPORT)
    return tuple((a - start, b - start) for a, b in pairs)


def called(id: int) -> str:
    """What the user knows an annotation by."""
    return f"annotation {id}" if id >= 0 else f"annotation number {-id}"


def _add(file: CocoFile, annotation: dict[str, Any], place: Mapping[Any, int], k: int) -> None:
    """Puts an annotation where it belongs: among the rows of its picture, or among what is wrong."""
    id = annotation.get("id")
    id = id if type(id) is int and 0 <= id < 1 << 63 else -k - 1
    whose = annotation.get("image_id")
    picture = place.get(whose) if isinstance(whose, int | str) else None
    if picture is None:
        file.homeless.append(f"{called(id)} of {file.called} (image_id {shown(whose)})")
        return
    try:
        file.rows[picture].append(_row(annotation, id, file.categories))
    except (ValueError, TypeError, OverflowError) as error:
        kind = "unknown-class" if isinstance(error, _UnknownClass) else "annotation"
        file.wrong.append((picture, kind, f"{called(id)} of {file.called}: {first_line(error)}"))


class _UnknownClass(ValueError):
    """An annotation of a category that the file does not list."""


def _row(annotation: Mapping[str, Any], id: int, categories: Mapping[Any, Category]) -> Row:
    get = annotation.get
    category, crowd, area = get("category_id"), get("iscrowd", 0), get("area")
    outline = _outline(get("segmentation"))
    box = get("bbox")
    if box is None and outline is not None:
        box = _around(outline)
    if not isinstance(box, list) or len(box) != 4 or not _NUMBERS.issuperset(map(type, box)):
        raise ValueError(f"its bbox is {shown(box)}, not [x, y, width, height]")
    if not isinstance(category, int | str) or category not in categories:
        raise _UnknownClass(f"its category_id {shown(category)} is none of the categories")
    x, y, width, height = map(float, box)
    points = get("keypoints")
    if points is not None:
        count = len(categories[category].keypoints)
        if not isinstance(points, list) or len(points) != 3 * count:
            raise ValueError(f"its keypoints are not 3 x {count} numbers")
        points = tuple(map(_finite, points))
    told = isinstance(area, int | float) and area > 0
    return Row(
        id,
        category,
        (x, y, x + width, y + height),
        crowd == 1,
        get("ignore", 0) == 1,
        float(area) if told and area is not None else math.nan,
        outline,
        points,
    )


def _finite(number: Any) -> float:
    if type(number) not in (int, float) or not math.isfinite(number):
        raise ValueError(f"it has a number {shown(number)}")
    return float(number)


def _outline(told: Any) -> Outline | None:
    """Polygons, or runs; None for none. Raises ValueError for what is neither."""
    if not told:
        return None
    if isinstance(told, list):
        for ring in told:
            if not isinstance(ring, list) or len(ring) < 6 or len(ring) % 2:
                raise ValueError(f"its segmentation has a polygon {shown(ring)}, not x, y of three points or more")
            if not _NUMBERS.issuperset(map(type, ring)):
                raise ValueError("its segmentation has a polygon of other than numbers")
        return told
    size, counts = (told.get("size"), told.get("counts")) if isinstance(told, dict) else (None, None)
    if not isinstance(size, list) or len(size) != 2 or not all(type(n) is int and 0 < n < 1 << 20 for n in size):
        raise ValueError(f"its segmentation has the size {shown(size)}")
    if not isinstance(counts, list | str):
        raise ValueError(f"its segmentation has the counts {shown(counts)}")
    return compressed(counts, *size)


def _around(outline: Outline) -> list[float]:
    """x, y, width, height around polygons or runs."""
    if isinstance(outline, Runs):
        from faster_coco_eval.core import mask

        around: list[float] = mask.toBbox({"counts": outline.counts, "size": [outline.height, outline.width]}).tolist()
        return around
    x, y = [n for ring in outline for n in ring[0::2]], [n for ring in outline for n in ring[1::2]]
    return [float(min(x)), float(min(y)), float(max(x) - min(x)), float(max(y) - min(y))]

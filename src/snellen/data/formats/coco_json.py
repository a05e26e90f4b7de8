"""COCO annotation file (JSON): images, categories and annotations, validated and grouped by image.

Ids of images and categories may have gaps, begin at 0, or be strings.
"""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from snellen.core.errors import DataError, first_line, short_repr
from snellen.core.input_files import read_bytes
from snellen.data.formats.object_datasets import is_name, leads_out
from snellen.data.formats.polygons import CompressedRLE, EncodedMask, compress_rle

_NUMBERS = {int, float}
_EXPORT = "Export it again, or fix the file."


class CocoCategory(NamedTuple):
    """A category. keypoints: their names. bones: pairs of indices into `keypoints`."""

    name: str
    keypoints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]


class CocoAnnotation(NamedTuple):
    """An annotation.

    id: as in the file; -k for the k-th annotation where the file has no non-negative integer id.
    category: its id. box: x1, y1, x2, y2. area: NaN where it is missing. points: x, y, v of each keypoint.
    """

    id: int
    category: int | str
    box: tuple[float, ...]
    crowd: bool
    ignored: bool
    area: float
    mask: EncodedMask | None
    points: tuple[float, ...] | None


@dataclass(kw_only=True)
class CocoFile:
    """The content of an annotation file.

    Args:
        display_name: the path shown to the user.
        ids, names, sizes: of each image: its id, its file name, height and width (0 where missing).
        rows: the annotations of each image.
        problems: image index, kind of the finding, and description.
        unlisted: annotations of images that the file does not list.
        other_types: ids that annotations give in another type than the lists, with an example.
    """

    path: Path
    display_name: str
    categories: Mapping[Any, CocoCategory]
    ids: list[int | str]
    names: list[str]
    sizes: list[tuple[int, int]]
    rows: list[list[CocoAnnotation]]
    problems: list[tuple[int, str, str]] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    other_types: list[str] = field(default_factory=list)


def read_coco(path: Path, root: Path) -> CocoFile:
    """Read and validate an annotation file below `root`.

    Raises:
        DataError: the file is not JSON, or not in COCO's layout.
    """
    content = _json(path)
    images, categories, annotations = (_list(content, key, path) for key in ("images", "categories", "annotations"))
    category_of_id = _categories(categories, path)
    names: list[str] = []
    sizes: list[tuple[int, int]] = []
    index_of_id: dict[Any, int] = {}
    id_of_text: dict[str, Any] = {}
    for k, image in enumerate(images):
        id, name = image.get("id"), image.get("file_name")
        if not isinstance(id, int | str) or not isinstance(name, str) or not name:
            missing = "id" if not isinstance(id, int | str) else "file_name"
            raise DataError(f"{path}: image {k + 1} of images has no {missing} ({short_repr(image)})", _EXPORT)
        other = id_of_text.setdefault(_id_text(id), id)
        if other in index_of_id:
            raise DataError(
                f"{path}: two images have the id {_ids(other, id)} ({names[index_of_id[other]]}, {name})", _EXPORT
            )
        if not is_name(name):
            raise DataError(f"{path} names {short_repr(name)}, which is not a valid file name", _EXPORT)
        if leads_out(name):
            raise DataError(
                f"{path} names {short_repr(name)}, which lies outside the image folder",
                "Write file names relative to the image folder.",
            )
        index_of_id[id] = k
        names.append(PurePosixPath(name.replace("\\", "/")).as_posix())
        sizes.append((_size(image.get("height")), _size(image.get("width"))))
    duplicate = next((name for name, first in zip(names, _is_first(names), strict=True) if not first), None)
    if duplicate is not None:
        raise DataError(f"{path} names {short_repr(duplicate)} twice", "Give each image one id.")
    file = CocoFile(
        path=path,
        display_name=path.relative_to(root).as_posix(),
        categories=category_of_id,
        ids=list(index_of_id),
        names=names,
        sizes=sizes,
        rows=[[] for _ in names],
    )
    ids = _same_ids((annotation.get("image_id") for annotation in annotations), index_of_id)
    category_ids = _same_ids((annotation.get("category_id") for annotation in annotations), category_of_id)
    examples = {"image_id": ids[1], "category_id": category_ids[1]}
    file.other_types = [f"{key} {example}" for key, example in examples.items() if example]
    for k, annotation in enumerate(annotations):
        _add(file, annotation, ids[0], category_ids[0], index_of_id, k)
    return file


def _same_ids(references: Iterable[Any], known: Mapping[Any, Any]) -> tuple[dict[Any, Any], str]:
    """Reference -> id, for references of another type than the ids ("1" or 1.0 for 1), and an example of both.

    Only if the ids stay distinct.
    """
    seen = {
        reference
        for reference in references
        if isinstance(reference, int | float | str) and not _is_id(reference, known)
    }
    numbers = {str(id): id for id in known}
    matches = {reference: numbers[text] for reference in seen if (text := _id_text(reference)) in numbers}
    if not matches or len(numbers) < len(known):
        return {}, ""
    first = min(matches, key=str)
    return matches, f"{short_repr(first)} for {short_repr(matches[first])}"


def _is_id(reference: int | float | str, known: Mapping[Any, Any]) -> bool:
    return isinstance(reference, int | str) and reference in known


def _id_text(reference: Any) -> str:
    """An id as text: 1.0 and "1" as 1."""
    return str(int(reference)) if isinstance(reference, float) and reference.is_integer() else str(reference).strip()


def _ids(first: Any, second: Any) -> str:
    """One id, or both if they are written differently: 1 and '1'."""
    return " and ".join(dict.fromkeys((short_repr(first), short_repr(second))))


def _json(path: Path) -> dict[str, Any]:
    collecting = gc.isenabled()
    gc.disable()  # collection during parsing would scan every new object repeatedly
    try:
        content = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({first_line(error)})", "Export or download it again.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({first_line(error)})", "Fix its permissions.") from error
    finally:
        if collecting:
            gc.enable()
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a JSON object with images, categories and annotations", _EXPORT)
    return content


def _list(content: Mapping[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    entries = content.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path} has no list of {key}", _EXPORT)
    return entries


def _is_first(names: Sequence[str]) -> Iterator[bool]:
    seen: set[str] = set()
    for name in names:
        yield name not in seen
        seen.add(name)


def _size(value: Any) -> int:
    return min(value, 1 << 31) if isinstance(value, int) and value > 0 else 0


def _name_fault(name: Any) -> str:
    """Why a name of a category is not valid."""
    if name is None or name == "":
        return "has no name"
    long = max(len(part.encode(errors="replace")) for part in name.split("/")) if isinstance(name, str) else 0
    valid = "not a valid name" if isinstance(name, str) else "not text"
    return f"has the name {short_repr(name)}, which is {f'of {long} bytes, more than 255' if long > 255 else valid}"


def _categories(entries: Sequence[dict[str, Any]], path: Path) -> dict[Any, CocoCategory]:
    categories: dict[Any, CocoCategory] = {}
    id_of_text: dict[str, Any] = {}
    for k, entry in enumerate(entries):
        id, name = entry.get("id"), entry.get("name")
        if not isinstance(id, int | str):
            raise DataError(f"{path}: category {k + 1} has no id ({short_repr(entry)})", _EXPORT)
        if not isinstance(name, str) or not is_name(name):
            fault = _name_fault(name)
            raise DataError(f"{path}: category {k + 1} (id {short_repr(id)}) {fault}", _EXPORT)
        other = id_of_text.setdefault(_id_text(id), id)
        if other in categories:
            raise DataError(
                f"{path}: two categories have the id {_ids(other, id)} ({categories[other].name}, {name})",
                "Give each category its own.",
            )
        if name in (category.name for category in categories.values()):
            raise DataError(f"{path}: two categories have the name {short_repr(name)}", "Give each category its own.")
        points = entry.get("keypoints") or []
        if not isinstance(points, list) or not all(isinstance(point, str) and is_name(point) for point in points):
            raise DataError(
                f"{path}: category {short_repr(name)} has invalid keypoints {short_repr(points)}", "Name each keypoint."
            )
        categories[id] = CocoCategory(name, tuple(points), _bones(entry.get("skeleton") or [], len(points), name, path))
    if not categories:
        raise DataError(f"{path} has no categories", _EXPORT)
    return categories


def _bones(skeleton: Any, count: int, name: str, path: Path) -> tuple[tuple[int, int], ...]:
    """Pairs of keypoint indices. COCO counts from 1; if any index is 0, all are counted from 0."""
    try:
        pairs = [(int(a), int(b)) for a, b in skeleton]
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{path}: category {short_repr(name)} has an invalid skeleton {short_repr(skeleton)}",
            "Give pairs of keypoints.",
        ) from error
    start = 0 if any(0 in pair for pair in pairs) else 1
    if any(not start <= end < count + start for pair in pairs for end in pair):
        raise DataError(
            f"{path}: category {short_repr(name)} has a skeleton with indices outside its {count} keypoints", _EXPORT
        )
    return tuple((a - start, b - start) for a, b in pairs)


def annotation_name(id: int) -> str:
    """The name of an annotation in messages."""
    return f"annotation {id}" if id >= 0 else f"annotation number {-id}"


def _add(
    file: CocoFile,
    annotation: dict[str, Any],
    image_ids: Mapping[Any, Any],
    category_ids: Mapping[Any, Any],
    index_of_id: Mapping[Any, int],
    k: int,
) -> None:
    """Add an annotation to the rows of its image, or to the problems.

    Args:
        image_ids, category_ids: references of another type -> id, see `_same_ids`.
    """
    id = annotation.get("id")
    id = id if type(id) is int and 0 <= id < 1 << 63 else -k - 1
    image_id = _id_of(annotation.get("image_id"), image_ids)
    if category_ids:
        annotation = annotation | {"category_id": _id_of(annotation.get("category_id"), category_ids)}
    image = index_of_id.get(image_id) if isinstance(image_id, int | str) else None
    if image is None:
        file.unlisted.append(f"{annotation_name(id)} of {file.display_name} (image_id {short_repr(image_id)})")
        return
    try:
        file.rows[image].append(_row(annotation, id, file.categories))
    except (ValueError, TypeError, OverflowError) as error:
        kind = "unknown-class" if isinstance(error, _UnknownClass) else "annotation"
        file.problems.append((image, kind, f"{annotation_name(id)} of {file.display_name}: {first_line(error)}"))


def _id_of(reference: Any, ids: Mapping[Any, Any]) -> Any:
    return ids.get(reference, reference) if isinstance(reference, int | float | str) else reference


class _UnknownClass(ValueError):
    """An annotation of a category that the file does not list."""


def _row(annotation: Mapping[str, Any], id: int, categories: Mapping[Any, CocoCategory]) -> CocoAnnotation:
    get = annotation.get
    category, crowd, area = get("category_id"), get("iscrowd", 0), get("area")
    mask = _encode_mask(get("segmentation"))
    box = get("bbox")
    if box is None and mask is not None:
        box = _bounding_box(mask)
    if not isinstance(box, list) or len(box) != 4 or not _NUMBERS.issuperset(map(type, box)):
        raise ValueError(f"its bbox is {short_repr(box)}, not [x, y, width, height]")
    if not isinstance(category, int | str) or category not in categories:
        raise _UnknownClass(f"its category_id {short_repr(category)} is not in the categories")
    x, y, width, height = map(float, box)
    points = get("keypoints")
    if points is not None:
        count = len(categories[category].keypoints)
        if not isinstance(points, list) or len(points) != 3 * count:
            raise ValueError(f"its keypoints are not 3 x {count} numbers")
        points = tuple(map(_finite, points))
    has_area = isinstance(area, int | float) and area > 0
    return CocoAnnotation(
        id,
        category,
        (x, y, x + width, y + height),
        crowd == 1,
        get("ignore", 0) == 1,
        float(area) if has_area and area is not None else math.nan,
        mask,
        points,
    )


def _finite(number: Any) -> float:
    if type(number) not in (int, float) or not math.isfinite(number):
        raise ValueError(f"it has a non-finite or non-numeric value {short_repr(number)}")
    return float(number)


def _encode_mask(segmentation: Any) -> EncodedMask | None:
    """Polygons or run lengths; None without a segmentation. Raises ValueError for anything else."""
    if not segmentation:
        return None
    if isinstance(segmentation, list):
        for ring in segmentation:
            if not isinstance(ring, list) or len(ring) < 6 or len(ring) % 2:
                raise ValueError(
                    f"its segmentation has a polygon {short_repr(ring)}, not x, y of at least three points"
                )
            if not _NUMBERS.issuperset(map(type, ring)):
                raise ValueError("its segmentation has a polygon with non-numeric values")
        return segmentation
    is_rle = isinstance(segmentation, dict)
    size, counts = (segmentation.get("size"), segmentation.get("counts")) if is_rle else (None, None)
    if not isinstance(size, list) or len(size) != 2 or not all(type(n) is int and 0 < n < 1 << 20 for n in size):
        raise ValueError(f"its segmentation has the size {short_repr(size)}")
    if not isinstance(counts, list | str):
        raise ValueError(f"its segmentation has the counts {short_repr(counts)}")
    return compress_rle(counts, *size)


def _bounding_box(mask: EncodedMask) -> list[float]:
    """The bounding box x, y, width, height of polygons or run lengths."""
    if isinstance(mask, CompressedRLE):
        from faster_coco_eval.core import mask as coco_mask

        rle = {"counts": mask.counts, "size": [mask.height, mask.width]}
        box: list[float] = coco_mask.toBbox(rle).tolist()
        return box
    x, y = [n for ring in mask for n in ring[0::2]], [n for ring in mask for n in ring[1::2]]
    return [float(min(x)), float(min(y)), float(max(x) - min(x)), float(max(y) - min(y))]

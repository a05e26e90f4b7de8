"""LabelMe datasets: a JSON file for each image with polygons, rectangles and circles, beside it or in another folder.

Shapes of one label and group are one object. A circle is a polygon of 32 points. Points and lines have no area, so an
image with one is reported. Coordinates are pixels of the image as annotated.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from snellen.core.errors import DataError, first_line, short_repr
from snellen.core.input_files import read_bytes
from snellen.core.spec import Boxes
from snellen.data.check.findings import unused_files_findings
from snellen.data.dataset import RawDataset
from snellen.data.decode.image_files import open_named_images
from snellen.data.file_index import walk
from snellen.data.formats import Format, OpenOptions
from snellen.data.formats.annotation_files import is_labelme
from snellen.data.formats.file_names import in_system_folder, is_image_name, is_sidecar
from snellen.data.formats.object_datasets import (
    ObjectDatasetInfo,
    file_counts,
    has_annotations,
    split_of,
    to_raw_dataset,
    unused_files,
)
from snellen.data.formats.object_table import AnnotationProblem, ObjectTable
from snellen.data.formats.polygons import EncodedMasks

_FOLDERS = ("annotations", "annotation", "labels", "label", "json", "ann")
_CIRCLE_POINTS = 32


class LabelmeObject(NamedTuple):
    """An object: its label, its polygons x1, y1, x2, y2, ..., and the number of its first shape, from 1."""

    label: str
    rings: list[list[float]]
    number: int


def recognises(path: Path) -> bool:
    """Whether LabelMe files lie beside images of the same names, or in an annotation folder."""
    return path.is_dir() and has_annotations(path, ".json", _FOLDERS, is_labelme)


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Boxes and masks of the labels.

    Raises:
        DataError: there is no LabelMe file, two of one image, or a file outside the split folders.
    """
    listing = walk(path)
    existing = {file.path for file in listing.files}
    files = [name for name in sorted(existing) if name.lower().endswith(".json") and not in_system_folder(name)]
    files = [name for name in files if is_labelme(path / name)]
    if not files:
        raise DataError(f"{path} holds no LabelMe file", "Put one beside each image.")
    images_of_stem: dict[str, list[str]] = {}
    for name in existing:
        if is_image_name(name.rpartition("/")[2]) and not is_sidecar(name):
            images_of_stem.setdefault(os.path.splitext(name)[0].rpartition("/")[2], []).append(name)
    images: list[str] = []
    sizes: list[tuple[int, int]] = []
    objects: list[list[LabelmeObject]] = []
    problems = []
    for k, name in enumerate(files):
        try:
            content = _content(path / name)
            images.append(_image(name, content, existing, images_of_stem))
            sizes.append((_size(content.get("imageHeight")), _size(content.get("imageWidth"))))
            objects.append(_objects(content))
        except ValueError as error:
            images[k:] = images[k:] or [_image(name, {}, existing, images_of_stem)]
            sizes[k:] = sizes[k:] or [(0, 0)]
            objects.append([])
            problems.append(AnnotationProblem(k, "annotation", f"{name} {error}"))
    first: dict[str, str] = {}
    for image, name in zip(images, files, strict=True):
        if first.setdefault(image, name) != name:
            raise DataError(f"{path} has two files for {image}: {first[image]} and {name}", "Keep one of them.")
    splits = [split_of(name.partition("/")[0]) if "/" in name else None for name in files]
    if len({split is None for split in splits}) > 1:
        outside = files[splits.index(None)]
        raise DataError(f"{path} has split folders, and {outside} lies outside them", "Move it into one of them.")
    source = open_named_images(path, images, options.pages)
    used = {*images, *files} & existing
    skipped, no_data = unused_files(listing, used, "has no LabelMe file", "Annotate it, or move it away.")
    names = sorted({one.label for of_image in objects for one in of_image})
    info = ObjectDatasetInfo(
        target=Boxes(names=tuple(names), masks=any(objects)),
        name="LabelMe",
        given_splits=np.array(splits, np.int64) if splits[0] is not None else None,
        findings=tuple(unused_files_findings(skipped)),
        skipped=tuple(skipped),
        files=file_counts(listing, used, skipped, no_data),
    )
    return to_raw_dataset(source, _table(files, objects, names, sizes, problems), info, options)


def _content(file: Path) -> dict[str, Any]:
    """The content of a file. Raises ValueError if it is not JSON with a list of shapes."""
    try:
        content = json.loads(read_bytes(file))
    except OSError as error:
        raise ValueError(f"cannot be read ({first_line(error)})") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON ({first_line(error)})") from error
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise ValueError("has no list of shapes")
    return content


def _image(name: str, content: dict[str, Any], existing: set[str], images_of_stem: dict[str, list[str]]) -> str:
    """The image of a file: by its imagePath, beside it, or the only image of its name; else a name that is missing."""
    folder, stem = os.path.split(os.path.splitext(name)[0])
    stated = content.get("imagePath")
    if isinstance(stated, str):
        candidate = os.path.normpath(os.path.join(folder, stated.replace("\\", "/")))
        if candidate in existing:
            return candidate
    named = images_of_stem.get(stem, [])
    beside = [image for image in named if os.path.dirname(image) == folder]
    return (beside or (named if len(named) == 1 else []) or [f"{os.path.splitext(name)[0]}.jpg"])[0]


def _size(value: Any) -> int:
    return value if type(value) is int and 0 < value < 1 << 31 else 0


def _objects(content: dict[str, Any]) -> list[LabelmeObject]:
    """The objects of a file. Raises ValueError for a shape that is none."""
    objects: list[LabelmeObject] = []
    groups: dict[tuple[str, Any], LabelmeObject] = {}
    for number, shape in enumerate(content["shapes"], 1):
        label = shape.get("label") if isinstance(shape, dict) else None
        if not isinstance(label, str) or not label.strip():
            raise ValueError(f"shape {number} has no label")
        ring, group = _ring(shape, number), shape.get("group_id")
        key = (label.strip(), group if isinstance(group, int | str) else None)
        if key[1] is not None and key in groups:
            groups[key].rings.append(ring)
            continue
        objects.append(LabelmeObject(label.strip(), [ring], number))
        groups[key] = objects[-1]
    return objects


def _ring(shape: dict[str, Any], number: int) -> list[float]:
    """The polygon of a shape. Raises ValueError if it has no area or invalid points."""
    kind = shape.get("shape_type") or "polygon"
    try:
        points = [(float(x), float(y)) for x, y in shape["points"]]
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise ValueError(f"shape {number} has the points {short_repr(shape.get('points'))}") from error
    if kind == "rectangle" and len(points) == 2:
        (x1, y1), (x2, y2) = points
        return [x1, y1, x2, y1, x2, y2, x1, y2]
    if kind == "circle" and len(points) == 2:
        (x, y), (x2, y2) = points
        radius = math.hypot(x2 - x, y2 - y)
        angles = (2 * math.pi * k / _CIRCLE_POINTS for k in range(_CIRCLE_POINTS))
        return [value for a in angles for value in (x + radius * math.cos(a), y + radius * math.sin(a))]
    if kind in ("polygon", "rectangle") and len(points) >= 3:
        return [value for point in points for value in point]
    raise ValueError(f"shape {number} is a {kind} of {len(points)} points, which has no area")


def _table(
    files: list[str],
    objects: list[list[LabelmeObject]],
    names: list[str],
    sizes: list[tuple[int, int]],
    problems: list[AnnotationProblem],
) -> ObjectTable:
    flat = [one for of_image in objects for one in of_image]
    image_index = np.repeat(np.arange(len(objects)), [len(of_image) for of_image in objects])
    masks = EncodedMasks([one.rings for one in flat])
    place = {name: k for k, name in enumerate(names)}
    return ObjectTable(
        image_index=image_index,
        boxes=masks.bounds(),
        labels=np.array([place[one.label] for one in flat], np.int64),
        crowd=np.zeros(len(flat), bool),
        ignored=np.zeros(len(flat), bool),
        areas=np.full(len(flat), np.nan),
        sizes=np.array(sizes, np.int64).reshape(-1, 2),
        describe=lambda k: f"{files[image_index[k]]} shape {flat[k].number}",
        masks=masks if flat else None,
        problems=problems,
    )


FORMAT = Format("labelme", recognises, open_raw, any_depth=True)

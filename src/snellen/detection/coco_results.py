"""COCO results file of detections, as read by COCO's evaluation and many other tools."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from snellen.core import file_io
from snellen.core.errors import UsageError, suggest_name
from snellen.core.run import Progress
from snellen.core.spec import Boxes, Spec
from snellen.core.task import PredictionDict
from snellen.data.formats.coco_json import read_coco

Id = int | str


@dataclass(frozen=True, kw_only=True)
class CocoIds:
    """Image ids and category ids of a COCO annotation file.

    Args:
        images: ids by path, or by the last parts of the path.
        classes: category ids by class name.
        source: path of the annotation file, for messages.
    """

    images: Mapping[str, Id]
    classes: Mapping[str, Id]
    source: str

    def image_id(self, name: str) -> Id | None:
        """Id of the image file with this path; None if unknown."""
        for path in (Path(os.path.realpath(name)), Path(name).absolute()):  # a link may be listed under its own name
            for k in range(len(path.parts)):
                suffix = str(PurePath(*path.parts[k:]))
                if suffix in self.images:
                    return self.images[suffix]
        return None


def read_coco_ids(path: Path, spec: Spec) -> CocoIds:
    """Read image and category ids from a COCO annotation file.

    Raises:
        DataError: if the file is not in COCO format.
        UsageError: if a class of the model is not among its categories.
    """
    file = read_coco(path, path.parent)
    classes = {category.name: id for id, category in file.categories.items()}
    for name in getattr(spec.target, "names", ()):
        if name not in classes:
            raise UsageError(
                f"{path} has no category {name!r}, a class of the model", suggest_name(name, list(classes))
            )
    images = {str(PurePath(name)): id for name, id in zip(file.names, file.ids, strict=True)}
    return CocoIds(images=images, classes=classes, source=str(path))


class CocoResults:
    """Collects the detections of many images and writes them as one COCO results file, atomically.

    Image ids and category ids are those of the annotation file, if given. Otherwise image ids are the file names if
    all are distinct numbers, as in COCO itself, or count from 1 in the order of prediction; category ids are those of
    the training data, or count from 1. Names are written as "file_name" and "category".

    Args:
        path: of the JSON file.
        spec: of the model's data.
        coco_ids: ids of an annotation file.
    """

    def __init__(self, path: Path, spec: Spec, coco_ids: CocoIds | None = None) -> None:
        if not isinstance(spec.target, Boxes):
            raise UsageError("--coco needs a detection model", "Omit --coco.")
        self.path = path
        self.coco_ids = coco_ids
        names = spec.target.names
        run_ids: dict[str, Id] = dict(zip(names, spec.target.ids or range(1, len(names) + 1), strict=True))
        self.classes = run_ids if coco_ids is None else {name: coco_ids.classes[name] for name in names}
        self.images: list[tuple[str, Sequence[PredictionDict]]] = []

    def add(self, name: str, objects: Sequence[PredictionDict]) -> None:
        """Add the detections of an image file, of any score: average precision needs all of them."""
        self.images.append((name, objects))

    def write(self, progress: Progress | None = None) -> None:
        """Write one entry per detection. progress: receives a message about images with unknown ids."""
        names = [name for name, _ in self.images]
        ids, unknown = assign_image_ids(names, self.coco_ids)
        entries = [
            self._entry(id, name, detected)
            for id, (name, objects) in zip(ids, self.images, strict=True)
            for detected in objects
        ]
        file_io.write_text(self.path, json.dumps(entries, ensure_ascii=False, allow_nan=False) + "\n")
        if self.coco_ids is not None and unknown and progress is not None:
            examples = ", ".join(unknown[:3]) + (" ..." if len(unknown) > 3 else "")
            progress.message(
                f"{len(unknown)} of {len(names)} images are not in {self.coco_ids.source}, or are duplicates, and get "
                f"new ids: {examples}"
            )

    def _entry(self, id: Id, name: str, detected: Mapping[str, Any]) -> dict[str, Any]:
        x1, y1, x2, y2 = detected["box"]
        entry = {
            "image_id": id,
            "file_name": name,
            "category_id": self.classes[detected["class"]],
            "category": detected["class"],
            "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
            "score": detected["score"],
        }
        if "mask" in detected:
            entry["segmentation"] = detected["mask"]
        if "keypoints" in detected:
            entry["keypoints"] = [number for point in detected["keypoints"] for number in point]
        return entry


def assign_image_ids(names: Sequence[str], coco_ids: CocoIds | None = None) -> tuple[list[Id], list[str]]:
    """Image id of each file, and the files with unknown ids.

    Unknown files get ids above the largest known one. If none is known, ids are the file names if all are distinct
    numbers, otherwise positions from 1.
    """
    known = [None if coco_ids is None else coco_ids.image_id(name) for name in names]
    first = {id: position for position, id in reversed(list(enumerate(known))) if id is not None}
    ids = [id if id is not None and first[id] == position else None for position, id in enumerate(known)]
    unknown = [name for name, id in zip(names, ids, strict=True) if id is None]
    if coco_ids is not None and len(unknown) < len(names):
        next_id = max((id for id in coco_ids.images.values() if isinstance(id, int)), default=0) + 1
        free_ids = iter(range(next_id, next_id + len(unknown)))
        return [next(free_ids) if id is None else id for id in ids], unknown
    stems = [PurePath(name).stem for name in names]
    numbers = [int(stem) for stem in stems if stem.isascii() and stem.isdigit()]
    are_distinct = len(numbers) == len(names) == len(set(numbers))
    return list(numbers if are_distinct else range(1, len(names) + 1)), unknown

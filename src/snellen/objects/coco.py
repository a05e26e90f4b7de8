"""What was found in many files, as COCO's results: what its evaluation, and many other programs, read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from snellen.core import files
from snellen.core.errors import UsageError
from snellen.core.spec import Boxes, Spec
from snellen.core.task import Answer


class Results:
    """Gathers answers, and writes them once, all or nothing.

    A result names its picture by a number. Where the names of all files are numbers without like, as in COCO itself,
    they are taken; else pictures are numbered from 1 in the order of the answers. The names of file and class stand
    beside the numbers, under "file_name" and "category"; classes are numbered from 1 in the order of the run.

    Args:
        path: of the JSON file.
        spec: of the model's data.
    """

    def __init__(self, path: Path, spec: Spec) -> None:
        if not isinstance(spec.target, Boxes):
            raise UsageError("--coco is for models that find objects", "Leave --coco out.")
        self.path = path
        self.places = {name: place for place, name in enumerate(spec.target.names, 1)}
        self.answers: list[tuple[str, Sequence[Answer]]] = []

    def add(self, name: str, objects: Sequence[Answer]) -> None:
        """What was found in a file, whatever its score: average precision asks for all of it."""
        self.answers.append((name, objects))

    def write(self) -> None:
        written = json.dumps(self.entries(), ensure_ascii=False, allow_nan=False)
        files.write_text(self.path, written + "\n")

    def entries(self) -> list[dict[str, Any]]:
        """One for each object."""
        ids = numbers([name for name, _ in self.answers])
        return [self._entry(id, name, one) for id, (name, objects) in zip(ids, self.answers, strict=True)
                for one in objects]

    def _entry(self, id: int, name: str, one: Mapping[str, Any]) -> dict[str, Any]:
        x1, y1, x2, y2 = one["box"]
        entry = {"image_id": id, "file_name": name, "category_id": self.places[one["class"]],
                 "category": one["class"], "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
                 "score": one["score"]}  # fmt: skip
        if "mask" in one:
            entry["segmentation"] = one["mask"]
        if "keypoints" in one:
            entry["keypoints"] = [number for point in one["keypoints"] for number in point]
        return entry


def numbers(names: Sequence[str]) -> list[int]:
    """A number for each file: that of its name where all have one and none has another's, else its place from 1."""
    stems = [PurePath(name).stem for name in names]
    own = [int(stem) for stem in stems if stem.isascii() and stem.isdigit()]
    return own if len(own) == len(names) == len(set(own)) else list(range(1, len(names) + 1))

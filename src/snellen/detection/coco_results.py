"""What was found in many files, as COCO's results: what its evaluation, and many other programs, read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from snellen.core import files
from snellen.core.errors import UsageError, nearest
from snellen.core.run import Progress
from snellen.core.spec import Boxes, Spec
from snellen.core.task import Answer
from snellen.data.formats.coco_json import read

Id = int | str


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The numbers of pictures and classes in a user's own files.

    Args:
        pictures: by their path, or by the end of it.
        classes: by their names.
        told: what the user knows them by.
    """

    pictures: Mapping[str, Id]
    classes: Mapping[str, Id]
    told: str

    def of(self, name: str) -> Id | None:
        """The number of the picture whose file has this path."""
        for path in (Path(name).resolve(), Path(name).absolute()):  # a link may be told by its own name
            for k in range(len(path.parts)):
                end = str(PurePath(*path.parts[k:]))
                if end in self.pictures:
                    return self.pictures[end]
        return None


def numbers_of(path: Path, spec: Spec) -> Numbers:
    """Numbers as a file in COCO's layout has them.

    Raises:
        DataError: where it is none.
        UsageError: where it does not know a class of the model.
    """
    file = read(path, path.parent)
    classes = {category.name: id for id, category in file.categories.items()}
    for name in getattr(spec.target, "names", ()):
        if name not in classes:
            raise UsageError(f"{path} has no category {name!r}, which the model finds", nearest(name, list(classes)))
    pictures = {str(PurePath(name)): id for name, id in zip(file.names, file.ids, strict=True)}
    return Numbers(pictures=pictures, classes=classes, told=str(path))


class Results:
    """Gathers answers, and writes them once, all or nothing.

    A result names its picture and its class by numbers: those of the user's own files, where they are known. Else
    pictures are numbered by their names where all are numbers without like, as in COCO itself, or from 1 in the order
    of the answers; classes from 1 in the order of the run. The names of both stand beside the numbers, under
    "file_name" and "category".

    Args:
        path: of the JSON file.
        spec: of the model's data.
        known: the numbers in the user's files.
    """

    def __init__(self, path: Path, spec: Spec, known: Numbers | None = None) -> None:
        if not isinstance(spec.target, Boxes):
            raise UsageError("--coco is for models that find objects", "Leave --coco out.")
        self.path = path
        self.known = known
        names = spec.target.names
        own: dict[str, Id] = dict(zip(names, spec.target.ids or range(1, len(names) + 1), strict=True))
        self.classes = own if known is None else {name: known.classes[name] for name in names}
        self.answers: list[tuple[str, Sequence[Answer]]] = []

    def add(self, name: str, objects: Sequence[Answer]) -> None:
        """What was found in a file, whatever its score: average precision asks for all of it."""
        self.answers.append((name, objects))

    def write(self, progress: Progress | None = None) -> None:
        """One entry for each object. progress: receives a message about images without a known id."""
        names = [name for name, _ in self.answers]
        ids, strangers = numbered(names, self.known)
        entries = [
            self._entry(id, name, one) for id, (name, objects) in zip(ids, self.answers, strict=True) for one in objects
        ]
        written = json.dumps(entries, ensure_ascii=False, allow_nan=False)
        files.write_text(self.path, written + "\n")
        if self.known is not None and strangers and progress is not None:
            few = ", ".join(strangers[:3]) + (" ..." if len(strangers) > 3 else "")
            progress.say(
                f"{len(strangers)} of {len(names)} pictures are not in {self.known.told}, or came twice, and are "
                f"numbered anew: {few}"
            )

    def _entry(self, id: Id, name: str, one: Mapping[str, Any]) -> dict[str, Any]:
        x1, y1, x2, y2 = one["box"]
        entry = {
            "image_id": id,
            "file_name": name,
            "category_id": self.classes[one["class"]],
            "category": one["class"],
            "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
            "score": one["score"],
        }
        if "mask" in one:
            entry["segmentation"] = one["mask"]
        if "keypoints" in one:
            entry["keypoints"] = [number for point in one["keypoints"] for number in point]
        return entry


def numbered(names: Sequence[str], known: Numbers | None = None) -> tuple[list[Id], list[str]]:
    """A number for each file, and the files whose number is not known.

    Those that are known have their own; what comes beside them is numbered on from the largest. Where none is known,
    a number is that of the file's name if all have one and none has another's, else its place from 1.
    """
    found = [None if known is None else known.of(name) for name in names]
    first = {id: place for place, id in reversed(list(enumerate(found))) if id is not None}
    ids = [id if id is not None and first[id] == place else None for place, id in enumerate(found)]
    strangers = [name for name, id in zip(names, ids, strict=True) if id is None]
    if known is not None and len(strangers) < len(names):
        after = max((id for id in known.pictures.values() if isinstance(id, int)), default=0) + 1
        free = iter(range(after, after + len(strangers)))
        return [next(free) if id is None else id for id in ids], strangers
    stems = [PurePath(name).stem for name in names]
    own = [int(stem) for stem in stems if stem.isascii() and stem.isdigit()]
    alone = len(own) == len(names) == len(set(own))
    return list(own if alone else range(1, len(names) + 1)), strangers

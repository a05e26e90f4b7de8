"""COCO: JSON files of pictures, categories and annotations.

They lie in `annotations/`, with the pictures in folders beside it (instances_val2017.json and val2017/, or images/); or
beside the pictures, one for each folder of a split, as exporters write them; or a file is given as the path. Boxes are
x, y, width, height from the upper left corner of the first pixel. Masks are drawn by COCO's own functions.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from snellen.core.errors import DataError, UsageError, nearest
from snellen.core.spec import Boxes
from snellen.core.views import Finding
from snellen.data.check.findings import stray
from snellen.data.dataset import RawDataset
from snellen.data.decode.image_files import named_pictures
from snellen.data.file_index import walk
from snellen.data.formats import Format, OpenOptions
from snellen.data.formats.coco_json import Category, CocoFile, Row, called, read
from snellen.data.formats.image_folder import SPLIT_NAMES
from snellen.data.formats.object_datasets import Told, draft_of, left_over, mirrored, some_masks, split_of
from snellen.data.formats.object_table import ObjectTable, Wrong
from snellen.data.formats.polygons import Outlines

_HEAD = re.compile(rb'\s*\{\s*"(info|images|licenses?|annotations|categories|type)"')
_OTHER_KINDS = frozenset({"captions", "image_info", "panoptic", "stuff"})  # what COCO has beside objects
_TRIED = 50  # names of pictures by which their folder is found


class Given(NamedTuple):
    """A JSON file and what its name tells. kind: "instances". split: place in SPLITS, or None."""

    path: Path
    kind: str
    split: int | None


def recognises(path: Path) -> bool:
    """Whether JSON files that begin as COCO's do lie where COCO or exporters put them."""
    if path.is_file():
        return path.suffix.lower() == ".json" and _begins_so(path)
    return any(
        _begins_so(file) or _kind(file) in ("instances", "person_keypoints", "annotations.coco")
        for file in _candidates(path)
    )


def _begins_so(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return _HEAD.match(file.read(200)) is not None
    except OSError:
        return False


def _candidates(path: Path) -> list[Path]:
    """JSON files in the folder, in its folders of annotations, and in folders that are named like splits."""
    names = _names(path)
    inner = [name for name in names if name.lower() == "annotations" or split_of(name) is not None]
    found = [path / name for name in names] + [path / one / name for one in inner for name in _names(path / one)]
    return sorted(file for file in found if file.suffix.lower() == ".json" and file.is_file())


def _names(folder: Path) -> list[str]:
    """All names in a folder that are not hidden; none where it cannot be read."""
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError:
        return []


def _kind(file: Path) -> str:
    """What a file is beside its split: "instances" of instances_train2017.json."""
    words = "|".join(sorted(SPLIT_NAMES, key=len, reverse=True))
    return re.sub(rf"(?<![a-z])(?:{words})(?![a-z])|\d+", "", file.stem.lower()).strip("_-. ")


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Boxes, masks and keypoints of the categories.

    Raises:
        DataError: when the files are no COCO, or do not fit each other.
        UsageError: for a target that is no kind of file here.
    """
    chosen, others = _chosen(path, options)
    root = _root(path)
    files = [read(given.path, root) for given in chosen]
    listing = walk(root) if path.is_dir() else None
    there = None if listing is None else {file.path for file in listing.files}.__contains__
    names = _paths(root, chosen, files, there)
    if not names:
        raise DataError(f"{files[0].path} names no picture", "Export it again, or mend the file.")
    source = named_pictures(root, names, options.pages)
    target, table, findings = _table(files)
    splits = [given.split for given, file in zip(chosen, files, strict=True) for _ in file.names]
    used = set(names) | {given.path.relative_to(root).as_posix() for given in chosen}
    aside, no_data = (
        ([], 0)
        if listing is None
        else left_over(
            listing, used, "is not named in " + ", ".join(file.called for file in files), "Name it, or move it away."
        )
    )
    used = used if listing is None else used & {file.path for file in listing.files}
    found = len(used) + len(aside) + no_data
    note = f"{others[0]} is there too: --target {others[0]}" if others else ""
    told = Told(
        target=target,
        name=f"COCO ({', '.join(file.called for file in files)})",
        note=note,
        given=np.array(splits, np.int64) if len(chosen) > 1 else None,
        findings=(*findings, *stray(aside)),
        files={"found": found, "used": len(used), "set aside": len(aside), "no data": no_data},
        aside=tuple(aside),
    )
    return draft_of(source, table, told, options)


def picture_ids(path: Path, options: OpenOptions) -> dict[str, int | str]:
    """The number of each picture, by the path of its file.

    Raises:
        DataError: when the files are no COCO, or do not fit each other.
    """
    root = _root(path)
    chosen, _ = _chosen(path, options)
    files = [read(given.path, root) for given in chosen]
    ids = [id for file in files for id in file.ids]
    return {str((root / name).resolve()): id for name, id in zip(_paths(root, chosen, files), ids, strict=True)}


def _root(path: Path) -> Path:
    """The folder that files and pictures lie in."""
    if path.is_dir():
        return path
    return path.parent.parent if path.parent.name.lower() == "annotations" else path.parent


def _paths(
    root: Path, chosen: Sequence[Given], files: Sequence[CocoFile], there: Callable[[str], bool] | None = None
) -> list[str]:
    """Of each picture of all files, relative to the root. there: whether a picture lies at such a path."""
    there = there or (lambda name: (root / name).exists())
    return [
        f"{base}{name}"
        for given, file in zip(chosen, files, strict=True)
        for base in [_base(root, given, file, there)]
        for name in file.names
    ]


def _chosen(path: Path, options: OpenOptions) -> tuple[list[Given], list[str]]:
    """The files to be read, those of one kind and each of another split; and the other kinds that there are."""
    if path.is_file():
        return [Given(path, _kind(path), None)], []
    there = [
        Given(
            file,
            _kind(file),
            split_of(file.stem)
            if split_of(file.stem) is not None
            else split_of(file.parent.name)
            if file.parent != path
            else None,
        )
        for file in _candidates(path)
    ]
    there = [g for g in there if _begins_so(g.path) or g.kind in ("instances", "person_keypoints", "annotations.coco")]
    kinds = sorted({given.kind for given in there})
    if not kinds:
        raise DataError(
            f"{path} holds no JSON file in COCO's layout", "It lies in annotations/, or beside the pictures."
        )
    objects = [kind for kind in kinds if kind not in _OTHER_KINDS] or kinds
    if options.target:
        if len(options.target) > 1 or options.target[0] not in kinds:
            raise UsageError(
                f"{path} has no annotations called {','.join(options.target)!r}", nearest(options.target[0], kinds)
            )
        kind = options.target[0]
    else:
        kind = "instances" if "instances" in objects else objects[0]
        if kind != "instances" and len(objects) > 1:
            raise DataError(f"{path} has several annotations: {', '.join(objects)}", f"Say which: --target {kind}.")
    chosen = [given for given in there if given.kind == kind]
    splits = [given.split for given in chosen]
    if len(chosen) > 1 and (None in splits or len(set(splits)) < len(splits)):
        names = ", ".join(given.path.relative_to(path).as_posix() for given in chosen)
        raise DataError(
            f"{path} has several files {names}, which do not name different splits",
            "Name them train, val and test, or give one as the path.",
        )
    chosen.sort(key=lambda given: given.split or 0)
    return chosen, [other for other in objects if other != kind]


def _base(root: Path, given: Given, file: CocoFile, there: Callable[[str], bool]) -> str:
    """The folder, relative to the root, in which most of the pictures lie: "val2017/"."""
    own = given.path.parent.relative_to(root).as_posix()
    homes = ["" if own == "." or given.path.parent.name.lower() == "annotations" else f"{own}/"]
    homes += [""] if homes[0] else []
    word = re.sub(rf"^{re.escape(given.kind)}[_.-]*", "", given.path.stem, flags=re.IGNORECASE)
    split = [name for name, place in SPLIT_NAMES.items() if place == given.split]
    inner = ["", *(f"{name}/" for name in dict.fromkeys([word, *split, given.path.stem]) if name)]
    bases = [f"{home}{over}{name}" for home in homes for over in ("", "images/", "data/") for name in inner]
    tried = file.names[:: max(1, len(file.names) // _TRIED)]
    return max(dict.fromkeys(bases), key=lambda base: sum(there(base + name) for name in tried))


def _table(files: Sequence[CocoFile]) -> tuple[Boxes, ObjectTable, list[Finding]]:
    """All annotations in the order of their pictures; classes of one name are one class in all files."""
    names = list(dict.fromkeys(file.categories[id].name for file in files for id in _in_order(file)))
    place = {name: k for k, name in enumerate(names)}
    rows = [row for file in files for of_picture in file.rows for row in of_picture]
    labels = np.array(
        [place[file.categories[row.category].name] for file in files for of_picture in file.rows for row in of_picture],
        np.int64,
    )
    counts = [len(of_picture) for file in files for of_picture in file.rows]
    ids = np.array([row.id for row in rows], np.int64)
    last = np.cumsum([sum(map(len, file.rows)) for file in files])  # rows up to the end of each file
    paths = [file.called for file in files]
    starts = np.cumsum([0, *(len(file.names) for file in files)]).tolist()
    wrong = [
        Wrong(start + picture, kind, reason)
        for start, file in zip(starts, files, strict=False)
        for picture, kind, reason in file.wrong
    ]
    findings = _homeless(files)
    names_of = [name for file in files for name in file.names]
    picture = np.repeat(np.arange(len(counts)), counts)

    def told(k: int) -> str:
        return f"{called(int(ids[k]))} of {paths[int(np.searchsorted(last, k, 'right'))]}"

    outlines, more_findings = _outlines(rows, lambda k: f"{told(k)} ({names_of[picture[k]]})")
    points, kinds, of_points = _points(rows, [category for file in files for category in file.categories.values()])
    crowd = np.array([row.crowd for row in rows], bool)
    table = ObjectTable(
        picture=picture,
        labels=labels,
        crowd=crowd,
        boxes=np.array([row.box for row in rows], np.float64).reshape(-1, 4),
        ignored=np.array([row.ignored for row in rows], bool),
        areas=np.array([row.area for row in rows], np.float64),
        sizes=np.array([size for file in files for size in file.sizes], np.int64).reshape(-1, 2),
        place=told,
        keypoints=points,
        outlines=outlines,
        wrong=wrong,
    )
    keypoints, bones = kinds
    target = Boxes(
        names=tuple(names),
        masks=outlines is not None,
        keypoints=keypoints,
        mirrored=mirrored(keypoints),
        bones=bones,
        ids=_numbers(files, names),
    )
    return target, table, [*findings, *more_findings, *of_points]


def _numbers(files: Sequence[CocoFile], names: Sequence[str]) -> tuple[int, ...]:
    """The number of each class; none where one is text, or files differ."""
    told = {(category.name, id) for file in files for id, category in file.categories.items()}
    ids = dict(told)
    one_each = len(told) == len(ids) == len(set(ids.values()))
    numbers = [ids[name] for name in names]
    return tuple(numbers) if one_each and all(type(id) is int and 0 <= id < 1 << 63 for id in numbers) else ()


def _in_order(file: CocoFile) -> list[int | str]:
    """The numbers of categories, smallest first; those that are text come last."""
    return sorted(file.categories, key=lambda id: (isinstance(id, str), id))


def _homeless(files: Sequence[CocoFile]) -> list[Finding]:
    lost = [called for file in files for called in file.homeless]
    if not lost:
        return []
    return [
        Finding(
            kind="no-picture",
            severity="error",
            count=len(lost),
            where=tuple(lost),
            message=f"{len(lost)} annotations are of pictures that the file does not list: {'; '.join(lost[:5])}",
            remedy="Add the pictures to images, or remove the annotations.",
        )
    ]


def _outlines(rows: Sequence[Row], place: Callable[[int], str]) -> tuple[Outlines | None, list[Finding]]:
    """The masks, where every object has one. `place`: where the k-th is told."""
    without = [k for k, row in enumerate(rows) if row.outline is None]
    if not without:
        return Outlines([row.outline or [] for row in rows]), []
    return None, [some_masks([place(k) for k in without], len(rows))] if len(without) < len(rows) else []


def _points(
    rows: Sequence[Row], categories: Sequence[Category]
) -> tuple[np.ndarray | None, tuple[tuple[str, ...], tuple[tuple[int, int], ...]], list[Finding]]:
    """(A, K, 3) keypoints, zeros for objects without, with their names and bones; none where categories differ."""
    kinds = list(dict.fromkeys((category.keypoints, category.bones) for category in categories if category.keypoints))
    if len({names for names, _ in kinds}) != 1 or all(row.points is None for row in rows):
        several = len(kinds) > 1
        return (
            None,
            ((), ()),
            [
                Finding(
                    kind="keypoints",
                    message="categories have different keypoints: they are not used",
                    remedy="Keep the categories of one kind of keypoints.",
                )
            ]
            * several,
        )
    names, bones = kinds[0]
    none = (0.0,) * (3 * len(names))
    numbers = chain.from_iterable(row.points or none for row in rows)
    points = np.fromiter(numbers, np.float64, 3 * len(names) * len(rows)).reshape(-1, len(names), 3)
    return points, (names, bones), []


FORMAT = Format("coco", recognises, open_raw)

"""COCO datasets: JSON files of images, categories and annotations.

The files lie in `annotations/`, with the images in folders beside it (instances_val2017.json and val2017/, or images/);
or beside the images, one for each split folder, as exporters write them; or the path is one JSON file. Boxes are
x, y, width, height from the upper left corner of the first pixel. Masks are rendered by COCO's own functions.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from snellen.core.errors import DataError, UsageError, suggest_name
from snellen.core.spec import Boxes
from snellen.core.views import Finding
from snellen.data.check.findings import unused_files_findings
from snellen.data.dataset import RawDataset
from snellen.data.decode.image_files import open_named_images
from snellen.data.file_index import walk
from snellen.data.formats import Format, OpenOptions
from snellen.data.formats.annotation_files import is_coco
from snellen.data.formats.coco_json import CocoAnnotation, CocoCategory, CocoFile, annotation_name, read_coco
from snellen.data.formats.file_names import SPLIT_NAMES
from snellen.data.formats.object_datasets import (
    ObjectDatasetInfo,
    mirrored_pairs,
    missing_masks,
    split_of,
    to_raw_dataset,
    unused_files,
)
from snellen.data.formats.object_table import AnnotationProblem, ObjectTable
from snellen.data.formats.polygons import EncodedMasks

_OTHER_KINDS = frozenset({"captions", "image_info", "panoptic", "stuff"})  # COCO annotations other than objects
_FOLDERS = ("annotations", "annotation", "labels", "json", "coco")  # searched for annotation files, as are splits
_MAX_FILES = 100  # JSON files of a folder
_MAX_TRIED = 50  # images looked up to choose the image folder


class AnnotationFile(NamedTuple):
    """A JSON file with the kind ("instances") and split (index in SPLITS, or None) from its name."""

    path: Path
    kind: str
    split: int | None


def recognises(path: Path) -> bool:
    """Whether COCO JSON files lie where COCO or exporters put them."""
    if path.is_file():
        return path.suffix.lower() == ".json" and is_coco(path)
    return any(
        is_coco(file) or _kind(file) in ("instances", "person_keypoints", "annotations.coco")
        for file in _candidates(path)
    )


def _candidates(path: Path) -> list[Path]:
    """JSON files in the folder, in its annotation folders, and in folders named like splits."""
    names = _names(path)
    inner = [name for name in names if name.lower() in _FOLDERS or split_of(name) is not None]
    candidates = [path / name for name in _json(names)]
    candidates += [path / one / name for one in inner for name in _json(_names(path / one))]
    return sorted(file for file in candidates if file.is_file())


def _json(names: Sequence[str]) -> list[str]:
    """The first names of JSON files; a folder with more holds one for each image."""
    return sorted(name for name in names if name.lower().endswith(".json"))[:_MAX_FILES]


def _names(folder: Path) -> list[str]:
    """All names in a folder that are not hidden; none if it cannot be read."""
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError:
        return []


def _kind(file: Path) -> str:
    """The kind of a file, its name without the split: "instances" of instances_train2017.json."""
    words = "|".join(sorted(SPLIT_NAMES, key=len, reverse=True))
    return re.sub(rf"(?<![a-z])(?:{words})(?![a-z])|\d+", "", file.stem.lower()).strip("_-. ")


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Boxes, masks and keypoints of the categories.

    Raises:
        DataError: the files are not COCO files, or contradict each other.
        UsageError: the target is not a kind of file in the folder.
    """
    selected, others = _select_files(path, options)
    root = _root(path)
    files = [read_coco(entry.path, root) for entry in selected]
    listing = walk(root) if path.is_dir() else None
    exists = None if listing is None else {file.path for file in listing.files}.__contains__
    names = _image_paths(root, selected, files, exists)
    if not names:
        raise DataError(f"{files[0].path} lists no image", "Export it again, or fix the file.")
    source = open_named_images(root, names, options.pages)
    target, table, findings = _table(files)
    splits = [entry.split for entry, file in zip(selected, files, strict=True) for _ in file.names]
    used = set(names) | {entry.path.relative_to(root).as_posix() for entry in selected}
    skipped, no_data = (
        ([], 0)
        if listing is None
        else unused_files(
            listing,
            used,
            "is not listed in " + ", ".join(file.display_name for file in files),
            "List it, or move it away.",
        )
    )
    used = used if listing is None else used & {file.path for file in listing.files}
    total = len(used) + len(skipped) + no_data
    notes = [f"{others[0]} available with --target {others[0]}"] if others else []
    other_types = dict.fromkeys(text for file in files for text in file.other_types)
    notes += [f"ids differ in type and are matched by value ({', '.join(other_types)})"] if other_types else []
    info = ObjectDatasetInfo(
        target=target,
        name=f"COCO ({', '.join(file.display_name for file in files)})",
        note="; ".join(notes),
        given_splits=np.array(splits, np.int64) if len(selected) > 1 else None,
        findings=(*findings, *unused_files_findings(skipped)),
        files={"found": total, "used": len(used), "set aside": len(skipped), "no data": no_data},
        skipped=tuple(skipped),
    )
    return to_raw_dataset(source, table, info, options)


def image_ids(path: Path, options: OpenOptions) -> dict[str, int | str]:
    """COCO image ids by file path.

    Raises:
        DataError: the files are not COCO files, or contradict each other.
    """
    root = _root(path)
    selected, _ = _select_files(path, options)
    files = [read_coco(entry.path, root) for entry in selected]
    ids = [id for file in files for id in file.ids]
    return {
        os.path.realpath(root / name): id for name, id in zip(_image_paths(root, selected, files), ids, strict=True)
    }


def _root(path: Path) -> Path:
    """The root folder of annotation files and images."""
    if path.is_dir():
        return path
    return path.parent.parent if path.parent.name.lower() in _FOLDERS[:3] else path.parent


def _image_paths(
    root: Path,
    selected: Sequence[AnnotationFile],
    files: Sequence[CocoFile],
    exists: Callable[[str], bool] | None = None,
) -> list[str]:
    """Image paths of all files, relative to the root. exists: whether a file lies at a path."""
    exists = exists or (lambda name: (root / name).exists())
    return [
        f"{base}{name}"
        for entry, file in zip(selected, files, strict=True)
        for base in [_image_folder(root, entry, file, exists)]
        for name in file.names
    ]


def _select_files(path: Path, options: OpenOptions) -> tuple[list[AnnotationFile], list[str]]:
    """The files to read, one for each split, of one kind; and the other kinds in the folder."""
    if path.is_file():
        return [AnnotationFile(path, _kind(path), None)], []
    available = [
        AnnotationFile(
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
    available = [
        g for g in available if is_coco(g.path) or g.kind in ("instances", "person_keypoints", "annotations.coco")
    ]
    kinds = sorted({entry.kind for entry in available})
    if not kinds:
        raise DataError(f"{path} holds no COCO annotation file", "Put it into annotations/, or beside the images.")
    objects = [kind for kind in kinds if kind not in _OTHER_KINDS] or kinds
    if options.target:
        if len(options.target) > 1 or options.target[0] not in kinds:
            raise UsageError(
                f"{path} has no annotations of kind {','.join(options.target)!r}",
                suggest_name(options.target[0], kinds),
            )
        kind = options.target[0]
    else:
        kind = "instances" if "instances" in objects else objects[0]
        if kind != "instances" and len(objects) > 1:
            raise DataError(
                f"{path} has several annotations: {', '.join(objects)}", f"Choose one, e.g. --target {kind}."
            )
    selected = [entry for entry in available if entry.kind == kind]
    splits = [entry.split for entry in selected]
    if len(selected) > 1 and (None in splits or len(set(splits)) < len(splits)):
        names = ", ".join(entry.path.relative_to(path).as_posix() for entry in selected)
        raise DataError(
            f"{path} has several files {names} without a distinct split name each",
            "Name them train, val and test, or give one as the path.",
        )
    selected.sort(key=lambda entry: entry.split or 0)
    return selected, [other for other in objects if other != kind]


def _image_folder(root: Path, entry: AnnotationFile, file: CocoFile, exists: Callable[[str], bool]) -> str:
    """The image folder of a file, relative to the root: the one that holds most of its images, e.g. "val2017/"."""
    json_folder = entry.path.parent.relative_to(root).as_posix()
    parents = ["" if json_folder == "." or entry.path.parent.name.lower() == "annotations" else f"{json_folder}/"]
    parents += [""] if parents[0] else []
    suffix = re.sub(rf"^{re.escape(entry.kind)}[_.-]*", "", entry.path.stem, flags=re.IGNORECASE)
    split = [name for name, place in SPLIT_NAMES.items() if place == entry.split]
    # CVAT: images/default/ of instances_default.json
    subsets = [name for name in sorted(_names(root / "images")) if entry.path.stem.lower().endswith(f"_{name.lower()}")]
    inner = ["", *(f"{name}/" for name in dict.fromkeys([suffix, *subsets, *split, entry.path.stem]) if name)]
    bases = [f"{parent}{middle}{name}" for parent in parents for middle in ("", "images/", "data/") for name in inner]
    tried_names = file.names[:: max(1, len(file.names) // _MAX_TRIED)]
    return max(dict.fromkeys(bases), key=lambda base: sum(exists(base + name) for name in tried_names))


def _table(files: Sequence[CocoFile]) -> tuple[Boxes, ObjectTable, list[Finding]]:
    """All annotations in the order of their images. Classes with the same name are one class across files."""
    names = list(dict.fromkeys(file.categories[id].name for file in files for id in _in_order(file)))
    class_of_name = {name: k for k, name in enumerate(names)}
    rows = [row for file in files for image_rows in file.rows for row in image_rows]
    labels = np.array(
        [
            class_of_name[file.categories[row.category].name]
            for file in files
            for image_rows in file.rows
            for row in image_rows
        ],
        np.int64,
    )
    counts = [len(image_rows) for file in files for image_rows in file.rows]
    ids = np.array([row.id for row in rows], np.int64)
    row_ends = np.cumsum([sum(map(len, file.rows)) for file in files])  # cumulative number of rows
    paths = [file.display_name for file in files]
    starts = np.cumsum([0, *(len(file.names) for file in files)]).tolist()
    problems = [
        AnnotationProblem(start + image, kind, reason)
        for start, file in zip(starts, files, strict=False)
        for image, kind, reason in file.problems
    ]
    findings = _unlisted_images(files)
    names_of = [name for file in files for name in file.names]
    image_index = np.repeat(np.arange(len(counts)), counts)

    def describe(k: int) -> str:
        return f"{annotation_name(int(ids[k]))} of {paths[int(np.searchsorted(row_ends, k, 'right'))]}"

    masks, mask_findings = _encoded_masks(rows, lambda k: f"{describe(k)} ({names_of[image_index[k]]})")
    points, kinds, keypoint_findings = _points(
        rows, [category for file in files for category in file.categories.values()]
    )
    crowd = np.array([row.crowd for row in rows], bool)
    table = ObjectTable(
        image_index=image_index,
        labels=labels,
        crowd=crowd,
        boxes=np.array([row.box for row in rows], np.float64).reshape(-1, 4),
        ignored=np.array([row.ignored for row in rows], bool),
        areas=np.array([row.area for row in rows], np.float64),
        sizes=np.array([size for file in files for size in file.sizes], np.int64).reshape(-1, 2),
        describe=describe,
        keypoints=points,
        masks=masks,
        problems=problems,
    )
    keypoints, bones = kinds
    target = Boxes(
        names=tuple(names),
        masks=masks is not None,
        keypoints=keypoints,
        mirrored=mirrored_pairs(keypoints),
        bones=bones,
        ids=_category_ids(files, names),
    )
    return target, table, [*findings, *mask_findings, *keypoint_findings]


def _category_ids(files: Sequence[CocoFile], names: Sequence[str]) -> tuple[int, ...]:
    """The category id of each class; empty if any is a string, or files differ."""
    pairs = {(category.name, id) for file in files for id, category in file.categories.items()}
    ids = dict(pairs)
    is_one_to_one = len(pairs) == len(ids) == len(set(ids.values()))
    class_ids = [ids[name] for name in names]
    return tuple(class_ids) if is_one_to_one and all(type(id) is int and 0 <= id < 1 << 63 for id in class_ids) else ()


def _in_order(file: CocoFile) -> list[int | str]:
    """Category ids, ascending; strings last."""
    return sorted(file.categories, key=lambda id: (isinstance(id, str), id))


def _unlisted_images(files: Sequence[CocoFile]) -> list[Finding]:
    unlisted = [annotation for file in files for annotation in file.unlisted]
    if not unlisted:
        return []
    return [
        Finding(
            kind="no-picture",
            severity="error",
            count=len(unlisted),
            where=tuple(unlisted),
            message=f"{len(unlisted)} annotations have an unknown image_id: {'; '.join(unlisted[:5])}",
            remedy="Add the images to the images list, or remove the annotations.",
        )
    ]


def _encoded_masks(
    rows: Sequence[CocoAnnotation], describe: Callable[[int], str]
) -> tuple[EncodedMasks | None, list[Finding]]:
    """The masks, if every object has one. describe: k -> the name of the k-th object in messages."""
    unmasked = [k for k, row in enumerate(rows) if row.mask is None]
    if not unmasked:
        return EncodedMasks([row.mask or [] for row in rows]), []
    return None, [missing_masks([describe(k) for k in unmasked], len(rows))] if len(unmasked) < len(rows) else []


def _points(
    rows: Sequence[CocoAnnotation], categories: Sequence[CocoCategory]
) -> tuple[np.ndarray | None, tuple[tuple[str, ...], tuple[tuple[int, int], ...]], list[Finding]]:
    """(A, K, 3) keypoints (zeros for objects without), names and bones; none if categories differ in keypoints."""
    kinds = list(dict.fromkeys((category.keypoints, category.bones) for category in categories if category.keypoints))
    if len({names for names, _ in kinds}) != 1 or all(row.points is None for row in rows):
        is_mixed = len(kinds) > 1
        return (
            None,
            ((), ()),
            [
                Finding(
                    kind="keypoints",
                    message="categories have different keypoints; keypoints are not used",
                    remedy="Keep only categories with the same keypoints.",
                )
            ]
            * is_mixed,
        )
    names, bones = kinds[0]
    none = (0.0,) * (3 * len(names))
    class_ids = chain.from_iterable(row.points or none for row in rows)
    points = np.fromiter(class_ids, np.float64, 3 * len(names) * len(rows)).reshape(-1, len(names), 3)
    return points, (names, bones), []


FORMAT = Format("coco", recognises, open_raw)

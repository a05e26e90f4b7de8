"""YOLO datasets: a text file for each image with one object on each line, in normalised coordinates.

A line is the class index, and the centre, width and height of a box; or the points of a polygon; or, if data.yaml has
a `kpt_shape`, a box and its keypoints. The labels of images/a.jpg are in labels/a.txt, or in a.txt beside it.
Classes and splits are from data.yaml; without it the classes are the lines of classes.txt, and the splits folders.
Coordinates refer to the image as displayed: the EXIF orientation does not change them.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from snellen.core.errors import DataError, first_line, short_repr
from snellen.core.input_files import read_text
from snellen.core.spec import Boxes
from snellen.core.views import Finding
from snellen.data.check.findings import unused_files_findings
from snellen.data.dataset import SPLITS, RawDataset
from snellen.data.decode.header import Header
from snellen.data.decode.image_files import ImageFiles, open_named_images
from snellen.data.file_index import Listing, walk
from snellen.data.formats import Format, OpenOptions
from snellen.data.formats.annotation_files import is_annotation_text
from snellen.data.formats.file_names import is_image_name, is_sidecar, split_index
from snellen.data.formats.object_datasets import (
    ObjectDatasetInfo,
    file_counts,
    has_annotations,
    leads_out,
    list_names,
    missing_masks,
    to_raw_dataset,
    unused_files,
)
from snellen.data.formats.object_table import AnnotationProblem, ObjectTable
from snellen.data.formats.polygons import EncodedMasks
from snellen.data.formats.yolo_config import YoloConfig, is_config, read_config, yaml_files
from snellen.data.formats.yolo_labels import Line, read_lines
from snellen.data.formats.yolo_lists import ClassList, below_root, find_darknet, is_class_list, list_of
from snellen.data.source import Skipped

LABEL_FOLDERS = ("labels", "label", "annotations", "annotation", "txt")
_MAX_FRACTION = 2.0  # of the image's size: a box beyond it is in pixels


def recognises(path: Path) -> bool:
    """Whether there is a data.yaml, or label files in labels/ or beside the images with a list of classes."""
    if path.is_file():
        return path.suffix.lower() in (".yaml", ".yml") and is_config(path)
    if yaml_files(path) or find_darknet(path) is not None:
        return True
    names = list_names(path)
    folders = ["", *(name for name in names if split_index(name) is not None)]
    if any(_has_label_files(path / home / "labels") and (path / home / "images").is_dir() for home in folders):
        return True
    return path.is_dir() and has_annotations(path, ".txt", LABEL_FOLDERS, is_annotation_text)


def _has_label_files(folder: Path) -> bool:
    """Whether label files lie in a folder or its subfolders."""
    names = list_names(folder)
    below = (list_names(folder / name) for name in names if "." not in name)
    return any(name.endswith(".txt") and not is_class_list(name) for name in itertools.chain(names, *below))


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Boxes, and masks or keypoints if every object has them.

    Raises:
        DataError: data.yaml is unreadable or does not fit the folder, or no image has a label file.
    """
    root = path if path.is_dir() else path.parent
    yaml = path.name if path.is_file() else _yaml_file(root)
    listing = walk(root)
    config = read_config(root, yaml, listing)
    image_paths, split_indices = _image_paths(root, config, listing)
    existing = {file.path for file in listing.files}
    label_files = [_label_file(image, existing) for image in image_paths]
    if not any(label_files):
        raise DataError(
            f"{root} has {len(image_paths)} images, and none has a label file",
            "Put the labels of images/a.jpg into labels/a.txt, or a.txt beside it.",
        )
    source = open_named_images(root, image_paths, options.pages)
    lines, problems = _lines(root, label_files, config)
    config, lines = _with_lists(root, label_files, lines, config)
    target, table, findings = _table(source, label_files, lines, problems, config)
    lists = {place for place in config.splits if place.endswith(".txt")}
    used = ({*image_paths, *config.files, *lists, *filter(None, label_files)}) & existing
    skipped, no_data = _unused_files(listing, used)
    unlabelled = [image_paths[k] for k, text in enumerate(label_files) if text is None]
    info = ObjectDatasetInfo(
        target=target,
        name="YOLO" + (f" ({yaml})" if yaml else ""),
        given_splits=split_indices,
        findings=(
            *findings,
            *_missing_label_files(unlabelled, len(image_paths)),
            *_repeated_splits(config),
            *unused_files_findings(skipped),
        ),
        skipped=tuple(skipped),
        files=file_counts(listing, used, skipped, no_data),
    )
    return to_raw_dataset(source, table, info, options)


def _yaml_file(root: Path) -> str | None:
    """The YAML file of a folder, None without one. Raises DataError if there are several."""
    files = yaml_files(root)
    if len(files) > 1:
        raise DataError(
            f"{root} has several files of classes and splits: {', '.join(files)}",
            f"Give one of them as the path: {root / files[0]}.",
        )
    return files[0] if files else None


def _image_paths(root: Path, config: YoloConfig, listing: Listing) -> tuple[list[str], np.ndarray | None]:
    """The images, sorted, and their indices in SPLITS if given.

    Raises:
        DataError: there is no image, or an image is in two splits.
    """
    existing = {file.path for file in listing.files}
    all_images = [path for path in sorted(existing) if is_image_name(path.rpartition("/")[2]) and not is_sidecar(path)]
    if not config.splits:
        images = [path for path in all_images if "images" in path.lower().split("/")[:-1]] or all_images
        if not images:
            raise DataError(f"{root} holds no image", "Put images into images/, or beside their label files.")
        split_of_path = {path: _split_folder(path) for path in images}
        if len({place is None for place in split_of_path.values()}) > 1:
            outside = next(path for path, place in split_of_path.items() if place is None)
            raise DataError(f"{root} has split folders, and {outside} lies outside them", "Move it into one of them.")
        places = [place for place in split_of_path.values() if place is not None]
        return list(split_of_path), np.array(places, np.int64) if places else None
    split: dict[str, int] = {}
    for entry, place in config.splits.items():
        prefix = f"{entry}/" if entry else ""
        inside = (
            _listed_images(root, entry, existing)
            if entry.endswith(".txt")
            else [p for p in all_images if p.startswith(prefix)]
        )
        for path in inside:
            if split.setdefault(path, place) != place:
                raise DataError(
                    f"{root} has {path} in {SPLITS[split[path]]} and in {SPLITS[place]}",
                    "Keep each image in one split.",
                )
    if not split:
        raise DataError(f"{root} holds no image in {', '.join(config.splits)}", "Give the folders of the images.")
    return sorted(split), np.array([split[path] for path in sorted(split)], np.int64)


def _split_folder(path: str) -> int | None:
    """The index in SPLITS of the first folder named like a split, or None."""
    return next((index for part in path.split("/")[:-1] if (index := split_index(part)) is not None), None)


def _listed_images(root: Path, name: str, existing: set[str]) -> list[str]:
    """The images listed in a text file, relative to it or to the root, or to a folder outside, as Darknet writes."""
    try:
        lines = read_text(root / name).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{root / name} cannot be read ({first_line(error)})", "Fix the file.") from error
    paths = []
    for line in filter(None, map(str.strip, lines)):
        inside = below_root(line, existing)
        if leads_out(line) and inside is None:
            raise DataError(
                f"{root / name} names {short_repr(line)}, which lies outside the folder",
                "Write file names relative to the folder.",
            )
        image = PurePosixPath(line.replace("\\", "/"))
        relative = PurePosixPath(name).parent / image
        paths.append(relative.as_posix() if relative.as_posix() in existing else inside or image.as_posix())
    return paths


def _label_file(image: str, existing: set[str]) -> str | None:
    """The label file: in labels/ or the like instead of the last images/, else beside the image; None without one."""
    stem = os.path.splitext(image)[0]
    parts = stem.split("/")
    places = [k for k, part in enumerate(parts[:-1]) if part.lower() == "images"]
    inside = ["/".join([*parts[:k], word, *parts[k + 1 :]]) + ".txt" for k in places[-1:] for word in LABEL_FOLDERS]
    return next((text for text in (*inside, f"{stem}.txt") if text in existing), None)


def _lines(
    root: Path, label_files: Sequence[str | None], config: YoloConfig
) -> tuple[list[list[Line]], list[AnnotationProblem]]:
    lines: list[list[Line]] = []
    problems = []
    for k, text in enumerate(label_files):
        try:
            lines.append(read_lines(root / text, config.keypoints) if text is not None else [])
        except ValueError as error:
            lines.append([])
            problems.append(AnnotationProblem(k, "annotation", f"{text} {error}"))
    return lines, problems


def _with_lists(
    root: Path, label_files: Sequence[str | None], lines: list[list[Line]], config: YoloConfig
) -> tuple[YoloConfig, list[list[Line]]]:
    """Class names from the class lists, by name where folders have lists of their own; -1 marks an unlisted class."""
    if not config.lists:
        return config, lines
    list_of_folder: dict[str, ClassList | None] = {}
    for text in label_files:
        folder = (text or "").rpartition("/")[0]
        if text is not None and folder not in list_of_folder:
            list_of_folder[folder] = list_of(text, config.lists, root)
    used = list(dict.fromkeys(entry for entry in list_of_folder.values() if entry is not None)) or [config.lists[0]]
    if len(used) == 1:
        return config._replace(names={k: name for k, name in enumerate(used[0].names) if name}), lines
    names = list(dict.fromkeys(name for entry in used for name in entry.names if name))
    place = {name: k for k, name in enumerate(names)}
    renamed = []
    for text, rows in zip(label_files, lines, strict=True):
        entry = list_of_folder[text.rpartition("/")[0]] if text is not None else None
        local = entry.names if entry is not None else ()
        renamed.append(
            [row._replace(label=place.get(local[row.label], -1) if row.label < len(local) else -1) for row in rows]
        )
    return config._replace(names=dict(enumerate(names))), renamed


def _table(
    source: ImageFiles,
    label_files: Sequence[str | None],
    lines: Sequence[Sequence[Line]],
    problems: list[AnnotationProblem],
    config: YoloConfig,
) -> tuple[Boxes, ObjectTable, list[Finding]]:
    all_lines = [line for image_rows in lines for line in image_rows]
    image_index = np.repeat(np.arange(len(lines)), [len(image_rows) for image_rows in lines])
    header_sizes = [(h.width, h.height) if isinstance(h, Header) else (1, 1) for h in source.headers]
    image_sizes = np.array(header_sizes, np.float64).reshape(-1, 2)[image_index]  # (A, 2) width, height
    names = config.names or {label: str(label) for label in sorted({line.label for line in all_lines})}
    place = {number: k for k, number in enumerate(sorted(names))}
    numbers = np.array([line.number for line in all_lines], np.int64)

    def describe(k: int) -> str:
        return f"{label_files[image_index[k]]} line {numbers[k]}"

    _check_units(source.root, all_lines, describe)
    masks, findings = _encoded_masks(all_lines, image_sizes, describe)
    points = None
    if config.keypoints is not None:
        none = (0.0,) * (3 * config.keypoints[0])
        points = np.array([line.points or none for line in all_lines], np.float64).reshape(len(all_lines), -1, 3)
        points[..., :2] *= image_sizes[:, None]
        points[points[..., 2] == 0] = 0.0
    table = ObjectTable(
        image_index=image_index,
        boxes=np.array([line.box for line in all_lines]).reshape(-1, 4) * np.tile(image_sizes, 2),
        labels=np.array([place.get(line.label, -1) for line in all_lines], np.int64),
        crowd=np.zeros(len(all_lines), bool),
        ignored=np.zeros(len(all_lines), bool),
        areas=np.full(len(all_lines), np.nan),
        masks=masks,
        keypoints=points,
        sizes=np.zeros((len(lines), 2), np.int64),
        problems=problems,
        describe=describe,
    )
    count = 0 if config.keypoints is None else config.keypoints[0]
    target = Boxes(
        names=tuple(names[number] for number in sorted(names)),
        masks=masks is not None,
        keypoints=tuple(f"point {k + 1}" for k in range(count)),
        mirrored=tuple((k, other) for k, other in enumerate(config.flips) if k < other),
    )
    return target, table, findings


def _check_units(root: Path, lines: Sequence[Line], describe: Callable[[int], str]) -> None:
    """Raise DataError if most boxes are in pixels: fractions are at most 1, and a little more at the border."""
    outside = [k for k, line in enumerate(lines) if max(line.box) > _MAX_FRACTION]
    if 2 * len(outside) > len(lines):
        corners = ", ".join(f"{value:g}" for value in lines[outside[0]].box)
        raise DataError(
            f"{root}: {len(outside):,} of {len(lines):,} boxes are not fractions of their image "
            f"(corners {corners} of {describe(outside[0])}): YOLO divides pixels by width and height",
            "Divide x by the width and y by the height of each image.",
        )


def _encoded_masks(
    all_lines: Sequence[Line], image_sizes: np.ndarray, describe: Callable[[int], str]
) -> tuple[EncodedMasks | None, list[Finding]]:
    """The polygons in pixels, if every object has one. describe: k -> the name of the k-th object in messages."""
    unmasked = [k for k, line in enumerate(all_lines) if line.ring is None]
    if unmasked:
        return None, [missing_masks([describe(k) for k in unmasked], len(all_lines))] if len(unmasked) < len(
            all_lines
        ) else []
    if not all_lines:
        return None, []
    masks = EncodedMasks([[line.ring or ()] for line in all_lines])
    masks.points *= np.repeat(image_sizes, np.diff(masks.ring_starts), axis=0)  # one ring for each object
    return masks, []


def _unused_files(listing: Listing, used: set[str]) -> tuple[list[Skipped], int]:
    """The unused files. A text file in labels/ without an image is reported, not counted as a sidecar."""
    skipped, no_data = unused_files(listing, used, "is in no split or image folder", "Move it there, or away.")
    orphans = [
        file.path
        for file in listing.files
        if file.path not in used
        and file.path.endswith(".txt")
        and "labels" in file.path.lower().split("/")[:-1]
        and not file.path.rpartition("/")[2].startswith(".")
        and not is_class_list(file.path.rpartition("/")[2])
    ]
    skipped += [Skipped(path, "has no image", "Add the image, or remove it.") for path in orphans]
    return skipped, no_data - len(orphans)


def _missing_label_files(image_paths: Sequence[str], count: int) -> list[Finding]:
    if not image_paths:
        return []
    return [
        Finding(
            kind="no-text",
            severity="note",
            count=len(image_paths),
            where=tuple(image_paths[:20]),
            message=f"{len(image_paths)} of {count:,} images have no label file: they have no objects",
        )
    ]


def _repeated_splits(config: YoloConfig) -> list[Finding]:
    if not config.repeated:
        return []
    return [
        Finding(
            kind="same-split",
            message=f"{' and '.join(config.repeated)} is the training folder again: "
            "a new split is made from the training images",
            remedy="Give a separate folder for validation or test.",
        )
    ]


FORMAT = Format("yolo", recognises, open_raw, any_depth=True)

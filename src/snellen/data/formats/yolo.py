"""YOLO: a text file for each picture, a line an object, in shares of the picture's width and height.

A line is the number of the class, and the middle, width and height of a box; or the points of a polygon; or, where
data.yaml tells a `kpt_shape`, a box and its keypoints. The text of images/a.jpg is labels/a.txt, or a.txt beside it.
Classes and splits are those of data.yaml; without it the classes are the lines of classes.txt, and folders the splits.
Shares are of the picture as viewers show it: nothing is turned with an EXIF orientation.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from snellen.core.errors import DataError, first_line, shown
from snellen.core.spec import Boxes
from snellen.core.views import Finding
from snellen.data.check.findings import stray
from snellen.data.dataset import SPLITS, RawDataset
from snellen.data.decode.header import Header
from snellen.data.decode.image_files import ImageFiles, named_pictures
from snellen.data.file_index import Listing, walk
from snellen.data.formats import Format, OpenOptions
from snellen.data.formats.image_folder import SPLIT_NAMES, is_picture_name
from snellen.data.formats.object_datasets import (
    Told,
    beside_pictures,
    draft_of,
    leads_out,
    left_over,
    some_masks,
    some_names,
)
from snellen.data.formats.object_table import ObjectTable, Wrong
from snellen.data.formats.polygons import Outlines
from snellen.data.formats.yolo_config import NAMES, YAML, Plan, plan_of
from snellen.data.formats.yolo_labels import Line, read_lines
from snellen.data.source import Skipped

_TELLS = re.compile(rb"^(names|nc|train)\s*:", re.MULTILINE)


def recognises(path: Path) -> bool:
    """Whether there is a data.yaml, or text beside pictures in labels/ or by a list of classes."""
    if path.is_file():
        return path.suffix.lower() in (".yaml", ".yml") and _tells(path)
    if any(_tells(path / name) for name in YAML):
        return True
    names = some_names(path)
    homes = ["", *(name for name in names if name.lower() in SPLIT_NAMES)]
    if any(_has_text(path / home / "labels") and (path / home / "images").is_dir() for home in homes):
        return True
    return any((path / name).is_file() for name in NAMES) and beside_pictures(path, ".txt")


def _tells(file: Path) -> bool:
    try:
        with open(file, "rb") as opened:
            return _TELLS.search(opened.read(1 << 16)) is not None
    except OSError:
        return False


def _has_text(folder: Path) -> bool:
    """Whether text lies in a folder, or in one inside it."""
    names = some_names(folder)
    below = (some_names(folder / name) for name in names if "." not in name)
    return any(name.endswith(".txt") and name not in NAMES for name in itertools.chain(names, *below))


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Boxes, and masks or keypoints where every object has them.

    Raises:
        DataError: when data.yaml cannot be read or does not fit the folder, and when no picture has a text file.
    """
    root = path if path.is_dir() else path.parent
    yaml = path.name if path.is_file() else next((name for name in YAML if (root / name).is_file()), None)
    listing = walk(root)
    plan = plan_of(root, yaml, listing)
    pictures, given = _pictures(root, plan, listing)
    there = {file.path for file in listing.files}
    texts = [_text_of(picture, there) for picture in pictures]
    if not any(texts):
        raise DataError(
            f"{root} has {len(pictures)} pictures, and none has a text file of objects",
            "The text of images/a.jpg is labels/a.txt, or a.txt beside it.",
        )
    source = named_pictures(root, pictures, options.pages)
    lines, wrong = _lines(root, texts, plan)
    target, table, findings = _table(source, texts, lines, wrong, plan)
    lists = {place for place in plan.splits if place.endswith(".txt")}
    used = ({*pictures, *plan.files, *lists, *filter(None, texts)}) & there
    aside, no_data = _left_over(listing, used)
    all_detections = [pictures[k] for k, text in enumerate(texts) if text is None]
    told = Told(
        target=target,
        name="YOLO" + (f" ({yaml})" if yaml else ""),
        given=given,
        findings=(*findings, *_untold(all_detections, len(pictures)), *_same(plan), *stray(aside)),
        aside=tuple(aside),
        files={
            "found": len(listing.files) + len(listing.aside),
            "used": len(used),
            "set aside": len(aside),
            "no data": no_data,
        },
    )
    return draft_of(source, table, told, options)


def _pictures(root: Path, plan: Plan, listing: Listing) -> tuple[list[str], np.ndarray | None]:
    """The pictures, sorted, with places in SPLITS where these are told.

    Raises:
        DataError: for none, and for a picture in two splits.
    """
    all_there = [file.path for file in listing.files if is_picture_name(file.path.rpartition("/")[2])]
    if not plan.splits:
        images = [path for path in all_there if "images" in path.lower().split("/")[:-1]] or all_there
        if not images:
            raise DataError(f"{root} holds no picture", "They lie in images/, or beside their text files.")
        found = {
            path: next((SPLIT_NAMES[part] for part in path.lower().split("/")[:-1] if part in SPLIT_NAMES), None)
            for path in images
        }
        if len({place is None for place in found.values()}) > 1:
            homeless = next(path for path, place in found.items() if place is None)
            raise DataError(
                f"{root} has folders of splits, and {homeless} in none of them", "Move it into one of them."
            )
        places = [place for place in found.values() if place is not None]
        return list(found), np.array(places, np.int64) if places else None
    split: dict[str, int] = {}
    for entry, place in plan.splits.items():
        prefix = f"{entry}/" if entry else ""
        inside = _listed(root, entry) if entry.endswith(".txt") else [p for p in all_there if p.startswith(prefix)]
        for path in inside:
            if split.setdefault(path, place) != place:
                raise DataError(
                    f"{root} has {path} in {SPLITS[split[path]]} and in {SPLITS[place]}",
                    "A picture belongs to one split.",
                )
    if not split:
        raise DataError(f"{root} holds no picture in {', '.join(plan.splits)}", "Name the folders of the pictures.")
    return sorted(split), np.array([split[path] for path in sorted(split)], np.int64)


def _listed(root: Path, name: str) -> list[str]:
    """The pictures that a text file names, relative to it or to the root."""
    try:
        lines = (root / name).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{root / name} cannot be read ({first_line(error)})", "Mend it.") from error
    found = []
    for line in filter(None, map(str.strip, lines)):
        if leads_out(line):
            raise DataError(
                f"{root / name} names {shown(line)}, which leads out of the folder",
                "Name the files relative to the folder.",
            )
        picture = PurePosixPath(line.replace("\\", "/"))
        beside = PurePosixPath(name).parent / picture
        found.append((beside if (root / beside).exists() else picture).as_posix())
    return found


def _text_of(picture: str, there: set[str]) -> str | None:
    """labels/ in place of the last images/, else beside the picture; None where neither is there."""
    stem = os.path.splitext(picture)[0]
    parts = stem.split("/")
    places = [k for k, part in enumerate(parts[:-1]) if part.lower() == "images"]
    inside = ["/".join([*parts[:k], "labels", *parts[k + 1 :]]) + ".txt" for k in places[-1:]]
    return next((text for text in (*inside, f"{stem}.txt") if text in there), None)


def _lines(root: Path, texts: Sequence[str | None], plan: Plan) -> tuple[list[list[Line]], list[Wrong]]:
    lines: list[list[Line]] = []
    wrong = []
    for k, text in enumerate(texts):
        try:
            lines.append(read_lines(root / text, plan.keypoints) if text is not None else [])
        except ValueError as error:
            lines.append([])
            wrong.append(Wrong(k, "annotation", f"{text} {error}"))
    return lines, wrong


def _table(
    source: ImageFiles, texts: Sequence[str | None], lines: Sequence[Sequence[Line]], wrong: list[Wrong], plan: Plan
) -> tuple[Boxes, ObjectTable, list[Finding]]:
    flat = [line for of_picture in lines for line in of_picture]
    picture = np.repeat(np.arange(len(lines)), [len(of_picture) for of_picture in lines])
    scale = np.array([(h.width, h.height) if isinstance(h, Header) else (1, 1) for h in source.headers], np.float64)
    wide = scale.reshape(-1, 2)[picture]  # (A, 2) width, height
    names = plan.names or {label: str(label) for label in sorted({line.label for line in flat})}
    place = {number: k for k, number in enumerate(sorted(names))}
    numbers = np.array([line.number for line in flat], np.int64)

    def told(k: int) -> str:
        return f"{texts[picture[k]]} line {numbers[k]}"

    outlines, findings = _outlines(flat, wide, told)
    points = None
    if plan.keypoints is not None:
        none = (0.0,) * (3 * plan.keypoints[0])
        points = np.array([line.points or none for line in flat], np.float64).reshape(len(flat), -1, 3)
        points[..., :2] *= wide[:, None]
        points[points[..., 2] == 0] = 0.0
    table = ObjectTable(
        picture=picture,
        boxes=np.array([line.box for line in flat]).reshape(-1, 4) * np.tile(wide, 2),
        labels=np.array([place.get(line.label, -1) for line in flat], np.int64),
        crowd=np.zeros(len(flat), bool),
        ignored=np.zeros(len(flat), bool),
        areas=np.full(len(flat), np.nan),
        outlines=outlines,
        keypoints=points,
        sizes=np.zeros((len(lines), 2), np.int64),
        wrong=wrong,
        place=told,
    )
    count = 0 if plan.keypoints is None else plan.keypoints[0]
    target = Boxes(
        names=tuple(names[number] for number in sorted(names)),
        masks=outlines is not None,
        keypoints=tuple(f"point {k + 1}" for k in range(count)),
        mirrored=tuple((k, other) for k, other in enumerate(plan.flips) if k < other),
    )
    return target, table, findings


def _outlines(
    flat: Sequence[Line], wide: np.ndarray, place: Callable[[int], str]
) -> tuple[Outlines | None, list[Finding]]:
    """The polygons in pixels, where every object has one. `place`: where the k-th is told."""
    without = [k for k, line in enumerate(flat) if line.ring is None]
    if without:
        return None, [some_masks([place(k) for k in without], len(flat))] if len(without) < len(flat) else []
    if not flat:
        return None, []
    outlines = Outlines([[line.ring or ()] for line in flat])
    outlines.points *= np.repeat(wide, np.diff(outlines.ring_starts), axis=0)  # an object has one ring
    return outlines, []


def _left_over(listing: Listing, used: set[str]) -> tuple[list[Skipped], int]:
    """What is not used; a text file in labels/ without a picture is no mere sidecar."""
    aside, no_data = left_over(listing, used, "is in no split or folder of pictures", "Move it there, or away.")
    lost = [
        file.path
        for file in listing.files
        if file.path not in used
        and file.path.endswith(".txt")
        and "labels" in file.path.lower().split("/")[:-1]
        and not file.path.rpartition("/")[2].startswith(".")
        and file.path.rpartition("/")[2] not in NAMES
    ]
    aside += [Skipped(path, "has no picture", "Add the picture, or remove it.") for path in lost]
    return aside, no_data - len(lost)


def _untold(pictures: Sequence[str], count: int) -> list[Finding]:
    if not pictures:
        return []
    return [
        Finding(
            kind="no-text",
            severity="note",
            count=len(pictures),
            where=tuple(pictures[:20]),
            message=f"{len(pictures)} of {count:,} pictures have no text file: they have no object",
        )
    ]


def _same(plan: Plan) -> list[Finding]:
    if not plan.same:
        return []
    return [
        Finding(
            kind="same-split",
            message=f"{' and '.join(plan.same)} is the training folder again: it is made anew from a part of it",
            remedy="Name another folder to choose and judge by.",
        )
    ]


FORMAT = Format("yolo", recognises, open_raw)

"""What YOLO's data.yaml, or the folders without one, say of classes, splits and keypoints."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from snellen.core.errors import DataError, first_line, shown
from snellen.data.file_index import Listing
from snellen.data.formats.image_folder import SPLIT_NAMES
from snellen.data.formats.object_datasets import is_name

YAML = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
NAMES = ("classes.txt", "obj.names", "labels.txt", "_darknet.labels")
_MEND = "Mend it."


class Plan(NamedTuple):
    """What a set says of itself.

    names: number of a class -> its name; None where only numbers are known.
    splits: folder, or text file that lists pictures, relative to the root -> place in SPLITS; {} where none is told.
    keypoints: how many, and numbers for each (2 or 3). flips: for each keypoint the one it becomes in a mirror.
    files: those that told this. same: splits that are the training folder again.
    """

    names: dict[int, str] | None
    splits: dict[str, int]
    keypoints: tuple[int, int] | None = None
    flips: tuple[int, ...] = ()
    files: tuple[str, ...] = ()
    same: tuple[str, ...] = ()


def plan_of(root: Path, yaml: str | None, listing: Listing) -> Plan:
    """Raises DataError for files that cannot be read, or do not fit each other or the folder."""
    if yaml is None:
        return _without(root, listing)
    file, told = root / yaml, _yaml(root / yaml)
    splits: dict[str, int] = {}
    same = []
    for word in ("train", "val", "valid", "validation", "test"):
        for entry in _entries(told.get(word), file, word):
            place = _inside(entry, told.get("path"), file, word, listing)
            if splits.setdefault(place, SPLIT_NAMES[word]) != SPLIT_NAMES[word]:
                if splits[place] != 0:
                    raise DataError(f"{file} has {shown(entry)} in two splits", "A picture belongs to one split.")
                same.append(word)
    if not splits:
        raise DataError(f"{file} names no train, val or test", "Name the folder of each split.")
    return Plan(
        _names(told, file), splits, _shape(told.get("kpt_shape"), file), _flips(told, file), (yaml,), tuple(same)
    )


def _without(root: Path, listing: Listing) -> Plan:
    there = sorted((file.path for file in listing.files), key=lambda path: path.count("/"))
    named = next((path for path in there if path.rpartition("/")[2] in NAMES), None)
    if named is None:
        return Plan(None, {})
    try:
        lines = (root / named).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{root / named} cannot be read ({first_line(error)})", _MEND) from error
    return Plan(
        _distinct({k: line.strip() for k, line in enumerate(lines) if line.strip()}, root / named), {}, files=(named,)
    )


def _yaml(file: Path) -> dict[Any, Any]:
    import yaml

    try:
        told = yaml.safe_load(file.read_text("utf-8-sig"))
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, an impossible date
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        why = first_line(error) if mark is None or problem is None else f"line {mark.line + 1}: {problem}"
        raise DataError(f"{file} is no YAML of plain data ({why})", _MEND) from error
    if not isinstance(told, dict):
        raise DataError(f"{file} holds no names and splits", "It has names:, train: and val:.")
    return told


def _entries(told: Any, file: Path, word: str) -> list[str]:
    entries = told if isinstance(told, list) else [] if told is None or told == "" else [told]
    if not all(isinstance(entry, str) and entry for entry in entries):
        raise DataError(f"{file} has {word}: {shown(told)}, which is no folder", _MEND)
    return entries


def _inside(entry: str, base: Any, file: Path, word: str, listing: Listing) -> str:
    """The folder or list that an entry names, relative to the root.

    Exporters write `path: ../datasets/x` and `../train/images` for what lies right here, so leading dots are dropped
    where nothing else fits; what lies elsewhere is never read.
    """
    there = {*listing.folders, *(found.path for found in listing.files)}
    name = entry.replace("\\", "/")
    homes = [f"{base}/".replace("\\", "/")] if isinstance(base, str) else []
    bare = name
    while bare.startswith(("../", "./")):
        bare = bare.partition("/")[2]
    for candidate in (*(home + name for home in homes), name, bare):
        place = os.path.normpath(candidate)
        place = "" if place == "." else place
        if place in there and not os.path.isabs(candidate):
            return place
    raise DataError(
        f"{file} has {word}: {shown(entry)}, which is no folder in {file.parent}",
        "Name the folder relative to this file.",
    )


def _names(told: Mapping[Any, Any], file: Path) -> dict[int, str] | None:
    names, count = told.get("names"), told.get("nc")
    if names is None:
        if type(count) is not int or not 0 < count <= 1 << 20:
            raise DataError(f"{file} has no names of classes", "Add names: with one for each number.")
        return {k: str(k) for k in range(count)}
    listed = dict(enumerate(names)) if isinstance(names, list) else names
    pairs = list(listed.items()) if isinstance(listed, dict) else []
    for number, name in pairs:
        if isinstance(name, bool):
            raise DataError(
                f"{file} has a class {shown(name)}: YAML takes yes, no, on and off for truth values",
                "Write the name in quotes.",
            )
        if type(number) is not int or number < 0 or not isinstance(name, str | int | float) or not is_name(str(name)):
            raise DataError(f"{file} has a class {shown(number)}: {shown(name)}", "Give each number a name.")
    if not pairs or (type(count) is int and count != len(pairs)):
        raise DataError(f"{file} has {len(pairs)} names and nc: {shown(count)}", "Give each class its name.")
    return _distinct({number: str(name).strip() for number, name in pairs}, file)


def _distinct(names: dict[int, str], file: Path) -> dict[int, str]:
    twice = next((name for name in names.values() if list(names.values()).count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{file} has two classes called {shown(twice)}", "Give each its own name.")
    return names


def _shape(told: Any, file: Path) -> tuple[int, int] | None:
    if told is None:
        return None
    if (
        not isinstance(told, list)
        or len(told) != 2
        or not all(type(n) is int for n in told)
        or told[1] not in (2, 3)
        or not 0 < told[0] <= 10_000
    ):
        raise DataError(f"{file} has kpt_shape: {shown(told)}", "It is [number of keypoints, 2 or 3].")
    return told[0], told[1]


def _flips(told: Mapping[Any, Any], file: Path) -> tuple[int, ...]:
    shape, flips = _shape(told.get("kpt_shape"), file), told.get("flip_idx")
    if shape is None or flips is None:
        return ()
    if (
        not isinstance(flips, list)
        or not all(type(n) is int for n in flips)
        or sorted(flips) != list(range(shape[0]))
        or any(flips[flips[k]] != k for k in flips)
    ):
        raise DataError(f"{file} has flip_idx: {shown(flips)}", "It has for each keypoint the one it becomes.")
    return tuple(flips)

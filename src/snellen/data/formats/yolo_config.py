"""YOLO data.yaml: classes, splits and keypoints, or defaults from the folders."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from snellen.core.errors import DataError, first_line, short_repr
from snellen.core.input_files import open_regular, read_text
from snellen.data.file_index import Listing
from snellen.data.formats import plain_yaml
from snellen.data.formats.file_names import SPLIT_NAMES
from snellen.data.formats.object_datasets import is_name, list_names
from snellen.data.formats.yolo_lists import ClassList, class_lists, differing_lists, find_darknet, read_darknet

_YAML = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_CONFIG_KEYS = re.compile(rb"^(names|nc|train)\s*:", re.MULTILINE)
_ALL_KEYS = (re.compile(rb"^(names|nc)\s*:", re.MULTILINE), re.compile(rb"^(train|val)\s*:", re.MULTILINE))
_MAX_YAML = 50  # files of other names that are looked at
_MAX_UNNAMED = 1 << 15  # classes without names
_FIX = "Fix the file."


class YoloConfig(NamedTuple):
    """Classes, splits and keypoints of a YOLO dataset.

    names: class index -> class name; None if there are no names. lists: class lists, each for the labels below its
    folder; they replace `names`.
    splits: folder, or text file that lists images, relative to the root -> index in SPLITS; {} if not given.
    keypoints: their number, and values for each (2 or 3). flips: for each keypoint its mirror image.
    files: the configuration files. repeated: splits that are the training folder again.
    """

    names: dict[int, str] | None
    splits: dict[str, int]
    keypoints: tuple[int, int] | None = None
    flips: tuple[int, ...] = ()
    files: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    lists: tuple[ClassList, ...] = ()


def yaml_files(root: Path) -> list[str]:
    """The YAML file of a folder: data.yaml or dataset.yaml, else those of any name with classes and splits."""
    standard = [name for name in _YAML if is_config(root / name)]
    if standard:
        return standard[:1]
    names = sorted(name for name in list_names(root) if name.lower().endswith((".yaml", ".yml")))
    return [name for name in names[:_MAX_YAML] if all(key.search(_start(root / name)) for key in _ALL_KEYS)]


def is_config(file: Path) -> bool:
    """Whether a YAML file has a key of a YOLO dataset."""
    return _CONFIG_KEYS.search(_start(file)) is not None


def _start(file: Path) -> bytes:
    try:
        if not file.is_file():
            return b""
        with open_regular(file) as opened:
            return opened.read(1 << 16).removeprefix(b"\xef\xbb\xbf")
    except OSError:
        return b""


def read_config(root: Path, yaml: str | None, listing: Listing) -> YoloConfig:
    """Read data.yaml, or class names without one. Raises DataError for unreadable or inconsistent files."""
    if yaml is None:
        return _default_config(root, listing)
    file, content = root / yaml, _yaml(root / yaml)
    splits: dict[str, int] = {}
    repeated = []
    for word in ("train", "val", "valid", "validation", "test"):
        for entry in _entries(content.get(word), file, word):
            resolved = _resolve(entry, content.get("path"), file, word, listing)
            if splits.setdefault(resolved, SPLIT_NAMES[word]) != SPLIT_NAMES[word]:
                if splits[resolved] != 0:
                    raise DataError(f"{file} has {short_repr(entry)} in two splits", "Keep each image in one split.")
                repeated.append(word)
    if not splits:
        raise DataError(f"{file} names no train, val or test", "Add the folder of each split.")
    names = _names(content, file)
    if content.get("names") is not None:
        _check_lists(root, yaml, names, listing)
    return YoloConfig(
        names,
        splits,
        _shape(content.get("kpt_shape"), file),
        _flips(content, file),
        (yaml,),
        tuple(repeated),
    )


def _check_lists(root: Path, yaml: str, names: dict[int, str] | None, listing: Listing) -> None:
    """Raise DataError if a class list contradicts the YAML file."""
    if not names or sorted(names) != list(range(len(names))):
        return
    given = ClassList(yaml, "", tuple(names[k] for k in range(len(names))))
    for entry in class_lists(root, listing):
        if any(a != b for a, b in zip(given.names, entry.names, strict=False)):
            raise differing_lists(root, given, entry)


def _default_config(root: Path, listing: Listing) -> YoloConfig:
    name = find_darknet(root)
    darknet = read_darknet(root, name, listing) if name is not None else None
    lists = class_lists(root, listing)
    for entry in lists:
        _distinct(dict(enumerate(filter(None, entry.names))), root / entry.path)
    splits = {} if darknet is None else {path: SPLIT_NAMES[word] for word, path in darknet.lists.items()}
    files = [entry.path for entry in lists] + ([darknet.path] if darknet is not None else [])
    return YoloConfig(None, splits, files=tuple(files), lists=tuple(lists))


def _yaml(file: Path) -> dict[Any, Any]:
    import yaml

    try:
        content = plain_yaml.load(read_text(file))
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        # ValueError: not UTF-8, or too long
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        reason = first_line(error) if mark is None or problem is None else f"line {mark.line + 1}: {problem}"
        raise DataError(f"{file} is not YAML of plain data ({reason})", _FIX) from error
    if not isinstance(content, dict):
        raise DataError(f"{file} has no names and splits", "Add names:, train: and val:.")
    return content


def _entries(content: Any, file: Path, word: str) -> list[str]:
    entries = content if isinstance(content, list) else [] if content is None or content == "" else [content]
    if not all(isinstance(entry, str) and entry for entry in entries):
        raise DataError(f"{file} has an invalid {word}: {short_repr(content)}, which is not a folder", _FIX)
    return entries


def _resolve(entry: str, base: Any, file: Path, word: str, listing: Listing) -> str:
    """The folder or list file of an entry, relative to the root.

    Exporters write `path: ../datasets/x` and `../train/images` for folders inside the root, so leading dots are dropped
    if no other reading fits. Files outside the root are never read.
    """
    paths = {*listing.folders, *(item.path for item in listing.files)}
    name = entry.replace("\\", "/")
    bases = [f"{base}/".replace("\\", "/")] if isinstance(base, str) else []
    stripped = name
    while stripped.startswith(("../", "./")):
        stripped = stripped.partition("/")[2]
    for candidate in (*(base_folder + name for base_folder in bases), name, stripped):
        resolved = os.path.normpath(candidate)
        resolved = "" if resolved == "." else resolved
        if resolved in paths and not os.path.isabs(candidate):
            return resolved
    raise DataError(
        f"{file} has {word}: {short_repr(entry)}, which is not a folder in {file.parent}",
        "Write the folder relative to this file.",
    )


def _names(content: Mapping[Any, Any], file: Path) -> dict[int, str] | None:
    names, count = content.get("names"), content.get("nc")
    if names is None:
        if type(count) is not int or not 0 < count <= _MAX_UNNAMED:
            number = "" if count is None else f", and nc: {short_repr(count)}"
            raise DataError(
                f"{file} has no class names{number}",
                f"Add names: with one for each class, or nc: their number, at most {_MAX_UNNAMED:,}.",
            )
        return {k: str(k) for k in range(count)}
    names_by_index = dict(enumerate(names)) if isinstance(names, list) else names
    pairs = list(names_by_index.items()) if isinstance(names_by_index, dict) else []
    for number, name in pairs:
        if isinstance(name, bool):
            raise DataError(
                f"{file} has a class {short_repr(name)}: YAML reads yes, no, on and off as booleans",
                "Write the name in quotes.",
            )
        if type(number) is not int or number < 0 or not isinstance(name, str | int | float) or not is_name(str(name)):
            raise DataError(
                f"{file} has a class {short_repr(number)}: {short_repr(name)}", "Give each class index a name."
            )
    if not pairs or (type(count) is int and count != len(pairs)):
        raise DataError(f"{file} has {len(pairs)} names and nc: {short_repr(count)}", "Give each class its name.")
    return _distinct({number: str(name).strip() for number, name in pairs}, file)


def _distinct(names: dict[int, str], file: Path) -> dict[int, str]:
    duplicate = next((name for name, count in Counter(names.values()).items() if count > 1), None)
    if duplicate is not None:
        raise DataError(f"{file} has two classes called {short_repr(duplicate)}", "Give each class a unique name.")
    return names


def _shape(content: Any, file: Path) -> tuple[int, int] | None:
    if content is None:
        return None
    if (
        not isinstance(content, list)
        or len(content) != 2
        or not all(type(n) is int for n in content)
        or content[1] not in (2, 3)
        or not 0 < content[0] <= 10_000
    ):
        raise DataError(
            f"{file} has an invalid kpt_shape: {short_repr(content)}", "Write [number of keypoints, 2 or 3]."
        )
    return content[0], content[1]


def _flips(content: Mapping[Any, Any], file: Path) -> tuple[int, ...]:
    shape, flips = _shape(content.get("kpt_shape"), file), content.get("flip_idx")
    if shape is None or flips is None:
        return ()
    if (
        not isinstance(flips, list)
        or not all(type(n) is int for n in flips)
        or sorted(flips) != list(range(shape[0]))
        or any(flips[flips[k]] != k for k in flips)
    ):
        raise DataError(
            f"{file} has an invalid flip_idx: {short_repr(flips)}",
            "Give for each keypoint the index of its mirror image.",
        )
    return tuple(flips)

"""Series of files by their names: `cow_03_07.jpg` is number 7 of the series `cow_03`."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from snellen.core.errors import DataError
from snellen.data.formats.groups import group_ids

MIN_GROUPS = 3  # in every class that has as many images: fewer cannot be divided into three splits
_MIN_MEAN_SIZE = 3  # images of a series
_MIN_IN_SERIES = 0.8  # fraction of images in series of several images
_MAX_GAP = 100  # mean step between the numbers of a series; larger numbers are times or identifiers
_MIN_SHARED = 1.5  # mean number of classes in which a word of the names occurs; fewer are kinds within a class
SEPARATORS = ("_", "-", " ", ".")
_NUMBER = re.compile(r"[A-Za-z]{0,8}\(?(\d+)\)?")  # 03, f003, frame12, (3)
_FIELD_NAMES = "abcdefghijklmnop"


def name_series(paths: Sequence[str], labels: np.ndarray | None) -> tuple[str, np.ndarray] | None:
    """The pattern of file names that are numbered in several series, and the series of each; None for other names."""
    stems = [os.path.splitext(path.rpartition("/")[2])[0] for path in paths]
    for separator in SEPARATORS:
        parted = [stem.rpartition(separator) for stem in stems]
        numbers = [_NUMBER.fullmatch(last) for _, _, last in parted]
        if all(head and number for (head, _, _), number in zip(parted, numbers, strict=True)):
            heads = [head for head, _, _ in parted]
            tails = [separator + last for _, _, last in parted]
            break
    else:
        separator = ""
        numbers = [re.fullmatch(r".*?(\d+)", stem) for stem in stems]
        if not all(numbers):
            return None
        heads = [match.string[: match.start(1)] for match in numbers if match]
        tails = [match[1] for match in numbers if match]
    values = np.array([int(match[1][-15:]) for match in numbers if match])
    for pattern in (*_folder_patterns(paths, labels), *_patterns(heads, tails, separator, labels)):
        try:
            ids = group_ids(paths, pattern)
        except DataError:
            continue
        if _are_series(ids, values, labels):
            return pattern, ids
    return None


def _patterns(heads: Sequence[str], tails: Sequence[str], separator: str, labels: np.ndarray | None) -> list[str]:
    """Patterns that leave out the running number, and the parts of the name that are constant or the class."""
    rows = [head.split(separator) if separator else [head] for head in heads]
    if len({len(row) for row in rows}) > 1 or not separator:
        if len(set(map(len, tails))) > 1 or _kind(heads, labels) != "series":
            return []  # the number can be told from the rest by its width only
        return ["{series}" + separator + "?" * (len(tails[0]) - len(separator)) + ".*"]
    return _pattern(rows, separator, labels)


def _folder_patterns(paths: Sequence[str], labels: np.ndarray | None) -> list[str]:
    """The pattern of folders that may each hold a series, such as `clips/{series}/*`."""
    rows = [path.split("/")[:-1] for path in paths]
    return [] if not rows[0] or len({len(row) for row in rows}) > 1 else _pattern(rows, "/", labels)


def _pattern(rows: Sequence[Sequence[str]], separator: str, labels: np.ndarray | None) -> list[str]:
    """The pattern of names in equally many parts, a field for each part that may be a series; none without."""
    columns = list(zip(*rows, strict=True))
    kinds = [_kind(column, labels) for column in columns]
    if kinds.count("series") == 0:
        return []
    fields = iter(["series"] if kinds.count("series") == 1 else _FIELD_NAMES)
    parts = [
        "{" + next(fields, "p") + "}" if kind == "series" else column[0] if kind == "constant" else "*"
        for kind, column in zip(kinds, columns, strict=True)
    ]
    return [separator.join([*parts, "*"])]


def _kind(column: Sequence[str], labels: np.ndarray | None) -> str:
    """Whether a part of the names is "constant", may be a "series", or is "any": the class, names of kinds."""
    values = np.unique(column, return_inverse=True)[1]
    count = int(values.max()) + 1
    if count == 1:
        return "any" if re.search(r"[*?{}]", column[0]) else "constant"
    pairs = count if labels is None else len(set(zip(values.tolist(), labels.tolist(), strict=True)))
    if labels is not None and pairs == len(np.unique(labels)) == count:
        return "any"
    is_words = len({value[:1] for value in column}) > 1 and not any(re.search(r"\d", value) for value in set(column))
    if is_words and pairs < _MIN_SHARED * count:  # kinds (beagle, pug); clipA, clipB and persons of all classes are not
        return "any"
    return "series"


def _are_series(ids: np.ndarray, numbers: np.ndarray, labels: np.ndarray | None) -> bool:
    """Whether groups are series: many, of several images each, numbered without large gaps, several in each class."""
    sizes = np.bincount(ids)
    if len(sizes) < MIN_GROUPS or len(ids) < _MIN_MEAN_SIZE * len(sizes):
        return False
    if (sizes[ids] > 1).mean() < _MIN_IN_SERIES:
        return False
    labels = np.zeros(len(ids), np.int64) if labels is None else labels
    groups_of_label = [len(np.unique(ids[labels == label])) for label in np.unique(labels)]
    if np.median(groups_of_label) < MIN_GROUPS:
        return False
    order = np.lexsort((numbers, labels, ids))
    steps = [
        int(numbers[b] - numbers[a]) for a, b in pairwise(order.tolist()) if (ids[a], labels[a]) == (ids[b], labels[b])
    ]
    return bool(steps) and min(steps) > 0 and float(np.mean(steps)) <= _MAX_GAP

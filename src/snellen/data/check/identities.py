"""Speakers, persons and subjects in several splits, by the names of files or a column: suggestions of `--group`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

import numpy as np

from snellen.core.errors import DataError
from snellen.core.views import Finding
from snellen.data.check.name_series import SEPARATORS, name_series
from snellen.data.dataset import SPLITS
from snellen.data.formats.file_names import split_index
from snellen.data.formats.groups import group_ids

NAMES = frozenset(
    (
        *("person", "person_id", "subject", "subject_id", "speaker", "speaker_id", "actor", "actor_id"),
        *("user", "user_id", "participant", "participant_id", "patient", "patient_id", "animal", "signer"),
        *("writer", "singer", "player", "performer", "recording", "recording_id", "session", "session_id"),
    )
)
_MIN_MEAN_SIZE = 3  # samples of one identity
_MIN_CLASSES = 1.5  # mean number of classes in which an identity occurs


def identity_pattern(paths: Sequence[str], labels: np.ndarray | None, word: str) -> tuple[str, np.ndarray] | None:
    """The pattern of `--group` by which file names, without folders of splits, name identities, and those of each file.

    Args:
        labels: (N,) class of each file. word: name of the field: "speaker", "person".
    """
    without = ["/".join(part for part in path.split("/")[:-1] if split_index(part) is None) for path in paths]
    names = [path.rpartition("/")[2] for path in paths]
    stripped = [f"{folder}/{name}" if folder else name for folder, name in zip(without, names, strict=True)]
    series = name_series(stripped, labels) or _by_word(names, labels, word)
    if series is None:
        return None
    pattern, ids = series
    pattern = pattern.replace("{series}", "{" + word + "}")
    return (f"*/{pattern}" if "/" in pattern and stripped != list(paths) else pattern), ids


def _by_word(names: Sequence[str], labels: np.ndarray | None, word: str) -> tuple[str, np.ndarray] | None:
    """The pattern of names in equally many parts of which one is a word that occurs in several classes."""
    if labels is None:
        return None
    stems = [os.path.splitext(name)[0] for name in names]
    for separator in SEPARATORS:
        rows = [stem.split(separator) for stem in stems]
        if len({len(row) for row in rows}) > 1 or len(rows[0]) < 2:
            continue
        fields = ["{" + word + "}" if _is_identity(part, labels) else "*" for part in zip(*rows, strict=True)]
        if len(fields) - fields.count("*") != 1:
            continue
        pattern = separator.join(fields) + (".*" if fields[-1] != "*" else "")
        try:
            return pattern, group_ids(names, pattern)
        except DataError:
            continue
    return None


def _is_identity(part: Sequence[str], labels: np.ndarray) -> bool:
    values = np.unique(part, return_inverse=True)[1]
    count = int(values.max()) + 1
    pairs = len(set(zip(values.tolist(), labels.tolist(), strict=True)))
    is_word = not any(value.isdigit() or not value for value in part)
    return is_word and count > 1 and len(part) >= _MIN_MEAN_SIZE * count and pairs >= _MIN_CLASSES * count


def name_findings(
    paths: Sequence[str], labels: np.ndarray | None, given: np.ndarray | None, noun: str, word: str
) -> list[Finding]:
    """The warning that an identity in the file names is in several given splits, or may be in several made ones.

    Args:
        given: (N,) index in SPLITS, len(SPLITS) without one; None: the splits are made.
        noun: the samples, in the plural.
    """
    series = identity_pattern(paths, labels, word)
    if series is None:
        return []
    pattern, ids = series
    option = f"--group {shlex.quote(pattern)}"
    count = int(ids.max()) + 1
    if given is not None:
        torn = _torn(ids, given)
        if not torn:
            return []
        shown = " and ".join(
            next(path for path, id, split in zip(paths, ids, given, strict=True) if id == torn[0] and split == s)
            for s in sorted(set(given[ids == torn[0]].tolist()))[:2]
        )
        return [
            _finding(
                f"{len(torn):,} of {count:,} series by the file names are in several given splits, as {shown}: if a "
                f"series is one {word}, test results are too optimistic",
                f"Move all {noun} of a {word} into one split; or give them without splits, and {option}.",
                len(torn),
            )
        ]
    example = sorted(path for path, id in zip(paths, ids, strict=True) if id == np.bincount(ids).argmax())
    return [
        _finding(
            f"The file names number {count:,} series of {_sizes(ids)} {noun}, for example {example[0]} to "
            f"{example[-1]}: {noun} of one {word} may be alike and be in several splits",
            f"If a series is one {word}, keep it in one split: {option}",
            count,
        )
    ]


def column_findings(name: str, cells: Sequence[object], given: np.ndarray | None, what: str) -> list[Finding]:
    """The warning that values of a column or key whose name is that of identities are, or may be, in several splits.

    Args:
        cells: of each sequence. given: see `name_findings`. what: "column" or "key".
    """
    if name.lower() not in NAMES:
        return []
    ids = np.unique([str(cell) for cell in cells], return_inverse=True)[1]
    count = int(ids.max()) + 1
    if count < 2 or count == len(ids):
        return []
    if given is not None:
        torn = len(_torn(ids, given))
        if not torn:
            return []
        return [
            _finding(
                f"{torn:,} of {count:,} values of the {what} {name!r} are in several given splits: test results are "
                "too optimistic for others",
                f"Make the splits by {name!r}; or take out the splits, and give --group {shlex.quote(name)}.",
                torn,
            )
        ]
    return [
        _finding(
            f"The {what} {name!r} has {count:,} values, of {_sizes(ids)} sequences each: those of one {name} may be "
            "alike and be in several splits",
            f"If they are, keep each in one split: --group {shlex.quote(name)}",
            count,
        )
    ]


def _torn(ids: np.ndarray, given: np.ndarray) -> list[int]:
    """The groups that are in several splits."""
    used = given < len(SPLITS)
    pairs = np.unique(np.stack([ids[used], given[used]], 1), axis=0)
    values, counts = np.unique(pairs[:, 0], return_counts=True)
    return [int(value) for value in values[counts > 1]]


def _sizes(ids: np.ndarray) -> str:
    low, high = int(np.bincount(ids).min()), int(np.bincount(ids).max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _finding(message: str, remedy: str, count: int) -> Finding:
    return Finding(kind="possible-groups", message=message, remedy=remedy, count=count)

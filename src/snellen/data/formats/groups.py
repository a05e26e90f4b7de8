"""Groups of images that stay in one split: by the fields of a pattern of file names, or by bursts of one camera."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from snellen.core.errors import DataError, UsageError
from snellen.data.decode.capture import Moment, capture_times
from snellen.data.decode.image_files import ImageFiles
from snellen.data.formats.name_pattern import NamePattern

EXIF = "exif"  # the value of --group that makes bursts groups
MAX_GAP = 10.0  # seconds between two images of one burst
_EXAMPLE = "Write for example '{slide}_*'."


def is_image_group(group: str | None, columns: Sequence[str] = ()) -> bool:
    """Whether a value of `--group` refers to image files, not to a column of a table."""
    return group is not None and ("{" in group or (group == EXIF and group not in columns))


def image_groups(source: ImageFiles, group: str) -> np.ndarray:
    """(N,) int64 group ids of images by the value of `--group`: a pattern of file names, or "exif" for bursts.

    Raises:
        UsageError: a pattern without a field. DataError: names that do not match, images without capture times.
    """
    if group != EXIF:
        return group_ids([file.path for file in source.files], group)
    captured = capture_times(source)
    if not any(captured):
        raise DataError(
            f"--group {EXIF}: no image of {source.root} has a capture time (EXIF DateTimeOriginal)",
            "Give a pattern of file names, for example '{slide}_*'.",
        )
    return burst_ids(captured)


def group_ids(paths: Sequence[str], pattern: str) -> np.ndarray:
    """(N,) int64 group ids: images whose names agree in every `{field}` of the pattern are one group.

    In "{slide}_*" a field matches as little as possible, "*" anything, "?" one character. The pattern is matched with
    the file name, or with the whole path if the pattern has a "/".
    Raises:
        UsageError: a pattern without a field. DataError: names that do not match.
    """
    ids: dict[tuple[str, ...], int] = {}
    return np.array([ids.setdefault(match, len(ids)) for match in _fields(paths, pattern)], np.int64)


def group_names(paths: Sequence[str], pattern: str) -> tuple[str, ...]:
    """(N,) name of the group of each file, as in `group_ids`: the fields of the pattern in its name."""
    return tuple(", ".join(match) for match in _fields(paths, pattern))


def image_group_names(source: ImageFiles, group: str | None) -> tuple[str, ...]:
    """(N,) names of the groups of images by the value of `--group`; () without it, and for bursts."""
    return () if group in (None, EXIF) else group_names([file.path for file in source.files], str(group))


def _fields(paths: Sequence[str], pattern: str) -> list[tuple[str, ...]]:
    """The fields of the pattern in each name. Raises UsageError, DataError: see `group_ids`."""
    if not pattern:
        raise UsageError("--group is empty", "Name a column, or give a pattern of file names such as '{slide}_*'.")
    if not re.search(r"\{\w+\}", pattern):
        raise UsageError(f"--group {pattern!r} names no field", _EXAMPLE)
    try:
        compiled = NamePattern(pattern)
    except re.error as error:
        raise UsageError(f"--group {pattern!r} is not a valid pattern: {error}", _EXAMPLE) from error
    matches = [compiled.match(p if "/" in pattern else p.rpartition("/")[2]) for p in paths]
    unmatched = [path for path, match in zip(paths, matches, strict=True) if match is None]
    if unmatched:
        first = ", ".join(name or "(an empty name)" for name in unmatched[:3])
        raise DataError(
            f"{len(unmatched)} of {len(paths)} names do not match --group {pattern!r}: {first}",
            "Fix the pattern or the names.",
        )
    return [match for match in matches if match is not None]


def burst_ids(captured: Sequence[Moment | None]) -> np.ndarray:
    """(N,) int64 ids of bursts: images of one camera, each at most `MAX_GAP` seconds after the one before.

    Args:
        captured: camera and seconds of each image; None, which makes the image a burst of its own, if unknown.
    """
    ids = np.zeros(len(captured), np.int64)
    previous: Moment | None = None
    burst = -1
    for moment, k in sorted((moment, k) for k, moment in enumerate(captured) if moment is not None):
        if previous is None or moment[0] != previous[0] or moment[1] - previous[1] > MAX_GAP:
            burst += 1
        ids[k], previous = burst, moment
    unknown = [k for k, moment in enumerate(captured) if moment is None]
    ids[unknown] = np.arange(burst + 1, burst + 1 + len(unknown))
    return ids

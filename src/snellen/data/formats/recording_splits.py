"""Splits of recordings: whole recordings where there are enough, else parts in time; equal recordings; findings."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snellen.core.errors import DataError
from snellen.core.views import Finding
from snellen.data.check.findings import MAX_NAMES, and_more
from snellen.data.check.identities import name_findings
from snellen.data.check.shared_steps import shared_steps
from snellen.data.dataset import SPLITS
from snellen.data.formats import OpenOptions
from snellen.data.formats.array_layout import plural
from snellen.data.formats.groups import group_ids
from snellen.data.formats.series_steps import StepReport
from snellen.data.recording_windows import RecordingWindows, split_in_time
from snellen.data.splits import SPLIT_FRACTIONS

MAX_NUMBERS = 1 << 27  # of recordings in which shared steps are searched
_OPTIONS = "Choose others with --window STEPS and --horizon STEPS."


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One recording.

    Args:
        split: index in SPLITS, None without splits.
        values: (T, D) float64, finite.
        position: of the first step on a clock that all recordings share, in steps; None: recordings are divided into
            splits, where there are enough.
    """

    name: str
    split: int | None
    values: np.ndarray
    position: float | None = None


def recording_groups(
    recordings: Sequence[Recording], options: OpenOptions, needed: int, word: str = "person"
) -> tuple[np.ndarray, list[Finding]]:
    """(R,) group of each recording, those that share steps in one, and findings about these.

    Args:
        needed: steps of a window and its future: parts of that length are not shared between two splits.
        word: what a part of the file names may be.
    """
    names = [r.name for r in recordings]
    ids = group_ids(names, options.group) if options.group is not None else np.arange(len(recordings))
    first_of: dict[tuple[tuple[int, ...], bytes], int] = {}
    copies: list[tuple[int, int]] = []
    for k, recording in enumerate(recordings):
        first = first_of.setdefault((recording.values.shape, hashlib.sha256(recording.values.tobytes()).digest()), k)
        if first != k:
            copies.append((first, k))
    shared: list[tuple[int, int]] = []
    if sum(r.values.size for r in recordings) <= MAX_NUMBERS:
        result = shared_steps([r.values for r in recordings], copies, needed)
        shared = [*result.shifted, *result.noisy]
    for a, b in (*copies, *shared):
        if recordings[a].split == recordings[b].split:
            ids[ids == ids[b]] = ids[a]
    findings = [
        *_copy_findings(recordings, copies, "Equal recordings"),
        *_copy_findings(recordings, shared, f"Recordings that share {needed:,} steps or more, or are nearly equal"),
    ]
    has_splits = any(r.split is not None for r in recordings)
    if options.group is None and len(recordings) > 1:
        given = np.array([len(SPLITS) if r.split is None else r.split for r in recordings]) if has_splits else None
        findings += name_findings(names, None, given, "recordings", word)
    return ids, findings


def _copy_findings(recordings: Sequence[Recording], pairs: Sequence[tuple[int, int]], what: str) -> list[Finding]:
    if not pairs:
        return []
    across = [(a, b) for a, b in pairs if recordings[a].split != recordings[b].split]
    shown = "; ".join(f"{recordings[a].name} = {recordings[b].name}" for a, b in (across or pairs)[:MAX_NAMES])
    return [
        Finding(
            kind="leakage" if across else "copies",
            message=f"{what} in two splits ({len(across)}): {shown}{and_more(len(across))}"
            if across
            else f"{what} ({len(pairs)}): {shown}{and_more(len(pairs))}",
            remedy="Remove them from one split: results are too optimistic."
            if across
            else "They stay in one split; remove them if they should not count twice.",
            where=tuple(f"{recordings[a].name} = {recordings[b].name}" for a, b in pairs),
            count=len(pairs),
        )
    ]


def recording_splits(
    path: Path | str, source: RecordingWindows, recordings: Sequence[Recording], groups: np.ndarray, counted: str = ""
) -> tuple[np.ndarray | None, str, bool]:
    """(N,) given split of each window (len(SPLITS): none), or None where whole recordings are divided; a description;
    whether whole recordings are divided into splits.

    Missing splits are whole recordings of the training split; where there are too few, each training recording is cut
    in time, the training part first.

    Args:
        counted: how the rows are counted, where they are not those of the files.
    """
    of_recording = np.array([r.split or 0 for r in recordings])
    given = of_recording[source.recording]
    missing = [k for k in (1, 2) if not (of_recording == k).any()]
    if not (of_recording == 0).any():
        raise DataError(f"{path}: no training recording is long enough for a window", _OPTIONS)
    if not missing:
        return given, "splits by folder", False
    has_splits = len(missing) == 1
    positions = [r.position for r in recordings if r.position is not None]
    if len(positions) < len(recordings) and len(np.unique(groups[of_recording == 0])) > len(missing):
        return (given if has_splits else None), "a recording stays in one split", True
    later = [SPLIT_FRACTIONS[k] for k in missing]
    in_time = positions if len(positions) == len(recordings) else None
    parts = split_in_time(source, [1 - sum(later), *later], in_time)
    names = [0, *missing]
    in_train = of_recording[source.recording] == 0
    given = np.where(in_train, np.array([*names, len(SPLITS)])[parts], given)
    empty = [SPLITS[k] for k in range(len(SPLITS)) if not (given == k).any()]
    if empty:
        longest = max(source.lengths)
        noun = "steps" if source.every == 1 else "frames"
        raise DataError(
            f"{path}: a recording of {longest:,} {noun}, cut in time into {len(names)} splits, leaves no window of "
            f"{plural(f'{source.window:,}', 'step')} and its future of {source.horizon:,}, together {source.span:,} "
            f"{noun}{counted}, in {' and '.join(empty)}",
            "Give a smaller --window or --horizon, more recordings, or folders train, val and test.",
        )
    count = int((given == len(SPLITS)).sum())
    fractions = dict(zip(names, [1 - sum(later), *later], strict=True))
    order = ", then ".join(f"{fraction:.0%} {SPLITS[k]}" for k, fraction in fractions.items())
    manner = "split in time" if in_time is None or len(recordings) == 1 else "split at the same times"
    return given, f"{manner} ({order.replace('%', ' %')}; {count:,} windows across a cut are in no split)", False


def constant_findings(path: Path | str, recordings: Sequence[Recording], names: Sequence[str]) -> list[Finding]:
    """The note that columns never change. Raises DataError if none does."""
    constant = [
        name for k, name in enumerate(names) if all(bool((r.values[:, k] == r.values[0, k]).all()) for r in recordings)
    ]
    if len(constant) == len(names):
        raise DataError(f"{path}: no column changes within a recording", "Give recordings in which something changes.")
    if not constant:
        return []
    return [
        Finding(
            kind="constant-column",
            severity="note",
            message=f"{len(constant):,} of {len(names):,} columns never change within a recording: "
            f"{', '.join(constant[:MAX_NAMES])}{and_more(len(constant))}. They lower the mean error over the columns",
            remedy="Remove them if they hold no information.",
            where=tuple(constant),
            count=len(constant),
        )
    ]


def gap_findings(report: StepReport) -> list[Finding]:
    """The note on steps that were interpolated, left out or averaged."""
    if not (report.filled or report.removed):
        return []
    message = "; ".join(text for text in report.texts if "sorted" not in text)
    return [
        Finding(
            kind="gaps",
            severity="note",
            message=f"Gaps in time series: {message}"
            + (". Interpolated steps count in training and in the metrics" if report.filled else ""),
            remedy="Compare with --gaps split, which interpolates nothing." if report.filled else "",
            count=report.filled + report.removed,
        )
    ]


def short_findings(short: Sequence[Recording], needed: int, rows: str = "steps", counted: str = "") -> list[Finding]:
    """The warning that recordings are too short for a window and its future."""
    if not short:
        return []
    shown = ", ".join(f"{r.name} ({len(r.values):,} {rows})" for r in short[:MAX_NAMES])
    return [
        Finding(
            kind="stray",
            message=f"Recordings shorter than a window and its future, {needed:,} {rows}{counted}, are not used "
            f"({len(short)}): {shown}{and_more(len(short))}",
            remedy=_OPTIONS,
            where=tuple(r.name for r in short),
            count=len(short),
        )
    ]

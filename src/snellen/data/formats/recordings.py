"""Recordings to forecast: text files of numbers, one CSV file, or arrays (N, T, D) in NPZ, NPY and HDF5 files.

The target is the future of the input. Each recording is cut into windows; recordings stay in one split if there are
enough, else each is split in time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Future, Input
from snellen.core.views import Finding
from snellen.data.cache import available_memory
from snellen.data.check.findings import MAX_NAMES, and_more
from snellen.data.check.number_range import LARGEST
from snellen.data.dataset import SPLITS, RawDataset
from snellen.data.file_index import walk
from snellen.data.formats import FUTURE, Format, OpenOptions
from snellen.data.formats.annotation_files import is_annotation_text
from snellen.data.formats.array_files import HDF5, NPZ
from snellen.data.formats.file_names import is_image_name, is_sidecar, split_index
from snellen.data.formats.groups import group_ids
from snellen.data.formats.recording_arrays import NPY, read_recordings
from snellen.data.formats.series_text import SUFFIXES, SeriesText, read_series, sniff_width
from snellen.data.formats.table_columns import to_exact
from snellen.data.recording_windows import RecordingWindows, split_in_time
from snellen.data.source import Skipped
from snellen.data.splits import SPLIT_FRACTIONS

DEFAULT_HORIZON = 10
MIN_STEPS = 20  # of a text file that is recognised as a recording
_SNIFFED = 4  # files whose start is read to recognise a folder
_OPTIONS = "Choose others with --window STEPS and --horizon STEPS."


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One recording. split: index in SPLITS, None without splits. values: (T, D) float64, finite."""

    name: str
    split: int | None
    values: np.ndarray


def recognises(path: Path) -> bool:
    """Whether a folder holds nothing but text files (.txt, .dat) of numbers without a header, of equally many columns.

    Other recordings may be tables with a target: they are read as recordings if the future is the target.
    """
    if not path.is_dir():
        return False
    files = _text_files(path)
    if files is None or len(files) < 2 or any(file.suffix.lower() not in (".txt", ".dat") for file in files):
        return False
    chosen = files[:: max(1, len(files) // _SNIFFED)]
    widths = {sniff_width(file) for file in chosen}
    return len(widths) == 1 and None not in widths and not any(map(is_annotation_text, chosen))


def _text_files(folder: Path) -> list[Path] | None:
    """The text files below a folder, without those that describe the data; None if it holds images too."""
    paths = [file.path for file in walk(folder).files]
    if any(is_image_name(path.rpartition("/")[2]) for path in paths):
        return None
    return [folder / path for path in paths if Path(path).suffix.lower() in SUFFIXES and not _is_description(path)]


def _is_description(path: str) -> bool:
    """Whether a file describes the data: a README, a licence, a hidden file. Its ending does not matter."""
    return is_sidecar(str(Path(path).with_suffix(".csv")))


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Windows of the recordings, each with its future.

    Raises:
        DataError: unreadable recordings, other columns than the others, too few steps for a window and its future.
        UsageError: options that do not apply.
    """
    _check_options(path, options)
    skipped: list[Skipped] = []
    duration, unit, time = None, "", ""
    if path.is_dir():
        recordings, series = _read_folder(path, options, skipped)
        names, layout = series[0].names, f"{len(recordings):,} recordings in text files"
    elif path.suffix.lower() in (*NPY, *NPZ, *HDF5):
        recordings = [Recording(name=n, split=s, values=v) for n, s, v in read_recordings(path)]
        series = []
        names = tuple(f"feature {k + 1}" for k in range(recordings[0].values.shape[1]))
        layout = f"{len(recordings):,} recordings" if len(recordings) > 1 else "one recording"
    else:
        series = [read_series(path)]
        recordings = [Recording(name=path.name, split=None, values=series[0].values)]
        names, layout = series[0].names, "one recording"
    if series and series[0].duration is not None:
        duration, unit, time = series[0].duration, series[0].unit, series[0].time
    _check_range(path, recordings, names)
    window, horizon, stride = _steps(recordings, options)
    short = [r for r in recordings if len(r.values) < window + horizon]
    if len(short) == len(recordings):
        longest = max(len(r.values) for r in recordings)
        raise DataError(
            f"{path}: the longest recording has {longest:,} steps, a window of {window:,} and its future of "
            f"{horizon:,} need {window + horizon:,}",
            "Give longer recordings, or a smaller --window or --horizon.",
        )
    usable = [r for r in recordings if len(r.values) >= window + horizon]
    skipped += [
        Skipped(r.name, f"has {len(r.values):,} steps", f"A window and its future need {window + horizon:,}.")
        for r in short
    ]
    values = to_exact(np.concatenate([r.values for r in usable]))
    source = RecordingWindows(
        values, [len(r.values) for r in usable], [r.name for r in usable], window, horizon, stride
    )
    needed = len(source) * horizon * values.shape[1] * values.element_size()
    if needed > available_memory() // 2:
        raise DataError(
            f"{path}: the futures of {len(source):,} windows need {needed:,} bytes of memory, of which "
            f"{available_memory():,} are free",
            "Take fewer windows with --window-stride STEPS, or a shorter --horizon.",
        )
    groups, findings = _groups(usable, options)
    given, division, in_time = _splits(path, source, usable, groups)
    steps = "step" if horizon == 1 else "steps"
    starts = "one at every step" if stride == 1 else f"one every {stride:,} steps"
    times = "" if duration is None else f", a step of {duration:g} {unit}".rstrip() + f" (column {time!r})"
    return RawDataset(
        source=source,
        inputs={"sequence": Input(modality="sequence", shape=(window, len(names)), dtype=_dtype(source))},
        target=Future(names=names, steps=horizon, duration=duration, duration_unit=unit),
        truth=source.future(np.arange(len(source))),
        given_splits=given,
        groups=None if in_time else groups[source.recording],
        recognised_as=f"{layout} of {len(values):,} steps and {len(names):,} features{times}: {len(source):,} windows "
        f"of {window:,} steps, {starts}, each with the next {horizon:,} {steps} to forecast "
        f"(others: --window, --horizon, --window-stride); {division}",
        findings=(*_short_findings(short, window, horizon), *findings),
        files={"found": len(recordings) + len(skipped) - len(short), "used": len(usable), "set aside": len(skipped)}
        if path.is_dir()
        else {"found": 1, "used": 1},
        skipped=tuple(skipped),
    )


def _dtype(source: RecordingWindows) -> str:
    return str(source.values.dtype).removeprefix("torch.")


def _check_options(path: Path, options: OpenOptions) -> None:
    """Raise UsageError for options that do not apply to recordings."""
    if options.target not in ((), (FUTURE,)):
        raise UsageError(
            f"--target {','.join(options.target)} does not apply to recordings, whose future is the target",
            f"Omit it, or give --target {FUTURE}: all columns are forecast.",
        )
    if options.impute is not None:
        raise UsageError("--impute does not apply to recordings", "Interpolate missing steps, and omit it.")
    if options.modality not in (None, "sequence"):
        raise UsageError(f"--modality {options.modality} does not apply to recordings", "Omit --modality.")
    for name, count in (("horizon", options.horizon), ("window", options.window), ("window-stride", options.stride)):
        if count is not None and count < 1:
            raise UsageError(f"--{name} {count} is not a number of steps", f"Give --{name} of at least 1.")
    if path.is_file() and path.suffix.lower() not in (*SUFFIXES, *NPY, *NPZ, *HDF5):
        raise DataError(
            f"{path} is no recording",
            f"Give a folder of text files, or a file that ends in {', '.join((*SUFFIXES, *NPY, *NPZ, *HDF5))}.",
        )


def _read_folder(path: Path, options: OpenOptions, skipped: list[Skipped]) -> tuple[list[Recording], list[SeriesText]]:
    """The recordings in the text files of a folder; of folders train, val and test, with their splits."""
    files = _text_files(path)
    if not files:
        raise DataError(
            f"{path} holds no recordings, but {'images' if files is None else 'no text file of numbers'}",
            f"Give one file of numbers for each recording: {', '.join(SUFFIXES)}.",
        )
    recordings: list[Recording] = []
    series: list[SeriesText] = []
    for file in files:
        relative = file.relative_to(path)
        try:
            one = read_series(file)
            if series:
                _check_equal(file, one, path / recordings[0].name, series[0])
        except DataError as error:
            if not options.quarantine:
                raise
            skipped.append(Skipped(relative.as_posix(), error.cause.removeprefix(f"{file}"), error.remedy))
            continue
        series.append(one)
        recordings.append(Recording(name=relative.as_posix(), split=_split_of_folder(relative), values=one.values))
    total = len(files)
    if not recordings or (len(skipped) > 0.01 * total and not options.allow_skipped and skipped):
        raise DataError(
            f"{path}: quarantine would skip {len(skipped)} of {total} recordings ({skipped[0].path}"
            f"{skipped[0].reason})",
            "Repair them, or allow this with --allow-skipped." if recordings else "Repair them: none would remain.",
        )
    splits = {r.split for r in recordings}
    if splits != {None} and None in splits:
        outside = next(r.name for r in recordings if r.split is None)
        raise DataError(
            f"{path}: {outside} is in none of the folders train, val and test, others are",
            "Move it into one of them, or away.",
        )
    if splits != {None} and 0 not in splits:
        raise DataError(f"{path} has no training recordings", "Put recordings into a folder train.")
    return recordings, series


def _split_of_folder(relative: Path) -> int | None:
    """The split of a recording by the folders above it; None without."""
    return next((s for part in relative.parts[:-1] if (s := split_index(part)) is not None), None)


def _check_equal(file: Path, one: SeriesText, first_file: Path, first: SeriesText) -> None:
    """Raise DataError unless two recordings have the same columns and equally long steps."""
    if len(one.names) != len(first.names):
        raise DataError(
            f"{file} has {len(one.names):,} columns of numbers, {first_file} has {len(first.names):,}",
            "Give all recordings the same columns.",
        )
    if one.names != first.names:
        a, b = next((a, b) for a, b in zip(one.names, first.names, strict=True) if a != b)
        raise DataError(
            f"{file} has the column {a!r} where {first_file} has {b!r}", "Give all recordings the same columns."
        )
    if one.time != first.time or (
        one.duration is not None
        and first.duration is not None
        and abs(one.duration - first.duration) > 0.1 * first.duration
    ):
        shown = [f"a step of {s.duration:g}" if s.duration is not None else "no times" for s in (one, first)]
        raise DataError(
            f"{file} has {shown[0]}, {first_file} has {shown[1]}", "Give all recordings steps of the same duration."
        )


def _check_range(path: Path, recordings: Sequence[Recording], names: Sequence[str]) -> None:
    """Raise DataError for a value whose square exceeds float64."""
    for recording in recordings:
        bad = np.argwhere(np.abs(recording.values) > LARGEST)
        if len(bad):
            row, column = bad[0].tolist()
            raise DataError(
                f"{path}: {names[column]} of {recording.name} is {recording.values[row, column]:g} at step {row + 1}: "
                "squares of such numbers exceed the range of float64",
                "Correct it, or give the column in another unit.",
            )


def _steps(recordings: Sequence[Recording], options: OpenOptions) -> tuple[int, int, int]:
    """Window, horizon and stride: as given, else a horizon of 10 steps, or a tenth of the shortest recording, and a
    window of twice the horizon."""
    median = int(np.median([len(r.values) for r in recordings]))
    horizon = options.horizon or max(1, min(DEFAULT_HORIZON, median // 20))
    return options.window or max(2, 2 * horizon), horizon, options.stride or 1


def _groups(recordings: Sequence[Recording], options: OpenOptions) -> tuple[np.ndarray, list[Finding]]:
    """(R,) group of each recording, equal recordings in one, and findings about these."""
    if options.group is not None:
        ids = group_ids([r.name for r in recordings], options.group)
    else:
        ids = np.arange(len(recordings))
    first_of: dict[tuple[tuple[int, ...], bytes], int] = {}
    copies: list[tuple[int, int]] = []
    for k, recording in enumerate(recordings):
        first = first_of.setdefault((recording.values.shape, hashlib.sha256(recording.values.tobytes()).digest()), k)
        if first != k:
            copies.append((first, k))
            ids[ids == ids[k]] = ids[first]
    if not copies:
        return ids, []
    across = [(a, b) for a, b in copies if recordings[a].split != recordings[b].split]
    shown = "; ".join(f"{recordings[a].name} = {recordings[b].name}" for a, b in (across or copies)[:MAX_NAMES])
    return ids, [
        Finding(
            kind="leakage" if across else "copies",
            message=f"{len(across)} recordings are in two splits: {shown}{and_more(len(across))}"
            if across
            else f"Equal recordings ({len(copies)}): {shown}{and_more(len(copies))}",
            remedy="Remove them from one split: results are too optimistic."
            if across
            else "They stay in one split; remove them if they should not count twice.",
            where=tuple(f"{recordings[a].name} = {recordings[b].name}" for a, b in copies),
            count=len(copies),
        )
    ]


def _splits(
    path: Path, source: RecordingWindows, recordings: Sequence[Recording], groups: np.ndarray
) -> tuple[np.ndarray | None, str, bool]:
    """(N,) given split of each window (len(SPLITS): none), or None where whole recordings are divided; a description;
    whether recordings are cut in time.

    Missing splits are whole recordings of the training split; where there are too few, each training recording is cut
    in time, the training part first.
    """
    of_recording = np.array([r.split or 0 for r in recordings])
    given = of_recording[source.recording]
    missing = [k for k in (1, 2) if not (of_recording == k).any()]
    if not (of_recording == 0).any():
        raise DataError(f"{path}: no training recording is long enough for a window", _OPTIONS)
    if not missing:
        return given, "splits by folder", False
    has_splits = len(missing) == 1
    if len(np.unique(groups[of_recording == 0])) > len(missing):
        return (given if has_splits else None), "a recording stays in one split", False
    later = [SPLIT_FRACTIONS[k] for k in missing]
    parts = split_in_time(source, [1 - sum(later), *later])
    names = [0, *missing]
    in_train = of_recording[source.recording] == 0
    given = np.where(in_train, np.array([*names, len(SPLITS)])[parts], given)
    empty = [SPLITS[k] for k in range(len(SPLITS)) if not (given == k).any()]
    if empty:
        longest = max(source.lengths)
        raise DataError(
            f"{path}: a recording of {longest:,} steps, cut in time into {len(names)} splits, leaves no window of "
            f"{source.window + source.horizon:,} steps in {' and '.join(empty)}",
            "Give a smaller --window or --horizon, more recordings, or folders train, val and test.",
        )
    count = int((given == len(SPLITS)).sum())
    fractions = dict(zip(names, [1 - sum(later), *later], strict=True))
    order = ", then ".join(f"{fraction:.0%} {SPLITS[k]}" for k, fraction in fractions.items())
    return given, f"split in time ({order.replace('%', ' %')}; {count:,} windows across a cut are in no split)", True


def _short_findings(short: Sequence[Recording], window: int, horizon: int) -> list[Finding]:
    """The warning that recordings are too short for a window and its future."""
    if not short:
        return []
    shown = ", ".join(f"{r.name} ({len(r.values):,} steps)" for r in short[:MAX_NAMES])
    return [
        Finding(
            kind="stray",
            message=f"{len(short)} recordings are shorter than a window and its future ({window + horizon:,} steps) "
            f"and are not used: {shown}{and_more(len(short))}",
            remedy=_OPTIONS,
            where=tuple(r.name for r in short),
            count=len(short),
        )
    ]


FORMAT = Format("recordings", recognises, open_raw, future=True)

"""Recordings to forecast: text files of numbers, one CSV file, or arrays (N, T, D) in NPZ, NPY and HDF5 files.

The target is the future of the input. Each recording is cut into windows; recordings stay in one split if there are
enough, else each is split in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Future, Input
from snellen.data.cache import available_memory
from snellen.data.check.findings import unused_files_findings
from snellen.data.check.number_range import LARGEST
from snellen.data.dataset import RawDataset
from snellen.data.file_index import walk
from snellen.data.formats import FUTURE, Format, OpenOptions
from snellen.data.formats.annotation_files import is_annotation_text
from snellen.data.formats.array_files import HDF5, NPZ
from snellen.data.formats.array_layout import plural
from snellen.data.formats.file_names import is_image_name, is_sidecar, split_index
from snellen.data.formats.recording_arrays import NPY, read_recordings
from snellen.data.formats.recording_splits import (
    Recording,
    constant_findings,
    recording_groups,
    recording_splits,
    short_findings,
)
from snellen.data.formats.recordings_read import RecordingsRead, window_steps
from snellen.data.formats.season import season_by_autocorrelation
from snellen.data.formats.series_recordings import read_series_recordings
from snellen.data.formats.series_table import is_series_table
from snellen.data.formats.series_text import SUFFIXES, SeriesText, read_series, sniff_width
from snellen.data.formats.table_columns import to_exact
from snellen.data.formats.table_text import SUFFIXES as TABLES
from snellen.data.recording_windows import RecordingWindows
from snellen.data.source import Skipped
from snellen.data.splits import SPLIT_FRACTIONS

MIN_STEPS = 20  # of a text file that is recognised as a recording
_SNIFFED = 4  # files whose start is read to recognise a folder


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
    return windows_of(path, _read(path, options), options)


def windows_of(path: Path, read: RecordingsRead, options: OpenOptions) -> RawDataset:
    """Windows of recordings, each with its future; path: for messages. Raises DataError as `open_raw`."""
    names = read.names
    _check_range(path, read.recordings, names)
    season, why = read.season
    window, horizon, stride = window_steps(read.recordings, options, season)
    if season is None:
        season, why = _season_in(read.recordings, len(read.forecast), window)
    usable = [r for r in read.recordings if len(r.values) >= window + horizon]
    if not usable:
        longest = max(len(r.values) for r in read.recordings)
        raise DataError(
            f"{path}: the longest recording has {longest:,} steps, a window of {window:,} and its future of "
            f"{horizon:,} need {window + horizon:,}",
            "Give longer recordings, or a smaller --window or --horizon.",
        )
    short = [r for r in read.recordings if len(r.values) < window + horizon]
    values = to_exact(np.concatenate([r.values for r in usable]))
    source = RecordingWindows(
        values,
        [len(r.values) for r in usable],
        [r.name for r in usable],
        window,
        horizon,
        stride,
        forecast=len(read.forecast),
        known=read.known,
        when=None if read.when is None else partial(read.when, [read.recordings.index(r) for r in usable]),
    )
    _check_memory(path, source)
    of_recording, copies = recording_groups(usable, options)
    given, division, is_divided = recording_splits(path, source, usable, of_recording)
    needs = f"A window and its future need {window + horizon:,}."
    skipped = (*read.skipped, *(Skipped(r.name, f"has {len(r.values):,} steps", needs) for r in short))
    starts = "one at every step" if stride == 1 else f"one every {stride:,} steps"
    return RawDataset(
        source=source,
        inputs={
            "sequence": Input(
                modality="sequence",
                shape=(window, len(names)),
                dtype=str(values.dtype).removeprefix("torch."),
                columns=read.columns,
                sequence_id=read.id,
                time=read.time,
            )
        },
        target=Future(
            names=read.forecast,
            steps=horizon,
            duration=read.duration,
            duration_unit=read.unit,
            inputs=names if names != read.forecast else (),
            known=read.known,
            season=season,
            time_steps=read.time_steps,
        ),
        truth=source.future(np.arange(len(source))),
        given_splits=given,
        groups=of_recording[source.recording] if is_divided or options.group is not None else None,
        recognised_as=f"{read.description} of {len(values):,} steps and {len(names):,} features{read.times}: "
        f"{len(source):,} windows of {plural(f'{window:,}', 'step')}, {starts}, each with the next "
        f"{plural(f'{horizon:,}', 'step')} to forecast (others: --window, --horizon, --window-stride); "
        f"{_season_text(season, why)}{division}",
        findings=(
            *unused_files_findings(read.skipped),
            *short_findings(short, window + horizon),
            *constant_findings(path, usable, read.forecast),
            *read.findings,
            *copies,
        ),
        files={"found": read.files, "used": read.files - len(skipped), "set aside": len(skipped)}
        if path.is_dir()
        else {"found": 1, "used": 1},
        skipped=skipped,
    )


def _read(path: Path, options: OpenOptions) -> RecordingsRead:
    """Read all recordings at a path."""
    if is_series_table(path, options):
        return read_series_recordings(path, options)
    if not path.is_dir() and path.suffix.lower() in (*NPY, *NPZ, *HDF5):
        recordings = [Recording(name=name, split=split, values=x) for name, split, x in read_recordings(path)]
        widths = sorted({r.values.shape[1] for r in recordings})
        if len(widths) > 1:
            raise DataError(
                f"{path} has recordings of {widths[0]} and of {widths[-1]} features",
                "Give all recordings the same features.",
            )
        names = tuple(f"feature {k + 1}" for k in range(widths[0]))
        description = "one recording" if len(recordings) == 1 else f"{len(recordings):,} recordings"
        return RecordingsRead(recordings=recordings, names=names, description=description)
    skipped: list[Skipped] = []
    if path.is_dir():
        recordings, first = _read_folder(path, options, skipped)
        description = f"{len(recordings):,} recordings in text files"
    else:
        first = read_series(path)
        recordings, description = [Recording(name=path.name, split=None, values=first.values)], "one recording"
    step = "" if first.duration is None else f"{first.duration:g} {first.unit}".rstrip()
    return RecordingsRead(
        recordings=recordings,
        names=first.names,
        description=description,
        duration=first.duration,
        unit=first.unit,
        times=f", a step of {step} (column {first.time!r})" if step else "",
        files=len(recordings) + len(skipped),
        skipped=tuple(skipped),
    )


def _season_in(recordings: Sequence[Recording], features: int, window: int) -> tuple[int | None, str]:
    """The season of the training part by autocorrelation, up to the length of the window."""
    training = [r for r in recordings if r.split in (None, 0)]
    fraction = 1 - SPLIT_FRACTIONS[1] - SPLIT_FRACTIONS[2]
    parts = [r.values[: round(fraction * len(r.values)), :features] for r in training]
    return season_by_autocorrelation(parts, window), "by autocorrelation"


def _season_text(season: int | None, why: str) -> str:
    return "" if season is None else f"a season of {plural(f'{season:,}', 'step')} ({why}; another: --season); "


def _check_memory(path: Path, source: RecordingWindows) -> None:
    """Raise DataError if the futures of all windows, which overlap, do not fit into half of the free memory."""
    values = source.values
    needed = len(source) * source.horizon * values.shape[1] * values.element_size()
    if needed > available_memory() // 2:
        raise DataError(
            f"{path}: the futures of {len(source):,} windows need {needed:,} bytes of memory, of which "
            f"{available_memory():,} are free",
            "Take fewer windows with --window-stride STEPS, or a shorter --horizon.",
        )


def _check_options(path: Path, options: OpenOptions) -> None:
    """Raise UsageError for options that do not apply to recordings."""
    given = {
        "target": options.target not in ((), (FUTURE,)) and ",".join(options.target),
        "inputs": options.inputs,
        "sequence-id": options.sequence_id,
        "time": options.time,
        **{flag: value for flag, value in options.of_series.items() if flag != "season"},
    }
    named = next(
        (f"--{flag} {value if flag == 'target' else ''}".rstrip() for flag, value in given.items() if value), None
    )
    if named is not None and not is_series_table(path, options):
        raise UsageError(
            f"{named} does not apply to these recordings, whose columns are all forecast",
            f"Omit it, or give one table of time series ({', '.join(TABLES)}).",
        )
    if options.max_gap is not None and options.gaps != "interpolate":
        raise UsageError("--max-gap applies to --gaps interpolate", "Give both, or omit --max-gap.")
    if options.impute is not None:
        raise UsageError("--impute does not apply to recordings", "Use --gaps interpolate, for a table of time series.")
    if options.modality not in (None, "sequence"):
        raise UsageError(f"--modality {options.modality} does not apply to recordings", "Omit --modality.")
    for name, count in (("horizon", options.horizon), ("window", options.window), ("window-stride", options.stride)):
        if count is not None and count < 1:
            raise UsageError(f"--{name} {count} is not a number of steps", f"Give --{name} of at least 1.")
    if path.is_file() and path.suffix.lower() not in (*SUFFIXES, *TABLES, *NPY, *NPZ, *HDF5):
        raise DataError(
            f"{path} is no recording",
            f"Give a folder of text files, or a file that ends in {', '.join((*SUFFIXES, *NPY, *NPZ, *HDF5))}.",
        )


def _read_folder(path: Path, options: OpenOptions, skipped: list[Skipped]) -> tuple[list[Recording], SeriesText]:
    """The recordings in the text files of a folder, of folders train, val and test with their splits; the first file.

    Args:
        skipped: receives the files that quarantine leaves out.
    """
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
            skipped.append(Skipped(relative.as_posix(), error.cause.removeprefix(f"{file}").strip(" :,"), error.remedy))
            continue
        series.append(one)
        recordings.append(Recording(name=relative.as_posix(), split=_split_of_folder(relative), values=one.values))
    total = len(files)
    if not recordings or (len(skipped) > 0.01 * total and not options.allow_skipped and skipped):
        raise DataError(
            f"{path}: quarantine would skip {len(skipped)} of {total} recordings ({skipped[0].path} "
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
    return recordings, series[0]


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


FORMAT = Format("recordings", recognises, open_raw, future=True)

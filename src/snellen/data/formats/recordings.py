"""Recordings to forecast: text files of numbers, one CSV file, or arrays (N, T, D) in NPZ, NPY and HDF5 files.

The target is the future of the input. Each recording is cut into windows; recordings stay in one split if there are
enough, else each is split in time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Future, Input, Skeleton
from snellen.data.check.findings import unused_files_findings
from snellen.data.check.number_range import LARGEST
from snellen.data.dataset import RawDataset
from snellen.data.file_index import walk
from snellen.data.formats import FUTURE, Format, OpenOptions, json_sequences
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
from snellen.data.formats.series_text import SUFFIXES, SeriesText, check_equal_columns, read_series, sniff_width
from snellen.data.formats.skeleton_columns import read_parents, skeleton_of_columns
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
    files = text_files(path)
    if files is None or len(files) < 2 or any(file.suffix.lower() not in (".txt", ".dat") for file in files):
        return False
    chosen = files[:: max(1, len(files) // _SNIFFED)]
    widths = {sniff_width(file) for file in chosen}
    return len(widths) == 1 and None not in widths and not any(map(is_annotation_text, chosen))


def text_files(folder: Path) -> list[Path] | None:
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
    if json_sequences.recognises(path):
        raise DataError(
            f"{path} holds JSON lines of sequences; forecasting reads text files of numbers, tables and arrays, not "
            "JSON lines of sequences",
            f"Give one file of numbers for each recording ({', '.join(SUFFIXES)}), or an array (N, T, D) "
            f"({', '.join((*NPY, *NPZ, *HDF5))}).",
        )
    check_options(path, options, (*SUFFIXES, *TABLES, *NPY, *NPZ, *HDF5))
    return open_recordings(path, _read(path, options), options)


def open_recordings(path: Path, read: RecordingsRead, options: OpenOptions) -> RawDataset:
    """Windows of recordings that are read from a path, each with its future. Raises DataError as `windows_of`."""
    raw = windows_of(path, read, options)
    files = {"found": read.files, "used": read.files - len(raw.skipped), "set aside": len(raw.skipped)}
    return dataclasses.replace(raw, files=files if path.is_dir() else {"found": 1, "used": 1})


def windows_of(where: Path | str, read: RecordingsRead, options: OpenOptions) -> RawDataset:
    """Windows of recordings that are read, each with its future. where: their path or name, for messages.

    Raises:
        DataError: too few steps for a window and its future.
    """
    names = read.names
    _check_range(where, read.recordings, names)
    season, why = read.season
    window, horizon, stride = window_steps(read, options, season)
    if season is None and read.skeleton is None:
        season, why = _season_in(read.recordings, len(read.forecast), window)
    needed = (window + horizon - 1) * read.every + 1
    usable = [r for r in read.recordings if len(r.values) >= needed]
    if not usable:
        longest = max(len(r.values) for r in read.recordings)
        raise DataError(
            f"{where}: the longest recording has {longest:,} {read.rows}, a window of {window:,} steps and its future "
            f"of {horizon:,} need {needed:,}{read.counted}",
            "Give longer recordings, or a smaller --window or --horizon.",
        )
    short = [r for r in read.recordings if len(r.values) < needed]
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
        every=read.every,
        when=None if read.when is None else partial(read.when, [read.recordings.index(r) for r in usable]),
    )
    of_recording, copies = recording_groups(usable, options, needed, read.identity)
    given, division, is_divided = recording_splits(where, source, usable, of_recording, read.counted)
    needs = f"A window and its future need {needed:,}{read.counted}."
    skipped = (*read.skipped, *(Skipped(r.name, f"has {len(r.values):,} {read.rows}", needs) for r in short))
    starts = f"one at every {read.rows[:-1]}" if stride == 1 else f"one every {stride:,} {read.rows}"
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
            every=read.every,
            skeleton=read.skeleton,
            season=season,
            time_steps=read.time_steps,
        ),
        truth=source.futures(),
        given_splits=given,
        groups=of_recording[source.recording] if is_divided or options.group is not None else None,
        recognised_as=f"{read.description} of {len(values):,} {read.rows} and {plural(f'{len(names):,}', 'feature')}"
        f"{read.times}: {len(source):,} windows of {plural(f'{window:,}', 'step')}, {starts}, each with the next "
        f"{plural(f'{horizon:,}', 'step')} to forecast (others: --window, --horizon, --window-stride); "
        f"{_season_text(season, why)}{division}",
        findings=(
            *unused_files_findings(read.skipped),
            *short_findings(short, needed, read.rows, read.counted),
            *constant_findings(where, usable, read.forecast),
            *read.findings,
            *copies,
        ),
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
    step = "" if first.duration is None else f", a step of {first.duration:g} {first.unit}".rstrip()
    duration, unit, times = first.duration, first.unit, f"{step} (column {first.time!r})" if step else ""
    if options.frame_rate is not None:
        if duration is not None:
            raise UsageError(
                f"--frame-rate {options.frame_rate:g}: {path} has a column of times, {first.time!r}",
                "Omit --frame-rate.",
            )
        duration, unit, times = 1000 / options.frame_rate, "ms", f", {options.frame_rate:g} steps per second (given)"
    skeleton = _skeleton(path, first, options)
    return RecordingsRead(
        recordings=recordings,
        names=first.names,
        description=description
        if skeleton is None
        else f"{description}, positions of {len(skeleton.joints)} joints ({skeleton.up} points upwards),",
        duration=duration,
        unit=unit,
        times=times,
        files=len(recordings) + len(skipped),
        skipped=tuple(skipped),
        skeleton=skeleton,
    )


def _season_in(recordings: Sequence[Recording], features: int, window: int) -> tuple[int | None, str]:
    """The season of the training part by autocorrelation, up to the length of the window."""
    training = [r for r in recordings if r.split in (None, 0)]
    fraction = 1 - SPLIT_FRACTIONS[1] - SPLIT_FRACTIONS[2]
    parts = [r.values[: round(fraction * len(r.values)), :features] for r in training]
    return season_by_autocorrelation(parts, window), "by autocorrelation"


def _season_text(season: int | None, why: str) -> str:
    return "" if season is None else f"a season of {plural(f'{season:,}', 'step')} ({why}; another: --season); "


def _skeleton(path: Path, first: SeriesText, options: OpenOptions) -> Skeleton | None:
    """The joints in the columns of a table, and their parents by `--skeleton`; None of other columns."""
    skeleton = skeleton_of_columns(first.names, first.values)
    if options.skeleton is None:
        return skeleton
    if skeleton is None:
        raise UsageError(
            f"--skeleton applies to motion; {path} has no columns such as hip_x, hip_y, hip_z of joints",
            "Omit --skeleton, or name the columns so.",
        )
    file = Path(options.skeleton).expanduser()
    if file.suffix.lower() not in (".csv", ".tsv", ".txt"):
        raise UsageError(
            f"--skeleton {options.skeleton} is no table of joint and parent",
            "The positions of joints in a table need a .csv file with the rows joint,parent.",
        )
    return dataclasses.replace(skeleton, parents=read_parents(file, skeleton.joints))


def check_options(
    path: Path, options: OpenOptions, suffixes: Sequence[str], no_columns: Sequence[str] = ("season",)
) -> None:
    """Raise UsageError for options that do not apply to recordings, DataError for a file of another suffix.

    Args:
        no_columns: the options of time series that do not need a table.
    """
    given = {
        "target": options.target not in ((), (FUTURE,)) and ",".join(options.target),
        "inputs": options.inputs,
        "sequence-id": options.sequence_id,
        "time": options.time,
        **{flag: value for flag, value in options.of_series.items() if flag not in no_columns},
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
    if path.is_file() and path.suffix.lower() not in suffixes:
        raise DataError(
            f"{path} is no recording", f"Give a folder of recordings, or a file that ends in {', '.join(suffixes)}."
        )


def _read_folder(path: Path, options: OpenOptions, skipped: list[Skipped]) -> tuple[list[Recording], SeriesText]:
    """The recordings in the text files of a folder, of folders train, val and test with their splits; the first file.

    Args:
        skipped: receives the files that quarantine leaves out.
    """
    files = text_files(path)
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
                check_equal_columns(file, one, path / recordings[0].name, series[0])
        except DataError as error:
            if not options.quarantine:
                raise
            skipped.append(Skipped(relative.as_posix(), error.cause.removeprefix(f"{file}").strip(" :,"), error.remedy))
            continue
        series.append(one)
        recordings.append(Recording(name=relative.as_posix(), split=split_of_folder(relative), values=one.values))
    check_quarantine(path, len(files), recordings, skipped, options)
    check_splits(path, recordings)
    return recordings, series[0]


def check_quarantine(
    path: Path, total: int, recordings: Sequence[Recording], skipped: Sequence[Skipped], options: OpenOptions
) -> None:
    """Raise DataError if quarantine would skip more than 1 % of the recordings, or all."""
    if not recordings or (len(skipped) > 0.01 * total and not options.allow_skipped and skipped):
        raise DataError(
            f"{path}: quarantine would skip {len(skipped)} of {total} recordings ({skipped[0].path} "
            f"{skipped[0].reason})",
            "Repair them, or allow this with --allow-skipped." if recordings else "Repair them: none would remain.",
        )


def check_splits(path: Path, recordings: Sequence[Recording]) -> None:
    """Raise DataError if some recordings are in no folder of a split and others are, or none is for training."""
    splits = {r.split for r in recordings}
    if splits != {None} and None in splits:
        outside = next(r.name for r in recordings if r.split is None)
        raise DataError(
            f"{path}: {outside} is in none of the folders train, val and test, others are",
            "Move it into one of them, or away.",
        )
    if splits != {None} and 0 not in splits:
        raise DataError(f"{path} has no training recordings", "Put recordings into a folder train.")


def split_of_folder(relative: Path) -> int | None:
    """The split of a recording by the folders above it; None without."""
    return next((s for part in relative.parts[:-1] if (s := split_index(part)) is not None), None)


def _check_range(where: Path | str, recordings: Sequence[Recording], names: Sequence[str]) -> None:
    """Raise DataError for a value whose square exceeds float64."""
    for recording in recordings:
        bad = np.argwhere(np.abs(recording.values) > LARGEST)
        if len(bad):
            row, column = bad[0].tolist()
            raise DataError(
                f"{where}: {names[column]} of {recording.name} is {recording.values[row, column]:g} at step {row + 1}: "
                "squares of such numbers exceed the range of float64",
                "Correct it, or give the column in another unit.",
            )


FORMAT = Format("recordings", recognises, open_raw, future=True)

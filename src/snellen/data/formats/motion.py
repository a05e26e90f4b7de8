"""Motion to forecast: Acclaim (.amc with its .asf) and BVH files, and text files of exponential maps.

Each file is a recording. Its features are the angles of the joints, or their positions; its frames are resampled.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Skeleton, Spec
from snellen.data.dataset import RawDataset
from snellen.data.file_index import walk
from snellen.data.formats import Format, OpenOptions
from snellen.data.formats.acclaim import AcclaimSkeleton, read_amc, read_asf, skeleton_clip
from snellen.data.formats.bvh import read_bvh
from snellen.data.formats.exponential_maps import CMU_RATE, clip_with_skeleton, cmu_clip, is_cmu
from snellen.data.formats.recording_splits import Recording
from snellen.data.formats.recordings import (
    check_options,
    check_quarantine,
    check_splits,
    open_recordings,
    split_of_folder,
    text_files,
)
from snellen.data.formats.recordings_read import RecordingsRead
from snellen.data.formats.series_text import SUFFIXES as TEXT
from snellen.data.formats.series_text import read_series, sniff_rows
from snellen.data.motion_clip import MotionClip, Pose, features, resampled, without_rest_pose
from snellen.data.source import Skipped

AMC, ASF, BVH = ".amc", ".asf", ".bvh"
SUFFIXES = (AMC, BVH)
DEFAULT_RATE = 25.0  # frames per second that the models read, as in the literature: 40 ms a frame
_LEVELS = 2  # folders above that of a file in which prediction looks for its skeleton
_SNIFFED = 4  # text files whose start is read to recognise a folder


def recognises(path: Path) -> bool:
    """Whether a path is a motion file or a folder that holds some, or text files of the skeleton of 38 joints."""
    if path.is_file():
        return path.suffix.lower() in SUFFIXES or (path.suffix.lower() in TEXT and _is_cmu_text(path))
    if not path.is_dir():
        return False
    if motion_files(path):
        return True
    files = text_files(path) or []
    if not files or any(file.suffix.lower() not in (".txt", ".dat") for file in files):
        return False
    return all(_is_cmu_text(file) for file in files[:: max(1, len(files) // _SNIFFED)])


def _is_cmu_text(path: Path) -> bool:
    rows = sniff_rows(path)
    return rows is not None and is_cmu(rows)


def motion_files(folder: Path) -> list[Path]:
    """The Acclaim and BVH files below a folder."""
    return [folder / f.path for f in walk(folder).files if Path(f.path).suffix.lower() in SUFFIXES]


class _Skeletons:
    """The .asf file of each .amc file: that of `--skeleton`, else the nearest one beside or above it."""

    def __init__(self, given: str | None, root: Path) -> None:
        self.given = None if given is None else Path(given).expanduser()
        self.root = root
        self.known: dict[Path, AcclaimSkeleton] = {}

    def of(self, path: Path) -> AcclaimSkeleton:
        """Raises DataError where there is none, or several of which none begins the name of the file."""
        file = self.given if self.given is not None else self._find(path)
        if not file.is_file() or file.suffix.lower() != ASF:
            problem = "is no .asf file" if file.exists() else "does not exist"
            raise DataError(f"{file} {problem}", f"Give --skeleton the {ASF} file of the {AMC} files.")
        if file not in self.known:
            self.known[file] = read_asf(file)
        return self.known[file]

    def _find(self, path: Path) -> Path:
        for folder in (path.parent, *path.parent.parents):
            candidates = sorted(f for f in folder.iterdir() if f.suffix.lower() == ASF and f.is_file())
            named = [f for f in candidates if path.stem.startswith(f.stem)]
            if len(candidates) == 1 or len(named) >= 1:
                return max(named, key=lambda f: len(f.stem)) if named else candidates[0]
            if candidates:
                raise DataError(
                    f"{path}: {len(candidates)} skeletons lie in {folder}, none of whose names begins its name",
                    f"Name its skeleton with --skeleton FILE{ASF}.",
                )
            if folder in (self.root, self.root.parent):
                break
        raise DataError(
            f"{path} has no skeleton: no {ASF} file lies beside or above it",
            f"Put it there, or name it with --skeleton FILE{ASF}.",
        )


def skeleton_of_file(name: str) -> MotionClip:
    """The joints of an .asf or .bvh file, as a clip without frames of its own. Raises DataError or UsageError."""
    path = Path(name).expanduser()
    if not path.is_file():
        raise DataError(f"{path} does not exist", "Give --skeleton an .asf or .bvh file.")
    if path.suffix.lower() == ASF:
        return skeleton_clip(read_asf(path))
    if path.suffix.lower() == BVH:
        return read_bvh(path)
    raise UsageError(f"--skeleton {name} is no skeleton", "Give an .asf or .bvh file.")


def _read_clip(path: Path, skeletons: _Skeletons, of_text: MotionClip | None) -> MotionClip:
    """The clip of a file without the rest pose at its start. Raises DataError."""
    suffix = path.suffix.lower()
    if suffix == AMC:
        return without_rest_pose(read_amc(path, skeletons.of(path)))
    if suffix == BVH:
        return without_rest_pose(read_bvh(path))
    values = read_series(path).values
    if of_text is not None:
        return without_rest_pose(clip_with_skeleton(path, values, of_text))
    if not is_cmu(values):
        raise DataError(
            f"{path} is no recording of the skeleton of 38 joints: {values.shape[1]} numbers a frame"
            + ("" if values.shape[1] != 117 else ", of which some that are zero in such files are not"),
            "Give its skeleton with --skeleton FILE, or take it out of the folder.",
        )
    return without_rest_pose(cmu_clip(values))


class _Rate(NamedTuple):
    """Frames per second of a file, steps per second, and how the first is known."""

    file: float
    steps: float
    known: str

    @property
    def every(self) -> int:
        """Frames from one step to the next: windows may begin at each of them, which gives more windows to train on."""
        return max(1, int(self.file / self.steps + 1e-3))

    @property
    def frames(self) -> float:
        """Frames per second that are kept."""
        return self.steps * self.every


def _frames_per_second(resample: str | None) -> float | None:
    """The number of `--resample`, which is a period for time series in a table. Raises UsageError."""
    if resample is None:
        return None
    try:
        rate = float(resample)
    except ValueError:
        rate = 0.0
    if not 0 < rate < math.inf:
        raise UsageError(f"--resample {resample} is no number of frames per second", "Give such a number, as 25.")
    return rate


def _rate(clip: MotionClip, suffix: str, options: OpenOptions) -> _Rate:
    if options.frame_rate is not None:
        file, known = options.frame_rate, "given"
    elif clip.frame_rate is not None:
        file, known = clip.frame_rate, "as stated"
    else:
        file, known = CMU_RATE, "assumed, that of the CMU Graphics Lab; others: --frame-rate"
    new = _frames_per_second(options.resample) or (DEFAULT_RATE if file >= 2 * DEFAULT_RATE else file)
    if new > file * 1.001:
        raise UsageError(
            f"--resample {new:g} exceeds the {file:g} frames per second of the files",
            "Give a smaller rate, or state that of the files with --frame-rate.",
        )
    return _Rate(file, new, known)


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Windows of the motion, each with its future.

    Raises:
        DataError: unreadable files, no skeleton, other joints than the first file. UsageError: options that do not
            apply.
    """
    check_options(path, options, (*SUFFIXES, *TEXT), no_columns=("season", "resample"))
    files = [path] if path.is_file() else (motion_files(path) or text_files(path) or [])
    is_text = files[0].suffix.lower() in TEXT
    of_text = skeleton_of_file(options.skeleton) if options.skeleton is not None and is_text else None
    skeletons = _Skeletons(None if is_text else options.skeleton, path)
    pose: Pose = options.pose or "angles"
    recordings: list[Recording] = []
    skipped: list[Skipped] = []
    first: tuple[tuple[str, ...], Skeleton, _Rate] | None = None
    rest = 0
    for file in files:
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        try:
            clip = _read_clip(file, skeletons, of_text)
            rate = _rate(clip, file.suffix.lower(), options)
            names, values, skeleton = features(resampled(clip, rate.file, rate.frames), pose)
            if first is not None:
                _check_equal(file, names, skeleton, recordings[0].name, first[0], first[1])
        except DataError as error:
            if not options.quarantine:
                raise
            skipped.append(Skipped(name, error.cause.removeprefix(f"{file}").strip(" :,"), error.remedy))
            continue
        if clip.frame_rate is None:
            skeleton = dataclasses.replace(skeleton, frame_rate=rate.file)
        first = first or (names, skeleton, rate)
        rest += clip.rest
        recordings.append(Recording(name=name, split=split_of_folder(Path(name)), values=values))
    check_quarantine(path, len(files), recordings, skipped, options)
    check_splits(path, recordings)
    assert first is not None  # check_quarantine raises where no recording remains
    names, skeleton, rate = first
    read = RecordingsRead(
        recordings=recordings,
        names=names,
        description=_description(recordings, files[0].suffix.lower(), skeleton, rest),
        duration=1000 / rate.steps,
        unit="ms",
        times=_times(rate),
        every=rate.every,
        frame_rate=None if math.isclose(rate.frames, rate.file, rel_tol=1e-3) else rate.frames,
        files=len(files),
        skipped=tuple(skipped),
        skeleton=skeleton,
        identity="subject",
    )
    return open_recordings(path, read, options)


def _description(recordings: list[Recording], suffix: str, skeleton: Skeleton, rest: int) -> str:
    kind = {AMC: "Acclaim motion", BVH: "BVH motion"}.get(suffix, "exponential maps in text")
    count = "one recording" if len(recordings) == 1 else f"{len(recordings):,} recordings"
    pose = "positions" if skeleton.form == "positions" else "angles"
    left_out = f"; the rest pose at the start of {rest:,} is left out" if rest else ""
    return f"{count} of {kind}, {pose} of {len(skeleton.joints)} joints (--pose){left_out},"


def _times(rate: _Rate) -> str:
    resampled_to = "" if rate.file == rate.steps else f", resampled to {rate.steps:g} (others: --resample)"
    return f", {rate.file:g} frames per second ({rate.known}){resampled_to}"


def _check_equal(
    file: Path, names: tuple[str, ...], skeleton: Skeleton, other: str, first_names: tuple[str, ...], first: Skeleton
) -> None:
    """Raise DataError unless two files have the same joints. Bones may differ in length."""
    if names != first_names or skeleton.parents != first.parents:
        a = next((a for a in names if a not in first_names), None)
        b = next((b for b in first_names if b not in names), None)
        shown = ", ".join(repr(n) for n in (a, b) if n is not None)
        raise DataError(
            f"{file} has other joints than {other}" + (f": {shown} is in one of them only" if shown else ""),
            "Give recordings of one skeleton; put others into a folder of their own.",
        )


def is_motion(path: Path, skeleton: Skeleton) -> bool:
    """Whether a file is read as motion for a model of a skeleton: all but tables of the positions of joints."""
    suffix = path.suffix.lower()
    return suffix in SUFFIXES or (suffix in TEXT and (skeleton.inverse or (sniff_rows(path) is not None)))


def read_for_model(path: Path, spec: Spec, skeleton: Skeleton) -> np.ndarray:
    """(T, D) features of a motion file in the form of the training data. Raises DataError."""
    options = OpenOptions(frame_rate=skeleton.frame_rate)
    above = path.parents[: _LEVELS + 1][-1]
    clip = _read_clip(path, _Skeletons(None, above), None)
    target = spec.target
    duration = getattr(target, "duration", None) or 1000 / DEFAULT_RATE
    options = dataclasses.replace(options, resample=str(1000 / duration))
    if clip.frame_rate is not None:
        options = dataclasses.replace(options, frame_rate=None)
    rate = _rate(clip, path.suffix.lower(), options)
    pose: Pose = "positions" if skeleton.form == "positions" else "angles"
    names, values, _ = features(resampled(clip, rate.file, rate.frames), pose)
    expected = getattr(target, "names", ())
    if names != expected:
        missing = next((n for n in expected if n not in names), names[0])
        raise DataError(f"{path} has other joints than the training data: {missing!r} is not in both", "Give others.")
    return values[(len(values) - 1) % rate.every :: rate.every]


FORMAT = Format("motion", recognises, open_raw, future=True)

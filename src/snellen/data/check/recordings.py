"""Recordings: equal files, files that cannot be decoded, silence, clipping, and lengths far above the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from snellen.core.views import Finding
from snellen.data.check.duplicates import MAX_BYTES_ON_OPENING, Duplicates, exact_file_duplicates
from snellen.data.decode.audio import AudioHeader
from snellen.data.decode.audio_files import AudioFiles, attempt
from snellen.data.decode.header import UnusableFile
from snellen.data.decode.image_files import map_threads
from snellen.data.file_index import FileIndex, to_bytes

SILENCE = 0.001  # of full scale (-60 dB): the largest deviation from the mean in a silent recording
FULL_SCALE = 0.999  # magnitude from which a sample may be clipped
CLIPPED_RUN = 3  # consecutive samples at full scale: fewer may be a peak
CLIPPED_FRACTION = 0.001  # of the samples, in such runs, from which a recording is reported
LONG = 10  # times the median length, from which one recording sets the memory and time of all
MAX_NAMES = 3


class Levels(NamedTuple):
    """Levels of a recording as fractions of full scale.

    deviation: the largest deviation from the mean. clipped: fraction of the samples in runs at full scale.
    """

    deviation: float
    clipped: float


def measure_levels(values: np.ndarray) -> Levels:
    """Levels of a recording (T,)."""
    deviation = float(np.abs(values - values.mean(dtype=np.float64)).max())
    at_limit = np.concatenate([[False], np.abs(values) >= FULL_SCALE, [False]])
    edges = np.nonzero(at_limit[1:] != at_limit[:-1])[0].reshape(-1, 2)  # start and end of each run
    runs = edges[:, 1] - edges[:, 0]
    return Levels(deviation, float(runs[runs >= CLIPPED_RUN].sum() / len(values)))


def find_recording_duplicates(source: AudioFiles, full: bool = False) -> Duplicates:
    """Find files of equal content, and decode all files if they are small enough or `full` is set."""
    exact = exact_file_duplicates(source)
    if not full and _is_large(source):
        return Duplicates(exact, [], {}, False, f"the samples of {len(source):,} recordings")
    levels = recording_levels(source)
    bad = {
        id: level
        for id, (level, header) in enumerate(zip(levels, source.headers, strict=True))
        if isinstance(level, UnusableFile) and isinstance(header, AudioHeader)
    }
    return Duplicates(exact, [], bad, True)


def _is_large(source: AudioFiles) -> bool:
    return sum(file.size for file in source.files) > MAX_BYTES_ON_OPENING


def recording_levels(source: AudioFiles) -> list[Levels | UnusableFile]:
    """Levels of every recording, from the index or measured, or the error of one that cannot be decoded."""
    index, by_path = FileIndex(source.root), {file.path: file for file in source.files}
    known: dict[str, Levels | UnusableFile] = {
        path: Levels(*json.loads(fact)) for path, fact in index.lookup("levels", by_path).items()
    }
    missing = [id for id, file in enumerate(source.files) if file.path not in known]
    measured = map_threads(lambda id: attempt(lambda: measure_levels(source.decode(id))), missing)
    fresh = {source.files[id].path: levels for id, levels in zip(missing, measured, strict=True)}
    index.store("levels", by_path, {p: to_bytes(v) for p, v in fresh.items() if not isinstance(v, UnusableFile)})
    return [(known | fresh)[file.path] for file in source.files]


def recording_findings(source: object) -> list[Finding]:
    """Silent and clipped recordings, several numbers of channels, and one recording far longer than most."""
    if not isinstance(source, AudioFiles) or not source.usable:
        return []
    findings = _channel_findings(source) + _length_findings(source)
    if _is_large(source):
        return findings
    levels = recording_levels(source)
    silent = [id for id, level in enumerate(levels) if isinstance(level, Levels) and level.deviation < SILENCE]
    clipped = [id for id, level in enumerate(levels) if isinstance(level, Levels) and level.clipped > CLIPPED_FRACTION]
    if silent:
        findings.append(
            _finding(
                "silent",
                source,
                silent,
                f"silent (below {SILENCE:g} of full scale)",
                "Listen to them, and remove those without content.",
            )
        )
    if clipped:
        fractions = [level.clipped for level in levels if isinstance(level, Levels)]
        what = f"clipped (up to {100 * max(fractions):.2g} % of the samples at full scale)"
        findings.append(_finding("clipped", source, clipped, what, "Record them at a lower level, if you can."))
    return findings


def _finding(kind: str, source: AudioFiles, ids: Sequence[int], what: str, remedy: str) -> Finding:
    names = [source.name(id) for id in ids]
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    verb = "recording is" if len(names) == 1 else "recordings are"
    return Finding(
        kind=kind,
        message=f"{len(names):,} {verb} {what}: {', '.join(names[:MAX_NAMES])}{more}",
        remedy=remedy,
        where=tuple(names),
        count=len(names),
    )


def _channel_findings(source: AudioFiles) -> list[Finding]:
    several = [id for id, h in enumerate(source.headers) if isinstance(h, AudioHeader) and h.channels > 1]
    if not several:
        return []
    names = tuple(source.name(id) for id in several)
    return [
        Finding(
            kind="converted",
            severity="note",
            message=f"{len(several):,} of {len(source):,} recordings have several channels: their mean is used",
            where=names,
            count=len(several),
        )
    ]


def _length_findings(source: AudioFiles) -> list[Finding]:
    frames = np.array([header.frames for header in source.usable])
    median = float(np.median(frames))
    if source.length <= LONG * median:
        return []
    ids = [id for id, h in enumerate(source.headers) if isinstance(h, AudioHeader) and h.frames > LONG * median]
    rate = source.usable[0].rate
    what = (
        f"more than {LONG} times as long as the median ({median / rate:.3g} s): all are padded to "
        f"{source.length / rate:.3g} s"
    )
    return [_finding("long", source, ids, what, "Cut them into parts, or remove them: memory and time grow with it.")]

"""Recordings: copies, files that cannot be decoded, silence, clipping, offsets, lengths far above the others."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np

from snellen.core.views import Finding
from snellen.data.check.duplicates import MAX_BYTES_ON_OPENING, Duplicates, Pair, exact_file_duplicates
from snellen.data.check.findings import samples_finding
from snellen.data.check.near_recordings import Fingerprint, fingerprint, near_copies
from snellen.data.decode.audio import AudioHeader
from snellen.data.decode.audio_files import AudioFiles, attempt
from snellen.data.decode.header import UnusableFile
from snellen.data.decode.image_files import map_threads
from snellen.data.file_index import FileIndex, to_bytes

SILENCE = 0.001  # of full scale (-60 dB): the largest deviation from the mean in a silent recording
FULL_SCALE = 0.999  # magnitude from which a sample may be clipped
CLIPPED_RUN = 3  # consecutive samples at full scale: fewer may be a peak
CLIPPED_FRACTION = 0.001  # of the samples, in such runs, from which a recording is reported
OFFSET, MIN_OFFSET = 0.5, 0.01  # of the root mean square, and of full scale: a mean above both is reported
MAX_FRAMES_ON_OPENING = 1 << 25  # samples of all recordings that are compared for near copies before training
MAX_COMPARED = 20_000  # recordings; more are checked for equal files only
LONG = 10  # times the median length, from which one recording sets the memory and time of all


class Levels(NamedTuple):
    """Levels of a recording as fractions of full scale.

    deviation: the largest deviation from the mean. clipped: fraction of the samples in runs at full scale.
    mean: the offset. rms: root of the mean square, about the mean.
    """

    deviation: float
    clipped: float
    mean: float
    rms: float


def measure_levels(values: np.ndarray) -> Levels:
    """Levels of a recording (T,)."""
    mean = float(values.mean(dtype=np.float64))
    deviation = float(np.abs(values - mean).max())
    at_limit = np.concatenate([[False], np.abs(values) >= FULL_SCALE, [False]])
    edges = np.nonzero(at_limit[1:] != at_limit[:-1])[0].reshape(-1, 2)  # start and end of each run
    runs = edges[:, 1] - edges[:, 0]
    clipped = float(runs[runs >= CLIPPED_RUN].sum() / len(values))
    return Levels(deviation, clipped, mean, float(np.sqrt(np.square(values - mean, dtype=np.float64).mean())))


def find_recording_duplicates(source: AudioFiles, full: bool = False) -> Duplicates:
    """Find files of equal content, and decode all files and find near copies if there are few or `full` is set."""
    exact = exact_file_duplicates(source)
    if not full and _is_large(source):
        return Duplicates(exact, [], {}, False, f"the samples of {len(source):,} recordings")
    levels = recording_levels(source)
    bad = {
        id: level
        for id, (level, header) in enumerate(zip(levels, source.headers, strict=True))
        if isinstance(level, UnusableFile) and isinstance(header, AudioHeader)
    }
    if len(source) > MAX_COMPARED:
        return Duplicates(exact, [], bad, True)
    if not full and sum(header.frames for header in source.usable) > MAX_FRAMES_ON_OPENING:
        return Duplicates(exact, [], bad, False, f"near-duplicates among {len(source):,} recordings")
    return Duplicates(exact, _near_copies(source, {b for _, b in exact} | set(bad)), bad, True)


def _near_copies(source: AudioFiles, left_out: set[int]) -> list[Pair]:
    """Near copies among all recordings but some, from the index or computed."""
    index, key = FileIndex(source.root), source.key()
    cached = index.lookup_joint("near recordings", key or "")
    if cached is not None:
        return [(a, b) for a, b in np.frombuffer(cached, np.int64).reshape(-1, 2).tolist()]
    ids = [id for id, header in enumerate(source.headers) if isinstance(header, AudioHeader) and id not in left_out]
    prints = map_threads(lambda id: attempt(lambda: fingerprint(source.decode(id), int(source.rate or 1))), ids)
    pairs = near_copies({id: one for id, one in zip(ids, prints, strict=True) if isinstance(one, Fingerprint)})
    if key is not None:
        index.store_joint("near recordings", key, np.array(pairs, np.int64).tobytes())
    return pairs


def _is_large(source: AudioFiles) -> bool:
    return sum(file.size for file in source.files) > MAX_BYTES_ON_OPENING


def recording_levels(source: AudioFiles) -> list[Levels | UnusableFile]:
    """Levels of every recording, from the index or measured, or the error of one that cannot be decoded."""
    index, by_path = FileIndex(source.root), {file.path: file for file in source.files}
    known: dict[str, Levels | UnusableFile] = {
        path: Levels(*json.loads(fact)) for path, fact in index.lookup("sound levels", by_path).items()
    }
    missing = [id for id, file in enumerate(source.files) if file.path not in known]
    measured = map_threads(lambda id: attempt(lambda: measure_levels(source.decode_file(id)[0])), missing)
    fresh = {source.files[id].path: levels for id, levels in zip(missing, measured, strict=True)}
    index.store("sound levels", by_path, {p: to_bytes(v) for p, v in fresh.items() if not isinstance(v, UnusableFile)})
    return [(known | fresh)[file.path] for file in source.files]


def recording_findings(source: object) -> list[Finding]:
    """Silent, clipped and shifted recordings, several numbers of channels, and one recording far longer than most."""
    if not isinstance(source, AudioFiles) or not source.usable:
        return []
    findings = _channel_findings(source) + _length_findings(source)
    if len(source) > MAX_COMPARED:
        findings.append(
            Finding(
                kind="near-copies",
                severity="note",
                message=f"{len(source):,} recordings are too many to search for near-duplicates",
                remedy="Equal files are checked; check a part of the data for near-duplicates.",
            )
        )
    if _is_large(source):
        return findings
    levels = recording_levels(source)
    silent = [id for id, level in enumerate(levels) if isinstance(level, Levels) and level.deviation < SILENCE]
    clipped = [id for id, level in enumerate(levels) if isinstance(level, Levels) and level.clipped > CLIPPED_FRACTION]
    if silent:
        findings.append(
            samples_finding(
                "recording",
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
        findings.append(
            samples_finding("recording", "clipped", source, clipped, what, "Record them at a lower level, if you can.")
        )
    shifted = [id for id, level in enumerate(levels) if isinstance(level, Levels) and _has_offset(level)]
    if shifted:
        largest = max(abs(level.mean) for level in levels if isinstance(level, Levels))
        what = f"shifted by a constant (up to {largest:.2g} of full scale, an offset of the recorder)"
        findings.append(
            samples_finding(
                "recording", "offset", source, shifted, what, "Subtract their mean, or high-pass them at 20 Hz."
            )
        )
    return findings


def _has_offset(level: Levels) -> bool:
    return level.deviation >= SILENCE and abs(level.mean) > max(MIN_OFFSET, OFFSET * level.rms)


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
    return [
        samples_finding(
            "recording", "long", source, ids, what, "Cut them into parts, or remove them: memory and time grow with it."
        )
    ]

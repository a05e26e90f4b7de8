"""Capture times of photographs, from their EXIF tags: bursts of one camera are found by them."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path

from snellen.data.decode import image_decoder
from snellen.data.decode.header import UnusableFile
from snellen.data.decode.image_files import ImageFiles, map_threads
from snellen.data.file_index import FileIndex, to_bytes

Moment = tuple[str, float]  # camera, seconds

_MAKE, _MODEL, _TAKEN, _SERIAL_NUMBER = 271, 272, 36867, 42033
_KIND = "capture"
_NUM_TRIED = 32  # images read first: most datasets have no capture times


def capture_times(source: ImageFiles) -> Sequence[Moment | None]:
    """Camera and capture time in seconds of each image; None for an image without. Facts are kept in the index.

    The time is DateTimeOriginal: editors set DateTime to the time of saving.
    """
    step = max(1, len(source) // _NUM_TRIED)
    if not any(map_threads(_moment, [source.path(k) for k in range(0, len(source), step)])):
        return [None] * len(source)
    index, files = FileIndex(source.root), {file.path: file for file in source.files}
    known = {path: json.loads(fact) for path, fact in index.lookup(_KIND, files).items()}
    missing = [path for path in files if path not in known]
    moments = dict(zip(missing, map_threads(_moment, [source.root / path for path in missing]), strict=True))
    index.store(_KIND, files, {path: to_bytes(moment) for path, moment in moments.items()})
    known |= moments
    return [None if (moment := known[file.path]) is None else (moment[0], moment[1]) for file in source.files]


def _moment(path: Path) -> Moment | None:
    try:
        tags = image_decoder.exif(path)
        taken = datetime.datetime.strptime(str(tags[_TAKEN]).strip("\0 "), "%Y:%m:%d %H:%M:%S")
    except (UnusableFile, KeyError, ValueError):  # the data check reports unusable files
        return None
    camera = " ".join(str(tags.get(tag, "")).strip("\0 ") for tag in (_MAKE, _MODEL, _SERIAL_NUMBER))
    return camera, taken.replace(tzinfo=datetime.UTC).timestamp()

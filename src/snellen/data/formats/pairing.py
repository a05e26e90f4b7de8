"""Pairs of images and maps (masks or dense targets): matching, size checks, splits."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from torch import Tensor

from snellen.core.errors import DataError, first_line, short_repr
from snellen.core.input_files import read_text
from snellen.core.spec import Target
from snellen.core.views import Finding
from snellen.data.annotations import Annotations
from snellen.data.augment.dihedral import ORIENTATIONS, transform_annotation
from snellen.data.dataset import SPLITS, RawDataset
from snellen.data.decode import image_decoder
from snellen.data.decode.frame_pairs import FramePairs
from snellen.data.decode.header import Header, UnusableFile
from snellen.data.decode.image_files import ImageFiles, map_threads, open_images
from snellen.data.file_index import File, FileIndex, LinkCheck, to_bytes
from snellen.data.formats import OpenOptions
from snellen.data.formats.file_names import split_index
from snellen.data.formats.groups import image_groups
from snellen.data.formats.match_by_name import Key, MatchedFiles
from snellen.data.source import BadSamples, Skipped


class MapInfo(Protocol):
    """Properties read from a map: its size in pixels, and more."""

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...


H = TypeVar("H", bound=MapInfo)
MAX_READ = 2_000  # maps read before training; of more maps a sample this large, the others when they are trained on
_LISTS = Path("ImageSets/Segmentation")
_MISSING_REMEDY = "Add one of the same name, or skip the image with --quarantine."
_SIZE_REMEDY = "Give map and image the same size, or skip the image with --quarantine."


class MapReader(NamedTuple, Generic[H]):
    """How maps are read. word: their name in messages. read_info: path -> properties. from_json: the same, cached.

    facts: the kind of the cached properties.
    """

    word: str
    read_info: Callable[[Path], H]
    from_json: Callable[[list[Any]], H]
    facts: str


class PairedImages(Generic[H]):
    """The images of a folder with their maps.

    An image whose map is missing or wrong has the error in place of its header: the check lists all errors at once,
    and skips these images under --quarantine.

    Args:
        matched: the files of the folder.
        maps: by the key of their image, or of the first of two frames.
        second_frames: the second frames by that key, for frame pairs.
        reader: how maps are read.
    """

    def __init__(
        self,
        root: Path,
        matched: MatchedFiles,
        maps: dict[Key, File],
        reader: MapReader[H],
        options: OpenOptions,
        second_frames: dict[Key, File] | None = None,
    ) -> None:
        self.root = root
        self.matched = matched
        self.word = reader.word
        keys = sorted(matched.images if second_frames is None else second_frames)
        self.given_splits, self.keys, unannotated = _listed(root, keys) or _splits(root, keys, set(maps), reader.word)
        unknown = f"is in no list, or in a split without any {self.word}", "It has no ground truth to evaluate with."
        self.skipped = [*matched.skipped, *(Skipped(matched.images[key].path, *unknown) for key in unannotated)]
        self.maps = [maps.get(key) for key in self.keys]
        self.unmatched = [file for key, file in maps.items() if key not in set(keys)]
        first = open_images(root, [matched.images[key] for key in self.keys], options.pages)
        self.source: ImageFiles | FramePairs = first
        self.used = len(self.keys)
        if second_frames is not None:
            frames = [second_frames[key] for key in self.keys]
            self.source = FramePairs(first, open_images(root, frames, options.pages))
            self.used = len({file.path for file in [*first.files, *frames]})
        self.groups = image_groups(first, options.group) if options.group else None
        if isinstance(self.source, FramePairs) and self.groups is None and self.given_splits is None:
            self.groups = self.source.video_groups()
        self.map_infos: list[H | None] = [None] * len(self.keys)
        self.unread = self._read_maps(reader, options.full)

    def _read_maps(self, reader: MapReader[H], full: bool) -> int:
        """Read maps, all or about `MAX_READ` of them, and return the number of unread maps."""
        indices = range(len(self.keys))
        if not full and len(indices) > MAX_READ:
            indices = range(0, len(indices), -(-len(indices) // MAX_READ))
        infos = _read_infos(self.root, [file for k in indices if (file := self.maps[k]) is not None], reader)
        for k, file in enumerate(self.maps):
            info = infos.get(file.path) if file is not None else None
            header = self.source.headers[k]
            if file is None:
                self.mark_bad(k, f"has no {self.word}", _MISSING_REMEDY)
            elif isinstance(info, UnusableFile):
                self.mark_bad(k, f"has a {self.word}, {file.path}, that {info.cause}", info.remedy)
            elif info is not None:
                self.map_infos[k] = info
                if isinstance(header, Header) and not fits(header, (info.height, info.width)):
                    self.mark_bad(
                        k,
                        f"is {header.width}x{header.height} pixels, its {self.word} {file.path} "
                        f"{info.width}x{info.height}",
                        _SIZE_REMEDY,
                    )
        return len(self.maps) - len(indices)

    def mark_bad(self, k: int, cause: str, remedy: str) -> None:
        if isinstance(self.source.headers[k], Header):
            self.source.headers[k] = UnusableFile("corrupt", cause, remedy)

    def map_loader(self, read: Callable[[Path], Tensor], target: Target | None) -> Callable[[int], Tensor]:
        """A function that reads the map of an image, with the image's EXIF orientation applied.

        It raises BadSamples, with the file, if a map cannot be read or differs from its image in size.
        """

        def read_oriented(k: int) -> Tensor:
            file, header = self.maps[k], self.source.headers[k]
            assert file is not None
            assert isinstance(header, Header)
            try:
                values = read(self.root / file.path)
                height, width = values.shape[-2:]
                if not fits(header, (height, width)):
                    raise UnusableFile(
                        "corrupt", f"is {width}x{height} pixels, its image {header.width}x{header.height}", _SIZE_REMEDY
                    )
                mirror, quarters = self._orientation(k, header, (height, width))
            except UnusableFile as error:
                raise BadSamples({k: error.cause}, {k: file.path}) from error
            oriented = (
                transform_annotation(values, target, width, height, mirror, quarters) if mirror or quarters else values
            )
            assert isinstance(oriented, Tensor)
            return oriented

        return read_oriented

    def _orientation(self, k: int, header: Header, size: tuple[int, int]) -> tuple[bool, int]:
        """The mirror and quarter turns of a map: those of the image, unless the map has the turned size already."""
        if "rotated" not in header.notes:
            return False, 0
        mirror, quarters = ORIENTATIONS.get(image_decoder.orientation(self.source.path(k)), (False, 0))
        is_turned = quarters % 2 == 1 and size == (header.height, header.width) != (header.width, header.height)
        return (False, 0) if is_turned else (mirror, quarters)

    def raw_dataset(self, target: Target, annotations: Annotations, recognised_as: str) -> RawDataset:
        matched = self.matched
        unpaired = [
            Skipped(file.path, "has no image of the same name", "Rename it, or move it away.")
            for file in self.unmatched
        ]
        unpaired += [
            Skipped(file.path, f"is a second file for {other.path}", "Keep one of them.")
            for other, file in matched.duplicates
        ]
        strays = [
            *self.skipped,
            *(
                Skipped(
                    file.path,
                    "lies with neither images nor masks or dense targets",
                    "Move it to them, or out of the data.",
                )
                for file in matched.strays
            ),
        ]
        findings = (*self._number_findings(), *_findings(unpaired, strays, self.unread, self.word))
        skipped = (*strays, *unpaired)
        # A map is counted as used with its image, a map of another kind as no data.
        used = self.used + sum(file is not None for file in self.maps)
        total = (
            len(matched.images) + sum(map(len, matched.maps.values())) + len(matched.strays) + len(matched.duplicates)
        )
        total += len(matched.skipped) + matched.no_data
        files = {
            "found": total,
            "used": used,
            "set aside": len(skipped),
            "no data": total - used - len(skipped),
        }
        return RawDataset(
            source=self.source,
            inputs={"image": self.source.input()},
            target=target,
            truth=None,
            annotations=annotations,
            recognised_as=recognised_as,
            given_splits=self.given_splits,
            groups=self.groups,
            findings=findings,
            skipped=skipped,
            files=files,
        )

    def _number_findings(self) -> list[Finding]:
        """The note that images and maps of other names are paired by number."""
        file = next((file for file in self.maps if file is not None), None)
        if not self.matched.by_number or file is None:
            return []
        image = self.matched.images[self.keys[self.maps.index(file)]].path
        return [
            Finding(
                kind="by-number",
                severity="note",
                message=f"Images and {self.word}s have different names; they are paired by the last number in them: "
                f"{image} with {file.path}",
            )
        ]

    @property
    def in_splits(self) -> str:
        """The clause on given splits for `RawDataset.recognised_as`."""
        if self.given_splits is None:
            return ""
        return f" in the given splits {', '.join(SPLITS[split] for split in sorted(set(self.given_splits.tolist())))}"


def fits(header: Header, size: tuple[int, int]) -> bool:
    """Whether a map of (height, width) fits the image, as displayed or as stored (before EXIF rotation)."""
    displayed = (header.height, header.width)
    return size == displayed or ("rotated" in header.notes and size == displayed[::-1])


def _splits(
    root: Path, keys: list[Key], annotated_keys: set[Key], word: str
) -> tuple[np.ndarray | None, list[Key], list[Key]]:
    """The splits of the folder, the keys of their images, and the keys in splits without any map."""
    split_folders = {key[0] for key in keys if len(key) > 1 and split_index(key[0]) is not None}
    if not split_folders:
        return None, keys, []
    annotated = {key[0] for key in annotated_keys}
    unannotated = [key for key in keys if key[0] in split_folders - annotated]
    keys = [key for key in keys if key[0] not in split_folders - annotated]
    others = sorted({key[0] for key in keys} - split_folders)
    if others:
        raise DataError(
            f"{root} has {', '.join(sorted(split_folders))} beside {', '.join(others[:3])}",
            "Keep only split folders, or none.",
        )
    given = np.array([split_index(key[0]) for key in keys], np.int64)
    if not (given == 0).any():
        raise DataError(f"{root} has {', '.join(sorted(split_folders))} but no train folder with a {word}", "Add one.")
    return given, keys, unannotated


def _listed(root: Path, keys: list[Key]) -> tuple[np.ndarray, list[Key], list[Key]] | None:
    """The splits from the lists of Pascal VOC, the keys of their images, and the keys in no list."""
    lists: dict[str, int] = {}
    for name, place in (("train", 0), ("val", 1), ("test", 2), ("trainval", 0)):
        file = root / _LISTS / f"{name}.txt"
        try:
            names = read_text(file).split() if LinkCheck(root).is_file(f"{_LISTS}/{name}.txt") else []
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file} cannot be read ({first_line(error)})", "Fix the file.") from error
        for line in names:
            if lists.setdefault(line, place) != place and name != "trainval":
                raise DataError(
                    f"{file} names {short_repr(line)}, which is in {SPLITS[lists[line]]} already",
                    "Keep each image in one split.",
                )
    if not lists:
        return None
    missing = sorted(set(lists) - {key[-1] for key in keys})
    if missing:
        raise DataError(
            f"{root / _LISTS} lists {len(missing)} missing images: {short_repr(missing[0])}",
            "Add them, or remove their names from the lists.",
        )
    listed = [key for key in keys if key[-1] in lists]
    return np.array([lists[key[-1]] for key in listed], np.int64), listed, [key for key in keys if key[-1] not in lists]


def _read_infos(root: Path, files: Sequence[File], reader: MapReader[H]) -> dict[str, H | UnusableFile]:
    """The properties of each map: from the cache while the file is unchanged, else read now."""
    index, by_path = FileIndex(root), {file.path: file for file in files}
    listed = index.lookup(reader.facts, by_path)
    infos: dict[str, H | UnusableFile] = {path: reader.from_json(json.loads(fact)) for path, fact in listed.items()}

    def read_info(path: str) -> H | UnusableFile:
        try:
            return reader.read_info(root / path)
        except UnusableFile as error:
            return error

    missing = [path for path in by_path if path not in infos]
    new_infos = dict(zip(missing, map_threads(read_info, missing), strict=True))
    index.store(
        reader.facts,
        by_path,
        {path: to_bytes(info) for path, info in new_infos.items() if not isinstance(info, UnusableFile)},
    )
    return {**infos, **new_infos}


def _findings(unpaired: Sequence[Skipped], strays: Sequence[Skipped], unread: int, word: str) -> tuple[Finding, ...]:
    findings = []
    if unpaired:
        findings.append(
            Finding(
                kind="no-partner",
                severity="error",
                remedy=unpaired[0].remedy,
                count=len(unpaired),
                message=f"{len(unpaired)} files have no image: {_first(unpaired)}",
                where=tuple(entry.path for entry in unpaired),
            )
        )
    if strays:
        findings.append(
            Finding(
                kind="stray",
                remedy=strays[0].remedy,
                count=len(strays),
                message=f"{len(strays)} files are skipped: {_first(strays)}",
                where=tuple(entry.path for entry in strays),
            )
        )
    if unread:
        findings.append(
            Finding(
                kind="unread",
                severity="note",
                count=unread,
                message=f"{unread:,} of the {word}s are checked only when they are trained on",
                remedy="Run `snellen data DATA --full` to check all of them.",
            )
        )
    return tuple(findings)


def _first(skipped: Sequence[Skipped]) -> str:
    return "; ".join(f"{entry.path} {entry.reason}" for entry in skipped[:3])

"""Pictures beside their maps: which belong together, of what size they are, what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from torch import Tensor

from snellen.core.errors import DataError, first_line, shown
from snellen.core.spec import Target
from snellen.core.views import Finding
from snellen.data.annotations import Annotations
from snellen.data.augment.dihedral import ORIENTATIONS, turned_truth
from snellen.data.dataset import SPLITS, RawDataset
from snellen.data.decode import image_decoder
from snellen.data.decode.frame_pairs import FramePairs
from snellen.data.decode.header import Header, Unusable
from snellen.data.decode.image_files import ImageFiles, in_threads, open_pictures
from snellen.data.file_index import File, Index, to_bytes
from snellen.data.formats import OpenOptions
from snellen.data.formats.image_folder import SPLIT_NAMES, group_ids
from snellen.data.formats.match_by_name import Key, Partners
from snellen.data.source import BadSamples, Skipped


class Held(Protocol):
    """What a map was found to hold: its size in pixels, and more."""

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...


H = TypeVar("H", bound=Held)
MOST_READ = 2_000  # maps that are read before learning; of more, so many, and the others when they are learned from
_LISTS = Path("ImageSets/Segmentation")
_PARTNER = "Give it one of the same name, or leave the picture out with --quarantine."
_SIZE = "A map has the size of its picture: mend one of them, or leave the picture out with --quarantine."


class Looking(NamedTuple, Generic[H]):
    """How a map is looked at. word: what it is called. look: path -> what it holds. known: the same out of JSON."""

    word: str
    look: Callable[[Path], H]
    known: Callable[[list[Any]], H]


class Pairs(Generic[H]):
    """The pictures of a folder with what was found of their maps.

    A picture whose map is missing or wrong has, in place of its header, what is wrong: so the check lists all of them
    at once, and sets them aside where that is asked for.

    Args:
        found: the files of the folder.
        maps: by the key of their picture, or of the first of two frames.
        seconds: the second frames by that key, where there are any.
        looking: how maps are looked at.
    """

    def __init__(
        self,
        root: Path,
        found: Partners,
        maps: dict[Key, File],
        looking: Looking[H],
        options: OpenOptions,
        seconds: dict[Key, File] | None = None,
    ) -> None:
        self.root = root
        self.found = found
        self.word = looking.word
        keys = sorted(found.pictures if seconds is None else seconds)
        self.given, self.keys, unjudged = _listed(root, keys) or _splits(root, keys, set(maps), looking.word)
        unknown = f"is in no list, or has no {self.word} as all of its split", "Nothing can be judged by it."
        self.aside = [*found.aside, *(Skipped(found.pictures[key].path, *unknown) for key in unjudged)]
        self.maps = [maps.get(key) for key in self.keys]
        self.lonely = [file for key, file in maps.items() if key not in set(keys)]
        first = open_pictures(root, [found.pictures[key] for key in self.keys], options.pages)
        self.source: ImageFiles | FramePairs = first
        self.used = len(self.keys)
        if seconds is not None:
            frames = [seconds[key] for key in self.keys]
            self.source = FramePairs(first, open_pictures(root, frames, options.pages))
            self.used = len({file.path for file in [*first.files, *frames]})
        self.groups = group_ids([file.path for file in first.files], options.group) if options.group else None
        if isinstance(self.source, FramePairs) and self.groups is None and self.given is None:
            self.groups = self.source.films()
        self.held: list[H | None] = [None] * len(self.keys)
        self.unread = self._look(looking, options.full)

    def _look(self, looking: Looking[H], full: bool) -> int:
        """Reads maps, all or `MOST_READ` of them, and says how many it left unread."""
        places = range(len(self.keys))
        if not full and len(places) > MOST_READ:
            places = range(0, len(places), -(-len(places) // MOST_READ))
        known = _held(self.root, [file for k in places if (file := self.maps[k]) is not None], looking)
        for k, file in enumerate(self.maps):
            held = known.get(file.path) if file is not None else None
            header = self.source.headers[k]
            if file is None:
                self.refuse(k, f"has no {self.word}", _PARTNER)
            elif isinstance(held, Unusable):
                self.refuse(k, f"has a {self.word}, {file.path}, that {held.cause}", held.remedy)
            elif held is not None:
                self.held[k] = held
                if isinstance(header, Header) and not fits(header, (held.height, held.width)):
                    self.refuse(
                        k,
                        f"is {header.width}x{header.height} pixels, its {self.word} {file.path} "
                        f"{held.width}x{held.height}",
                        _SIZE,
                    )
        return len(self.maps) - len(places)

    def refuse(self, k: int, cause: str, remedy: str) -> None:
        if isinstance(self.source.headers[k], Header):
            self.source.headers[k] = Unusable("corrupt", cause, remedy)

    def preprocessing(self, read: Callable[[Path], Tensor], target: Target | None) -> Callable[[int], Tensor]:
        """A function that reads the map of a picture, turned as the picture is.

        It raises BadSamples, with the file, where a map cannot be read or has another size than its picture.
        """

        def named(k: int) -> Tensor:
            file, header = self.maps[k], self.source.headers[k]
            assert file is not None
            assert isinstance(header, Header)
            try:
                values = read(self.root / file.path)
                height, width = values.shape[-2:]
                if not fits(header, (height, width)):
                    raise Unusable(
                        "corrupt", f"is {width}x{height} pixels, its picture {header.width}x{header.height}", _SIZE
                    )
                mirror, quarters = self._turn(k, header, (height, width))
            except Unusable as error:
                raise BadSamples({k: error.cause}, {k: file.path}) from error
            moved = turned_truth(values, target, width, height, mirror, quarters) if mirror or quarters else values
            assert isinstance(moved, Tensor)
            return moved

        return named

    def _turn(self, k: int, header: Header, size: tuple[int, int]) -> tuple[bool, int]:
        """How a map is to be turned: as the picture is, unless it has the turned picture's size already."""
        if "rotated" not in header.notes:
            return False, 0
        mirror, quarters = ORIENTATIONS.get(image_decoder.orientation(self.source.path(k)), (False, 0))
        lies_turned = quarters % 2 == 1 and size == (header.height, header.width) != (header.width, header.height)
        return (False, 0) if lies_turned else (mirror, quarters)

    def draft(self, target: Target, annotations: Annotations, recognised_as: str) -> RawDataset:
        found = self.found
        lost = [Skipped(file.path, "has no picture of its name", "Rename it, or move it away.") for file in self.lonely]
        lost += [
            Skipped(file.path, f"is a second file for {other.path}", "Keep one of them.")
            for other, file in found.doubled
        ]
        strays = [
            *self.aside,
            *(
                Skipped(file.path, "lies with neither pictures nor maps", "Move it to them, or out of the data.")
                for file in found.strays
            ),
        ]
        findings = _findings(lost, strays, self.unread, self.word)
        aside = (*strays, *lost)
        # A map is counted as used with its picture, a map of another kind as no data.
        used = self.used + sum(file is not None for file in self.maps)
        all_samples = len(found.pictures) + sum(map(len, found.maps.values())) + len(found.strays) + len(found.doubled)
        all_samples += len(found.aside) + found.no_data
        files = {
            "found": all_samples,
            "used": used,
            "set aside": len(aside),
            "no data": all_samples - used - len(aside),
        }
        return RawDataset(
            source=self.source,
            inputs={"image": self.source.input()},
            target=target,
            truth=None,
            annotations=annotations,
            recognised_as=recognised_as,
            given=self.given,
            groups=self.groups,
            findings=findings,
            aside=aside,
            files=files,
        )

    @property
    def in_splits(self) -> str:
        """Of the sentence that says what the folder was taken for."""
        if self.given is None:
            return ""
        return f" in the given splits {', '.join(SPLITS[split] for split in sorted(set(self.given.tolist())))}"


def fits(header: Header, size: tuple[int, int]) -> bool:
    """Whether a map of (height, width) is one of the picture, as the picture is seen or as it is stored."""
    seen = (header.height, header.width)
    return size == seen or ("rotated" in header.notes and size == seen[::-1])


def _splits(root: Path, keys: list[Key], told: set[Key], word: str) -> tuple[np.ndarray | None, list[Key], list[Key]]:
    """The splits that the folder has, the pictures in their order, and those in a split without any map."""
    tops = {key[0] for key in keys if len(key) > 1 and key[0].lower() in SPLIT_NAMES}
    if not tops:
        return None, keys, []
    judged = {key[0] for key in told}
    unjudged = [key for key in keys if key[0] in tops - judged]
    keys = [key for key in keys if key[0] not in tops - judged]
    beside = sorted({key[0] for key in keys} - tops)
    if beside:
        raise DataError(
            f"{root} has {', '.join(sorted(tops))} beside {', '.join(beside[:3])}",
            "Keep only folders of splits, or none.",
        )
    given = np.array([SPLIT_NAMES[key[0].lower()] for key in keys], np.int64)
    if not (given == 0).any():
        raise DataError(
            f"{root} has {', '.join(sorted(tops))} but no train folder with a {word}", "Add one to learn from."
        )
    return given, keys, unjudged


def _listed(root: Path, keys: list[Key]) -> tuple[np.ndarray, list[Key], list[Key]] | None:
    """The splits that the lists of Pascal VOC tell, the pictures in their order, and those in no list."""
    lists: dict[str, int] = {}
    for name, place in (("train", 0), ("val", 1), ("test", 2), ("trainval", 0)):
        file = root / _LISTS / f"{name}.txt"
        try:
            names = file.read_text("utf-8-sig").split() if file.is_file() else []
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file} cannot be read ({first_line(error)})", "Mend it.") from error
        for line in names:
            if lists.setdefault(line, place) != place and name != "trainval":
                raise DataError(
                    f"{file} names {shown(line)}, which is in {SPLITS[lists[line]]} already",
                    "A picture belongs to one split.",
                )
    if not lists:
        return None
    missing = sorted(set(lists) - {key[-1] for key in keys})
    if missing:
        raise DataError(
            f"{root / _LISTS} names {len(missing)} pictures that are not there: {shown(missing[0])}",
            "Add them, or take their names out of the lists.",
        )
    kept = [key for key in keys if key[-1] in lists]
    return np.array([lists[key[-1]] for key in kept], np.int64), kept, [key for key in keys if key[-1] not in lists]


def _held(root: Path, files: Sequence[File], looking: Looking[H]) -> dict[str, H | Unusable]:
    """What each map holds, remembered as long as the file stays the same, or read now."""
    index, by_path = Index(root), {file.path: file for file in files}
    kept = index.known(looking.word, by_path)
    known: dict[str, H | Unusable] = {path: looking.known(json.loads(fact)) for path, fact in kept.items()}

    def look(path: str) -> H | Unusable:
        try:
            return looking.look(root / path)
        except Unusable as error:
            return error

    missing = [path for path in by_path if path not in known]
    fresh = dict(zip(missing, in_threads(look, missing), strict=True))
    index.learn(
        looking.word, by_path, {path: to_bytes(held) for path, held in fresh.items() if not isinstance(held, Unusable)}
    )
    return {**known, **fresh}


def _findings(lost: Sequence[Skipped], strays: Sequence[Skipped], unread: int, word: str) -> tuple[Finding, ...]:
    findings = []
    if lost:
        findings.append(
            Finding(
                kind="no-partner",
                severity="error",
                remedy=lost[0].remedy,
                count=len(lost),
                message=f"{len(lost)} files belong to no picture: {_first(lost)}",
                where=tuple(entry.path for entry in lost),
            )
        )
    if strays:
        findings.append(
            Finding(
                kind="stray",
                remedy=strays[0].remedy,
                count=len(strays),
                message=f"{len(strays)} files are not used: {_first(strays)}",
                where=tuple(entry.path for entry in strays),
            )
        )
    if unread:
        findings.append(
            Finding(
                kind="unread",
                severity="note",
                count=unread,
                message=f"{unread:,} of the {word}s are looked at only as they are learned from",
                remedy="snellen data DATA --full looks at all of them.",
            )
        )
    return tuple(findings)


def _first(aside: Sequence[Skipped]) -> str:
    return "; ".join(f"{entry.path} {entry.reason}" for entry in aside[:3])

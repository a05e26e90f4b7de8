"""Pictures with masks or maps of their own size: `images/` beside `masks/`, `train/` beside `trainannot/`, and so on.

A mask holds classes (a class for every pixel) or instances (a number for every object). A map holds numbers: depth,
normals, edges, reflectance, flow. Which file goes with which is told by `partners`, what masks mean by `class_maps`,
how numbers are read by `number_maps`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError, UsageError, nearest
from snellen.core.spec import Boxes, PixelClasses, Target
from snellen.core.views import Finding
from snellen.data import decode
from snellen.data.annotations import Annotations, Maps, Truth, objects_of
from snellen.data.dataset import Draft
from snellen.data.formats import Asked, Format
from snellen.data.formats.class_maps import (
    IGNORED,
    STRANGER,
    Facts,
    Meaning,
    facts,
    mask_values,
    meaning,
    stranger,
)
from snellen.data.formats.folder import SPLIT_NAMES, group_ids
from snellen.data.formats.partners import Key, Partners, partners, recognised
from snellen.data.header import Header, Unusable
from snellen.data.index import File, Index, to_bytes, walk
from snellen.data.pictures import PictureFiles, in_threads, open_pictures
from snellen.data.source import Aside, BadSamples
from snellen.data.turning import ORIENTATIONS, turned

T = TypeVar("T")

KINDS = ("classes", "instances", "depth", "normals", "edges", "reflectance", "flow")
MASKS = ("classes", "instances")
MOST_OBJECTS = 20  # values of 8 bits that count up to more than this in a picture are objects
_PARTNER = "Give it one of the same name, or leave the picture out with --quarantine."


def open_draft(path: Path, asked: Asked) -> Draft:
    """Pictures with their maps.

    Raises:
        DataError: when there is no pair, maps of several kinds and none chosen, or masks that mean nothing.
        UsageError: for a target that no map tells.
    """
    if not path.is_dir():
        raise DataError(f"{path} is no folder", "Give the folder that holds pictures and masks.")
    found = partners(walk(path))
    kind = _kind(path, found, asked)
    if kind not in MASKS:
        raise DataError(f"{path}: maps of {kind} are not read yet", "Give masks.")
    maps = found.maps.get("classes" if "classes" in found.maps else "instances", {})
    pairs = Pairs(path, found, maps, asked)
    if kind == "classes" and not asked.target:
        kind, why = _tell(pairs, "instances" if "classes" not in found.maps else None)
    else:
        why = "as --target says"
    return _classes(pairs, why) if kind == "classes" else _instances(pairs, why)


def _kind(root: Path, found: Partners, asked: Asked) -> str:
    there = ["classes" if kind in MASKS else kind for kind in found.maps]
    if asked.target:
        kind = asked.target[0]
        if len(asked.target) > 1 or kind not in KINDS:
            raise UsageError(f"--target {','.join(asked.target)} is nothing that maps tell", nearest(kind, list(KINDS)))
        if kind not in (*there, "instances"):
            raise UsageError(f"{root} has no maps of {kind}", f"It has {', '.join(sorted(set(there))) or 'none'}.")
        return kind
    if not there or not found.pictures:
        raise DataError(f"{root} holds no picture with a map ({len(found.pictures)} pictures)",
                        "Lay masks beside images: images/a.jpg with masks/a.png.")
    if len(set(there)) > 1:
        raise DataError(f"{root} has maps of several kinds: {', '.join(sorted(set(there)))}",
                        f"Say which with --target {sorted(set(there))[0]}.")
    return there[0]


class Pairs:
    """The pictures of a folder with what was found of their masks.

    A picture whose mask is missing or wrong has, in place of its header, what is wrong: so the check lists all of
    them at once, and sets them aside where that is asked for.
    """

    def __init__(self, root: Path, found: Partners, maps: dict[Key, File], asked: Asked) -> None:
        self.root = root
        self.found = found
        self.given, self.keys, unjudged = _splits(root, found, maps)
        self.aside = [*found.aside, *unjudged]
        self.maps = [maps.get(key) for key in self.keys]
        self.source = open_pictures(root, [found.pictures[key] for key in self.keys], asked.pages)
        self.groups = group_ids([f.path for f in self.source.files], asked.group) if asked.group else None
        self.lonely = [file for key, file in maps.items() if key not in found.pictures]
        self.facts: list[Facts | None] = [None] * len(self.keys)
        self._look()

    def _look(self) -> None:
        """Reads every mask once; what it holds is remembered as long as the file stays the same."""
        known = _facts(self.root, [file for file in self.maps if file is not None])
        for k, (header, file) in enumerate(zip(self.source.headers, self.maps, strict=True)):
            if file is None:
                self.refuse(k, "has no mask", _PARTNER)
                continue
            held = known[file.path]
            if isinstance(held, Unusable):
                self.refuse(k, f"has a mask, {file.path}, that {held.cause}", held.remedy)
                continue
            self.facts[k] = held
            if isinstance(header, Header) and (wrong := other_size(header, (held.height, held.width))):
                self.refuse(k, f"is {header.width}x{header.height} pixels, its mask {file.path} {wrong}", _SIZE)

    def refuse(self, k: int, cause: str, remedy: str) -> None:
        if isinstance(self.source.headers[k], Header):
            self.source.headers[k] = Unusable("corrupt", cause, remedy)

    @property
    def values(self) -> list[int]:
        return sorted({v for held in self.facts if held is not None for v in held.values})

    @property
    def colours(self) -> bool:
        return any(held is not None and held.kind == "colours" for held in self.facts)

    def read(self, k: int) -> np.ndarray:
        """(H, W) int64 the mask of a picture, turned as the picture is."""
        file = self.maps[k]
        assert file is not None
        values = mask_values(self.root / file.path, self.colours)
        return as_turned(torch.from_numpy(values), self.source, k).numpy()

    def draft(self, target: Target, annotations: Annotations, taken_for: str) -> Draft:
        found, strays = self.found, [*self.aside]
        lost = [Aside(file.path, "has no picture of its name", "Rename it, or move it away.") for file in self.lonely]
        lost += [Aside(file.path, f"is a second file for {other.path}", "Keep one of them.")
                 for other, file in found.doubled]  # fmt: skip
        strays += [Aside(file.path, "lies with neither pictures nor masks", "Move it to them, or out of the data.")
                   for file in found.strays]  # fmt: skip
        findings = [_finding("no-partner", "error", lost)] if lost else []
        findings += [_finding("stray", "warning", strays)] if strays else []
        aside = (*strays, *lost)
        # A mask is counted as used with its picture, a map of another kind as no data.
        files = len(self.keys) + sum(file is not None for file in self.maps)
        everything = len(found.pictures) + sum(map(len, found.maps.values())) + len(found.strays) + len(found.doubled)
        rest = everything + len(found.aside) + found.no_data - files - len(aside)
        return Draft(source=self.source, inputs={"image": self.source.input()}, target=target, truth=None,
                     annotations=annotations, taken_for=f"image–mask pairs: {taken_for}", given=self.given,
                     groups=self.groups, findings=tuple(findings), aside=aside,
                     files={"found": files + len(aside) + rest, "used": files, "set aside": len(aside),
                            "no data": rest})  # fmt: skip


_SIZE = "A mask has the size of its picture: mend one of them, or leave the picture out with --quarantine."


def other_size(header: Header, size: tuple[int, int]) -> str:
    """What a map of (height, width) differs in from its picture; "" where it does not."""
    lying = (header.height, header.width)
    if size == lying or ("rotated" in header.notes and size == lying[::-1]):
        return ""
    return f"{size[1]}x{size[0]}"


def turn_of(source: PictureFiles, k: int, size: tuple[int, int]) -> tuple[bool, int]:
    """How the map of a picture is to be turned: as the picture is, unless it has the turned picture's size already."""
    header = source.headers[k]
    if not isinstance(header, Header) or "rotated" not in header.notes:
        return False, 0
    mirror, quarters = ORIENTATIONS.get(decode.orientation(source.path(k)), (False, 0))
    lies_turned = quarters % 2 == 1 and size == (header.height, header.width) != (header.width, header.height)
    return (False, 0) if lies_turned else (mirror, quarters)


def as_turned(values: Tensor, source: PictureFiles, k: int) -> Tensor:
    mirror, quarters = turn_of(source, k, (values.shape[-2], values.shape[-1]))
    return turned(values, mirror, quarters) if mirror or quarters else values


def _splits(root: Path, found: Partners, maps: dict[Key, File]) -> tuple[np.ndarray | None, list[Key], list[Aside]]:
    """The splits that the folder has, the pictures in their order, and those that nothing is known of."""
    keys = sorted(found.pictures)
    tops = {key[0] for key in keys if len(key) > 1 and key[0].lower() in SPLIT_NAMES}
    if not tops:
        return None, keys, []
    told = {key[0] for key in maps}
    unjudged = [key for key in keys if key[0] in tops and key[0] not in told]
    keys = [key for key in keys if key not in set(unjudged)]
    beside = sorted({key[0] for key in keys} - tops)
    if beside:
        raise DataError(f"{root} has {', '.join(sorted(tops))} beside {', '.join(beside[:3])}",
                        "Keep only folders of splits, or none.")
    given = np.array([SPLIT_NAMES[key[0].lower()] for key in keys], np.int64)
    if not (given == 0).any():
        raise DataError(f"{root} has {', '.join(sorted(tops))} but no train folder with masks",
                        "Add one to learn from.")
    aside = [Aside(found.pictures[key].path, "has no mask, as all of its split", "Nothing can be judged by it.")
             for key in unjudged]  # fmt: skip
    return given, keys, aside


def _facts(root: Path, files: Sequence[File]) -> dict[str, Facts | Unusable]:
    """What each mask holds, from the index or read now."""
    import json

    index, by_path = Index(root), {file.path: file for file in files}
    known: dict[str, Facts | Unusable] = {}
    for path, fact in index.known("mask", by_path).items():
        height, width, kind, values = json.loads(fact)
        known[path] = Facts(height, width, kind, tuple(values))

    def look(path: str) -> Facts | Unusable:
        try:
            return facts(root / path)
        except Unusable as error:
            return error

    missing = [path for path in by_path if path not in known]
    fresh = dict(zip(missing, in_threads(look, missing), strict=True))
    index.learn("mask", by_path, {p: to_bytes(list(held)) for p, held in fresh.items() if isinstance(held, Facts)})
    return {**known, **fresh}


def _finding(kind: str, severity: str, aside: Sequence[Aside]) -> Finding:
    first = "; ".join(f"{entry.path} {entry.reason}" for entry in aside[:3])
    assert severity in ("error", "warning")
    return Finding(kind=kind, message=f"{len(aside)} files are not used: {first}", remedy=aside[0].remedy,
                   severity="error" if severity == "error" else "warning",
                   where=tuple(entry.path for entry in aside), count=len(aside))


def _tell(pairs: Pairs, by_folder: str | None) -> tuple[str, str]:
    """Whether the masks hold classes or instances, and why."""
    if by_folder is not None:
        return by_folder, "as their folder says"
    held = [found for found in pairs.facts if found is not None]
    if any(found.kind == "deep" for found in held):
        return "instances", "masks of more than 8 bits"
    if pairs.colours:
        return "classes", "masks of colours"
    counted = all(set(found.values) | {0} == set(range(len(set(found.values) | {0}))) for found in held)
    tops = [max(found.values) for found in held]
    listed = any((pairs.root / name).is_file() for name in ("classes.txt", "labels.txt", "codes.txt"))
    if counted and not listed and len(set(tops)) > 1 and max(tops, default=0) > MOST_OBJECTS:
        return "instances", f"8-bit masks that count up to {max(tops)}, in every picture without a gap"
    return "classes", "8-bit masks of few values" if not listed else "masks with a list of classes"


def _classes(pairs: Pairs, why: str) -> Draft:
    values = pairs.values if pairs.colours else sorted({v & 255 if v > 0xFFFF else v for v in pairs.values})
    folders = sorted({file.path.rpartition("/")[0] for file in pairs.maps if file is not None})
    means = meaning(pairs.root, folders, values, pairs.colours)
    for k, held in enumerate(pairs.facts):
        file = pairs.maps[k]
        if held is not None and file is not None:
            here = held.values if held.kind != "grey" or pairs.colours else tuple(v & 255 for v in held.values)
            if strange := means.strangers(here):
                pairs.refuse(k, f"has a mask, {file.path}, with {stranger(strange, pairs.colours, means)}", STRANGER)

    def read(k: int) -> Tensor:
        return torch.from_numpy(means.classes(pairs.read(k)))

    maps = Maps(_naming(read, pairs), range(len(pairs.keys)))
    taken = (f"{len(pairs.keys):,} pictures with a class for every pixel, {len(means.names)} classes ({why}; "
             f"{means.said}){_given(pairs)}{_nothing(means, pairs)}; --target instances takes values for objects")
    return pairs.draft(PixelClasses(names=means.names), maps, taken)


def _instances(pairs: Pairs, why: str) -> Draft:
    held = [len([v for v in found.values if v]) if found is not None else 0 for found in pairs.facts]

    def read(k: int) -> Truth:
        return objects_of(torch.from_numpy(pairs.read(k)))

    taken = (f"{len(pairs.keys):,} pictures with {sum(held):,} objects ({why}): each value but 0 is one object, also "
             f"where its parts do not touch{_given(pairs)}; --target classes takes values for classes")
    annotations = InstanceMaps(_naming(read, pairs), held, range(len(pairs.keys)))
    return pairs.draft(Boxes(names=("object",), masks=True), annotations, taken)


class InstanceMaps:
    """Objects read from a mask for every picture; how many there are is known before.

    Args:
        read: number -> `Objects` with masks.
        held: how many objects the picture of each number has.
        places: which number each sample has.
    """

    def __init__(self, read: Callable[[int], Truth], held: Sequence[int], places: Sequence[int]) -> None:
        self.read = read
        self.held = held
        self.places = list(places)

    def __len__(self) -> int:
        return len(self.places)

    def of(self, id: int) -> Truth:
        return self.read(self.places[id])

    def subset(self, ids: np.ndarray) -> InstanceMaps:
        return InstanceMaps(self.read, self.held, [self.places[id] for id in ids.tolist()])

    def counts(self, ids: Tensor, classes: int) -> tuple[int, ...]:
        return (sum(self.held[self.places[id]] for id in ids.tolist()),)


def _naming(read: Callable[[int], T], pairs: Pairs) -> Callable[[int], T]:
    """Names the file where a mask that could be read once cannot be read any more."""

    def named(k: int) -> T:
        try:
            return read(k)
        except Unusable as error:
            file = pairs.maps[k]
            raise BadSamples({k: error.cause}, {k: file.path if file is not None else pairs.source.name(k)}) from error

    return named


def _given(pairs: Pairs) -> str:
    if pairs.given is None:
        return ""
    return f" in the given splits {', '.join(dict.fromkeys(key[0] for key in pairs.keys))}"


def _nothing(means: Meaning, pairs: Pairs) -> str:
    there = [*means.void, *([str(IGNORED)] if IGNORED in means.nothing and IGNORED in pairs.values else [])]
    return f"; {', '.join(there)} {'is' if len(there) == 1 else 'are'} no truth" if there else ""


FORMAT = Format("pairs", recognised, open_draft)

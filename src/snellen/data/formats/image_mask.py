"""Pictures with masks or maps of their own size: `images/` beside `masks/`, `train/` beside `trainannot/`, and so on.

A mask holds classes (a class for every pixel) or instances (a number for every object). A map holds numbers: depth,
normals, edges, reflectance, flow. Which file goes with which is told by `partners`, what masks mean by `class_maps`,
how numbers are read by `number_maps`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError, UsageError, nearest
from snellen.core.spec import Boxes, PixelClasses
from snellen.data.annotations import Maps, Truth, objects_of
from snellen.data.dataset import RawDataset
from snellen.data.file_index import walk
from snellen.data.formats import Format, OpenOptions
from snellen.data.formats.dense_targets import open_numbers
from snellen.data.formats.mask_values import (
    IGNORED,
    STRANGER,
    Facts,
    facts,
    listed_names,
    mask_values,
    meaning,
    stranger,
)
from snellen.data.formats.match_by_name import Partners, partners, recognised
from snellen.data.formats.pairing import Looking, Pairs

KINDS = ("classes", "instances", "depth", "normals", "edges", "reflectance", "flow")
MASKS = ("classes", "instances")
MOST_CLASSES = 20  # 8-bit values that count up to more than this in a picture are objects
_MASK = Looking("mask", facts, lambda plain: Facts(plain[0], plain[1], plain[2], tuple(plain[3])))


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Pictures with their maps.

    Raises:
        DataError: when there is no pair, maps of several kinds and none chosen, or masks that mean nothing.
        UsageError: for a target that no map tells.
    """
    if not path.is_dir():
        raise DataError(f"{path} is no folder", "Give the folder that holds pictures and masks.")
    found = partners(walk(path))
    kind = _kind(path, found, options)
    if kind not in MASKS:
        return open_numbers(path, found, kind, options)
    first = "instances" if options.target == ("instances",) or "classes" not in found.maps else "classes"
    from_folder = first if first in found.maps else "classes"
    pairs = Pairs(path, found, found.maps[from_folder], _MASK, options)
    kind, why = (kind, "as --target says") if options.target else _tell(pairs, from_folder)
    return _classes(pairs, why) if kind == "classes" else _instances(pairs, why)


def _kind(root: Path, found: Partners, options: OpenOptions) -> str:
    there = sorted({"masks" if kind in MASKS else kind for kind in found.maps})
    if options.target:
        kind = options.target[0]
        if len(options.target) > 1 or kind not in KINDS:
            raise UsageError(
                f"--target {','.join(options.target)} is nothing that maps tell", nearest(kind, list(KINDS))
            )
        if ("masks" if kind in MASKS else kind) not in there:
            raise UsageError(f"{root} has no maps of {kind}", f"It has {', '.join(there) or 'none'}.")
        return kind
    if not there or not found.pictures:
        raise DataError(
            f"{root} holds no picture with a map ({len(found.pictures)} pictures)",
            "Lay masks beside images: images/a.jpg with masks/a.png.",
        )
    if len(there) > 1:
        first = "classes" if there[0] == "masks" else there[0]
        raise DataError(f"{root} has maps of several kinds: {', '.join(there)}", f"Say which, as --target {first}.")
    return "classes" if there[0] == "masks" else there[0]


def _tell(pairs: Pairs[Facts], from_folder: str) -> tuple[str, str]:
    """Whether the masks hold classes or instances, and why."""
    if from_folder == "instances":
        return "instances", "as their folder says"
    held = [found for found in pairs.held if found is not None]
    if _colours(pairs):
        return "classes", "masks of colours"
    names = _names(pairs)
    largest = max((v for found in held for v in found.values if v != IGNORED), default=0)
    if len(names) == 1:
        return "instances", "one class is listed"
    deep = any(found.kind == "deep" for found in held)
    if names and (not deep or largest < len(names)):
        return "classes", "as listed"
    if deep:
        return "instances", "masks of more than 8 bits"
    tops = [max(found.values) for found in held]
    counted = all(set(found.values) | {0} == set(range(max(found.values) + 1)) for found in held)
    if counted and len(set(tops)) > 1 and max(tops) > MOST_CLASSES:
        return "instances", f"8-bit masks that count up to {max(tops)}, in every picture without a gap"
    return "classes", "8-bit masks of few values"


def _folders(pairs: Pairs[Facts]) -> list[str]:
    """Those that masks lie in: a list of classes may lie there, too."""
    return sorted({file.path.rpartition("/")[0] for file in pairs.maps if file is not None})


def _names(pairs: Pairs[Facts]) -> tuple[str, ...]:
    """The classes that are listed, if any."""
    listed = listed_names(pairs.root, _folders(pairs))
    return listed[0] if listed is not None else ()


def _colours(pairs: Pairs[Facts]) -> bool:
    return any(found is not None and found.kind == "colours" for found in pairs.held)


def _values(found: Facts, colours: bool) -> tuple[int, ...]:
    """The values of a mask; grey that is saved as colour counts as grey where no mask has colours."""
    return tuple(v & 255 for v in found.values) if found.kind == "grey" and not colours else found.values


def _classes(pairs: Pairs[Facts], why: str) -> RawDataset:
    colours = _colours(pairs)
    seen = sorted({v for found in pairs.held if found is not None for v in _values(found, colours)})
    means = meaning(pairs.root, _folders(pairs), seen, colours)
    for k, (found, file) in enumerate(zip(pairs.held, pairs.maps, strict=True)):
        if found is not None and file is not None and (strange := means.strangers(_values(found, colours))):
            pairs.refuse(k, f"has a mask, {file.path}, with {stranger(strange, colours, means)}", STRANGER)

    def read(path: Path) -> Tensor:
        return torch.from_numpy(means.classes(mask_values(path, colours)))

    nothing = [*means.void, *([str(IGNORED)] if IGNORED in means.nothing and IGNORED in seen else [])]
    no_truth = f"; {', '.join(nothing)} {'is' if len(nothing) == 1 else 'are'} no truth" if nothing else ""
    taken = (
        f"image–mask pairs: {len(pairs.keys):,} pictures with a class for every pixel, {len(means.names)} classes "
        f"({why}; {means.said}){pairs.in_splits}{no_truth}; --target instances takes values for objects"
    )
    maps = Maps(pairs.preprocessing(read, None), range(len(pairs.keys)))
    return pairs.draft(PixelClasses(names=means.names), maps, taken)


def _instances(pairs: Pairs[Facts], why: str) -> RawDataset:
    colours = _colours(pairs)
    held = [None if found is None else set(_values(found, colours)) - {0} for found in pairs.held]
    seen = set().union(*(values for values in held if values is not None))
    # In masks of 8 bits that count objects, 255 alone beyond the count is their outline, as in Pascal VOC.
    outline = seen > {IGNORED} and IGNORED - 1 not in seen and all(f is None or f.kind != "deep" for f in pairs.held)
    none = {IGNORED} if outline else set()
    read = pairs.preprocessing(lambda path: torch.from_numpy(mask_values(path, colours)), None)

    def objects(k: int) -> Truth:
        values = read(k)
        return objects_of(values.masked_fill(values == IGNORED, 0) if outline else values)

    def count(k: int) -> int:
        values = held[k]
        return len(objects_of(read(k)).labels) if values is None else len(values - none)

    told = sum(len(values - none) for values in held if values is not None)
    taken = (
        f"image–mask pairs: {len(pairs.keys):,} pictures with {'more than ' if pairs.unread else ''}{told:,} "
        f"objects ({why}): each value but 0{' and 255' if outline else ''} is one object, also where its parts do "
        f"not touch{pairs.in_splits}; --target classes takes values for classes"
    )
    annotations = InstanceMaps(objects, count, range(len(pairs.keys)))
    names = _names(pairs)
    return pairs.draft(Boxes(names=names if len(names) == 1 else ("object",), masks=True), annotations, taken)


class InstanceMaps:
    """Objects read from a mask for every picture.

    Args:
        read: number -> `Objects` with masks. count: number -> how many there are.
        places: which number each sample has.
    """

    def __init__(self, read: Callable[[int], Truth], count: Callable[[int], int], places: Sequence[int]) -> None:
        self.read = read
        self.count = count
        self.places = list(places)

    def __len__(self) -> int:
        return len(self.places)

    def of(self, id: int) -> Truth:
        return self.read(self.places[id])

    def subset(self, ids: np.ndarray) -> InstanceMaps:
        return InstanceMaps(self.read, self.count, [self.places[id] for id in ids.tolist()])

    def counts(self, ids: Tensor, classes: int) -> tuple[int, ...]:
        return (sum(self.count(self.places[id]) for id in ids.tolist()),)


FORMAT = Format("pairs", recognised, open_raw)

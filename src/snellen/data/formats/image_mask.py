"""Datasets of image–map pairs: `images/` beside `masks/`, `train/` beside `trainannot/`, and so on.

A mask holds classes (a class for every pixel) or instances (an id for every object). Other maps hold dense regression
targets: depth, normals, edges, reflectance, flow. Files are matched in `match_by_name`; mask values are interpreted in
`mask_values`; dense targets are decoded in `dense_targets`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError, UsageError, suggest_name
from snellen.core.spec import Boxes, PixelClasses
from snellen.core.views import Finding
from snellen.data.annotations import Annotation, MapAnnotations, objects_from_instance_map
from snellen.data.dataset import RawDataset
from snellen.data.file_index import walk
from snellen.data.formats import Format, OpenOptions
from snellen.data.formats.dense_targets import open_dense_targets
from snellen.data.formats.mask_thresholds import Threshold, find_threshold
from snellen.data.formats.mask_values import (
    COLOUR_FILES,
    IGNORE_VALUE,
    UNKNOWN_REMEDY,
    MaskClasses,
    MaskInfo,
    describe_unknown,
    infer_mask_classes,
    listed_colours,
    listed_names,
    mask_values,
    read_mask_info,
)
from snellen.data.formats.match_by_name import MatchedFiles, match_files, recognises
from snellen.data.formats.pairing import MapReader, PairedImages

KINDS = ("classes", "instances", "depth", "normals", "edges", "reflectance", "flow")
MASKS = ("classes", "instances")
_BY_TARGET = "by --target"
_MAX_IGNORED_FRACTION = 0.2  # of the pixels without ground truth, above which it is doubted
MAX_CLASSES = 20  # 8-bit masks with more consecutive values than this hold instances


def _mask_info(fields: list[Any]) -> MaskInfo:
    """The properties of a mask from the cache."""
    height, width, kind, values, counts, palette, lossy = fields
    return MaskInfo(height, width, kind, tuple(values), tuple(counts), tuple(palette), lossy)


_MASK = MapReader("mask", read_mask_info, _mask_info, "mask values")


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Images with their maps.

    Raises:
        DataError: no pair, several kinds of maps and none chosen, or masks that cannot be interpreted.
        UsageError: no map holds the target.
    """
    if not path.is_dir():
        raise DataError(f"{path} is not a folder", "Give the folder that holds images and masks.")
    matched = match_files(walk(path))
    kind = _kind(path, matched, options)
    if kind not in MASKS:
        return open_dense_targets(path, matched, kind, options)
    first = "instances" if options.target == ("instances",) or "classes" not in matched.maps else "classes"
    from_folder = first if first in matched.maps else "classes"
    pairs = PairedImages(path, matched, matched.maps[from_folder], _MASK, options)
    infos = [info for info in pairs.map_infos if info is not None]
    threshold = None
    if from_folder == "classes" and options.target != ("instances",):
        threshold = find_threshold(path, infos, _listed_names(pairs) or listed_colours(path, _folders(pairs)))
    if options.target:
        kind, reason = kind, _BY_TARGET
    elif threshold is not None:
        kind, reason = "classes", "two grey levels"
    else:
        kind, reason = _infer_kind(pairs, from_folder)
    return _classes(pairs, reason, threshold) if kind == "classes" else _instances(pairs, reason)


def _kind(root: Path, matched: MatchedFiles, options: OpenOptions) -> str:
    kinds = sorted({"masks" if kind in MASKS else kind for kind in matched.maps})
    if options.target:
        kind = options.target[0]
        if len(options.target) > 1 or kind not in KINDS:
            raise UsageError(
                f"--target {','.join(options.target)} is neither a kind of mask nor of dense target",
                suggest_name(kind, list(KINDS)),
            )
        if ("masks" if kind in MASKS else kind) not in kinds:
            raise UsageError(f"{root} has no masks or dense targets of {kind}", f"It has {', '.join(kinds) or 'none'}.")
        return kind
    if not kinds or not matched.images:
        raise DataError(
            f"{root} holds no image with a mask or dense target ({len(matched.images)} images)",
            "Put masks beside images: images/a.jpg with masks/a.png.",
        )
    if len(kinds) > 1:
        first = "classes" if kinds[0] == "masks" else kinds[0]
        raise DataError(
            f"{root} has masks or dense targets of several kinds: {', '.join(kinds)}",
            f"Choose one, e.g. --target {first}.",
        )
    return "classes" if kinds[0] == "masks" else kinds[0]


def _infer_kind(pairs: PairedImages[MaskInfo], from_folder: str) -> tuple[str, str]:
    """Whether the masks hold classes or instances, and the reason for messages."""
    if from_folder == "instances":
        return "instances", "by folder name"
    infos = [info for info in pairs.map_infos if info is not None]
    if _is_colour(pairs):
        return "classes", "colour masks"
    names = _listed_names(pairs)
    largest = max((v for info in infos for v in info.values if v != IGNORE_VALUE), default=0)
    if len(names) == 1:
        return "instances", "one listed class"
    is_deep = any(info.kind == "deep" for info in infos)
    if names and (not is_deep or largest < len(names)):
        return "classes", "by the class list"
    if is_deep:
        return "instances", "masks with more than 8 bits"
    largest_values = [max(info.values) for info in infos]
    is_consecutive = all(set(info.values) | {0} == set(range(max(info.values) + 1)) for info in infos)
    if is_consecutive and len(set(largest_values)) > 1 and max(largest_values) > MAX_CLASSES:
        return "instances", f"8-bit masks with consecutive values up to {max(largest_values)}"
    return "classes", "8-bit masks with few values"


def _folders(pairs: PairedImages[MaskInfo]) -> list[str]:
    """Folders of the masks: they may also hold a list of classes."""
    return sorted({file.path.rpartition("/")[0] for file in pairs.maps if file is not None})


def _listed_names(pairs: PairedImages[MaskInfo]) -> tuple[str, ...]:
    """The listed class names, if any."""
    listed = listed_names(pairs.root, _folders(pairs))
    return listed[0] if listed is not None else ()


def _is_colour(pairs: PairedImages[MaskInfo]) -> bool:
    return any(info is not None and info.kind == "colours" for info in pairs.map_infos)


def _grey_or_colour_values(info: MaskInfo, colours: bool) -> tuple[int, ...]:
    """The values of a mask. Grey saved as RGB counts as grey unless some mask is in colour."""
    return tuple(v & 255 for v in info.values) if info.kind == "grey" and not colours else info.values


def _classes(pairs: PairedImages[MaskInfo], reason: str, threshold: Threshold | None) -> RawDataset:
    colours = _is_colour(pairs)
    if reason != _BY_TARGET:
        _check_palettes(pairs)
    seen = sorted({v for info in pairs.map_infos if info is not None for v in _grey_or_colour_values(info, colours)})
    if threshold is None:
        mapping = infer_mask_classes(pairs.root, _folders(pairs), seen, colours)
    else:
        names = _listed_names(pairs) or ("background", "foreground")
        origin = f"values up to {threshold.value}, and above"
        mapping = MaskClasses(names, (seen[0], seen[-1]), (), origin, (), threshold.value)
    for k, (info, file) in enumerate(zip(pairs.map_infos, pairs.maps, strict=True)):
        if (
            info is not None
            and file is not None
            and (unknown := mapping.unknown_values(_grey_or_colour_values(info, colours)))
        ):
            pairs.mark_bad(
                k, f"has a mask, {file.path}, with {describe_unknown(unknown, colours, mapping)}", UNKNOWN_REMEDY
            )

    def read(path: Path) -> Tensor:
        return torch.from_numpy(mapping.classes(mask_values(path, colours)))

    is_ignored = not colours and IGNORE_VALUE in mapping.ignored and IGNORE_VALUE in seen
    fraction = _fraction(pairs, IGNORE_VALUE) if is_ignored else 0.0
    ignored = [*mapping.ignored_names, *([f"{IGNORE_VALUE} ({fraction:.1%} of the pixels)"] if is_ignored else [])]
    no_truth = f"; without ground truth: {', '.join(ignored)}" if ignored else ""
    recognised_as = (
        f"image–mask pairs: {len(pairs.keys):,} images with a class for every pixel, {len(mapping.names)} classes "
        f"({reason}; {mapping.origin}){pairs.in_splits}{no_truth}; --target instances reads values as objects"
    )
    maps = MapAnnotations(pairs.map_loader(read, None), range(len(pairs.keys)))
    raw = pairs.raw_dataset(PixelClasses(names=mapping.names), maps, recognised_as)
    findings = _value_findings(mapping, threshold, fraction)
    if is_ignored and threshold is None and not findings:
        findings = _mixed_value_findings(pairs)
    return dataclasses.replace(raw, findings=(*raw.findings, *findings))


def _fraction(pairs: PairedImages[MaskInfo], value: int) -> float:
    """The fraction of all pixels with a value."""
    infos = [info for info in pairs.map_infos if info is not None]
    count = sum(
        n for info in infos for v, n in zip(_grey_or_colour_values(info, False), info.counts, strict=True) if v == value
    )
    return count / max(1, sum(info.height * info.width for info in infos))


def _value_findings(mapping: MaskClasses, threshold: Threshold | None, fraction: float) -> list[Finding]:
    """Warnings on values that were changed, and on many pixels without ground truth."""
    if threshold is not None:
        return [
            Finding(
                kind="mask-values",
                message=f"The masks are read as {' and '.join(mapping.names)} by a threshold at {threshold.value}: "
                f"{threshold.reason}",
                remedy="Save masks as PNG, without smoothing.",
            )
        ]
    if fraction <= _MAX_IGNORED_FRACTION:
        return []
    return [
        Finding(
            kind="mask-values",
            message=f"The value {IGNORE_VALUE} is read as no ground truth, and {fraction:.0%} of the pixels have it",
            remedy=f"If it is a class, list all values in {COLOUR_FILES[0]}: name, r, g, b (grey has r = g = b).",
        )
    ]


def _mixed_value_findings(pairs: PairedImages[MaskInfo]) -> list[Finding]:
    """The warning that 255 is the only object value of some masks, and no value of the others: a second convention."""
    alone, without = list[str](), 0
    for info, file in zip(pairs.map_infos, pairs.maps, strict=True):
        if info is None or file is None:
            continue
        values = set(_grey_or_colour_values(info, False)) - {0}
        if values == {IGNORE_VALUE}:
            alone.append(file.path)
        elif IGNORE_VALUE in values:
            return []
        without += bool(values)
    if len(alone) < 2 or without == len(alone):
        return []
    return [
        Finding(
            kind="mask-values",
            message=f"The value {IGNORE_VALUE} is read as no ground truth, but in {len(alone):,} masks ({alone[0]} "
            "...) it is the only value besides 0, and no other mask has it: it may be the class there",
            remedy="Save all masks with the same values.",
            where=tuple(alone),
            count=len(alone),
        )
    ]


def _check_palettes(pairs: PairedImages[MaskInfo]) -> None:
    """Raise DataError if the palettes of two masks give one value different colours: the values are no classes then."""
    first: dict[int, tuple[int, str]] = {}
    for info, file in zip(pairs.map_infos, pairs.maps, strict=True):
        if info is None or file is None:
            continue
        for value, colour in zip(info.values, info.palette, strict=False):
            other, name = first.setdefault(value, (colour, file.path))
            if other != colour:
                raise DataError(
                    f"{pairs.root}: the palettes of the masks differ: value {value} is "
                    f"{_rgb(other)} in {name} and {_rgb(colour)} in {file.path}",
                    f"Save the masks as RGB and list the colours in {COLOUR_FILES[0]}, or save all with one palette; "
                    "--target classes reads the values in spite of the colours.",
                )


def _rgb(colour: int) -> tuple[int, int, int]:
    return colour >> 16, colour >> 8 & 255, colour & 255


def _instances(pairs: PairedImages[MaskInfo], reason: str) -> RawDataset:
    colours = _is_colour(pairs)
    values_of = [None if info is None else set(_grey_or_colour_values(info, colours)) - {0} for info in pairs.map_infos]
    seen = set().union(*(values for values in values_of if values is not None))
    # In 8-bit instance masks, an isolated 255 above the ids is the object outline, as in Pascal VOC.
    has_outline = (
        seen > {IGNORE_VALUE}
        and IGNORE_VALUE - 1 not in seen
        and all(f is None or f.kind != "deep" for f in pairs.map_infos)
    )
    ignored_values = {IGNORE_VALUE} if has_outline else set()
    read = pairs.map_loader(lambda path: torch.from_numpy(mask_values(path, colours)), None)

    def objects(k: int) -> Annotation:
        values = read(k)
        return objects_from_instance_map(values.masked_fill(values == IGNORE_VALUE, 0) if has_outline else values)

    def count(k: int) -> int:
        values = values_of[k]
        return len(objects_from_instance_map(read(k)).labels) if values is None else len(values - ignored_values)

    object_count = sum(len(values - ignored_values) for values in values_of if values is not None)
    recognised_as = (
        f"image–mask pairs: {len(pairs.keys):,} images with {'more than ' if pairs.unread else ''}{object_count:,} "
        f"objects ({reason}): each value except 0{' and 255' if has_outline else ''} is one object, even if its "
        f"parts are separate{pairs.in_splits}; --target classes reads values as classes"
    )
    annotations = InstanceMaps(objects, count, range(len(pairs.keys)))
    names = _listed_names(pairs)
    return pairs.raw_dataset(
        Boxes(names=names if len(names) == 1 else ("object",), masks=True), annotations, recognised_as
    )


class InstanceMaps:
    """Objects read from one instance mask for each image.

    Args:
        read: number -> `GroundTruth` with masks. count: number -> how many there are.
        places: the number of each sample.
    """

    def __init__(self, read: Callable[[int], Annotation], count: Callable[[int], int], numbers: Sequence[int]) -> None:
        self.read = read
        self.count = count
        self.numbers = list(numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def load(self, id: int) -> Annotation:
        return self.read(self.numbers[id])

    def subset(self, ids: np.ndarray) -> InstanceMaps:
        return InstanceMaps(self.read, self.count, [self.numbers[id] for id in ids.tolist()])

    def counts(self, ids: Tensor, classes: int) -> tuple[int, ...]:
        return (sum(self.count(self.numbers[id]) for id in ids.tolist()),)


FORMAT = Format("pairs", recognises, open_raw, any_depth=True)

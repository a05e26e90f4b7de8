"""Mask values: classes by index or by colour, or instance ids.

Names come from `classes.txt` (or labels, codes): one on each line, the first is value 0. Colours come from a table of
name, r, g, b, or from lines of three numbers and a name. 255 and classes named unlabelled, void or ignore are ignored.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from snellen.core.errors import DataError
from snellen.core.input_files import read_text
from snellen.data.decode import image_decoder
from snellen.data.decode.header import UnusableFile
from snellen.data.file_index import LinkCheck

_SPACED = re.compile(r"\s*(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})\s+(\S.*?)\s*")  # 128 0 0 road
_MAX_LINE = 1000  # characters of a line with a colour; the pattern is quadratic in the length
NAME_FILES = ("classes.txt", "labels.txt", "codes.txt", "class_names.txt")
COLOUR_FILES = ("class_dict.csv", "classes.csv", "label_colors.txt", "labelmap.txt", "colors.txt")
IGNORED_NAMES = frozenset(
    {"unlabelled", "unlabeled", "void", "ignore", "ignored", "unknown", "dont-care", "don't care"}
)
IGNORE_VALUE = 255
_MAX_ID = 2**31  # limit of instance ids stored as floats
_MIN_GREY_STEP = 16  # smallest difference of grey levels that stand for classes
MAX_COLOURS = 4096  # distinct colours of a mask; more mean that it is an image


class MaskInfo(NamedTuple):
    """Size, kind and distinct values of a mask.

    kind: "indices" (8 bits), "deep" (more than 8 bits), "colours", or "grey" saved as RGB. The value of a colour is
    r << 16 | g << 8 | b. counts: pixels of each value. palette: the colour of each value, if the file has a palette.
    lossy: whether the file format changes values.
    """

    height: int
    width: int
    kind: str
    values: tuple[int, ...]
    counts: tuple[int, ...]
    palette: tuple[int, ...] = ()
    lossy: bool = False


class MaskClasses(NamedTuple):
    """Mapping of mask values to classes.

    values: the value of each class. ignored: values without ground truth. ignored_names: names of those listed with a
    name. origin: where the mapping is from, for messages. threshold: values up to it are the first of two classes.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    ignored: tuple[int, ...]
    origin: str
    ignored_names: tuple[str, ...] = ()
    threshold: int | None = None

    def unknown_values(self, values: Sequence[int]) -> list[int]:
        """The values that are neither a class nor ignored."""
        return [] if self.threshold is not None else sorted(set(values) - set(self.values) - set(self.ignored))

    def classes(self, mask: np.ndarray) -> np.ndarray:
        """Map (H, W) values to (H, W) int64 classes, -1 for ignored pixels.

        Raises:
            UnusableFile: a value is not a class; the message names it.
        """
        if self.threshold is not None:
            return (mask > self.threshold).astype(np.int64)
        order = np.argsort(self.values)
        known = np.asarray(self.values)[order]
        position = np.searchsorted(known, mask).clip(max=len(known) - 1)
        indices = np.where(known[position] == mask, order[position], -1)
        if (indices < 0).any() and (unknown_values := self.unknown_values(np.unique(mask[indices < 0]).tolist())):
            raise UnusableFile("corrupt", describe_unknown(unknown_values, mask.max() > 0xFFFF, self), UNKNOWN_REMEDY)
        classes: np.ndarray = indices.astype(np.int64)
        return classes


UNKNOWN_REMEDY = "Fix the mask or the list of classes, or skip the image with --quarantine."


def describe_unknown(values: Sequence[int], colours: bool, mask_classes: MaskClasses) -> str:
    shown = [str((v >> 16, v >> 8 & 255, v & 255)) if colours else str(v) for v in values[:3]]
    more = f" and {len(values) - 3} more" if len(values) > 3 else ""
    return (
        f"the value {', '.join(shown)}{more}, not one of the {len(mask_classes.names)} classes ({mask_classes.origin})"
    )


def mask_values(path: Path, colours: bool) -> np.ndarray:
    """Mask values, (H, W) int64: indices, or colours packed into one integer.

    Raises:
        UnusableFile: the file is not a mask.
    """
    stored = _to_integers(image_decoder.read_raw_values(path))
    if stored.ndim == 2:
        return stored
    packed: np.ndarray = stored[..., 0] << 16 | stored[..., 1] << 8 | stored[..., 2]
    if colours:
        return packed
    if not _grey(stored):
        raise UnusableFile("corrupt", "is in colour, the other masks are not", "Save all masks the same way.")
    return stored[..., 0]


def read_mask_info(path: Path) -> MaskInfo:
    """Read size, kind and distinct values of a mask.

    Raises:
        UnusableFile: the file is not a mask.
    """
    raw = image_decoder.read_raw_values(path)
    stored = _to_integers(raw)
    if stored.ndim == 2:
        kind = "indices" if raw.dtype == np.uint8 else "deep"
        values, counts = np.unique(stored, return_counts=True)
    else:
        kind = "grey" if _grey(stored) else "colours"
        values, counts = np.unique(stored[..., 0] << 16 | stored[..., 1] << 8 | stored[..., 2], return_counts=True)
        if len(values) > MAX_COLOURS:
            raise UnusableFile(
                "corrupt",
                f"has {len(values):,} colours: it is an image, not a mask",
                "Save masks as PNG: JPEG changes values.",
            )
    colours = image_decoder.palette(path) if kind == "indices" else ()
    return MaskInfo(
        stored.shape[0],
        stored.shape[1],
        kind,
        tuple(values.tolist()),
        tuple(counts.tolist()),
        tuple(colours[value] if value < len(colours) else -1 for value in values.tolist()) if colours else (),
        image_decoder.is_lossy(path),
    )


def _grey(stored: np.ndarray) -> bool:
    return bool((stored == stored[..., :1]).all())


def _to_integers(stored: np.ndarray) -> np.ndarray:
    """A mask as int64, (H, W) or (H, W, 3). Raises UnusableFile if it does not hold integers."""
    if stored.dtype.kind == "f" and not ((np.abs(stored) < _MAX_ID).all() and (stored == np.rint(stored)).all()):
        raise UnusableFile(
            "corrupt",
            "holds fractions, NaN or huge numbers: it is not a mask",
            "Save masks as whole numbers, as PNG does.",
        )
    if stored.ndim == 3 and (stored.shape[2] != 3 or stored.dtype != np.uint8):
        raise UnusableFile(
            "corrupt",
            f"has {stored.shape[2]} channels of {stored.dtype}: it is not a mask",
            "Save it with one channel, or as 8-bit RGB.",
        )
    integers: np.ndarray = stored.astype(np.int64)
    if integers.size and integers.min() < 0:
        raise UnusableFile("corrupt", f"holds the value {integers.min()}", "Use mask values >= 0.")
    return integers


def infer_mask_classes(root: Path, folders: Sequence[str], seen: Sequence[int], colours: bool) -> MaskClasses:
    """The mapping of mask values to classes: from lists in the folder, else inferred from the values.

    Args:
        folders: folders, relative to the root, searched for lists of names and colours.
        seen: all values in the masks.
    Raises:
        DataError: colours without a table, an unreadable table, or only one class.
    """
    if colours:
        mapping = _colour_table(root, folders)
        if mapping is None:
            raise DataError(
                f"{root}: the masks are in colour, and no table maps colours to classes",
                f"Add {COLOUR_FILES[0]} with the columns name, r, g, b.",
            )
        return mapping
    table = _colour_table(root, folders)
    if table is not None and all(value % 0x010101 == 0 for value in (*table.values, *table.ignored)):
        return table._replace(
            values=tuple(value & 255 for value in table.values), ignored=tuple(value & 255 for value in table.ignored)
        )
    names = listed_names(root, folders)
    binary = set(seen) == {0, IGNORE_VALUE} and (names is None or len(names[0]) == 2)
    levels = sorted(seen) if _are_grey_levels(seen) else sorted(set(seen) - {IGNORE_VALUE})
    if names is None:
        selected = levels if not binary else [0, IGNORE_VALUE]
        is_pair = len(selected) == 2 and selected[0] == 0
        class_names = ("background", "foreground") if is_pair else tuple(map(str, selected))
        values, origin = (
            tuple(selected),
            f"the values {', '.join(map(str, selected[:12]))}{' ...' if len(selected) > 12 else ''}",
        )
    else:
        class_names, origin = names
        values = (0, IGNORE_VALUE) if binary else tuple(range(len(class_names)))
        if _are_grey_levels(seen) and len(levels) == len(class_names):
            values, origin = tuple(levels), f"{origin}, in the order of the values {', '.join(map(str, levels))}"
    ignored = () if IGNORE_VALUE in values else (IGNORE_VALUE,)
    return _without_ignored(class_names, values, ignored, origin, root)


def _are_grey_levels(seen: Sequence[int]) -> bool:
    """Whether 255 is a class as the other values are: all are far apart, as grey levels are and class indices not."""
    values = sorted(set(seen))
    gaps = [b - a for a, b in itertools.pairwise(values)]
    return len(values) > 2 and values[-1] == IGNORE_VALUE and min(gaps) >= _MIN_GREY_STEP


def _without_ignored(
    names: Sequence[str], values: Sequence[int], ignored: Sequence[int], origin: str, root: Path
) -> MaskClasses:
    is_ignored = [name.lower() in IGNORED_NAMES or name.lower().startswith("background-ignore") for name in names]
    selected = [(n, v) for n, v, skip in zip(names, values, is_ignored, strict=True) if not skip]
    removed = [v for v, skip in zip(values, is_ignored, strict=True) if skip]
    if len(selected) < 2:
        raise DataError(
            f"{root}: the masks have {len(selected)} classes ({origin}): at least two are needed",
            "Add a second class, or read values as objects with --target instances.",
        )
    removed_names = tuple(f"{n} ({v})" for n, v, skip in zip(names, values, is_ignored, strict=True) if skip)
    return MaskClasses(
        tuple(n for n, _ in selected), tuple(v for _, v in selected), (*removed, *ignored), origin, removed_names
    )


def listed_names(root: Path, folders: Sequence[str]) -> tuple[tuple[str, ...], str] | None:
    """The class names from a list, one on each line, and its file; None without a list."""
    for file in _files(root, folders, NAME_FILES):
        names = tuple(line.strip() for line in _text(file).splitlines() if line.strip())
        if names:
            if len(set(names)) < len(names):
                raise DataError(f"{file} lists a class twice", "Give every class a unique name.")
            return names, file.relative_to(root).as_posix()
    return None


def listed_colours(root: Path, folders: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes in a table of colours; none without a table."""
    table = _colour_table(root, folders)
    return () if table is None else table.names


def _colour_table(root: Path, folders: Sequence[str]) -> MaskClasses | None:
    for file in _files(root, folders, COLOUR_FILES):
        rows = [row for line in _text(file).splitlines() if (row := _colour_row(line)) is not None]
        if not rows:
            raise DataError(f"{file} has no line with a name and three numbers", "Write for example: road,128,64,128")
        names, colours = zip(*rows, strict=True)
        if len(set(colours)) < len(colours) or len(set(names)) < len(names):
            raise DataError(f"{file} has a name or a colour twice", "Give every class a unique name and colour.")
        return _without_ignored(names, colours, (), file.relative_to(root).as_posix(), root)
    return None


def _colour_row(line: str) -> tuple[str, int] | None:
    """A name and its colour, from `name,r,g,b`, `r g b name`, or `name:r,g,b::`."""
    cells = [cell.strip() for row in csv.reader([line]) for part in row for cell in re.split(r"[\t:]+|\s{2,}", part)]
    numbers = [int(cell) for cell in cells if re.fullmatch(r"\d{1,3}", cell)]
    names = [cell for cell in cells if cell and not re.fullmatch(r"\d+", cell)]
    if len(numbers) != 3 and len(line) <= _MAX_LINE and (spaced := _SPACED.fullmatch(line)):
        numbers, names = [int(spaced[k]) for k in (1, 2, 3)], [spaced[4]]
    if len(numbers) != 3 or not names or max(numbers) > 255:
        return None
    return names[0], numbers[0] << 16 | numbers[1] << 8 | numbers[2]


def _files(root: Path, folders: Sequence[str], names: Sequence[str]) -> list[Path]:
    places = [Path(folder, name).as_posix() for name in names for folder in ("", *folders)]
    return [root / place for place in places if LinkCheck(root).is_file(place)]


def _text(file: Path) -> str:
    try:
        return read_text(file)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}", "Save it as UTF-8 text.") from error

"""What the values of masks mean: classes by index or by colour, or one object each.

Names come from `classes.txt` (or labels, codes): one a line, the first is value 0. Colours come from a table of name,
r, g, b, or from lines of three numbers and a name. 255 and classes called unlabelled, void or ignore are no truth.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from snellen.core.errors import DataError
from snellen.data.decode import image_decoder
from snellen.data.decode.header import Unusable

NAME_FILES = ("classes.txt", "labels.txt", "codes.txt", "class_names.txt")
COLOUR_FILES = ("class_dict.csv", "classes.csv", "label_colors.txt", "labelmap.txt", "colors.txt")
NOTHING = frozenset({"unlabelled", "unlabeled", "void", "ignore", "ignored", "unknown", "dont-care", "don't care"})
IGNORED = 255
_LARGEST = 2**31  # above which a whole number in floats is no number of an object
MANY = 4096  # values of a mask that are told one by one


class Facts(NamedTuple):
    """What a mask holds.

    kind: "indices" of 8 bits, "deep" of more, "colours", or "grey" that is saved as colour. A colour's value is
    r << 16 | g << 8 | b.
    """

    height: int
    width: int
    kind: str
    values: tuple[int, ...]


class Meaning(NamedTuple):
    """What every value of the masks means.

    values: that of each class. nothing: those without truth; void: which of them have names. said: where it is from.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    nothing: tuple[int, ...]
    said: str
    void: tuple[str, ...] = ()

    def strangers(self, values: Sequence[int]) -> list[int]:
        """The values that are neither a class nor known to be none."""
        return sorted(set(values) - set(self.values) - set(self.nothing))

    def classes(self, mask: np.ndarray) -> np.ndarray:
        """(H, W) values to (H, W) int64 classes, -1 for no truth.

        Raises:
            Unusable: naming a value that is no class.
        """
        order = np.argsort(self.values)
        known = np.asarray(self.values)[order]
        place = np.searchsorted(known, mask).clip(max=len(known) - 1)
        found = np.where(known[place] == mask, order[place], -1)
        if (found < 0).any() and (strangers := self.strangers(np.unique(mask[found < 0]).tolist())):
            raise Unusable("corrupt", stranger(strangers, mask.max() > 0xFFFF, self), STRANGER)
        classes: np.ndarray = found.astype(np.int64)
        return classes


STRANGER = "Mend the mask or the list of classes, or leave the picture out with --quarantine."


def stranger(values: Sequence[int], colours: bool, meaning: Meaning) -> str:
    shown = [str((v >> 16, v >> 8 & 255, v & 255)) if colours else str(v) for v in values[:3]]
    more = f" and {len(values) - 3} more" if len(values) > 3 else ""
    return f"the value {', '.join(shown)}{more}, which is none of the {len(meaning.names)} classes ({meaning.said})"


def mask_values(path: Path, colours: bool) -> np.ndarray:
    """(H, W) int64 of a mask: indices, or colours packed into one number.

    Raises:
        Unusable: for a file that is no mask.
    """
    stored = _whole(image_decoder.stored(path))
    if stored.ndim == 2:
        return stored
    packed: np.ndarray = stored[..., 0] << 16 | stored[..., 1] << 8 | stored[..., 2]
    if colours:
        return packed
    if not _grey(stored):
        raise Unusable("corrupt", "is in colours, the other masks are not", "Save all masks alike.")
    return stored[..., 0]


def facts(path: Path) -> Facts:
    """What a mask holds.

    Raises:
        Unusable: for a file that is no mask.
    """
    held = image_decoder.stored(path)
    stored = _whole(held)
    if stored.ndim == 2:
        kind = "indices" if held.dtype == np.uint8 else "deep"
        values = np.unique(stored)
    else:
        kind = "grey" if _grey(stored) else "colours"
        values = np.unique(stored[..., 0] << 16 | stored[..., 1] << 8 | stored[..., 2])
        if len(values) > MANY:
            raise Unusable(
                "corrupt",
                f"has {len(values):,} colours: it is a picture and no mask",
                "Save masks as PNG: JPEG changes values.",
            )
    return Facts(stored.shape[0], stored.shape[1], kind, tuple(values.tolist()))


def _grey(stored: np.ndarray) -> bool:
    return bool((stored == stored[..., :1]).all())


def _whole(stored: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3) int64."""
    if stored.dtype.kind == "f" and not ((np.abs(stored) < _LARGEST).all() and (stored == np.rint(stored)).all()):
        raise Unusable(
            "corrupt",
            "holds fractions, NaN or huge numbers: it is no mask",
            "Save masks as whole numbers, as PNG does.",
        )
    if stored.ndim == 3 and (stored.shape[2] != 3 or stored.dtype != np.uint8):
        raise Unusable(
            "corrupt",
            f"has {stored.shape[2]} channels of {stored.dtype}: it is no mask",
            "Save it with one channel, or as RGB of 8 bits.",
        )
    whole: np.ndarray = stored.astype(np.int64)
    if whole.size and whole.min() < 0:
        raise Unusable("corrupt", f"holds the value {whole.min()}", "Values of masks begin with 0.")
    return whole


def meaning(root: Path, folders: Sequence[str], seen: Sequence[int], colours: bool) -> Meaning:
    """What values mean as the folder tells it, else as they look.

    Args:
        folders: where lists of names and colours are looked for, below the root.
        seen: all values in the masks.
    Raises:
        DataError: for colours without a table, a table that cannot be read, or one class only.
    """
    if colours:
        found = _colour_table(root, folders)
        if found is None:
            raise DataError(
                f"{root}: the masks are colours, and no table says what they mean",
                f"Add {COLOUR_FILES[0]} with the columns name, r, g, b.",
            )
        return found
    names = listed_names(root, folders)
    binary = set(seen) == {0, IGNORED} and (names is None or len(names[0]) == 2)
    if names is None:
        kept = sorted(set(seen) - {IGNORED}) if not binary else [0, IGNORED]
        two = len(kept) == 2 and kept[0] == 0
        listed = ("background", "foreground") if two else tuple(map(str, kept))
        values, said = tuple(kept), f"the values {', '.join(map(str, kept[:12]))}{' ...' if len(kept) > 12 else ''}"
    else:
        listed, said = names
        values = (0, IGNORED) if binary else tuple(range(len(listed)))
    nothing = () if IGNORED in values else (IGNORED,)
    return _without_nothing(listed, values, nothing, said, root)


def _without_nothing(
    names: Sequence[str], values: Sequence[int], nothing: Sequence[int], said: str, root: Path
) -> Meaning:
    void = [name.lower() in NOTHING or name.lower().startswith("background-ignore") for name in names]
    kept = [(n, v) for n, v, none in zip(names, values, void, strict=True) if not none]
    gone = [v for v, none in zip(values, void, strict=True) if none]
    if len(kept) < 2:
        raise DataError(
            f"{root}: the masks have {len(kept)} classes ({said}): there is nothing to tell apart",
            "Give a second class, or take values for objects with --target instances.",
        )
    gone_names = tuple(f"{n} ({v})" for n, v, none in zip(names, values, void, strict=True) if none)
    return Meaning(tuple(n for n, _ in kept), tuple(v for _, v in kept), (*gone, *nothing), said, gone_names)


def listed_names(root: Path, folders: Sequence[str]) -> tuple[tuple[str, ...], str] | None:
    """The names that a list tells, one a line, and its file; None where there is no list."""
    for file in _files(root, folders, NAME_FILES):
        names = tuple(line.strip() for line in _text(file).splitlines() if line.strip())
        if names:
            if len(set(names)) < len(names):
                raise DataError(f"{file} names a class twice", "Give every class a name of its own.")
            return names, file.relative_to(root).as_posix()
    return None


def _colour_table(root: Path, folders: Sequence[str]) -> Meaning | None:
    for file in _files(root, folders, COLOUR_FILES):
        rows = [found for line in _text(file).splitlines() if (found := _colour_row(line)) is not None]
        if not rows:
            raise DataError(f"{file} has no line of a name and three numbers", "Write for example: road,128,64,128")
        names, colours = zip(*rows, strict=True)
        if len(set(colours)) < len(colours) or len(set(names)) < len(names):
            raise DataError(f"{file} has a name or a colour twice", "Give every class one colour of its own.")
        return _without_nothing(names, colours, (), file.relative_to(root).as_posix(), root)
    return None


def _colour_row(line: str) -> tuple[str, int] | None:
    """A name and its colour, from `name,r,g,b`, `r g b name`, or `name:r,g,b::`."""
    cells = [cell.strip() for row in csv.reader([line]) for part in row for cell in re.split(r"[\t:]+|\s{2,}", part)]
    numbers = [int(cell) for cell in cells if re.fullmatch(r"\d{1,3}", cell)]
    names = [cell for cell in cells if cell and not re.fullmatch(r"\d+", cell)]
    if len(numbers) != 3 and (spaced := re.fullmatch(r"\s*(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})\s+(\S.*?)\s*", line)):
        numbers, names = [int(spaced[k]) for k in (1, 2, 3)], [spaced[4]]
    if len(numbers) != 3 or not names or max(numbers) > 255:
        return None
    return names[0], numbers[0] << 16 | numbers[1] << 8 | numbers[2]


def _files(root: Path, folders: Sequence[str], names: Sequence[str]) -> list[Path]:
    return [file for name in names for folder in ("", *folders) if (file := root / folder / name).is_file()]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}", "Save it as UTF-8 text.") from error

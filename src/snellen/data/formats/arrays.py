"""Named arrays in one file, NPZ or HDF5: which are the inputs, which the targets, and how their axes are read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError, UsageError, nearest
from snellen.core.spec import Classes, Input, Labels, Modality, Numbers, Target
from snellen.core.views import Finding
from snellen.data.dataset import RawDataset
from snellen.data.formats import Format, OpenOptions
from snellen.data.formats.array_files import HDF5, NPZ, ArrayFile, Slices, arrange, at_depth, open_arrays
from snellen.data.formats.table_targets import FEWEST_A_CLASS, KINDS, MOST_WHOLE_CLASSES
from snellen.data.source import Array, Source

_INPUTS = ("x", "images", "image", "imgs", "data", "inputs", "input", "features")
_TARGETS = ("y", "labels", "label", "targets", "target")
_SPLITS = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "test": 2}
_MOST_CLASSES = 10_000
_NAMES = "Usual names are x and y, images and labels, data and target, with _train, _val or _test for splits."


class Part(NamedTuple):
    """The arrays of one split: its place in SPLITS (None: not split), the input, the targets."""

    split: int | None
    x: str
    y: tuple[str, ...]


def recognises(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (*NPZ, *HDF5)


def role(name: str) -> tuple[int | None, str]:
    """ "x_train", "train_x", "train/x" or "xtrain" to the split and what is left of the name."""
    words = [word for word in re.split(r"[_./\-\s]+", name.lower()) if word]
    split = next((_SPLITS[word] for word in words if word in _SPLITS), None)
    rest = "_".join(word for word in words if word not in _SPLITS)
    return split, rest


def parts_of(file: ArrayFile, options: Sequence[str]) -> list[Part]:
    """Pairs inputs with targets, by the names asked for, else by the usual ones.

    Raises:
        DataError: no input, no target, or more than one candidate for either.
        UsageError: a target that is no array.
    """
    roles = {name: role(name) for name in file.shapes}
    wanted = options or [word for word in _TARGETS if any(rest == word for _, rest in roles.values())][:1]
    if not wanted:
        raise DataError(
            f"{file.path} has no array that is the target by its name; it holds {file.listing()}",
            f"Name it with --target. {_NAMES}",
        )
    parts = []
    for split in sorted({split for split, _ in roles.values()}, key=lambda split: -1 if split is None else split):
        here = {name: rest for name, (where, rest) in roles.items() if where == split}
        y = tuple(name for word in wanted for name, rest in here.items() if word == name or word.lower() == rest)
        if not y:
            continue
        length = file.shapes[y[0]][:1]
        free = [name for name in here if name not in y and len(file.shapes[name]) and name not in options]
        typical_size = [name for word in _INPUTS for name in free if here[name] == word]
        equal = [name for name in free if file.shapes[name][:1] == length and file.is_numeric(name)]
        x = typical_size[:1] or (equal if len(equal) == 1 else [])
        if not x:
            raise DataError(
                f"{file.path} has {len(equal)} arrays that may be the input of {y[0]!r}: {file.listing()}",
                f"Name the input x. {_NAMES}",
            )
        parts.append(Part(split, x[0], y))
    found = {name for part in parts for name in part.y}
    lost = [word for word in options if not any(word == name or word.lower() == roles[name][1] for name in found)]
    if lost or not parts:
        raise UsageError(
            f"{file.path} has no array called {lost[0] if lost else wanted[0]!r}",
            nearest(lost[0] if lost else wanted[0], list(file.shapes)),
        )
    if any(part.split is not None for part in parts):
        parts = [part for part in parts if part.split is not None]
        if all(part.split != 0 for part in parts):
            raise DataError(f"{file.path} has no training arrays: {file.listing()}", _NAMES)
    return parts


@dataclass(frozen=True, kw_only=True)
class Axes:
    """How the axes of an input are read: `chw` leads from the file's order (without the samples) to (C, H, W)."""

    modality: Modality
    shape: tuple[int, ...]
    order: tuple[int, ...] | None
    said: str


def axes(where: str, shape: Sequence[int]) -> Axes:
    """(N, D) vectors; (N, H, W), (N, H, W, C), (N, C, H, W) pictures of 1 to 4 channels.

    Raises:
        DataError: for any other number of axes, or no axis that can be the channels.
    """
    if 0 in shape:
        raise DataError(f"{where} is empty: its shape is {tuple(shape)}", "Write the samples into it.")
    if len(shape) == 1:
        return Axes(modality="vector", shape=(1,), order=None, said="vectors of one number")
    if len(shape) == 2:
        return Axes(modality="vector", shape=(shape[1],), order=None, said=f"vectors of {shape[1]} numbers")
    if len(shape) == 3:
        return Axes(
            modality="image",
            shape=(1, *shape[1:]),
            order=(),
            said=f"grey pictures of {shape[2]}x{shape[1]} pixels, axes (N, H, W)",
        )
    if len(shape) == 4 and shape[3] <= 4:
        return Axes(
            modality="image",
            shape=(shape[3], shape[1], shape[2]),
            order=(2, 0, 1),
            said=f"pictures of {shape[2]}x{shape[1]} pixels and {shape[3]} channels, axes (N, H, W, C)",
        )
    if len(shape) == 4 and shape[1] <= 4:
        return Axes(
            modality="image",
            shape=tuple(shape[1:]),
            order=(0, 1, 2),
            said=f"pictures of {shape[3]}x{shape[2]} pixels and {shape[1]} channels, axes (N, C, H, W)",
        )
    raise DataError(
        f"{where} has the shape {tuple(shape)}",
        "Inputs are (N, D), (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 to 4 channels.",
    )


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """The arrays of an NPZ in memory, or of an HDF5 file left on the disk.

    Raises:
        DataError: arrays that do not fit together, cannot be read, or hold NaN.
        EnvironmentProblem: h5py is not installed.
    """
    file = open_arrays(path)
    wanted, kind = list(options.target), None
    if wanted and ":" in wanted[-1] and wanted[-1] not in file.shapes and wanted[-1].rpartition(":")[2] in KINDS:
        wanted[-1], _, kind = wanted[-1].rpartition(":")
    parts = parts_of(file, wanted)
    layout = axes(f"{path}: {parts[0].x!r}", file.shapes[parts[0].x])
    for part in parts:
        _fits(file, part, file.shapes[parts[0].x][1:])
    y = np.concatenate([np.concatenate([_columns(file, name) for name in part.y], 1) for part in parts])
    target, truth, findings = read_target(f"{path}: {', '.join(parts[0].y)}", y, parts[0].y, kind)
    source, dtype = _source(file, parts, layout)
    given = np.concatenate([np.full(file.shapes[part.x][0], part.split or 0) for part in parts])
    used = {name for part in parts for name in (part.x, *part.y)}
    ignored = [name for name in file.shapes if name not in used]
    if ignored:
        findings.append(
            Finding(
                kind="ignored-column",
                severity="note",
                where=tuple(ignored),
                count=len(ignored),
                message=f"Not used: {', '.join(map(repr, ignored[:5]))}" + (" ..." if len(ignored) > 5 else "."),
                remedy="Name another target with --target.",
            )
        )
    what = {Classes: "classes", Labels: "labels", Numbers: "numbers"}[type(target)]
    inputs = ", ".join(repr(part.x) for part in parts)
    return RawDataset(
        source=source,
        target=target,
        truth=truth,
        given=given if len(set(given.tolist())) > 1 else None,
        inputs={
            "image" if layout.modality == "image" else "vector": Input(
                modality=layout.modality, shape=layout.shape, dtype=dtype
            )
        },
        recognised_as=f"arrays: {inputs} as {len(given):,} {layout.said}; {', '.join(map(repr, parts[0].y))} as {what} "
        + _otherwise(y, parts[0].y, what),
        findings=tuple(findings),
        files={"found": 1, "used": 1},
    )


def _otherwise(y: np.ndarray, names: Sequence[str], what: str) -> str:
    """How to say that whole numbers are the other kind."""
    if y.shape[1] > 1 or y.dtype.kind not in "biuf" or not bool((y == np.round(y)).all()):
        return "; another with --target NAME"
    other = "classes" if what == "numbers" else "numbers"
    return f" ({other}: --target {shlex.quote(f'{names[0]}:{other}')})"


def _fits(file: ArrayFile, part: Part, shape: Sequence[int]) -> None:
    for name in part.y:
        if file.shapes[name][:1] != file.shapes[part.x][:1]:
            raise DataError(
                f"{file.path}: {part.x!r} has the shape {file.shapes[part.x]}, {name!r} "
                f"{file.shapes[name]}: their lengths differ",
                "Give every sample one input and one target.",
            )
    if tuple(file.shapes[part.x][1:]) != tuple(shape):
        raise DataError(
            f"{file.path}: {part.x!r} has the shape {file.shapes[part.x]}, others (N, {', '.join(map(str, shape))})",
            "Give the inputs of all splits one shape.",
        )
    if not file.is_numeric(part.x):
        raise DataError(
            f"{file.path}: {part.x!r} holds {file.dtypes[part.x]}, no numbers", "Inputs are whole numbers or floats."
        )


def _columns(file: ArrayFile, name: str) -> np.ndarray:
    """(N, T) of a target array."""
    y = file.read(name)
    if y.ndim == 1:
        return y[:, None]
    if y.ndim != 2 or y.shape[1] == 0:
        raise DataError(f"{file.path}: the target {name!r} has the shape {y.shape}", "Targets are (N,) or (N, T).")
    return y


def read_target(
    where: str, y: np.ndarray, names: Sequence[str], kind: str | None
) -> tuple[Target, Tensor, list[Finding]]:
    """(N, T) values as classes (whole numbers or texts), labels (rows of zeros and ones), or numbers.

    Raises:
        DataError: NaN, one class only.
    """
    if y.dtype.kind in "SUO":
        return _texts(where, y, kind)
    values = y.astype(np.float64)
    bad = np.nonzero(~np.isfinite(values).all(1))[0]
    if len(bad):
        raise DataError(
            f"{where} holds NaN or infinity in {len(bad):,} samples: {_first(bad)}", "Mend or remove these samples."
        )
    binary = values.shape[1] > 1 and bool(((values == 0) | (values == 1)).all())
    if binary and kind != "numbers":
        if kind != "labels" and bool((values.sum(1) == 1).all()):  # one of K
            return _classes(where, values.argmax(1), tuple(map(str, range(values.shape[1]))))
        labels = Labels(names=tuple(map(str, range(values.shape[1]))))
        return labels, torch.from_numpy(values.astype(np.float32)), []
    if kind == "classes" or (kind is None and values.shape[1] == 1 and _look_like_classes(y[:, 0])):
        return _numbered(where, values)
    if kind == "labels":
        raise DataError(f"{where} holds other values than zeros and ones", "Labels are (N, K) zeros and ones.")
    if bool((values == values[0]).all()):
        raise DataError(f"{where} is {values[0].tolist()} in every sample", "There is nothing to learn.")
    width = values.shape[1]
    short = [role(name)[1] for name in names]
    return (
        Numbers(names=tuple(short if len(short) == width else (f"{short[0]} {k}" for k in range(width)))),
        torch.from_numpy(values),
        [],
    )


def _look_like_classes(y: np.ndarray) -> bool:
    different = np.unique(y)
    if y.dtype.kind == "b" or len(different) <= 2:
        return bool((different == np.round(different)).all())
    if y.dtype.kind in "iu" and different[0] >= 0 and different[-1] < _MOST_CLASSES:  # most of 0 ... K−1 occur
        return 2 * len(different) > int(different[-1]) and 2 * len(different) <= len(y)
    few = len(different) <= min(MOST_WHOLE_CLASSES, len(y) / FEWEST_A_CLASS)
    return few and bool((different == np.round(different)).all())


def _numbered(where: str, values: np.ndarray) -> tuple[Target, Tensor, list[Finding]]:
    if values.shape[1] != 1 or not bool((values == np.round(values)).all()):
        raise DataError(f"{where} holds other values than whole numbers", "Classes are one whole number a sample.")
    different, truth = np.unique(values[:, 0], return_inverse=True)
    names = tuple(str(int(value)) for value in different)
    target, truth_, findings = _classes(where, truth, names)
    if different[0] < 0 or different[-1] != len(different) - 1:
        findings.append(
            Finding(
                kind="label-range",
                message=f"The labels are {', '.join(names[:20])}: not 0 to "
                f"{len(names) - 1}. Each different one was taken for a class.",
                where=(where,),
                remedy="If one of them means unknown, remove its samples.",
            )
        )
    return target, truth_, findings


def _classes(where: str, truth: np.ndarray, names: tuple[str, ...]) -> tuple[Target, Tensor, list[Finding]]:
    if len(set(truth.tolist())) < 2:
        raise DataError(f"{where} holds one class only", "Classes need two at least: add the others.")
    return Classes(names=names), torch.from_numpy(truth.astype(np.int64)), []


def _texts(where: str, y: np.ndarray, kind: str | None) -> tuple[Target, Tensor, list[Finding]]:
    if y.shape[1] != 1 or kind in ("numbers", "labels"):
        raise DataError(f"{where} holds texts", "Texts are classes: one a sample.")
    texts = [cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell) for cell in y[:, 0].tolist()]
    names = tuple(sorted(set(texts)))
    place = {name: k for k, name in enumerate(names)}
    if len(names) > MOST_WHOLE_CLASSES and 2 * len(names) > len(texts):
        raise DataError(
            f"{where} holds {len(names):,} different texts in {len(texts):,} samples", "Give another --target."
        )
    return _classes(where, np.array([place[text] for text in texts]), names)


def _source(file: ArrayFile, parts: Sequence[Part], layout: Axes) -> tuple[Source, str]:
    """The inputs of all parts one after the other, in (N, D) or (N, C, H, W)."""
    if file.lazy:
        source = Slices(file, [part.x for part in parts], layout.order)
        return source, source.dtype
    values = np.concatenate([file.read(part.x) for part in parts])
    if values.dtype.kind == "f":
        bad = np.nonzero(~np.isfinite(values.reshape(len(values), -1)).all(1))[0]
        if len(bad):
            raise DataError(
                f"{file.path}: {parts[0].x!r} holds NaN or infinity in {len(bad):,} samples: {_first(bad)}",
                "Mend or remove these samples.",
            )
    tensor = at_depth(arrange(values, layout.order))
    return Array(tensor, "sample"), str(tensor.dtype).removeprefix("torch.")


def _first(bad: np.ndarray) -> str:
    return ", ".join(map(str, bad[:5].tolist())) + (" ..." if len(bad) > 5 else "")


FORMAT = Format("arrays", recognises, open_raw)

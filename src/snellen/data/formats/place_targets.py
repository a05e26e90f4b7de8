"""Targets at every place of arrays: a class or numbers at each step, pixel, voxel or point."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError
from snellen.core.spec import Input, PixelClasses, PixelNumbers
from snellen.core.views import Finding
from snellen.data.annotations import IGNORE_INDEX, MapAnnotations
from snellen.data.formats.array_files import ArrayFile
from snellen.data.formats.array_layout import AxisLayout, SplitArrays, places_of, split_and_role
from snellen.data.formats.array_targets import looks_like_classes
from snellen.data.formats.ragged_arrays import RaggedSequences

MAX_CLASSES = 10_000
MAX_EXACT = 1 << 24  # whole numbers up to this are exact as 32-bit floats


class PlaceTargets(NamedTuple):
    """A target at every place. description: for the user."""

    target: PixelClasses | PixelNumbers
    annotations: MapAnnotations
    description: str


def read_place_targets(
    file: ArrayFile, splits: Sequence[SplitArrays], layout: AxisLayout, ragged: RaggedSequences | None, kind: str | None
) -> PlaceTargets | None:
    """A target at every place, (N, *places) or (N, *places, K); None where the targets have another shape.

    Args:
        kind: "classes" or "numbers" on request; None: whole numbers that look like classes are classes.
    Raises:
        DataError: infinity, negative classes other than -1, only one class, targets that are all equal.
    """
    is_flat = ragged is not None and ragged.is_flat
    fits = [
        len(part.y) == 1 and (is_flat or places_of(layout, file.shapes[part.x], file.shapes[part.y[0]]) is not None)
        for part in splits
    ]
    if not any(fits):
        return None
    name = splits[0].y[0]
    where = f"{file.path}: {name!r}"
    if not all(fits) or len({len(file.shapes[part.y[0]]) for part in splits}) > 1:
        shapes = ", ".join(str(file.shapes[part.y[0]]) for part in splits)
        raise DataError(f"{where} has the shapes {shapes} in the splits", "Give a target at every place to all splits.")
    if kind == "labels":
        raise DataError(f"{where} has a target at every place, and labels belong to samples", "Omit :labels.")
    values = [file.read(part.y[0]) for part in splits]
    if ragged is None:
        y = np.concatenate(values)
        inside = np.ones(y.shape, bool)
    else:
        y, inside = ragged.targets(values)
    place = Input(modality=layout.modality, shape=layout.shape).place
    has_numbers = y.ndim > 1 + len(layout.shape) - 1  # a last axis of K numbers
    if has_numbers and y.shape[-1] == 1:
        y, inside, has_numbers = y[..., 0], inside[..., 0], False
    if y.dtype.kind in "SUO":
        return _strings(where, y, inside, place, kind)
    if y.dtype.kind not in "biuf":
        raise DataError(f"{where} holds {y.dtype}, not numbers", "Save it as integers, floats or strings.")
    if y.dtype.kind == "f" and bool((np.isinf(y) & inside).any()):
        raise DataError(f"{where} holds infinity", "Write NaN where there is no value.")
    if has_numbers and kind != "numbers" and _is_one_hot(y, inside):
        y, inside, has_numbers = y.argmax(-1), inside[..., 0], False
    other = "numbers"
    if kind != "numbers" and not has_numbers:
        known = y[inside & ~np.isnan(y)] if y.dtype.kind == "f" else y[inside]
        known = known[known != IGNORE_INDEX]
        if not known.size:
            raise DataError(f"{where} holds no value", "Give at least two classes, or numbers.")
        if kind == "classes" or looks_like_classes(known):
            return _classes(where, y, inside, known, place, f"{name}:{other}")
    return _numbers(where, y, inside, has_numbers, place, split_and_role(name)[1], name)


def _is_one_hot(y: np.ndarray, inside: np.ndarray) -> bool:
    """Whether the last axis of targets holds zeros and a single one, at every place."""
    known = y[inside[..., 0]]
    return bool(((known == 0) | (known == 1)).all()) and bool((known.sum(-1) == 1).all())


def near_miss(file: ArrayFile, part: SplitArrays, layout: AxisLayout, y: np.ndarray) -> list[Finding]:
    """A finding where the columns of a target nearly have the number of the steps of its input."""
    steps, columns = layout.shape[0] or 0, y.shape[1]
    is_near = columns > 1 and abs(columns - steps) <= max(1, steps // 10)
    if layout.order != (0, 1) or len(part.y) != 1 or not is_near or not looks_like_classes(y.reshape(-1)):
        return []
    place = Input(modality=layout.modality, shape=layout.shape).place
    return [
        Finding(
            kind="places",
            message=f"{part.y[0]!r} has the shape {file.shapes[part.y[0]]}, {part.x!r} {file.shapes[part.x]}: it is "
            f"read as {columns} values of each sample, not as a class at every {place}",
            remedy=f"For a class at every {place}, give {part.y[0]!r} the shape (N, {steps}).",
            where=(part.y[0],),
        )
    ]


def _classes(where: str, y: np.ndarray, inside: np.ndarray, known: np.ndarray, place: str, other: str) -> PlaceTargets:
    if not bool((known == np.round(known)).all()):
        raise DataError(f"{where} holds values other than whole numbers", "Give one whole number for each class.")
    distinct = np.unique(known)
    if distinct[0] < 0:
        raise DataError(
            f"{where} holds the class {int(distinct[0])}",
            f"Number the classes from 0; -1 stands for a {place} without a class.",
        )
    if len(distinct) < 2:
        raise DataError(f"{where} holds only one class", "Add samples of a second class.")
    if len(distinct) > MAX_CLASSES:
        raise DataError(f"{where} holds {len(distinct):,} classes", f"At most {MAX_CLASSES:,} are read; use :numbers.")
    codes = np.searchsorted(distinct, np.where(inside, y, distinct[0])).clip(max=len(distinct) - 1)
    is_known = inside & (distinct[codes] == y)
    names = tuple(str(int(value)) for value in distinct)
    unknown = int(inside.sum() - is_known.sum())
    return _class_maps(np.where(is_known, codes, IGNORE_INDEX), names, place, unknown, other)


def _strings(where: str, y: np.ndarray, inside: np.ndarray, place: str, kind: str | None) -> PlaceTargets:
    if kind == "numbers":
        raise DataError(f"{where} holds strings", "Strings are classes: omit :numbers.")
    texts = np.array([cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell) for cell in y.flat])
    is_known = inside.reshape(-1) & (texts != "")
    names, codes = np.unique(texts[is_known], return_inverse=True)
    if not 2 <= len(names) <= MAX_CLASSES:
        raise DataError(f"{where} holds {len(names):,} distinct strings", f"Give 2 to {MAX_CLASSES:,} classes.")
    maps = np.full(y.size, IGNORE_INDEX)
    maps[is_known] = codes
    unknown = int(inside.sum() - is_known.sum())
    return _class_maps(maps.reshape(y.shape), tuple(map(str, names)), place, unknown, None)


def _class_maps(maps: np.ndarray, names: tuple[str, ...], place: str, unknown: int, other: str | None) -> PlaceTargets:
    stored = torch.from_numpy(maps.astype(np.int16))
    text = f"a class at every {place}"
    text += f", {unknown:,} {place}{'' if unknown == 1 else 's'} without a class" if unknown else ""
    text += f" (numbers: --target {shlex.quote(other)})" if other is not None else ""
    return PlaceTargets(
        PixelClasses(names=names), MapAnnotations(lambda id: stored[id].long(), range(len(stored))), text
    )


def _numbers(
    where: str, y: np.ndarray, inside: np.ndarray, has_numbers: bool, place: str, short: str, name: str
) -> PlaceTargets:
    values = y.astype(np.float64)
    if y.dtype.kind in "iu" and float(np.abs(values[inside]).max()) > MAX_EXACT:
        raise DataError(
            f"{where} holds whole numbers beyond {MAX_EXACT:,}, which 32-bit floats do not tell apart",
            "Subtract a constant, or give classes: :classes.",
        )
    is_known = inside & ~np.isnan(values)
    if not bool(is_known.any()):
        raise DataError(f"{where} holds no number", "Give numbers; NaN stands for a place without one.")
    if float(values[is_known].min()) == float(values[is_known].max()):
        raise DataError(f"{where} is {values[is_known][0]:g} at every {place}", "Give a target that varies.")
    values = np.where(is_known, values, np.nan).astype(np.float32)
    stored: Tensor = torch.from_numpy(np.moveaxis(values, -1, 1).copy() if has_numbers else values[:, None])
    count = stored.shape[1]
    unknown = int(inside.sum() - is_known.sum())
    text = f"a number at every {place}" if count == 1 else f"{count} numbers at every {place}"
    text += f", {unknown:,} of them missing" if unknown else ""
    whole = count == 1 and bool((values[is_known] == np.round(values[is_known])).all())
    text += f" (classes: --target {shlex.quote(f'{name}:classes')})" if whole else ""
    names = (short,) if count == 1 else tuple(f"{short} {k}" for k in range(count))
    return PlaceTargets(
        PixelNumbers(kind="numbers", names=names), MapAnnotations(lambda id: stored[id], range(len(stored))), text
    )

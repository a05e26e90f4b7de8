"""Datasets of named arrays (NPZ, HDF5): choice of inputs, targets and splits, and the axes of the inputs."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError, UsageError, suggest_name
from snellen.core.spec import Classes, Input, Labels, Numbers, Target
from snellen.core.views import Finding
from snellen.data.cache import available_memory
from snellen.data.dataset import RawDataset
from snellen.data.formats import CONSECUTIVE, OpenOptions
from snellen.data.formats.array_files import (
    HDF5,
    NPZ,
    ArrayFile,
    Hdf5Source,
    array_to_tensor,
    check_distinct,
    open_arrays,
    to_axis_order,
    torch_dtype,
)
from snellen.data.formats.array_layout import AxisLayout, SplitArrays, axis_layout, layout_with_places, split_and_role
from snellen.data.formats.array_targets import looks_like_classes
from snellen.data.formats.place_targets import PlaceTargets, near_miss, read_place_targets
from snellen.data.formats.ragged_arrays import ragged_sequences
from snellen.data.formats.table_targets import KINDS, MAX_INTEGER_CLASSES
from snellen.data.source import ArraySource, Source

INPUT_NAMES = ("x", "images", "image", "imgs", "data", "inputs", "input", "features")
TARGET_NAMES = ("y", "labels", "label", "targets", "target")
_NAMES = "Recognised names are x and y, images and labels, data and target, with _train, _val or _test for splits."


def recognises(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (*NPZ, *HDF5)


def match_arrays(file: ArrayFile, options: Sequence[str], group: str | None = None) -> list[SplitArrays]:
    """Match inputs with targets, by the requested names, else by the recognised ones.

    A file that holds inputs only, besides the group, has no targets.

    Raises:
        DataError: no input, no target, or more than one candidate for either.
        UsageError: the target is not an array of the file.
    """
    roles = {name: split_and_role(name) for name in file.shapes}
    targets = options or [word for word in TARGET_NAMES if any(rest == word for _, rest in roles.values())][:1]
    if not targets:
        inputs = {name: roles[name] for name in file.shapes if group not in (name, roles[name][1])}
        has_one_input = len({split for split, _ in inputs.values()}) == len(inputs)
        if inputs and {rest for _, rest in inputs.values()} <= set(INPUT_NAMES) and has_one_input:
            return _of_given_splits(file, [SplitArrays(split, name, ()) for name, (split, _) in inputs.items()])
        raise DataError(
            f"{file.path} has no array with a target name; it holds {file.listing()}",
            f"Name it with --target. {_NAMES}",
        )
    splits = []
    for split in sorted({split for split, _ in roles.values()}, key=lambda split: -1 if split is None else split):
        members = {name: rest for name, (where, rest) in roles.items() if where == split}
        y = tuple(name for word in targets for name, rest in members.items() if word == name or word.lower() == rest)
        if not y:
            continue
        length = file.shapes[y[0]][:1]
        free = [name for name in members if name not in y and len(file.shapes[name]) and name not in options]
        named_inputs = [name for word in INPUT_NAMES for name in free if members[name] == word]
        equal = [name for name in free if file.shapes[name][:1] == length and file.is_numeric(name)]
        x = named_inputs[:1] or (equal if len(equal) == 1 else [])
        if not x:
            raise DataError(
                f"{file.path} has {len(equal)} arrays that could be the input of {y[0]!r}: {file.listing()}",
                f"Name the input x. {_NAMES}",
            )
        splits.append(SplitArrays(split, x[0], y))
    used_targets = {name for part in splits for name in part.y}
    missing = [
        word for word in options if not any(word == name or word.lower() == roles[name][1] for name in used_targets)
    ]
    if missing or not splits:
        raise UsageError(
            f"{file.path} has no array called {missing[0] if missing else targets[0]!r}",
            suggest_name(missing[0] if missing else targets[0], list(file.shapes)),
        )
    return _of_given_splits(file, splits)


def _of_given_splits(file: ArrayFile, splits: list[SplitArrays]) -> list[SplitArrays]:
    """The arrays with the name of a split, if there are some. Raises DataError without a training split."""
    if any(part.split is not None for part in splits):
        splits = [part for part in splits if part.split is not None]
        if all(part.split != 0 for part in splits):
            raise DataError(f"{file.path} has no training arrays: {file.listing()}", _NAMES)
    return sorted(splits, key=lambda part: part.split or 0)


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Arrays of an NPZ file, read into memory, or of an HDF5 file, read on demand.

    Raises:
        DataError: arrays of different lengths, unreadable arrays, or NaN.
        EnvironmentProblem: h5py is not installed.
    """
    file = open_arrays(path)
    targets, kind = requested_targets(file, options)
    splits = match_arrays(file, targets, options.group)
    ragged = ragged_sequences(file, splits, options.modality) if splits[0].y else None
    if ragged is not None:
        layout = ragged.layout
    else:
        layout = layout_with_places(file, splits[0], options.modality) or axis_layout(
            f"{path}: {splits[0].x!r}", file.shapes[splits[0].x], file.dtypes[splits[0].x], options.modality
        )
        for part in splits:
            check_shapes(file, part, file.shapes[splits[0].x][1:])
    check_memory(file, splits)
    at_places = read_place_targets(file, splits, layout, ragged, kind) if splits[0].y else None
    targets_of = targets_of_samples(file, splits, layout, kind) if at_places is None else _of_places(at_places)
    findings = list(targets_of.findings)
    source, dtype = _source(file, splits, layout) if ragged is None else ragged.source(at_places is not None)
    counts = [file.shapes[part.counted][0] for part in splits] if ragged is None else [len(n) for n in ragged.lengths]
    given = np.concatenate([np.full(count, part.split or 0) for count, part in zip(counts, splits, strict=True)])
    used = {name for part in splits for name in (part.x, *part.y)} | (ragged.names if ragged is not None else set())
    used |= {name for name in file.shapes if options.group in (name, split_and_role(name)[1])}
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
    inputs = ", ".join(repr(part.x) for part in splits)
    group = None if options.group in (None, CONSECUTIVE) else groups_of(file, splits, options.group)
    return RawDataset(
        source=source,
        target=targets_of.target,
        truth=targets_of.truth,
        annotations=None if at_places is None else at_places.annotations,
        given_splits=given if len(set(given.tolist())) > 1 else None,
        groups=None if group is None else np.unique(group, return_inverse=True)[1].astype(np.int64),
        group_names=() if group is None else group_texts(group),
        inputs={layout.modality: Input(modality=layout.modality, shape=layout.shape, dtype=dtype)},
        recognised_as=f"arrays: {inputs} as {len(given):,} {layout.description}; {targets_text(splits, targets_of)}",
        findings=tuple(findings),
        files={"found": 1, "used": 1},
    )


def requested_targets(file: ArrayFile, options: OpenOptions) -> tuple[list[str], str | None]:
    """Names of the target arrays of --target, and what they are ("y:classes"); None: by their values."""
    targets, kind = list(options.target), None
    if targets and ":" in targets[-1] and targets[-1] not in file.shapes and targets[-1].rpartition(":")[2] in KINDS:
        targets[-1], _, kind = targets[-1].rpartition(":")
    return targets, kind


class _Targets(NamedTuple):
    """Targets with their ground truth (None: at places), findings, and a text for the user."""

    target: Target | None
    truth: Tensor | None
    findings: Sequence[Finding]
    description: str


def targets_text(splits: Sequence[SplitArrays], targets_of: _Targets) -> str:
    names = ", ".join(map(repr, splits[0].y))
    return f"{names} as {targets_of.description}" if names else "no target"


def _of_places(at_places: PlaceTargets) -> _Targets:
    return _Targets(at_places.target, None, (), at_places.description)


def targets_of_samples(
    file: ArrayFile, splits: Sequence[SplitArrays], layout: AxisLayout, kind: str | None
) -> _Targets:
    """Targets of samples, of all splits."""
    if not splits[0].y:
        return _Targets(None, None, (), "")
    columns = [np.concatenate([_target_columns(file, name, part.x) for name in part.y], 1) for part in splits]
    widths = {part.shape[1] for part in columns}
    if len(widths) > 1:
        shapes = ", ".join(str(file.shapes[part.y[0]]) for part in splits)
        raise DataError(f"{file.path}: the targets have the shapes {shapes}", "Give all splits equally many targets.")
    y, names = np.concatenate(columns), splits[0].y
    target, truth, findings = read_target(f"{file.path}: {', '.join(names)}", y, names, kind)
    kind_name = {Classes: "classes", Labels: "labels", Numbers: "numbers"}[type(target)]
    description = f"{kind_name}{_otherwise(y, names, kind_name)}"
    return _Targets(target, truth, [*findings, *near_miss(file, splits[0], layout, y)], description)


def group_texts(groups: np.ndarray) -> tuple[str, ...]:
    """Names of groups (N,)."""
    return tuple(
        value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in groups.tolist()
    )


def groups_of(file: ArrayFile, splits: Sequence[SplitArrays], name: str) -> np.ndarray:
    """(N,) group of each sample, from the arrays of that name.

    Raises:
        UsageError: there is no such array in a split. DataError: it is not one value for each sample.
    """
    parts = []
    for part in splits:
        matching = [
            other
            for other in file.shapes
            if other == name or (split_and_role(other) == (part.split, name.lower()) and other not in (part.x, *part.y))
        ]
        if not matching:
            raise UsageError(
                f"{file.path} has no array called {name!r} beside {part.x!r}, so it cannot be the group",
                suggest_name(name, list(file.shapes)),
            )
        if file.shapes[matching[0]] != file.shapes[part.counted][:1]:
            raise DataError(
                f"{file.path}: the group {matching[0]!r} has the shape {file.shapes[matching[0]]}, "
                f"{part.counted!r} {file.shapes[part.counted]}",
                "Give one group for each sample, as an array (N,).",
            )
        parts.append(file.read(matching[0]))
    values: np.ndarray = np.concatenate(parts)
    missing = np.nonzero(values != values)[0]  # NaN, also among objects
    if len(missing):
        raise DataError(
            f"{file.path}: the group {name!r} is missing (NaN) for {len(missing):,} of {len(values):,} samples, first "
            f"sample {missing[0]}",
            "Give every sample a group.",
        )
    return values


def check_memory(file: ArrayFile, splits: Sequence[SplitArrays]) -> None:
    """Raise DataError unless the arrays fit in the free memory, as stored and as the tensors made of them."""
    count = {name: math.prod(file.shapes[name]) for part in splits for name in (part.x, *part.y)}
    needed = sum(count[name] * (file.dtypes[name].itemsize + 8) for part in splits for name in part.y)
    if not file.lazy:
        made = {part.x: torch_dtype(file.dtypes[part.x]).itemsize for part in splits}
        needed += sum(count[part.x] * (file.dtypes[part.x].itemsize + made[part.x]) for part in splits)
    if needed > available_memory():
        raise DataError(
            f"{file.path} needs {needed:,} bytes of memory, of which {available_memory():,} are free",
            "Write it as HDF5, whose inputs are read from disk sample by sample."
            if not file.lazy
            else "Give fewer samples or targets.",
        )


def _otherwise(y: np.ndarray, names: Sequence[str], kind_name: str) -> str:
    """The hint how to read whole numbers as classes instead of numbers, or the reverse."""
    if y.shape[1] > 1 or y.dtype.kind not in "biuf" or not bool((y == np.round(y)).all()):
        return "; another with --target NAME"
    other = "classes" if kind_name == "numbers" else "numbers"
    return f" ({other}: --target {shlex.quote(f'{names[0]}:{other}')})"


def check_shapes(file: ArrayFile, part: SplitArrays, shape: Sequence[int]) -> None:
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
            f"{file.path}: {part.x!r} holds {file.dtypes[part.x]}, not numbers", "Save inputs as integers or floats."
        )


def _target_columns(file: ArrayFile, name: str, x: str) -> np.ndarray:
    """A target array as (N, T)."""
    y = file.read(name)
    if y.ndim == 1:
        return y[:, None]
    if y.ndim != 2 or y.shape[1] == 0:
        raise DataError(
            f"{file.path}: the target {name!r} has the shape {y.shape}, which does not fit {x!r} of {file.shapes[x]}",
            "Targets are (N,) or (N, K), or at every place: (N, T) for sequences (N, T, D), (N, H, W) for images, "
            "(N, Z, Y, X) for volumes.",
        )
    return y


def read_target(
    where: str, y: np.ndarray, names: Sequence[str], kind: str | None
) -> tuple[Target, Tensor, list[Finding]]:
    """Target and truth from (N, T) values: classes (integers or strings), labels (0/1 rows), or numbers.

    Raises:
        DataError: NaN, or only one class.
    """
    if y.dtype.kind in "SUO":
        return _string_classes(where, y, kind)
    values = y.astype(np.float64)
    bad = np.nonzero(~np.isfinite(values).all(1))[0]
    if len(bad):
        raise DataError(
            f"{where} holds NaN or infinity in {len(bad):,} samples: {first_ids(bad)}", "Fix or remove these samples."
        )
    binary = values.shape[1] > 1 and bool(((values == 0) | (values == 1)).all())
    if binary and kind != "numbers":
        if kind != "labels" and bool((values.sum(1) == 1).all()):  # one-hot
            return _classes(where, values.argmax(1), tuple(map(str, range(values.shape[1]))))
        labels = Labels(names=tuple(map(str, range(values.shape[1]))))
        return labels, torch.from_numpy(values.astype(np.float32)), []
    if kind == "classes" or (kind is None and values.shape[1] == 1 and looks_like_classes(y[:, 0])):
        return _integer_classes(where, y if y.dtype.kind in "iu" else values)
    if kind == "labels":
        raise DataError(f"{where} holds values other than 0 and 1", "Labels are (N, K) zeros and ones.")
    if bool((y == y[0]).all()):
        raise DataError(f"{where} is {values[0].tolist()} in every sample", "Give a target that varies.")
    check_distinct(where, y)
    width = values.shape[1]
    short = [split_and_role(name)[1] for name in names]
    return (
        Numbers(names=tuple(short if len(short) == width else (f"{short[0]} {k}" for k in range(width)))),
        torch.from_numpy(values),
        [],
    )


def _integer_classes(where: str, values: np.ndarray) -> tuple[Target, Tensor, list[Finding]]:
    if values.shape[1] != 1 or not bool((values == np.round(values)).all()):
        raise DataError(f"{where} holds values other than whole numbers", "Give one whole number for each sample.")
    unique_values, truth = np.unique(values[:, 0], return_inverse=True)
    names = tuple(str(int(value)) for value in unique_values)
    target, class_ids, findings = _classes(where, truth, names)
    if unique_values[0] < 0 or unique_values[-1] != len(unique_values) - 1:
        findings.append(
            Finding(
                kind="label-range",
                message=f"The labels are {', '.join(names[:20])}: not 0 to "
                f"{len(names) - 1}. Each distinct value is one class.",
                where=(where,),
                remedy="If one of the values means unknown, remove its samples.",
            )
        )
    return target, class_ids, findings


def _classes(where: str, truth: np.ndarray, names: tuple[str, ...]) -> tuple[Target, Tensor, list[Finding]]:
    if len(set(truth.tolist())) < 2:
        raise DataError(f"{where} holds only one class", "Add samples of a second class.")
    return Classes(names=names), torch.from_numpy(truth.astype(np.int64)), []


def _string_classes(where: str, y: np.ndarray, kind: str | None) -> tuple[Target, Tensor, list[Finding]]:
    if y.shape[1] != 1 or kind in ("numbers", "labels"):
        raise DataError(f"{where} holds strings", "Strings are classes: give one for each sample.")
    texts = [cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell) for cell in y[:, 0].tolist()]
    names = tuple(sorted(set(texts)))
    index = {name: k for k, name in enumerate(names)}
    if len(names) > MAX_INTEGER_CLASSES and 2 * len(names) > len(texts):
        raise DataError(
            f"{where} holds {len(names):,} distinct strings in {len(texts):,} samples", "Give another --target."
        )
    return _classes(where, np.array([index[text] for text in texts]), names)


def _source(file: ArrayFile, splits: Sequence[SplitArrays], layout: AxisLayout) -> tuple[Source, str]:
    """The inputs of all splits, concatenated, as (N, D) or (N, C, H, W), and their dtype."""
    if file.lazy:
        source = Hdf5Source(file, [part.x for part in splits], layout.order)
        return source, source.dtype
    arrays = [file.read(part.x) for part in splits]
    values = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    del arrays
    if values.dtype.kind == "f":
        bad = np.nonzero(~np.isfinite(values.reshape(len(values), -1)).all(1))[0]
        if len(bad):
            raise DataError(
                f"{file.path}: {splits[0].x!r} holds NaN or infinity in {len(bad):,} samples: {first_ids(bad)}",
                "Fix or remove these samples.",
            )
    check_distinct(f"{file.path}: {splits[0].x!r}", values)
    tensor = array_to_tensor(to_axis_order(values, layout.order))
    return ArraySource(tensor, "sample"), str(tensor.dtype).removeprefix("torch.")


def first_ids(bad: np.ndarray) -> str:
    return ", ".join(map(str, bad[:5].tolist())) + (" ..." if len(bad) > 5 else "")

"""NPZ and HDF5 files: one input, or several by the names of their arrays (`--inputs skeleton,depth,mask`).

A sample that lacks an input is NaN throughout in its array. NaN rows after the end of a sequence are padding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from snellen.core.errors import DataError, UsageError, suggest_name
from snellen.core.spec import Input
from snellen.core.views import Finding
from snellen.data.dataset import RawDataset
from snellen.data.formats import CONSECUTIVE, ArrayModality, Format, OpenOptions
from snellen.data.formats.array_files import ArrayFile, array_to_tensor, check_distinct, open_arrays, to_axis_order
from snellen.data.formats.array_layout import AxisLayout, SplitArrays, axis_layout, plural, split_and_role
from snellen.data.formats.arrays import (
    TARGET_NAMES,
    check_memory,
    check_shapes,
    first_ids,
    group_texts,
    groups_of,
    recognises,
    requested_targets,
    targets_of_samples,
    targets_text,
)
from snellen.data.formats.arrays import open_raw as open_one_input
from snellen.data.input_selection import select_inputs
from snellen.data.several_inputs import SeveralInputs
from snellen.data.source import ArraySource

MODALITIES: tuple[str, ...] = get_args(ArrayModality)


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Arrays with the inputs of `options.inputs`, else with one input. Raises as `arrays.open_raw`."""
    return open_several(path, options) if options.inputs else open_one_input(path, options)


def open_several(path: Path, options: OpenOptions) -> RawDataset:
    """Samples whose inputs are the named arrays, read into memory; of one array, data with one input.

    Samples that have none of them are left out.

    Args:
        options: `inputs` are names of arrays, each with ":sequence" or another modality where it is read as that.
    Raises:
        UsageError: arrays that are not in the file. DataError: arrays of other lengths, NaN within a sample.
    """
    if options.modality is not None:
        raise UsageError(
            f"--modality {options.modality} is for one input, --inputs names {len(options.inputs)}",
            f"Give it to an input: --inputs {options.inputs[0]}:{options.modality}.",
        )
    file = open_arrays(path)
    targets, kind = requested_targets(file, options)
    modalities = dict(map(_parsed, options.inputs))
    if len(modalities) < len(options.inputs):
        raise UsageError("--inputs names an array twice", "Name each array once.")
    arrays = _match(file, list(modalities), targets)
    splits = next(iter(arrays.values()))
    layouts = {}
    for name, parts in arrays.items():
        shape = file.shapes[parts[0].x]
        layouts[name] = axis_layout(f"{file.path}: {parts[0].x!r}", shape, file.dtypes[parts[0].x], modalities[name])
        for part in parts:
            check_shapes(file, part, shape[1:])
    check_memory(dataclasses.replace(file, lazy=False), [part for parts in arrays.values() for part in parts])
    of_samples = targets_of_samples(file, splits, layouts[next(iter(arrays))], kind)
    given = np.concatenate([np.full(file.shapes[part.x][0], part.split or 0) for part in splits])
    source, inputs, lacking = _read(file, arrays, layouts)
    described = {
        name: layout.description.replace("--modality ", f"--inputs {name}:") for name, layout in layouts.items()
    }
    texts = [f"{name!r} as {described[name]}{lacking[name]}" for name in arrays]
    group = None if options.group in (None, CONSECUTIVE) else groups_of(file, splits, options.group)
    raw = RawDataset(
        source=source,
        inputs=inputs,
        target=of_samples.target,
        truth=of_samples.truth,
        given_splits=given if len(set(given.tolist())) > 1 else None,
        groups=None if group is None else np.unique(group, return_inverse=True)[1].astype(np.int64),
        group_names=() if group is None else group_texts(group),
        recognised_as=f"arrays: {len(given):,} samples; {'; '.join(texts)}; {targets_text(splits, of_samples)}",
        findings=(*of_samples.findings, *_ignored(file, arrays, options)),
        files={"found": 1, "used": 1},
    )
    has_any = np.stack(list(source.positions.values())).max(0) >= 0
    return raw if len(arrays) > 1 and has_any.all() else select_inputs(raw, list(arrays), str(file.path))


def _parsed(word: str) -> tuple[str, ArrayModality | None]:
    """ "skeleton:sequence" as name and modality."""
    name, colon, kind = word.rpartition(":")
    if not colon:
        return word, None
    if kind not in MODALITIES:
        raise UsageError(f"--inputs {word}: {kind!r} is no modality", suggest_name(kind, list(MODALITIES)))
    modality: ArrayModality = kind  # type: ignore[assignment]
    return name, modality


def arrays_of_splits(file: ArrayFile, names: Sequence[str]) -> dict[int | None, dict[str, str]]:
    """The arrays of each split by the name of their input: "depth" is "depth", or "depth_train" and so on."""
    roles = {array: split_and_role(array) for array in file.shapes}
    splits: dict[int | None, dict[str, str]] = {}
    for name in names:
        of_name = {
            split: array for array, (split, role) in roles.items() if name == array or split_and_role(name)[1] == role
        }
        if name in file.shapes:
            of_name = {roles[name][0]: name}
        for split, array in of_name.items():
            splits.setdefault(split, {})[name] = array
    return dict(sorted(splits.items(), key=lambda item: -1 if item[0] is None else item[0]))


def _match(file: ArrayFile, names: Sequence[str], targets: Sequence[str]) -> dict[str, list[SplitArrays]]:
    """The arrays of each input, with their targets, by split."""
    splits = arrays_of_splits(file, names)
    known = {name for of_split in splits.values() for name in of_split}
    for name in names:
        if name not in known:
            raise UsageError(f"{file.path} has no array called {name!r} (--inputs)", suggest_name(name, [*file.shapes]))
    words = list(targets)
    if not words:
        present = {role for _, role in map(split_and_role, file.shapes)}
        words = [word for word in TARGET_NAMES if word in present and word not in names][:1]
    if not words:
        raise DataError(
            f"{file.path} has no array with a target name; it holds {file.listing()}", "Name it with --target."
        )
    of_targets = arrays_of_splits(file, words)
    result: dict[str, list[SplitArrays]] = {name: [] for name in names}
    for split, of_split in splits.items():
        of_target = of_targets.get(split, {})
        absent = [name for name in (*names, *words) if name not in of_split and name not in of_target]
        if absent:
            where = "" if split is None else f" of the split of {next(iter(of_split.values()))!r}"
            raise DataError(
                f"{file.path} has no array {absent[0]!r}{where}; it holds {file.listing()}",
                "Give each split all inputs and the target; a sample that lacks an input is NaN.",
            )
        for name in names:
            if name in words:
                raise UsageError(f"{name!r} is the target", "Omit it in --inputs.")
            result[name].append(SplitArrays(split, of_split[name], tuple(of_target[word] for word in words)))
    if None not in splits and 0 not in splits:
        raise DataError(f"{file.path} has no training arrays: {file.listing()}", "Name them with _train.")
    return result


def _read(
    file: ArrayFile, arrays: Mapping[str, Sequence[SplitArrays]], layouts: Mapping[str, AxisLayout]
) -> tuple[SeveralInputs, dict[str, Input], dict[str, str]]:
    """The inputs with their sources, and how many samples lack each, as text.

    Raises:
        DataError: NaN within a sample, infinity, an input that all samples lack.
    """
    sources, positions, inputs, lacking = {}, {}, {}, {}
    for name, parts in arrays.items():
        where = f"{file.path}: {parts[0].x!r}"
        stored = [file.read(part.x) for part in parts]
        values = stored[0] if len(stored) == 1 else np.concatenate(stored)
        check_distinct(where, values)
        layout = layouts[name]
        tensor = array_to_tensor(to_axis_order(values, layout.order))
        modality = Input(modality=layout.modality, shape=layout.shape)
        present, lengths = present_samples(where, tensor, modality)
        if not present.any():
            raise DataError(f"{where} is NaN in all samples", "Give values, or omit it in --inputs.")
        sources[name] = ArraySource(tensor[torch.from_numpy(present)], name)
        positions[name] = np.where(present, np.cumsum(present) - 1, -1)
        count = len(present) - int(present.sum())
        shape = layout.shape if lengths is None else (None, *layout.shape[1:])
        inputs[name] = Input(
            modality=layout.modality,
            shape=shape,
            dtype=str(tensor.dtype).removeprefix("torch."),
            optional=count > 0,
        )
        ends = "" if lengths is None else f", which end after {lengths[0]:,} to {plural(f'{lengths[1]:,}', 'step')}"
        lacking[name] = f"{ends}{f', missing in {count:,}' if count else ''}"
    count = len(next(iter(positions.values())))
    return SeveralInputs(sources, positions, [f"sample {k}" for k in range(count)]), inputs, lacking


def present_samples(where: str, values: Tensor, spec_input: Input) -> tuple[np.ndarray, tuple[int, int] | None]:
    """(N,) bool, the samples that are not NaN throughout; the shortest and longest length of sequences if they differ.

    Raises:
        DataError: infinity, or NaN within a sample but after the end of a sequence.
    """
    if not values.is_floating_point() or not len(values):
        return np.ones(len(values), bool), None
    missing = values.isnan()
    present = ~missing.flatten(1).all(1)
    is_bad = torch.isinf(values).flatten(1).any(1)
    lengths = None
    if spec_input.axes == ("time", "feature"):
        inside = ~missing.all(2)
        ends = inside.sum(1)
        is_bad |= (missing.any(2) & (torch.arange(values.shape[1]) < ends[:, None])).any(1)
        is_bad |= (inside & (torch.arange(values.shape[1]) >= ends[:, None])).any(1)
        shortest, longest = int(ends[present].min()) if present.any() else 0, int(ends.max())
        lengths = (shortest, longest) if shortest < values.shape[1] else None
    else:
        is_bad |= present & missing.flatten(1).any(1)
    bad = torch.nonzero(is_bad)[:, 0].numpy()
    if len(bad):
        raise DataError(
            f"{where} holds infinity, or NaN within a sample, in {plural(f'{len(bad):,}', 'sample')}: {first_ids(bad)}",
            "Fix these samples; a sample that lacks the input is NaN throughout.",
        )
    return present.numpy(), lengths


def _ignored(file: ArrayFile, arrays: Mapping[str, Sequence[SplitArrays]], options: OpenOptions) -> list[Finding]:
    used = {name for parts in arrays.values() for part in parts for name in (part.x, *part.y)}
    used |= {name for name in file.shapes if options.group in (name, split_and_role(name)[1])}
    ignored = [name for name in file.shapes if name not in used]
    if not ignored:
        return []
    return [
        Finding(
            kind="ignored-column",
            severity="note",
            where=tuple(ignored),
            count=len(ignored),
            message=f"Not used: {', '.join(map(repr, ignored[:5]))}" + (" ..." if len(ignored) > 5 else "."),
            remedy="Name them in --inputs or --target.",
        )
    ]


FORMAT = Format("arrays", recognises, open_raw)

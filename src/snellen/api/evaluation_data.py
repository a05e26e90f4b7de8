"""The data that a run is evaluated on: the run's own splits, and nothing that it was trained on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import torch

from snellen.api.lookup import read_origin, warn, with_present_options
from snellen.core.errors import DataError, short_repr
from snellen.core.experience import Experience
from snellen.core.record import Record, read_predictions
from snellen.core.run import Progress
from snellen.core.spec import Spec
from snellen.data.experience import open_experience, require_samples, samples_of
from snellen.data.names import BUILTIN_NAMES
from snellen.data.sample_identity import (
    Changes,
    identify,
    read_identity,
    with_stored_splits,
    without_training_samples,
    write_identity,
)
from snellen.data.source import ArraySource


def is_generated(data: Experience) -> bool:
    """Whether the data is a function of its seeds: built in, or the episodes of a world."""
    return samples_of(data) is None or (data.origin is not None and data.origin["data"] in BUILTIN_NAMES)


def with_splits_of_run(folder: Path, record: Record, data: Experience) -> tuple[Experience, Changes | None]:
    """The data of a run with the splits that it was trained with, and how the data has changed since, or None.

    Raises:
        DataError: for a run without a list of its samples (before schema 2), if the sizes of the splits differ.
    """
    stored, samples = read_identity(folder), samples_of(data)
    if stored is not None and samples is not None:
        opened, changes = with_stored_splits(samples, stored)
        return with_imputed_values(opened, record.spec) if changes else opened, changes
    data = with_rounding_of(record, data)
    if not is_generated(data) and data.spec.sizes != record.spec.sizes:
        sizes = [", ".join(f"{name} {n:,}" for name, n in spec.sizes.items()) for spec in (record.spec, data.spec)]
        raise DataError(
            f"The data of {folder} has changed since it was trained: {sizes[0]} samples then, {sizes[1]} now",
            "The run has no list of its samples: restore the data, or train again.",
        )
    for split in ("val", "test"):  # data made in memory is of no version of the rounding
        if (folder / "predictions" / f"{split}.safetensors").exists():
            ids = read_predictions(folder, split).get("ids")
            if ids is not None and not torch.equal(ids.sort().values, data.splits[split]):
                raise DataError(
                    f"The {split} split of {folder} has other samples than that of the data now",
                    "The run has no list of its samples: restore the data, or train again.",
                )
    return data, None


def with_rounding_of(record: Record, data: Experience) -> Experience:
    """The data with its generated splits rounded as those of a run: with others it would be tested on what it learned.

    Data made in memory is returned as it is.
    """
    return data if record.data is None else _with_rounding(data, read_origin(record.data).options.rounding)


def _with_rounding(data: Experience, rounding: Literal[1, 2]) -> Experience:
    if data.origin is None or data.origin["options"].rounding == rounding:
        return data
    options = dataclasses.replace(data.origin["options"], rounding=rounding)
    opened = open_experience(data.origin["data"], seed=data.origin["seed"], options=options)
    return dataclasses.replace(data, splits=opened.splits, spec=opened.spec, origin=opened.origin)


def check_same_rounding(folder: Path, data: Experience, rounding: Literal[1, 2], folds: bool = False) -> None:
    """Check that a ladder, study or cross-validation that began under a version of the rounding has the same splits.

    Raises:
        DataError: its models would be trained and tested on other samples.
    """
    former = _with_rounding(data, rounding)
    if former is data or (
        not folds and all(torch.equal(former.splits[name], ids) for name, ids in data.splits.items())
    ):
        return
    raise DataError(
        f"{folder} was started by a version of Snellen that rounded the splits of {data.spec.name} differently",
        "Finish it with that version, or start anew with another --out.",
    )


def check_same_data(folder: Path, data: Experience, is_new: bool) -> None:
    """Store the identity of the data of a new ladder, study or cross-validation; compare that of an existing one.

    Raises:
        DataError: if the data has changed since: its models would be trained and tested on other samples.
    """
    samples = samples_of(data)
    if samples is None or is_generated(data):
        return
    if is_new:
        write_identity(folder, identify(samples))
        return
    stored = read_identity(folder)
    opened, changes = (data, None) if stored is None else with_stored_splits(samples, stored)
    if changes or opened is not data:
        text = changes.text() if changes else "its splits have other samples"
        raise DataError(
            f"The data of {folder} has changed since it was started: {text}",
            "Restore it, or start anew with another --out.",
        )


def with_present_rounding(folder: Path, data: Experience, stored: Any, folds: bool) -> Any:
    """How the data of a study or cross-validation was opened, as stored, with the present options and rounding.

    Raises:
        DataError: the splits, or the folds, were rounded differently.
    """
    plain = with_present_options(stored)
    if not isinstance(plain, dict) or data.origin is None:
        return plain
    check_same_rounding(folder, data, plain["options"]["rounding"], folds)
    return {**plain, "options": {**plain["options"], "rounding": data.origin["options"].rounding}}


def check_splits(data: Experience) -> None:
    """Raise DataError if a split has no sample: nothing could be trained, selected or tested."""
    empty = [name for name, size in data.spec.sizes.items() if not size]
    if empty:
        samples = samples_of(data)
        count = sum(data.spec.sizes.values()) if samples is None else len(samples.source)
        raise DataError(
            f"{data.spec.name} has {count:,} samples, of which none is in the {' or the '.join(empty)} split",
            "Add samples, or give a split of your own: folders train, val and test, or a column split in a table.",
        )


def with_imputed_values(data: Experience, spec: Spec) -> Experience:
    """Data with missing cells replaced as in training: the medians of other rows would differ."""
    samples = samples_of(data)
    if samples is None:
        return data
    source, columns, own = samples.source, spec.input.columns, data.spec.input.columns
    if not isinstance(source, ArraySource) or source.missing is None or not columns or not own:
        return data
    fills = [c.fill for c in columns for _ in range(c.width)]
    if len(fills) != source.values.shape[1]:
        return data  # other columns, which `check_columns` refuses
    fill = torch.tensor([0.0 if f is None else f for f in fills], dtype=torch.float64)
    missing = torch.from_numpy(source.missing) & torch.tensor([f is not None for f in fills])
    values = torch.where(missing, fill, source.values.double()).to(source.values.dtype)
    return dataclasses.replace(data, source=ArraySource(values, source.names, source.missing))


def what_is_left(folder: Path, record: Record, data: Experience, split: str, progress: Progress | None) -> Experience:
    """The data of a run in the run's splits; samples that were added or replaced since training are in none.

    Args:
        progress: receives a message if the data has changed.
    Raises:
        DataError: if no sample of `split` is left.
    """
    opened, changes = with_splits_of_run(folder, record, data)
    if progress is not None and not is_generated(data) and read_identity(folder) is None:
        progress.message(f"{folder} has no list of its samples, as runs before schema 2: changed files go unnoticed.")
    if changes:
        left, then = len(opened.splits[split]), record.spec.sizes[split]
        message = f"The data of {folder} has changed since the run was trained: {changes.text()}"
        if not left:
            raise DataError(message, f"No sample of the {split} split is left: restore the data.")
        warn(progress, f"{message}. Evaluated: the {left:,} of {then:,} {split} samples that are left.")
    return opened


def without_trained_on(
    folder: Path, record: Record, data: Experience, split: str, progress: Progress | None
) -> Experience:
    """Other data without the samples that a run was trained on; a copy of the run's data in the splits of the run.

    Args:
        progress: receives a message if there are any.
    Raises:
        DataError: if no sample of `split` is left.
    """
    data = with_imputed_values(with_rounding_of(record, data), record.spec)
    stored = read_identity(folder)
    if stored is None:
        return data
    samples = require_samples(data, "to evaluate")
    copy, changes = with_stored_splits(samples, stored)
    if not changes:
        return copy
    rest, names = without_training_samples(samples, stored, split)
    if names and not len(rest.splits[split]):
        raise DataError(
            f"{folder} was trained or selected on all {len(names):,} samples of the {split} split of {data.spec.name}",
            "Give other data.",
        )
    if names:
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        warn(
            progress,
            f"{len(names):,} of {len(data.splits[split]):,} samples of {data.spec.name} belong to the training or "
            f"validation split of {folder} and are left out ({shown}).",
        )
    return rest


def check_columns(expected: Spec, given: Spec) -> None:
    """Raise DataError if data holds another kind of input, or other columns and categories, than the model reads."""
    if len(expected.inputs) > 1 and list(given.inputs) == list(expected.inputs):
        for name in expected.inputs:
            check_columns(expected.with_input(name), given.with_input(name))
        return
    if len(given.inputs) != len(expected.inputs):
        raise DataError(
            f"{given.name} has the inputs {', '.join(given.inputs)}, the model reads {', '.join(expected.inputs)}",
            "Give the inputs of the training data.",
        )
    if given.modality != expected.modality:
        raise DataError(
            f"{given.name} holds {given.modality} inputs, the model reads {expected.modality}",
            "Give the kind of data that the model was trained on.",
        )
    if given.input.rate != expected.input.rate:
        raise DataError(
            f"{given.name} has {given.input.rate or 0:,g} samples per second, the model reads "
            f"{expected.input.rate or 0:,g}",
            f"Resample it: --sample-rate {expected.input.rate or 0:g}",
        )
    a, b = ({column.name: column.categories for column in spec.input.columns or ()} for spec in (expected, given))
    if list(a) != list(b) and sorted(a) == sorted(b):
        raise DataError(
            f"{given.name} has its columns in the order {short_repr(', '.join(b))}, the model reads "
            f"{short_repr(', '.join(a))}",
            "Give the columns in the order of the training data.",
        )
    if list(a) != list(b):
        missing, more = [name for name in a if name not in b], [name for name in b if name not in a]
        parts = [
            f"{text} {short_repr(', '.join(names))}"
            for text, names in (("it lacks", missing), ("the model does not read", more))
            if names
        ]
        raise DataError(
            f"{given.name} has other columns than the model reads: {'; '.join(parts) or short_repr(', '.join(b))}",
            "Give the columns of the training data, with the same --group and --target.",
        )
    other = next((name for name in a if a[name] != b[name]), None)
    if other is not None:
        raise DataError(
            f"Column {other!r} of {given.name} has the categories {short_repr(b[other])}, that of the model "
            f"{short_repr(a[other])}",
            "Evaluate on data with the same categories.",
        )
    if expected.input.levels != given.input.levels:
        states = [" x ".join(map(str, spec.input.levels)) or "any" for spec in (given, expected)]
        raise DataError(
            f"{given.name} has {states[0]} states, the model reads {states[1]}",
            "Give a world with the states of the model.",
        )
    differing = [
        (axis, ours, theirs)
        for axis, ours, theirs in zip(expected.input.axes, expected.input.shape, given.input.shape, strict=True)
        if not expected.input.has_pixels and ours not in (None, theirs)
    ]
    if differing:
        axis, ours, theirs = differing[0]
        what = "numbers per sample" if expected.input.axes == ("feature",) else f"along the axis {axis}"
        raise DataError(
            f"{given.name} has {'samples of several lengths' if theirs is None else f'{theirs} {what}'}, "
            f"the model reads {ours}",
            "Give the kind of data that the model was trained on.",
        )

"""`snellen.dataset`: open a dataset by name or path."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import torch
from torch import Tensor

from snellen.core.errors import DataError, UsageError, suggest_name
from snellen.core.input_files import real_path
from snellen.core.spec import Boxes, Classes, Labels, Numbers, PixelClasses, Preprocessing, Several, Spec
from snellen.core.views import Finding
from snellen.data.check.checks import check_dataset
from snellen.data.check.groups import split_size_findings, with_consecutive_groups
from snellen.data.dataset import Dataset, Labelled, RawDataset, class_counts, truth_of
from snellen.data.decode.image_files import ImageFiles
from snellen.data.formats import CONSECUTIVE, Format, OpenOptions, formats
from snellen.data.formats.single_folders import single_folders
from snellen.data.formats.unread_content import unread_error
from snellen.data.input_selection import select_inputs
from snellen.data.named_datasets import BUILTIN, BUILTIN_SERIES, SEVERAL_INPUTS, find_named_dataset, open_builtin
from snellen.data.names import BUILTIN_NAMES, NAMED, WORLD_NAMES
from snellen.data.splits import make_splits
from snellen.data.target_bounds import target_bounds


def dataset(data: str | Path, *, seed: int = 0, options: OpenOptions | None = None) -> Dataset[Labelled]:
    """Open a built-in dataset, a named public dataset, or the data at a path.

    Args:
        data: a name (`digits`, `moons`, `mnist` ...) or a path.
        seed: seed of generated splits and of built-in data.
        options: format, target columns and so on.
    Raises:
        DataError: if the data does not exist or is invalid.
    """
    options = options or OpenOptions()
    name = str(data)
    path = Path(data).expanduser()
    if name in WORLD_NAMES:
        raise UsageError(f"{name} is a world: it has episodes, and no samples", f"Train a policy: snellen train {name}")
    if name in BUILTIN_SERIES:
        _check_builtin(name, options)
        raw = BUILTIN_SERIES[name](seed, options)
    elif name in BUILTIN:
        _check_builtin(name, options)
        if options.sequence_id or options.time or options.row_steps:
            raise UsageError(f"{name} is built in and has no columns", "Omit --sequence-id, --time and --row-steps.")
        of_series = next((flag for flag, value in options.of_series.items() if value is not None), None)
        if of_series is not None:
            raise UsageError(f"--{of_series} does not apply to {name}, which is built in", f"Omit --{of_series}.")
        if options.inputs and name not in SEVERAL_INPUTS:
            raise UsageError(
                f"--inputs does not apply to {name}, which is built in and has one input", "Omit --inputs."
            )
        raw = open_builtin(name, seed, options)
        if options.inputs:
            raw = select_inputs(raw, options.inputs, name)
    else:
        path = find_named_dataset(name) if name in NAMED else path
        name = name if name in NAMED else real_path(path).name
        path, raw = _open_path(path, options)
        raw = with_consecutive_groups(raw) if options.group == CONSECUTIVE and raw.groups is None else raw
        raw = _with_nodata(raw, options)
    has_name = str(data) in BUILTIN_NAMES or str(data) in NAMED
    origin = {"data": str(data) if has_name else str(real_path(path)), "seed": seed, "options": options}
    opened = assemble(check_dataset(raw, options, str(path)), name, seed, origin, options)
    return dataclasses.replace(
        opened,
        findings=(*_same_name_findings(name, str(data)), *opened.findings),
        preprocessing=Preprocessing(pages=options.pages, nodata=_nodata(options)),
    )


def _same_name_findings(name: str, data: str) -> list[Finding]:
    """The warning that a file or folder has the name of the built-in or public dataset that is opened in its place."""
    if name != data or not (name in BUILTIN_NAMES or name in NAMED) or not os.path.exists(name):
        return []
    kind = "built-in" if name in BUILTIN_NAMES else "public"
    place = "folder" if os.path.isdir(name) else "file"
    return [
        Finding(
            kind="same-name",
            message=f"{name} is the {kind} dataset; the {place} of that name is ./{name}",
            remedy=f"Give ./{name} to open the {place}.",
        )
    ]


def _check_builtin(name: str, options: OpenOptions) -> None:
    """Raise UsageError for options that no built-in data has."""
    if options.format is not None:
        raise UsageError(f"{name} is built in and has no format", "Omit --data-format.")
    if options.modality is not None:
        raise UsageError(f"{name} is built in and has one modality", "Omit --modality.")
    of_files = {"group": options.group, "impute": options.impute, "pages": options.pages, "nodata": options.nodata}
    if (flag := next((flag for flag, value in of_files.items() if value is not None), None)) is not None:
        raise UsageError(f"--{flag} does not apply to {name}, which is built in", f"Omit --{flag}.")
    _check_options_of_one_format(name, "built-in data", options)


def assemble(
    raw: RawDataset, name: str, seed: int, origin: dict[str, object] | None, options: OpenOptions | None = None
) -> Dataset[Labelled]:
    """Make a dataset of raw data: splits, counts, spec."""
    options = options or OpenOptions()
    splits = make_splits(raw, seed, options.folds, options.fold, options.rounding)
    truth = raw.truth if raw.truth is not None else torch.zeros(len(raw.source), 0)
    target = raw.target
    if isinstance(target, Several):
        train = truth[splits["train"]]
        target = Several(parts={n: _with_counts(p, truth_of(target, n, train)) for n, p in target.parts.items()})
    elif isinstance(target, Classes | Labels | Numbers):
        target = _with_counts(target, truth[splits["train"]])
    elif isinstance(target, PixelClasses | Boxes) and raw.annotations is not None:
        target = dataclasses.replace(target, counts=raw.annotations.counts(splits["train"], len(target.names)))
    spec = Spec(name=name, inputs=raw.inputs, target=target, sizes={s: len(ids) for s, ids in splits.items()})
    return Dataset(
        spec=spec,
        source=raw.source,
        truth=truth,
        splits=splits,
        recognised_as=raw.recognised_as,
        findings=(*raw.findings, *split_size_findings(raw, splits, options)),
        origin=origin,
        files=raw.files,
        skipped=raw.skipped,
        annotations=raw.annotations,
        group_names=raw.group_names,
    )


def _with_counts(target: Classes | Labels | Numbers, train: Tensor) -> Classes | Labels | Numbers:
    """The target with the counts of its classes, or the bounds of its numbers, in the training targets."""
    if isinstance(target, Numbers):
        lowest, highest = target_bounds(train)
        return dataclasses.replace(target, lowest=lowest, highest=highest)
    return dataclasses.replace(target, counts=class_counts(target, train))


def _nodata(options: OpenOptions) -> float | None:
    return options.nodata if isinstance(options.nodata, float) else None


def _with_nodata(raw: RawDataset, options: OpenOptions) -> RawDataset:
    """Raw data with the value of pixels without data. Raises UsageError unless it has images of more than 8 bits."""
    if options.nodata is None or raw.nodata_replaced:
        return raw
    if not isinstance(raw.source, ImageFiles) or raw.source.dtype == "uint8":
        raise UsageError(
            "--nodata applies to image files of more than 8 bits", f"Omit it: this is {raw.recognised_as}."
        )
    return dataclasses.replace(raw, source=raw.source.with_nodata(options.nodata))


def _check_options(path: Path, format: Format, options: OpenOptions) -> None:
    """Raise UsageError for options that do not apply to a format."""
    if options.inputs and format.name not in ("table", "arrays") and not format.future:
        raise UsageError(f"--inputs applies to tables and arrays; {path} is read as {format.name}", "Omit --inputs.")
    of_tables = {"sequence-id": options.sequence_id, "time": options.time, "row-steps": options.row_steps}
    if options.sequence_id and options.row_steps:
        raise UsageError("--sequence-id and --row-steps exclude each other", "A row is one step, or all of them.")
    given = next((name for name, value in of_tables.items() if value), None)
    if given is not None and format.name != "table" and not format.future:
        raise UsageError(f"--{given} applies to tables; {path} is read as {format.name}", f"Omit --{given}.")
    if options.modality is not None and format.name != "arrays" and not format.future:
        raise UsageError(
            f"--modality applies to arrays (NPZ, HDF5); {path} is read as {format.name}", "Omit --modality."
        )


def _check_options_of_one_format(data: Path | str, format: str, options: OpenOptions) -> None:
    """Raise UsageError for options of one format where the data is read as another."""
    if options.sample_rate is not None and format not in ("audio", "table"):
        raise UsageError(f"--sample-rate applies to recordings; {data} is read as {format}", "Omit --sample-rate.")
    for flag, value, only, what in (
        ("--mesh-points", options.mesh_points, ("meshes",), "meshes"),
        ("--mesh-samples", options.mesh_samples, ("meshes",), "meshes"),
        ("--surface-side", options.surface_side, ("image-surface",), "one image fitted as a surface"),
        ("--frame-rate", options.frame_rate, ("motion", "recordings"), "motion and recordings to forecast"),
        ("--pose", options.pose, ("motion",), "motion (AMC, BVH, exponential maps)"),
        ("--skeleton", options.skeleton, ("motion", "recordings"), "motion"),
    ):
        if value is not None and format not in only:
            raise UsageError(f"{flag} applies to {what}; {data} is read as {format}", f"Omit {flag}.")


def _open_path(path: Path, options: OpenOptions) -> tuple[Path, RawDataset]:
    """The folder or file that holds the data, at the path or below single folders, and the data."""
    if not path.exists():
        raise DataError(f"{path} does not exist", suggest_name(str(path), [*BUILTIN, *NAMED]))
    readers = formats()
    if options.format is not None and options.format not in readers:
        raise UsageError(f"Unknown format {options.format!r}", suggest_name(options.format, list(readers)))
    candidates = [format for format in readers.values() if not format.for_target]
    if options.format is not None:
        candidates = [readers[options.format]]
    elif options.target:
        candidates = [*(format for format in readers.values() if (format.for_target,) == options.target), *candidates]
    if options.wants_future:
        candidates = [format for format in candidates if format.future]
        if not candidates:
            raise UsageError(
                f"--data-format {options.format} has targets of its own; --task forecast, --horizon, --window and "
                "--window-stride apply to recordings",
                "Omit --data-format, or these options.",
            )
    places = single_folders(path)
    for format in candidates:
        # Class folders and pairs are recognised at any depth, so those above the data would become a part of a name.
        for place in reversed(places) if format.any_depth else places:
            if format.recognises(place):
                _check_options(path, format, options)
                _check_options_of_one_format(path, format.name, options)
                raw = format.open_raw(place, options)
                if place == path:
                    return place, raw
                below = place.relative_to(path).as_posix()
                return place, dataclasses.replace(raw, recognised_as=f"{raw.recognised_as}; read from {below}/")
    if options.format is not None or options.wants_future:
        _check_options(path, candidates[-1], options)  # of several, the least specific
        _check_options_of_one_format(path, candidates[-1].name, options)
        return path, candidates[-1].open_raw(path, options)
    raise unread_error(path, f"Formats: {', '.join(readers)}; choose one with --data-format.")

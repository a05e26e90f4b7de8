"""Export of a run's model as one file, written only after a parity check against the run."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from snellen.core import file_io
from snellen.core.errors import UsageError, first_line, suggest_name
from snellen.core.experience import Experience
from snellen.core.record import Record, versions
from snellen.core.serialization import to_plain
from snellen.core.task import ExportedModel
from snellen.export import detection_parity, to_onnx, to_torch
from snellen.export.example_inputs import differing_sizes, example_batches, input_shape, learned_range
from snellen.export.onnx_recurrent import OnnxRecurrent, with_onnx_recurrent_layers
from snellen.export.parity import compare
from snellen.modalities import modality_of


@dataclass(frozen=True, kw_only=True)
class ExportFormat:
    """File format of exported models.

    Args:
        suffix: of the file name.
        check_packages: raises EnvironmentProblem if a package is missing.
        convert: traced program, its dynamic axes and output names to a model in this format.
        serialize: that model and its metadata to bytes.
        for_any_length: a module to one that can be traced for inputs of any length.
        run_batches: those bytes and batches of inputs to the outputs of the external runtime for each.
    """

    suffix: str
    check_packages: Callable[[], None]
    convert: Callable[[ExportedProgram, tuple[Any, ...], Sequence[str]], Any]
    serialize: Callable[[Any, Mapping[str, Any]], bytes]
    for_any_length: Callable[[nn.Module], nn.Module]
    run_batches: Callable[[bytes, Sequence[Tensor]], list[dict[str, Tensor]]]


FORMATS = {
    "onnx": ExportFormat(
        suffix=".onnx",
        check_packages=to_onnx.check_packages,
        convert=to_onnx.convert,
        serialize=to_onnx.serialize,
        for_any_length=with_onnx_recurrent_layers,
        run_batches=to_onnx.run_batches,
    ),
    "torch": ExportFormat(
        suffix=".pt2",
        check_packages=to_torch.check_packages,
        convert=to_torch.convert,
        serialize=to_torch.serialize,
        for_any_length=lambda module: module,  # recurrent layers are refused in `_axes`
        run_batches=to_torch.run_batches,
    ),
}


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """Exported file and its metadata."""

    path: Path
    metadata: Mapping[str, Any]


def export(
    folder: Path,
    record: Record,
    exported: ExportedModel,
    data: Callable[[], Experience],
    to: str,
    out: str | Path | None = None,
) -> ExportResult:
    """Export the model of a run, with its preprocessing, as one file that runs without Snellen.

    Before it is written, outputs of run and file are compared on 100 inputs in batches of several sizes (for dense
    prediction and detection: a few images of two sizes). The file is written atomically, only if they agree.

    Args:
        folder: run folder.
        exported: model of the run, with named outputs.
        data: opens the data of the run; if it raises, inputs are generated at random.
        to: "onnx" or "torch".
        out: output file, overwritten; None: `model.onnx` or `model.pt2` in the run folder, which must not exist.
    Raises:
        UsageError: for an unknown `to`, a wrong file name, or a model that cannot be traced.
        EnvironmentProblem: if a package is missing or the file cannot be written.
        Mismatch: if outputs of file and run differ; nothing is written.
    """
    if to not in FORMATS:
        raise UsageError(f"There is no export format {to!r}", suggest_name(to, list(FORMATS)))
    if len(record.spec.inputs) > 1:
        raise UsageError(
            f"{record.learner} reads several inputs, and a model is exported with one", "Use snellen predict RUN TABLE."
        )
    export_format = FORMATS[to]
    path = _output_path(folder, export_format.suffix, out)
    export_format.check_packages()
    _check_lengths(record, exported.module, to)
    module = copy.deepcopy(exported.module).cpu().to(memory_format=torch.contiguous_format).eval()
    batches, origin = (detection_parity.example_images if exported.is_detector else example_batches)(
        record, module, data
    )
    with torch.no_grad():
        expected = [module(batch) for batch in batches]
    traced = export_format.for_any_length(module) if record.spec.input.is_ragged else module
    axes = _axes(record, traced, exported.min_size)
    with _suppress_output():
        program = _trace(traced, batches[1], axes, record.learner)
        converted = export_format.convert(program, axes, [output.name for output in exported.outputs])
    metadata = _metadata(folder, record, exported, module, expected[0])
    actual = export_format.run_batches(export_format.serialize(converted, metadata), batches)
    if exported.is_detector:
        detection_filter = detection_parity.filter_of(exported.module)
        parity = detection_parity.compare(expected, actual, batches, exported.outputs, detection_filter)
    else:
        parity = compare(expected, actual, exported.outputs)
    metadata["parity"] = {**parity, "from": origin, **differing_sizes(batches)}
    file_io.write_bytes(path, export_format.serialize(converted, metadata))
    return ExportResult(path=path, metadata=metadata)


def _output_path(folder: Path, suffix: str, out: str | Path | None) -> Path:
    """Path of the output file; an existing file is overwritten only if named explicitly and with the right suffix."""
    if out is None:
        file_io.reject_links(folder)
        path = folder / f"model{suffix}"
        if path.exists():
            raise UsageError(f"{path} exists already", f"Give --out {path} to overwrite it.")
        return path
    if Path(out).suffix != suffix:
        raise UsageError(f"{out} does not end in {suffix}", f"Use that suffix, such as --out model{suffix}.")
    return Path(out)


def _check_lengths(record: Record, module: nn.Module, to: str) -> None:
    """Raise UsageError for a model whose computation depends on the lengths of its inputs, where these vary."""
    if record.spec.input.is_ragged and any(getattr(part, "exports_one_length", False) for part in module.modules()):
        noun = modality_of(record.spec).noun
        raise UsageError(
            f"{record.learner} has no {'ONNX' if to == 'onnx' else 'torch'} export for {noun} of several lengths",
            f"Use snellen predict or snellen serve; or train on {noun} of one length.",
        )


_AXIS_NAMES = {"channel": "channels", "y": "height", "x": "width"}  # in the exported file


def _axes(record: Record, module: nn.Module, min_size: int) -> tuple[dict[int, Any]]:
    """Dynamic axes of the input: the batch, and those whose length varies, if the model accepts any."""
    spec_input = record.spec.input
    replaced = {id(layer.layers) for layer in module.modules() if isinstance(layer, OnnxRecurrent)}
    fixed = [layer for layer in module.modules() if isinstance(layer, nn.RNNBase) and id(layer) not in replaced]
    if spec_input.is_ragged and fixed:
        noun = modality_of(record.spec).noun
        raise UsageError(
            f"{record.learner} reads {noun} of several lengths, and torch.export fixes the length of recurrent layers",
            f"Use --to onnx, snellen predict or snellen serve; or train on {noun} of one length.",
        )
    names = ("batch", *(_AXIS_NAMES.get(axis, axis) for axis in spec_input.axes))
    min_steps = 3 if replaced else None  # for tracing
    shape = (None, *input_shape(record.spec, record.preprocessing))
    return (
        {
            axis: Dim(names[axis], min=min_steps if names[axis] == "time" else min_size if axis > 1 else None)
            for axis, side in enumerate(shape)
            if side is None
        },
    )


def _trace(module: nn.Module, x: Tensor, axes: Any, learner: str) -> ExportedProgram:
    """Trace a module for any batch size.

    The non-strict mode of torch.export fixes `len(x)` to a constant; the strict mode handles it.
    """
    try:
        with torch.no_grad():
            try:
                return torch.export.export(module, (x,), dynamic_shapes=axes, strict=False)
            except Exception:  # a custom module may fail in any way; strict mode then reports why
                return torch.export.export(module, (x,), dynamic_shapes=axes, strict=True)
    except Exception as error:
        raise UsageError(
            f"{learner} cannot be traced: {first_line(error)}",
            "Make the computation of its forward independent of the input values; see torch.export.",
        ) from error


@contextlib.contextmanager
def _suppress_output() -> Iterator[None]:
    """Suppress the pages that torch logs and prints about a graph that it cannot trace; the error is raised anyway."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", FutureWarning)  # from torch, in torchvision's code
            warnings.filterwarnings("ignore", "The .grad attribute", UserWarning)  # in torch's loop over a sequence
            yield
    finally:
        logging.disable(before)


def _metadata(
    folder: Path, record: Record, exported: ExportedModel, module: nn.Module, sample_outputs: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Metadata of the file, JSON-compatible; `sample_outputs` are those of one batch."""
    spec = record.spec
    sides = [side if side is not None else "any" for side in input_shape(spec, record.preprocessing)]
    input_info: dict[str, Any] = {"name": "input", "dtype": spec.input.dtype, "shape": ["batch", *sides]}
    if modality_of(spec).has_value_range:
        input_info["reading"] = to_plain(record.preprocessing)
        values = learned_range(module, spec)
        if values is not None:
            input_info["range"] = list(values)
    elif spec.input.rate is not None:
        input_info["rate"] = spec.input.rate
    elif spec.input.columns:
        input_info["columns"] = [to_plain(column) for column in spec.input.columns]
    outputs_info: list[dict[str, Any]] = []
    for output in exported.outputs:
        y = sample_outputs[output.name]
        shape: list[Any] = [*y.shape[1:]]
        if y.ndim == 4 and not exported.is_detector:  # full resolution
            shape[1:] = ["height", "width"]
        outputs_info.append(
            {
                "name": output.name,
                "dtype": str(y.dtype).removeprefix("torch."),
                "shape": ["batch", *shape],
                "columns": list(output.columns),
                **({"units": list(output.units)} if output.units else {}),
            }
        )
    return {
        "snellen": versions()["snellen"],
        "task": record.task,
        "learner": record.learner,
        "data": spec.name,
        "sha256": file_io.sha256(folder / "model.safetensors"),
        "input": input_info,
        "outputs": outputs_info,
    }

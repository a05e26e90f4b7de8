"""A run's model as one file, compared with the run before it is written."""

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

from snellen.core import files
from snellen.core.errors import UsageError, first_line, nearest
from snellen.core.record import Record, versions
from snellen.core.serialization import to_plain
from snellen.core.task import ExportedModel
from snellen.data.dataset import Dataset, Labelled
from snellen.export import detection_parity, to_onnx, to_torch
from snellen.export.example_inputs import asked, input_shape, learned_range, sizes
from snellen.export.parity import compare


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of file.

    Args:
        needs: raises EnvironmentProblem where a package is missing.
        convert: a traced program, its axes that vary and the names of its outputs, to what is kept in the file.
        content: that, and what is known about it, to bytes.
        ask: those bytes and batches of inputs, to what a program other than ours says of each.
    """

    suffix: str
    needs: Callable[[], None]
    convert: Callable[[ExportedProgram, tuple[Any, ...], Sequence[str]], Any]
    content: Callable[[Any, Mapping[str, Any]], bytes]
    ask: Callable[[bytes, Sequence[Tensor]], list[dict[str, Tensor]]]


KINDS = {
    "onnx": Kind(
        suffix=".onnx", needs=to_onnx.needs, convert=to_onnx.convert, content=to_onnx.content, ask=to_onnx.ask
    ),
    "torch": Kind(
        suffix=".pt2", needs=to_torch.needs, convert=to_torch.convert, content=to_torch.content, ask=to_torch.ask
    ),
}


@dataclass(frozen=True, kw_only=True)
class Published:
    """A written file, and what stands in it about itself."""

    path: Path
    about: Mapping[str, Any]


def export(
    folder: Path,
    record: Record,
    exported: ExportedModel,
    data: Callable[[], Dataset[Labelled]],
    to: str,
    out: str | Path | None = None,
) -> Published:
    """Writes the model of a run as one file that answers without Snellen, with its preprocessing inside.

    A hundred inputs in batches of several sizes (of answers about places: a few pictures of two sizes) go through the
    run and through the file as another program reads it. Only where both say the same is the file written, in one step.

    Args:
        folder: the run's.
        exported: its model, with named outputs.
        data: opens the run's data; where it raises, inputs are drawn.
        to: "onnx" or "torch".
        out: the file, which is written over; None: `model.onnx` or `model.pt2` in the run's folder, if not there.
    Raises:
        UsageError: for another `to` or a file that cannot be meant, or a model that cannot be traced.
        EnvironmentProblem: where a package is missing, or the file cannot be written.
        Mismatch: where file and run do not say the same; nothing is written.
    """
    if to not in KINDS:
        raise UsageError(f"Nothing is exported to {to!r}", nearest(to, list(KINDS)))
    kind = KINDS[to]
    path = _place(folder, kind.suffix, out)
    kind.needs()
    module = copy.deepcopy(exported.module).cpu().to(memory_format=torch.contiguous_format).eval()
    batches, origin = (detection_parity.pictures if exported.finds else asked)(record, module, data)
    with torch.no_grad():
        said = [module(batch) for batch in batches]
    axes = _axes(record, exported.least)
    with _silence():
        program = _traced(module, batches[1], axes, record.learner)
        made = kind.convert(program, axes, [output.name for output in exported.outputs])
    about = _about(folder, record, exported, module, said[0])
    answers = kind.ask(kind.content(made, about), batches)
    if exported.finds:
        parity = detection_parity.compare(said, answers, batches, exported.outputs)
    else:
        parity = compare(said, answers, exported.outputs)
    about["parity"] = {**parity, "from": origin, **sizes(batches)}
    files.write_bytes(path, kind.content(made, about))
    return Published(path=path, about=about)


def _place(folder: Path, suffix: str, out: str | Path | None) -> Path:
    """Where the file goes; an existing one is replaced only where it is named and of the same kind."""
    if out is None:
        path = folder / f"model{suffix}"
        if path.exists():
            raise UsageError(f"{path} is there already", f"Name the file, which is then written over: --out {path}")
        return path
    if Path(out).suffix != suffix:
        raise UsageError(f"{out} does not end in {suffix}", f"Name a file that does, such as --out model{suffix}.")
    return Path(out)


def _axes(record: Record, least: int) -> tuple[dict[int, Any]]:
    """The axes of the input that vary: the batch, and the sides of pictures where the model takes any size."""
    names = ("batch", "channels", "height", "width")
    shape = (None, *input_shape(record.spec, record.preprocessing))
    return (
        {axis: Dim(names[axis], min=least if axis > 1 else None) for axis, side in enumerate(shape) if side is None},
    )


def _traced(module: nn.Module, x: Tensor, axes: Any, learner: str) -> ExportedProgram:
    """The module's computation, for any batch.

    Running its code shows most of it, but `len(x)` is then a fixed number; reading its bytecode shows that too.
    """
    try:
        with torch.no_grad():
            try:
                return torch.export.export(module, (x,), dynamic_shapes=axes, strict=False)
            except Exception:  # a module of the user's own may fail in any way; then the other way tells why
                return torch.export.export(module, (x,), dynamic_shapes=axes, strict=True)
    except Exception as error:
        raise UsageError(
            f"{learner} cannot be traced: {first_line(error)}",
            "Its forward must compute the same way whatever the values are; see torch.export.",
        ) from error


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """What torch logs and prints of a graph that it gives up, pages of it, is kept from the user: the error tells."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", FutureWarning)  # of torch, in torchvision's own code
            yield
    finally:
        logging.disable(before)


def _about(
    folder: Path, record: Record, exported: ExportedModel, module: nn.Module, said: Mapping[str, Tensor]
) -> dict[str, Any]:
    """What stands in the file about itself, as plain data; `said` is of one batch."""
    spec = record.spec
    sides = [side if side is not None else "any" for side in input_shape(spec, record.preprocessing)]
    given: dict[str, Any] = {"name": "input", "dtype": spec.input.dtype, "shape": ["batch", *sides]}
    if spec.modality == "image":
        given["reading"] = to_plain(record.preprocessing)
        values = learned_range(module, spec)
        if values is not None:
            given["range"] = list(values)
    elif spec.input.columns:
        given["columns"] = [to_plain(column) for column in spec.input.columns]
    told: list[dict[str, Any]] = []
    for output in exported.outputs:
        y = said[output.name]
        inner: list[Any] = [*y.shape[1:]]
        if y.ndim == 4 and not exported.finds:  # as large as the picture
            inner[1:] = ["height", "width"]
        told.append(
            {
                "name": output.name,
                "dtype": str(y.dtype).removeprefix("torch."),
                "shape": ["batch", *inner],
                "columns": list(output.columns),
                **({"units": list(output.units)} if output.units else {}),
            }
        )
    return {
        "snellen": versions()["snellen"],
        "task": record.task,
        "learner": record.learner,
        "data": spec.name,
        "sha256": files.sha256(folder / "model.safetensors"),
        "input": given,
        "outputs": told,
    }

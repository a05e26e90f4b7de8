"""ONNX: one file that ONNX Runtime and many other programs compute."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from snellen.core.errors import EnvironmentProblem, UsageError, first_line

MOST = (1 << 31) - (1 << 24)  # bytes of weights: one file holds 2 GB, the graph needs some of them
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def _distances(a: Tensor, b: Tensor, p: float = 2.0, compute_mode: int | None = None) -> Tensor:
    """`torch.cdist`: (..., B, D) and (..., M, D) to (..., B, M)."""
    distances: Tensor = torch.linalg.vector_norm(a.unsqueeze(-2) - b.unsqueeze(-3), p, dim=-1)
    return distances


def _sorted(x: Tensor, *, stable: bool | None = None, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    """`torch.sort(stable=True)`: ONNX's TopK puts the lower index first among equals."""
    values, indices = torch.topk(x, x.shape[dim], dim=dim, largest=descending)
    return values, indices


# What torch does not write as ONNX by itself, in terms of what it does.
WRITTEN_OUT: dict[Any, Any] = {torch.ops.aten.cdist.default: _distances, torch.ops.aten.sort.stable: _sorted}


def needs() -> None:
    """Raises EnvironmentProblem where a package is missing."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise EnvironmentProblem(
            f"ONNX needs {', '.join(missing)}, which is not installed", 'pip install "snellen[onnx]"'
        )


def convert(program: ExportedProgram, axes: tuple[Any, ...], outputs: Sequence[str]) -> Any:
    """The program as an ONNX model.

    Raises:
        UsageError: where it has no form in ONNX, or is larger than one file may be.
    """
    size = sum(
        t.numel() * t.element_size()
        for t in (*program.state_dict.values(), *program.constants.values())
        if isinstance(t, Tensor)
    )
    if size > MOST:
        raise UsageError(f"The model has {size:,} bytes of weights, one ONNX file holds {MOST:,}", "Take --to torch.")
    try:
        if any(node.target in WRITTEN_OUT for node in program.graph.nodes):
            program = program.run_decompositions(WRITTEN_OUT)
        made = torch.onnx.export(
            program, dynamo=True, input_names=["input"], output_names=list(outputs), dynamic_shapes=axes, verbose=False
        )
    except torch.onnx.errors.OnnxExporterError as error:
        root: BaseException = error
        while root.__cause__ is not None:  # the last names the operator
            root = root.__cause__
        raise UsageError(f"The model has no form in ONNX: {first_line(root)}", "Take --to torch.") from error
    assert made is not None
    return made.model_proto


def content(model: Any, about: Mapping[str, Any]) -> bytes:
    """The bytes of the file, with what is known about the model among its metadata: text, or JSON."""
    import onnx

    onnx.helper.set_model_props(
        model,
        {
            key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for key, value in about.items()
        },
    )
    written: bytes = model.SerializeToString()
    return written


def ask(written: bytes, batches: Sequence[Tensor]) -> list[dict[str, Tensor]]:
    """What ONNX Runtime says of each batch."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(written, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return [
        dict(zip(names, map(torch.from_numpy, session.run(names, {"input": x.numpy()})), strict=True)) for x in batches
    ]

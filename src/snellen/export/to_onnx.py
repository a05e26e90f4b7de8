"""Export to ONNX, and execution in ONNX Runtime."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from snellen.core.errors import EnvironmentProblem, UsageError, first_line
from snellen.export.onnx_recurrent import translations

MAX_BYTES = (1 << 31) - (1 << 24)  # of weights: an ONNX file is limited to 2 GB, including the graph
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def _distances(a: Tensor, b: Tensor, p: float = 2.0, compute_mode: int | None = None) -> Tensor:
    """Decomposition of `torch.cdist`: (..., B, D) and (..., M, D) to (..., B, M)."""
    distances: Tensor = torch.linalg.vector_norm(a.unsqueeze(-2) - b.unsqueeze(-3), p, dim=-1)
    return distances


def _stable_sort(
    x: Tensor, *, stable: bool | None = None, dim: int = -1, descending: bool = False
) -> tuple[Tensor, Tensor]:
    """Decomposition of `torch.sort(stable=True)`: ONNX TopK puts the lower index first among equal values."""
    values, indices = torch.topk(x, x.shape[dim], dim=dim, largest=descending)
    return values, indices


# Decompositions of operators that torch.onnx does not translate.
DECOMPOSITIONS: dict[Any, Any] = {torch.ops.aten.cdist.default: _distances, torch.ops.aten.sort.stable: _stable_sort}


def check_packages() -> None:
    """Raise EnvironmentProblem if a package is missing."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise EnvironmentProblem(
            f"ONNX export needs {', '.join(missing)}, which is not installed", 'Run: pip install "snellen[onnx]"'
        )


def convert(program: ExportedProgram, axes: tuple[Any, ...], outputs: Sequence[str]) -> Any:
    """Convert a traced program to an ONNX model.

    Raises:
        UsageError: if an operator has no ONNX equivalent, or the model is too large for one file.
    """
    size = sum(
        t.numel() * t.element_size()
        for t in (*program.state_dict.values(), *program.constants.values())
        if isinstance(t, Tensor)
    )
    if size > MAX_BYTES:
        raise UsageError(
            f"The model has {size:,} bytes of weights, an ONNX file at most {MAX_BYTES:,}", "Use --to torch."
        )
    try:
        if any(node.target in DECOMPOSITIONS for node in program.graph.nodes):
            program = program.run_decompositions(DECOMPOSITIONS)
        exported = torch.onnx.export(
            program,
            dynamo=True,
            input_names=["input"],
            output_names=list(outputs),
            dynamic_shapes=axes,
            verbose=False,
            custom_translation_table=translations(program),
        )
    except torch.onnx.errors.OnnxExporterError as error:
        root: BaseException = error
        while root.__cause__ is not None:  # the innermost error names the operator
            root = root.__cause__
        raise UsageError(f"The model cannot be converted to ONNX: {first_line(root)}", "Use --to torch.") from error
    assert exported is not None
    return exported.model_proto


def serialize(model: Any, metadata: Mapping[str, Any]) -> bytes:
    """Bytes of the ONNX file; metadata values are stored as text or JSON."""
    import onnx

    onnx.helper.set_model_props(
        model,
        {
            key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for key, value in metadata.items()
        },
    )
    data: bytes = model.SerializeToString()
    return data


def run_batches(data: bytes, batches: Sequence[Tensor]) -> list[dict[str, Tensor]]:
    """Outputs of ONNX Runtime for each batch."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return [
        dict(zip(names, map(torch.from_numpy, session.run(names, {"input": x.numpy()})), strict=True)) for x in batches
    ]

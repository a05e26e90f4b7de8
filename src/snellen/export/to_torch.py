"""Export to a torch.export program, which torch runs without the code of the model."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

METADATA_FILE = "snellen.json"  # extra file of the program


def check_packages() -> None:
    """No package beyond torch is needed."""


def convert(program: ExportedProgram, axes: tuple[Any, ...], outputs: Sequence[str]) -> ExportedProgram:
    """Return the program unchanged."""
    return program


def serialize(program: ExportedProgram, metadata: Mapping[str, Any]) -> bytes:
    """Bytes of the .pt2 file; the metadata is an extra file in it."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={METADATA_FILE: json.dumps(metadata, ensure_ascii=False)})
    return buffer.getvalue()


def run_batches(data: bytes, batches: Sequence[Tensor]) -> list[dict[str, Tensor]]:
    """Outputs of the loaded program for each batch."""
    module = torch.export.load(io.BytesIO(data)).module()
    with torch.no_grad():
        return [module(x) for x in batches]

"""torch.export: one file that torch alone computes, without the code that made it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

ABOUT = "snellen.json"  # among the extra files of the program


def needs() -> None:
    """Nothing but torch."""


def convert(program: ExportedProgram, axes: tuple[Any, ...], outputs: Sequence[str]) -> ExportedProgram:
    """It is one already."""
    return program


def content(program: ExportedProgram, about: Mapping[str, Any]) -> bytes:
    """The bytes of the file, with what is known about the model in an extra file."""
    into = io.BytesIO()
    torch.export.save(program, into, extra_files={ABOUT: json.dumps(about, ensure_ascii=False)})
    return into.getvalue()


def ask(written: bytes, batches: Sequence[Tensor]) -> list[dict[str, Tensor]]:
    """What the program says of each batch, once read back."""
    module = torch.export.load(io.BytesIO(written)).module()
    with torch.no_grad():
        return [module(x) for x in batches]

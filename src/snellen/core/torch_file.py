"""Weights saved by torch.save: tensors only; pickled code is not run, and nothing is decompressed."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snellen.core.errors import DataError, first_line
from snellen.core.input_files import open_regular


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, or of the one under "state_dict", by name.

    Raises:
        DataError: the file cannot be read, or holds anything else.
    """
    try:
        with open_regular(path) as file:
            is_zip = zipfile.is_zipfile(file)
            if is_zip:
                with zipfile.ZipFile(file) as archive:
                    if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                        raise ValueError("it is compressed, which torch.save never does")
        content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
        if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
            content = content["state_dict"]
        if not isinstance(content, dict) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
            raise ValueError("it is not a dictionary of tensors")
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise DataError(
            f"Cannot read weights from {path}: {first_line(error)}",
            "Give a .safetensors file, or a state_dict saved by torch.save.",
        ) from error
    return {str(name): tensor for name, tensor in content.items()}

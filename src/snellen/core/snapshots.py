"""Snapshots: the weights of a small model after epochs 1, 2, 4, 8, …, for views of how it changes in training.

They are a part of the checkpoint, so a resumed run has the same ones, and are written once, when training ends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from snellen.core import file_io
from snellen.core.errors import DataError

FILE = "snapshots.safetensors"
MAX_BYTES = 1 << 20  # of the weights of a model; larger ones have no snapshots
MAX_COUNT = 12  # snapshots: the last one is of epoch 2,048

Weights = Mapping[str, Tensor]
_NAME = re.compile(r"([1-9]\d{0,8})/(.+)", re.DOTALL)  # epoch/name of the tensor


class Snapshots:
    """Snapshots of a model in training, by epoch. `run.keep` stores and restores them."""

    def __init__(self) -> None:
        self.weights: dict[int, dict[str, Tensor]] = {}

    def offer(self, epoch: int, model: nn.Module) -> None:
        """Store the weights after an epoch, counted from 1, if it is a power of two and the model is small."""
        if epoch & (epoch - 1) or len(self.weights) >= MAX_COUNT:
            return
        weights = model.state_dict()
        if sum(tensor.numel() * tensor.element_size() for tensor in weights.values()) <= MAX_BYTES:
            self.weights[epoch] = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}

    def state_dict(self) -> dict[int, dict[str, Tensor]]:
        return dict(self.weights)

    def load_state_dict(self, state: Any) -> None:
        is_valid = isinstance(state, dict) and all(
            isinstance(epoch, int)
            and isinstance(weights, dict)
            and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in weights.items())
            for epoch, weights in state.items()
        )
        if not is_valid:
            raise TypeError("the snapshots are not tensors by epoch")
        self.weights = dict(state)

    def write(self, folder: Path) -> None:
        """Write the file of a run, if there are any."""
        if self.weights:
            file_io.write_tensors(
                folder / FILE,
                {f"{epoch}/{name}": w for epoch, weights in self.weights.items() for name, w in weights.items()},
            )


def read_snapshots(folder: Path) -> dict[int, dict[str, Tensor]]:
    """Weights by epoch, ascending; empty for a run without snapshots.

    Raises:
        DataError: if the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    tensors, _ = file_io.read_tensors(path)
    snapshots: dict[int, dict[str, Tensor]] = {}
    for full_name, tensor in tensors.items():
        match = _NAME.fullmatch(full_name)
        if match is None:
            raise DataError(f"{path} is damaged: {full_name[:40]!r} is no tensor of an epoch", "Train again.")
        snapshots.setdefault(int(match[1]), {})[match[2]] = tensor
    return dict(sorted(snapshots.items()))

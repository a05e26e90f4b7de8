"""Several tensors with the same number of samples, by name: a batch of samples with several inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class SeveralTensors:
    """Tensors by name that have one first axis, that of the samples, along which they are indexed together.

    It has the methods of a tensor that batches need, so it takes the place of one. A missing input is NaN in all of its
    values.

    Args:
        tensors: (B, ...) by name.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = dict(tensors)
        lengths = {len(values) for values in self.tensors.values()}
        if len(lengths) != 1:
            raise ValueError(f"inputs of {sorted(lengths)} samples are no batch")
        self.shape = torch.Size(lengths)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[SeveralTensors]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, index: Any) -> SeveralTensors:
        """The samples of an index; of an integer one sample, whose axis stays."""
        rows = slice(index, index + 1 or None) if isinstance(index, int) else index
        return self._map(lambda values: values[rows])

    def _map(self, function: Callable[[Tensor], Tensor]) -> SeveralTensors:
        return SeveralTensors({name: function(values) for name, values in self.tensors.items()})

    def index_select(self, axis: int, positions: Tensor) -> SeveralTensors:
        return self._map(lambda values: values.index_select(axis, positions))

    def split(self, sizes: Sequence[int]) -> tuple[SeveralTensors, ...]:
        parts = {name: torch.split(values, list(sizes)) for name, values in self.tensors.items()}
        return tuple(SeveralTensors({name: of[k] for name, of in parts.items()}) for k in range(len(sizes)))

    def to(self, device: Any) -> SeveralTensors:
        return self._map(lambda values: values.to(device))

    def cpu(self) -> SeveralTensors:
        return self.to("cpu")

    def numel(self) -> int:
        return sum(values.numel() for values in self.tensors.values())

    def element_size(self) -> int:
        """Bytes of a value, at most."""
        return max(values.element_size() for values in self.tensors.values())


def is_missing(values: Tensor) -> Tensor:
    """(B,) whether an input of a sample is missing: all of its values are NaN."""
    return values.isnan().flatten(1).all(1)

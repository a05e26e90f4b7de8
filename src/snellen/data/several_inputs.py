"""A source of samples with several inputs, such as an image and a row of numbers, of which some may be missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from snellen.core.several_tensors import SeveralTensors
from snellen.core.spec import Preprocessing
from snellen.data.source import BadSamples, Source


class SeveralInputs:
    """Several sources side by side: each sample has one input of each, or lacks it.

    Args:
        sources: by the name of the input.
        positions: (N,) int64 by the name of the input: where each sample is in that source; -1: it lacks this input.
        names: of the samples, for the user.
    """

    def __init__(
        self, sources: Mapping[str, Source], positions: Mapping[str, np.ndarray], names: Sequence[str]
    ) -> None:
        self.sources = dict(sources)
        self.positions = dict(positions)
        self.names = list(names)

    def __len__(self) -> int:
        return len(self.names)

    def read(self, ids: np.ndarray, preprocessing: Preprocessing) -> Tensor:
        """`SeveralTensors` of the samples, in place of a tensor; an input that some lack is float32 with NaN."""
        tensors = {}
        problems: dict[int, str] = {}
        for name, source in self.sources.items():
            positions = self.positions[name][ids]
            is_present = positions >= 0
            if not is_present.any():  # the shape is that of any sample
                first = source.read(np.zeros(1, np.int64), preprocessing)
                tensors[name] = torch.full((len(ids), *first.shape[1:]), torch.nan)
                continue
            try:
                values = source.read(positions[is_present], preprocessing)
            except BadSamples as error:
                sample_of = dict(zip(positions.tolist(), ids.tolist(), strict=True))
                problems |= {sample_of[position]: reason for position, reason in error.problems.items()}
                continue
            tensors[name] = self.with_missing(name, values, torch.from_numpy(is_present))
        if problems:
            raise BadSamples(problems, {id: self.names[id] for id in problems})
        return cast(Tensor, SeveralTensors(tensors))

    def with_missing(self, name: str, values: Tensor, is_present: Tensor) -> Tensor:
        """Values of the samples that have the input, with NaN for those that lack it, (B, ...)."""
        if bool((self.positions[name] >= 0).all()):
            return values
        result = torch.full((len(is_present), *values.shape[1:]), torch.nan)
        result[is_present] = values.float()
        return result

    def all(self, preprocessing: Preprocessing) -> Tensor | None:
        return None

    def name(self, id: int) -> str:
        return self.names[id]

    def input_names(self, id: int) -> str:
        """Names of the files of a sample."""
        present = {name: int(of_input[id]) for name, of_input in self.positions.items() if of_input[id] >= 0}
        names = [self.sources[name].name(position) for name, position in present.items()]
        return ", ".join(name for name in names if not name.startswith("line "))

    def key(self) -> str | None:
        return None

    def subset(self, ids: np.ndarray) -> SeveralInputs:
        """These samples only, renumbered."""
        positions = {name: of_input[ids] for name, of_input in self.positions.items()}
        return SeveralInputs(self.sources, positions, [self.names[id] for id in ids.tolist()])

    def without(self, name: str) -> SeveralInputs:
        """The same samples, each without an input, unless it has no other: that keeps it."""
        has_other = np.stack([at >= 0 for other, at in self.positions.items() if other != name]).any(0)
        positions = {**self.positions, name: np.where(has_other, -1, self.positions[name])}
        return SeveralInputs(self.sources, positions, self.names)

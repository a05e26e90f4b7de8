"""Late fusion: an encoder for each input, whose features are concatenated.

Source: Baltrušaitis, Ahuja and Morency 2019, "Multimodal machine learning: a survey and taxonomy"; the features of a
missing input are learned, as in Ma et al. 2021, "SMIL: multimodal learning with severely missing modality".
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from snellen.core.several_tensors import SeveralTensors, is_missing
from snellen.nn.layers import Standardize


class SeveralStandardize(nn.Module):
    """Standardisation of several inputs, each by its own statistics; missing inputs do not count, and stay NaN."""

    is_fixed = False
    low, high, deep = 0.0, 255.0, False  # there is no range of values of all inputs

    def __init__(self, inputs: Mapping[str, Standardize]) -> None:
        super().__init__()
        self.names = tuple(inputs)
        self.inputs = nn.ModuleList(inputs.values())

    def fit(self, x: Tensor | SeveralTensors, value_range: tuple[float, float] | None = None) -> None:
        """Set the statistics of each input from training samples."""
        assert isinstance(x, SeveralTensors)
        for name, standardize in zip(self.names, self.inputs, strict=True):
            values = x.tensors[name]
            assert isinstance(standardize, Standardize)
            standardize.fit(values[~is_missing(values)], value_range if standardize.is_image else None)

    def forward(self, x: SeveralTensors) -> dict[str, Tensor]:
        """(B, ...) raw inputs to float32 inputs by name."""
        return {name: part(x.tensors[name]) for name, part in zip(self.names, self.inputs, strict=True)}


class Fusion(nn.Module):
    """Late fusion of several inputs.

    The features of each input are those of its encoder, after a ReLU; of a missing input they are a learned vector. All
    are concatenated, and a hidden layer and a linear layer follow.

    Args:
        standardize: of the inputs.
        encoders: in the order of the inputs, each (B, ...) to (B, F).
        features: F.
        hidden: units of the hidden layer.
        outputs: K.
        dropout: fraction of the features that are set to zero in training.
    """

    def __init__(
        self,
        standardize: SeveralStandardize,
        encoders: list[nn.Module],
        features: int,
        hidden: int,
        outputs: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.standardize = standardize
        self.encoders = nn.ModuleList(encoders)
        self.missing = nn.Parameter(torch.zeros(len(encoders), features))
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(len(encoders) * features, hidden)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor | SeveralTensors) -> Tensor:
        """Several inputs of B samples to (B, K)."""
        assert isinstance(x, SeveralTensors)
        parts = []
        for values, encoder, missing in zip(self.standardize(x).values(), self.encoders, self.missing, strict=True):
            absent = is_missing(values)
            shape = (-1, *(1,) * (values.ndim - 1))
            present = torch.where(absent.view(shape), torch.zeros_like(values), values)
            if present.ndim == 4:
                present = present.contiguous(memory_format=torch.channels_last)
            parts.append(torch.where(absent[:, None], missing, nn.functional.relu(encoder(present))))
        joined = self.dropout(torch.cat(parts, 1))
        y: Tensor = self.head(nn.functional.relu(self.hidden(joined)))
        return y

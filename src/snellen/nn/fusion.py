"""Fusion of several inputs of a sample: late, of the features of each input, and early, of the inputs at each step.

Source: Baltrušaitis, Ahuja and Morency 2019, "Multimodal machine learning: a survey and taxonomy"; the features of a
missing input are learned, as in Ma et al. 2021, "SMIL: multimodal learning with severely missing modality"; modality
dropout: Neverova, Wolf, Taylor and Nebout 2016, "ModDrop: adaptive multi-modal gesture recognition".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from snellen.core.several_tensors import SeveralTensors, is_missing
from snellen.nn.layers import Standardize
from snellen.nn.recurrent import GRU


class SeveralStandardize(nn.Module):
    """Standardisation of several inputs, each by its own statistics; missing inputs do not count, and stay NaN.

    Inputs of the data that are not named here are not read.
    """

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


def drop_inputs(absent: Tensor, probability: float) -> Tensor:
    """Modality dropout: (I, B) bool, which of I inputs of B samples are absent, with further ones at random.

    Each input is dropped with the probability, independently; a sample that would have none keeps all that it has.
    """
    dropped = absent | (torch.rand(absent.shape, device=absent.device) < probability)
    return torch.where(dropped.all(0), absent, dropped)


class FusionNetwork(nn.Module):
    """Several inputs with a learned vector in place of the features of a missing one: what both fusions share.

    Args:
        standardize: of the inputs.
        encoders: in the order of the inputs.
        features: F, of each encoder.
        modality_dropout: probability with which an input of a sample is taken as missing in training.
    """

    def __init__(
        self, standardize: SeveralStandardize, encoders: Sequence[nn.Module], features: int, modality_dropout: float
    ) -> None:
        super().__init__()
        self.standardize = standardize
        self.encoders = nn.ModuleList(encoders)
        self.missing = nn.Parameter(torch.zeros(len(encoders), features))
        self.modality_dropout = modality_dropout

    def inputs(self, x: Tensor | SeveralTensors) -> tuple[list[Tensor], Tensor]:
        """Standardised inputs of B samples, and which are absent, (I, B) bool."""
        assert isinstance(x, SeveralTensors)
        values = list(self.standardize(x).values())
        absent = torch.stack([is_missing(of_input) for of_input in values])
        if self.training and self.modality_dropout > 0:
            absent = drop_inputs(absent, self.modality_dropout)
        return values, absent

    def encode(self, k: int, values: Tensor, absent: Tensor) -> Tensor:
        """(B, F) features of input k, after a ReLU, with the learned vector of samples that lack it.

        absent: (B,) bool.
        """
        present = torch.where(absent.view(-1, *(1,) * (values.ndim - 1)), torch.zeros_like(values), values)
        if present.ndim == 4:
            present = present.contiguous(memory_format=torch.channels_last)
        return torch.where(absent[:, None], self.missing[k], nn.functional.relu(self.encoders[k](present)))


class Fusion(FusionNetwork):
    """Late fusion of several inputs.

    The features of each input are those of its encoder, after a ReLU; of a missing input they are a learned vector. All
    are concatenated, and a hidden layer and a linear layer follow.

    Args:
        standardize, features, modality_dropout: as in `FusionNetwork`.
        encoders: in the order of the inputs, each (B, ...) to (B, F).
        hidden: units of the hidden layer.
        outputs: K.
        dropout: fraction of the features that are set to zero in training.
    """

    def __init__(
        self,
        standardize: SeveralStandardize,
        encoders: Sequence[nn.Module],
        features: int,
        hidden: int,
        outputs: int,
        dropout: float,
        modality_dropout: float = 0.0,
    ) -> None:
        super().__init__(standardize, encoders, features, modality_dropout)
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(len(encoders) * features, hidden)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor | SeveralTensors) -> Tensor:
        """Several inputs of B samples to (B, K)."""
        values, absent = self.inputs(x)
        parts = [self.encode(k, of_input, absent[k]) for k, of_input in enumerate(values)]
        joined = self.dropout(torch.cat(parts, 1))
        y: Tensor = self.head(nn.functional.relu(self.hidden(joined)))
        return y


class EarlyFusion(FusionNetwork):
    """Early fusion of several inputs of one clock: at each step all are concatenated, and one GRU reads the steps.

    The features of an input at a step are those of its step encoder, after a ReLU; where the input or its step is
    missing they are a learned vector. The features of an input without steps are the same at each step.

    Args:
        standardize, features, modality_dropout: as in `FusionNetwork`.
        encoders: in the order of the inputs: of one with steps (N, ...) of a step to (N, F), of others (B, ...) to
            (B, F).
        has_steps: of each input, whether its second axis is that of the steps. At least one has.
        hidden: units of the state of the GRU.
        outputs: K.
        dropout: fraction of the last state that is set to zero in training.
    """

    def __init__(
        self,
        standardize: SeveralStandardize,
        encoders: Sequence[nn.Module],
        has_steps: Sequence[bool],
        features: int,
        hidden: int,
        outputs: int,
        dropout: float,
        modality_dropout: float = 0.0,
    ) -> None:
        super().__init__(standardize, encoders, features, modality_dropout)
        self.has_steps = tuple(has_steps)
        self.network = GRU(len(encoders) * features, hidden, 1, outputs, dropout)

    def forward(self, x: Tensor | SeveralTensors) -> Tensor:
        """Several inputs of B samples to (B, K)."""
        values, absent = self.inputs(x)
        steps = max(of_input.shape[1] for of_input, timed in zip(values, self.has_steps, strict=True) if timed)
        inside = torch.zeros(len(values[0]), steps, dtype=torch.bool, device=values[0].device)
        parts = []
        for k, (of_input, timed) in enumerate(zip(values, self.has_steps, strict=True)):
            if not timed:
                parts.append(self.encode(k, of_input, absent[k])[:, None].expand(-1, steps, -1))
                continue
            flat = of_input.flatten(0, 1)
            is_step = ~flat.flatten(1).isnan().any(1)
            is_used = (is_step.view(len(of_input), -1) & ~absent[k][:, None]).flatten()
            encoded = self.encode(k, flat, ~is_used).view(len(of_input), -1, self.missing.shape[1])
            rest = self.missing[k].expand(len(of_input), steps - encoded.shape[1], -1)
            parts.append(torch.cat([encoded, rest], 1))
            inside[:, : encoded.shape[1]] |= is_step.view(len(of_input), -1)
        inside = inside | ~inside.any(1, keepdim=True)
        joined = torch.where(inside[..., None], torch.cat(parts, 2), torch.nan)
        y: Tensor = self.network(joined)
        return y

"""1D ConvNet for sequences.

Source: Wang, Yan and Oates 2017.
"""

from __future__ import annotations

from typing import Annotated

from torch import nn

from snellen.architectures.architecture import Architecture
from snellen.core.errors import UsageError
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Spec
from snellen.nn.convnets.convnet1d import ConvNet1d
from snellen.training.settings import TrainingSettings


@settings
class ConvNet1dSettings:
    """Channels, kernels, dropout and training."""

    channels: Annotated[tuple[int, ...], Limit(min=1)] = (32, 64, 64)
    """Channels of the convolutions, separated by commas."""
    kernel_size: Annotated[tuple[int, ...], Limit(min=1)] = (7, 5, 3)
    """Kernel size of each convolution in steps, separated by commas; one number holds for all."""
    dropout: Annotated[float, Limit(min=0, below=1)] = 0.1
    """Dropout: fraction of the features zeroed in training, before the last layer."""
    training: TrainingSettings = TrainingSettings(
        epochs=20, optimizer="adamw", lr=0.004, weight_decay=0.02, schedule="one-cycle"
    )


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    if 0 < count < 5000:
        return {"epochs": Suggestion(value=100 if count < 1000 else 40, reason=f"{count:,} samples: more epochs")}
    return {}


def body(c: ConvNet1dSettings, shape: tuple[int, ...], outputs: int) -> nn.Module:
    kernels = c.kernel_size * len(c.channels) if len(c.kernel_size) == 1 else c.kernel_size
    if not c.channels or len(kernels) != len(c.channels):
        raise UsageError(
            f"--kernel-size has {len(c.kernel_size)} numbers, --channels {len(c.channels)}",
            "Give one kernel size for each convolution, or one for all.",
        )
    return ConvNet1d(shape[1], c.channels, kernels, outputs, c.dropout)


CONVNET1D = Architecture[ConvNet1dSettings](
    name="convnet1d",
    summary="1D ConvNet: convolutions over the steps of a sequence, batch normalisation, the mean over steps.",
    source="Wang, Yan and Oates 2017",
    settings=ConvNet1dSettings,
    body=body,
    accepts=frozenset({"sequence"}),
    suggest=suggest,
)

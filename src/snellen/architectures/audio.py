"""Networks on recordings: a small convolutional network on the log-mel spectrogram.

Source: LeCun et al. 1998; Park et al. 2019; the mel scale in the form of HTK.
"""

from __future__ import annotations

from typing import Annotated

from torch import nn

from snellen.architectures.architecture import Architecture
from snellen.core.errors import UsageError
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Input, Spec
from snellen.nn.audio import LogMelConvNet
from snellen.training.settings import TrainingSettings

MIN_WINDOW, MAX_WINDOW = 8, 1 << 14  # samples: the basis of the Fourier transform has this many times as many values


@settings
class LogMelConvNetSettings:
    """Spectrogram, width, dropout, masks and training."""

    mel_bands: Annotated[int, Limit(min=8, max=512)] = 40
    """Mel bands of the spectrogram, from 0 Hz to half of the sample rate."""
    window_ms: Annotated[float, Limit(above=0, max=1000)] = 32.0
    """Window of the spectrogram: milliseconds of a frame."""
    hop_ms: Annotated[float, Limit(above=0, max=1000)] = 10.0
    """Hop of the spectrogram: milliseconds from one frame to the next."""
    width: Annotated[int, Limit(min=1)] = 16
    """Width: channels of the first convolution; each further one has twice as many."""
    dropout: Annotated[float, Limit(min=0, below=1)] = 0.3
    """Dropout: fraction of the features that is set to zero in training, before the last layer."""
    spec_mask: Annotated[float, Limit(min=0, max=1)] = 0.2
    """SpecAugment: in training, a range of up to this fraction of the frames, and of the bands, is set to the mean."""
    training: TrainingSettings = TrainingSettings(epochs=20, lr=0.005, optimizer="adamw", weight_decay=0.01)


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    if count < 5000:
        return {"epochs": Suggestion(value=50 if count < 1000 else 30, reason=f"{count:,} samples: more epochs")}
    return {}


def body(c: LogMelConvNetSettings, spec_input: Input, outputs: int) -> nn.Module:
    assert spec_input.rate is not None
    window, hop = (max(1, round(milliseconds * spec_input.rate / 1000)) for milliseconds in (c.window_ms, c.hop_ms))
    if not MIN_WINDOW <= window <= MAX_WINDOW:
        limits = [1000 * samples / spec_input.rate for samples in (MIN_WINDOW, MAX_WINDOW)]
        raise UsageError(
            f"--window-ms {c.window_ms:g} does not fit {spec_input.rate:,g} samples per second: a window has "
            f"{MIN_WINDOW} to {MAX_WINDOW:,} samples",
            f"Give {limits[0]:.2g} to {min(limits[1], 1000):.4g} ms.",
        )
    if hop > window:
        raise UsageError(
            f"--hop-ms {c.hop_ms:g} is longer than the window of {c.window_ms:g} ms: samples between would not be read",
            "Give a shorter hop, or a longer window.",
        )
    return LogMelConvNet(
        spec_input.rate, window, hop, c.mel_bands, width=c.width, outputs=outputs, dropout=c.dropout, mask=c.spec_mask
    )


LOG_MEL_CONVNET = Architecture[LogMelConvNetSettings](
    name="log-mel-convnet",
    summary="ConvNet on the log-mel spectrogram of a recording: three convolutions with batch normalisation.",
    source="LeCun et al. 1998; Park et al. 2019",
    settings=LogMelConvNetSettings,
    input_body=body,
    accepts=frozenset({"audio"}),
    suggest=suggest,
)

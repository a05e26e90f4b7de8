"""Networks on recordings: the log-mel spectrogram, and a convolutional network on it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

OFFSET = 1e-5  # added to the power of a band before the logarithm; the mean power of standardised recordings is 1
STAGES = 3  # convolutions, each of which is followed by pooling that halves bands and frames


def hertz_to_mel(frequency: np.ndarray) -> np.ndarray:
    """Frequency in Hz to mel, 2595 log₁₀(1 + f / 700).

    Source: O'Shaughnessy 1987, "Speech communication"; the form of HTK.
    """
    return 2595 * np.log10(1 + frequency / 700)


def mel_to_hertz(mel: np.ndarray) -> np.ndarray:
    """Mel to frequency in Hz, the inverse of `hertz_to_mel`."""
    return 700 * (10 ** (mel / 2595) - 1)


def mel_filter_bank(bands: int, window: int, rate: float) -> np.ndarray:
    """Triangular filters that are equidistant in mel from 0 to rate / 2 Hz: (window // 2 + 1, bands) float64.

    The filter of a band rises from 0 at the centre of the band below to 1 at its own, and falls to 0 at that of the
    band above. A filter between two frequencies of the Fourier transform has the weight 1 at the nearest of them.

    Args:
        bands: number of filters.
        window: samples of the Fourier transform.
        rate: samples per second.
    Source: Young et al. 2006, "The HTK book", section 5.6.
    """
    edges = mel_to_hertz(np.linspace(0, hertz_to_mel(np.array(rate / 2)), bands + 2))
    frequencies = np.arange(window // 2 + 1) * rate / window
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequencies[:, None] - lower) / (centre - lower)
    falling = (upper - frequencies[:, None]) / (upper - centre)
    weights: np.ndarray = np.minimum(rising, falling).clip(min=0)  # (bins, bands)
    for band in np.nonzero(weights.sum(0) == 0)[0]:
        weights[np.abs(frequencies - centre[band]).argmin(), band] = 1.0
    return weights


def fourier_basis(window: int) -> np.ndarray:
    """Cosines and negative sines of a Fourier transform, times a Hann window of sum 1: (2 bins, window) float64.

    A sine of amplitude a has the power a² / 4 at its frequency, whatever the window.
    """
    n = np.arange(window)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / window)  # periodic
    angles = 2 * np.pi / window * np.outer(np.arange(window // 2 + 1), n)
    basis: np.ndarray = np.concatenate([np.cos(angles), -np.sin(angles)]) * hann / max(hann.sum(), 0.5)
    return basis


class LogMel(nn.Module):
    """Log-mel spectrogram: the logarithm of the power in mel bands, of the frames of a recording.

    Frame k has its centre at sample k · hop; samples before the beginning and after the end are zero. A recording of L
    samples has ⌈L / hop⌉ frames. The Fourier transform is a convolution with its windowed basis, which ONNX has.

    Args:
        rate: samples per second.
        window, hop: samples of a frame, and from one frame to the next.
        bands: number of mel bands.
        multiple: the number of frames is a multiple of this; those after the end are outside, as the padding is.
        offset: added to the power of a band before the logarithm.
    """

    basis: Tensor
    filters: Tensor

    def __init__(
        self, rate: float, window: int, hop: int, bands: int, multiple: int = 1, offset: float = OFFSET
    ) -> None:
        super().__init__()
        self.window, self.hop, self.multiple, self.offset = window, hop, multiple, offset
        basis = torch.from_numpy(fourier_basis(window)).float()[:, None]  # (2 bins, 1, window)
        self.register_buffer("basis", basis, persistent=False)
        filters = torch.from_numpy(mel_filter_bank(bands, window, rate)).float()  # (bins, bands)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T), NaN after the end of each recording, to log powers and the frames inside the recordings.

        Returns:
            (B, bands, frames) float32 in mixed precision too, and (B, frames) bool.
        """
        if torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return self(x)  # type: ignore[no-any-return]
        block = self.hop * self.multiple
        blocks = (x.shape[1] + block - 1) // block
        if torch.compiler.is_exporting():  # one block is a special case to it, and more of them change nothing
            blocks += 1
        x = functional.pad(x, (0, blocks * block - x.shape[1]), value=torch.nan)
        inside = ~x.isnan()
        half = self.window // 2
        padded = functional.pad(torch.where(inside, x, torch.zeros_like(x)), (half, self.window - half - self.hop))
        inside = inside[:, :: self.hop]  # at the centres of the frames
        parts = functional.conv1d(padded[:, None], self.basis, stride=self.hop)
        real, imaginary = parts.chunk(2, dim=1)  # (B, bins, frames)
        power = (real.square() + imaginary.square()).transpose(1, 2) @ self.filters  # (B, frames, bands)
        return (power + self.offset).log().transpose(1, 2), inside


class MaskedBatchNorm(nn.Module):
    """Batch normalisation with the statistics of the frames inside the recordings; the others are set to zero.

    Args:
        channels: C, each of which has a mean and a variance.
        affine: whether a scale and a shift are learned.
    Source: Ioffe and Szegedy 2015; momentum and ε as in `torch.nn.BatchNorm2d`.
    """

    MOMENTUM, EPSILON = 0.1, 1e-5
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, affine: bool = True) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor, inside: Tensor) -> Tensor:
        """(B, C, bands, frames), and (B, frames) bool, to the same shape."""
        x = x.float()  # in mixed precision too
        mask = inside[:, None, None].float()
        mean, var = self._batch_statistics(x, mask) if self.training else (self.running_mean, self.running_var)
        scale = (var + self.EPSILON).rsqrt()
        y = (x - mean[:, None, None]) * mask
        if self.weight is None or self.bias is None:
            return y * scale[:, None, None]
        return torch.addcmul(self.bias[:, None, None] * mask, y, (self.weight * scale)[:, None, None])

    def _batch_statistics(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance (C,) of a batch, which the running ones move towards."""
        count = mask.sum() * x.shape[2]
        mean = (x * mask).sum((0, 2, 3)) / count
        var = ((x - mean[:, None, None]) * mask).square().sum((0, 2, 3)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.MOMENTUM)
            self.running_var.lerp_(var * count / (count - 1).clamp(min=1), self.MOMENTUM)  # unbiased
        return mean, var


class LogMelConvNet(nn.Module):
    """Convolutional network on the log-mel spectrogram of recordings of any length.

    Each band of the spectrogram is normalised; three 3x3 convolutions with batch normalisation, ReLU and 2x2 max
    pooling follow. The outputs are a linear layer of the means over the frames inside the recording.

    Args:
        rate, window, hop, bands: see `LogMel`.
        width: channels of the first convolution; each further one has twice as many.
        outputs: K.
        dropout: fraction of the means that is set to zero in training.
        mask: in training, up to this fraction of the frames and of the bands is set to their mean, one range of each.
    Source: LeCun et al. 1998; Ioffe and Szegedy 2015; Park et al. 2019, "SpecAugment" (the masks).
    """

    def __init__(
        self,
        rate: float,
        window: int,
        hop: int,
        bands: int,
        *,
        width: int,
        outputs: int,
        dropout: float = 0.0,
        mask: float = 0.0,
    ) -> None:
        super().__init__()
        self.mask = mask
        self.log_mel = LogMel(rate, window, hop, bands, multiple=2**STAGES)
        self.band_norm = MaskedBatchNorm(bands, affine=False)
        widths = [1, *(width * 2**stage for stage in range(STAGES))]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1, bias=False) for before, after in pairwise(widths)
        )
        self.norms = nn.ModuleList(MaskedBatchNorm(after) for after in widths[1:])
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1] * -(-bands // 2**STAGES), outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T), NaN after the end of each recording, to (B, K). The channels are averaged."""
        x = x.mean(1)
        if not torch.compiler.is_compiling():  # the graph of a compiled or exported model has one length
            x = without_padding(x)
        powers, inside = self.log_mel(x)  # (B, bands, frames)
        y = self.band_norm(powers[:, :, None], inside).transpose(1, 2)  # (B, 1, bands, frames)
        if self.training and self.mask:
            y = y * random_masks(inside, y.shape[2], self.mask)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            y = self.pool(norm(convolution(y), inside).relu())
            inside = inside[:, ::2]
        means = y.sum(3) / inside.sum(1).clamp(min=1)[:, None, None]  # (B, channels, bands)
        scores: Tensor = self.head(self.dropout(means.flatten(1)))
        return scores


def without_padding(x: Tensor) -> Tensor:
    """(B, T) recordings without the samples that lie after the end of all of them."""
    ends = torch.nonzero(~x.isnan().all(0))
    return x[:, : int(ends[-1]) + 1] if len(ends) else x[:, :1]


def random_masks(inside: Tensor, bands: int, fraction: float) -> Tensor:
    """(B, 1, bands, frames) of ones, and zeros in one random range of frames and one of bands of each recording.

    Args:
        inside: (B, frames) bool, the frames inside each recording.
        fraction: largest length of a range, as a fraction of the frames inside or of the bands.
    Source: Park et al. 2019.
    """
    lengths = inside.sum(1, keepdim=True)  # (B, 1)
    frames = _outside_random_range(lengths, inside.shape[1], fraction)
    rows = _outside_random_range(torch.full_like(lengths, bands), bands, fraction)
    return (frames[:, None, None] & rows[:, None, :, None]).float()


def _outside_random_range(lengths: Tensor, count: int, fraction: float) -> Tensor:
    """(B, count) bool: False in one random range of each row.

    Args:
        lengths: (B, 1) positions in which each range lies.
    """
    size = torch.rand(lengths.shape, device=lengths.device) * fraction * lengths
    start = torch.rand(lengths.shape, device=lengths.device) * (lengths - size)
    position = torch.arange(count, device=lengths.device)
    return (position < start) | (position >= start + size)

"""Log-mel spectrograms as inputs of other networks, and summary features: images, steps, statistics of MFCCs."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from snellen.nn.audio import LogMel, MaskedBatchNorm, random_masks, without_padding

OFFSET = 1e-7  # added to the power of a band of MFCCs; the mean power of standardised recordings is 1
DELTA = 2  # frames before and after, of the slope at a frame


class NormalizedLogMel(nn.Module):
    """Log-mel spectrogram of which each band has mean 0 and variance 1 over the training frames.

    Args:
        rate, window, hop, bands: see `LogMel`.
        mask: in training, up to this fraction of the frames and of the bands is set to their mean, see `random_masks`.
    """

    def __init__(self, rate: float, window: int, hop: int, bands: int, mask: float = 0.0) -> None:
        super().__init__()
        self.mask = mask
        self.log_mel = LogMel(rate, window, hop, bands)
        self.band_norm = MaskedBatchNorm(bands, affine=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T), NaN after the end of each recording, to (B, bands, frames), and (B, frames) bool: inside.

        The channels are averaged. Frames outside are zero.
        """
        x = x.mean(1)
        if not torch.compiler.is_compiling():  # the graph of a compiled or exported model has one length
            x = without_padding(x)
        powers, inside = self.log_mel(x)
        y: Tensor = self.band_norm(powers[:, :, None], inside)[:, :, 0]
        if self.training and self.mask:
            y = y * random_masks(inside, y.shape[1], self.mask)[:, 0]
        return y, inside


class SpectrogramImage(nn.Module):
    """Log-mel spectrogram as an image of fixed size: the frames of each recording are averaged in `width` equal parts.

    So the image does not depend on the padding, and not on the duration.

    Args:
        rate, window, hop, mask: see `NormalizedLogMel`.
        channels, height, width: of the image; the height is the number of mel bands, the channels are equal.
    """

    def __init__(self, rate: float, window: int, hop: int, size: tuple[int, int, int], mask: float = 0.0) -> None:
        super().__init__()
        self.channels, height, self.width = size
        self.spectrogram = NormalizedLogMel(rate, window, hop, height, mask)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T), NaN after the end of each recording, to (B, channels, height, width)."""
        y, inside = self.spectrogram(x)
        image: Tensor = y @ part_weights(inside, self.width)
        return image[:, None].expand(-1, self.channels, -1, -1)


class SpectrogramSteps(nn.Module):
    """Log-mel spectrogram as a sequence: a step for each frame, a feature for each band, NaN after the end."""

    def __init__(self, rate: float, window: int, hop: int, bands: int, mask: float = 0.0) -> None:
        super().__init__()
        self.spectrogram = NormalizedLogMel(rate, window, hop, bands, mask)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T), NaN after the end of each recording, to (B, frames, bands)."""
        y, inside = self.spectrogram(x)
        return torch.where(inside[:, None], y, torch.full_like(y, torch.nan)).transpose(1, 2)


def part_weights(inside: Tensor, parts: int) -> Tensor:
    """(B, frames, parts): weights of the frames in the mean of each of `parts` equal parts of a recording.

    Part k of L frames is the interval [k L / parts, (k + 1) L / parts], in which frame j is the interval [j, j + 1].

    Args:
        inside: (B, frames) bool, the first L of which are True.
    """
    lengths = inside.sum(1).clamp(min=1).float()[:, None, None]  # (B, 1, 1)
    edges = torch.arange(parts + 1, device=inside.device) * (lengths / parts)  # (B, 1, parts + 1)
    frames = torch.arange(inside.shape[1], device=inside.device)[None, :, None]
    overlap = torch.minimum(edges[..., 1:], frames + 1) - torch.maximum(edges[..., :-1], frames)
    return overlap.clamp(min=0) * (parts / lengths)


def cosine_basis(bands: int, coefficients: int) -> np.ndarray:
    """(bands, coefficients) float64: the orthonormal discrete cosine transform (DCT-II) of the bands."""
    k, n = np.arange(coefficients), np.arange(bands)[:, None]
    basis: np.ndarray = np.cos(math.pi / bands * (n + 0.5) * k) * math.sqrt(2 / bands)
    basis[:, 0] /= math.sqrt(2)
    return basis


def deltas(x: Tensor, inside: Tensor) -> Tensor:
    """Slopes over ±2 frames, (B, D, frames): Σ_k k (x_{t+k} − x_{t−k}) / (2 Σ_k k²), k = 1, 2.

    Before the first and after the last frame of a recording, these are repeated.

    Args:
        x: (B, D, frames). inside: (B, frames) bool.
    Source: Young et al. 2006, "The HTK book", section 5.9.
    """
    last = (inside.sum(1) - 1).clamp(min=0)[:, None]  # (B, 1)
    frames = torch.arange(x.shape[2], device=x.device)[None]

    def shifted(by: int) -> Tensor:
        at = torch.minimum((frames + by).clamp(min=0), last)
        return x.gather(2, at[:, None].expand(-1, x.shape[1], -1))

    slopes = sum(((shifted(k) - shifted(-k)) * k for k in range(1, DELTA + 1)), torch.zeros_like(x))
    return slopes / (2 * sum(k * k for k in range(1, DELTA + 1)))


class MFCCStatistics(nn.Module):
    """Summary features of recordings: statistics of mel-frequency cepstral coefficients (MFCC) over the frames.

    The MFCCs of a frame are the discrete cosine transform of its log-mel powers. Features are the mean of each in each
    of several equal parts of the recording, and the standard deviations over all frames of the MFCCs and of their
    slopes.

    Args:
        rate, window, hop, bands: see `LogMel`.
        coefficients: number of MFCCs.
        parts: parts of a recording.
    Source: Davis and Mermelstein 1980, "Comparison of parametric representations".
    """

    basis: Tensor

    def __init__(self, rate: float, window: int, hop: int, bands: int, coefficients: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.log_mel = LogMel(rate, window, hop, bands, offset=OFFSET)
        self.register_buffer("basis", torch.from_numpy(cosine_basis(bands, coefficients)).float(), persistent=False)
        self.features = coefficients * (parts + 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T), NaN after the end of each recording, to (B, coefficients · (parts + 2))."""
        x = x.mean(1)
        if not torch.compiler.is_compiling():
            x = without_padding(x)
        powers, inside = self.log_mel(x)
        powers = torch.where(inside[:, None], powers, torch.zeros_like(powers))
        cepstrum = (powers.transpose(1, 2) @ self.basis).transpose(1, 2)  # (B, coefficients, frames)
        means = cepstrum @ part_weights(inside, self.parts)  # (B, coefficients, parts)
        statistics = [means, *(_deviation(y, inside)[..., None] for y in (cepstrum, deltas(cepstrum, inside)))]
        return torch.cat(statistics, 2).flatten(1)


def _deviation(x: Tensor, inside: Tensor) -> Tensor:
    """(B, D) standard deviation of (B, D, frames) over the frames inside."""
    mask = inside[:, None].float()
    count = mask.sum(2).clamp(min=1)
    mean = (x * mask).sum(2) / count
    return (((x - mean[..., None]) * mask).square().sum(2) / count + 1e-12).sqrt()

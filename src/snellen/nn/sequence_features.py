"""Summary features of sequences: statistics of each feature over the steps, as one row of numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

STATISTICS = (
    "mean",
    "standard deviation",
    "minimum",
    "maximum",
    "first",
    "last",
    "slope",
    "mean absolute change",
    "dominant frequency",
    "power of the dominant frequency",
)
_TIE = 1e-9  # relative difference of power below which the lower of two frequencies is the dominant one


def feature_count(features: int) -> int:
    """Length of the row of a sequence with D features: `STATISTICS` of each, and the number of steps."""
    return len(STATISTICS) * features + 1


def summary_features(x: Tensor) -> Tensor:
    """Statistics of each feature over the steps of a sequence; steps after its end do not count.

    Of a feature v_1 ... v_n: mean, standard deviation (of n), minimum, maximum, v_1, v_n, the slope of the
    least-squares line in units per step, the mean of |v_{t+1} − v_t|, the frequency with the largest power in cycles
    per step (of 1/n, 2/n ... up to 1/2; the lowest on ties), and the fraction of the variance at that frequency. A
    constant feature has frequency and fraction zero.

    Args:
        x: (B, T, D), NaN after the end of each sequence, which has at least one step.
    Returns:
        (B, 10 D + 1) float64, each statistic of all features before the next one, in the order of `STATISTICS`; the
        last column is the number of steps.
    Source: Fulcher and Jones 2014, "Highly comparative feature-based time-series classification" (the approach).
    """
    values = x.double()
    inside = ~values.isnan().any(2)  # (B, T)
    count = inside.sum(1).double()[:, None]  # (B, 1)
    zeroed = torch.where(inside[..., None], values, 0)
    mean = zeroed.sum(1) / count
    centred = torch.where(inside[..., None], zeroed - mean[:, None], 0)
    std = (centred.square().sum(1) / count).sqrt()
    low = torch.where(inside[..., None], values, torch.inf).amin(1)
    high = torch.where(inside[..., None], values, -torch.inf).amax(1)
    centred = torch.where((high > low)[:, None], centred, 0)  # rounding gives a constant feature a deviation
    std = torch.where(high > low, std, 0)
    last = (count.long() - 1).unsqueeze(2).expand(-1, 1, x.shape[2])
    change = torch.where(inside[:, 1:, None], zeroed[:, 1:] - zeroed[:, :-1], 0).abs().sum(1)
    change = change / (count - 1).clamp(min=1)
    step = torch.arange(x.shape[1], dtype=torch.float64, device=x.device) - (count - 1) / 2  # (B, T), centred
    step = torch.where(inside, step, 0)
    slope = (step[..., None] * centred).sum(1) / step.square().sum(1, keepdim=True).clamp(min=1e-12)
    frequency, fraction = _dominant_frequency(centred, inside)
    rows = [mean, std, low, high, zeroed[:, 0], zeroed.gather(1, last)[:, 0], slope, change, frequency, fraction, count]
    return torch.cat(rows, 1)


def _dominant_frequency(centred: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Frequency of the largest power in cycles per step and its fraction of the power, of centred features: (B, D)."""
    if torch.compiler.is_exporting():  # of sequences of one length; the file holds the sines and cosines
        return _largest(_power_by_products(centred), centred.shape[1])
    lengths = inside.sum(1)
    frequency, fraction = (centred.new_zeros(len(centred), centred.shape[2]) for _ in range(2))
    for length in torch.unique(lengths).tolist():
        rows = torch.nonzero(lengths == length)[:, 0]
        power = torch.fft.rfft(centred[rows, :length], dim=1).abs().square()[:, 1:]
        frequency[rows], fraction[rows] = _largest(_doubled(power, length), length)
    return frequency, fraction


def _power_by_products(centred: Tensor) -> Tensor:
    """(B, n, D) to (B, n // 2, D), by the definition of the Fourier transform."""
    length = centred.shape[1]
    k = torch.arange(1, length // 2 + 1, dtype=torch.float64)
    angle = 2 * math.pi / length * k[:, None] * torch.arange(length, dtype=torch.float64)
    real, imaginary = torch.cos(angle) @ centred, torch.sin(angle) @ centred
    return _doubled(real.square() + imaginary.square(), length)


def _doubled(power: Tensor, length: int) -> Tensor:
    """Power of positive and negative frequencies together: all but that of 1/2 occur twice."""
    weight = power.new_full((power.shape[1],), 2.0)
    if length % 2 == 0 and len(weight):
        weight[-1] = 1.0
    return power * weight[:, None]


def _largest(power: Tensor, length: int) -> tuple[Tensor, Tensor]:
    if not power.shape[1]:  # one step
        zero = power.sum(1)
        return zero, zero
    total = power.sum(1)
    largest = power.amax(1, keepdim=True)
    first = (power >= (1 - _TIE) * largest).to(torch.int64).argmax(1)  # (B, D)
    varies = total > 0
    frequency = torch.where(varies, (first + 1).double() / length, 0)
    return frequency, torch.where(varies, largest[:, 0] / torch.where(varies, total, 1), 0)

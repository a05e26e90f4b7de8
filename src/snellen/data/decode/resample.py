"""Resampling of recordings: band-limited interpolation by a polyphase filter."""

from __future__ import annotations

import functools
import math

import numpy as np

from snellen.data.decode.header import UnusableFile

ZERO_CROSSINGS = 10  # of the sinc on each side, at the lower of the two rates
BETA = 5.0  # of the Kaiser window
MAX_FACTOR = (
    100_000  # of the larger rate, divided by the greatest common divisor: the filter has 20 times as many values
)
_BLOCK = 1 << 16  # output samples computed at a time


def resampled_length(length: int, rate: int, target: int) -> int:
    """Samples of a recording after resampling: ⌈length · target / rate⌉."""
    return -(-length * target // rate)


def resample(values: np.ndarray, rate: int, target: int) -> np.ndarray:
    """(T,) at `rate` samples per second to (⌈T · target / rate⌉,) at `target`, both as float32.

    The low-pass filter has its cut-off at half of the lower rate: frequencies above are removed, none is mirrored.
    Samples before the beginning and after the end are zero.

    Raises:
        UnusableFile: for two rates whose ratio has no small terms.
    Source: Crochiere and Rabiner 1983; the filter is that of `scipy.signal.resample_poly`.
    """
    if rate == target:
        return values
    divisor = math.gcd(rate, target)
    up, down = target // divisor, rate // divisor
    if max(up, down) > MAX_FACTOR:
        raise UnusableFile(
            "rate",
            f"has {rate:,} samples per second, whose ratio to {target:,} is {down:,} to {up:,}",
            f"Resample it: ffmpeg -i IN -ar {target} OUT.wav",
        )
    phases, half = _phases(up, down)  # (up, taps)
    taps = phases.shape[1]
    count = resampled_length(len(values), rate, target)
    before = taps  # zeros before the first sample
    padded = np.zeros(before + len(values) + 2 * taps + down // up + 1)
    padded[before : before + len(values)] = values
    windows = np.lib.stride_tricks.sliding_window_view(padded, taps)
    result = np.empty(count, np.float32)
    for start in range(0, count, _BLOCK):
        position = np.arange(start, min(start + _BLOCK, count)) * down + half  # at `up` times the rate, latest tap
        first = position // up - taps + 1 + before
        result[start : start + _BLOCK] = np.einsum("mt,mt->m", windows[first], phases[position % up])
    return result


@functools.lru_cache(8)
def _phases(up: int, down: int) -> tuple[np.ndarray, int]:
    """(up, taps) filters, one for each phase of the output, the latest sample last; and half of the filter's length."""
    largest = max(up, down)
    half = ZERO_CROSSINGS * largest
    n = np.arange(-half, half + 1)
    kernel = np.sinc(n / largest) * np.kaiser(2 * half + 1, BETA)
    kernel *= up / kernel.sum()
    taps = -(-len(kernel) // up)
    kernel = np.concatenate([kernel, np.zeros(taps * up - len(kernel))])
    return kernel.reshape(taps, up).T[:, ::-1].copy(), half

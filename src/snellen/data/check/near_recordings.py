"""Near copies among recordings: one recording that was trimmed, made louder or quieter, or encoded again.

Two recordings are near copies if they correlate by 0.92 or more at one shift, over at least half of the shorter one. If
they do at several shifts, they are periodic, as two tones of one frequency are, and their correlation shows no copy.
A shift and a gain change no correlation, and an encoding changes it little; two recordings of one word by one speaker
differ. Only the recordings of the most similar spectra are correlated. The numbers were set on spoken digits with
planted copies; the guide has the rates of hits and false alarms.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from snellen.data.check.duplicates import Pair
from snellen.data.decode.resample import resample

MIN_CORRELATION = 0.92
MIN_OVERLAP = 0.5  # of the shorter recording
CANDIDATES = 8  # recordings with the most similar spectrum, with which each is correlated
SEGMENT = 1 << 15  # samples that are compared, from the middle of longer recordings
MAX_RATE, COMPARED_RATE = 16_000, 8000  # samples per second: recordings of more than the first are resampled
MIN_SAMPLES = 200  # of a recording that is compared
PRE_EMPHASIS = 0.7  # y_t = x_t - 0.7 x_{t-1}: low frequencies alone would make different recordings alike
EXPONENT = 0.35  # of the powers of a spectrum, so that the loudest band does not decide alone
_BLOCK = 1024  # recordings whose spectra are compared with all others at once


class Fingerprint(NamedTuple):
    """Of one recording: (T,) float32 samples for the correlation, and (D,) float32 spectrum of norm 1."""

    samples: np.ndarray
    spectrum: np.ndarray


def fingerprint(values: np.ndarray, rate: int) -> Fingerprint | None:
    """Fingerprint of a recording (T,); None for one that is too short, or constant."""
    if rate > MAX_RATE:
        values, rate = resample(values, rate, COMPARED_RATE), COMPARED_RATE
    start = max(0, (len(values) - SEGMENT) // 2)
    x = values[start : start + SEGMENT].astype(np.float64)
    if len(x) < MIN_SAMPLES:
        return None
    x -= x.mean()
    x = np.append(x[:1], x[1:] - PRE_EMPHASIS * x[:-1])
    spectrum = band_powers(x, rate) ** EXPONENT
    norm = float(np.linalg.norm(spectrum))
    if norm == 0 or np.abs(x).max() < 1e-5:
        return None
    return Fingerprint(x.astype(np.float32), (spectrum / norm).astype(np.float32))


def band_powers(x: np.ndarray, rate: int) -> np.ndarray:
    """Mean powers of (T,) in bands of 1 % of half of the sample rate, and of a 24th of the octaves above a quarter."""
    powers = np.abs(np.fft.rfft(x, max(4096, len(x)))) ** 2
    edges = np.concatenate([np.arange(0.015, 0.25, 0.01), np.geomspace(0.25, 1.0, 25)])  # fractions of rate / 2
    positions = np.round(edges * (len(powers) - 1)).astype(int)
    sums = np.concatenate([[0.0], np.cumsum(powers)])[positions]
    means: np.ndarray = np.diff(sums) / np.maximum(np.diff(positions), 1)
    return means.clip(min=0)


def near_copies(prints: dict[int, Fingerprint]) -> list[Pair]:
    """Pairs of near copies, the smaller id first, in ascending order.

    Args:
        prints: of each recording, by id.
    """
    ids = sorted(prints)
    if len(ids) < 2:
        return []
    candidates = _candidates(np.stack([prints[id].spectrum for id in ids]))
    size = 1 << (2 * max(len(prints[id].samples) for id in ids) - 1).bit_length()
    pairs, transforms = [], dict[int, np.ndarray]()
    for a, b in candidates:
        for k in (a, b):
            if k not in transforms:
                transforms[k] = np.fft.rfft(prints[ids[k]].samples, size).astype(np.complex64)
        x, y = prints[ids[a]].samples, prints[ids[b]].samples
        if is_copy(correlations(x, y, transforms[a], transforms[b], size)):
            pairs.append((ids[a], ids[b]))
        for k in [k for k in transforms if k < a] if len(transforms) > _BLOCK else ():
            del transforms[k]
    return pairs


def _candidates(spectra: np.ndarray) -> list[Pair]:
    """Pairs of positions of which one is among the most similar of the other, in ascending order.

    Args:
        spectra: (N, D) of norm 1.
    """
    count = min(CANDIDATES, len(spectra) - 1)
    pairs = set[Pair]()
    for start in range(0, len(spectra), _BLOCK):
        similarity = spectra[start : start + _BLOCK] @ spectra.T
        similarity[np.arange(len(similarity)), np.arange(start, start + len(similarity))] = -1
        nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
        pairs.update(
            (min(start + row, other), max(start + row, other))
            for row, others in enumerate(nearest.tolist())
            for other in others
        )
    return sorted(pairs)


def is_copy(values: np.ndarray) -> bool:
    """Whether the correlations reach the minimum, and do so in one range of successive shifts only."""
    at = np.nonzero(values >= MIN_CORRELATION)[0]
    return bool(len(at)) and bool((np.diff(at) == 1).all())


def correlations(
    x: np.ndarray, y: np.ndarray, x_transform: np.ndarray, y_transform: np.ndarray, size: int
) -> np.ndarray:
    """Magnitudes of the normalised correlation of (T,) with (U,) at each shift with enough overlap, ascending.

    |Σ x_{t+s} y_t| / √(Σ x_{t+s}² Σ y_t²) over the t at which both have samples, for each shift s.

    Args:
        x_transform, y_transform: Fourier transforms of the samples, padded with zeros to `size` ≥ T + U.
    """
    products = np.fft.irfft(x_transform * y_transform.conj(), size)
    needed = max(1, int(MIN_OVERLAP * min(len(x), len(y))))
    shifts = np.arange(needed - len(y), len(x) - needed + 1)
    first, end = np.maximum(shifts, 0), np.minimum(len(x), shifts + len(y))  # in x
    of_x, of_y = (np.concatenate([[0.0], np.cumsum(v.astype(np.float64) ** 2)]) for v in (x, y))
    energies = (of_x[end] - of_x[first]) * (of_y[end - shifts] - of_y[first - shifts])
    floor = 1e-8 * of_x[-1] * of_y[-1]  # of two silent parts, the correlation is that of rounding errors
    magnitudes: np.ndarray = np.abs(products[shifts]) / np.sqrt(np.maximum(energies, max(floor, 1e-30)))
    return magnitudes

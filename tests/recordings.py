"""WAV files of tones in noise, written by SciPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import wavfile

RATE = 2000


def tone(frequency: float, seconds: float = 0.1, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """(T,) int16 sine of a random phase in noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    x = 0.5 * np.sin(2 * np.pi * frequency * t + rng.uniform(0, 6)) + 0.02 * rng.standard_normal(len(t))
    return (32767 * x).astype(np.int16)


def write(path: Path, values: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, rate, values)
    return path


def write_tones(folder: Path, count: int = 10, names: str = "{word}/{take}.wav") -> Path:
    """Tones of three words; the lengths vary."""
    for word, frequency in (("low", 150), ("middle", 350), ("high", 700)):
        for take in range(count):
            name = names.format(word=word, take=take, speaker="abc"[take % 3])
            write(folder / name, tone(frequency + 5 * take, 0.08 + 0.005 * take, seed=take))
    return folder

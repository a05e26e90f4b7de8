"""Synthetic recordings of sound, whose class is how a tone changes: chirps, sequences, chords, tremolo, vibrato."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from snellen.core.random import generator
from snellen.core.spec import Classes, Input
from snellen.data.dataset import RawDataset
from snellen.data.source import ArraySource

RECORDINGS, RATE = 600, 8000  # rate: samples per second
SHORTEST, LONGEST = 0.25, 0.6  # seconds
LOWEST, HIGHEST = 300.0, 900.0  # Hz, of the fundamental
QUIETEST, LOUDEST = 0.05, 0.2  # amplitude
NOISE = 0.1  # standard deviation
FADE = 0.02  # seconds at both ends, without which they would click
CLASSES = ("chord", "falling", "high-low", "low-high", "rising", "steady", "tremolo", "vibrato")


def tones(seed: int) -> RawDataset:
    """600 recordings of 0.25 to 0.6 s, at 8,000 samples per second, of eight classes.

    A steady tone, one that rises or falls by a minor third to a fifth, two tones of which the lower or the higher comes
    first, a chord of three, and a tone whose amplitude (tremolo) or frequency (vibrato) oscillates. Fundamentals lie
    between 300 and 900 Hz, amplitudes between 0.05 and 0.2; the noise is Gaussian with a standard deviation of 0.1.
    The rising and the falling tone have the same spectrum over the whole recording, and so do the two sequences.
    """
    rng = generator(seed, "tones")
    x = torch.full((RECORDINGS, 1, round(LONGEST * RATE)), torch.nan)
    y = torch.arange(RECORDINGS) % len(CLASSES)
    for k, label in enumerate(y.tolist()):
        wave = tone(CLASSES[label], rng)
        x[k, 0, : len(wave)] = wave
    return RawDataset(
        source=ArraySource(x, "tone"),
        inputs={"audio": Input(modality="audio", shape=(1, None), rate=RATE)},
        target=Classes(names=CLASSES),
        truth=y,
        recognised_as=f"the built-in tones: {RECORDINGS} recordings, {RATE:,} samples per second, {SHORTEST} to "
        f"{LONGEST} s, whose class is how the tone changes",
    )


def tone(name: str, rng: torch.Generator) -> Tensor:
    """(T,) float32 recording of a class in noise, clipped to -1 … 1."""
    draws = torch.rand(7, generator=rng, dtype=torch.float64).tolist()
    seconds = SHORTEST + (LONGEST - SHORTEST) * draws[0]
    frequency = LOWEST * (HIGHEST / LOWEST) ** draws[1]
    amplitude = QUIETEST * (LOUDEST / QUIETEST) ** draws[2]
    interval = 1.2 + 0.3 * draws[3]  # a minor third to a fifth
    modulation = 2 * math.pi * (6 + 4 * draws[4])  # radians per second
    t = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    u = t / seconds  # 0 … 1
    glide = math.log(interval) * (u - 0.5)  # logarithm of the frequency, relative to the fundamental
    jump = math.log(interval) * ((u > 0.35 + 0.3 * draws[5]).double() - 0.5)
    change = {
        "rising": glide,
        "falling": -glide,
        "low-high": jump,
        "high-low": -jump,
        "vibrato": 0.08 * torch.sin(modulation * t),
    }.get(name, torch.zeros_like(t))
    phase = 2 * math.pi * (frequency * change.exp()).cumsum(0) / RATE + 2 * math.pi * draws[6]
    ratios = (1.0, 5 / 4, 3 / 2) if name == "chord" else (1.0,)
    wave = sum((torch.sin(ratio * phase) for ratio in ratios), torch.zeros_like(t)) / len(ratios) ** 0.5
    if name == "tremolo":
        wave = wave * (1 + torch.sin(modulation * t)) / 1.5**0.5
    fade = (torch.minimum(t, seconds - t) / FADE).clamp(max=1)
    noise = NOISE * torch.randn(len(t), generator=rng)
    recording: Tensor = amplitude * fade * wave + noise
    return recording.clamp(-1, 1).float()

"""A skeleton that walks, and a recording of tones: views of motion and sound for tests."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from snellen.core.views import Motion, Sound, SoundClip, Track

BONES = [
    (0, 1), (1, 2), (2, 3),  # hip, spine, neck, head
    (2, 4), (4, 5), (5, 6), (2, 7), (7, 8), (8, 9),  # arms
    (0, 10), (10, 11), (11, 12), (12, 13), (0, 14), (14, 15), (15, 16), (16, 17),  # legs
]  # fmt: skip


def walk(frames: int, speed: float = 1.0, seconds: float = 0.04, stride: float = 0.5) -> Tensor:
    """(F, 18, 3) positions in metres of a figure that walks to the right: right, up, towards the viewer."""
    t = torch.arange(frames, dtype=torch.float64) * seconds
    phase = 2 * math.pi * t / 1.1
    joints = torch.zeros(frames, 18, 3, dtype=torch.float64)
    hip = torch.stack([speed * t, 0.95 + 0.02 * torch.cos(2 * phase), torch.zeros_like(t)], 1)
    joints[:, 0] = hip
    for joint, height in ((1, 0.25), (2, 0.52), (3, 0.75)):
        joints[:, joint] = hip + torch.tensor([0.0, height, 0.0])
    for side, start, swing in ((0.18, 4, -1.0), (-0.18, 7, 1.0)):
        angle = swing * stride * torch.sin(phase)
        place = joints[:, 2] + torch.tensor([0.0, -0.05, side])
        joints[:, start] = place
        for k in (1, 2):
            place = place + 0.27 * torch.stack([torch.sin(angle), -torch.cos(angle), torch.zeros_like(t)], 1)
            joints[:, start + k] = place
            angle = angle + 0.4
    for side, start, swing in ((0.1, 10, 1.0), (-0.1, 14, -1.0)):
        angle = swing * stride * torch.sin(phase)
        place = hip + torch.tensor([0.0, 0.0, side])
        joints[:, start] = place
        for k, bend in ((1, 0.0), (2, 0.35)):
            bent = angle - bend * (1 + torch.cos(phase + (0 if swing > 0 else math.pi)))
            place = place + 0.45 * torch.stack([torch.sin(bent), -torch.cos(bent), torch.zeros_like(t)], 1)
            joints[:, start + k] = place
        joints[:, start + 3] = place + torch.tensor([0.16, -0.03, 0.0])
    return joints


def walking(frames: int = 60, present: int = 34) -> Motion:
    """The truth, and a forecast that walks more slowly."""
    truth = walk(frames)
    forecast = walk(frames, stride=0.38)[present + 1 :]
    forecast[:, :, 0] -= 0.25 * torch.linspace(0, 1, len(forecast), dtype=torch.float64)[:, None]
    tracks = [Track(name="truth", positions=truth), Track(name="forecast", positions=forecast, start=present + 1)]
    return Motion(
        title="Walking", tracks=tracks, bones=BONES, frame_seconds=0.04, present=present, caption="One test window."
    )


def tone(hertz: float, seconds: float, rate: float = 8000.0) -> Tensor:
    """(1, T) samples of a sine of amplitude 0.5."""
    t = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return 0.5 * torch.sin(2 * math.pi * hertz * t)[None]


def clip_of(samples: Tensor, rate: float, caption: str, good: bool | None = None, window: int = 256) -> SoundClip:
    """A recording with its spectrogram by NumPy."""
    hop = window // 2
    mono = samples.double().mean(0).numpy()
    padded = np.pad(mono, (0, max(0, window - len(mono))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop] * np.hanning(window)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    levels = torch.from_numpy(10 * np.log10(power.T + 1e-10))
    frequencies = np.fft.rfftfreq(window, 1 / rate).tolist()
    return SoundClip(
        samples=samples,
        rate=rate,
        spectrogram=levels,
        hop_seconds=hop / rate,
        frequencies=frequencies,
        caption=caption,
        good=good,
    )


def sounds() -> Sound:
    """A short tone, and a long stereo recording at 44.1 kHz."""
    long = torch.cat([tone(440, 7, 44100), tone(3000, 7, 44100)])
    return Sound(
        title="Worst errors",
        items=[
            clip_of(tone(1000, 0.6), 8000, "low predicted as high (probability 91 %)\ntone_1.wav", good=False),
            clip_of(long, 44100, "high\ntone_2.wav", good=True),
        ],
        caption="The wrong predictions.",
    )

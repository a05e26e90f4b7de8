"""Near copies among recordings: planted ones are found, others are not; the correlation is that of NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from recordings import write
from scipy.signal import lfilter

import snellen
from snellen.core.spec import Preprocessing
from snellen.data.check.near_recordings import correlations, fingerprint, near_copies
from snellen.data.decode.resample import resample
from snellen.data.synthetic.tones import tones

RATE = 8000


def voice(seed: int, pitch: float = 120.0) -> np.ndarray:
    """(T,) pulses of a pitch through a resonance, and noise: recordings of one seed family differ in detail only."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3000, 6000))
    pulses = np.diff(
        np.floor(np.cumsum(pitch * (1 + 0.1 * np.cumsum(rng.standard_normal(count)) / 50) / RATE)), prepend=0
    )
    formant = rng.uniform(500, 1500)
    x = lfilter([1], [1, -1.9 * np.cos(2 * np.pi * formant / RATE), 0.9], pulses + 0.05 * rng.standard_normal(count))
    return (0.3 * x / np.abs(x).max()).astype(np.float32)


def mu_law(x: np.ndarray) -> np.ndarray:
    """8-bit telephone encoding and decoding (ITU-T G.711 in its continuous form)."""
    y = np.round(127 * np.sign(x) * np.log1p(255 * np.abs(x)) / np.log(256)) / 127
    return np.sign(y) * (256 ** np.abs(y) - 1) / 255


def test_the_correlations_equal_those_of_the_overlapping_parts_at_each_shift() -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(n).astype(np.float32) for n in (60, 41))
    size = 128
    expected = []
    for shift in range(-40, 60):
        a = x[max(0, shift) : shift + 41]
        b = y[max(0, -shift) :][: len(a)]
        if len(a) >= 20:
            expected.append(abs(float(np.dot(a, b))) / float(np.linalg.norm(a) * np.linalg.norm(b)))
    assert np.allclose(correlations(x, y, np.fft.rfft(x, size), np.fft.rfft(y, size), size), expected, atol=1e-6)


def test_trimmed_quieter_resampled_and_encoded_copies_are_found_and_others_are_not() -> None:
    waves = [voice(k) for k in range(40)]
    changes = {
        "trimmed": lambda x: 0.2 * x[len(x) // 8 : -len(x) // 9],
        "encoded": mu_law,
        "resampled": lambda x: resample(resample(x, RATE, 11_025), 11_025, RATE),
        "both": lambda x: mu_law(0.5 * x[301:-77]),
    }
    copies = [
        (k, change(waves[k]).astype(np.float32)) for k, change in zip((3, 11, 19, 30), changes.values(), strict=True)
    ]
    prints = {id: fingerprint(x, RATE) for id, x in enumerate([*waves, *(x for _, x in copies)])}
    expected = [(k, len(waves) + place) for place, (k, _) in enumerate(copies)]
    assert near_copies({id: one for id, one in prints.items() if one is not None}) == sorted(expected)
    assert fingerprint(np.zeros(5000, np.float32), RATE) is None
    assert fingerprint(waves[0][:50], RATE) is None


def test_two_tones_of_one_frequency_are_no_copies() -> None:
    rng = np.random.default_rng(0)
    t = np.arange(2000) / RATE
    waves = [np.sin(2 * np.pi * 300 * t + rng.uniform(0, 6)) + 0.01 * rng.standard_normal(2000) for _ in range(3)]
    prints = {id: fingerprint(x.astype(np.float32), RATE) for id, x in enumerate(waves)}
    assert near_copies({id: one for id, one in prints.items() if one is not None}) == []


def test_a_trimmed_copy_in_the_test_split_is_a_leak_and_an_offset_is_reported(tmp_path: Path) -> None:
    for k in range(24):
        name = f"{'train' if k < 16 else 'test'}/{'ab'[k % 2]}/{k}.wav"
        write(tmp_path / name, (32767 * voice(k)).astype(np.int16), RATE)
    copy = 0.4 * voice(2)[200:-200] + 0.2
    write(tmp_path / "test" / "a" / "copy.wav", (32767 * copy).astype(np.int16), RATE)
    for _ in range(2):  # the second time from the index
        found = {finding.kind: finding for finding in snellen.dataset(tmp_path).findings}
        assert found["leakage"].where == ("test/a/copy.wav",)
        assert found["leakage"].extra["near"] == 1
        assert found["offset"].where == ("test/a/copy.wav",)
        assert "up to 0.2 of full scale" in found["offset"].message


def test_the_built_in_tones_are_seeded_and_have_no_near_copies() -> None:
    x, other = (tones(seed).source.read(np.arange(40), Preprocessing())[:, 0] for seed in (0, 1))
    assert torch.equal(x.nan_to_num(), tones(0).source.read(np.arange(40), Preprocessing())[:, 0].nan_to_num())
    assert not torch.equal(x.nan_to_num(), other.nan_to_num())
    prints = {id: fingerprint(wave[~wave.isnan()].numpy(), RATE) for id, wave in enumerate(x)}
    assert near_copies({id: one for id, one in prints.items() if one is not None}) == []

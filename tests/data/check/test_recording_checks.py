"""Check of recordings: levels, silence, clipping, lengths, copies."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from recordings import RATE, tone, write, write_tones

import snellen
from snellen.core.errors import DataError
from snellen.data.check.recordings import measure_levels


def findings(folder: Path) -> dict[str, str]:
    return {finding.kind: finding.message for finding in snellen.dataset(folder).findings}


def test_levels_are_the_largest_deviation_and_the_fraction_in_runs_at_full_scale() -> None:
    x = np.array([0.1, 1.0, 1.0, 1.0, 0.1, -1.0, -1.0, 0.1, 1.0, 1.0, 1.0, 1.0], np.float32)
    levels = measure_levels(x)  # runs of 3 and 4; the run of 2 may be a peak
    assert levels.clipped == 7 / 12
    assert levels.deviation == pytest.approx(np.abs(x - x.mean()).max())
    assert measure_levels(np.full(5, 0.3, np.float32)).deviation < 1e-6


def test_silent_clipped_long_and_stereo_recordings_are_named(tmp_path: Path) -> None:
    folder = write_tones(tmp_path / "tones")
    assert not {"silent", "clipped", "long", "converted"} & set(findings(folder))
    write(folder / "low" / "silent.wav", np.full(200, 1000, np.int16))
    write(folder / "low" / "clipped.wav", np.clip(4 * tone(100).astype(np.int32), -32768, 32767).astype(np.int16))
    write(folder / "low" / "long.wav", tone(100, 2.0))
    write(folder / "low" / "stereo.wav", np.stack([tone(100), tone(200)], 1))
    found = findings(folder)
    for kind in ("silent", "clipped", "long"):
        assert f"low/{kind}.wav" in found[kind]
    assert "1 of 34 recordings have several channels: their mean is used" in found["converted"]


def test_copies_share_a_split_and_copies_with_two_classes_are_an_error(tmp_path: Path) -> None:
    folder = write_tones(tmp_path / "tones")
    shutil.copy(folder / "low" / "0.wav", folder / "low" / "copy.wav")
    data = snellen.dataset(folder)
    homes = [{data.name(int(k)) for k in ids} & {"low/0.wav", "low/copy.wav"} for ids in data.splits.values()]
    assert sorted(map(len, homes)) == [0, 0, 2]
    shutil.copy(folder / "low" / "0.wav", folder / "high" / "copy.wav")
    with pytest.raises(DataError, match="conflicting labels"):
        snellen.dataset(folder)


def test_samples_that_are_not_finite_are_an_error_before_training(tmp_path: Path) -> None:
    folder = write_tones(tmp_path / "tones")
    write(folder / "low" / "bad.wav", np.array([0.5, np.nan, 0.1], np.float32), RATE)
    with pytest.raises(DataError, match=r"1 recording cannot be read: low/bad\.wav holds NaN, infinity"):
        snellen.dataset(folder)

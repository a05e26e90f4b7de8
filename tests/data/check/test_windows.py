"""Overlapping windows of sequences: the stride, recordings, lost steps, offsets, and what is no overlap."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from snellen.data.check.windows import overlapping_windows
from snellen.data.open_dataset import dataset


def windows(recording: np.ndarray, length: int, stride: int) -> np.ndarray:
    return np.stack([recording[k : k + length] for k in range(0, len(recording) - length + 1, stride)])


def walk(steps: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(steps, 3)).cumsum(0)


@pytest.mark.parametrize("stride", [1, 2, 5])
@pytest.mark.parametrize("is_shifted_to_zero", [False, True])
def test_windows_of_a_recording_are_linked_at_their_stride(stride: int, is_shifted_to_zero: bool) -> None:
    parts = [windows(walk(60, seed), 16, stride) for seed in range(4)]
    x = np.concatenate(parts)
    if is_shifted_to_zero:
        x = x - x[:, :1]
    found = overlapping_windows(torch.from_numpy(x.astype(np.float32)))
    ends = np.cumsum([len(part) for part in parts]) - 1
    assert found.stride == stride
    assert found.pairs == [(k, k + 1) for k in range(len(x) - 1) if k not in ends]
    assert found.others == []


def test_windows_after_lost_steps_are_no_pairs_of_the_stride() -> None:
    x = windows(walk(80, 0), 20, 1)
    x = np.delete(x, [9, 30], axis=0)
    found = overlapping_windows(torch.from_numpy(x))
    assert found.others == [(8, 9), (28, 29)]
    assert len(found.pairs) == len(x) - 1 - 2


def test_recordings_of_an_hdf5_file_stay_in_one_split(tmp_path: Path) -> None:
    parts = [windows(walk(45, seed), 16, 1) for seed in range(20)]
    recording = np.repeat(np.arange(20), 30)
    with h5py.File(tmp_path / "walks.h5", "w") as file:
        file["x"], file["y"] = np.concatenate(parts), recording % 2
    data = dataset(tmp_path / "walks.h5")
    splits = [set(recording[ids.numpy()].tolist()) for ids in data.splits.values()]
    assert sum(map(len, splits)) == 20
    assert [finding.count for finding in data.findings if finding.kind == "overlapping-windows"] == [20]


def test_independent_sequences_do_not_overlap() -> None:
    x = torch.from_numpy(np.stack([walk(16, seed) for seed in range(50)]))
    assert overlapping_windows(x) == (0, [], [])
    assert overlapping_windows(x[:1]) == (0, [], [])
    assert overlapping_windows(x[:, :4]) == (0, [], [])
    assert overlapping_windows(torch.zeros(20, 16, 2)) == (0, [], [])  # without movement


def test_recordings_stay_in_one_split_and_a_given_split_that_cuts_them_leaks(tmp_path: Path) -> None:
    parts = [windows(walk(45, seed), 16, 1) for seed in range(20)]
    x, recording = np.concatenate(parts), np.repeat(np.arange(20), 30)
    y = recording % 2
    np.savez(tmp_path / "walks.npz", x=x, y=y)
    data = dataset(tmp_path / "walks.npz")
    splits = [set(recording[ids.numpy()].tolist()) for ids in data.splits.values()]
    assert sum(map(len, splits)) == 20
    (finding,) = [finding for finding in data.findings if finding.kind == "overlapping-windows"]
    assert (finding.severity, finding.count) == ("note", 20)
    assert "shifted by 1 step" in finding.message
    kept = np.delete(np.arange(600), [14])  # a lost window of the first recording
    np.savez(tmp_path / "lost.npz", x=x[kept], y=y[kept])
    (finding,) = [f for f in dataset(tmp_path / "lost.npz").findings if f.kind == "overlapping-windows"]
    assert (finding.severity, finding.count) == ("warning", 21)
    assert ". 1 pair of" in finding.message
    np.savez(tmp_path / "cut.npz", x_train=x[:310], y_train=y[:310], x_test=x[310:], y_test=y[310:])
    (leak,) = [finding for finding in dataset(tmp_path / "cut.npz").findings if finding.kind == "leakage"]
    assert leak.count == 20

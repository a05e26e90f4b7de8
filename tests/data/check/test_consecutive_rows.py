"""Runs of near-identical consecutive rows: recordings of frames in a table, and tables that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snellen.core.errors import UsageError
from snellen.data.check.consecutive_rows import consecutive_runs
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset

LENGTH, COUNT = 15, 40  # frames of a recording, recordings


def frames() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Recordings at places of their own, whose frames differ little; values, classes, recordings."""
    rng = np.random.default_rng(0)
    recordings = np.repeat(np.arange(COUNT), LENGTH)
    x = rng.normal(size=(COUNT, 6))[recordings] + 0.02 * rng.normal(size=(COUNT * LENGTH, 6))
    return x, recordings % 3, recordings


def test_recordings_are_found_and_rows_at_random_are_not() -> None:
    x, classes, recordings = frames()
    for labels in (classes, None):
        runs = consecutive_runs(x, labels)
        assert runs is not None
        cuts = np.diff(runs.ids) > 0
        assert not cuts[np.diff(recordings) == 0].any()  # no recording is divided
        assert cuts[np.diff(recordings) > 0].mean() > 0.8
        assert runs.ratio < 0.05
    shuffled = np.random.default_rng(1).permutation(len(x))
    assert consecutive_runs(x[shuffled], classes[shuffled]) is None
    by_class = np.argsort(classes[shuffled], kind="stable")  # sorted by class only
    assert consecutive_runs(x[shuffled][by_class], np.sort(classes)) is None
    noise = np.random.default_rng(2).normal(size=x.shape)
    assert consecutive_runs(noise[noise[:, 0].argsort()], None) is None
    assert consecutive_runs(x[:50], classes[:50]) is None  # too few
    assert consecutive_runs(np.ones((200, 6)), None) is None


def test_runs_are_suggested_and_kept_in_one_split(tmp_path: Path) -> None:
    x, classes, recordings = frames()
    rows = [",".join([*map(str, row.round(5)), "abc"[c]]) for row, c in zip(x, classes, strict=True)]
    path = tmp_path / "poses.csv"
    path.write_text("\n".join([",".join([*(f"v{k}" for k in range(6)), "label"]), *rows]) + "\n")
    (warning,) = [f for f in dataset(path).findings if f.kind == "possible-groups"]
    assert "Consecutive rows are nearly the same" in warning.message
    assert "--group consecutive" in warning.remedy
    data = dataset(path, options=OpenOptions(group="consecutive"))
    splits = [set(recordings[ids.numpy()].tolist()) for ids in data.splits.values()]
    assert not splits[0] & splits[1]
    assert not splits[0] & splits[2]
    assert not splits[1] & splits[2]
    np.random.default_rng(0).shuffle(rows)
    path.write_text("\n".join([",".join([*(f"v{k}" for k in range(6)), "label"]), *rows]) + "\n")
    assert not [f for f in dataset(path).findings if f.kind == "possible-groups"]
    with pytest.raises(UsageError, match="--group consecutive finds no runs"):
        dataset(path, options=OpenOptions(group="consecutive"))

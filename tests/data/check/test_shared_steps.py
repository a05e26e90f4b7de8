"""Shared steps: planted windows, cut parts and noisy copies are found; independent and discrete sequences are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snellen.core.views import Finding
from snellen.data.check.duplicates import connected_groups
from snellen.data.check.shared_steps import shared_steps
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset

_rng = np.random.default_rng(0)


def walk(steps: int, features: int = 3) -> np.ndarray:
    values: np.ndarray = _rng.normal(size=(steps, features)).cumsum(0)
    return values


def test_windows_of_recordings_are_connected_in_any_order_and_of_any_length() -> None:
    recordings = [walk(120) for _ in range(10)]
    windows, owner = [], []
    for k, one in enumerate(recordings):
        for start in range(0, 90, 5):
            windows.append((one[start : start + _rng.integers(20, 30)] + _rng.normal(size=3)).astype(np.float32))
            owner.append(k)
    order = _rng.permutation(len(windows))
    found = shared_steps([windows[k] for k in order])
    groups = connected_groups(len(order), [*found.shifted, *found.noisy])
    assert not found.noisy
    assert len({(g, owner[k]) for g, k in zip(groups.tolist(), order.tolist(), strict=True)}) == 10
    assert len(set(groups.tolist())) == 10


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_copies_with_an_offset_and_noise_of_one_percent_are_found(noise: float) -> None:
    originals = [walk(40) for _ in range(100)]
    copies = [x + 5 + noise * x.std(0) * _rng.normal(size=x.shape) for x in originals]
    found = shared_steps([*originals, *copies])
    assert {*found.shifted, *found.noisy} == {(k, 100 + k) for k in range(100)}


def test_independent_straight_still_and_discrete_sequences_share_nothing() -> None:
    t = np.arange(30)[:, None]
    for sequences in (
        [walk(30) for _ in range(200)],
        [t * 0.5 + k * np.ones((1, 2)) for k in range(20)],
        [np.full((30, 2), float(k)) for k in range(20)],
        [_rng.integers(0, 2, (16, 1)).astype(float) for _ in range(200)],
        [np.eye(4)[_rng.integers(0, 4, 12)] for _ in range(100)],
        [walk(2) for _ in range(5)],
    ):
        assert shared_steps(sequences) == ([], [])


def finding(data: object, kind: str) -> Finding:
    (one,) = [f for f in data.findings if f.kind == kind]  # type: ignore[attr-defined]
    return one


def write_folder(root: Path, splits: tuple[str, ...], name: str, shared: bool = False) -> Path:
    for label in "ab":
        for person in ("anna", "ben", "carl", "dora"):
            for k in range(4):
                base = walk(60)
                for split in splits:
                    values = (base[:40] if split == "train" else base[8:50] - 3) if shared else walk(30 + k)
                    path = root / split / label / name.format(person=person, k=k)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    np.savetxt(path, values, delimiter=",")
    return root


def test_windows_shifted_across_given_splits_are_leakage(tmp_path: Path) -> None:
    data = dataset(write_folder(tmp_path, ("train", "test"), "{person}{k}x.csv", shared=True))
    leak = finding(data, "leakage")
    assert leak.count == 32
    assert "32 of test" in leak.message


def test_a_part_of_another_recording_to_forecast_stays_in_its_split(tmp_path: Path) -> None:
    for k in range(5):
        recording = walk(200)
        np.savetxt(tmp_path / f"{k}a.txt", recording)
    np.savetxt(tmp_path / "part.txt", recording[60:120] + 1)
    data = dataset(tmp_path, options=OpenOptions(target=("future",), window=8, horizon=4))
    assert "4a.txt = part.txt" in finding(data, "copies").message
    places = {
        split: {data.name(int(id)).split(",")[0] for id in ids} & {"4a.txt", "part.txt"}
        for split, ids in data.splits.items()
    }
    assert sorted(map(len, places.values())) == [0, 0, 2]

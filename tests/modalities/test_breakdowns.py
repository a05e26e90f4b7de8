"""Errors by length and by group: numbers equal those of NumPy and SciPy; names of groups by format."""

from __future__ import annotations

import math
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest

from snellen.core.errors import DataError
from snellen.core.spec import Classes, Input, Numbers
from snellen.core.views import Plot, Table
from snellen.data.dataset import Dataset, Labelled, RawDataset
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import assemble, dataset
from snellen.data.source import ArraySource
from snellen.modalities.breakdowns import MAX_GROUPS, quartiles, sample_lengths
from snellen.tasks import TASKS

N = 90


def sequences(target: Classes | Numbers, truth: torch.Tensor, names: tuple[str, ...] = ()) -> Dataset[Labelled]:
    """Sequences of 1 to 9 steps; the features differ, so that no two are copies."""
    x = torch.randn(N, 9, 2, generator=torch.Generator().manual_seed(0))
    lengths = torch.arange(N) % 9 + 1
    x[torch.arange(9) >= lengths[:, None]] = math.nan
    raw = RawDataset(
        source=ArraySource(x),
        inputs={"x": Input(modality="sequence", shape=(None, 2), dtype="float32")},
        target=target,
        truth=truth,
        group_names=names,
        recognised_as="sequences",
    )
    return assemble(raw, "sequences", 0, None)


def test_accuracy_by_length_and_by_group_equals_that_of_numpy() -> None:
    rng = np.random.default_rng(0)
    truth, names = torch.arange(N) % 2, tuple(f"speaker {k % 4}" for k in range(N))
    data = sequences(Classes(names=("a", "b")), truth, names)
    scores = torch.from_numpy(rng.normal(size=(N, 2)))
    ids = torch.from_numpy(rng.permutation(N))
    predictions = {"scores": scores, "truth": truth[ids], "ids": ids, "probabilistic": torch.tensor(True)}
    views = {
        view.title: view for view in TASKS["classify"].views(predictions, data, data.spec) if hasattr(view, "title")
    }
    right = (scores.argmax(1) == truth[ids]).numpy()
    plot, table = views["Accuracy by length"], views["Accuracy by group"]
    assert isinstance(plot, Plot)
    assert isinstance(table, Table)
    lengths = ids.numpy() % 9 + 1
    place = np.searchsorted(np.quantile(lengths, [0.25, 0.5, 0.75]), lengths)
    (series,) = plot.series
    assert series.x == pytest.approx([lengths[place == k].mean() for k in range(4)])
    assert series.y == pytest.approx([100 * right[place == k].mean() for k in range(4)])
    for k in range(4):
        interval = binomtest(int(right[place == k].sum()), int((place == k).sum())).proportion_ci(method="wilson")
        assert (series.low[k], series.high[k]) == pytest.approx((100 * interval.low, 100 * interval.high))
    assert "steps" in plot.x
    speaker = np.array(names)[ids.numpy()]
    by_speaker = {name: right[speaker == name].mean() for name in set(names)}
    assert [row[0] for row in table.rows] == sorted(by_speaker, key=lambda name: (by_speaker[name], name))
    for name, count, text in table.rows:
        assert count == (speaker == name).sum()
        assert str(text).split()[0] == f"{100 * by_speaker[str(name)]:.0f}"


def test_errors_of_numbers_by_length_and_by_group_have_the_unit_of_the_target() -> None:
    truth, names = torch.arange(N).double()[:, None], tuple(str(k // 2 % 45) for k in range(N))
    data = sequences(Numbers(names=("age",), units=("years",)), truth, names)
    ids = torch.arange(N)
    predictions = {"said": truth + ids[:, None] % 9 + 1, "truth": truth, "ids": ids}  # the error is the length
    views = {
        view.title: view for view in TASKS["regress"].views(predictions, data, data.spec) if hasattr(view, "title")
    }
    plot, table = views["Mean absolute error by length"], views["Mean absolute error by group"]
    assert isinstance(plot, Plot)
    assert isinstance(table, Table)
    assert plot.series[0].y == pytest.approx(plot.series[0].x)
    assert plot.y == "mean absolute error [years]"
    assert len(table.rows) == MAX_GROUPS
    assert "30 worst of 45 groups" in table.caption
    assert [row[1] for row in table.rows] == [2] * MAX_GROUPS
    worst = (ids[0::2] % 9 + ids[1::2] % 9).double().add(2).div(2).max()
    assert str(table.rows[0][2]).startswith(f"{worst:g} years")


def test_equal_lengths_stay_together() -> None:
    lengths = torch.tensor([1.0] * 9 + [2.0, 3.0, 3.0])
    assert [lengths[rows].unique().tolist() for rows in quartiles(lengths)] == [[1.0], [2.0, 3.0]]
    data = sequences(Classes(names=("a", "b")), torch.arange(N) % 2)
    assert torch.equal(sample_lengths(data, torch.tensor([0, 8, 10])), torch.tensor([1.0, 9.0, 2.0]).double())
    assert sample_lengths(dataset("digits"), torch.arange(3)) is None


def write_wav(path: Path, count: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = (np.random.default_rng(count).normal(size=count) * 3000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.tobytes())


def test_formats_keep_the_names_of_groups(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    who = ["ann", "ben", "cem", "dea"]
    for k in range(16):
        write_wav(tmp_path / "audio" / f"{k % 2}_{who[k // 4]}_{k}.wav", 800 + 100 * k)
        folder = tmp_path / "images" / "ab"[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (12, 12), np.uint8)).save(folder / f"{who[k // 4]}_{k}.png")
    np.savez(tmp_path / "a.npz", x=rng.normal(size=(16, 5, 2)), y=np.arange(16) % 2, who=np.repeat(who, 4))
    rows = "".join(f"{rng.normal()},{who[k // 4]},{'ab'[k % 2]}\n" for k in range(16))
    (tmp_path / "t.csv").write_text("x,who,class\n" + rows)
    steps = "".join(
        f"s{k},{t},{rng.normal()},{k // 4}{'.0' * (k % 2)},{'ab'[k % 2]}\n" for k in range(16) for t in range(3)
    )
    (tmp_path / "s.csv").write_text("id,t,x,who,class\n" + steps)
    for name, options, names in (
        ("audio", {"group": "*_{who}_*"}, who),
        ("images", {"group": "{who}_*"}, who),
        ("a.npz", {"group": "who"}, who),
        ("t.csv", {"group": "who"}, who),
        ("s.csv", {"group": "who", "sequence_id": "id", "time": "t"}, ["0", "1", "2", "3"]),
    ):
        data = dataset(tmp_path / name, options=OpenOptions(**options))  # type: ignore[arg-type]
        assert sorted(data.group_names) == sorted(names * 4), name
        of_split = {split: {data.group_names[i] for i in ids.tolist()} for split, ids in data.splits.items()}
        assert not of_split["train"] & of_split["test"], name
    np.savez(tmp_path / "nan.npz", x=rng.normal(size=(16, 5, 2)), y=np.arange(16) % 2, who=[math.nan, *range(15)])
    with pytest.raises(DataError, match=r"missing .NaN. for 1 of 16 samples, first sample 0"):
        dataset(tmp_path / "nan.npz", options=OpenOptions(group="who"))
    without = dataset(tmp_path / "a.npz", options=OpenOptions(target=("y",)))
    assert without.group_names == ()
    assert sample_lengths(dataset(tmp_path / "audio"), torch.tensor([0, 1]))[0] == pytest.approx(0.1)

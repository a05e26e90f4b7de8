"""Sequences of several lengths in NPZ files: padded or one after another; training, prediction and export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import snellen
from snellen.api import RunOptions
from snellen.cli.main import main
from snellen.core.errors import DataError, UsageError
from snellen.data.formats import OpenOptions

QUIET = RunOptions(threads=1, report=False)


def sequences(count: int = 90, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Rising and falling sequences of 4 to 12 steps of two features."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 2
    lengths = rng.integers(4, 13, count)
    x = [
        np.stack([np.linspace(0, 1 - 2 * k, n), np.ones(n)], 1) + 0.1 * rng.normal(size=(n, 2))
        for k, n in zip(y, lengths, strict=True)
    ]
    return [one.astype(np.float32) for one in x], y


def save(path: Path, x: list[np.ndarray], y: np.ndarray, form: str) -> Path:
    lengths = np.array([len(one) for one in x])
    if form == "flat":
        np.savez(path, x=np.concatenate(x), y=y, lengths=lengths)
    else:
        padded = np.full((len(x), lengths.max() + 3, 2), 999.0, np.float32)  # what follows the end is not read
        for row, one in zip(padded, x, strict=True):
            row[: len(one)] = one
        np.savez(path, x=padded, y=y, lengths=lengths)
    return path


@pytest.mark.parametrize("form", ["flat", "padded"])
def test_both_forms_are_the_same_sequences_with_nan_after_their_ends(form: str, tmp_path: Path) -> None:
    x, y = sequences()
    data = snellen.dataset(save(tmp_path / "walks.npz", x, y, form))
    assert data.spec.input.shape == (None, 2)
    assert "sequences of 4 to 12 steps (by 'lengths') and 2 features" in data.recognised_as
    assert not [finding for finding in data.findings if finding.kind == "ignored-column"]
    values = data.source.read(np.arange(90), data.preprocessing)
    assert (tuple(values.shape), values.dtype) == ((90, 12, 2), torch.float32)
    for row, one in zip(values, x, strict=True):
        assert np.array_equal(row[: len(one)].numpy(), one)
        assert bool(row[len(one) :].isnan().all())


def test_lengths_beside_vectors_or_images_are_another_array(tmp_path: Path) -> None:
    y, lengths = np.arange(40) % 2, np.arange(40)
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).normal(size=(40, 3)), y=y, lengths=lengths)
    data = snellen.dataset(tmp_path / "rows.npz")
    assert data.spec.input.modality == "vector"
    assert "'lengths'" in next(finding.message for finding in data.findings if finding.kind == "ignored-column")
    x = np.random.default_rng(0).normal(size=(40, 9, 3))
    np.savez(tmp_path / "images.npz", x=x, y=y, lengths=lengths)
    assert snellen.dataset(tmp_path / "images.npz", options=OpenOptions(modality="image")).spec.input.shape == (1, 9, 3)


def test_splits_have_lengths_of_their_own(tmp_path: Path) -> None:
    x, y = sequences()
    parts: dict[str, Any] = {}
    for split, rows in (("train", slice(0, 60)), ("test", slice(60, 90))):
        parts |= {f"x_{split}": np.concatenate(x[rows]), f"y_{split}": y[rows]}
        parts |= {f"lengths_{split}": np.array([len(one) for one in x[rows]])}
    np.savez(tmp_path / "walks.npz", **parts)
    data = snellen.dataset(tmp_path / "walks.npz")
    assert len(data.splits["test"]) == 30
    assert np.array_equal(data.source.read(np.array([89]), data.preprocessing)[0, : len(x[89])].numpy(), x[89])
    del parts["lengths_test"]
    np.savez(tmp_path / "walks.npz", **parts)
    with pytest.raises(DataError, match="has no lengths"):
        snellen.dataset(tmp_path / "walks.npz")


@pytest.mark.parametrize(
    "change",
    [
        lambda a: {**a, "lengths": a["lengths"][:-1]},
        lambda a: {**a, "lengths": a["lengths"] + 1},
        lambda a: {**a, "lengths": a["lengths"].astype(float)},
        lambda a: {**a, "lengths": np.where(np.arange(90) == 3, 0, a["lengths"])},
        lambda a: {**a, "x": a["x"][:-1]},
        lambda a: {**a, "x": np.where(np.arange(len(a["x"]))[:, None] == 7, np.nan, a["x"])},
    ],
)
def test_lengths_that_do_not_fit_have_an_error(change: Any, tmp_path: Path) -> None:
    x, y = sequences()
    arrays = {"x": np.concatenate(x), "y": y, "lengths": np.array([len(one) for one in x])}
    np.savez(tmp_path / "walks.npz", **change(arrays))
    with pytest.raises(DataError, match=r"lengths 'lengths' do not fit|holds NaN or infinity in 1 samples: [01]"):
        snellen.dataset(tmp_path / "walks.npz")


def test_a_gru_learns_them_and_predicts_any_length(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "walks.npz", *sequences(), "flat")
    run = snellen.train(path, out=tmp_path / "run", options=QUIET, epochs=30, hidden_size=8)
    assert run.record.learner == "gru"
    assert (run.metrics["accuracy"].value or 0) > 0.85
    others, y = sequences(20, seed=5)
    for k, one in enumerate(others):
        np.save(tmp_path / f"{k:02d}.npy", np.concatenate([one, one[-1:].repeat(9, 0)]))
    predictions = list(run.predict_files(sorted(tmp_path.glob("*.npy"))))
    assert np.mean([p["class"] == str(k) for p, k in zip(predictions, y, strict=True)]) > 0.85
    capsys.readouterr()
    assert main(["export", str(tmp_path / "run"), "--to", "torch"]) == 2
    assert "torch.export fixes the length of recurrent layers" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["mlp", "knn", "svm", "lda", "softmax"])
def test_models_of_rows_need_one_length(model: str, tmp_path: Path) -> None:
    path = save(tmp_path / "walks.npz", *sequences(), "flat")
    with pytest.raises(UsageError, match="reads sequences of one length") as error:
        snellen.train(path, model, out=tmp_path / "run", options=QUIET)
    assert "gru" in error.value.remedy


def test_data_of_other_lengths_is_not_evaluated_by_a_model_of_rows(tmp_path: Path) -> None:
    x, y = sequences()
    np.savez(tmp_path / "equal.npz", x=np.stack([one[:4] for one in x]), y=y)
    options = OpenOptions(modality="sequence")
    run = snellen.train(
        snellen.dataset(tmp_path / "equal.npz", options=options), "mlp", out=tmp_path / "run", options=QUIET
    )
    with pytest.raises(DataError, match="samples of several lengths"):
        run.evaluate(snellen.dataset(save(tmp_path / "walks.npz", x, y, "flat")))

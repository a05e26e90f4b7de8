"""Support vector regression: agreement with scikit-learn, choice of C and γ, samples, targets, time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from raw_datasets import numbers, seeded
from torch import Tensor

import snellen
from snellen.core.errors import TooLittleTime
from snellen.core.run import Run
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks.regress import LEARNERS, svr


def curve(count: int = 300, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, 2, generator=seeded(), dtype=torch.float64) * torch.tensor([1.0, 100.0])
    noise = 0.05 * torch.randn(count, generator=seeded(1), dtype=torch.float64)
    return x.to(dtype), 50 + 10 * (torch.sin(2 * x[:, 0]) + x[:, 1] / 100 + noise)


def fitted(data: Dataset[Labelled], folder: Path, seconds: float | None = None, **settings: Any) -> Any:
    c = svr.SVRSettings(**settings)
    model = svr.build(c, data.spec)
    svr.fit(c, data, model, Run(folder, seconds=seconds))
    return model


def split(data: Dataset[Labelled], name: str) -> tuple[np.ndarray, np.ndarray]:
    samples = data.samples(name).take(torch.arange(len(data.splits[name])))
    return samples.x.numpy(), samples.y.numpy()


@pytest.mark.parametrize("targets", [1, 2])
def test_predictions_equal_scikit_learns(targets: int, tmp_path: Path) -> None:
    from sklearn.svm import SVR

    x, y = curve()
    t = torch.stack([y, x[:, 0] ** 2], dim=1)[:, :targets]
    data = numbers(x, t, names=("a", "b")[:targets])
    model = fitted(data, tmp_path / "run", C=3.0, gamma=0.4, epsilon=0.1)
    (train_x, train_y), (test_x, _) = split(data, "train"), split(data, "test")
    standard, test = (model.flatten_features(torch.from_numpy(part)).numpy() for part in (train_x, test_x))
    assert np.allclose(standard, (train_x - train_x.mean(0)) / train_x.std(0), atol=1e-6)
    mean, std = model.mean.numpy(), model.std.numpy()
    assert np.allclose([mean, std], [train_y.mean(0), train_y.std(0)])
    predicted = model.predict(torch.from_numpy(test_x)).numpy()
    for k in range(targets):
        oracle = SVR(C=3.0, gamma=0.4, epsilon=0.1).fit(standard, (train_y[:, k] - mean[k]) / std[k])
        assert np.abs(predicted[:, k] - (oracle.predict(test) * std[k] + mean[k])).max() < 1e-9 * std[k]
    assert 0 < len(model.x) <= len(train_x)


def test_c_gamma_and_epsilon_have_the_lowest_validation_error(tmp_path: Path) -> None:
    x, y = curve()
    data = numbers(x, y)
    val_x, val_y = split(data, "val")
    variance = float(
        fitted(data, tmp_path / "run", C=1.0).flatten_features(x[data.splits["train"]]).var(0, correction=0).sum()
    )

    def error(penalty: float, value: float, epsilon: float) -> float:
        model = fitted(data, tmp_path / "run", C=penalty, gamma=value / variance, epsilon=epsilon)
        return float(np.abs(model.predict(torch.from_numpy(val_x)).numpy() - val_y).mean())

    first = [(penalty, value, svr.EPSILON_VALUES[0]) for penalty in svr.C_VALUES for value in svr.GAMMA_VALUES]
    best = min(first, key=lambda choice: error(*choice))
    best = min(((*best[:2], epsilon) for epsilon in svr.EPSILON_VALUES), key=lambda choice: error(*choice))
    run = snellen.train(data, model="svr", out=tmp_path / "chosen")
    notes = snellen.core.file_io.read_json(tmp_path / "chosen" / "metrics.json")["notes"]
    assert (notes["C"], round(variance * notes["gamma"], 6), notes["epsilon"]) == best
    assert notes["support vectors"] == len(run.model.x)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_images_are_stored_in_the_dtype_of_the_source(dtype: torch.dtype, tmp_path: Path) -> None:
    y = torch.rand(80, generator=seeded(), dtype=torch.float64)
    x = y[:, None, None, None] * torch.rand(80, 1, 6, 6, generator=seeded(1), dtype=torch.float64)
    data = numbers((255 * x).to(dtype) if dtype == torch.uint8 else x.to(dtype), y)
    run = snellen.train(data, model="svr", out=tmp_path / "run")
    assert run.model.x.dtype == dtype
    assert run.model.x.shape[1:] == (1, 6, 6)
    assert run.metrics["R2"].value is not None
    assert run.metrics["R2"].value > 0.5
    batch = data.samples("test").take(torch.arange(5)).x
    assert snellen.load(tmp_path / "run", data=data).predict_batch(batch) == run.predict_batch(batch)
    assert run.export("onnx").is_file()  # its numbers are compared with those of the run


def test_of_many_samples_some_are_drawn_by_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svr, "MAX_SAMPLES", 60)
    data = numbers(*curve())
    first, again = (fitted(data, tmp_path / "run", C=3.0, gamma=0.4, epsilon=0.0) for _ in range(2))
    assert len(first.x) <= 60 < data.spec.sizes["train"]
    assert torch.equal(first.x, again.x)


def test_a_constant_target_is_predicted(tmp_path: Path) -> None:
    x, _ = curve(60)
    model = fitted(numbers(x, torch.full((60,), 7.0)), tmp_path / "run")
    assert model.predict(x[:3]).tolist() == [[7.0]] * 3


def test_constant_columns_are_no_input(tmp_path: Path) -> None:
    x = torch.ones(60, 2)
    model = fitted(numbers(x, torch.arange(60.0)), tmp_path / "run")
    assert bool(model.predict(x[:3]).isfinite().all())


def test_a_time_limit_that_is_too_short_names_the_time_needed(tmp_path: Path) -> None:
    with pytest.raises(TooLittleTime, match="210 samples") as caught:
        fitted(numbers(*curve()), tmp_path / "run", seconds=1e-4)
    assert caught.value.needed is not None
    assert not LEARNERS["svr"].stoppable

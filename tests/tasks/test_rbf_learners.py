"""Radial basis functions: logistic regression and ridge regression on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from raw_datasets import classes, numbers, seeded

from snellen.api import load, train
from snellen.core import file_io
from snellen.core.errors import SnellenError


@pytest.mark.learning
@pytest.mark.parametrize(("name", "min_accuracy"), [("moons", 0.97), ("rings", 0.97), ("spirals", 0.97)])
def test_bases_classify_data_that_is_not_linearly_separable(
    name: str, min_accuracy: float, tmp_path: Path, assert_score: Callable[..., None]
) -> None:
    run = train(name, model="bases", out=tmp_path / "run", epochs=60)
    assert_score(run.metrics["accuracy"].value, above=min_accuracy)  # always 1


def test_given_centres_are_in_data_units(tmp_path: Path) -> None:
    x = 1000 + 50 * torch.rand(100, 2, generator=seeded(), dtype=torch.float64)
    data = classes(x, (x[:, 0] > 1025).long(), 2)
    run = train(data, model="bases", centers=(1010.0, 1020.0), out=tmp_path / "run", epochs=1)
    basis_values = run.model.network.body[0](run.model.network.standardize(torch.tensor([[1010.0, 1020.0]]).double()))
    assert basis_values.flatten().tolist() == pytest.approx([1])
    with pytest.raises(SnellenError, match="--centers has 3 coordinates for inputs of 2"):
        train(data, model="bases", centers=(1.0, 2.0, 3.0), out=tmp_path / "other")


@pytest.mark.learning
def test_there_are_no_more_bases_than_samples(tmp_path: Path, assert_score: Callable[..., None]) -> None:
    run = train("xor", model="bases", out=tmp_path / "run", epochs=200)
    assert run.model.network.body[0].centres.shape == (4, 2)
    assert_score(run.metrics["accuracy"].value, above=0.99)  # always 1
    x = torch.tensor([[0.0, 1.0]])
    assert load(tmp_path / "run").predict_batch(x) == run.predict_batch(x)


@pytest.mark.learning
def test_regression_on_bases_matches_scikit_learns_ridge(tmp_path: Path, assert_score: Callable[..., None]) -> None:
    from sklearn.linear_model import Ridge

    x = torch.rand(150, 1, generator=seeded(), dtype=torch.float64)
    t = torch.sin(2 * torch.pi * x) + 0.1 * torch.randn(150, 1, generator=seeded(1), dtype=torch.float64)
    data = numbers(x, t)
    run = train(data, model="bases", alpha=0.5, bases=12, bandwidth=0.4, out=tmp_path / "run")
    ids = data.splits["train"]
    phi = run.model.phi(x).numpy()
    train_phi = phi[ids.numpy()]
    standard = (phi - train_phi.mean(0)) / train_phi.std(0)
    oracle = Ridge(alpha=0.5).fit(standard[ids.numpy()], t[ids].numpy())
    assert np.allclose(run.model.predict(x).numpy(), oracle.predict(standard).reshape(150, 1), atol=1e-8)
    automatic = train(data, model="bases", out=tmp_path / "chosen")
    assert file_io.read_json(tmp_path / "chosen" / "metrics.json")["notes"]["penalty"] > 0
    assert_score(
        automatic.metrics["mean absolute error"].value, below=0.2
    )  # 0.08 from the noise alone, 0.64 of the baseline


@pytest.mark.learning
def test_bases_and_knn_regress_images(tmp_path: Path, assert_score: Callable[..., None]) -> None:
    centre = torch.rand(200, generator=seeded()) * 6 + 1
    columns = torch.arange(8)
    images = (255 * torch.exp(-((columns - centre[:, None]) ** 2) / 4))[:, None, None].expand(-1, 1, 8, -1)
    data = numbers(images.to(torch.uint8).contiguous(), centre)
    for model in ("bases", "knn"):
        run = train(data, model=model, out=tmp_path / model)
        assert_score(run.metrics["mean absolute error"].value, below=0.1)  # 0.003 to 0.025; 1.5 of the baseline

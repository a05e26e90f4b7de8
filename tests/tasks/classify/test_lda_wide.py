"""LDA of more columns than samples works in the span of the samples: case lda-wide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import snellen
from snellen.api import RunOptions
from snellen.core.errors import EnvironmentProblem, UsageError
from snellen.tasks.classify import lda


def samples(count: int, size: int, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(count + size)
    x = torch.randn(count, size, generator=rng, dtype=torch.float64) * torch.rand(size, generator=rng).double()
    y = torch.arange(count) % classes
    return x + y[:, None] * 0.3, y


@pytest.mark.parametrize(("count", "size"), [(30, 40), (12, 200), (40, 41)])
@pytest.mark.parametrize("shrinkage", [None, 0.2, 1e-6, 1.0])
def test_the_wide_form_equals_the_covariance_form(count: int, size: int, shrinkage: float | None) -> None:
    x, y = samples(count, size)
    means = torch.stack([x[y == k].mean(0) for k in range(3)])
    centred = x - means[y]
    prior = torch.bincount(y).double() / count
    covariance = centred.T @ centred / count
    fourth_moment = float(centred.square().sum(1).square().mean())
    s = max(lda.ledoit_wolf(covariance, fourth_moment, count), lda.MIN_SHRINKAGE) if shrinkage is None else shrinkage
    w, w0 = lda.discriminant(means, lda.shrunk_covariance(covariance, s), prior)
    wide_w, wide_w0, wide_s = lda.wide_discriminant(means, centred, prior, shrinkage)
    assert wide_s == pytest.approx(s, rel=1e-9)
    # Differences of scores decide; with s = 1e-6 the matrix has a condition number of 1e6.
    torch.testing.assert_close(
        (wide_w - wide_w[0]) @ x.T, (w - w[0]) @ x.T, rtol=1e-6, atol=1e-6 * float(w.abs().max())
    )
    torch.testing.assert_close(wide_w0 - wide_w0[0], w0 - w0[0], rtol=1e-6, atol=1e-6 * float(w0.abs().max()))


def test_the_wide_form_equals_scikit_learn() -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    x, y = samples(24, 60)
    reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3).fit(x.numpy(), y.numpy())
    means = torch.stack([x[y == k].mean(0) for k in range(3)])
    w, w0, _ = lda.wide_discriminant(means, x - means[y], torch.bincount(y).double() / 24, 0.3)
    ours = torch.softmax(x @ w.T + w0, 1)
    np.testing.assert_allclose(ours, reference.predict_proba(x.numpy()), atol=1e-8)


def test_many_columns_are_learned_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = (rng.normal(size=(60, 9000)) + y[:, None] * 0.5).astype(np.float32)
    np.savez(tmp_path / "columns.npz", x=x, y=y)
    monkeypatch.setattr(lda, "available_memory", lambda: 100_000_000)  # the covariance alone would take 648 MB
    run = snellen.train(
        tmp_path / "columns.npz", "lda", out=tmp_path / "run", options=RunOptions(device="cpu", report=False)
    )
    assert run.metrics["accuracy"].value == 1.0


def test_what_does_not_fit_is_refused_before_it_is_allocated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "columns.npz", x=rng.normal(size=(60, 500)), y=np.arange(60) % 2)
    monkeypatch.setattr(lda, "available_memory", lambda: 1000)
    with pytest.raises(
        EnvironmentProblem, match=r"lda needs [\d,]+ bytes for 4\d samples of 500 columns, of which 1,000"
    ):
        snellen.train(tmp_path / "columns.npz", "lda", out=tmp_path / "run")


def test_more_columns_than_samples_need_shrinkage(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "columns.npz", x=rng.normal(size=(60, 100)), y=np.arange(60) % 2)
    with pytest.raises(UsageError, match="covariance of 100 columns has no inverse with --shrinkage 0"):
        snellen.train(tmp_path / "columns.npz", "lda", shrinkage=0.0, out=tmp_path / "run")

"""The baseline of regression minimises the headline metric."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import snellen
from snellen.api import RunOptions

QUICK = RunOptions(device="cpu", report=False)


def write(path: Path, targets: int) -> Path:
    """Skewed targets, whose mean is far from their median."""
    rng = np.random.default_rng(0)
    y = rng.exponential(size=(200, targets)) ** 2
    np.savez(path, x=rng.normal(size=(200, 2)), y=y if targets > 1 else y[:, 0])
    return path


@pytest.mark.parametrize("targets", [1, 2])
def test_no_other_constant_has_a_better_headline(targets: int, tmp_path: Path) -> None:
    data = snellen.dataset(write(tmp_path / "rows.npz", targets))
    run = snellen.train(data, "baseline", out=tmp_path / "run", options=QUICK)
    truth = data.truth[data.splits["train"]].double().numpy()
    expected = np.median(truth, axis=0) if targets == 1 else truth.mean(0)
    assert run.model.mean.numpy() == pytest.approx(expected)
    if targets == 1:
        error = np.abs(truth - expected).mean()
        assert all(error <= np.abs(truth - other).mean() + 1e-12 for other in np.linspace(0, 3, 301))
    assert torch.equal(snellen.load(tmp_path / "run").model.mean, run.model.mean)

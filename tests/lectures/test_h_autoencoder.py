"""Recurrent auto-encoder: the state after a window restores the window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import snellen
from snellen.api import RunOptions
from snellen.data.formats import FUTURE, OpenOptions
from snellen.tasks.forecast.encoder_decoder import body_of
from snellen.tasks.forecast.objective import ForecastNetwork


def test_h7_the_state_of_a_recurrent_autoencoder_restores_the_window(tmp_path: Path) -> None:
    """Of sines of any phase and frequency, the error of the restored window is far below that of its mean."""
    rng = np.random.default_rng(0)
    t = np.arange(10)
    waves = [np.sin(rng.uniform(0.3, 0.8) * t + rng.uniform(0, 2 * np.pi))[:, None] for _ in range(400)]
    np.save(tmp_path / "waves.npy", np.stack(waves))
    run = snellen.train(
        snellen.dataset(tmp_path / "waves.npy", options=OpenOptions(target=(FUTURE,), window=8, horizon=2)),
        "recurrent-autoencoder",
        out=tmp_path / "run",
        options=RunOptions(threads=1, report=False),
        hidden_size=32,
        epochs=20,
        lr=0.01,
        reference="none",
    )
    model = run.model
    assert isinstance(model, ForecastNetwork)
    x = torch.from_numpy(np.stack([wave[:8] for wave in waves[:100]]))
    with torch.no_grad():
        values = model.network.standardize(model.network_input(x))
        restored = body_of(model).reconstruct(body_of(model).encode(values), values)
    error, spread = (restored - values).abs().mean(), (values - values.mean(1, keepdim=True)).abs().mean()
    assert error < spread / 2, (error, spread)

"""Sequence to sequence and recurrent auto-encoder: teacher forcing, losses, views, and a problem that needs a state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_forecasters import QUIET, series_data
from torch import nn

import snellen
from snellen.core.run import Run
from snellen.core.spec import Preprocessing
from snellen.core.views import Plot
from snellen.tasks import LEARNERS
from snellen.tasks.forecast.encoder_decoder import (
    EncoderDecoderObjective,
    body_of,
    forcing_probability,
    reconstruction_views,
)
from snellen.tasks.forecast.objective import ForecastNetwork, ForecastSettings, fit_scale


def waves(steps: int = 300) -> np.ndarray:
    t = np.arange(steps)
    return np.stack([np.sin(t / 3), np.sin(t / 3 + 1)], 1)


def test_the_probability_of_the_truth_falls_from_1_to_0_in_half_of_the_training() -> None:
    assert [forcing_probability("scheduled", f) for f in (0.0, 0.25, 0.5, 0.9)] == [1.0, 0.5, 0.0, 0.0]
    assert forcing_probability("always", 0.9) == 1
    assert forcing_probability("none", 0.0) == 0


def test_the_fraction_done_is_that_of_the_steps(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", seed=0)
    assert [run.fraction_done for _ in run.steps(4)] == [0, 0.25, 0.5, 0.75]
    assert run.fraction_done == 0


def test_the_loss_is_that_of_the_forecast_and_of_the_window(tmp_path: Path) -> None:
    data = series_data(waves())
    learner = LEARNERS["forecast"]["recurrent-autoencoder"]
    torch.manual_seed(0)
    model = learner.build(learner.settings(), data.spec)
    assert isinstance(model, ForecastNetwork)
    fit_scale(model, data)
    train = data.samples("train").take(torch.arange(5))
    run = Run(tmp_path / "run", seed=0)

    def loss(weight: float) -> float:
        return float(EncoderDecoderObjective(ForecastSettings(), run, "none", weight).loss(model, train).detach())

    with torch.no_grad():
        x = model.network_input(train.x)
        forecast = (model.forecast(train.x) - train.y).abs() / model.scale
        window = (body_of(model).reconstruct(body_of(model).encode(x), x) - x).abs()
    assert loss(0.0) == pytest.approx(float(forecast.mean()), rel=1e-5)
    assert loss(2.0) == pytest.approx(float(forecast.mean() + 2 * window.mean()), rel=1e-5)


@pytest.mark.parametrize("reference", ["last-value", "none"])
def test_a_decoder_without_weights_forecasts_the_last_value(reference: str) -> None:
    data = series_data(waves())
    learner = LEARNERS["forecast"]["seq2seq"]
    model = learner.build(learner.settings(forecast=ForecastSettings(reference=reference)), data.spec)  # type: ignore[call-arg, arg-type]
    assert isinstance(model, ForecastNetwork)
    fit_scale(model, data)
    model.network.standardize.fit(data.samples("train").take(torch.arange(20)).x)
    for parameter in body_of(model).decoder.head.parameters():
        nn.init.zeros_(parameter)
    x = data.source.read(np.arange(3), Preprocessing())
    torch.testing.assert_close(model.forecast(x), x[:, -1:].expand(-1, 3, -1))


@pytest.mark.parametrize("forcing", ["none", "scheduled", "always"])
def test_a_decoder_continues_two_waves(forcing: str, tmp_path: Path) -> None:
    data = series_data(waves(), window=12, horizon=6)
    settings = {"teacher_forcing": forcing, "hidden_size": 32, "epochs": 15}
    run = snellen.train(data, "seq2seq", out=tmp_path / "run", options=QUIET, **settings)
    assert run.metrics["skill over the last value"].value > 0.8


def test_the_view_of_the_autoencoder_is_a_window_and_its_reconstruction() -> None:
    data = series_data(waves())
    learner = LEARNERS["forecast"]["recurrent-autoencoder"]
    model = learner.build(learner.settings(), data.spec).eval()
    x = data.source.read(np.arange(3), Preprocessing())
    (view,) = reconstruction_views(model, x)
    assert isinstance(view, Plot)
    window = next(s for s in view.series if s.name == "window")
    changes = x - x[:, -1:]
    assert any(np.allclose(window.y, changes[k, :, d]) for k in range(3) for d in range(2))

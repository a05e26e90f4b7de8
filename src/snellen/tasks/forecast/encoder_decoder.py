"""Recurrent encoder and decoder: the next steps one by one, each from the one before.

Source: Sutskever, Vinyals and Le 2014; of motion: Martinez, Black and Romero 2017; see `nn.encoder_decoder`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from snellen.core.errors import UsageError
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Spec
from snellen.core.views import Plot, Series, View
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.encoder_decoder import EncoderDecoder
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.forecast.display import future
from snellen.tasks.forecast.mirror import suggest_mirror, with_reflections
from snellen.tasks.forecast.objective import (
    ForecastNetwork,
    ForecastObjective,
    ForecastSettings,
    check_forecast,
    fit_scale,
)
from snellen.tasks.forecast.task import TASK
from snellen.training.settings import TrainingSettings
from snellen.training.supervised import fit_supervised

TeacherForcing = Literal["scheduled", "always", "none"]


@settings
class EncoderDecoderSettings:
    """Cell, size of the state, layers, dropout, teacher forcing, training."""

    cell: Literal["gru", "lstm", "rnn"] = "gru"
    """Recurrent layers of encoder and decoder."""
    hidden_size: Annotated[int, Limit(min=1)] = 128
    """Units of the state."""
    layers: Annotated[int, Limit(min=1)] = 1
    """Recurrent layers, each of which reads the states of the one before."""
    dropout: Annotated[float, Limit(min=0, below=1)] = 0.0
    """Fraction of the state of the decoder that is set to zero in training."""
    teacher_forcing: Literal["none", "scheduled", "always"] = "scheduled"
    """What the decoder reads in training: none, its own forecast of the step before, as in prediction; always, the
    truth; scheduled, the truth with a probability that falls from 1 to 0 in the first half of the training."""
    training: TrainingSettings = TrainingSettings(epochs=10, lr=0.003, clip_grad=1.0)
    forecast: ForecastSettings = ForecastSettings()


@settings
class AutoencoderSettings(EncoderDecoderSettings):
    """Weight of the reconstruction, cell, size of the state, layers, dropout, teacher forcing, training."""

    reconstruction: Annotated[float, Limit(above=0)] = 1.0
    """Weight of the loss of the reconstructed window, where that of the forecast has weight 1."""


class EncoderDecoderObjective(ForecastObjective):
    """Loss of the steps that the decoder generates, and of the window that it reconstructs.

    Args:
        reconstruction: weight of the loss of the window; 0: it is not reconstructed.
    """

    def __init__(
        self, loss_settings: ForecastSettings, run: Run, teacher_forcing: TeacherForcing, reconstruction: float
    ) -> None:
        super().__init__(loss_settings, run)
        self.run = run
        self.teacher_forcing = teacher_forcing
        self.reconstruction = reconstruction

    def loss(self, model: ForecastNetwork, batch: Labelled) -> Tensor:
        if self.custom_loss is not None:
            return super().loss(model, batch)
        network, truth = body_of(model), model.changes(batch.x, batch.y)
        x = model.network.standardize(model.network_input(batch.x))
        state = network.encode(x)
        forced = self.forced(truth)
        generated = network.generate(state, x, truth if forced is not None else None, forced)
        loss = self.mean_loss(model, generated - truth)
        if not self.reconstruction:
            return loss
        error = network.reconstruct(state, x) - x[..., : truth.shape[2]]
        return loss + self.reconstruction * self.mean_loss(model, error)

    def forced(self, truth: Tensor) -> Tensor | None:
        """(B, H) whether the decoder reads the truth of a step (B, H, D) of it; None: of none."""
        probability = forcing_probability(self.teacher_forcing, self.run.fraction_done)
        if not probability:
            return None
        return torch.rand(truth.shape[:2], device=truth.device) < probability


def forcing_probability(teacher_forcing: TeacherForcing, fraction: float) -> float:
    """Probability that the decoder reads the truth, after a fraction of the training in [0, 1).

    Source: the linear decay of Bengio, Vinyals, Jaitly and Shazeer 2015.
    """
    return {"none": 0.0, "always": 1.0, "scheduled": max(0.0, 1 - 2 * fraction)}[teacher_forcing]


def body_of(model: ForecastNetwork) -> EncoderDecoder:
    """The encoder and decoder."""
    assert isinstance(model.network.body, EncoderDecoder)
    return model.network.body


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    epochs = {"epochs": Suggestion(value=40, reason=f"{count:,} samples: more epochs")} if count < 1000 else {}
    return {**epochs, **suggest_mirror(spec)}


def check_requirements(c: EncoderDecoderSettings, spec: Spec) -> None:
    """Raise UsageError for losses that need all steps at once, or several numbers for each."""
    check_forecast(c.forecast, spec)
    if c.forecast.loss == "positions":
        raise UsageError("--loss positions does not apply to a decoder", "Omit it. Or use --model gru.")
    if c.forecast.loss == "quantile":
        raise UsageError(
            "The decoder generates one number for each step and feature, no quantiles",
            "Omit --loss quantile: its intervals are those of validation windows. Or use --model gru.",
        )


def build(c: EncoderDecoderSettings, spec: Spec) -> ForecastNetwork:
    target = future(spec)
    body = EncoderDecoder(
        len(target.input_names),
        len(target.names),
        target.steps,
        target.known,
        c.cell,
        c.hidden_size,
        c.layers,
        c.dropout,
        reconstructs=isinstance(c, AutoencoderSettings),
    )
    if c.forecast.base != "last-value":
        raise UsageError(
            f"--base {c.forecast.base} does not apply to a decoder, which reads its own forecasts", "Omit it."
        )
    return ForecastNetwork(Network(Standardize(spec.input), body), spec, c.forecast.reference, c.forecast.base)


def fit(c: EncoderDecoderSettings, data: Dataset[Labelled], model: ForecastNetwork, run: Run) -> None:
    data = with_reflections(data, c.forecast.mirror)
    fit_scale(model, data)
    reconstruction = c.reconstruction if isinstance(c, AutoencoderSettings) else 0.0
    objective = EncoderDecoderObjective(c.forecast, run, c.teacher_forcing, reconstruction)
    fit_supervised(model, objective, data, run, c.training, None)


def reconstruction_views(model: nn.Module, x: Tensor) -> list[View]:
    """Plot of a window beside its reconstruction from the state of the encoder: the feature that changes most.

    Args:
        model: in evaluation mode.
        x: (B, T, D') raw inputs.
    """
    assert isinstance(model, ForecastNetwork)
    with torch.no_grad():
        values = model.network.standardize(model.network_input(x))
        network = body_of(model)
        restored = network.reconstruct(network.encode(values), values).double().cpu()
    own = values[..., : restored.shape[2]].double().cpu()
    error = (restored - own).abs().mean((1, 2))
    row = int(torch.argsort(error, stable=True)[len(error) // 2])
    feature = int(own[row].std(0, correction=0).argmax()) if own.shape[1] > 1 else 0
    steps = [float(t) for t in range(1 - own.shape[1], 1)]
    lines = {"window": own, "reconstruction": restored}
    unit = "change since the last step" if model.is_relative else "standardised value"
    return [
        Plot(
            title="Reconstruction of a window",
            x="steps before the forecast",
            y=unit,
            series=[Series(name=name, x=steps, y=values[row, :, feature].tolist()) for name, values in lines.items()],
            caption=f"The training window of median error of {len(x)}, its feature that changes most, and what the "
            "decoder restores of it from the last state of the encoder.",
        )
    ]


LEARNER = Learner[EncoderDecoderSettings, Dataset[Labelled], ForecastNetwork](
    name="seq2seq",
    summary="Sequence to sequence: a recurrent encoder, and a decoder that generates the next steps one by one.",
    source="Sutskever, Vinyals and Le 2014; of motion: Martinez, Black and Romero 2017",
    task=TASK,
    accepts=frozenset({"sequence"}),
    settings=EncoderDecoderSettings,
    suggest=suggest,
    check_requirements=check_requirements,
    build=build,
    fit=fit,
    in_default_ladder=False,
)
AUTOENCODER = Learner[AutoencoderSettings, Dataset[Labelled], ForecastNetwork](
    name="recurrent-autoencoder",
    summary="Recurrent auto-encoder: its state reconstructs the window, and generates the next steps.",
    source="Srivastava, Mansimov and Salakhutdinov 2015",
    task=TASK,
    accepts=frozenset({"sequence"}),
    settings=AutoencoderSettings,
    suggest=suggest,
    check_requirements=check_requirements,
    build=build,
    fit=fit,
    model_views=reconstruction_views,
    in_default_ladder=False,
)

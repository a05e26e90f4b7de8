"""Multi-layer perceptron on the flattened window.

Source: Rumelhart, Hinton and Williams 1986; as a forecaster: Lapedes and Farber 1987.
"""

from __future__ import annotations

from typing import Annotated, Literal

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.layers import Standardize
from snellen.nn.mlp import MLP
from snellen.nn.network import Network
from snellen.tasks.forecast.mirror import with_reflections
from snellen.tasks.forecast.objective import (
    ForecastNetwork,
    ForecastObjective,
    ForecastSettings,
    check_forecast,
    fit_scale,
    levels_of_network,
    numbers_per_output,
    output_count,
    suggest_base,
)
from snellen.tasks.forecast.task import TASK
from snellen.training.settings import TrainingSettings
from snellen.training.supervised import fit_supervised


@settings
class MLPForecasterSettings:
    """Settings of the multi-layer perceptron: layers, regularisation, training."""

    hidden: Annotated[tuple[int, ...], Limit(min=1)] = (128,)
    """Hidden layers: number of units of each, separated by commas."""
    activation: Literal["relu", "tanh", "sigmoid", "leaky-relu", "linear"] = "relu"
    """Activation function between layers."""
    dropout: Annotated[float, Limit(min=0, below=1)] = 0.0
    """Dropout: fraction of the hidden units zeroed in each training step; 0: off."""
    training: TrainingSettings = TrainingSettings(epochs=20, lr=0.001)
    forecast: ForecastSettings = ForecastSettings()


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    epochs = {"epochs": Suggestion(value=60, reason=f"{count:,} samples: more epochs")} if count < 1000 else {}
    return {**epochs, **suggest_base(spec)}


def build(c: MLPForecasterSettings, spec: Spec) -> ForecastNetwork:
    inputs = (spec.input.shape[0] or 1) * (spec.input.shape[1] or 1)
    outputs = output_count(spec) * numbers_per_output(c.forecast)
    network = Network(Standardize(spec.input), MLP((inputs, *c.hidden, outputs), c.activation, c.dropout))
    return ForecastNetwork(network, spec, c.forecast.reference, c.forecast.base, levels_of_network(c.forecast))


def fit(c: MLPForecasterSettings, data: Dataset[Labelled], model: ForecastNetwork, run: Run) -> None:
    data = with_reflections(data, c.forecast.mirror)
    fit_scale(model, data)
    fit_supervised(model, ForecastObjective(c.forecast, run), data, run, c.training, None)


LEARNER = Learner[MLPForecasterSettings, Dataset[Labelled], ForecastNetwork](
    name="mlp",
    summary="Multi-layer perceptron: fully connected layers with an activation function between them.",
    source="Rumelhart, Hinton and Williams 1986; as a forecaster: Lapedes and Farber 1987",
    task=TASK,
    accepts=frozenset({"sequence"}),
    flattens=True,
    settings=MLPForecasterSettings,
    suggest=suggest,
    check_requirements=lambda c, spec: check_forecast(c.forecast, spec),
    build=build,
    fit=fit,
)

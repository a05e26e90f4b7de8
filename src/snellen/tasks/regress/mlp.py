"""Multi-layer perceptron (MLP) for regression.

Source: lectures 001 to 004; lecture 004 for surfaces; Rumelhart, Hinton and Williams 1986.
"""

from __future__ import annotations

from typing import Annotated, Literal

from snellen.core.learner import FLATTENED, Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Preprocessing, Spec
from snellen.data.augment.images import Augment
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_input_size, fixed_size, flattened_size
from snellen.nn.layers import Standardize
from snellen.nn.mlp import MLP
from snellen.nn.network import Network
from snellen.tasks.regress.objective import (
    RegressionLossSettings,
    RegressionNetwork,
    RegressionObjective,
    fit_target_scaling,
    target_count,
)
from snellen.tasks.regress.task import TASK
from snellen.training.settings import TrainingSettings
from snellen.training.supervised import fit_supervised


@settings
class MLPRegressorSettings:
    """Settings of the multi-layer perceptron: layers, regularisation, initialisation, training."""

    hidden: Annotated[tuple[int, ...], Limit(min=1)] = (64, 64)
    """Hidden layers: number of units of each, separated by commas."""
    activation: Literal["relu", "tanh", "sigmoid", "leaky-relu", "maxout", "step", "linear"] = "tanh"
    """Activation function between layers."""
    dropout: Annotated[float, Limit(min=0, below=1)] = 0.0
    """Dropout: fraction of the hidden units zeroed in each training step; 0: off."""
    batch_norm: bool = False
    """Batch normalisation of the output of each hidden layer."""
    init: Literal["auto", "he", "lecun", "small"] = "auto"
    """Weight initialisation: standard deviation √(2/n) (he), 1/√n (lecun) or 0.01 (small) for n inputs; auto: he for
    ReLU, else PyTorch's default."""
    image_size: Annotated[int, Limit(min=1)] | None = None
    """Image size: side in pixels after resizing; auto: the typical size of the images (of the majority, else the
    median), at most 64."""
    training: TrainingSettings = TrainingSettings(epochs=30, lr=0.003)
    loss_settings: RegressionLossSettings = RegressionLossSettings()


_FOR_IMAGE_SURFACE = {
    "hidden": Suggestion(value=(64, 64, 64, 64), reason="pixels of one image: a deep network has sharper edges"),
    "activation": Suggestion(value="relu", reason="pixels of one image: ReLU has sharper edges than tanh"),
}


def suggest(spec: Spec) -> dict[str, Suggestion]:
    return {**_by_count(spec), **(_FOR_IMAGE_SURFACE if spec.input.grid else {})}


def _by_count(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    if count < 1000:
        return {
            "epochs": Suggestion(value=300, reason=f"few samples ({count}): more epochs"),
            "lr": Suggestion(value=0.005, reason="few samples: few steps, so a higher learning rate"),
            "weight_decay": Suggestion(value=0.001, reason="few samples: more regularisation"),
        }
    if count < 10_000:
        return {"epochs": Suggestion(value=100, reason=f"{count:,} samples: more epochs")}
    return {}


def preprocessing_of(c: MLPRegressorSettings, spec: Spec) -> Preprocessing:
    return fixed_size(spec, max_side=64, requested=c.image_size)


def build(c: MLPRegressorSettings, spec: Spec) -> RegressionNetwork:
    preprocessing = preprocessing_of(c, spec)
    body = MLP(
        (flattened_size(spec, preprocessing), *c.hidden, target_count(spec)),
        c.activation,
        c.dropout,
        c.init,
        c.batch_norm,
    )
    return RegressionNetwork(Network(Standardize(spec.input, preprocessing.channels), body), target_count(spec))


def fit(c: MLPRegressorSettings, data: Dataset[Labelled], model: RegressionNetwork, run: Run) -> None:
    fit_target_scaling(model, data)
    fit_supervised(model, RegressionObjective(c.loss_settings, run), data, run, c.training, Augment())


LEARNER = Learner[MLPRegressorSettings, Dataset[Labelled], RegressionNetwork](
    name="mlp",
    summary="Multi-layer perceptron: fully connected layers with an activation function between them.",
    source="Rumelhart, Hinton and Williams 1986; lectures 001 to 004",
    task=TASK,
    accepts=FLATTENED,
    flattens=True,
    settings=MLPRegressorSettings,
    suggest=suggest,
    preprocessing_of=preprocessing_of,
    input_size=lambda c, spec: fixed_input_size(preprocessing_of(c, spec)),
    build=build,
    fit=fit,
)

"""Multi-layer perceptron (MLP) for classification.

Source: lectures 001 to 004; Rumelhart, Hinton and Williams 1986.
"""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor

from snellen.core.learner import FLATTENED, Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Classes, Labels, Preprocessing, Spec
from snellen.data.augment.images import Augment
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_input_size, fixed_size, flattened_size
from snellen.nn.layers import Standardize
from snellen.nn.mlp import MLP, backpropagate
from snellen.nn.network import Network
from snellen.tasks.classify.objective import ClassBalanceSettings, ClassificationNetwork, CrossEntropyObjective
from snellen.tasks.classify.task import TASK
from snellen.training.settings import TrainingSettings
from snellen.training.supervised import fit_supervised


@settings
class MLPClassifierSettings:
    """Settings of the multi-layer perceptron: layers, regularisation, initialisation, training."""

    hidden: Annotated[tuple[int, ...], Limit(min=1)] = (120,)
    """Hidden layers: number of units of each, separated by commas."""
    activation: Literal["relu", "tanh", "sigmoid", "leaky-relu", "maxout", "step", "linear"] = "relu"
    """Activation function between layers."""
    dropout: Annotated[float, Limit(min=0, below=1)] = 0.0
    """Dropout: fraction of the hidden units zeroed in each training step; 0: off."""
    batch_norm: bool = False
    """Batch normalisation of the output of each hidden layer."""
    init: Literal["auto", "he", "lecun", "small"] = "auto"
    """Weight initialisation: standard deviation √(2/n) (he), 1/√n (lecun) or 0.01 (small) for n inputs; auto: he for
    ReLU, else PyTorch's default."""
    backward: Literal["auto", "written", "autograd"] = "auto"
    """Backward pass: hand-written (faster, for plain ReLU layers) or autograd; auto: hand-written where possible."""
    image_size: Annotated[int, Limit(min=1)] | None = None
    """Image size: side in pixels after resizing; auto: the typical size of the images (of the majority, else the
    median), at most 64."""
    training: TrainingSettings = TrainingSettings(epochs=15, lr=0.002)
    class_balance: ClassBalanceSettings = ClassBalanceSettings()


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    if count < 1000:
        return {
            "epochs": Suggestion(value=200, reason=f"few samples ({count}): more epochs"),
            "lr": Suggestion(value=0.01, reason="few samples: few steps, so a higher learning rate"),
        }
    if count < 5000:
        return {"epochs": Suggestion(value=60, reason=f"{count:,} samples: more epochs")}
    return {}


def build(c: MLPClassifierSettings, spec: Spec) -> ClassificationNetwork:
    assert isinstance(spec.target, Classes | Labels)
    preprocessing = preprocessing_of(c, spec)
    sizes = (flattened_size(spec, preprocessing), *c.hidden, len(spec.target.names))
    body = MLP(sizes, c.activation, c.dropout, c.init, c.batch_norm)
    return ClassificationNetwork(Network(Standardize(spec.input, preprocessing.channels), body))


def preprocessing_of(c: MLPClassifierSettings, spec: Spec) -> Preprocessing:
    return fixed_size(spec, max_side=64, requested=c.image_size)


def _gradients(model: ClassificationNetwork, batch: Labelled) -> Tensor:
    assert isinstance(model.network.body, MLP)
    return backpropagate(model.network.body, model.network.standardize(batch.x), batch.y)


def fit(c: MLPClassifierSettings, data: Dataset[Labelled], model: ClassificationNetwork, run: Run) -> None:
    body = model.network.body
    assert isinstance(body, MLP)
    objective = CrossEntropyObjective(data.spec, c.class_balance, run)
    if c.activation == "step":
        run.message("The derivative of the step function is zero: only the last layer is trained.")
    handwritten = c.backward != "autograd" and body.has_manual_backward and objective.plain
    fit_supervised(model, objective, data, run, c.training, Augment(), _gradients if handwritten else None)


LEARNER = Learner[MLPClassifierSettings, Dataset[Labelled], ClassificationNetwork](
    name="mlp",
    summary="Multi-layer perceptron: fully connected layers with an activation function between them.",
    source="Rumelhart, Hinton and Williams 1986; lectures 001 to 004",
    task=TASK,
    accepts=FLATTENED,
    flattens=True,
    settings=MLPClassifierSettings,
    suggest=suggest,
    preprocessing_of=preprocessing_of,
    input_size=lambda c, spec: fixed_input_size(preprocessing_of(c, spec)),
    build=build,
    fit=fit,
)

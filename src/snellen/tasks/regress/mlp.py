"""The multi-layer perceptron of any depth, for numbers.

Source: lectures 001 to 004; lecture 004 for surfaces; Rumelhart, Hinton and Williams 1986.
"""

from __future__ import annotations

from typing import Annotated, Literal

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Preprocessing, Spec
from snellen.data.augment.images import Augment
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size, flat_size
from snellen.nn.layers import Standardize
from snellen.nn.mlp import MLP
from snellen.nn.network import Network
from snellen.tasks.regress.objective import ByError, Errors, Scaled, learn_targets, targets
from snellen.tasks.regress.task import TASK
from snellen.training.settings import TrainingSettings
from snellen.training.supervised import learn


@settings
class MLPSettings:
    """Depth and width, and how it learns."""

    hidden: Annotated[tuple[int, ...], Limit(least=1)] = (64, 64)
    """Units of each hidden layer."""
    activation: Literal["relu", "tanh", "sigmoid", "leaky-relu", "maxout", "step", "linear"] = "tanh"
    """The activation between layers."""
    dropout: Annotated[float, Limit(least=0, below=1)] = 0.0
    """The share of hidden units left out of each training step."""
    batch_norm: bool = False
    """Normalise what each hidden layer gives over the batch."""
    init: Literal["auto", "he", "lecun", "small"] = "auto"
    """Deviation of the first weights: √(2/n), 1/√n or 0.01 for n inputs; auto: he under ReLU, else torch's own."""
    image_size: Annotated[int, Limit(least=1)] | None = None
    """Pixels a side that pictures are resized to; auto: their usual size, at most 64."""
    descent: TrainingSettings = TrainingSettings(epochs=30, lr=0.003)
    errors: Errors = Errors()


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    if count < 1000:
        return {
            "epochs": Suggestion(value=300, why=f"few samples ({count}): more passes"),
            "lr": Suggestion(value=0.005, why="few samples: few steps, so larger ones"),
            "weight_decay": Suggestion(value=0.001, why="few samples: small weights are likelier"),
        }
    if count < 10_000:
        return {"epochs": Suggestion(value=100, why=f"{count:,} samples: more passes")}
    return {}


def preprocessing_of(c: MLPSettings, spec: Spec) -> Preprocessing:
    return fixed_size(spec, most=64, asked=c.image_size)


def build(c: MLPSettings, spec: Spec) -> Scaled:
    preprocessing = preprocessing_of(c, spec)
    body = MLP(
        (flat_size(spec, preprocessing), *c.hidden, targets(spec)), c.activation, c.dropout, c.init, c.batch_norm
    )
    return Scaled(Network(Standardize(spec.input, preprocessing.channels), body), targets(spec))


def fit(c: MLPSettings, data: Dataset[Labelled], model: Scaled, run: Run) -> None:
    learn_targets(model, data)
    learn(model, ByError(c.errors, run), data, run, c.descent, Augment())


LEARNER = Learner[MLPSettings, Dataset[Labelled], Scaled](
    name="mlp",
    summary="Linear layers with an activation between them, any depth.",
    source="Rumelhart, Hinton and Williams 1986; lectures 001 to 004",
    task=TASK,
    accepts=frozenset({"vector", "image"}),
    settings=MLPSettings,
    suggest=suggest,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
)

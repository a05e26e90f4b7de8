"""The multi-layer perceptron of any depth, for numbers.

Source: lectures 001 to 004; lecture 004 for surfaces; Rumelhart, Hinton and Williams 1986.
"""

from __future__ import annotations

from typing import Annotated, Literal

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Because, Limit, settings
from snellen.core.spec import Reading, Spec
from snellen.data.augment.images import Augment
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size, flat_size
from snellen.nn.layers import Standardize
from snellen.nn.mlp import MLP
from snellen.nn.network import Network
from snellen.tasks.regress.objective import ByError, Errors, Scaled, learn_targets, targets
from snellen.tasks.regress.task import TASK
from snellen.training.settings import Descent
from snellen.training.supervised import learn


@settings
class MLPSettings:
    """Depth and width, and how it learns."""

    hidden: Annotated[tuple[int, ...], Limit(least=1)] = (64, 64)
    """Units of each hidden layer."""
    act: Literal["relu", "tanh", "sigmoid", "leaky-relu", "maxout", "step", "linear"] = "tanh"
    """The activation between layers."""
    dropout: Annotated[float, Limit(least=0, below=1)] = 0.0
    """The share of hidden units left out of each training step."""
    batch_norm: bool = False
    """Normalise what each hidden layer gives over the batch."""
    init: Literal["auto", "he", "lecun", "small"] = "auto"
    """Deviation of the first weights: √(2/n), 1/√n or 0.01 for n inputs; auto: he under ReLU, else torch's own."""
    image_size: Annotated[int, Limit(least=1)] | None = None
    """Pixels a side that pictures are resized to; auto: their usual size, at most 64."""
    descent: Descent = Descent(epochs=30, lr=0.003)
    errors: Errors = Errors()


def suggest(spec: Spec) -> dict[str, Because]:
    count = spec.sizes.get("train", 0)
    if count < 1000:
        return {
            "epochs": Because(value=300, why=f"few samples ({count}): more passes"),
            "lr": Because(value=0.005, why="few samples: few steps, so larger ones"),
            "weight_decay": Because(value=0.001, why="few samples: small weights are likelier"),
        }
    if count < 10_000:
        return {"epochs": Because(value=100, why=f"{count:,} samples: more passes")}
    return {}


def reads(c: MLPSettings, spec: Spec) -> Reading:
    return fixed_size(spec, most=64, asked=c.image_size)


def build(c: MLPSettings, spec: Spec) -> Scaled:
    reading = reads(c, spec)
    body = MLP((flat_size(spec, reading), *c.hidden, targets(spec)), c.act, c.dropout, c.init, c.batch_norm)
    return Scaled(Network(Standardize(spec.input, reading.channels), body), targets(spec))


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
    reads=reads,
    build=build,
    fit=fit,
)

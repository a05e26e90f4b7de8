"""The multi-layer perceptron of any depth.

Source: lectures 001 to 004; Rumelhart, Hinton and Williams 1986.
"""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, Suggestion, settings
from snellen.core.spec import Classes, Labels, Preprocessing, Spec
from snellen.data.augment.images import Augment
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size, flat_size
from snellen.nn.layers import Standardize
from snellen.nn.mlp import MLP, backpropagate
from snellen.nn.network import Network
from snellen.tasks.classify.objective import ByCrossEntropy, Logits, Weighting
from snellen.tasks.classify.task import TASK
from snellen.training.settings import TrainingSettings
from snellen.training.supervised import learn


@settings
class MLPSettings:
    """Depth and width, and how it learns."""

    hidden: Annotated[tuple[int, ...], Limit(least=1)] = (120,)
    """Units of each hidden layer."""
    activation: Literal["relu", "tanh", "sigmoid", "leaky-relu", "maxout", "step", "linear"] = "relu"
    """The activation between layers."""
    dropout: Annotated[float, Limit(least=0, below=1)] = 0.0
    """The share of hidden units left out of each training step."""
    batch_norm: bool = False
    """Normalise what each hidden layer gives over the batch."""
    init: Literal["auto", "he", "lecun", "small"] = "auto"
    """Deviation of the first weights: √(2/n), 1/√n or 0.01 for n inputs; auto: he under ReLU, else torch's own."""
    backward: Literal["auto", "written", "autograd"] = "auto"
    """Who computes gradients: our written-out backward pass (faster, for plain ReLU layers), or autograd."""
    image_size: Annotated[int, Limit(least=1)] | None = None
    """Pixels a side that pictures are resized to; auto: their usual size, at most 64."""
    descent: TrainingSettings = TrainingSettings(epochs=15, lr=0.002)
    weighting: Weighting = Weighting()


def suggest(spec: Spec) -> dict[str, Suggestion]:
    count = spec.sizes.get("train", 0)
    if count < 1000:
        return {
            "epochs": Suggestion(value=200, why=f"few samples ({count}): more passes"),
            "lr": Suggestion(value=0.01, why="few samples: few steps, so larger ones"),
        }
    if count < 5000:
        return {"epochs": Suggestion(value=60, why=f"{count:,} samples: more passes")}
    return {}


def build(c: MLPSettings, spec: Spec) -> Logits:
    assert isinstance(spec.target, Classes | Labels)
    preprocessing = preprocessing_of(c, spec)
    sizes = (flat_size(spec, preprocessing), *c.hidden, len(spec.target.names))
    body = MLP(sizes, c.activation, c.dropout, c.init, c.batch_norm)
    return Logits(Network(Standardize(spec.input, preprocessing.channels), body))


def preprocessing_of(c: MLPSettings, spec: Spec) -> Preprocessing:
    return fixed_size(spec, most=64, asked=c.image_size)


def _gradients(model: Logits, batch: Labelled) -> Tensor:
    assert isinstance(model.network.body, MLP)
    return backpropagate(model.network.body, model.network.standardize(batch.x), batch.y)


def fit(c: MLPSettings, data: Dataset[Labelled], model: Logits, run: Run) -> None:
    body = model.network.body
    assert isinstance(body, MLP)
    scheme = ByCrossEntropy(data.spec, c.weighting, run)
    if c.activation == "step":
        run.say("The derivative of a step is zero: only the last layer learns.")
    written = c.backward != "autograd" and body.explicit and scheme.plain
    learn(model, scheme, data, run, c.descent, Augment(), _gradients if written else None)


LEARNER = Learner[MLPSettings, Dataset[Labelled], Logits](
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

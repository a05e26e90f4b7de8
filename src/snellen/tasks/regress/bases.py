"""Ridge regression on Gaussian basis functions: linear not in the input but in its nearness to some centres.

Source: lecture 001, y = Σ w_j φ_j(x); Bishop 2006, section 3.1; Broomhead and Lowe 1988.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.random import key
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size, flat_size
from snellen.nn.layers import Standardize
from snellen.nn.rbf import GaussianBases, middles
from snellen.tasks.regress.objective import targets
from snellen.tasks.regress.ridge import best_penalty, parts, weights
from snellen.tasks.regress.task import TASK
from snellen.training.supervised import some


@settings
class BasesSettings:
    """Where the bases stand and how wide they are, and what large weights cost."""

    bases: Annotated[int, Limit(least=1)] = 30
    """How many basis functions; their centres are found by k-means of the training inputs."""
    bandwidth: Annotated[float, Limit(above=0)] | None = None
    """Deviation s of each, of standardised inputs; auto: twice the mean distance from a centre to the next."""
    alpha: Annotated[float, Limit(least=0)] | None = None
    """λ of λ/2 ‖w‖², for standardised φ; auto: that with the least error on samples left out one by one."""


class OnBases(nn.Module):
    """y = w·[φ(x) | 1]. w: (T, M + 1), the last the offset; in the user's units, float64."""

    w: Tensor

    def __init__(self, standardize: Standardize, bases: GaussianBases, targets: int) -> None:
        super().__init__()
        self.standardize = standardize
        self.bases = bases
        self.register_buffer("w", torch.zeros(targets, len(bases.centres) + 1, dtype=torch.float64))

    def phi(self, x: Tensor) -> Tensor:
        """(B, ...) raw inputs to (B, M) float64."""
        near: Tensor = self.bases(self.standardize(x))
        return near.double()

    def predict(self, x: Tensor) -> Tensor:
        return self.phi(x) @ self.w[:, :-1].T + self.w[:, -1]


def build(c: BasesSettings, spec: Spec) -> OnBases:
    preprocessing = preprocessing_of(c, spec)
    count = min(c.bases, spec.sizes.get("train", c.bases))
    return OnBases(
        Standardize(spec.input, preprocessing.channels),
        GaussianBases(count, flat_size(spec, preprocessing)),
        targets(spec),
    )


def preprocessing_of(c: BasesSettings, spec: Spec) -> Preprocessing:
    return fixed_size(spec, most=32)


def fit(c: BasesSettings, data: Dataset[Labelled], model: OnBases, run: Run) -> None:
    train = data.samples("train")
    sample = some(train).x
    model.standardize.learn(sample, data.value_range)
    flat = model.standardize(sample).flatten(1)
    model.bases.place(middles(flat, len(model.bases.centres), key(run.seed, "k-means")), c.bandwidth)
    phi = parts(torch.cat([model.phi(batch.x) for batch in train.in_order(4096)]))
    t = train.y.double()
    penalty = best_penalty(phi, t) if c.alpha is None else c.alpha
    run.notes["penalty"] = penalty
    model.w.copy_(weights(phi, t, penalty))
    model.to(run.device)


LEARNER = Learner[BasesSettings, Dataset[Labelled], OnBases](
    name="bases",
    summary="Ridge regression on Gaussian basis functions about the centres of the data, in closed form.",
    source="lecture 001; Bishop 2006, 3.1; Broomhead and Lowe 1988",
    task=TASK,
    accepts=frozenset({"vector", "image"}),
    settings=BasesSettings,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
    stoppable=False,
)

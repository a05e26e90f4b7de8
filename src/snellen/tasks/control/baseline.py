"""Random policy: every action with the same probability."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Actions, Spec
from snellen.data.world import World
from snellen.tasks.control.task import TASK


@settings
class RandomPolicySettings:
    """Settings of the random policy (none)."""


class RandomPolicy(nn.Module):
    """Uniform distribution over the actions; uniform: (A,) float64."""

    uniform: Tensor

    def __init__(self, actions: int) -> None:
        super().__init__()
        self.register_buffer("uniform", torch.full((actions,), 1 / actions, dtype=torch.float64))

    def probabilities(self, x: Tensor) -> Tensor:
        return self.uniform.expand(x.shape[0], -1)


def build(c: RandomPolicySettings, spec: Spec) -> RandomPolicy:
    assert isinstance(spec.target, Actions)
    return RandomPolicy(len(spec.target.names))


def fit(c: RandomPolicySettings, data: World, model: RandomPolicy, run: Run) -> None:
    """Nothing to learn."""
    model.to(run.device)


LEARNER = Learner[RandomPolicySettings, World, RandomPolicy](
    name="baseline",
    summary="Random policy: takes every action with the same probability.",
    source="Sutton and Barto 2018, example 4.1 (the equiprobable random policy)",
    task=TASK,
    accepts=frozenset({"world"}),
    settings=RandomPolicySettings,
    build=build,
    fit=fit,
)

"""Episodes of a policy in a world, many side by side."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from snellen.core.random import uniform
from snellen.core.task import Predictions
from snellen.data.world import World


class Policy(Protocol):
    """Interface of a model of this task: π(a | s)."""

    def probabilities(self, x: Tensor, /) -> Tensor:
        """(B, ...) observations to (B, A) probabilities of the actions."""


def sample_actions(probabilities: Tensor, draws: Tensor) -> Tensor:
    """Actions of the inverse distribution function at uniform draws: (B, A) and (B,) in [0, 1) to (B,) int64."""
    cumulative = probabilities.double().cumsum(1)
    actions = (cumulative <= draws.double()[:, None] * cumulative[:, -1:]).sum(1)
    return actions.clamp(max=probabilities.shape[1] - 1)


def rollout(policy: Policy, world: World, seeds: Tensor, device: torch.device | str = "cpu") -> Predictions:
    """Run one episode for each seed. The draws of the actions, too, are a function of seed and step.

    Args:
        seeds: (N,) int64.
    Returns:
        "return" (N,) float64, the sum of all rewards; "length" (N,) int64 steps; "success" (N,) bool, whether a goal
        was reached; "truth" (N, ...) first observations, which depend on no policy; "ids" (N,), the seeds.
    """
    episodes = [world.reset(seed) for seed in seeds.tolist()]
    truth = torch.stack([episode.observation for episode in episodes])
    returns, lengths = torch.zeros(len(seeds), dtype=torch.float64), torch.zeros(len(seeds), dtype=torch.int64)
    running = list(range(len(seeds)))
    for time in range(world.max_steps):
        x = torch.stack([episodes[k].observation for k in running])  # (B, ...)
        draws = uniform(seeds[running], 1, 0, "action", time)[:, 0]
        actions = sample_actions(policy.probabilities(x.to(device)).cpu(), draws)
        steps = [episodes[k].step(action) for k, action in zip(running, actions.tolist(), strict=True)]
        returns[running] += torch.tensor([step.reward for step in steps], dtype=torch.float64)
        lengths[running] += 1
        running = [k for k, step in zip(running, steps, strict=True) if not (step.terminated or step.truncated)]
        if not running:
            break
    success = torch.tensor([episode.succeeded for episode in episodes])
    return {"return": returns, "length": lengths, "success": success, "truth": truth, "ids": seeds.clone()}

"""Q-learning (Watkins 1989) with a table of action values.

Source: Watkins and Dayan 1992; Sutton and Barto 2018, section 6.5.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np
import torch

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Spec
from snellen.data.world import World
from snellen.tasks.control.table import ActionTable, board_views, build_table, unsupported_reason
from snellen.tasks.control.task import TASK


@settings
class QLearningSettings:
    """Settings of Q-learning."""

    episodes: Annotated[int, Limit(min=1)] = 10_000
    """Number of training episodes."""
    lr: Annotated[float, Limit(above=0, max=1)] = 0.2
    """Learning rate α of the first episode; it falls linearly to 0."""
    discount: Annotated[float, Limit(above=0, max=1)] = 1.0
    """Discount γ of the next state's value; 1: the plain sum of rewards, which is also what is measured."""
    epsilon: Annotated[float, Limit(min=0, max=1)] = 1.0
    """Probability of a random action in the first episode."""
    epsilon_end: Annotated[float, Limit(min=0, max=1)] = 0.1
    """Probability of a random action after the exploration."""
    exploration_fraction: Annotated[float, Limit(above=0, max=1)] = 0.5
    """Fraction of the episodes over which the probability of a random action falls linearly."""


class Outcome(NamedTuple):
    """Return and length of a training episode, with its random actions."""

    total: float
    length: int


class Transition(NamedTuple):
    """One transition: in the state s, the action a gave the reward r and led to the state s'."""

    state: int
    action: int
    reward: float
    next_state: int
    terminated: bool


def update(q: np.ndarray, transition: Transition, lr: float, discount: float) -> float:
    """One update in place: Q(s, a) ← Q(s, a) + α [r + γ max_a' Q(s', a') − Q(s, a)].

    A terminal state has the value 0. A truncated episode is no terminal state: the value of its last state counts.

    Args:
        q: (S, A). lr: α. discount: γ.
    Returns:
        The temporal-difference error, in brackets.
    """
    state, action, reward, next_state, terminated = transition
    target = reward if terminated else reward + discount * q[next_state].max()
    error = target - q[state, action]
    q[state, action] += lr * error
    return float(error)


def epsilon_at(c: QLearningSettings, episode: int) -> float:
    """Probability of a random action in an episode."""
    progress = min(1.0, episode / (c.exploration_fraction * c.episodes))
    return c.epsilon + (c.epsilon_end - c.epsilon) * progress


def learn_episode(q: np.ndarray, world: World, seed: int, *, lr: float, discount: float, epsilon: float) -> Outcome:
    """Act ε-greedily for one episode, and update the table after every action.

    Random numbers are of torch's default generator, which `Run.steps` seeds for each episode.
    """
    levels, actions = world.spec.input.levels, q.shape[1]
    explores = (torch.rand(world.max_steps) < epsilon).tolist()
    random_actions = torch.randint(actions, (world.max_steps,)).tolist()
    episode, total = world.reset(seed), 0.0
    state = int(np.ravel_multi_index([int(v) for v in episode.observation.tolist()], levels))
    for time in range(world.max_steps):
        action = random_actions[time] if explores[time] else int(q[state].argmax())
        step = episode.step(action)
        next_state = int(np.ravel_multi_index([int(v) for v in step.observation.tolist()], levels))
        update(q, Transition(state, action, step.reward, next_state, step.terminated), lr, discount)
        state, total = next_state, total + step.reward
        if step.terminated or step.truncated:
            break
    return Outcome(total, time + 1)


def build(c: QLearningSettings, spec: Spec) -> ActionTable:
    return build_table(spec)


def fit(c: QLearningSettings, data: World, model: ActionTable, run: Run) -> None:
    """A step is one whole episode, so that a checkpoint holds no episode in progress."""
    run.keep(model=model)
    q, seeds = model.q.numpy(), data.splits["train"]  # q shares its memory with the model
    for k in run.steps(c.episodes):
        epsilon = epsilon_at(c, k)
        outcome = learn_episode(
            q, data, int(seeds[k % len(seeds)]), lr=c.lr * (1 - k / c.episodes), discount=c.discount, epsilon=epsilon
        )
        run.log(**{"return": outcome.total, "length": float(outcome.length), "epsilon": epsilon})
    model.to(run.device)


LEARNER = Learner[QLearningSettings, World, ActionTable](
    name="q-learning",
    summary="Q-learning: a table of action values, learned from its own actions by temporal differences.",
    source="Watkins and Dayan 1992",
    task=TASK,
    accepts=frozenset({"world"}),
    settings=QLearningSettings,
    unsupported_reason=unsupported_reason,
    build=build,
    fit=fit,
    model_views=board_views,
)

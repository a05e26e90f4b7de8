"""World: an environment in which a policy acts. Episodes take the place of samples.

The outcome of an episode is a function of its seed and of the actions: two policies are compared on the same episodes,
and a resumed training sees the same ones.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from snellen.core.experience import Experience


class TimeStep(NamedTuple):
    """Outcome of one action.

    observation: of the next state, of the shape of the input.
    reward: of the action.
    terminated: whether the next state is terminal: no reward follows, so its value is zero.
    truncated: whether the episode ends by its limit of steps; the next state has a value as any other.
    """

    observation: Tensor
    reward: float
    terminated: bool
    truncated: bool


class Episode(Protocol):
    """An episode in progress."""

    @property
    def observation(self) -> Tensor:
        """Observation of the present state."""

    @property
    def succeeded(self) -> bool:
        """Whether the episode has reached a goal."""

    def step(self, action: int) -> TimeStep:
        """Take an action, an index into the names of the actions."""


class Transitions(NamedTuple):
    """Exact model of a world of S states and A actions. The index of a state is that of `state_index`.

    probability: (S, A, S) float64, P(s' | s, a); zero for terminal states, after which nothing follows.
    reward: (S, A) float64, expected reward R(s, a).
    """

    probability: Tensor
    reward: Tensor


class World(Experience, Protocol):
    """An environment with episodes in splits; `splits` hold their seeds."""

    @property
    def max_steps(self) -> int:
        """Steps after which an episode is truncated."""

    def reset(self, seed: int) -> Episode:
        """Begin the episode of a seed."""

    def transitions(self) -> Transitions | None:
        """The exact model, for planning; None where it is unknown. Learning from experience must not read it."""

"""Part H of the lectures, control: the Bellman equation and the update of Q-learning."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from snellen.data.synthetic.gridworld import GridWorld, gridworld
from snellen.tasks.control.q_learning import Transition, update
from snellen.tasks.control.value_iteration import bellman_optimality


def optimal(world: GridWorld, discount: float = 1.0) -> Tensor:
    """(S, A) action values by value iteration."""
    transitions = world.transitions()
    q = torch.zeros_like(transitions.reward)
    for _ in range(2000):
        q = bellman_optimality(q, transitions, discount)
    return q


def policy_value(world: GridWorld, actions: np.ndarray, discount: float) -> np.ndarray:
    """(S,) state values of a deterministic policy, by NumPy's solution of V = R + γ P V."""
    transitions = world.transitions()
    states = np.arange(len(actions))
    probability, reward = (t.numpy()[states, actions] for t in transitions)
    solution: np.ndarray = np.linalg.solve(np.eye(len(actions)) - discount * probability, reward)
    return solution


@pytest.mark.parametrize(("slip", "discount"), [(0.0, 1.0), (0.2, 1.0), (0.2, 0.9), (1.0, 0.9)])
def test_h5_value_iteration_solves_the_bellman_equation_of_its_policy(slip: float, discount: float) -> None:
    world = gridworld(slip=slip)
    q = optimal(world, discount)
    value = policy_value(world, q.argmax(1).numpy(), discount)
    assert q.amax(1).numpy() == pytest.approx(value, abs=1e-9)
    transitions = world.transitions()  # no action is better in any state
    assert bool((transitions.reward + discount * transitions.probability @ torch.from_numpy(value) <= q + 1e-9).all())


def test_h5_the_update_of_q_learning_by_hand() -> None:
    q = np.array([[1.0, 2.0], [4.0, 3.0]])
    # 2 + 0.5 (1 + 0.9 · max(4, 3) − 2) = 3.3
    assert update(q, Transition(0, 1, 1.0, 1, terminated=False), lr=0.5, discount=0.9) == pytest.approx(2.6)
    assert q == pytest.approx(np.array([[1.0, 3.3], [4.0, 3.0]]))
    # 4 + 0.25 (−1 − 4) = 2.75: the value of a terminal state is zero
    update(q, Transition(1, 0, -1.0, 0, terminated=True), lr=0.25, discount=0.9)
    assert q == pytest.approx(np.array([[1.0, 3.3], [2.75, 3.0]]))

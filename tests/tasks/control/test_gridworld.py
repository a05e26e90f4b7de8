"""Gridworld, value iteration and Q-learning against closed forms, published values and linear solves."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from snellen.core.errors import UsageError
from snellen.data.synthetic.gridworld import LAYOUT, GridWorld, gridworld
from snellen.tasks.control import rollout as rollout_module
from snellen.tasks.control.q_learning import QLearningSettings, epsilon_at, learn_episode
from snellen.tasks.control.rollout import rollout, sample_actions
from snellen.tasks.control.table import ActionTable, build_table, state_index
from snellen.tasks.control.value_iteration import bellman_optimality

# The world of Russell and Norvig, figure 17.1: 4 x 3 cells, a move slips with probability 0.1 to either side.
RUSSELL_NORVIG = ("...G", ".#.O", "....")
UTILITIES = ((0.812, 0.868, 0.918), (0.762, None, 0.660), (0.705, 0.655, 0.611, 0.388))  # their figure 17.3


def optimal(world: GridWorld, discount: float = 1.0) -> Tensor:
    """(S, A) action values by value iteration."""
    transitions = world.transitions()
    q = torch.zeros_like(transitions.reward)
    for _ in range(2000):
        q = bellman_optimality(q, transitions, discount)
    return q


def test_value_iteration_gives_the_published_utilities() -> None:
    world = gridworld(RUSSELL_NORVIG, slip=0.2)
    values = optimal(world).amax(1).view(3, 4)
    for row, line in enumerate(UTILITIES):
        for column, utility in enumerate(line):
            if utility is not None:
                assert float(values[row, column]) == pytest.approx(utility, abs=5e-4)


def test_transition_probabilities_sum_to_one_where_the_agent_acts() -> None:
    world = gridworld(slip=0.3)
    total = world.transitions().probability.sum(2)
    acting = torch.tensor([cell == "." for cell in world.cells])
    assert total[acting].numpy() == pytest.approx(1.0)
    assert not total[~acting].any()


def test_episodes_follow_the_transition_probabilities() -> None:
    """Frequencies of the next states of one state and action, within five standard errors of a fixed sample."""
    world = gridworld(("...", ".S.", "..G"), slip=0.3)
    count = 4000
    counts = torch.zeros(9)
    for seed in range(count):
        counts[int(state_index(world.reset(seed).step(1).observation[None], (3, 3)))] += 1
    expected = world.transitions().probability[4, 1]
    error = (expected * (1 - expected) / count).sqrt()
    assert bool(((counts / count - expected).abs() <= 5 * error).all())


def test_an_episode_is_a_function_of_its_seed_and_its_actions() -> None:
    world = gridworld(slip=0.5)
    first, second = world.reset(3), world.reset(3)
    for time in range(20):
        a, b = first.step(time % 4), second.step(time % 4)
        assert torch.equal(a.observation, b.observation)
        assert a[1:] == b[1:]
        if a.terminated:
            break


def test_exploration_falls_linearly() -> None:
    c = QLearningSettings(episodes=100, epsilon=1.0, epsilon_end=0.2, exploration_fraction=0.5)
    assert [epsilon_at(c, k) for k in (0, 25, 50, 99)] == pytest.approx([1.0, 0.6, 0.2, 0.2])


@pytest.mark.parametrize("seed", range(3))
def test_the_greedy_policy_of_q_learning_is_that_of_value_iteration(seed: int) -> None:
    """Deterministic: with a learning rate of 1 the values of the visited pairs become exact."""
    world = gridworld()
    model = build_table(world.spec)
    torch.manual_seed(seed)
    for episode in range(2000):
        learn_episode(model.q.numpy(), world, 2000 * seed + episode, lr=1.0, discount=1.0, epsilon=1 - episode / 4000)
    best = optimal(world)
    chosen = best.gather(1, model.q.argmax(1, keepdim=True))[:, 0]
    # equal values are ties
    assert chosen[world.starts].numpy() == pytest.approx(best.amax(1)[world.starts].numpy(), abs=1e-9)


def test_the_return_of_an_episode_is_the_value_of_its_start() -> None:
    world = gridworld()
    model = ActionTable(world.spec.input.levels, world.spec.target)  # type: ignore[arg-type]
    model.q.copy_(optimal(world))
    predictions = rollout(model, world, world.splits["val"])
    expected = model.values(predictions["truth"]).amax(1)
    assert predictions["return"].numpy() == pytest.approx(expected.numpy())
    assert predictions["success"].all()
    steps = (1.0 - predictions["return"]) / 0.04
    assert predictions["length"].double().numpy() == pytest.approx(steps.numpy())


def test_a_truncated_episode_is_not_terminal() -> None:
    world = gridworld(("S.G",), max_steps=3)
    episode = world.reset(0)
    steps = [episode.step(3) for _ in range(3)]  # to the left, against the border
    assert [(step.terminated, step.truncated) for step in steps] == [(False, False), (False, False), (False, True)]
    assert math.fsum(step.reward for step in steps) == pytest.approx(-0.12)
    assert not episode.succeeded


def test_actions_are_sampled_by_the_inverse_distribution_function() -> None:
    probabilities = torch.tensor([[0.25, 0.0, 0.75]]).expand(5, -1)
    draws = torch.tensor([0.0, 0.2499, 0.25, 0.5, 0.99999994])
    assert sample_actions(probabilities, draws).tolist() == [0, 0, 2, 2, 2]
    assert sample_actions(torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([0.99999994])).tolist() == [1]


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        ({"board": ()}, "no rectangle"),
        ({"board": "..G"}, "no rectangle"),
        ({"board": ("..G", ".")}, "no rectangle"),
        ({"board": ("..x",)}, "has the cell 'x'"),
        ({"board": ("...",)}, "no goal"),
        ({"board": ("G#",)}, "no cell to start in"),
        ({"slip": 1.5}, "slip cannot be 1.5"),
        ({"max_steps": 0}, "needs a step"),
        ({"sizes": {"train": 1, "val": 0, "test": 1}}, "a split an episode"),
    ],
)
def test_a_board_that_makes_no_world_is_an_error(arguments: dict[str, object], cause: str) -> None:
    with pytest.raises(UsageError, match=cause):
        gridworld(**{"board": LAYOUT, **arguments})  # type: ignore[arg-type]


def test_the_episodes_of_two_seeds_are_disjoint() -> None:
    first, second = (torch.cat(list(gridworld(seed=seed).splits.values())) for seed in (0, 1))
    assert len(first.unique()) == len(first)
    assert not torch.isin(first, second).any()


def test_a_truncated_episode_bootstraps_from_the_value_of_its_last_state() -> None:
    world = gridworld(max_steps=1)
    q = np.full((int(np.prod(world.spec.input.levels)), 4), 10.0)
    before = q.copy()
    outcome = learn_episode(q, world, 0, lr=0.5, discount=0.9, epsilon=0.0)
    (changed,) = (q != before).nonzero()[0]
    assert outcome.length == 1
    assert q[changed].min() == pytest.approx(10 + 0.5 * (outcome.total + 0.9 * 10 - 10))


def test_the_draws_of_a_random_policy_differ_between_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    world, draws = gridworld(max_steps=20), []

    def record(probabilities: Tensor, drawn: Tensor) -> Tensor:
        draws.append(float(drawn[0]))
        return sample_actions(probabilities, drawn)

    class Uniform:
        def probabilities(self, x: Tensor) -> Tensor:
            return torch.full((len(x), 4), 0.25)

    monkeypatch.setattr(rollout_module, "sample_actions", record)
    rollout(Uniform(), world, torch.tensor([3]))
    assert len(set(draws)) == len(draws) > 1

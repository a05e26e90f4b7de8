"""Gridworld: an agent moves on a board with walls, goals and pits.

Source: Russell and Norvig 2020, section 17.1 (the reward of every step, the slip to the sides); Sutton and Barto 2018,
chapter 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from snellen.core.errors import UsageError, short_repr
from snellen.core.random import uniform
from snellen.core.spec import Actions, Column, Input, Preprocessing, Spec
from snellen.core.views import Finding
from snellen.data.world import TimeStep, Transitions

FREE, WALL, GOAL, PIT, START = ".#GOS"
ACTIONS = ("up", "right", "down", "left")  # clockwise: a slip turns by one
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # rows, columns
SIZES = {"train": 10_000, "val": 500, "test": 1000}  # episodes

LAYOUT = (
    "........",
    ".##.##..",
    ".#....#.",
    ".#.#O.#.",
    "...#.#G.",
    ".O.....O",
)


@dataclass(frozen=True, kw_only=True)
class GridWorld:
    """Gridworld, a `World`. An observation is (row, column), from 0 at the top left.

    An action moves the agent by one cell; a wall or the border stops it. With probability `slip` it moves at a right
    angle to the action instead, to either side equally often. A goal or a pit ends the episode.

    Args:
        step_reward: of every step, also of the last. goal_reward, pit_reward: in addition, of the step into that cell.
        max_steps: after which an episode is truncated.
        recognised_as, origin, findings, preprocessing: as of a dataset.
    """

    spec: Spec
    splits: Mapping[str, Tensor]
    slip: float
    step_reward: float
    goal_reward: float
    pit_reward: float
    max_steps: int
    recognised_as: str = ""
    origin: Mapping[str, Any] | None = None
    findings: tuple[Finding, ...] = ()
    preprocessing: Preprocessing = Preprocessing()

    @property
    def board(self) -> tuple[str, ...]:
        """Rows of the board."""
        assert isinstance(self.spec.target, Actions)
        return self.spec.target.board

    def name(self, id: int) -> str:
        return f"episode {int(id)}"

    def example(self, split: str, device: torch.device | str = "cpu") -> Tensor:
        """(1, 2) first observation of the first episode of a split."""
        return torch.stack([self.reset(int(seed)).observation for seed in self.splits[split][:1]]).to(device)

    def reset(self, seed: int) -> GridEpisode:
        return GridEpisode(self, seed)

    @cached_property
    def cells(self) -> str:
        """The cells, row by row: the index of a cell is that of its state."""
        return "".join(self.board)

    @cached_property
    def observations(self) -> list[Tensor]:
        """(2,) float32 row and column of each state."""
        width = len(self.board[0])
        return [torch.tensor(divmod(state, width), dtype=torch.float32) for state in range(len(self.cells))]

    @cached_property
    def starts(self) -> list[int]:
        """States in which episodes start: the cells marked as start, else all free cells."""
        marked = START if START in self.cells else FREE
        return [state for state, cell in enumerate(self.cells) if cell == marked]

    @cached_property
    def next_states(self) -> list[list[int]]:
        """State that each move leads to, by state and move."""
        height, width = len(self.board), len(self.board[0])

        def after(state: int, move: tuple[int, int]) -> int:
            row, column = state // width + move[0], state % width + move[1]
            is_free = 0 <= row < height and 0 <= column < width and self.board[row][column] != WALL
            return row * width + column if is_free else state

        return [[after(state, move) for move in MOVES] for state in range(height * width)]

    def is_terminal(self, state: int) -> bool:
        """Whether a state ends the episode."""
        return self.cells[state] in (GOAL, PIT)

    def reward_into(self, state: int) -> float:
        """Reward of a step that leads to a state."""
        return self.step_reward + {GOAL: self.goal_reward, PIT: self.pit_reward}.get(self.cells[state], 0.0)

    def transitions(self) -> Transitions:
        """Exact model; the states of walls have no transitions, as terminal ones."""
        states, actions = len(self.cells), len(ACTIONS)
        probability = torch.zeros(states, actions, states, dtype=torch.float64)
        into = torch.tensor([self.reward_into(state) for state in range(states)], dtype=torch.float64)
        for state in range(states):
            if self.is_terminal(state) or self.cells[state] == WALL:
                continue
            for action in range(actions):
                for turn, p in ((0, 1 - self.slip), (-1, self.slip / 2), (1, self.slip / 2)):
                    probability[state, action, self.next_states[state][(action + turn) % actions]] += p
        return Transitions(probability, probability @ into)


class GridEpisode:
    """Episode of a gridworld: its start and its slips are a function of the seed."""

    def __init__(self, world: GridWorld, seed: int) -> None:
        self.world = world
        first, *self.draws = uniform(torch.tensor([seed]), world.max_steps + 1, 0, "gridworld")[0].tolist()
        self.state = world.starts[int(first * len(world.starts))]
        self.steps = 0

    @property
    def observation(self) -> Tensor:
        return self.world.observations[self.state]

    @property
    def succeeded(self) -> bool:
        return self.world.cells[self.state] == GOAL

    def step(self, action: int) -> TimeStep:
        world = self.world
        draw, self.steps = self.draws[self.steps], self.steps + 1
        turn = 0 if draw >= world.slip else -1 if draw < world.slip / 2 else 1
        self.state = world.next_states[self.state][(action + turn) % len(ACTIONS)]
        terminated = world.is_terminal(self.state)
        truncated = not terminated and self.steps == world.max_steps
        return TimeStep(self.observation, world.reward_into(self.state), terminated, truncated)


def gridworld(
    board: Sequence[str] = LAYOUT,
    *,
    slip: float = 0.0,
    step_reward: float = -0.04,
    goal_reward: float = 1.0,
    pit_reward: float = -1.0,
    max_steps: int = 100,
    seed: int = 0,
    name: str = "gridworld",
    sizes: Mapping[str, int] = SIZES,
) -> GridWorld:
    """Make a gridworld.

    Args:
        board: rows of equal length of ".", free; "#", wall; "G", goal; "O", pit; "S", start (without any, episodes
            start in all free cells).
        slip: probability that the agent moves at a right angle to the action, from 0 to 1.
        max_steps: after which an episode is truncated.
        seed: of the episodes: those of two seeds are disjoint.
        sizes: numbers of episodes of the splits.
    Raises:
        UsageError: for a board or numbers that make no world.
    """
    _check_board(board)
    if not 0 <= slip <= 1:
        raise UsageError(f"slip cannot be {slip!r}", "Give a probability, from 0 to 1.")
    if max_steps < 1 or min(sizes.values()) < 1:
        raise UsageError("An episode needs a step, and a split an episode", "Give numbers of at least 1.")
    target = Actions(names=ACTIONS, moves=MOVES, board=tuple(board))
    levels = (len(board), len(board[0]))
    columns = (Column(name="row"), Column(name="column"))
    state = Input(modality="world", shape=(2,), columns=columns, levels=levels)
    ids = torch.arange(sum(sizes.values())) + seed * sum(sizes.values())
    splits = dict(zip(sizes, torch.split(ids, list(sizes.values())), strict=True))
    slips = f"; a move slips to the side with probability {slip:g}" if slip else ""
    return GridWorld(
        spec=Spec(name=name, inputs={"state": state}, target=target, sizes=dict(sizes)),
        splits=splits,
        slip=slip,
        step_reward=step_reward,
        goal_reward=goal_reward,
        pit_reward=pit_reward,
        max_steps=max_steps,
        recognised_as=f"a world: {levels[0]} x {levels[1]} cells, actions {', '.join(ACTIONS)}{slips}",
    )


def _check_board(board: Sequence[str]) -> None:
    if isinstance(board, str) or not board or not board[0] or len({len(row) for row in board}) > 1:
        raise UsageError(f"The board {short_repr(board)} is no rectangle", "Give rows of the same length.")
    cells = "".join(board)
    unknown = sorted(set(cells) - set(FREE + WALL + GOAL + PIT + START))
    if unknown:
        raise UsageError(f"The board has the cell {unknown[0]!r}", "Use . for free, # wall, G goal, O pit, S start.")
    if GOAL not in cells or not set(cells) & {FREE, START}:
        raise UsageError("The board has no goal, or no cell to start in", "Add a G and a free cell.")


def slippery_gridworld(seed: int = 0) -> GridWorld:
    """The gridworld in which a fifth of the moves slip to the side."""
    return gridworld(slip=0.2, seed=seed, name="slippery-gridworld")


def plain_gridworld(seed: int = 0) -> GridWorld:
    """The deterministic gridworld."""
    return gridworld(seed=seed)


WORLDS = {"gridworld": plain_gridworld, "slippery-gridworld": slippery_gridworld}

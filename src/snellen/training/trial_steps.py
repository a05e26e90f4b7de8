"""Trial steps before training: the number of threads, and the number of steps that fit into a time limit."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from snellen.core.errors import Diverged, TooLittleTime
from snellen.core.random import seeded
from snellen.core.run import Run

MAX_TRIAL = 0.02  # of the steps, and of the time limit, for a trial
MAX_TRIAL_SECONDS = 0.5  # after which no further round begins
MAX_ROUNDS = 10
LONG_TRAINING = 20.0  # seconds: the time of a longer training is printed before it begins
TIMED_STEPS = 5  # without the first, which allocates memory
FORWARD = 1 / 3  # of the time of a step: the backward pass takes twice the time of the forward pass
MIN_SPEEDUP = 1.1  # of several threads over one; less is within the noise, and one leaves the other cores free


@contextlib.contextmanager
def trial_steps(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Context manager for steps that leave no trace: weights, buffers and optimizer state are restored at the end."""
    weights, state, mode = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict()), model.training
    try:
        yield
    finally:
        model.load_state_dict(weights)
        optimizer.load_state_dict(state)
        model.train(mode)


def choose_threads(
    planned: int, update: Callable[[int], Tensor], model: nn.Module, optimizer: torch.optim.Optimizer, run: Run
) -> None:
    """Time training steps with one thread and with all, and train with the faster; on ties with one.

    Rounds of one step each are timed for half a second, for at most 2 % of the planned steps and of the time limit; if
    not even one round after the warm-up fits, all threads are used.
    """
    if run.max_threads == 1:
        return
    rounds = min(MAX_ROUNDS, int(MAX_TRIAL * planned) // 2)
    limit = MAX_TRIAL_SECONDS
    if run.seconds_left is not None:
        limit = min(limit, MAX_TRIAL * run.seconds_left)
    seconds = {1: 0.0, run.max_threads: 0.0}
    started = time.monotonic()
    if rounds >= 2:
        with trial_steps(model, optimizer), seeded(run.seed, "threads"):
            for k in range(rounds):
                for count in seconds:
                    torch.set_num_threads(count)
                    begin = time.perf_counter()
                    update(0)
                    took = time.perf_counter() - begin
                    seconds[count] += took if k else 0.0  # the first round is the warm-up
                if time.monotonic() - started > limit and (k or run.seconds is not None):
                    break
    faster = seconds[1] > MIN_SPEEDUP * seconds[run.max_threads] or not seconds[1]
    run.set_threads(run.max_threads if faster else 1)


def print_expected_time(
    planned: int, update: Callable[[int], Tensor], model: nn.Module, optimizer: torch.optim.Optimizer, run: Run
) -> None:
    """Print the time of a long training without a time limit before it begins, from a few steps that leave no trace.

    Args:
        planned: steps of the whole training.
    """
    if run.seconds is not None:
        return
    count = min(TIMED_STEPS, int(MAX_TRIAL * planned))
    with trial_steps(model, optimizer), seeded(run.seed, "time"):
        started = time.monotonic()
        update(0)  # allocates memory: an upper limit for the others
        expected = planned * (time.monotonic() - started)
        if expected > LONG_TRAINING and count:
            started = time.monotonic()
            for _ in range(count):
                update(0)
            expected = planned * (time.monotonic() - started) / count
    if expected > LONG_TRAINING:
        duration = format_expected(expected)
        run.message(f"{planned:,} steps take {'' if count else 'at most '}about {duration}, without validation.")


def format_expected(seconds: float) -> str:
    """An expected time for the user: whole seconds or minutes."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def steps_within_budget(
    planned: int,
    epoch: int,
    update: Callable[[int], Tensor],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    run: Run,
    validate: Callable[[nn.Module], float] | None,
) -> int:
    """Number of the planned steps that fit into the remaining time budget, estimated by timing a few trial steps.

    The weights and the optimizer state are restored afterwards.
    """
    if run.seconds_left is None:
        return planned
    with trial_steps(model, optimizer):
        update(0)  # warm-up: the first step allocates memory
        started, count = time.monotonic(), 0
        while count < 20 and (count < 2 or time.monotonic() - started < 0.02 * run.seconds_left):
            count += 1
            update(min(count, planned - 1))
        step_time = (time.monotonic() - started) / count
        validation_time = 0.0
        is_hopeless = step_time * run.min_fraction * planned > run.seconds_left  # without validation
        if validate is not None and is_hopeless:  # no time to measure it: a step takes three times a forward pass
            validation_time = FORWARD * epoch * step_time * run.validation_fraction
        elif validate is not None:
            started = time.monotonic()
            validation_score(model, validate)
            validation_time = time.monotonic() - started
    left = 0.95 * run.seconds_left - run.evaluation_cost * validation_time
    cost = step_time + validation_time / epoch  # of a step
    steps = max(1, min(planned, int(left / cost)))
    if steps < run.min_fraction * planned:
        assert run.seconds is not None
        raise TooLittleTime(
            f"The time budget allows {steps:,} of {planned:,} steps",
            "Give more time, or use a smaller model.",
            needed=run.seconds
            - run.seconds_left
            + (validation_time if is_hopeless else 0.0)  # which a training with enough time measures
            + (planned * cost + run.evaluation_cost * validation_time) / 0.95,
        )
    if steps < planned:
        run.message(f"The time budget allows {steps:,} of {planned:,} steps; the learning-rate schedule spans these.")
        run.notes["fitted"] = {"steps": steps, "of": planned}
    return steps


def validation_score(model: nn.Module, validate: Callable[[nn.Module], float]) -> float:
    """Validation score of a model in evaluation mode. Raises Diverged if it is not finite."""
    model.eval()
    with torch.no_grad():
        score = validate(model)
    if not math.isfinite(score):
        raise Diverged(f"The validation score became {score}", "Use a smaller --lr, or --clip-grad 1.")
    return score

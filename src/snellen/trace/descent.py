"""Gradient descent on a traced network, step by step, with every number of chosen steps; success over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from snellen.core.errors import Diverged, UsageError, counted
from snellen.trace.activations import Array
from snellen.trace.check import GradientCheck, check_pass
from snellen.trace.network import TracedNetwork, TracedPass, draw_layers, layers_with, run_pass

MAX_STEPS, MAX_SEEDS = 10_000, 1_000
RATES, MAX_TRIED = 8, 200  # learning rates that are tried after a divergence, with at most so many updates each
MAX_STATES, MAX_STORED = 61, 5_000  # states with every number, and numbers with a gradient in all of them


@dataclass(frozen=True, kw_only=True)
class TracedState:
    """Every number after `updates` updates of the parameters.

    Args:
        parameters: values used in this pass; updated: the values of the next one.
        check: comparison with autograd and finite differences.
    """

    updates: int
    network: TracedNetwork
    traced: TracedPass
    updated: dict[str, Array]
    check: GradientCheck

    @property
    def parameters(self) -> dict[str, Array]:
        return self.network.parameters


@dataclass(frozen=True, kw_only=True)
class NetworkTrace:
    """The trace of a network: the loss after every number of updates from 0 to `steps`, and all numbers of some.

    Args:
        network: as it was at first.
        losses: E after 0, 1, ..., steps updates.
        states: ascending in `updates`; every number of each, and its check.
    """

    network: TracedNetwork
    losses: tuple[float, ...]
    states: tuple[TracedState, ...]

    @property
    def steps(self) -> int:
        return len(self.losses) - 1

    @property
    def agrees(self) -> bool:
        """Whether written backward pass, autograd and finite differences agree in every state."""
        return all(state.check.agrees for state in self.states)

    def state(self, updates: int) -> TracedState:
        """The state after this number of updates; raises UsageError if its numbers were not stored."""
        for state in self.states:
            if state.updates == updates:
                return state
        raise UsageError(f"The numbers after {counted(updates, 'update')} were not stored", f"Pass show=[{updates}].")


def trace_network(network: TracedNetwork, steps: int = 1, show: Sequence[int] = ()) -> NetworkTrace:
    """Run forward and backward passes with gradient descent between them, and check every gradient.

    Args:
        network: see `mlp`, `example` and `read_network`.
        steps: number of updates, 0 to 10,000.
        show: numbers of updates whose numbers are stored in any case; others are chosen, at most 61 states in all.
    Raises:
        UsageError: a number of updates outside its limits.
        Diverged: a number that is not finite, with its step and name.
    """
    if not 0 <= steps <= MAX_STEPS:
        raise UsageError(
            f"{steps:,} steps are outside 0 … {MAX_STEPS:,}", "Give a number of steps within these limits."
        )
    if outside := [k for k in show if not 0 <= k <= steps]:
        raise UsageError(
            f"There are no numbers after {counted(outside[0], 'update')}: the trace has {steps}",
            f"Give numbers from 0 to {steps}, or more steps.",
        )
    if len(show) > MAX_STATES:
        raise UsageError(
            f"The numbers of {len(show):,} states are asked for; a trace stores those of at most {MAX_STATES}",
            "Give fewer numbers of updates.",
        )
    stored = {*stored_states(steps, network.number_count), *show}
    states, losses, now = [], [], network
    for updates in range(steps + 1):
        traced = run_pass(now.layers, now.inputs, now.targets, now.loss)
        _check_finite(network, traced, updates)
        losses.append(traced.loss)
        values = now.parameters
        with np.errstate(over="ignore"):
            updated = {key: value - network.lr * traced.gradients[key] for key, value in values.items()}
        if updates < steps:
            _check_updated(network, updated, updates)
        if updates in stored:
            states.append(
                TracedState(updates=updates, network=now, traced=traced, updated=updated, check=check_pass(now, traced))
            )
        if updates < steps:
            now = _with_layers(now, updated)
    return NetworkTrace(network=network, losses=tuple(losses), states=tuple(states))


def _with_layers(network: TracedNetwork, values: dict[str, Array]) -> TracedNetwork:
    """As `with_parameters`, without checks of what has not changed."""
    now = object.__new__(TracedNetwork)
    now.__dict__.update(network.__dict__, layers=layers_with(network.layers, values))
    return now


def stored_states(steps: int, numbers: int) -> list[int]:
    """Numbers of updates whose states are stored: all, or as many as the limits allow, denser at the start."""
    count = max(2, min(MAX_STATES, MAX_STORED // max(1, numbers)))
    if steps < count:
        return list(range(steps + 1))
    first = np.arange(count // 3)
    spaced = np.geomspace(max(1, count // 3), steps, count - len(first))
    return sorted({int(k) for k in (*first, *np.round(spaced))})


def _check_finite(network: TracedNetwork, traced: TracedPass, updates: int) -> None:
    arrays = [
        *((f"the pre-activations of layer {k + 1}", z) for k, z in enumerate(traced.z)),
        *((f"the activations of layer {k + 1}", a) for k, a in enumerate(traced.a)),
        ("the loss", np.array(traced.loss)),
        *((f"the gradients {key}", g) for key, g in traced.gradients.items()),
    ]
    for what, values in arrays:
        if not np.isfinite(values).all():
            raise _diverged(network, f"{what} are not finite after {counted(updates, 'update')}", updates)


def _check_updated(network: TracedNetwork, updated: dict[str, Array], updates: int) -> None:
    for key, values in updated.items():
        if not np.isfinite(values).all():
            layer, _, name = key.partition(".")
            raise _diverged(
                network, f"the {name} values of layer {int(layer) + 1} overflow in update {updates + 1}", updates
            )


def _diverged(network: TracedNetwork, what: str, updates: int) -> Diverged:
    what = what.replace("the loss are", "the loss is")
    if updates == 0:
        return Diverged(f"{what[0].upper()}{what[1:]}", "The inputs, targets or weights are too large for float64.")
    rate = _smaller_rate(network, updates)
    advice = "Give a smaller learning rate" if rate is None else f"Give a smaller learning rate, such as --lr {rate:g}"
    fewer = f", or at most --steps {updates - 1}" if rate is not None else ", or smaller inputs, targets or weights"
    return Diverged(f"The descent diverges at --lr {network.lr:g}: {what}", f"{advice}{fewer}.")


def _smaller_rate(network: TracedNetwork, updates: int) -> float | None:
    """A learning rate, 0.1 or a power of ten below, at which the loss stays finite and does not grow; None: none."""
    first = min(-1, math.ceil(math.log10(network.lr)) - 1)
    for exponent in range(first, first - RATES, -1):
        rate = float(f"1e{exponent}")
        now, losses = network, []
        with np.errstate(all="ignore"):
            for _ in range(min(max(updates, 2), MAX_TRIED) + 1):
                traced = run_pass(now.layers, now.inputs, now.targets, now.loss)
                losses.append(traced.loss)
                now = _with_layers(now, {k: v - rate * traced.gradients[k] for k, v in now.parameters.items()})
        if np.isfinite(losses).all() and losses[-1] <= losses[0]:
            return rate
    return None


@dataclass(frozen=True, kw_only=True)
class SeedOutcomes:
    """Trainings of one network from weights drawn with the seeds 0 to n − 1.

    Args:
        steps: updates of each training.
        succeeded: for each seed, whether every output is on its target's side: |y − t| < 0.5.
        losses: E after the last update, for each seed; infinite where it diverged.
        low, high: Wilson's 95 % interval of the fraction that succeeds, over seeds.
    """

    steps: int
    succeeded: tuple[bool, ...]
    losses: tuple[float, ...]
    low: float
    high: float

    @property
    def fraction(self) -> float:
        return sum(self.succeeded) / len(self.succeeded)


def train_seeds(network: TracedNetwork, seeds: int, steps: int) -> SeedOutcomes:
    """Train a network of linear layers from each of the seeds 0 to `seeds` − 1, all at once.

    The training of a seed is that of `trace_network` with its weights: it does not depend on the other seeds.

    Raises:
        UsageError: weights that were given, not drawn; layers that are not linear; numbers outside the limits.
    """
    from snellen.metrics.intervals import wilson_interval

    if network.seed is None:
        raise UsageError(
            f"The weights of {network.name} are given: no seed changes them",
            "Leave out --seeds, or describe a network with drawn weights, such as xor.",
        )
    if other := [layer.noun for layer in network.layers if layer.kind != "linear"]:
        raise UsageError(f"--seeds is for networks of linear layers, and this has a {other[0]} layer", "Try xor.")
    if not 1 <= seeds <= MAX_SEEDS:
        raise UsageError(f"{seeds:,} seeds are outside 1 … {MAX_SEEDS:,}", "Give a number within these limits.")
    random_layers = [draw_layers(network.layers, seed) for seed in range(seeds)]
    layers = tuple(
        layer.with_parameters(
            {name: np.stack([own[k].parameters[name] for own in random_layers]) for name in layer.parameters}
        )
        for k, layer in enumerate(network.layers)
    )
    inputs = np.broadcast_to(network.inputs, (seeds, *network.inputs.shape))
    targets = np.broadcast_to(network.targets, (seeds, *network.targets.shape))
    with np.errstate(all="ignore"):
        for _ in range(steps):
            traced = run_pass(layers, inputs, targets, network.loss)
            values = {f"{k}.{name}": v for k, layer in enumerate(layers) for name, v in layer.parameters.items()}
            layers = layers_with(layers, {key: v - network.lr * traced.gradients[key] for key, v in values.items()})
        outputs = run_pass(layers, inputs, targets, network.loss)
        succeeded = np.asarray((np.abs(outputs.a[-1] - targets) < 0.5).all((1, 2)))
        losses = [
            run_pass(
                tuple(replace(x, **{n: v[s] for n, v in x.parameters.items()}) for x in layers),
                network.inputs,
                network.targets,
                network.loss,
            ).loss
            for s in range(seeds)
        ]
    low, high = wilson_interval(int(succeeded.sum()), seeds)
    return SeedOutcomes(
        steps=steps,
        succeeded=tuple(succeeded.tolist()),
        losses=tuple(loss if np.isfinite(loss) else float("inf") for loss in losses),
        low=low,
        high=high,
    )

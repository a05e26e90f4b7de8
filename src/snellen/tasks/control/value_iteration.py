"""Value iteration: the optimal policy of a known world.

Source: Bellman 1957; Sutton and Barto 2018, section 4.4.
"""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from snellen.core.errors import UsageError
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Spec
from snellen.data.world import Transitions, World
from snellen.tasks.control.table import ActionTable, board_views, build_table, unsupported_reason
from snellen.tasks.control.task import TASK


@settings
class ValueIterationSettings:
    """Settings of value iteration."""

    discount: Annotated[float, Limit(above=0, max=1)] = 1.0
    """Discount γ of the next state's value; 1: the plain sum of rewards, which is also what is measured."""
    tolerance: Annotated[float, Limit(above=0)] = 1e-10
    """Largest change of a value in the last sweep."""
    sweeps: Annotated[int, Limit(min=1)] = 10_000
    """Maximum number of sweeps over all states."""


def bellman_optimality(q: Tensor, transitions: Transitions, discount: float) -> Tensor:
    """One sweep: Q(s, a) = R(s, a) + γ Σ_s' P(s' | s, a) max_a' Q(s', a'), (S, A)."""
    return transitions.reward + discount * transitions.probability @ q.amax(1)


def build(c: ValueIterationSettings, spec: Spec) -> ActionTable:
    return build_table(spec)


def fit(c: ValueIterationSettings, data: World, model: ActionTable, run: Run) -> None:
    """A step is one sweep over all states and actions."""
    transitions = data.transitions()
    if transitions is None:
        raise UsageError(f"{data.spec.name} has no exact model", "Use another model: q-learning.")
    run.keep(model=model)
    change = float("inf")
    for _ in run.steps(c.sweeps):
        q = bellman_optimality(model.q, transitions, c.discount)
        change = float((q - model.q).abs().max())
        model.q.copy_(q)
        run.log(change=change)
        if change < c.tolerance:
            run.end_loop()
    if change >= c.tolerance:
        run.message(f"Value iteration did not converge: the last sweep changed a value by {change:.2g}.")
    model.to(run.device)


LEARNER = Learner[ValueIterationSettings, World, ActionTable](
    name="value-iteration",
    summary="Value iteration: the optimal policy, computed from the exact model of the world; an upper bound.",
    source="Bellman 1957; Sutton and Barto 2018, 4.4",
    task=TASK,
    accepts=frozenset({"world"}),
    settings=ValueIterationSettings,
    unsupported_reason=unsupported_reason,
    build=build,
    fit=fit,
    model_views=board_views,
)

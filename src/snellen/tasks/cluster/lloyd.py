"""Lloyd's algorithm in the steps of a run, shared by k-means and by k-means on principal components."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from snellen.core.random import generator
from snellen.core.run import Run
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.kmeans import MAX_ITERATIONS, has_converged, kmeans, lloyd_step, plus_plus
from snellen.tasks.cluster.models import Centres, ClusterModel
from snellen.tasks.cluster.training_samples import TrainingSamples, finish, prepare


class LloydState:
    """State between two iterations, as a checkpoint stores it."""

    def __init__(self, count: int, inputs: int) -> None:
        self.restart, self.iteration = 0, 0
        self.before, self.lowest = math.inf, math.inf  # inertia of the iteration before; of the best restart
        self.centres = torch.zeros(count, inputs, dtype=torch.float64)
        self.best = self.centres.clone()

    def state_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


def fit_kmeans(clusters: int | None, restarts: int, data: Dataset[Labelled], model: ClusterModel, run: Run) -> None:
    """Lloyd's algorithm from several k-means++ initialisations; keeps the centres with the lowest inertia."""
    samples = prepare(clusters, data, model, run)
    model.clusters.centres = lloyd(samples, restarts, run)

    def refit(module: Centres, y: Tensor, count: int, seed: int) -> None:
        module.centres = kmeans(y, count, generator(seed, "k-means"), restarts)

    finish(samples, model, run, refit)


def lloyd(samples: TrainingSamples, restarts: int, run: Run) -> Tensor:
    """(K, D) centres; a step of the run is one iteration of one restart."""
    state = LloydState(samples.clusters, samples.y.shape[1])
    run.keep(lloyd=state)
    norms = samples.y.square().sum(1)
    for _ in run.steps(restarts * MAX_ITERATIONS, "lloyd"):
        if state.iteration == 0:
            state.centres = plus_plus(
                samples.y, samples.clusters, generator(run.seed, "k-means++", state.restart), norms
            )
            state.before = math.inf
        step = lloyd_step(samples.y, state.centres, norms)
        run.log(inertia=step.inertia)
        if step.inertia < state.lowest:
            state.lowest, state.best = step.inertia, state.centres
        done = has_converged(state.before, step.inertia) or state.iteration + 1 == MAX_ITERATIONS
        state.centres, state.before, state.iteration = step.centres, step.inertia, state.iteration + 1
        if done:
            state.restart, state.iteration = state.restart + 1, 0
            if state.restart == restarts:
                run.end_loop()
    run.notes["inertia"] = state.lowest
    return state.best

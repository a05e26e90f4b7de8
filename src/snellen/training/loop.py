"""Training loop by gradient descent: optimizer, schedule, validation, early stopping, EMA, mixed precision."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from snellen.core.model_state import load_weights
from snellen.core.run import Run
from snellen.data.batches import BatchSource
from snellen.training.blocked_layout import blocked_layout
from snellen.training.convolution_gradients import fast_weight_gradients
from snellen.training.optimizers import optimizer as make_optimizer
from snellen.training.out_of_memory import OutOfMemoryReport
from snellen.training.precision import avoid_padding_only_columns, precision
from snellen.training.schedules import schedule as make_schedule
from snellen.training.settings import TrainingSettings
from snellen.training.trial_steps import choose_threads, print_expected_time, steps_within_budget, validation_score

B = TypeVar("B")
B_contra = TypeVar("B_contra", contravariant=True)
M = TypeVar("M", bound=nn.Module)
M_contra = TypeVar("M_contra", bound=nn.Module, contravariant=True)
V = TypeVar("V")
V_contra = TypeVar("V_contra", contravariant=True)


class Objective(Protocol[M_contra, B_contra, V_contra]):
    """What training minimises, the loss of a batch; and the score of validation data, higher is better."""

    def loss(self, model: M_contra, batch: B_contra, /) -> Tensor: ...
    def score(self, model: M_contra, validation: V_contra, /) -> float: ...


class BestWeights:
    """Weights with the best validation score so far, and the epoch in which they were reached."""

    def __init__(self) -> None:
        self.score = -math.inf
        self.weights: dict[str, Tensor] = {}
        self.epoch = 0

    def offer(self, score: float, weights: Mapping[str, Tensor], epoch: int) -> None:
        if score > self.score:
            self.score, self.epoch = score, epoch
        if score == self.score:  # on ties the later weights are stored, but patience is not reset
            self.weights = {name: tensor.detach().clone() for name, tensor in weights.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"score": self.score, "weights": self.weights, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.score, self.epoch = float(state["score"]), int(state["epoch"])
        if not all(isinstance(weight, Tensor) for weight in state["weights"].values()):
            raise TypeError("the best weights are not tensors")
        self.weights = dict(state["weights"])


def fit_by_gradient(
    model: M,
    objective: Objective[M, B, V],
    batches: BatchSource[B],
    run: Run,
    settings: TrainingSettings,
    *,
    validation: V | None = None,
    compute_gradients: Callable[[B], Tensor] | None = None,
) -> None:
    """Train a model by gradient descent on the loss of an objective, in place; it ends with the selected weights.

    Args:
        model: on `run.device`.
        batches: a batch for every step.
        settings: see `TrainingSettings`.
        validation: data that the objective scores after every epoch, with the model or its EMA where there is one. The
            weights with the best score are selected.
        compute_gradients: for a learner with a hand-written backward pass: writes the gradients of a batch to `.grad`
            and returns its loss; replaces the objective's loss and autograd in float32 without gradient accumulation.
    Raises:
        Diverged: when a loss is not finite; names step and batch.
        EnvironmentProblem: when memory runs out; names the largest batch that fits.
    """
    loss_of = partial(objective.loss, model)
    validate = None if validation is None else partial(_score, objective, validation)
    memory = OutOfMemoryReport(batches, loss_of, model)
    optimizer = make_optimizer(settings.optimizer, model, settings.lr or 0.0, settings.momentum, settings.weight_decay)
    context, scaler = precision(settings, model, run.device)
    padding_fix = partial(avoid_padding_only_columns, model) if context is not nullcontext else nullcontext
    fast_convolutions = nullcontext if settings.compile else partial(_fast_convolutions, model, run.device)
    if settings.compile:
        model.compile()
    average = None
    if settings.ema_decay is not None:
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay), use_buffers=True)  # type: ignore[no-untyped-call]
    validated = model if average is None else average.module
    best = BestWeights()
    optimizer_step = inspect.unwrap(type(optimizer).step)  # torch's hooks around it cost 10 % of a small step
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if context is not nullcontext or settings.grad_accum_steps > 1:
        compute_gradients = None

    def differentiate(step: int) -> Tensor:
        micro_losses = []
        for part in range(settings.grad_accum_steps):
            with context():
                total = loss_of(batches.at(step * settings.grad_accum_steps + part))
            loss = total / settings.grad_accum_steps if settings.grad_accum_steps > 1 else total
            (scaler.scale(loss) if scaler else loss).backward()
            micro_losses.append(loss.detach())
        return micro_losses[0] if len(micro_losses) == 1 else torch.stack(micro_losses).sum()

    def update(step: int) -> Tensor:
        total = differentiate(step) if compute_gradients is None else compute_gradients(batches.at(step))
        if settings.clip_grad is not None:
            if scaler:
                scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), settings.clip_grad)
        if scaler:
            scaler.step(optimizer)
            scaler.update()
        else:
            with torch.no_grad():
                optimizer_step(optimizer)
        for p in parameters:  # as zero_grad, without its bookkeeping
            p.grad = None
        if average is not None:
            average.update_parameters(model)
        return total

    epoch = max(1, len(batches) // settings.grad_accum_steps)
    planned = epoch * settings.epochs
    if not settings.compile:
        with memory, padding_fix(), fast_convolutions():
            choose_threads(planned, update, model, optimizer, run)
            if run.loss is None:  # a custom loss is called by the training steps only: it may count its calls
                print_expected_time(planned, update, model, optimizer, run)
    lr = settings.lr
    if lr is None:
        with memory:
            lr = run.once("lr", lambda: lr_range_test(model, loss_of, batches, run, settings))
        for group in optimizer.param_groups:
            group["lr"] = lr
    with memory, padding_fix(), fast_convolutions():
        steps = run.once("steps", lambda: steps_within_budget(planned, epoch, update, model, optimizer, run, validate))
    optimizer.zero_grad(set_to_none=True)
    if average is not None:  # undo the trial steps
        average.module.load_state_dict(model.state_dict())
        average.n_averaged.zero_()
    run.keep(model=model, optimizer=optimizer, best=best)
    if average is not None:
        run.keep(average=average)
    if scaler:
        run.keep(scaler=scaler)
    if run.snapshots is not None:
        run.keep(snapshots=run.snapshots)
    if hasattr(batches, "samples_per_batch"):
        run.notes["samples per step"] = batches.samples_per_batch * settings.grad_accum_steps
    factor = make_schedule(settings.schedule, steps, settings.warmup)
    current = None
    model.train()

    def batch_names(step: int) -> str:
        return "; ".join(
            batches.names(step * settings.grad_accum_steps + part) for part in range(settings.grad_accum_steps)
        )

    with memory, padding_fix(), fast_convolutions():
        for step in run.steps(steps, describe=batch_names):
            rate = lr * factor(step)
            if rate != current:
                for group in optimizer.param_groups:
                    group["lr"] = current = rate
            run.log(loss=update(step))
            if run.snapshots is not None and (step + 1) % epoch == 0:
                run.snapshots.offer((step + 1) // epoch, validated)
            if validate is not None and ((step + 1) % epoch == 0 or step + 1 == steps):
                run.flush()  # raises Diverged before weights that are not finite are validated
                score = validation_score(validated, validate)
                run.log(score=score, lr=rate)
                best.offer(score, validated.state_dict(), step // epoch)
                if settings.patience is not None and step // epoch - best.epoch >= settings.patience:
                    run.message(f"Early stopping: no better validation score for {settings.patience} epochs.")
                    run.end_loop()
                model.train()
    if best.weights:
        load_weights(model, best.weights, f"The best weights of {run.folder}")
    elif average is not None:
        model.load_state_dict(average.module.state_dict())
    model.eval()


@contextmanager
def _fast_convolutions(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Context manager: convolutions take less time on CPUs."""
    with fast_weight_gradients(model, device), blocked_layout(model):
        yield


def _score(objective: Objective[Any, Any, V], validation: V, model: nn.Module) -> float:
    return objective.score(model, validation)


def lr_range_test(
    model: nn.Module,
    loss_of: Callable[[B], Tensor],
    batches: BatchSource[B],
    run: Run,
    settings: TrainingSettings,
) -> float:
    """Learning-rate range test: choose a learning rate for this network and data.

    The rate rises exponentially from 1e-6 to 10 in 100 steps. The result is the rate at which the smoothed loss falls
    most steeply over the logarithm of the rate, at most a fifth of the rate with the lowest loss.

    Source: Smith 2017, "Cyclical learning rates for training neural networks".
    """
    weights = copy.deepcopy(model.state_dict())
    optimizer = make_optimizer(settings.optimizer, model, 1e-6, settings.momentum, settings.weight_decay)
    model.train()
    rates, smooth, mean = [], [], 0.0
    for step in range(100):
        rate = 1e-6 * 10 ** (7 * step / 99)
        for group in optimizer.param_groups:
            group["lr"] = rate
        total = loss_of(batches.at(step))
        optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        value = float(total.detach())
        mean = 0.9 * mean + 0.1 * value
        rates.append(rate)
        smooth.append(mean / (1 - 0.9 ** (step + 1)))
        if not math.isfinite(value) or smooth[-1] > 4 * min(smooth):
            break
    optimizer.zero_grad(set_to_none=True)
    model.load_state_dict(weights)
    finite = [(r, s) for r, s in zip(rates, smooth, strict=True) if math.isfinite(s)]
    if len(finite) < 12:
        return 1e-5
    lowest = min(range(len(finite)), key=lambda k: finite[k][1])
    falls = [(finite[k + 5][1] - finite[k - 5][1], finite[k][0]) for k in range(5, min(lowest, len(finite) - 6) + 1)]
    steepest = min(falls)[1] if falls else finite[lowest][0] / 10
    rate = min(steepest, finite[lowest][0] / 5)
    run.notes["rate"] = {"rates": [r for r, _ in finite], "losses": [s for _, s in finite], "taken": rate}
    run.message(f"Learning rate {rate:.2g}, from a learning-rate range test.")
    return rate

"""The training loop of everything that has one loss and one optimizer."""

from __future__ import annotations

import copy
import inspect
import math
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from snellen.core.errors import Diverged, EnvironmentProblem, TooLittleTime
from snellen.core.files import load_weights
from snellen.core.run import Run
from snellen.training.convolutions import by_products
from snellen.training.optimizers import optimizer as make_optimizer
from snellen.training.precision import precision, whole_kernels
from snellen.training.schedules import schedule as make_schedule
from snellen.training.settings import TrainingSettings

B = TypeVar("B")
B_co = TypeVar("B_co", covariant=True)


class Order(Protocol[B_co]):
    """Batches by step: `data.batches.Batches`, or any function of the step."""

    def __len__(self) -> int: ...
    def at(self, step: int) -> B_co: ...
    def names(self, step: int) -> str: ...


class Best:
    """The weights with the best validation score so far, and how long ago that was."""

    def __init__(self) -> None:
        self.score = -math.inf
        self.weights: dict[str, Tensor] = {}
        self.epoch = 0

    def offer(self, score: float, weights: Mapping[str, Tensor], epoch: int) -> None:
        if score > self.score:
            self.score, self.epoch = score, epoch
        if score == self.score:  # of equals the later weights, which saw more; but patience is not renewed
            self.weights = {name: tensor.detach().clone() for name, tensor in weights.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"score": self.score, "weights": self.weights, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.score, self.epoch = float(state["score"]), int(state["epoch"])
        if not all(isinstance(weight, Tensor) for weight in state["weights"].values()):
            raise TypeError("the best weights are no tensors")
        self.weights = dict(state["weights"])


def fit_by_gradient(
    model: nn.Module,
    losses: Callable[[B], Mapping[str, Tensor]],
    batches: Order[B],
    run: Run,
    how: TrainingSettings,
    *,
    validate: Callable[[nn.Module], float] | None = None,
    gradients: Callable[[B], Tensor] | None = None,
) -> None:
    """Brings the sum of `losses` down, in place, and leaves the chosen weights in `model`.

    Args:
        model: whatever `losses` computes with; on `run.device`.
        losses: a batch to named scalars; their sum is minimised.
        batches: a batch for every step.
        how: see `TrainingSettings`.
        validate: called after every epoch with the model to judge (the average where one is kept); higher is better.
            The best weights by it are kept.
        gradients: puts the gradients of a batch into `.grad` and returns its loss, where a learner has its backward
            pass written out; called in place of `losses` and autograd in float32 without accumulation.
    Raises:
        Diverged: with step and batch, when a loss is not finite.
        EnvironmentProblem: when memory runs out, with the largest batch that fits.
    """
    memory = _memory(batches, losses, model)
    with memory:
        lr = how.lr if how.lr is not None else run.once("lr", lambda: find_rate(model, losses, batches, run, how))
    optimizer = make_optimizer(how.optimizer, model, lr, how.momentum, how.weight_decay)
    context, scaler = precision(how, model, run.device)
    whole = partial(whole_kernels, model) if context is not nullcontext else nullcontext
    products = nullcontext if how.compile else partial(by_products, model, run.device)
    if how.compile:
        model.compile()
    average = None
    if how.ema_decay is not None:
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(how.ema_decay), use_buffers=True)  # type: ignore[no-untyped-call]
    judged = model if average is None else average.module
    best = Best()
    advance = inspect.unwrap(type(optimizer).step)  # without torch's hooks around it, a tenth of a small step
    learning = [p for group in optimizer.param_groups for p in group["params"]]
    if context is not nullcontext or how.grad_accum_steps > 1:
        gradients = None

    def differentiate(step: int) -> Tensor:
        parts = []  # each must be finite
        for part in range(how.grad_accum_steps):
            with context():
                terms = losses(batches.at(step * how.grad_accum_steps + part))
                total = torch.stack(list(terms.values())).sum() if len(terms) > 1 else next(iter(terms.values()))
            share = total / how.grad_accum_steps if how.grad_accum_steps > 1 else total
            (scaler.scale(share) if scaler else share).backward()
            parts.append(share.detach())
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum()

    def update(step: int) -> Tensor:
        total = differentiate(step) if gradients is None else gradients(batches.at(step))
        if how.clip_grad is not None:
            if scaler:
                scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), how.clip_grad)
        if scaler:
            scaler.step(optimizer)
            scaler.update()
        else:
            with torch.no_grad():
                advance(optimizer)
        for p in learning:  # what zero_grad does, without its bookkeeping
            p.grad = None
        if average is not None:
            average.update_parameters(model)
        return total

    epoch = max(1, len(batches) // how.grad_accum_steps)
    with memory, whole(), products():
        wanted = epoch * how.epochs
        steps = run.once("steps", lambda: affordable(wanted, epoch, update, model, optimizer, run, validate))
    optimizer.zero_grad(set_to_none=True)
    if average is not None:  # the trial steps of `affordable` left their trace in it
        average.module.load_state_dict(model.state_dict())
        average.n_averaged.zero_()
    run.keep(model=model, optimizer=optimizer, best=best)
    if average is not None:
        run.keep(average=average)
    if scaler:
        run.keep(scaler=scaler)
    factor = make_schedule(how.schedule, steps, how.warmup)
    current = None
    model.train()

    def about(step: int) -> str:
        return "; ".join(batches.names(step * how.grad_accum_steps + part) for part in range(how.grad_accum_steps))

    with memory, whole(), products():
        for step in run.steps(steps, about=about):
            rate = lr * factor(step)
            if rate != current:
                for group in optimizer.param_groups:
                    group["lr"] = current = rate
            run.log(loss=update(step))
            if validate is not None and ((step + 1) % epoch == 0 or step + 1 == steps):
                run.flush()  # no score is taken from weights that are not finite
                score = _judge(judged, validate)
                run.log(score=score, lr=rate)
                best.offer(score, judged.state_dict(), step // epoch)
                if how.patience is not None and step // epoch - best.epoch >= how.patience:
                    run.say(f"No better validation score for {how.patience} epochs: stopped.")
                    run.enough()
                model.train()
    if best.weights:
        load_weights(model, best.weights, f"The best weights of {run.folder}")
    elif average is not None:
        model.load_state_dict(average.module.state_dict())
    model.eval()


def _judge(model: nn.Module, validate: Callable[[nn.Module], float]) -> float:
    model.eval()
    with torch.no_grad():
        score = validate(model)
    if not math.isfinite(score):
        raise Diverged(f"The validation score became {score}", "Try a smaller --lr, or --clip 1.")
    return score


def affordable(
    wanted: int,
    epoch: int,
    update: Callable[[int], Tensor],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    run: Run,
    validate: Callable[[nn.Module], float] | None,
) -> int:
    """How many of the wanted steps fit into the time that is left, from a short trial that leaves no trace."""
    if run.left is None:
        return wanted
    weights = copy.deepcopy(model.state_dict())
    update(0)  # the first step pays for allocations
    started, count = time.monotonic(), 0
    while count < 20 and (count < 2 or time.monotonic() - started < 0.02 * run.left):
        count += 1
        update(min(count, wanted - 1))
    pace = (time.monotonic() - started) / count
    judging = 0.0
    if validate is not None:
        started = time.monotonic()
        _judge(model, validate)
        judging = time.monotonic() - started
    model.load_state_dict(weights)
    optimizer.state.clear()
    left = 0.95 * run.left - run.aftermath * judging
    steps = max(1, min(wanted, int(left / (pace + judging / epoch))))
    if steps < run.least * wanted:
        raise TooLittleTime(f"time allows {steps:,} of {wanted:,} steps", "Give more time, or take a smaller model.")
    if steps < wanted:
        run.say(f"Time allows {steps:,} of {wanted:,} steps; the schedule is fitted to them.")
        run.notes["fitted"] = {"steps": steps, "of": wanted}
    return steps


def find_rate(
    model: nn.Module, losses: Callable[[B], Mapping[str, Tensor]], batches: Order[B], run: Run, how: TrainingSettings
) -> float:
    """A learning rate for this network and data: a fraction of that at which the loss starts to grow.

    The rate is raised from 1e-6 to 10 in 100 steps; taken is the rate of the steepest fall of the smoothed loss over
    the logarithm of the rate, at most a fifth of where it is lowest.

    Source: Smith 2017, "Cyclical learning rates for training neural networks".
    """
    weights = copy.deepcopy(model.state_dict())
    optimizer = make_optimizer(how.optimizer, model, 1e-6, how.momentum, how.weight_decay)
    model.train()
    rates, smooth, mean = [], [], 0.0
    for step in range(100):
        rate = 1e-6 * 10 ** (7 * step / 99)
        for group in optimizer.param_groups:
            group["lr"] = rate
        total = sum(losses(batches.at(step)).values(), start=torch.zeros((), device=run.device))
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
    run.say(f"Learning rate {rate:.2g}, found by raising it until the loss grew.")
    return rate


class _memory:  # noqa: N801 (used as a context)
    """Turns "out of memory" into the largest batch that fits."""

    def __init__(self, batches: Order[B], losses: Callable[[B], Mapping[str, Tensor]], model: nn.Module) -> None:
        self.batches, self.losses, self.model = batches, losses, model

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is None or not out_of_memory(error):
            return
        traceback.clear_frames(trace)  # they hold what the failed step had computed
        size: int = getattr(self.batches, "size", 0)
        if size and self._fits(size):
            raise EnvironmentProblem(
                "Memory ran out beside the training step, which fits by itself", "Take a smaller model or --image-size."
            ) from error
        fits = self._largest(size)
        raise EnvironmentProblem(
            "Memory ran out in a training step" + (f" with {size} samples a batch" if size else ""),
            f"Take --batch-size {fits}: the largest that fits." if fits else "Take a smaller model or --image-size.",
        ) from error

    def _largest(self, size: int) -> int:
        """The largest batch below `size`, which does not fit, that goes through; 0 where none does."""
        fits, fails = 0, size
        while fails - fits > 1:
            middle = (fits + fails) // 2
            fits, fails = (middle, fails) if self._fits(middle) else (fits, middle)
        return fits

    def _fits(self, size: int) -> bool:
        """Whether a step with `size` samples goes through."""
        try:
            batch = self.batches.at(0)
            part: Any = batch[:size] if isinstance(batch, list) else type(batch)(*(entry[:size] for entry in batch))  # type: ignore[attr-defined]
            torch.stack(list(self.losses(part).values())).sum().backward()  # type: ignore[no-untyped-call]
            return True
        except (RuntimeError, MemoryError) as failure:
            if not out_of_memory(failure):
                raise
            traceback.clear_frames(failure.__traceback__)
            return False
        finally:
            self.model.zero_grad(set_to_none=True)


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on any device."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)
    )

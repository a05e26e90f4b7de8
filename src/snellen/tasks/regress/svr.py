"""Support vector regression (SVR) with an RBF kernel.

scikit-learn (libsvm) fits the support vectors; they are stored as tensors, and PyTorch computes the predictions.

Source: Drucker et al. 1996; Smola and Schölkopf 2004; Chang and Lin 2011.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor, nn

from snellen.core.learner import FLATTENED, Learner
from snellen.core.random import permutation
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Input, Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled, Samples
from snellen.data.image_size import fixed_size, input_shape
from snellen.nn.layers import Standardize
from snellen.nn.rbf import squared_distances
from snellen.tasks.regress.objective import target_count
from snellen.tasks.regress.task import TASK
from snellen.training.libsvm import CACHE_MB, run_in_thread
from snellen.training.supervised import all_samples, subset
from snellen.training.time_limit import require_time

BATCH_SIZE = 256  # inputs per kernel matrix
MAX_SAMPLES = 5000  # that the model is fitted to: the time grows faster than their square
GROWTH = 2.5  # exponent of the time of a fit, in the number of samples
TUNING_SAMPLES = 1500  # that C, γ and ε are chosen with
C_VALUES = (100.0, 10.0, 1.0)  # the slowest first
GAMMA_VALUES = (0.1, 0.5, 2.0)  # over the sum of the input variances
EPSILON_VALUES = (0.1, 0.01)  # the second for targets with little noise


@settings
class SVRSettings:
    """Settings of support vector regression: penalty, kernel width, tolerance."""

    C: Annotated[float, Limit(above=0)] | None = None
    """C, the penalty of errors, for a target of unit standard deviation; auto: 1, 10 or 100, by validation error."""
    gamma: Annotated[float, Limit(above=0)] | None = None
    """γ of the RBF kernel, for standardised columns and images in 0 … 1; auto: 0.1, 0.5 or 2 over the sum of the input
    variances, by validation error."""
    epsilon: Annotated[float, Limit(min=0)] | None = None
    """ε, the error without penalty, in standard deviations of the target; auto: 0.1 or 0.01, by validation error."""


class SupportVectorRegressor(nn.Module):
    """Support vector regression, y = Σ_s a_s exp(−γ‖x − x_s‖²) + b, for each target.

    x: (S, ...) support vectors of all targets in the dtype of the data. coefficients: (S, T), zero where a vector
    supports another target only. offsets, mean, std: (T,); mean and deviation are those of the training targets.
    """

    variable_length = ("x", "coefficients")
    x: Tensor
    coefficients: Tensor
    offsets: Tensor
    gamma: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, input: Input, shape: tuple[int, ...], targets: int) -> None:
        super().__init__()
        self.standardize = Standardize(input, shape[input.feature_axis])
        self.register_buffer("x", torch.empty(0, *shape, dtype=getattr(torch, input.dtype)))
        self.register_buffer("coefficients", torch.empty(0, targets, dtype=torch.float64))
        self.register_buffer("offsets", torch.zeros(targets, dtype=torch.float64))
        self.register_buffer("gamma", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(targets, dtype=torch.float64))
        self.register_buffer("std", torch.ones(targets, dtype=torch.float64))

    def flatten_features(self, x: Tensor) -> Tensor:
        """(B, ...) raw inputs to (B, D) float64 inputs of the kernel."""
        values: Tensor = self.standardize(x)
        return values.flatten(1).double()

    def predict(self, x: Tensor) -> Tensor:
        vectors = self.flatten_features(self.x)
        parts = (x,) if torch.compiler.is_exporting() else torch.split(x, BATCH_SIZE)
        return torch.cat([self._predict(part, vectors) for part in parts])

    def _predict(self, x: Tensor, vectors: Tensor) -> Tensor:
        kernel = torch.exp(-self.gamma * squared_distances(self.flatten_features(x), vectors))  # (B, S)
        return (kernel @ self.coefficients + self.offsets) * self.std + self.mean


def build(c: SVRSettings, spec: Spec) -> SupportVectorRegressor:
    return SupportVectorRegressor(spec.input, input_shape(spec, preprocessing_of(c, spec)), target_count(spec))


def preprocessing_of(c: SVRSettings, spec: Spec) -> Preprocessing:
    return fixed_size(spec, max_side=32)


def fit(c: SVRSettings, data: Dataset[Labelled], model: SupportVectorRegressor, run: Run) -> None:
    """Choose C, γ and ε on the validation split, then fit each target by one call of libsvm."""
    train = data.samples("train")
    model.standardize.fit(subset(train).x, data.value_range, shared_range=True)
    raw, y = _training_samples(train, run)
    model.mean.copy_(y.mean(0))
    std = y.std(0, correction=0)
    model.std.copy_(torch.where((y.amax(0) > y.amin(0)) & (std > 0), std, torch.ones_like(std)))
    x, t = model.flatten_features(raw), (y - model.mean) / model.std
    chosen = _choose(c, model, x, t, data.samples("val"), run)
    model.gamma.fill_(chosen.gamma)
    coefficients = torch.zeros_like(t)
    for k in range(t.shape[1]):
        svr = _solve(x, t[:, k], kernel="rbf", gamma=chosen.gamma, C=chosen.C, epsilon=chosen.epsilon)
        coefficients[torch.from_numpy(svr.support_).long(), k] = torch.from_numpy(svr.dual_coef_[0])
        model.offsets[k] = float(svr.intercept_[0])
    is_support = (coefficients != 0).any(1)
    model.x, model.coefficients = raw[is_support].to(model.x.dtype), coefficients[is_support]
    run.notes.update({**chosen._asdict(), "support vectors": len(model.x)})
    model.to(run.device)


def _training_samples(samples: Samples, run: Run) -> tuple[Tensor, Tensor]:
    """Raw inputs and targets of all samples, or of `MAX_SAMPLES` drawn at random."""
    if len(samples) <= MAX_SAMPLES:
        raw, y, _ = all_samples(samples)
        return raw, y
    run.message(f"The model is fitted to {MAX_SAMPLES:,} samples, drawn at random from the {len(samples):,}.")
    run.notes["samples"] = MAX_SAMPLES
    raw, y, _ = samples.take(permutation(len(samples), run.seed, "svr")[:MAX_SAMPLES].sort().values)
    return raw, y


class _Choice(NamedTuple):
    C: float
    gamma: float
    epsilon: float


def _choose(
    c: SVRSettings, model: SupportVectorRegressor, x: Tensor, t: Tensor, validation: Samples, run: Run
) -> _Choice:
    """Those of the settings, else those with the lowest validation error of a fit to some of the samples.

    C and γ are chosen together with the first ε, then ε.

    Args:
        x: (N, D) float64. t: (N, T) float64, standardised.
    """
    variance = float(x.var(0, correction=0).sum())
    gammas = [value / variance if variance > 0 else 1.0 for value in GAMMA_VALUES] if c.gamma is None else [c.gamma]
    penalties = list(C_VALUES) if c.C is None else [c.C]
    epsilons = list(EPSILON_VALUES) if c.epsilon is None else [c.epsilon]
    fits = len(gammas) * len(penalties) + len(epsilons) - 1
    if not len(validation) or (fits == 1 and run.seconds_left is None):
        return _Choice(penalties[len(penalties) // 2], gammas[len(gammas) // 2], epsilons[0])
    rows = permutation(len(x), run.seed, "svr tuning")[:TUNING_SAMPLES]
    some, targets = x[rows], t[rows]
    held_out = subset(validation, TUNING_SAMPLES)
    truth = (held_out.y - model.mean) / model.std
    distances = squared_distances(some, some)
    to_held_out = squared_distances(model.flatten_features(held_out.x), some)

    def error(choice: _Choice) -> float:
        kernel, to_some = torch.exp(-choice.gamma * distances), torch.exp(-choice.gamma * to_held_out)
        predicted = torch.stack([_predict(kernel, to_some, column, choice) for column in targets.T], dim=1)
        errors = (predicted - truth).abs() if t.shape[1] == 1 else (predicted - truth).square()
        return float(errors.mean())

    started = time.monotonic()
    choices = [_Choice(penalty, gamma, epsilons[0]) for gamma in gammas for penalty in penalties]
    error_of = {choices[0]: error(choices[0])}
    seconds = (fits + (len(x) / len(rows)) ** GROWTH) * (time.monotonic() - started)
    require_time(run, seconds, f"{len(x):,} samples", "Give more time, or set --C and --gamma.")
    error_of |= {choice: error(choice) for choice in choices[1:]}
    best = min(error_of, key=lambda choice: error_of[choice])
    error_of |= {choice: error(choice) for choice in (best._replace(epsilon=value) for value in epsilons[1:])}
    return min(error_of, key=lambda choice: error_of[choice])


def _predict(kernel: Tensor, to_some: Tensor, t: Tensor, choice: _Choice) -> Tensor:
    """Fit one target (n,) with the kernel (n, n) of its samples; predictions (m,) from kernel values (m, n)."""
    svr = _solve(kernel, t, kernel="precomputed", C=choice.C, epsilon=choice.epsilon)
    coefficients = torch.from_numpy(svr.dual_coef_[0])
    return to_some[:, torch.from_numpy(svr.support_).long()] @ coefficients + float(svr.intercept_[0])


def _solve(x: Tensor, t: Tensor, **parameters: Any) -> Any:
    """Fit scikit-learn's SVR to (N, D) inputs and (N,) standardised targets."""
    from sklearn.svm import SVR

    svr = SVR(cache_size=CACHE_MB, **parameters)
    run_in_thread(lambda: svr.fit(x.numpy(), t.numpy()))
    return svr


LEARNER = Learner[SVRSettings, Dataset[Labelled], SupportVectorRegressor](
    name="svr",
    summary="Support vector regression with an RBF kernel.",
    source="Drucker et al. 1996; Smola and Schölkopf 2004; Chang and Lin 2011",
    task=TASK,
    accepts=FLATTENED,
    flattens=True,
    settings=SVRSettings,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
    stoppable=False,
)

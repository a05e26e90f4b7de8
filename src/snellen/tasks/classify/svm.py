"""Support vector machine (SVM), one against one.

scikit-learn (libsvm) fits the support vectors; they are stored as tensors, and PyTorch computes the decisions.

Source: Boser, Guyon and Vapnik 1992; Cortes and Vapnik 1995; Chang and Lin 2011; lecture 004, "SVM: 98.6".
"""

from __future__ import annotations

import itertools
import time
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from snellen.core.learner import FLATTENED, Learner
from snellen.core.run import Run
from snellen.core.settings import EffectiveIf, Limit, settings
from snellen.core.spec import Classes, Input, Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size, input_shape
from snellen.nn.layers import Standardize
from snellen.nn.piecewise_linear import LinearLayers, linear_layer
from snellen.nn.rbf import squared_distances
from snellen.tasks.classify.task import TASK, labels_unsupported
from snellen.training.libsvm import CACHE_MB, run_in_thread
from snellen.training.supervised import all_samples, subset
from snellen.training.time_limit import require_time

BATCH_SIZE = 256  # inputs per kernel matrix
TRIAL_SAMPLES = 1000  # training samples of the trial that estimates the time


@settings
class SVMSettings:
    """Settings of the support vector machine."""

    kernel: Literal["rbf", "linear"] = "rbf"
    """Kernel k(x, z): rbf, exp(−γ‖x − z‖²), or linear, x·z."""
    C: Annotated[float, Limit(above=0)] = 10.0
    """C, the penalty of margin violations, per unit of margin."""
    gamma: Annotated[float, Limit(above=0), EffectiveIf("kernel", ("rbf",))] | None = None
    """γ of the RBF kernel, for standardised columns and images in 0 … 1; auto: 1.5 / sum of the input variances."""


class SupportVectors(nn.Module):
    """Support vectors of libsvm as tensors, with its one-against-one vote.

    x: (S, ...) support vectors in the dtype of the data. owner: (S,) their classes. coefficients: (S, K − 1), that
    of a vector of class i against class j < i in column j, against j > i in column j − 1. offsets: (P,), one for each
    pair of classes, in the order (0, 1), (0, 2), ... (1, 2), ...
    """

    probabilistic = False
    variable_length = ("x", "owner", "coefficients")
    x: Tensor
    owner: Tensor
    coefficients: Tensor
    offsets: Tensor
    gamma: Tensor

    def __init__(self, input: Input, shape: tuple[int, ...], classes: int, kernel: str) -> None:
        super().__init__()
        self.kernel = kernel
        self.classes = classes
        self.standardize = Standardize(input, shape[input.feature_axis])
        self.register_buffer("x", torch.empty(0, *shape, dtype=getattr(torch, input.dtype)))
        self.register_buffer("owner", torch.empty(0, dtype=torch.int64))
        self.register_buffer("coefficients", torch.empty(0, classes - 1, dtype=torch.float64))
        self.register_buffer("offsets", torch.zeros(classes * (classes - 1) // 2, dtype=torch.float64))
        self.register_buffer("gamma", torch.zeros((), dtype=torch.float64))

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Classes of each pair, (P,) and (P,), the first the smaller."""
        pairs = list(itertools.combinations(range(self.classes), 2))
        first, second = torch.tensor(pairs, device=self.offsets.device).reshape(-1, 2).T
        return first, second

    def decisions(self, x: Tensor) -> Tensor:
        """(B, ...) raw inputs to (B, P) decision values, above zero for the first class of the pair."""
        parts = (x,) if torch.compiler.is_exporting() else torch.split(x, BATCH_SIZE)
        return torch.cat([self._decisions(part) for part in parts])

    def _decisions(self, x: Tensor) -> Tensor:
        values = self._kernel(self.flatten_features(x), self.flatten_features(self.x))  # (B, S)
        one_hot_owner = nn.functional.one_hot(self.owner, self.classes)  # (S, K)
        columns = (one_hot_owner[:, :, None] * self.coefficients[:, None]).flatten(1)  # (S, K (K − 1))
        sums: Tensor = (values @ columns).reshape(-1, self.classes, self.classes - 1)  # (B, K, K − 1)
        first, second = self.pairs()
        return sums[:, first, second - 1] + sums[:, second, first] + self.offsets

    def _kernel(self, a: Tensor, b: Tensor) -> Tensor:
        if self.kernel == "linear":
            return a @ b.T
        return torch.exp(-self.gamma * squared_distances(a, b))

    def flatten_features(self, x: Tensor) -> Tensor:
        """(B, ...) raw inputs to (B, D) float64 inputs of the kernel."""
        values: Tensor = self.standardize(x)
        return values.flatten(1).double()

    def linear_layers(self) -> LinearLayers | None:
        """Of a linear kernel and two classes; the votes of more are not linear."""
        if self.kernel != "linear" or self.classes != 2:
            return None
        w = (self.coefficients * self.flatten_features(self.x)).sum(0)  # (D,), positive for the first class
        return linear_layer(torch.stack([w, -w]), torch.cat([self.offsets, -self.offsets]), self.standardize)

    def scores(self, x: Tensor) -> Tensor:
        """Votes of each class, (B, K); for two classes the signed decision values."""
        decisions = self.decisions(x)
        if self.classes == 2:
            # A decision value of exactly zero is the second class.
            first = torch.where(decisions > 0, decisions, decisions.clamp(max=-torch.finfo(torch.float32).tiny))
            return torch.cat([first, -first], dim=1)
        first, second = self.pairs()
        votes_first, votes_second = (nn.functional.one_hot(of, self.classes).to(decisions) for of in (first, second))
        return (decisions > 0).to(decisions) @ votes_first + (decisions <= 0).to(decisions) @ votes_second


def build(c: SVMSettings, spec: Spec) -> SupportVectors:
    assert isinstance(spec.target, Classes)
    return SupportVectors(spec.input, input_shape(spec, preprocessing_of(c, spec)), len(spec.target.names), c.kernel)


def preprocessing_of(c: SVMSettings, spec: Spec) -> Preprocessing:
    return fixed_size(spec, max_side=32)


def fit(c: SVMSettings, data: Dataset[Labelled], model: SupportVectors, run: Run) -> None:
    """Fit by one call of libsvm, which cannot be stopped and resumed."""
    train = data.samples("train")
    model.standardize.fit(subset(train).x, data.value_range, shared_range=True)
    raw, y, _ = all_samples(train)
    fit_samples(c, model, raw, y, run)
    model.to(run.device)


def fit_samples(c: SVMSettings, model: SupportVectors, raw: Tensor, y: Tensor, run: Run) -> None:
    """Fit to (N, ...) inputs and their classes (N,); `model.standardize` is already fitted."""
    x = model.flatten_features(raw)
    variance = float(x.var(0, correction=0).sum())
    model.gamma.fill_(c.gamma if c.gamma is not None else 1.5 / variance if variance > 0 else 1.0)
    present = torch.unique(y)
    # A class without a sample loses against every class with samples.
    has_samples = torch.isin(torch.arange(model.classes), present)
    first, second = model.pairs()
    model.offsets.copy_(has_samples[first].double() - has_samples[second].double())
    if len(present) > 1:
        check_time(c, model, x, y, run)
        _solve(c, model, raw, x, y)
    run.notes["support vectors"] = len(model.x)


def check_time(c: SVMSettings, model: SupportVectors, x: Tensor, y: Tensor, run: Run) -> None:
    """Check that the training fits into the time limit: it takes about the square of the number of samples.

    Raises:
        TooLittleTime: if not, estimated from a training on `TRIAL_SAMPLES` samples.
    """
    if run.seconds_left is None or len(x) <= 2 * TRIAL_SAMPLES:
        return
    rows = torch.linspace(0, len(x) - 1, TRIAL_SAMPLES).long()
    if len(torch.unique(y[rows])) < 2:
        return
    svc = new_svc(c, model)  # the first import takes longer than the trial
    started = time.monotonic()
    svc.fit(x[rows].numpy(), y[rows].numpy())
    seconds = (time.monotonic() - started) * (len(x) / TRIAL_SAMPLES) ** 2
    require_time(run, seconds, f"The support vectors of {len(x):,} samples", "Give more time.")


def new_svc(c: SVMSettings, model: SupportVectors) -> Any:
    """scikit-learn's untrained SVC with the settings."""
    from sklearn.svm import SVC

    return SVC(C=c.C, kernel=c.kernel, gamma=float(model.gamma), cache_size=CACHE_MB)


def _solve(c: SVMSettings, model: SupportVectors, raw: Tensor, x: Tensor, y: Tensor) -> None:
    """Fit libsvm to (N, D) inputs and copy its solution into the model."""
    svc = new_svc(c, model)
    run_in_thread(lambda: svc.fit(x.numpy(), y.numpy()))
    support = torch.from_numpy(svc.support_).long()
    classes = torch.from_numpy(svc.classes_).long()  # with samples
    dual = torch.from_numpy(svc.dual_coef_).T.double()  # (S, classes − 1)
    offsets = torch.from_numpy(svc.intercept_).double()
    if len(classes) == 2:  # for two classes scikit-learn flips the sign
        dual, offsets = -dual, -offsets
    model.x, model.owner = raw[support].to(model.x.dtype), y[support]
    model.coefficients = torch.zeros(len(support), model.classes - 1, dtype=torch.float64)
    for k in classes.tolist():
        is_class = model.owner == k
        others = [other for other in classes.tolist() if other != k]
        columns = torch.tensor([other if other < k else other - 1 for other in others])
        model.coefficients[is_class.nonzero(), columns] = dual[is_class]
    first, second = model.pairs()
    model.offsets[torch.isin(first, classes) & torch.isin(second, classes)] = offsets


LEARNER = Learner[SVMSettings, Dataset[Labelled], SupportVectors](
    name="svm",
    summary="Support vector machine with an RBF or linear kernel, one against one.",
    source="Cortes and Vapnik 1995; Chang and Lin 2011; lecture 004",
    task=TASK,
    accepts=FLATTENED,
    flattens=True,
    settings=SVMSettings,
    unsupported_reason=labels_unsupported,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
    stoppable=False,
)

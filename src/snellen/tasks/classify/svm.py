"""Support vector machine: the widest margin between each two classes.

scikit-learn (libsvm) finds the support vectors; they are kept as tensors, and the vote is taken here.

Source: Boser, Guyon and Vapnik 1992; Cortes and Vapnik 1995; Chang and Lin 2011; lecture 004, "SVM: 98.6".
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Classes, Input, Preprocessing, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import fixed_size, read_shape
from snellen.nn.layers import Standardize
from snellen.tasks.classify.task import TASK, one_class
from snellen.training.supervised import all_samples, some

AT_ONCE = 256  # inputs whose kernel with all support vectors is in memory at once
CACHE = 500  # MB of the kernel that libsvm keeps


@settings
class SVMSettings:
    """The kernel, and what a sample inside the margin costs."""

    kernel: Literal["rbf", "linear"] = "rbf"
    """k(x, z): rbf, exp(−γ‖x − z‖²), or linear, x·z."""
    C: Annotated[float, Limit(above=0)] = 10.0
    """What a sample inside the margin or on the wrong side costs, per unit of margin."""
    gamma: Annotated[float, Limit(above=0)] | None = None
    """γ of rbf, for columns standardised and pictures from 0 to 1; auto: 1.5 over the sum of the inputs' variances."""


class SupportVectors(nn.Module):
    """What libsvm found, as tensors, and its vote of one class against one.

    x: (S, ...) support vectors at the depth of the source. owner: (S,) their classes. coefficients: (S, K − 1), that
    of a vector of class i against class j < i in column j, against j > i in column j − 1. offsets: (P,), one for each
    pair of classes, in the order (0, 1), (0, 2), ... (1, 2), ...
    """

    probabilistic = False
    grows = ("x", "owner", "coefficients")
    x: Tensor
    owner: Tensor
    coefficients: Tensor
    offsets: Tensor
    gamma: Tensor

    def __init__(self, input: Input, shape: tuple[int, ...], classes: int, kernel: str) -> None:
        super().__init__()
        self.kernel = kernel
        self.classes = classes
        self.standardize = Standardize(input, shape[0])
        self.register_buffer("x", torch.empty(0, *shape, dtype=getattr(torch, input.dtype)))
        self.register_buffer("owner", torch.empty(0, dtype=torch.int64))
        self.register_buffer("coefficients", torch.empty(0, classes - 1, dtype=torch.float64))
        self.register_buffer("offsets", torch.zeros(classes * (classes - 1) // 2, dtype=torch.float64))
        self.register_buffer("gamma", torch.zeros((), dtype=torch.float64))

    def pairs(self) -> tuple[Tensor, Tensor]:
        """The classes of each pair, (P,) and (P,), the first the smaller."""
        pairs = list(itertools.combinations(range(self.classes), 2))
        first, second = torch.tensor(pairs, device=self.offsets.device).reshape(-1, 2).T
        return first, second

    def decisions(self, x: Tensor) -> Tensor:
        """(B, ...) raw inputs to (B, P): above zero where the first class of the pair is meant, else the second."""
        parts = (x,) if torch.compiler.is_exporting() else torch.split(x, AT_ONCE)
        return torch.cat([self._decisions(part) for part in parts])

    def _decisions(self, x: Tensor) -> Tensor:
        values = self._kernel(self.flat(x), self.flat(self.x))  # (B, S)
        owned = nn.functional.one_hot(self.owner, self.classes)  # (S, K)
        spread = (owned[:, :, None] * self.coefficients[:, None]).flatten(1)  # (S, K (K − 1))
        sums: Tensor = (values @ spread).reshape(-1, self.classes, self.classes - 1)  # (B, K, K − 1)
        first, second = self.pairs()
        return sums[:, first, second - 1] + sums[:, second, first] + self.offsets

    def _kernel(self, a: Tensor, b: Tensor) -> Tensor:
        products = a @ b.T
        if self.kernel == "linear":
            return products
        square = a.square().sum(1)[:, None] - 2 * products + b.square().sum(1)
        return torch.exp(-self.gamma * square.clamp(min=0))

    def flat(self, x: Tensor) -> Tensor:
        """(B, ...) raw inputs to (B, D) float64 as the kernel sees them."""
        values: Tensor = self.standardize(x)
        return values.flatten(1).double()

    def scores(self, x: Tensor) -> Tensor:
        """Votes, of equally many the first class; of two classes the distance from the margin's middle, either way."""
        decisions = self.decisions(x)
        if self.classes == 2:
            # An answer of exactly zero is the second class's.
            first = torch.where(decisions > 0, decisions, decisions.clamp(max=-torch.finfo(torch.float32).tiny))
            return torch.cat([first, -first], dim=1)
        first, second = self.pairs()
        for_first, for_second = (nn.functional.one_hot(of, self.classes).to(decisions) for of in (first, second))
        return (decisions > 0).to(decisions) @ for_first + (decisions <= 0).to(decisions) @ for_second


def build(c: SVMSettings, spec: Spec) -> SupportVectors:
    assert isinstance(spec.target, Classes)
    return SupportVectors(spec.input, read_shape(spec, preprocessing_of(c, spec)), len(spec.target.names), c.kernel)


def preprocessing_of(c: SVMSettings, spec: Spec) -> Preprocessing:
    return fixed_size(spec, most=32)


def fit(c: SVMSettings, data: Dataset[Labelled], model: SupportVectors, run: Run) -> None:
    """One call of libsvm, which cannot be stopped."""
    train = data.samples("train")
    model.standardize.learn(some(train).x, data.value_range, alike=True)
    raw, y, _ = all_samples(train)
    x = model.flat(raw)
    variance = float(x.var(0, correction=0).sum())
    model.gamma.fill_(c.gamma if c.gamma is not None else 1.5 / variance if variance > 0 else 1.0)
    seen = torch.unique(y)
    # A class without a sample loses against each that has some.
    there = torch.isin(torch.arange(model.classes), seen)
    first, second = model.pairs()
    model.offsets.copy_(there[first].double() - there[second].double())
    if len(seen) > 1:
        _solve(c, model, raw, x, y)
    run.notes["support vectors"] = len(model.x)
    model.to(run.device)


def _solve(c: SVMSettings, model: SupportVectors, raw: Tensor, x: Tensor, y: Tensor) -> None:
    """Fits libsvm to (N, D) inputs and takes over what it found."""
    from sklearn.svm import SVC

    solved = SVC(C=c.C, kernel=c.kernel, gamma=float(model.gamma), cache_size=CACHE)
    _waiting(lambda: solved.fit(x.numpy(), y.numpy()))
    support = torch.from_numpy(solved.support_).long()
    classes = torch.from_numpy(solved.classes_).long()  # those that have samples
    dual = torch.from_numpy(solved.dual_coef_).T.double()  # (S, classes − 1)
    offsets = torch.from_numpy(solved.intercept_).double()
    if len(classes) == 2:  # there scikit-learn turns the sign, so that above zero is the second class
        dual, offsets = -dual, -offsets
    model.x, model.owner = raw[support].to(model.x.dtype), y[support]
    model.coefficients = torch.zeros(len(support), model.classes - 1, dtype=torch.float64)
    for k in classes.tolist():
        own = model.owner == k
        others = [other for other in classes.tolist() if other != k]
        columns = torch.tensor([other if other < k else other - 1 for other in others])
        model.coefficients[own.nonzero(), columns] = dual[own]
    first, second = model.pairs()
    model.offsets[torch.isin(first, classes) & torch.isin(second, classes)] = offsets


def _waiting(work: Callable[[], object]) -> None:
    """Does the work in a thread that ends with the process: libsvm hears no Ctrl-C, who waits for it does."""
    wrong: list[BaseException] = []

    def do() -> None:
        try:
            work()
        except BaseException as error:
            wrong.append(error)

    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.5)  # seconds after which a signal is heard that another thread was given
    if wrong:
        raise wrong[0]


LEARNER = Learner[SVMSettings, Dataset[Labelled], SupportVectors](
    name="svm",
    summary="Support vector machine: the widest margin between each two classes, by a kernel.",
    source="Cortes and Vapnik 1995; Chang and Lin 2011; lecture 004",
    task=TASK,
    accepts=frozenset({"vector", "image"}),
    settings=SVMSettings,
    unsupported_reason=one_class,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
    stoppable=False,
)

"""Summary features of sequences and softmax regression.

Source: Fulcher and Jones 2014 (features of a series and a linear classifier); Bishop 2006, section 4.3.4.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from snellen.core.cpu_threads import limit_threads
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Limit, settings
from snellen.core.spec import Classes, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.summary_linear import SummaryLinear
from snellen.tasks.classify.task import TASK, labels_unsupported
from snellen.training.supervised import all_samples

TOLERANCE = 1e-6  # of the largest derivative, in units of the loss of one sample
MAX_ITERATIONS = 1000


@settings
class SummaryClassifierSettings:
    """Settings of summary features with softmax regression."""

    alpha: Annotated[float, Limit(above=0)] = 1.0
    """L2 penalty α of α/2 ‖w‖², beside the sum of the losses of all samples; without the intercepts."""


class SummaryClassifier(nn.Module):
    """Softmax regression of the summary features of a sequence."""

    probabilistic = True

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.linear = SummaryLinear(features, classes)

    def scores(self, x: Tensor) -> Tensor:
        scores: Tensor = self.linear(x)
        return scores


def softmax_weights(phi: Tensor, y: Tensor, classes: int, alpha: float) -> Tensor:
    """Softmax regression with an L2 penalty by L-BFGS: the W that minimises Σ −log p(y) + α/2 ‖w‖².

    Args:
        phi: (N, D) float64. y: (N,) classes.
    Returns:
        (K, D + 1), the last the intercepts, which are not penalised.
    """
    w = torch.zeros(classes, phi.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [w],
        max_iter=MAX_ITERATIONS,
        tolerance_grad=TOLERANCE,
        tolerance_change=0,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        errors = nn.functional.cross_entropy(phi @ w[:, :-1].T + w[:, -1], y, reduction="sum")
        mean = (errors + alpha / 2 * w[:, :-1].square().sum()) / len(y)
        mean.backward()  # type: ignore[no-untyped-call]
        return mean

    with limit_threads(1):  # otherwise the order of summation depends on the number of threads
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    return w.detach()


def build(c: SummaryClassifierSettings, spec: Spec) -> SummaryClassifier:
    assert isinstance(spec.target, Classes)
    return SummaryClassifier(spec.input.shape[1] or 1, len(spec.target.names))


def fit(c: SummaryClassifierSettings, data: Dataset[Labelled], model: SummaryClassifier, run: Run) -> None:
    x, y, _ = all_samples(data.samples("train"))
    phi = model.linear.fit_statistics(x)
    model.linear.w.copy_(softmax_weights(phi, y, len(model.linear.w), c.alpha))
    model.to(run.device)


LEARNER = Learner[SummaryClassifierSettings, Dataset[Labelled], SummaryClassifier](
    name="summary-features",
    summary="Softmax regression of statistics of a sequence: means, extremes, slopes, dominant frequencies.",
    source="Fulcher and Jones 2014; Bishop 2006, 4.3.4",
    task=TASK,
    accepts=frozenset({"sequence"}),
    settings=SummaryClassifierSettings,
    unsupported_reason=labels_unsupported,
    build=build,
    fit=fit,
    stoppable=False,
)

"""Baseline: every value has a normal distribution of its own, independent of the others."""

from __future__ import annotations

import torch

from snellen.core.learner import FLATTENED, Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.data.image_size import input_shape
from snellen.nn.gaussian import IndependentGaussian
from snellen.tasks.generate.moments import moments, regularized_variance
from snellen.tasks.generate.task import TASK, preprocessing_of, value_count


@settings
class BaselineGeneratorSettings:
    """Settings of the baseline (none)."""


def build(c: BaselineGeneratorSettings, spec: Spec) -> IndependentGaussian:
    return IndependentGaussian(input_shape(spec, preprocessing_of(c, spec)), getattr(torch, spec.input.dtype))


def fit(c: BaselineGeneratorSettings, data: Dataset[Labelled], model: IndependentGaussian, run: Run) -> None:
    """One pass over the training split: mean and variance of each value."""
    of = moments(data.samples("train"), value_count(data.spec))
    model.mean.copy_(of.mean)
    model.deviation.copy_(regularized_variance(of, data.spec.input, model.shape).sqrt())
    model.to(run.device)


LEARNER = Learner[BaselineGeneratorSettings, Dataset[Labelled], IndependentGaussian](
    name="baseline",
    summary="Independent Gaussian of every value: mean and variance, without any relation between the values.",
    source="Bishop 2006, section 2.3.4, with a diagonal covariance",
    task=TASK,
    accepts=FLATTENED,
    settings=BaselineGeneratorSettings,
    preprocessing_of=preprocessing_of,
    build=build,
    fit=fit,
    flattens=True,
    stoppable=False,
)

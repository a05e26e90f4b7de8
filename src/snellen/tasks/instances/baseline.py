"""The baseline that knows nothing but where boxes usually are."""

from __future__ import annotations

from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import settings
from snellen.core.spec import Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.objects import baseline
from snellen.tasks.instances.task import PARTS, TASK


@settings
class BaselineSettings:
    """There is nothing to set."""


def build(c: BaselineSettings, spec: Spec) -> baseline.Usual:
    return baseline.build(PARTS, spec)


def fit(c: BaselineSettings, data: Dataset[Labelled], model: baseline.Usual, run: Run) -> None:
    baseline.fit(PARTS[0], data, model, run)


LEARNER = Learner[BaselineSettings, Dataset[Labelled], baseline.Usual](
    name="baseline",
    summary="The same boxes in every picture, where they usually are: what every other model must beat.",
    source="k-means over the boxes of the training pictures",
    task=TASK,
    accepts=frozenset({"image"}),
    settings=BaselineSettings,
    build=build,
    fit=fit,
)

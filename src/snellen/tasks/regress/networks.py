"""Every architecture as a regressor."""

from __future__ import annotations

from typing import Any

from snellen.architectures import ARCHITECTURES
from snellen.architectures.architecture import Architecture
from snellen.architectures.pretrained import begin, there
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Suggestion, flat, joined
from snellen.core.spec import Preprocessing, Spec
from snellen.data.augment.images import Augment
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.regress.objective import ByError, Errors, Scaled, learn_targets, targets
from snellen.tasks.regress.task import TASK
from snellen.training.supervised import learn

ADDS = Errors  # to the settings of an architecture


def learner(architecture: Architecture[Any]) -> Learner[Any, Dataset[Labelled], Scaled]:
    """The architecture with as many outputs as there are numbers, on standardised targets."""
    settings = joined(architecture.settings.__name__, network=architecture.settings, task=ADDS)
    plain = {setting.name: setting.default for setting in flat(Augment)}
    varied = [s.name for s in flat(settings) if s.name in plain and s.default != plain[s.name]]

    def suggest(spec: Spec) -> dict[str, Suggestion]:
        still = "a mirrored or shifted picture may have another number: the user says what keeps it"
        suggested = {
            **architecture.suggested(spec),
            **{name: Suggestion(value=plain[name], why=still) for name in varied},
        }
        if "image" in architecture.accepts and "vector" not in architecture.accepts:
            epochs = 20 if spec.sizes.get("train", 0) >= 2000 else 40
            why = "errors of numbers are steeper than those of classes: small steps"
            suggested |= {
                "optimizer": Suggestion(value="adam", why=why),
                "lr": Suggestion(value=0.001, why=why),
                "weight_decay": Suggestion(value=0.0, why=why),
                "epochs": Suggestion(value=epochs, why="small steps need more passes"),
            }
        return suggested

    def preprocessing_of(c: Any, spec: Spec) -> Preprocessing:
        return architecture.preprocessing_of(c.network.start, spec)

    def build(c: Any, spec: Spec) -> Scaled:
        body = architecture.built(c.network, spec, targets(spec))
        return Scaled(Network(Standardize(spec.input, preprocessing_of(c, spec).channels), body), targets(spec))

    def fit(c: Any, data: Dataset[Labelled], model: Scaled, run: Run) -> None:
        begin(architecture, c.network.start, model.network, run)
        learn_targets(model, data)
        learn(model, ByError(c.task, run), data, run, c.network.descent, c.network.augment)

    return Learner[Any, Dataset[Labelled], Scaled](
        name=architecture.name,
        summary=architecture.summary,
        source=architecture.source,
        task=TASK,
        accepts=architecture.accepts,
        settings=settings,
        suggest=suggest,
        unsupported_reason=architecture.unsupported_reason,
        needs=lambda c, spec: there(architecture, c.network.start),
        preprocessing_of=preprocessing_of,
        build=build,
        fit=fit,
        in_default_ladder=architecture.in_default_ladder,
    )


LEARNERS: tuple[Learner[Any, Any, Any], ...] = tuple(learner(architecture) for architecture in ARCHITECTURES.values())

"""Regressors from all architectures."""

from __future__ import annotations

from typing import Any

from snellen.architectures import ARCHITECTURES
from snellen.architectures.architecture import Architecture
from snellen.architectures.pretrained import check_weights, load_pretrained
from snellen.core.learner import Learner
from snellen.core.run import Run
from snellen.core.settings import Suggestion, flatten, merge_groups
from snellen.core.spec import Preprocessing, Spec
from snellen.data.augment.images import Augment
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.regress.objective import (
    RegressionLossSettings,
    RegressionNetwork,
    RegressionObjective,
    fit_target_scaling,
    target_count,
)
from snellen.tasks.regress.task import TASK
from snellen.training.supervised import fit_supervised

ADDS = RegressionLossSettings  # settings added to those of an architecture


def learner(architecture: Architecture[Any]) -> Learner[Any, Dataset[Labelled], RegressionNetwork]:
    """Learner of an architecture with one output per target, trained on standardised targets."""
    settings = merge_groups(architecture.settings.__name__, network=architecture.settings, task=ADDS)
    default = {setting.name: setting.default for setting in flatten(Augment, help=False)}
    defaults = {s.name: s.default for s in flatten(settings, help=False)}
    augmented = [name for name in default if name in defaults and defaults[name] != default[name]]
    is_for_images = "image" in architecture.accepts and "vector" not in architecture.accepts

    def suggest(spec: Spec) -> dict[str, Suggestion]:
        reason = "augmentation may change the target of an image; enable what preserves it"
        suggested = {
            **architecture.suggestions(spec),
            **{name: Suggestion(value=default[name], reason=reason) for name in augmented},
        }
        if is_for_images:
            suggested["loss"] = Suggestion(value="absolute", reason="models are compared by the mean absolute error")
        if is_for_images and not str(defaults["optimizer"]).startswith("adam"):
            epochs = 20 if spec.sizes.get("train", 0) >= 2000 else 40
            gradient_reason = "regression losses have larger gradients than cross-entropy: a lower learning rate"
            suggested |= {
                "optimizer": Suggestion(value="adam", reason=gradient_reason),
                "lr": Suggestion(value=0.001, reason=gradient_reason),
                "weight_decay": Suggestion(value=0.0, reason=gradient_reason),
                "epochs": Suggestion(value=epochs, reason="a lower learning rate needs more epochs"),
            }
        return suggested

    def preprocessing_of(c: Any, spec: Spec) -> Preprocessing:
        return architecture.preprocessing_of(c.network.init, spec)

    def build(c: Any, spec: Spec) -> RegressionNetwork:
        body = architecture.build(c.network, spec, target_count(spec))
        return RegressionNetwork(
            Network(Standardize(spec.input, preprocessing_of(c, spec).channels), body), target_count(spec)
        )

    def fit(c: Any, data: Dataset[Labelled], model: RegressionNetwork, run: Run) -> None:
        load_pretrained(architecture, c.network.init, model.network, run)
        fit_target_scaling(model, data)
        fit_supervised(model, RegressionObjective(c.task, run), data, run, c.network.training, c.network.augment)

    return Learner[Any, Dataset[Labelled], RegressionNetwork](
        name=architecture.name,
        summary=architecture.summary,
        source=architecture.source,
        task=TASK,
        accepts=architecture.accepts,
        settings=settings,
        suggest=suggest,
        unsupported_reason=architecture.unsupported_reason,
        check_requirements=lambda c, spec: check_weights(architecture, c.network.init),
        preprocessing_of=preprocessing_of,
        input_size=lambda c, spec: architecture.input_size(c.network.init, spec),
        build=build,
        fit=fit,
        in_default_ladder=architecture.in_default_ladder,
    )


LEARNERS: tuple[Learner[Any, Any, Any], ...] = tuple(learner(architecture) for architecture in ARCHITECTURES.values())

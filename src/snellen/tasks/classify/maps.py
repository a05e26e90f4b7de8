"""Decision maps of a classifier over one or two inputs, and distances of samples from its hyperplanes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from snellen.core.spec import Classes, Labels, Spec
from snellen.core.views import View
from snellen.data.dataset import Dataset, Labelled
from snellen.modalities.decision_maps import class_map
from snellen.modalities.hyperplane_views import distance_view
from snellen.modalities.input_curves import class_curves
from snellen.modalities.input_space import Function, input_space
from snellen.nn.piecewise_linear import LinearLayers, layers_of_model, select_outputs

MAX_LABELS = 3  # maps, of several labels


class _Decision(NamedTuple):
    """One decision between classes: all classes of a model, or one label and its absence."""

    title: str
    names: Sequence[str]
    scores: Function
    truth: Callable[[Tensor], Tensor]
    layers: LinearLayers | None


def input_maps(model: object, data: Dataset[Labelled], spec: Spec, split: str) -> list[View]:
    """Maps of the classes, or of the first labels, over one or two inputs; distances from hyperplanes in any number."""
    space = input_space(model, data, spec, split)
    if space is None:
        return []
    probabilistic = bool(model.probabilistic)  # type: ignore[attr-defined]
    views: list[View] = []
    for decision in _decisions(model, spec):
        truth = [decision.truth(samples.y) for samples in space.shown]
        arguments = (space, decision.title, decision.names, decision.scores, truth, decision.layers, probabilistic)
        if space.axes:
            views.append(class_map(*arguments) if len(space.axes) == 2 else class_curves(*arguments))
        if decision.layers is not None and decision.layers.is_linear and len(decision.names) > 1:
            views.append(distance_view(space, data, decision.names, decision.truth(space.train.y), decision.layers))
    return views


def _decisions(model: object, spec: Spec) -> list[_Decision]:
    scores: Function = model.scores  # type: ignore[attr-defined]
    layers = layers_of_model(model)
    if isinstance(spec.target, Classes):
        return [_Decision("Decision map", spec.target.names, scores, lambda y: y.long().cpu(), layers)]
    assert isinstance(spec.target, Labels)
    return [_label(name, k, scores, layers) for k, name in enumerate(spec.target.names[:MAX_LABELS])]


def _label(name: str, k: int, scores: Function, layers: LinearLayers | None) -> _Decision:
    """One of several labels: present where its score is above zero, the score of its absence."""

    def two_scores(x: Tensor) -> Tensor:
        score = scores(x)[:, k]
        return torch.stack([torch.zeros_like(score), score], 1)

    two_layers = None if layers is None else select_outputs(layers, k, beside_zero=True)
    title = f"Decision map: label {name}"
    return _Decision(title, (f"not {name}", name), two_scores, lambda y: (y[:, k] > 0.5).long().cpu(), two_layers)

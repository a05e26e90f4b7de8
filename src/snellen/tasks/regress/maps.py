"""Fitted curves and surfaces of a regressor over one or two inputs."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from snellen.core.spec import Numbers, Spec
from snellen.core.views import View
from snellen.data.dataset import Dataset, Labelled
from snellen.modalities.decision_maps import surface_map
from snellen.modalities.input_curves import fitted_curve
from snellen.modalities.input_space import Function, InputSpace, input_space
from snellen.nn.piecewise_linear import LinearLayers, layers_of_model, select_outputs
from snellen.tasks.regress import image_surface

MAX_TARGETS = 3  # maps, of several numbers


def input_maps(model: Any, data: Dataset[Labelled], spec: Spec, split: str) -> list[View]:
    """The fitted curve over one input, or the surface over two, of each of the first targets; the image of a grid."""
    image = image_surface.fitted_image(model, data, spec)
    if image:
        return image
    space = input_space(model, data, spec, split)
    if space is None or not space.axes:
        return []
    assert isinstance(spec.target, Numbers)
    predict: Function = model.predict
    layers = layers_of_model(model)
    units = spec.target.units or ("",) * len(spec.target.names)
    return [
        _view(space, k, f"{name} [{unit}]" if unit else name, predict, layers)
        for k, (name, unit) in list(enumerate(zip(spec.target.names, units, strict=True)))[:MAX_TARGETS]
    ]


def _view(space: InputSpace, k: int, name: str, predict: Function, layers: LinearLayers | None) -> View:
    """Of one target."""

    def one(x: Tensor) -> Tensor:
        return predict(x)[:, k : k + 1]

    truth = [samples.y[:, k].cpu() for samples in space.shown]
    of_target = None if layers is None else select_outputs(layers, k)
    if len(space.axes) == 1:
        return fitted_curve(space, f"Fitted curve of {name}", name, one, truth, of_target)
    return surface_map(space, f"Fitted surface of {name}", name, one, truth, of_target)

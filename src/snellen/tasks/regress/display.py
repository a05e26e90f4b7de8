"""Description of the predictions of a regressor."""

from __future__ import annotations

from snellen.core.spec import Numbers, Spec
from snellen.core.task import Display, PredictionDict


def _target(spec: Spec) -> Numbers:
    assert isinstance(spec.target, Numbers)
    return spec.target


def lines(prediction: PredictionDict, spec: Spec) -> list[str]:
    """One line for each number, with its unit."""
    target = _target(spec)
    units = target.units or ("",) * len(target.names)
    return [f"{name} {prediction[name]:.4g} {unit}".rstrip() for name, unit in zip(target.names, units, strict=True)]


DISPLAY = Display(
    lines=lines,
    baseline=lambda spec: f"the {'means' if len(_target(spec).names) > 1 else 'median'} of the training targets",
    outputs=lambda spec: f"It predicts {', '.join(_target(spec).names)}.",
    names="targets",
    hub_names={"vector": "tabular-regression"},
)

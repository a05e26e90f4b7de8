"""Description of the forecasts of a model."""

from __future__ import annotations

from torch import Tensor

from snellen.core.spec import Future, Spec
from snellen.core.task import Display, PredictionDict

MAX_LINES = 8


def future(spec: Spec) -> Future:
    """The target."""
    assert isinstance(spec.target, Future)
    return spec.target


def own(x: Tensor, spec: Spec) -> Tensor:
    """(B, T, D) past of the features that are forecast, of an input (B, T, D')."""
    return x[..., : len(future(spec).names)]


def known_ahead(x: Tensor, spec: Spec) -> Tensor:
    """(B, H, K) values of the features that are known in advance, at the steps that are forecast."""
    return x[:, -future(spec).steps :, x.shape[2] - future(spec).known :]


def steps_text(count: int) -> str:
    """A number of steps."""
    return f"{count:,} step{'' if count == 1 else 's'}"


def lines(prediction: PredictionDict, spec: Spec) -> list[str]:
    """The last forecast of the first features."""
    target = future(spec)
    shown = [
        f"{name} in {steps_text(target.steps)}: {prediction['forecast'][name][-1]:.4g}{_widest(prediction, name)}"
        for name in target.names[:MAX_LINES]
    ]
    return shown + ([f"and {len(target.names) - MAX_LINES} more"] if len(target.names) > MAX_LINES else [])


def _widest(prediction: PredictionDict, name: str) -> str:
    """The last interval of the highest level of a feature."""
    if not prediction.get("intervals"):
        return ""
    level, bounds = list(prediction["intervals"].items())[-1]
    return f" ({level}: {bounds[name]['low'][-1]:.4g} to {bounds[name]['high'][-1]:.4g})"


def _outputs(spec: Spec) -> str:
    target = future(spec)
    features = f"{len(target.names):,} feature{'' if len(target.names) == 1 else 's'}"
    return f"It forecasts the next {steps_text(target.steps)} of {features} from {spec.input.shape[0]} steps."


DISPLAY = Display(
    lines=lines,
    baseline=lambda spec: "the last value",
    outputs=_outputs,
    names="targets",
    hub_names={"sequence": "time-series-forecasting"},
)

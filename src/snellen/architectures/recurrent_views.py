"""Report view of recurrent networks: gradient against lag."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snellen.core.views import Plot, Series, View
from snellen.nn.gradient_lag import gradient_norms_by_lag, random_projection
from snellen.nn.recurrent import RecurrentNetwork

MIN_STEPS = 3  # below, a plot shows nothing


def gradient_views(model: nn.Module, x: Tensor) -> list[View]:
    """Plot of the gradient of the outputs with respect to the input at each lag before the end.

    Args:
        model: in evaluation mode; the first recurrent network in it is drawn.
        x: (B, T, D) raw inputs, or recordings, whose frames are the steps.
    """
    network = next((module for module in model.modules() if isinstance(module, RecurrentNetwork)), None)
    if network is None:
        return []
    inputs: list[Tensor] = []
    with torch.no_grad(), network.register_forward_pre_hook(lambda module, args: inputs.append(args[0])):
        model(x)
    if inputs[0].shape[1] < MIN_STEPS:
        return []
    norms = gradient_norms_by_lag(network, inputs[0], random_projection).double().cpu()
    low, median, high = (_positive(norms.nanquantile(q, 0)) for q in (0.25, 0.5, 0.75))
    if not any(median):
        return []
    lags = [float(k) for k in range(len(median))]
    return [
        Plot(
            title="Gradient against lag",
            x="lag in steps before the end",
            y="gradient norm",
            log_y=True,
            series=[Series(name="median over samples", x=lags, y=median, low=low, high=high)],
            caption=f"Norm of the gradient of the outputs with respect to the standardised input at each lag, over "
            f"{len(x)} training samples (band: quartiles; zeros are not drawn). Where it is near 0, training "
            "learns little from these steps. A straight fall is a vanishing gradient, a straight rise an exploding "
            "one; a maximum at a lag marks steps that matter.",
        )
    ]


def _positive(values: Tensor) -> list[float | None]:
    """Numbers for a logarithmic axis; None where they are zero or not finite."""
    return [value if 0 < value < float("inf") else None for value in values.tolist()]

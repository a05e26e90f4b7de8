"""Report views of recurrent networks: gradient against lag, gates over time."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from snellen.core.views import Plot, Series, View
from snellen.nn.gates import gate_activations
from snellen.nn.gradient_lag import gradient_norms_by_lag, random_projection
from snellen.nn.recurrent import RecurrentNetwork

MIN_STEPS = 3  # below, a plot shows nothing
GATE_SAMPLES = 3  # whose gates are drawn, each in a plot
GATE_STEPS = 500  # of them, from the start
GATE_MEANING = (
    "0 is closed, 1 is open. {} The line is the mean over {:,} units of the {} layer{}, the band the 10 % and 90 % "
    "quantiles."
)
_MEANINGS = {
    "forget": "The forget gate keeps the memory, the input gate writes to it, the output gate reads it.",
    "update": "The update gate keeps the state, the reset gate lets the new state depend on the one before.",
}


def recurrent_views(model: nn.Module, x: Tensor) -> list[View]:
    """Gradient against lag, and gates over time; arguments as in `gradient_views`."""
    return [*gradient_views(model, x), *gate_views(model, x)]


def gate_views(model: nn.Module, x: Tensor) -> list[View]:
    """Mean activation of each gate at each step, within the length of each of a few samples.

    The last layer is drawn; of a bidirectional network, and of several modules, the first one, forwards in time. None
    without gates.

    Args:
        model: in evaluation mode; the first LSTM or GRU in it that reads whole sequences is drawn.
        x: (B, T, D) raw inputs, NaN after the end of each sequence, or inputs of any other kind.
    """
    calls: list[tuple[nn.LSTM | nn.GRU, Tensor, Tensor]] = []

    def record(module: nn.Module, args: tuple[Tensor | PackedSequence, ...]) -> None:
        assert isinstance(module, nn.LSTM | nn.GRU)
        steps, lengths = _padded(module, args[0])
        if not calls and steps is not None and steps.shape[1] >= MIN_STEPS:
            calls.append((module, steps, lengths))

    padded = [x[:GATE_SAMPLES]]
    hooks = [
        module.register_forward_pre_hook(record)
        if isinstance(module, nn.LSTM | nn.GRU)
        else module.register_forward_pre_hook(lambda module, args: padded.append(args[0]))
        for module in model.modules()
        if isinstance(module, RecurrentNetwork) or (isinstance(module, nn.LSTM | nn.GRU) and not module.proj_size)
    ]
    try:
        with torch.no_grad():
            model(padded[0])
    finally:
        for hook in hooks:
            hook.remove()
    if not calls:
        return []
    layer, inputs, lengths = calls[0]
    for values in padded:  # by NaN: the input of the model, and that of its recurrent network
        if values.ndim == 3 and values.shape[:2] == inputs.shape[:2]:
            lengths = torch.minimum(lengths, (~values.isnan().any(2)).sum(1).to(lengths))
    if bool(layer.bidirectional) or sum(isinstance(module, type(layer)) for module in model.modules()) > 1:
        which, index, note = "first", 0, ", forwards in time"
    else:
        which, index, note = ("last" if layer.num_layers > 1 else "recurrent"), layer.num_layers - 1, ""
    inputs = inputs[:, :GATE_STEPS]
    with torch.no_grad():
        for k in range(index):
            inputs = gate_activations(layer, inputs, k).states
        gates = gate_activations(layer, inputs, index).gates
    meaning = next(text for name, text in _MEANINGS.items() if name in gates)
    caption = GATE_MEANING.format(meaning, layer.hidden_size, which, note)
    views: list[Plot] = []
    for k, length in enumerate(lengths.clamp(max=inputs.shape[1]).tolist()):
        if length < MIN_STEPS:
            continue
        series = [_gate_series(name, values[k, :length]) for name, values in gates.items()]
        views.append(Plot(title=f"Gates over time, training sample {k + 1}", x="step", y="activation", series=series))
    return [*(replace(view, caption=caption) for view in views[:1]), *views[1:]]


def _padded(layer: nn.LSTM | nn.GRU, x: Tensor | PackedSequence) -> tuple[Tensor | None, Tensor]:
    """(B, T, D) inputs of a layer and their lengths (B,); None for a single sequence without an axis of samples."""
    if isinstance(x, PackedSequence):
        steps, lengths = pad_packed_sequence(x, batch_first=True)
        return steps, lengths
    if x.ndim != 3:
        return None, torch.zeros(0)
    steps = x if layer.batch_first else x.transpose(0, 1)
    return steps, torch.full((len(steps),), steps.shape[1])


def _gate_series(name: str, values: Tensor) -> Series:
    """Mean over units of (T, H) activations, and a band of their quantiles."""
    values = values.double().cpu()
    low, high = (values.quantile(q, 1).tolist() for q in (0.1, 0.9))
    steps = [float(k + 1) for k in range(len(values))]
    style = "dashed" if name in ("output", "update") else "line"  # gates at their initial values lie over one another
    return Series(name=f"{name} gate", x=steps, y=values.mean(1).tolist(), low=low, high=high, style=style)


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

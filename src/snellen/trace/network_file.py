"""A traced network as strict JSON: the file that `snellen trace FILE.json` reads, the `network` of its --json."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from snellen.core.errors import DataError, UsageError, counted, short_repr, suggest_name
from snellen.trace.activations import Array
from snellen.trace.layers import (
    LAYERS,
    BatchNormLayer,
    ConvolutionLayer,
    FlattenLayer,
    LinearLayer,
    MaxPoolLayer,
    MeanPoolLayer,
    TraceLayer,
)
from snellen.trace.network import TracedNetwork, draw_layers

MAX_BYTES = 1_000_000
MARK = "snellen trace"  # value of "format" in the output of --json
_TRACE_KEYS = ("format", "network", "losses", "states", "check", "seeds")  # of the output of --json
_NETWORK_KEYS = ("name", "layers", "loss", "lr", "inputs", "targets", "seed")


def network_json(network: TracedNetwork) -> dict[str, Any]:
    """The network as plain data with all parameters, which `parse_network` reads back to the same numbers."""
    layers: list[dict[str, Any]] = []
    for layer in network.layers:
        values = {name: value.tolist() for name, value in layer.parameters.items()}
        layers.append({"kind": layer.kind, **layer.options, "activation": layer.activation, **values})
    return {
        "name": network.name,
        "layers": layers,
        "loss": network.loss,
        "lr": network.lr,
        "inputs": network.inputs.tolist(),
        "targets": network.targets.tolist(),
    }


def read_network(path: Path) -> TracedNetwork:
    """Read a network from a JSON file: a network object, or the output of `snellen trace --json`.

    Raises:
        DataError: a file that cannot be read, is no strict JSON, or has unknown or missing keys, with its path.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder, not a JSON file of a network", "Give a file such as network.json.")
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise DataError(
            f"{path} has {path.stat().st_size:,} bytes; the file of a network has at most {MAX_BYTES:,}",
            "A trace shows small networks.",
        )
    plain = _read_json(path)
    try:
        if isinstance(plain, dict) and plain.get("format") == MARK:
            _check_keys(plain, _TRACE_KEYS, ("network",), "the output of snellen trace --json")
            plain = plain["network"]
        return parse_network(plain)
    except UsageError as error:
        raise DataError(f"{path}: {error.cause}", error.remedy) from None


def _read_json(path: Path) -> Any:
    """Strict JSON without duplicate keys, with or without a byte order mark. Raises DataError with the path."""
    from snellen.core import file_io

    try:
        return file_io.read_json(path, encoding="utf-8-sig", unique_keys=True)
    except DataError as error:
        raise DataError(error.cause, "Give a JSON file with layers, inputs and targets.") from None


def parse_network(plain: Any) -> TracedNetwork:
    """A network from plain data; raises UsageError with the place of what is wrong."""
    if not isinstance(plain, dict):
        raise UsageError(
            f"Expected an object with layers, inputs and targets, not {short_repr(plain)}",
            f"Keys: {', '.join(_NETWORK_KEYS)}.",
        )
    _check_keys(plain, _NETWORK_KEYS, ("layers", "inputs", "targets"), "the network")
    if not isinstance(plain["layers"], list) or not plain["layers"]:
        raise UsageError("layers is not a list of layers", 'Give at least one: [{"kind": "linear", "units": 1}].')
    inputs = _numbers(plain["inputs"], "inputs")
    if inputs.ndim == 3:  # grids of one channel
        inputs = inputs[:, None]
    if inputs.ndim not in (2, 4):
        raise UsageError(
            "inputs is not a list of samples", "Give [[2, 3]] for one sample of two numbers, [[[..], ..]] for a grid."
        )
    lr = _number(plain.get("lr", 0.1), "lr")
    seed = _whole(plain.get("seed", 0), "seed", 0)
    layers: list[TraceLayer] = []
    shape = inputs.shape[1:]
    for k, layer in enumerate(plain["layers"]):
        where = f"layers[{k}]"
        if not isinstance(layer, dict):
            raise UsageError(f"{where}: expected an object, not {short_repr(layer)}", 'Give {"kind": "linear", ...}.')
        kind = layer.get("kind")
        if not isinstance(kind, str) or kind not in _READERS:
            raise UsageError(
                f"{where}: {short_repr(kind)} is not a kind of layer" if "kind" in layer else f"{where} has no kind",
                suggest_name(str(kind), list(LAYERS)),
            )
        made = _READERS[kind](layer, where, shape)
        try:
            shape = made.output_shape(shape)
        except UsageError as error:
            raise UsageError(f"{where} ({kind}): {error.cause}", error.remedy) from None
        layers.append(made)
    targets = _numbers(plain["targets"], "targets")
    if targets.ndim == 3 and len(shape) == 3:
        targets = targets[:, None]
    random_layers = draw_layers(tuple(layers), seed)
    has_weights = [k for k in range(len(layers)) if "weight" in layers[k].parameters]
    is_random = [k for k in has_weights if "weight" not in plain["layers"][k]]
    chosen = tuple(random_layers[k] if k in is_random else layer for k, layer in enumerate(layers))
    return TracedNetwork(
        layers=chosen,
        inputs=inputs,
        targets=targets,
        loss=_text(plain.get("loss", "half-squared"), "loss"),
        lr=lr,
        name=_text(plain.get("name", "network"), "name"),
        seed=seed if has_weights and is_random == has_weights else None,
    )


def _check_keys(plain: Mapping[str, Any], known: Sequence[str], needed: Sequence[str], where: str) -> None:
    for key in plain:
        if key not in known:
            raise UsageError(f"{short_repr(key)} is not a key of {where}", suggest_name(key, list(known)))
    for key in needed:
        if key not in plain:
            raise UsageError(f"{key} is missing in {where}", f"Keys: {', '.join(known)}.")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or len(value) > 80:
        raise UsageError(f"{where}: {short_repr(value)} is not a text of at most 80 characters", "Give a short text.")
    return value


def _number(value: Any, where: str) -> float:
    array = _numbers(value, where)
    if array.ndim:
        raise UsageError(f"{where}: {short_repr(value)} is not one number", "Give one number.")
    return float(array)


def _whole(value: Any, where: str, smallest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not smallest <= value < 1 << 63:
        raise UsageError(
            f"{where}: {short_repr(value)} is not a whole number of at least {smallest}", "Give such a number."
        )
    return value


def _numbers(value: Any, where: str) -> Array:
    """Nested lists of equal lengths as an array; raises UsageError for anything else."""

    def shape_of(part: Any, depth: int) -> tuple[int, ...]:
        if isinstance(part, int | float) and not isinstance(part, bool):
            return ()
        if not isinstance(part, list) or not part or depth == 0:
            raise UsageError(f"{where}: {short_repr(part)} is not a number or a list of numbers", "Give numbers.")
        shapes = [shape_of(item, depth - 1) for item in part]
        if len(set(shapes)) > 1:
            raise UsageError(f"{where}: the lists of {short_repr(part)} differ in length", "Give lists of one length.")
        return (len(part), *shapes[0])

    shape_of(value, 4)
    try:
        return np.array(value, dtype=np.float64)
    except (OverflowError, ValueError):
        raise UsageError(f"{where} has a number beyond the range of float64", "Give smaller numbers.") from None


def _weights(
    layer: Mapping[str, Any], where: str, default_shape: tuple[int, ...] | None, ndim: int
) -> tuple[Array, Array | None]:
    """Weights and biases of a layer: given, or zeros of the default shape, which are drawn later."""
    bias = layer.get("bias", True)
    if "weight" in layer:
        weight = _numbers(layer["weight"], f"{where}.weight")
        if weight.ndim != ndim:
            nested = "one list of weights for every unit" if ndim == 2 else "kernels [outputs][channels][rows][columns]"
            raise UsageError(f"{where}.weight has {counted(weight.ndim, 'nested list')}, not {ndim}", f"Give {nested}.")
        bias = layer.get("bias", False)  # given weights are all of the layer
    else:
        assert default_shape is not None
        weight = np.zeros(default_shape)
    if isinstance(bias, bool):
        return weight, np.zeros(len(weight)) if bias else None
    values = _numbers(bias, f"{where}.bias")
    if values.shape != weight.shape[:1]:
        raise UsageError(
            f"{where}.bias has {counted(values.size, 'number')} for {counted(len(weight), 'unit')}",
            "Give one for every unit.",
        )
    if "weight" not in layer:
        raise UsageError(f"{where} has biases and no weight", "Give both, or neither.")
    return weight, values


def _linear(layer: Mapping[str, Any], where: str, shape: tuple[int, ...]) -> TraceLayer:
    _check_keys(layer, ("kind", "units", "weight", "bias", "activation"), (), where)
    default = None
    if "weight" not in layer:
        if "units" not in layer:
            raise UsageError(f"{where} has neither units nor weight", 'Give "units": 2, or "weight": [[...], [...]].')
        units = _whole(layer["units"], f"{where}.units", 1)
        if units > 1000:
            raise UsageError(f"{where}.units: {units:,} is too large for a trace", "Give at most 16.")
        default = (units, shape[0] if len(shape) == 1 else 1)
    weight, bias = _weights(layer, where, default, 2)
    if "units" in layer and layer["units"] != len(weight):
        raise UsageError(
            f"{where}.units is {short_repr(layer['units'])}, and weight has {counted(len(weight), 'unit')}", "Give one."
        )
    return LinearLayer(weight=weight, bias=bias, activation=_activation(layer, where))


def _convolution(layer: Mapping[str, Any], where: str, shape: tuple[int, ...]) -> TraceLayer:
    known = ("kind", "filters", "size", "weight", "bias", "stride", "padding", "activation")
    _check_keys(layer, known, (), where)
    default = None
    if "weight" not in layer:
        size = _whole(layer.get("size", 3), f"{where}.size", 1)
        filters = _whole(layer.get("filters", 1), f"{where}.filters", 1)
        if size > 16 or filters > 16:
            raise UsageError(f"{where}: size and filters are at most 16", "Give smaller numbers.")
        default = (filters, shape[0], size, size)
    elif {"filters", "size"} & set(layer):
        raise UsageError(f"{where} has a weight and filters or size", "Give the weight alone: it has both.")
    weight, bias = _weights(layer, where, default, 4)
    return ConvolutionLayer(
        weight=weight,
        bias=bias,
        stride=_whole(layer.get("stride", 1), f"{where}.stride", 1),
        padding=min(_whole(layer.get("padding", 0), f"{where}.padding", 0), 100),
        activation=_activation(layer, where),
    )


def _pool(kind: type[MaxPoolLayer | MeanPoolLayer]) -> Callable[[Mapping[str, Any], str, tuple[int, ...]], TraceLayer]:
    def read(layer: Mapping[str, Any], where: str, shape: tuple[int, ...]) -> TraceLayer:
        _check_keys(layer, ("kind", "size", "stride", "activation"), (), where)
        size = _whole(layer.get("size", 2), f"{where}.size", 1)
        stride = _whole(layer.get("stride", size), f"{where}.stride", 1)
        return kind(size=size, stride=stride, activation=_activation(layer, where))

    return read


def _batch_norm(layer: Mapping[str, Any], where: str, shape: tuple[int, ...]) -> TraceLayer:
    _check_keys(layer, ("kind", "scale", "shift", "eps", "activation"), (), where)
    scale = _numbers(layer.get("scale", [1.0] * shape[0]), f"{where}.scale")
    shift = _numbers(layer.get("shift", [0.0] * shape[0]), f"{where}.shift")
    if scale.ndim != 1 or scale.shape != shift.shape:
        raise UsageError(f"{where}: scale and shift are not two lists of one length", "Give one number per feature.")
    eps = _number(layer.get("eps", 1e-5), f"{where}.eps")
    if eps <= 0:
        raise UsageError(f"{where}.eps: {eps:g} is not above 0", "Give a number such as 1e-5.")
    return BatchNormLayer(scale=scale, shift=shift, eps=eps, activation=_activation(layer, where))


def _flatten(layer: Mapping[str, Any], where: str, shape: tuple[int, ...]) -> TraceLayer:
    _check_keys(layer, ("kind", "activation"), (), where)
    return FlattenLayer(activation=_activation(layer, where))


def _activation(layer: Mapping[str, Any], where: str) -> str:
    return _text(layer.get("activation", "linear"), f"{where}.activation")


_READERS: dict[str, Callable[[Mapping[str, Any], str, tuple[int, ...]], TraceLayer]] = {
    "linear": _linear,
    "conv2d": _convolution,
    "max-pool": _pool(MaxPoolLayer),
    "mean-pool": _pool(MeanPoolLayer),
    "batch-norm": _batch_norm,
    "flatten": _flatten,
}

"""Weights and nested state as named tensors: packing for a checkpoint, checking and loading."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from snellen.core.errors import DataError, first_line, short_repr

Packed = tuple[dict[str, Tensor], Any]


def are_channels_last(tensors: Iterable[Tensor]) -> bool:
    """Whether all four-dimensional weights of a network are in the channels-last memory format.

    For 1x1 kernels and for one channel both formats coincide; these count as channels last.
    """
    kernels = [tensor for tensor in tensors if tensor.ndim == 4]
    return bool(kernels) and all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in kernels)


def pack(state: Any) -> Packed:
    """Convert nested dicts, lists, tuples, tensors and plain values to named tensors and tagged strict JSON.

    Optimizer states contain integer keys, tuples and infinities, which JSON lacks: these are tagged.
    """
    tensors: dict[str, Tensor] = {}

    def walk(value: Any) -> Any:
        if isinstance(value, Tensor):
            name = f"t{len(tensors)}"
            tensors[name] = value
            return {"tensor": name}
        if isinstance(value, bool | str) or value is None or isinstance(value, int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": repr(value)}
        if isinstance(value, Mapping):
            return {"dict": [[walk(key), walk(element)] for key, element in value.items()]}
        if isinstance(value, tuple):
            return {"tuple": [walk(element) for element in value]}
        if isinstance(value, Sequence):
            return [walk(element) for element in value]
        raise TypeError(f"{type(value).__name__} cannot be saved in a run: give tensors and plain values")

    return tensors, walk(state)


def unpack(packed: Packed) -> Any:
    """Inverse of `pack`. Raises DataError for data that `pack` did not produce."""
    tensors, tree = packed

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(element) for element in value]
        if not isinstance(value, dict):
            return value
        ((tag, content),) = value.items()
        if tag == "tensor":
            return tensors[content]
        if tag == "float":
            return float(content)
        if tag == "tuple":
            return tuple(walk(element) for element in content)
        if tag == "dict":
            return {walk(key): walk(element) for key, element in content}
        raise ValueError(f"the tag {short_repr(tag)} is unknown")

    try:
        return walk(tree)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError) as error:
        raise DataError(
            f"A checkpoint is damaged: {first_line(error)}",
            "It was written by another version of Snellen, or by hand.",
        ) from error


def load_weights(model: torch.nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Load weights into a model after `check_weights`; tensors of variable length take the length of the file."""
    check_weights(model, tensors, where)
    for owner, name, full_name in _named(model, "variable_length"):
        setattr(owner, name, getattr(owner, name).new_empty(tensors[full_name].shape))
    if are_channels_last(tensors.values()):
        model.to(memory_format=torch.channels_last)
    model.load_state_dict(dict(tensors))


def check_weights(model: torch.nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Raise DataError unless `tensors` fit `model` in names, shapes and dtypes.

    The attribute `variable_length` of a module names tensors whose length is known only after fitting (the samples of
    k-NN, support vectors). Their first dimension may have any length, the same for all that a module names. The
    attribute `optional_tensors` names those that a file written before they existed lacks: the module keeps its own.
    """
    expected, optional = model.state_dict(), {name for _, _, name in _named(model, "optional_tensors")}
    problems = [f"{name} is missing" for name in expected if name not in tensors and name not in optional]
    problems += [f"{short_repr(name)} is not one of its tensors" for name in tensors if name not in expected]
    lengths: dict[torch.nn.Module, int] = {}
    first_dims = {}
    for owner, _, full_name in _named(model, "variable_length"):
        if full_name in tensors and tensors[full_name].ndim:
            first_dims[full_name] = lengths.setdefault(owner, len(tensors[full_name]))
    for name in expected.keys() & tensors.keys():
        tensor, target = tensors[name], expected[name]
        shape = (first_dims[name], *target.shape[1:]) if name in first_dims else tuple(target.shape)
        if tensor.dtype != target.dtype or tuple(tensor.shape) != shape:
            problems.append(f"{name} is {tensor.dtype} {tuple(tensor.shape)}, not {target.dtype} {shape}")
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise DataError(
            f"{where} do not fit the model: {'; '.join(sorted(problems)[:3])}{more}",
            "Were they written by another model?",
        )


def _named(model: torch.nn.Module, attribute: str) -> Iterator[tuple[torch.nn.Module, str, str]]:
    """(module, tensor name, name in the state dict of the model) of all tensors that an attribute of a module names."""
    for prefix, owner in model.named_modules():
        for name in getattr(owner, attribute, ()):
            yield owner, name, f"{prefix}.{name}" if prefix else name

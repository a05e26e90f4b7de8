"""New random weights of a module, by the functions of its parts."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def reset_weights(module: nn.Module) -> None:
    """Draw the weights of a module anew by the `reset_parameters` of its parts, inner parts first.

    An initialisation of the module's own, after the construction of its parts, is lost: what it sets must be in a
    `reset_parameters`. Frozen parameters (without `requires_grad`) are kept, such as those of a pretrained backbone.
    """
    for child in module.children():
        reset_weights(child)
    own = list(module.parameters(recurse=False))
    reset = _reset_function(module)
    if reset is not None and (not own or any(parameter.requires_grad for parameter in own)):
        reset()


def parts_without_reset(module: nn.Module) -> list[str]:
    """Names of the parts that hold trainable parameters of their own and no function that resets them."""
    return [
        name or type(module).__name__
        for name, part in module.named_modules()
        if any(parameter.requires_grad for parameter in part.parameters(recurse=False))
        and _reset_function(part) is None
    ]


def _reset_function(module: nn.Module) -> Callable[[], None] | None:
    """`reset_parameters`, in some modules of torch `_reset_parameters`; None without."""
    function: Callable[[], None] | None = getattr(module, "reset_parameters", None)
    return function or getattr(module, "_reset_parameters", None)

"""Trace of a small network: every number of a forward and a backward pass, checked by autograd and differences.

    from snellen.trace import example, mlp, trace_network

    trace = trace_network(example("lecture003"), steps=20)
    trace.losses[0]                                    # 0.3272405
    trace.states[0].traced.gradients["1.weight"]       # [[-0.68765, -0.38832]]
    trace.agrees                                       # with autograd and finite differences

    own = mlp(inputs=[[2, 3]], targets=[[1]], hidden=(2,), activation="tanh", seed=0)

The backward pass is written out (`layers.py`); NumPy computes it in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snellen.trace.building import mlp
    from snellen.trace.descent import trace_network, train_seeds
    from snellen.trace.examples import EXAMPLES, example
    from snellen.trace.network_file import parse_network, read_network

_MODULES = {
    "EXAMPLES": "snellen.trace.examples",
    "example": "snellen.trace.examples",
    "mlp": "snellen.trace.building",
    "parse_network": "snellen.trace.network_file",
    "read_network": "snellen.trace.network_file",
    "trace_network": "snellen.trace.descent",
    "train_seeds": "snellen.trace.descent",
}

__all__ = ["EXAMPLES", "example", "mlp", "parse_network", "read_network", "trace_network", "train_seeds"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use: help texts read `names.py` without NumPy."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_MODULES[name]), name)

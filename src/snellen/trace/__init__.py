"""Trace of a small network: every number of a forward and a backward pass, checked by autograd and differences.

    from snellen.trace import example, mlp, trace_network

    trace = trace_network(example("lecture003"), steps=20)
    trace.losses[0]                                    # 0.3272405
    trace.states[0].traced.gradients["1.weight"]       # [[-0.68765, -0.38832]]
    trace.agrees                                       # with autograd and finite differences

    own = mlp(inputs=[[2, 3]], targets=[[1]], hidden=(2,), activation="tanh", seed=0)

The backward pass is written out (`layers.py`); NumPy computes it in float64.
"""

from snellen.trace.building import mlp
from snellen.trace.descent import trace_network, train_seeds
from snellen.trace.examples import EXAMPLES, example
from snellen.trace.network_file import read_network

__all__ = ["EXAMPLES", "example", "mlp", "read_network", "trace_network", "train_seeds"]

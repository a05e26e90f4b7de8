"""FLOP counter: floating-point operations of matrix products, convolutions and sums of products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


def _fused_layers(x: Tensor, weights: Sequence[Tensor]) -> int:
    """FLOPs of recurrent layers that are one operation: each weight matrix multiplies every step of every sequence."""
    return 2 * (x.numel() // x.shape[-1]) * sum(w.numel() for w in weights if w.ndim == 2)


_FUSED = {  # of torch's LSTM on CPUs, and of all recurrent networks on NVIDIA GPUs; torch counts none
    torch.ops.aten.mkldnn_rnn_layer: lambda x, *args, **_: _fused_layers(x, args[:2]),
    torch.ops.aten.mkldnn_rnn_layer_backward: lambda x, *args, **_: 2 * _fused_layers(x, args[:2]),
    torch.ops.aten._cudnn_rnn: lambda x, weights, *_, **__: _fused_layers(x, weights),
    torch.ops.aten._cudnn_rnn_backward: lambda x, weights, *_, **__: 2 * _fused_layers(x, weights),
    torch.ops.aten.addcmul_: lambda x, *_, **__: 2 * x.numel(),  # the squared differences of dynamic time warping
}


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Context manager that counts floating-point operations by torch's formulas, two for each multiply-add.

    torch's `FlopCounterMode` counts the same, except for fused recurrent layers, and first loads torch's compiler,
    which takes two seconds.
    """

    def __init__(self) -> None:
        from torch.utils.flop_counter import flop_registry

        super().__init__()  # type: ignore[no-untyped-call]
        self.formulas = {**flop_registry, **_FUSED}
        self.count = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # skipping it would load torch's compiler

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = self.formulas.get(func._overloadpacket)
        if formula is None:  # a composite operation, which inference mode does not decompose
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        if formula is not None:
            self.count += formula(*args, **kwargs, out_val=result)
        return result

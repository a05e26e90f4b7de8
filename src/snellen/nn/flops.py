"""FLOP counter: floating-point operations of matrix products and convolutions."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Context manager that counts floating-point operations by torch's formulas, two for each multiply-add.

    torch's `FlopCounterMode` counts the same, but first loads torch's compiler, which takes two seconds.
    """

    def __init__(self) -> None:
        from torch.utils.flop_counter import flop_registry

        super().__init__()  # type: ignore[no-untyped-call]
        self.formulas = flop_registry
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

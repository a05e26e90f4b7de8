"""Import of torchvision without torch's compiler."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo.utils"


class _DeferredModule(ModuleType):
    """Stands for a module of the compiler, and imports it when anything but `is_compile_supported` is accessed."""

    @staticmethod
    def is_compile_supported(device_type: str) -> bool:
        return bool(importlib.import_module(COMPILER).is_compile_supported(device_type))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(COMPILER) is self:
            del sys.modules[COMPILER]
        return getattr(importlib.import_module(COMPILER), name)


def import_torchvision() -> None:
    """Import torchvision without torch's compiler, which takes two seconds.

    RoIAlign of torchvision 0.29 imports `is_compile_supported` from the compiler, and calls it only on a GPU. So the
    compiler is imported at that call.
    """
    if "torchvision" in sys.modules or COMPILER in sys.modules:
        return
    deferred = _DeferredModule(COMPILER)
    sys.modules[COMPILER] = deferred
    try:
        importlib.import_module("torchvision")
    finally:
        if sys.modules.get(COMPILER) is deferred:
            del sys.modules[COMPILER]

"""Linear filters, borders and pooling of signals and images, as pure functions in float64."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snellen.filters.correlation import convolve, correlate, plan_filter, products_at
    from snellen.filters.kernels import BANKS, KERNELS, gabor, gabor_bank, gaussian_derivative
    from snellen.filters.pooling import pool, pool_gradient
    from snellen.filters.windows import BORDERS

__all__ = [
    "BANKS",
    "BORDERS",
    "KERNELS",
    "convolve",
    "correlate",
    "gabor",
    "gabor_bank",
    "gaussian_derivative",
    "plan_filter",
    "pool",
    "pool_gradient",
    "products_at",
]

_MODULES = {
    "correlation": ("convolve", "correlate", "plan_filter", "products_at"),
    "kernels": ("BANKS", "KERNELS", "gabor", "gabor_bank", "gaussian_derivative"),
    "pooling": ("pool", "pool_gradient"),
    "windows": ("BORDERS",),
}


def __getattr__(name: str) -> Any:
    """Import a name on first use: the names of kernels are known without NumPy."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"snellen.filters.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Linear filters, borders and pooling of signals and images, as pure functions in float64."""

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

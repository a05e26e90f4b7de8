"""Kernels of linear filters by name: box, sharpen, Gaussian derivatives, Laplacian, Sobel, Gabor.

All kernels are float64. Element `[i, j]` of a (rows, columns) kernel lies at y = i − (rows − 1) // 2 (downwards) and
x = j − (columns − 1) // 2 (to the right). They are written for **correlation**, G[y, x] = Σ H[i, j] F[y + i, x + j],
the operation of a convolution layer: correlation with a kernel of order 1 in x is positive where the image becomes
brighter to the right. Convolution flips a kernel in both axes, which changes the sign of odd orders.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snellen.core.errors import UsageError
from snellen.filters.names import BANK_NAMES, KERNEL_NAMES

Array = NDArray[np.float64]

MAX_SIZE = 255  # elements of a side of a kernel that is made by name
MAX_SIGMA = 25.0  # pixels
MAX_ORDER = 4  # of a derivative along one axis
MIN_SIGMA = (0.05, 0.5, 0.6, 0.7, 0.8)  # pixels, by order: the kernel gives ∂ⁿxⁿ = n! within 15 % from there on
MAX_BANK = 256  # kernels of a bank
_TRUNCATE = (4.0, 4.0, 4.0, 5.0, 5.0)  # half-width in sigmas by order; 4 as scipy.ndimage.gaussian_filter has it


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """Kernel with a name.

    Args:
        summary: what it does, one line, with the formula.
        make: the kernel, (rows, columns) float64; its parameters are the settings of the kernel.
        make_1d: the kernel of a signal, (columns,) float64; None: it has none.
        source: where the kernel comes from.
    """

    summary: str
    make: Callable[..., Array]
    make_1d: Callable[..., Array] | None = None
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class KernelBank:
    """Set of kernels with a name: `make` returns name → (rows, columns) float64, all of one size."""

    summary: str
    make: Callable[..., dict[str, Array]]
    source: str = ""


def identity() -> Array:
    """Kernel (1, 1) with the value 1: the result is the image."""
    return np.ones((1, 1))


def shift(dx: int = 1, dy: int = 0) -> Array:
    """Kernel that moves the image by `dx` pixels to the right and `dy` downwards, under correlation.

    The 1 lies at x = −dx, y = −dy: G[y, x] = F[y − dy, x − dx]. Convolution moves the image the other way.
    """
    _check("dx", dx, -(MAX_SIZE // 2), MAX_SIZE // 2)
    _check("dy", dy, -(MAX_SIZE // 2), MAX_SIZE // 2)
    kernel = np.zeros((2 * abs(dy) + 1, 2 * abs(dx) + 1))
    kernel[abs(dy) - dy, abs(dx) - dx] = 1.0
    return kernel


def delta(size: int = 3) -> Array:
    """Impulse (size, size), 1 in the centre; `size` is odd."""
    _check_odd(size)
    kernel = np.zeros((size, size))
    kernel[size // 2, size // 2] = 1.0
    return kernel


def box(size: int = 3) -> Array:
    """Box filter (size, size): every element 1 / size², the mean of the neighbourhood."""
    _check("size", size, 1, MAX_SIZE)
    return np.full((size, size), 1.0 / size**2)


def sharpen(size: int = 3) -> Array:
    """Sharpening 2δ − box (size, size): the image plus its difference from the local mean (after D. Lowe)."""
    return 2.0 * delta(size) - box(size)


def gaussian_1d(order: int = 0, sigma: float = 1.0, size: int | None = None) -> Array:
    """Derivative of order `order` of a Gaussian as a kernel (size,) for correlation.

    The samples of exp(−x² / 2σ²) are normalised to the sum 1 and multiplied by the polynomial p of the derivative
    (p₀ = 1, p_{n+1} = p_n' − p_n x / σ²), at −x, as correlation does not flip: (−1)ⁿ p_n(x) g(x). It is what
    `scipy.ndimage.gaussian_filter1d` correlates with. Orders above 0 sum to 0 up to sampling and truncation only.

    Args:
        sigma: standard deviation in pixels, above 0.
        size: odd number of elements; None: 2 round(4σ) + 1, from order 3 with 5σ, at least 3.
    """
    _check("order", order, 0, MAX_ORDER)
    _check("sigma", sigma, 0.05, MAX_SIGMA)
    size = _default_size(sigma, order) if size is None else size
    _check_odd(size)
    x = np.arange(size) - size // 2.0
    bell = np.exp(-(x**2) / (2 * sigma**2))
    polynomial = np.polynomial.Polynomial([1.0])
    for _ in range(order):
        polynomial = polynomial.deriv() - polynomial * np.polynomial.Polynomial([0.0, 1.0 / sigma**2])
    return np.asarray((-1.0) ** order * polynomial(x) * bell / bell.sum(), dtype=np.float64)


def gaussian_derivative(order_x: int, order_y: int, sigma: float = 1.0, size: int | None = None) -> Array:
    """Derivative ∂^(order_x + order_y) / ∂x^order_x ∂y^order_y of a Gaussian, as a kernel (k, k) for correlation.

    The outer product of `gaussian_1d` along y and x. Correlation with it gives the derivative of the smoothed image,
    positive along a rising slope; its elements are (−1)^(order_x + order_y) times those of the derivative itself,
    which is its response to an impulse.

    Args:
        order_x, order_y: 0 to 4 each; both 0: smoothing.
        sigma: standard deviation in pixels, above 0.
        size: k, odd; None: 2 round(4σ) + 1, from order 3 with 5σ, at least 3.
    """
    for order in (order_x, order_y):
        _check("order", order, 0, MAX_ORDER)
    size = _default_size(sigma, max(order_x, order_y)) if size is None else size
    return np.outer(gaussian_1d(order_y, sigma, size), gaussian_1d(order_x, sigma, size))


def laplacian() -> Array:
    """Laplacian (3, 3) of four neighbours: ∂²/∂x² + ∂²/∂y² by central differences, [0 1 0; 1 −4 1; 0 1 0]."""
    return np.array([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])


def sobel_x() -> Array:
    """Sobel kernel (3, 3) of ∂/∂x: [1 2 1] down, [−1 0 1] across; 8 times the slope of a ramp."""
    return np.outer([1.0, 2.0, 1.0], [-1.0, 0.0, 1.0])


def sobel_y() -> Array:
    """Sobel kernel (3, 3) of ∂/∂y, positive where the image becomes brighter downwards: the transpose of Sobel x."""
    return sobel_x().T.copy()


def gabor(
    wavelength: float = 6.0,
    orientation: float = 0.0,
    phase: float = 0.0,
    sigma: float | None = None,
    aspect: float = 0.5,
    size: int | None = None,
) -> Array:
    """Gabor kernel (k, k): a cosine under a Gaussian, exp(−(x'² + γ² y'²) / 2σ²) cos(2π x' / λ + φ).

    x' = x cos θ + y sin θ, y' = −x sin θ + y cos θ, with y downwards (Jones and Palmer 1987; Petkov 1995).

    Args:
        wavelength: λ in pixels, at least 2.
        orientation: θ in degrees, the direction in which the cosine varies: 0 responds to vertical edges and bars.
        phase: φ in degrees: 0 is even (bars), 90 odd (edges: 90 is positive where the image becomes darker along x').
        sigma: σ in pixels; None: 0.56 λ, a bandwidth of one octave.
        aspect: γ, above 0: below 1 the kernel is longer along its bars.
        size: k, odd; None: 2 ⌈3σ / min(1, γ)⌉ + 1.
    """
    _check("wavelength", wavelength, 2.0, MAX_SIZE)
    _check("orientation", orientation, -360.0, 360.0)
    _check("phase", phase, -360.0, 360.0)
    _check("aspect", aspect, 0.05, 20.0)
    sigma = 0.56 * wavelength if sigma is None else sigma
    _check("sigma", sigma, 0.05, MAX_SIZE)
    size = _gabor_size(sigma, aspect) if size is None else size
    _check_odd(size)
    axis = np.arange(size) - size // 2.0
    y, x = np.meshgrid(axis, axis, indexing="ij")
    theta = math.radians(orientation)
    along, across = x * math.cos(theta) + y * math.sin(theta), -x * math.sin(theta) + y * math.cos(theta)
    envelope = np.exp(-(along**2 + aspect**2 * across**2) / (2 * sigma**2))
    return np.asarray(envelope * np.cos(2 * math.pi * along / wavelength + math.radians(phase)), dtype=np.float64)


def gabor_bank(
    orientations: int = 4,
    wavelengths: Sequence[float] = (4.0, 8.0),
    phases: Sequence[float] = (0.0, 90.0),
    aspect: float = 0.5,
    size: int | None = None,
) -> dict[str, Array]:
    """Bank of Gabor kernels: every wavelength with every phase and `orientations` angles, 180° / orientations apart.

    Returns:
        name ("λ 4, θ 45°, φ 90°") → (k, k), σ = 0.56 λ.
    Args:
        size: k of all; None: that of the longest wavelength.
    """
    _check("orientations", orientations, 1, 64)
    if not len(wavelengths) or not len(phases) or orientations * len(wavelengths) * len(phases) > MAX_BANK:
        count = orientations * len(wavelengths) * len(phases)
        raise UsageError(f"A bank of {count} kernels", f"Give 1 to {MAX_BANK} kernels: fewer angles or wavelengths.")
    size = _gabor_size(0.56 * max(wavelengths), aspect) if size is None else size
    return {
        f"λ {wavelength:g}, θ {angle:g}°, φ {phase:g}°": gabor(wavelength, angle, phase, aspect=aspect, size=size)
        for wavelength in wavelengths
        for phase in phases
        for angle in (180.0 * k / orientations for k in range(orientations))
    }


def gaussian_derivative_bank(sigma: float = 1.0, size: int | None = None) -> dict[str, Array]:
    """The Gaussian and its derivatives of orders 1 and 2 along x, y and mixed, and ∂x³: name → (k, k)."""
    _check_sampling(3, sigma)
    size = _default_size(sigma, 3) if size is None else size
    orders = {"g": (0, 0), "∂x": (1, 0), "∂y": (0, 1), "∂x²": (2, 0), "∂x∂y": (1, 1), "∂y²": (0, 2), "∂x³": (3, 0)}
    return {name: gaussian_derivative(*order, sigma, size) for name, order in orders.items()}


def _gaussian(order: tuple[int, int] = (0, 0), sigma: float = 1.0, size: int | None = None) -> Array:
    _check_sampling(max(order), sigma)
    return gaussian_derivative(*order, sigma, size)


def _gaussian_of_signal(order: tuple[int, int] = (0, 0), sigma: float = 1.0, size: int | None = None) -> Array:
    if order[1]:
        raise UsageError(f"--order {order[0]},{order[1]}: a signal has no y axis", f"Give --order {order[0]},0.")
    _check_sampling(order[0], sigma)
    return gaussian_1d(order[0], sigma, size)


def _of_order(x: int, y: int) -> dict[str, Any]:
    """`make` and `make_1d` of a Gaussian derivative of one order."""

    def make(sigma: float = 1.0, size: int | None = None) -> Array:
        _check_sampling(max(x, y), sigma)
        return gaussian_derivative(x, y, sigma, size)

    def make_1d(sigma: float = 1.0, size: int | None = None) -> Array:
        _check_sampling(x, sigma)
        return gaussian_1d(x, sigma, size)

    return {"make": make, "make_1d": None if y else make_1d, "source": "Lecture 004; Young 1987"}


def _shift_1d(dx: int = 1) -> Array:
    return shift(dx).reshape(-1)


def _box_1d(size: int = 3) -> Array:
    _check("size", size, 1, MAX_SIZE)
    return np.full(size, 1.0 / size)


def _sharpen_1d(size: int = 3) -> Array:
    return 2.0 * delta(size).diagonal() - _box_1d(size)


KERNELS: dict[str, Kernel] = {
    "identity": Kernel(
        summary=KERNEL_NAMES["identity"], make=identity, make_1d=lambda: np.ones(1), source="Lecture 003"
    ),
    "shift": Kernel(summary=KERNEL_NAMES["shift"], make=shift, make_1d=_shift_1d, source="Lecture 003"),
    "box": Kernel(summary=KERNEL_NAMES["box"], make=box, make_1d=_box_1d, source="Lecture 003"),
    "sharpen": Kernel(
        summary=KERNEL_NAMES["sharpen"], make=sharpen, make_1d=_sharpen_1d, source="Lecture 003, after D. Lowe"
    ),
    "gaussian": Kernel(
        summary=KERNEL_NAMES["gaussian"],
        make=_gaussian,
        make_1d=_gaussian_of_signal,
        source="Lecture 004; Young 1987",
    ),
    "gaussian-x": Kernel(summary=KERNEL_NAMES["gaussian-x"], **_of_order(1, 0)),
    "gaussian-y": Kernel(summary=KERNEL_NAMES["gaussian-y"], **_of_order(0, 1)),
    "gaussian-xx": Kernel(summary=KERNEL_NAMES["gaussian-xx"], **_of_order(2, 0)),
    "gaussian-xy": Kernel(summary=KERNEL_NAMES["gaussian-xy"], **_of_order(1, 1)),
    "gaussian-yy": Kernel(summary=KERNEL_NAMES["gaussian-yy"], **_of_order(0, 2)),
    "gaussian-xxx": Kernel(summary=KERNEL_NAMES["gaussian-xxx"], **_of_order(3, 0)),
    "laplacian": Kernel(
        summary=KERNEL_NAMES["laplacian"],
        make=laplacian,
        make_1d=lambda: np.array([1.0, -2.0, 1.0]),
        source="central differences",
    ),
    "sobel-x": Kernel(
        summary=KERNEL_NAMES["sobel-x"],
        make=sobel_x,
        make_1d=lambda: np.array([-1.0, 0.0, 1.0]),
        source="Sobel and Feldman 1968",
    ),
    "sobel-y": Kernel(summary=KERNEL_NAMES["sobel-y"], make=sobel_y, source="Sobel and Feldman 1968"),
    "gabor": Kernel(
        summary=KERNEL_NAMES["gabor"],
        make=gabor,
        source="Lecture 004; Jones and Palmer 1987",
    ),
}

BANKS: dict[str, KernelBank] = {
    "gabor-bank": KernelBank(summary=BANK_NAMES["gabor-bank"], make=gabor_bank, source="Lecture 004"),
    "gaussian-bank": KernelBank(
        summary=BANK_NAMES["gaussian-bank"],
        make=gaussian_derivative_bank,
        source="Lecture 004; Young 1987",
    ),
}


def _default_size(sigma: float, order: int = 0) -> int:
    _check("sigma", sigma, 0.05, MAX_SIGMA)
    return min(MAX_SIZE, 2 * max(1, int(_TRUNCATE[order] * sigma + 0.5)) + 1)


def _gabor_size(sigma: float, aspect: float) -> int:
    return min(MAX_SIZE, 2 * math.ceil(3 * sigma / min(1.0, aspect)) + 1)


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # False for NaN
        raise UsageError(f"{name} {value} of a kernel", f"Give a value from {low:g} to {high:g}.")


def _check_sampling(order: int, sigma: float) -> None:
    """Raise UsageError where samples at whole pixels are too far apart for a derivative of a Gaussian."""
    if 0 <= order <= MAX_ORDER and 0.05 <= sigma < MIN_SIGMA[order]:
        raise UsageError(
            f"sigma {sigma:g} of a derivative of order {order}: its samples, a pixel apart, give another kernel",
            f"Give a value of at least {MIN_SIGMA[order]:g}.",
        )


def _check_odd(size: int) -> None:
    _check("size", size, 1, MAX_SIZE)
    if size % 2 == 0:
        raise UsageError(f"size {size} of a kernel with a centre", f"Give an odd size: {size - 1} or {size + 1}.")

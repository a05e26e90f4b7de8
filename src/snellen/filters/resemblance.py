"""Resemblance of a learned filter to a derivative of a Gaussian or to a Gabor filter.

The measure is the normalised correlation r = f·t / (‖f‖ ‖t‖) of filter and template; r² is the fraction of the sum of
squares of the filter that the template explains. Scale and sign are free. Means are not subtracted: a constant filter
has no derivative. Templates are centred in the filter and written for correlation, as those of `kernels`.

Small filters resemble everything: nine numbers are matched well by a template with four free parameters. So a filter
resembles a kind of template only if r exceeds what 97.5 % of random filters of its size (independent normal elements)
reach after the same search: with two kinds, at most 5 % of random filters pass (`LIMITS`).

Source: Jones and Palmer 1987 (Gabor filters of the visual cortex); Young 1987 (derivatives of Gaussians); lecture 004.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from snellen.core.errors import UsageError

Array = NDArray[np.float64]
Basis = Callable[[Array, Array, Array], Array]

MIN_SIDE, MAX_SIDE = 3, 31  # elements of a side of a filter
ASPECTS = (0.5, 1.0)  # of Gabor templates: twice as long as wide, and round
MIN_SIGMA = 0.5  # pixels; below it a sampled derivative is hardly one
_ROUNDS, _LAST_STEP = 60, 1e-5  # of the local search

# Side of a filter: 97.5 % quantiles of the best r of 4,000 random filters, for derivatives and for Gabor filters; of
# side 13 from 2,000, of side 16 from 1,000. `tests/filters/test_resemblance.py` measures them again.
LIMITS: dict[int, tuple[float, float]] = {
    3: (0.895, 0.968),
    4: (0.757, 0.852),
    5: (0.638, 0.743),
    6: (0.554, 0.652),
    7: (0.484, 0.576),
    9: (0.387, 0.471),
    11: (0.320, 0.400),
    13: (0.271, 0.350),
    16: (0.226, 0.285),
}


@dataclass(frozen=True, kw_only=True)
class Match:
    """The template of one kind that a filter resembles most.

    Args:
        kind: "derivative" or "gabor".
        family: "Gaussian", "first derivative", "second derivative", "mixed derivative" or "Gabor".
        correlation: r, 0 to 1.
        limit: r that 97.5 % of random filters of this size do not exceed.
        sigma: σ of the Gaussian in pixels.
        orientation: degrees from the x axis towards the y axis, which points downwards: the direction of the
            derivative or of the wave; of a mixed derivative, the first of its two directions. None: it has none.
        sign: −1 if the filter resembles the negative template.
        wavelength, phase, aspect: of a Gabor filter: pixels, degrees, length to width of the Gaussian (γ).
        template: (h, w) with norm 1, with its sign.
    """

    kind: str
    family: str
    correlation: float
    limit: float
    sigma: float
    orientation: float | None
    sign: int
    template: Array
    wavelength: float | None = None
    phase: float | None = None
    aspect: float | None = None

    @property
    def explained(self) -> float:
        """Fraction of the sum of squares that the template explains, r²."""
        return self.correlation**2

    @property
    def margin(self) -> float:
        """How far r lies above its limit: 1 at r = 1, 0 at the limit, negative below it."""
        return (self.correlation - self.limit) / (1 - self.limit)

    @property
    def name(self) -> str:
        """Name with the sign: "−second derivative"."""
        return f"−{self.family}" if self.sign < 0 else self.family

    @property
    def parameters(self) -> str:
        """The parameters in one line: "45°, σ 1.2"."""
        parts = [] if self.orientation is None else [f"{self.orientation:.0f}°"]
        if self.wavelength is not None:
            parts += [f"λ {self.wavelength:.1f}", f"φ {self.phase:.0f}°"]
        return ", ".join([*parts, f"σ {self.sigma:.2g}"]).replace("-", "−")


@dataclass(frozen=True, kw_only=True)
class Resemblance:
    """What a learned filter (C, h, w) resembles.

    Args:
        pattern: (h, w), its first principal component over the channels; of one channel, the filter itself.
        colour: (C,) the weights of the channels, with norm 1; the largest is positive.
        colour_fraction: fraction of the sum of squares of the filter that colour × pattern explains; 1 for one channel.
        derivative, gabor: the best match of each kind; None for a filter that is zero.
    """

    pattern: Array
    colour: Array
    colour_fraction: float
    derivative: Match | None
    gabor: Match | None

    @property
    def best(self) -> Match | None:
        """The match that lies further above its limit; None: the filter resembles neither."""
        matches = [match for match in (self.derivative, self.gabor) if match is not None and match.margin > 0]
        return max(matches, key=lambda match: match.margin, default=None)

    @property
    def explained(self) -> float:
        """Fraction of the sum of squares of the whole filter, all channels, that the best match explains; else 0."""
        return 0.0 if self.best is None else self.colour_fraction * self.best.explained


@dataclass(frozen=True, kw_only=True)
class _Family:
    """Templates with nonlinear parameters (searched) and one or two linear ones (solved exactly).

    Args:
        grids: values of each nonlinear parameter at which the search begins, equally spaced.
        circular: period of each parameter, 0: bounded by its grid.
        basis: (N, P) parameters, y (K,), x (K,) to (N, m, K), the basis of the templates.
    """

    name: str
    kind: str
    grids: tuple[Array, ...]
    circular: tuple[float, ...]
    basis: Basis
    aspect: float = 1.0


def principal_component(filters: Array) -> tuple[Array, Array, Array]:
    """First principal component of filters over their channels, not centred: filter ≈ colour × pattern.

    Args:
        filters: (N, C, h, w).
    Returns:
        colour (N, C) with norm 1, whose largest element is positive; pattern (N, h, w); fraction of the sum of squares
        (N,), 1 for a filter that is zero.
    """
    n, channels, height, width = filters.shape
    left, singular, right = np.linalg.svd(filters.reshape(n, channels, -1), full_matrices=False)
    colour = left[:, :, 0]
    largest = np.take_along_axis(colour, np.abs(colour).argmax(1)[:, None], axis=1)
    sign = np.where(largest < 0, -1.0, 1.0)
    total = np.square(singular).sum(1)
    fraction = np.where(total > 0, np.square(singular[:, 0]) / np.where(total > 0, total, 1), 1.0)
    pattern = sign[:, :, None] * singular[:, :1, None] * right[:, :1].reshape(n, height, width)
    return sign * colour, pattern, fraction


def resemblances(filters: Array) -> list[Resemblance]:
    """What each of the filters resembles.

    Args:
        filters: (N, C, h, w), sides from 3 to 31.
    Raises:
        UsageError: if the filters have another shape, or an element is not finite.
    """
    filters = np.asarray(filters, dtype=np.float64)
    _check(filters)
    colours, patterns, fractions = principal_component(filters)
    norms = np.sqrt(np.square(patterns).sum((1, 2)))
    alive = np.flatnonzero(norms > 0)
    units = patterns[alive] / norms[alive, None, None]
    by_kind = {
        kind: dict(zip(alive.tolist(), _best_matches(units, kind), strict=True)) for kind in ("derivative", "gabor")
    }
    return [
        Resemblance(
            pattern=patterns[k],
            colour=colours[k],
            colour_fraction=float(fractions[k]),
            derivative=by_kind["derivative"].get(k),
            gabor=by_kind["gabor"].get(k),
        )
        for k in range(len(filters))
    ]


def limits(height: int, width: int) -> tuple[float, float]:
    """r that 97.5 % of random filters do not exceed: of derivatives, of Gabor filters.

    Measured for the square sizes of `LIMITS`; linear in 1 / √(height · width) between and beyond them.
    """
    sides = sorted(LIMITS, reverse=True)
    at = 1 / math.sqrt(height * width)
    inverse = [1 / side for side in sides]
    if at < inverse[0]:  # larger than all that were measured: r falls with the root of the number of elements
        return LIMITS[sides[0]][0] * at / inverse[0], LIMITS[sides[0]][1] * at / inverse[0]
    derivative, gabor = (float(np.interp(at, inverse, [LIMITS[side][k] for side in sides])) for k in (0, 1))
    return derivative, gabor


def best_correlations(filters: Array, kind: str) -> Array:
    """The best r of each filter (N, h, w) with the templates of a kind, (N,)."""
    flat = filters.reshape(len(filters), -1)
    units = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    fits = [_search(units, family, filters.shape[1:]) for family in _families(kind, *filters.shape[1:])]
    return np.asarray(np.max([scores for _, scores in fits], axis=0))


def _check(filters: Array) -> None:
    shape = "x".join(map(str, filters.shape))
    if filters.ndim != 4 or 0 in filters.shape:
        raise UsageError(f"Filters of shape {shape}", "Give (filters, channels, height, width).")
    short, long = min(filters.shape[2:]), max(filters.shape[2:])
    if short < MIN_SIDE or long > MAX_SIDE:
        reason = "small" if short < MIN_SIDE else "large"
        raise UsageError(
            f"Filters of {filters.shape[3]}x{filters.shape[2]} elements are too {reason}",
            f"Compare filters with {MIN_SIDE} to {MAX_SIDE} elements a side.",
        )
    if not np.isfinite(filters).all():
        raise UsageError("A filter with an element that is not finite", "Compare filters of finite numbers.")


def _axes(height: int, width: int) -> tuple[Array, Array]:
    """y and x of each element, (h · w,), from the centre."""
    y, x = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    return y.ravel(), x.ravel()


def _bell(p: Array, y: Array, x: Array) -> tuple[Array, Array]:
    """The Gaussian (N, K) of parameters whose first column is log σ, and σ² (N, 1)."""
    variance = np.exp(2 * p[:, :1])
    return np.exp(-(x**2 + y**2) / (2 * variance)), variance


def _gaussian(p: Array, y: Array, x: Array) -> Array:
    return _bell(p, y, x)[0][:, None]


def _first(p: Array, y: Array, x: Array) -> Array:
    """∂/∂x and ∂/∂y, which span the derivatives in all directions (Freeman and Adelson 1991)."""
    bell, _ = _bell(p, y, x)
    return np.stack([x * bell, y * bell], axis=1)


def _second(p: Array, y: Array, x: Array) -> Array:
    """∂²/∂v² in the direction v of the second parameter."""
    bell, variance = _bell(p, y, x)
    along = x * np.cos(p[:, 1:2]) + y * np.sin(p[:, 1:2])
    return ((along**2 / variance - 1) * bell)[:, None]


def _mixed(p: Array, y: Array, x: Array) -> Array:
    """∂²/∂x∂y and (∂²/∂y² − ∂²/∂x²) / 2, which span ∂²/∂u∂v of all perpendicular directions u, v."""
    bell, _ = _bell(p, y, x)
    return np.stack([x * y * bell, (y**2 - x**2) / 2 * bell], axis=1)


def _wave(aspect: float) -> Basis:
    def basis(p: Array, y: Array, x: Array) -> Array:
        """Cosine and sine under a Gaussian, which span all phases; parameters: log σ, θ, log λ."""
        sigma, theta, wavelength = np.exp(p[:, :1]), p[:, 1:2], np.exp(p[:, 2:3])
        along, across = x * np.cos(theta) + y * np.sin(theta), -x * np.sin(theta) + y * np.cos(theta)
        bell = np.exp(-(along**2 + aspect**2 * across**2) / (2 * sigma**2))
        angle = 2 * math.pi * along / wavelength
        return np.stack([bell * np.cos(angle), bell * np.sin(angle)], axis=1)

    return basis


def _families(kind: str, height: int, width: int) -> list[_Family]:
    side = max(height, width)
    sigmas = np.linspace(math.log(MIN_SIGMA), math.log(side / 2), 8)
    angles = np.arange(12) * math.pi / 12
    if kind == "derivative":
        return [
            _Family(name="Gaussian", kind=kind, grids=(sigmas,), circular=(0,), basis=_gaussian),
            _Family(name="first derivative", kind=kind, grids=(sigmas,), circular=(0,), basis=_first),
            _Family(name="second derivative", kind=kind, grids=(sigmas, angles), circular=(0, math.pi), basis=_second),
            _Family(name="mixed derivative", kind=kind, grids=(sigmas,), circular=(0,), basis=_mixed),
        ]
    waves = np.linspace(math.log(2.0), math.log(2.0 * side), 8)
    return [
        _Family(
            name="Gabor",
            kind=kind,
            grids=(sigmas, angles, waves),
            circular=(0, math.pi, 0),
            basis=_wave(aspect),
            aspect=aspect,
        )
        for aspect in ASPECTS
    ]


def _orthonormal(basis: Array) -> Array:
    """Orthonormal basis (..., m, K) of the same span, m = 1 or 2; a direction without length becomes zero."""
    first: Array = basis[..., 0, :]
    first = first / np.maximum(np.linalg.norm(first, axis=-1, keepdims=True), 1e-300)
    if basis.shape[-2] == 1:
        return first[..., None, :]
    second = basis[..., 1, :]
    length = np.linalg.norm(second, axis=-1, keepdims=True)
    for _ in range(2):  # twice is enough (Kahan, in Parlett 1980)
        second = second - (second * first).sum(-1, keepdims=True) * first
    rest = np.linalg.norm(second, axis=-1, keepdims=True)
    second = np.where(rest > 1e-9 * np.maximum(length, 1e-300), second / np.maximum(rest, 1e-300), 0.0)
    return np.stack([first, second], axis=-2)


def _dictionary(family: _Family, height: int, width: int) -> tuple[Array, Array]:
    """All templates of the grid of a family: parameters (A, P), orthonormal bases (A, m, K)."""
    points = np.stack([axis.ravel() for axis in np.meshgrid(*family.grids, indexing="ij")], axis=1)
    return points, _orthonormal(family.basis(points, *_axes(height, width)))


def _search(units: Array, family: _Family, size: Sequence[int]) -> tuple[Array, Array]:
    """Best parameters (N, P) and r (N,) of unit vectors (N, K): the best of the grid, then a local search.

    The local search looks at all neighbours at the distance of a step, moves to the best, and halves the step where
    there is no better one.
    """
    y, x = _axes(*size)
    points, bases = _dictionary(family, *size)
    scores = np.square(np.einsum("nk,amk->nam", units, bases, optimize=True)).sum(2)
    parameters = points[scores.argmax(1)]
    best = scores.max(1)
    low, high = (np.array([end(grid) for grid in family.grids]) for end in (np.min, np.max))
    bounded = np.array([period == 0 for period in family.circular])
    spacing = np.array([grid[1] - grid[0] for grid in family.grids])
    steps = np.repeat(spacing[None] / 2, len(units), axis=0)
    moves = np.array([move for move in itertools.product((-1, 0, 1), repeat=len(spacing)) if any(move)], dtype=float)
    active = np.arange(len(units))
    for _ in range(_ROUNDS):
        near = parameters[active, None] + moves * steps[active, None]  # (N, M, P)
        near = np.where(bounded, np.clip(near, low, high), near)
        flat = near.reshape(-1, near.shape[-1])
        q = _orthonormal(family.basis(flat, y, x)).reshape(*near.shape[:2], -1, len(y))
        values = np.square(np.einsum("nk,namk->nam", units[active], q, optimize=True)).sum(2)
        choice = values.argmax(1)
        rows = np.arange(len(active))
        better = values[rows, choice] > best[active]
        moved = active[better]
        parameters[moved], best[moved] = near[rows, choice][better], values[rows, choice][better]
        steps[active[~better]] /= 2
        active = active[steps[active].max(1) > _LAST_STEP]
        if not len(active):
            break
    return parameters, np.sqrt(np.minimum(best, 1.0))


def _best_matches(units: Array, kind: str) -> list[Match]:
    """The best match of each unit filter (N, h, w) with the templates of a kind."""
    size = units.shape[1:]
    flat = units.reshape(len(units), -1)
    families = _families(kind, *size)
    fits = [_search(flat, family, size) for family in families]
    choice = np.argmax([scores for _, scores in fits], axis=0) if len(units) else []
    limit = limits(*size)[0 if kind == "derivative" else 1]
    return [_match(flat[n], families[k], fits[k][0][n], limit, size) for n, k in enumerate(choice)]


def _match(unit: Array, family: _Family, parameters: Array, limit: float, size: Sequence[int]) -> Match:
    """The template at the given parameters, with its linear parameters solved."""
    basis = family.basis(parameters[None], *_axes(*size))[0]
    weights = np.linalg.lstsq(basis.T, unit, rcond=1e-9)[0]
    template = weights @ basis
    template = template / max(float(np.linalg.norm(template)), 1e-300)
    degrees = [math.degrees(float(value)) for value in parameters]
    orientation, sign, phase, wavelength = None, 1, None, None
    if family.name == "first derivative":
        orientation = math.degrees(math.atan2(weights[1], weights[0])) % 360
    elif family.name == "mixed derivative":  # ∂²/∂u∂v = cos 2θ ∂²/∂x∂y + sin 2θ (∂²/∂y² − ∂²/∂x²) / 2
        orientation = math.degrees(math.atan2(weights[1], weights[0])) / 2 % 180
    elif family.name == "Gabor":
        orientation, wavelength = degrees[1], math.exp(parameters[2])
        phase = math.degrees(math.atan2(-weights[1], weights[0]))
        if orientation % 360 >= 180:  # the same wave in the other direction
            phase = -phase
        orientation %= 180
    else:
        sign = -1 if weights[0] < 0 else 1
        orientation = degrees[1] % 180 if len(degrees) > 1 else None
    return Match(
        kind=family.kind,
        family=family.name,
        correlation=min(1.0, float(template @ unit)),
        limit=limit,
        sigma=math.exp(parameters[0]),
        orientation=orientation,
        sign=sign,
        template=template.reshape(*size),
        wavelength=wavelength,
        phase=phase,
        aspect=family.aspect if family.name == "Gabor" else None,
    )

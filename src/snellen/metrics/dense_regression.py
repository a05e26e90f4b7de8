"""How well numbers of pixels were told, by what each kind of them is judged by in its field.

Of each picture a few sums are kept; every figure is a function of sums over pictures, so each pixel counts alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from snellen.metrics import boundary

CLOSE = 1.25  # depth: the ratio within which it counts as right
WITHIN = 11.25  # degrees
BINS = 1800  # of a tenth of a degree
LARGE, SHARE = 3.0, 0.05  # flow: an error above 3 pixels and 5 % counts as wrong


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of a kind of maps.

    Args:
        of: (R, S) sums over pictures to (R,); NaN where it is undefined.
        unit: whether it is in the unit of the numbers; `own_unit`: another.
    """

    of: Callable[[Tensor], Tensor]
    higher: bool = False
    percent: bool = False
    unit: bool = False
    own_unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Judge:
    """How a kind of maps is judged.

    Args:
        sums: said and true numbers of a picture, (T, H, W) with NaN for no truth, to (S,) float64.
        figures: the headline first.
    """

    sums: Callable[[Tensor, Tensor], Tensor]
    figures: Mapping[str, Figure]


def known(said: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """(T, P) float64 of the pixels whose every number has a truth."""
    there = torch.isfinite(truth).all(0)
    return said.double()[:, there], truth.double()[:, there]


def _mean(place: int) -> Callable[[Tensor], Tensor]:
    return lambda sums: sums[..., place] / sums[..., 0]


# -- depth -----------------------------------------------------------------------------------------------------------


def depth(said: Tensor, truth: Tensor) -> Tensor:
    """Pixels, Σ |d − d*| / d*, those with max(d/d*, d*/d) < 1.25, Σ (d − d*)²; where d* > 0.

    Source: Eigen, Puhrsch and Fergus 2014, section 4.
    """
    d, t = known(said, truth)
    d, t = d[:, t[0] > 0], t[:, t[0] > 0]
    close = (torch.maximum(d / t, t / d.clamp(min=torch.finfo(d.dtype).tiny)) < CLOSE) & (d > 0)
    return torch.stack(
        [
            torch.tensor(float(d.shape[1])).double(),
            ((d - t).abs() / t).sum(),
            close.double().sum(),
            (d - t).square().sum(),
        ]
    )


# -- normals ---------------------------------------------------------------------------------------------------------


def angles(said: Tensor, truth: Tensor) -> Tensor:
    """(3, P) to (P,) degrees between two directions, by atan2(|a × b|, a · b), which is exact near 0 and 180."""
    return torch.rad2deg(torch.atan2(torch.linalg.cross(said, truth, dim=0).norm(dim=0), (said * truth).sum(0)))


def normals(said: Tensor, truth: Tensor) -> Tensor:
    """Pixels, Σ angle, those within 11.25°, and a histogram of the angles by tenths of a degree.

    Source: Fouhey, Gupta and Hebert 2013, section 5; Eigen and Fergus 2015.
    """
    angle = angles(*known(said, truth))
    bins = torch.bincount((angle * 10).long().clamp(max=BINS - 1), minlength=BINS)
    head = torch.tensor([len(angle), float(angle.sum()), float((angle <= WITHIN).sum())], dtype=torch.float64)
    return torch.cat([head, bins.double()])


def median_angle(sums: Tensor) -> Tensor:
    """Degrees, to a tenth: the place in the histogram with half of the pixels below."""
    bins = sums[..., 3:]
    below = bins.cumsum(-1)
    half = sums[..., :1] / 2
    place = (below < half).sum(-1, keepdim=True).clamp(max=BINS - 1)  # the bin that holds the median
    inside = bins.gather(-1, place)
    part = (half - below.gather(-1, place) + inside) / inside
    return torch.where(sums[..., 0] > 0, ((place + part) / 10)[..., 0], torch.nan)


# -- reflectance, flow, numbers --------------------------------------------------------------------------------------


def reflectance(said: Tensor, truth: Tensor) -> Tensor:
    """Numbers, the least Σ (αp − r)² over one α for the picture, and Σ (p − r)².

    Source: Grosse, Johnson, Adelson and Freeman 2009, section 4 (the local error of its windows is not taken).
    """
    p, r = known(said, truth)
    scale = (p * r).sum() / p.square().sum().clamp(min=torch.finfo(p.dtype).tiny)
    return torch.stack(
        [torch.tensor(float(p.numel())).double(), (scale * p - r).square().sum(), (p - r).square().sum()]
    )


def flow(said: Tensor, truth: Tensor) -> Tensor:
    """Pixels, Σ of the distance between the end points, those farther than 3 pixels and 5 % of the true length.

    Source: Baker et al. 2011 (end-point error); Menze and Geiger 2015 (outliers).
    """
    u, t = known(said, truth)
    error = (u - t).norm(dim=0)
    wrong = (error > LARGE) & (error > SHARE * t.norm(dim=0))
    return torch.stack([torch.tensor(float(len(error))).double(), error.sum(), wrong.double().sum()])


def numbers(said: Tensor, truth: Tensor) -> Tensor:
    """Pixels, then for each number Σ |e|, Σ e², Σ t and Σ t²."""
    y, t = known(said, truth)
    e = y - t
    return torch.cat(
        [torch.tensor([float(t.shape[1])]).double(), e.abs().sum(1), e.square().sum(1), t.sum(1), t.square().sum(1)]
    )


def r2(sums: Tensor) -> Tensor:
    """1 − Σ e² / Σ (t − mean t)², the mean over numbers; (..., 1 + 4T) to (...), NaN where a number never varies."""
    _, squares, total, own = sums[..., 1:].reshape(*sums.shape[:-1], 4, -1).unbind(-2)  # (..., T)
    return (1 - squares / (own - total.square() / sums[..., :1])).mean(-1)


def _of_numbers(names: tuple[str, ...]) -> dict[str, Figure]:
    """One number is judged by its error; several, whose units may differ, by the variance explained."""
    if len(names) == 1:
        return {
            "mean absolute error": Figure(of=_mean(1), unit=True),
            "root mean squared error": Figure(of=lambda s: (s[..., 2] / s[..., 0]).sqrt(), unit=True),
            "R2": Figure(of=r2, higher=True),
        }
    each = {f"mean absolute error of {name}": Figure(of=_mean(1 + k), unit=True) for k, name in enumerate(names)}
    return {"R2": Figure(of=r2, higher=True), **each}


def judge(kind: str, names: tuple[str, ...]) -> Judge:
    """How maps of a kind are judged.

    Args:
        kind: as in `PixelNumbers`.
        names: of the numbers.
    """
    if kind == "depth":
        return Judge(
            sums=depth,
            figures={
                "abs-rel": Figure(of=_mean(1)),
                "δ < 1.25": Figure(of=_mean(2), higher=True, percent=True),
                "root mean squared error": Figure(of=lambda s: (s[..., 3] / s[..., 0]).sqrt(), unit=True),
            },
        )
    if kind == "normals":
        return Judge(
            sums=normals,
            figures={
                "mean angular error": Figure(of=_mean(1), own_unit="°"),
                "median angular error": Figure(of=median_angle, own_unit="°"),
                "within 11.25°": Figure(of=_mean(2), higher=True, percent=True),
            },
        )
    if kind == "edges":
        return Judge(
            sums=lambda said, truth: boundary.counts(said[0], truth[0]),
            figures={"boundary F": Figure(of=boundary.f_measure, higher=True, percent=True)},
        )
    if kind == "reflectance":
        return Judge(sums=reflectance, figures={"scale-invariant MSE": Figure(of=_mean(1)), "MSE": Figure(of=_mean(2))})
    if kind == "flow":
        return Judge(
            sums=flow,
            figures={
                "end-point error": Figure(of=_mean(1), unit=True),
                "off by > 3 px and 5 %": Figure(of=_mean(2), percent=True),
            },
        )
    return Judge(sums=numbers, figures=_of_numbers(names))

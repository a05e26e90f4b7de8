"""Dense regression metrics: depth, surface normals, edges, reflectance, optical flow, and plain numbers.

Each image gives a few sums; every metric is a function of sums over images, so all pixels count equally.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from snellen.metrics import boundary

DELTA_THRESHOLD = 1.25  # depth: ratio below which a pixel counts as correct
ANGLE_THRESHOLD = 11.25  # degrees
ANGLE_BINS = 1800  # of a tenth of a degree
OUTLIER_PIXELS, OUTLIER_FRACTION = 3.0, 0.05  # flow: an error above 3 pixels and 5 % is an outlier


@dataclass(frozen=True, kw_only=True)
class MetricDefinition:
    """One metric as a function of sums over images.

    Args:
        from_sums: (R, S) sums over images to (R,); NaN where it is undefined.
        in_target_unit: whether it has the unit of the target; `fixed_unit`: another unit.
    """

    from_sums: Callable[[Tensor], Tensor]
    higher_is_better: bool = False
    percent: bool = False
    in_target_unit: bool = False
    fixed_unit: str = ""


@dataclass(frozen=True, kw_only=True)
class MetricSuite:
    """The metrics of one kind of dense targets.

    Args:
        image_sums: prediction and truth of an image, (T, H, W) with NaN where there is no truth, to (S,) float64.
        metrics: by name, the headline first.
    """

    image_sums: Callable[[Tensor, Tensor], Tensor]
    metrics: Mapping[str, MetricDefinition]


def valid_pixels(predicted: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Prediction and truth, (T, P) float64, at the pixels where all T numbers have a truth."""
    valid = torch.isfinite(truth).all(0)
    return predicted.double()[:, valid], truth.double()[:, valid]


def _mean(index: int) -> Callable[[Tensor], Tensor]:
    return lambda sums: sums[..., index] / sums[..., 0]


# -- depth -----------------------------------------------------------------------------------------------------------


def depth_sums(predicted: Tensor, truth: Tensor) -> Tensor:
    """Depth: pixels, Σ |d − d*| / d*, pixels with max(d/d*, d*/d) < 1.25, Σ (d − d*)²; where d* > 0.

    Source: Eigen, Puhrsch and Fergus 2014, section 4.
    """
    d, t = valid_pixels(predicted, truth)
    d, t = d[:, t[0] > 0], t[:, t[0] > 0]
    close = (torch.maximum(d / t, t / d.clamp(min=torch.finfo(d.dtype).tiny)) < DELTA_THRESHOLD) & (d > 0)
    return torch.stack(
        [
            torch.tensor(float(d.shape[1])).double(),
            ((d - t).abs() / t).sum(),
            close.double().sum(),
            (d - t).square().sum(),
        ]
    )


# -- normals ---------------------------------------------------------------------------------------------------------


def angular_errors(predicted: Tensor, truth: Tensor) -> Tensor:
    """Degrees between two directions, (3, P) to (P,), by atan2(|a × b|, a · b), which is exact near 0 and 180."""
    return torch.rad2deg(
        torch.atan2(torch.linalg.cross(predicted, truth, dim=0).norm(dim=0), (predicted * truth).sum(0))
    )


def normal_sums(predicted: Tensor, truth: Tensor) -> Tensor:
    """Surface normals: pixels, Σ angle, pixels within 11.25°, and a histogram of the angles in tenths of a degree.

    Source: Fouhey, Gupta and Hebert 2013, section 5; Eigen and Fergus 2015.
    """
    angle = angular_errors(*valid_pixels(predicted, truth))
    bins = torch.bincount((angle * 10).long().clamp(max=ANGLE_BINS - 1), minlength=ANGLE_BINS)
    counts = torch.tensor(
        [len(angle), float(angle.sum()), float((angle <= ANGLE_THRESHOLD).sum())], dtype=torch.float64
    )
    return torch.cat([counts, bins.double()])


def median_angle(sums: Tensor) -> Tensor:
    """Median angular error from the histogram, in degrees, exact to a tenth."""
    bins = sums[..., 3:]
    below = bins.cumsum(-1)
    half = sums[..., :1] / 2
    index = (below < half).sum(-1, keepdim=True).clamp(max=ANGLE_BINS - 1)  # the bin that holds the median
    in_bin = bins.gather(-1, index)
    fraction = (half - below.gather(-1, index) + in_bin) / in_bin
    return torch.where(sums[..., 0] > 0, ((index + fraction) / 10)[..., 0], torch.nan)


# -- reflectance, flow, numbers --------------------------------------------------------------------------------------


def reflectance_sums(predicted: Tensor, truth: Tensor) -> Tensor:
    """Reflectance: numbers, the minimum of Σ (αp − r)² over one α per image, and Σ (p − r)².

    Source: Grosse, Johnson, Adelson and Freeman 2009, section 4 (without the local error of its windows).
    """
    p, r = valid_pixels(predicted, truth)
    scale = (p * r).sum() / p.square().sum().clamp(min=torch.finfo(p.dtype).tiny)
    return torch.stack(
        [torch.tensor(float(p.numel())).double(), (scale * p - r).square().sum(), (p - r).square().sum()]
    )


def flow_sums(predicted: Tensor, truth: Tensor) -> Tensor:
    """Optical flow: pixels, Σ end-point error, pixels with an error above 3 pixels and 5 % of the true length.

    Source: Baker et al. 2011 (end-point error); Menze and Geiger 2015 (outliers).
    """
    u, t = valid_pixels(predicted, truth)
    error = (u - t).norm(dim=0)
    outliers = (error > OUTLIER_PIXELS) & (error > OUTLIER_FRACTION * t.norm(dim=0))
    return torch.stack([torch.tensor(float(len(error))).double(), error.sum(), outliers.double().sum()])


def number_sums(predicted: Tensor, truth: Tensor) -> Tensor:
    """Plain numbers: pixels, then for each number Σ |e|, Σ e², Σ t and Σ t²."""
    y, t = valid_pixels(predicted, truth)
    e = y - t
    return torch.cat(
        [torch.tensor([float(t.shape[1])]).double(), e.abs().sum(1), e.square().sum(1), t.sum(1), t.square().sum(1)]
    )


def r2(sums: Tensor) -> Tensor:
    """R², 1 − Σ e² / Σ (t − mean t)², averaged over numbers: (..., 1 + 4T) to (...); NaN where a number is constant."""
    _, squares, total, total_squares = sums[..., 1:].reshape(*sums.shape[:-1], 4, -1).unbind(-2)  # (..., T)
    return (1 - squares / (total_squares - total.square() / sums[..., :1])).mean(-1)


def _number_metrics(names: tuple[str, ...]) -> dict[str, MetricDefinition]:
    """Headline: the mean absolute error of one number; R² of several, whose units may differ."""
    if len(names) == 1:
        return {
            "mean absolute error": MetricDefinition(from_sums=_mean(1), in_target_unit=True),
            "root mean squared error": MetricDefinition(
                from_sums=lambda s: (s[..., 2] / s[..., 0]).sqrt(), in_target_unit=True
            ),
            "R2": MetricDefinition(from_sums=r2, higher_is_better=True),
        }
    each = {
        f"mean absolute error of {name}": MetricDefinition(from_sums=_mean(1 + k), in_target_unit=True)
        for k, name in enumerate(names)
    }
    return {"R2": MetricDefinition(from_sums=r2, higher_is_better=True), **each}


def metric_suite(kind: str, names: tuple[str, ...]) -> MetricSuite:
    """The metrics of a kind of dense targets.

    Args:
        kind: as in `PixelNumbers`.
        names: of the numbers.
    """
    if kind == "depth":
        return MetricSuite(
            image_sums=depth_sums,
            metrics={
                "abs-rel": MetricDefinition(from_sums=_mean(1)),
                "δ < 1.25": MetricDefinition(from_sums=_mean(2), higher_is_better=True, percent=True),
                "root mean squared error": MetricDefinition(
                    from_sums=lambda s: (s[..., 3] / s[..., 0]).sqrt(), in_target_unit=True
                ),
            },
        )
    if kind == "normals":
        return MetricSuite(
            image_sums=normal_sums,
            metrics={
                "mean angular error": MetricDefinition(from_sums=_mean(1), fixed_unit="°"),
                "median angular error": MetricDefinition(from_sums=median_angle, fixed_unit="°"),
                "within 11.25°": MetricDefinition(from_sums=_mean(2), higher_is_better=True, percent=True),
            },
        )
    if kind == "edges":
        return MetricSuite(
            image_sums=lambda predicted, truth: boundary.counts(predicted[0], truth[0]),
            metrics={"boundary F": MetricDefinition(from_sums=boundary.f_measure, higher_is_better=True, percent=True)},
        )
    if kind == "reflectance":
        return MetricSuite(
            image_sums=reflectance_sums,
            metrics={
                "scale-invariant MSE": MetricDefinition(from_sums=_mean(1)),
                "MSE": MetricDefinition(from_sums=_mean(2)),
            },
        )
    if kind == "flow":
        return MetricSuite(
            image_sums=flow_sums,
            metrics={
                "end-point error": MetricDefinition(from_sums=_mean(1), in_target_unit=True),
                "off by > 3 px and 5 %": MetricDefinition(from_sums=_mean(2), percent=True),
            },
        )
    return MetricSuite(image_sums=number_sums, metrics=_number_metrics(names))

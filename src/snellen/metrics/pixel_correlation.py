"""Correlation of pixels against their distance: what an image as a two-dimensional array has and a vector has not."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from snellen.core.errors import DataError, UsageError
from snellen.core.random import generator
from snellen.core.views import NO_INTERVAL, Metric
from snellen.metrics.intervals import MIN_SAMPLES, resampled_values, statistic_of_sums, with_percentiles

DIRECTIONS = ("horizontal", "vertical", "permuted")
DEFAULT_DISTANCE = 32  # pixels, at most half of the smallest side
BANDS = 16  # at most, of a single image, which take the place of images in the interval
_SUMS, _PAIRS = 6, 5  # Σa, Σb, Σa², Σb², Σab, and the number of pairs


@dataclass(frozen=True, kw_only=True)
class PixelCorrelation:
    """Correlation coefficient of pixels at the distances 0, 1 … in pixels.

    Args:
        horizontal, vertical: of the images. permuted: of the horizontal neighbours after the pixels of each image were
            put in random order, which is about 0.
        images, values: numbers of images and of values that were read.
        over: what the intervals are over: "images", or "bands" of a single image.
    """

    horizontal: tuple[Metric, ...]
    vertical: tuple[Metric, ...]
    permuted: tuple[Metric, ...]
    images: int
    values: int
    over: str


def pixel_correlation(images: Sequence[Tensor], max_distance: int | None = None) -> PixelCorrelation:
    """Correlation coefficient of pixels at horizontal and vertical distances.

    For each distance d: Pearson's coefficient of all pairs of values (p, p moved by d) of all images. First the mean of
    each channel of each image is subtracted: otherwise bright and dark images would correlate pixels at any distance.
    The 95 % intervals are a bootstrap over images. Of a single image they are over bands of its rows (of its columns
    for vertical pairs), and too narrow where neighbouring bands are alike.

    Args:
        images: (C, H, W) each, of any dtype and of several sizes.
        max_distance: in pixels; None: half of the smallest side, at most 32. Limited to the smallest side − 1.
    Raises:
        DataError: there is no image, or one has a value that is not finite.
        UsageError: max_distance below 1.
    """
    if not len(images):
        raise DataError("No image to compute a correlation of", "Give at least one image.")
    if max_distance is not None and max_distance < 1:
        raise UsageError(f"A distance of {max_distance} pixels", "Give a distance of at least 1 pixel.")
    smallest = min(min(image.shape[-2:]) for image in images)
    farthest = min(DEFAULT_DISTANCE, smallest // 2) if max_distance is None else max_distance
    farthest = max(0, min(farthest, smallest - 1))
    rng = generator(0, "permuted pixels")
    sums = torch.cat([_sums_of_images(x, farthest, rng, bands=len(images) == 1) for x in _of_one_shape(images)])
    over = "images" if len(images) > 1 else "bands"
    count = len(sums)
    value = _coefficients(sums.sum(0)[None])[0]  # (directions · distances,)
    draws = None
    if count >= MIN_SAMPLES:
        draws = resampled_values(statistic_of_sums(sums, _coefficients), count)
    metrics = [_metric(float(v), None if draws is None else draws[:, k], count, over) for k, v in enumerate(value)]
    rows = [
        (_itself(metrics[k], over), *metrics[k + 1 : k + farthest + 1]) for k in range(0, len(metrics), farthest + 1)
    ]
    return PixelCorrelation(
        horizontal=rows[0],
        vertical=rows[1],
        permuted=rows[2],
        images=len(images),
        values=sum(image.numel() for image in images),
        over=over,
    )


def _of_one_shape(images: Sequence[Tensor]) -> list[Tensor]:
    """The images in batches (N, C, H, W) of one shape, float64."""
    groups: dict[tuple[int, ...], list[Tensor]] = {}
    for image in images:
        groups.setdefault(tuple(image.shape), []).append(image.detach().cpu())
    return [torch.stack(group).double() for group in groups.values()]


def _sums_of_images(x: Tensor, farthest: int, rng: torch.Generator, *, bands: bool) -> Tensor:
    """Sums over pairs of images (N, C, H, W): (units, directions, distances, 6), a unit for each image or band."""
    if not x.isfinite().all():
        raise DataError("An image with values that are not finite", "Leave it out, or replace these values.")
    x = x - x.mean((2, 3), keepdim=True)
    n, channels, height, width = x.shape
    order = torch.rand(n, height * width, generator=rng).argsort(1)  # one for all channels of an image
    permuted = x.flatten(2).gather(2, order[:, None].expand(-1, channels, -1)).view_as(x)
    count = min(BANDS, height, width) if bands else 1  # the same for rows and columns
    return torch.stack(
        [_sums_along_rows(values, farthest, count) for values in (x, x.transpose(2, 3), permuted)], dim=1
    )


def _sums_along_rows(x: Tensor, farthest: int, bands: int) -> Tensor:
    """Sums over pairs within rows of images (N, C, H, W), in so many bands of rows: (N · bands, distances, 6)."""
    edges = [round(k * x.shape[2] / bands) for k in range(bands + 1)]
    parts = [x[:, :, top:bottom] for top, bottom in itertools.pairwise(edges)]
    return torch.cat([_sums_of_rows(part, farthest) for part in parts])


def _sums_of_rows(x: Tensor, farthest: int) -> Tensor:
    """Sums over pairs within rows of images (N, C, H, W): (N, distances, 6)."""
    n, channels, height, width = x.shape
    column, squares = x.sum((1, 2)), x.square().sum((1, 2))  # (N, W)
    sums = x.new_zeros(n, farthest + 1, _SUMS)
    for distance in range(farthest + 1):
        end = width - distance
        products = (x[..., :end] * x[..., distance:]).sum((1, 2, 3))
        left, right = slice(None, end), slice(distance, None)
        numbers = [column[:, left], column[:, right], squares[:, left], squares[:, right]]
        sums[:, distance] = torch.stack([*(values.sum(1) for values in numbers), products, products], dim=1)
        sums[:, distance, _PAIRS] = channels * height * end
    return sums


def _coefficients(sums: Tensor) -> Tensor:
    """Sums (R, ..., 6) to Pearson's coefficients (R, n); NaN where one of the two does not vary."""
    a, b, aa, bb, ab, n = sums.flatten(1, -2).unbind(-1)
    left, right = aa * n - a * a, bb * n - b * b
    varies = (left > 1e-12 * aa * n) & (right > 1e-12 * bb * n)
    r = (ab * n - a * b) / (left.clamp_min(0) * right.clamp_min(0)).sqrt()
    return torch.where(varies, r.clamp(-1, 1), torch.full_like(r, math.nan))


def _itself(metric: Metric, over: str) -> Metric:
    """The metric of distance 0: the correlation of each pixel with itself is 1, in every resample."""
    one = Metric(value=1.0, low=1.0, high=1.0, over=over, ratio_scale=False, reason="each pixel with itself")
    return metric if metric.value is None else one


def _metric(value: float, draws: Tensor | None, count: int, over: str) -> Metric:
    if math.isnan(value):
        return Metric(value=None, reason="these pixels have one value")
    metric = Metric(value=value, over=over, ratio_scale=False)
    if draws is None:
        return dataclasses.replace(metric, over="", reason=f"{NO_INTERVAL}fewer than {MIN_SAMPLES} {over}")
    return with_percentiles(metric, draws, count)

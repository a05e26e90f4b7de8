"""Numbers of pixels, judged as their fields judge them: against formulas written out with NumPy, scipy and sklearn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from raw_datasets import seeded
from scipy.optimize import linear_sum_assignment, minimize_scalar
from scipy.spatial.distance import cdist
from sklearn.metrics import mean_absolute_error, r2_score
from torch import Tensor

from snellen.metrics import boundary
from snellen.metrics.dense_regression import judge, median_angle


def drawn(channels: int, seed: int = 0, low: float = -1.0) -> tuple[Tensor, Tensor, np.ndarray, np.ndarray]:
    """What is said and true of three pictures, some pixels without a truth; and the known pixels of all, (T, P)."""
    generator = seeded(seed)
    said = low + 3 * torch.rand(3, channels, 7, 9, generator=generator)
    truth = low + 3 * torch.rand(3, channels, 7, 9, generator=generator)
    truth[torch.rand(3, 7, 9, generator=generator)[:, None].expand_as(truth) < 0.2] = torch.nan
    there = torch.isfinite(truth).all(1)
    pick = [x.movedim(1, 0)[:, there].double().numpy() for x in (said, truth)]
    return said, truth, pick[0], pick[1]


def figures(kind: str, said: Tensor, truth: Tensor) -> dict[str, float]:
    how = judge(kind, tuple(f"n{k}" for k in range(said.shape[1])))
    sums = torch.stack([how.sums(s, t) for s, t in zip(said, truth, strict=True)]).sum(0)
    return {name: float(figure.of(sums)) for name, figure in how.figures.items()}


def test_depth() -> None:
    said, truth, d, t = drawn(1, low=0.5)
    found = figures("depth", said, truth)
    assert found["abs-rel"] == pytest.approx(np.mean(np.abs(d - t) / t), rel=1e-9)
    assert found["δ < 1.25"] == pytest.approx(np.mean(np.maximum(d / t, t / d) < 1.25), rel=1e-9)
    assert found["root mean squared error"] == pytest.approx(np.sqrt(np.mean((d - t) ** 2)), rel=1e-9)


def test_normals() -> None:
    said, truth, a, b = drawn(3)
    cosine = (a * b).sum(0) / np.linalg.norm(a, axis=0) / np.linalg.norm(b, axis=0)
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    found = figures("normals", said, truth)
    assert found["mean angular error"] == pytest.approx(angle.mean(), rel=1e-9)
    assert found["within 11.25°"] == pytest.approx(np.mean(angle <= 11.25), rel=1e-9)


def test_the_median_angle_is_right_to_a_tenth_of_a_degree() -> None:
    angle = 90 * torch.rand(200_001, generator=seeded(), dtype=torch.float64) ** 2
    bins = torch.bincount((angle * 10).long(), minlength=1800).double()
    head = torch.tensor([len(angle), 0.0, 0.0], dtype=torch.float64)
    assert float(median_angle(torch.cat([head, bins]))) == pytest.approx(float(angle.median()), abs=0.1)
    assert math.isnan(float(median_angle(torch.zeros(1803, dtype=torch.float64))))


def test_reflectance_is_judged_up_to_the_best_brightness_of_each_picture() -> None:
    said, truth, p, r = drawn(3, low=0.0)
    found = figures("reflectance", said, truth)
    assert found["MSE"] == pytest.approx(np.mean((p - r) ** 2), rel=1e-9)
    least, count = 0.0, 0
    for s, t in zip(said, truth, strict=True):
        there = torch.isfinite(t).all(0)
        s, t = s[:, there].double().numpy(), t[:, there].double().numpy()
        least += minimize_scalar(lambda scale, s=s, t=t: float(((scale * s - t) ** 2).sum())).fun
        count += t.size
    assert found["scale-invariant MSE"] == pytest.approx(least / count, rel=1e-8)
    assert figures("reflectance", truth.nan_to_num() * 0.3, truth)["scale-invariant MSE"] == pytest.approx(0, abs=1e-12)


def test_flow() -> None:
    said, truth, u, t = drawn(2)
    said, truth, u, t = 5 * said, 5 * truth, 5 * u, 5 * t
    error, length = np.linalg.norm(u - t, axis=0), np.linalg.norm(t, axis=0)
    found = figures("flow", said, truth)
    assert found["end-point error"] == pytest.approx(error.mean(), rel=1e-6)
    assert found["off by > 3 px and 5 %"] == pytest.approx(np.mean((error > 3) & (error > 0.05 * length)), rel=1e-6)


def test_numbers() -> None:
    said, truth, y, t = drawn(2)
    found = figures("numbers", said, truth)
    assert found["R2"] == pytest.approx(r2_score(t.T, y.T), rel=1e-9)
    assert found["mean absolute error of n1"] == pytest.approx(mean_absolute_error(t[1], y[1]), rel=1e-9)
    one = figures("numbers", said[:, :1], truth[:, :1])
    assert one["mean absolute error"] == pytest.approx(mean_absolute_error(t[0], y[0]), rel=1e-9)


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("tolerance", [1.0, 1.5, 3.2])
def test_as_many_boundary_pixels_are_paired_as_by_berkeleys_assignment(seed: int, tolerance: float) -> None:
    """The least sum of distances with a hundred tolerances for a pixel that is left alone, as the benchmark has it."""
    generator = seeded(seed)
    said, truth = (torch.rand(9, 11, generator=generator) < share for share in (0.3, 0.2))
    distance = cdist(torch.nonzero(said).numpy(), torch.nonzero(truth).numpy())
    cost = np.where(distance <= tolerance, distance, 100 * tolerance)
    pairs = linear_sum_assignment(cost)
    assert boundary.matched(said, truth, tolerance) == int((distance[pairs] <= tolerance).sum())


def test_the_f_measure_is_that_of_the_one_threshold_best_over_all_pictures() -> None:
    generator = seeded()
    said, truth = torch.rand(3, 8, 8, generator=generator), (torch.rand(3, 8, 8, generator=generator) < 0.2).float()
    truth[0, :2] = torch.nan
    sums = torch.stack([boundary.counts(s, t) for s, t in zip(said, truth, strict=True)]).sum(0)
    best = 0.0
    for threshold in boundary.THRESHOLDS.tolist():
        pairs = said_count = true_count = 0
        for s, t in zip(said, truth, strict=True):
            chosen = (s >= threshold) & torch.isfinite(t)
            pairs += boundary.matched(chosen, t > 0.5, 1.0)
            said_count, true_count = said_count + int(chosen.sum()), true_count + int((t > 0.5).sum())
        precision, recall = pairs / max(said_count, 1), pairs / true_count
        best = max(best, 2 * precision * recall / max(precision + recall, 1e-12))
    assert float(boundary.f_measure(sums)) == pytest.approx(best, abs=1e-12)
    assert math.isnan(float(boundary.f_measure(sums * 0)))


def test_a_perfect_answer_is_told_so() -> None:
    truth = torch.zeros(1, 1, 12, 12)
    truth[0, 0, 5] = 1
    assert figures("edges", truth, truth)["boundary F"] == 1
    moved = truth.roll(1, dims=2)
    assert figures("edges", moved, truth)["boundary F"] == 1  # within the tolerance of one pixel
    assert figures("edges", truth.roll(2, dims=2), truth)["boundary F"] == 0

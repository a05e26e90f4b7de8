"""Dense regression metrics against formulas written out with NumPy, scipy and scikit-learn."""

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
from snellen.metrics.dense_regression import median_angle, metric_suite


def random_maps(channels: int, seed: int = 0, low: float = -1.0) -> tuple[Tensor, Tensor, np.ndarray, np.ndarray]:
    """Predictions and truth of three images, some pixels without truth; and the valid pixels of all, (T, P)."""
    generator = seeded(seed)
    predicted = low + 3 * torch.rand(3, channels, 7, 9, generator=generator)
    truth = low + 3 * torch.rand(3, channels, 7, 9, generator=generator)
    truth[torch.rand(3, 7, 9, generator=generator)[:, None].expand_as(truth) < 0.2] = torch.nan
    valid = torch.isfinite(truth).all(1)
    pixels = [x.movedim(1, 0)[:, valid].double().numpy() for x in (predicted, truth)]
    return predicted, truth, pixels[0], pixels[1]


def metrics_of(kind: str, predicted: Tensor, truth: Tensor) -> dict[str, float]:
    suite = metric_suite(kind, tuple(f"n{k}" for k in range(predicted.shape[1])))
    sums = torch.stack([suite.image_sums(s, t) for s, t in zip(predicted, truth, strict=True)]).sum(0)
    return {name: float(metric.from_sums(sums)) for name, metric in suite.metrics.items()}


def test_depth() -> None:
    predicted, truth, d, t = random_maps(1, low=0.5)
    metrics = metrics_of("depth", predicted, truth)
    assert metrics["abs-rel"] == pytest.approx(np.mean(np.abs(d - t) / t), rel=1e-9)
    assert metrics["δ < 1.25"] == pytest.approx(np.mean(np.maximum(d / t, t / d) < 1.25), rel=1e-9)
    assert metrics["root mean squared error"] == pytest.approx(np.sqrt(np.mean((d - t) ** 2)), rel=1e-9)


def test_normals() -> None:
    predicted, truth, a, b = random_maps(3)
    cosine = (a * b).sum(0) / np.linalg.norm(a, axis=0) / np.linalg.norm(b, axis=0)
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    metrics = metrics_of("normals", predicted, truth)
    assert metrics["mean angular error"] == pytest.approx(angle.mean(), rel=1e-9)
    assert metrics["within 11.25°"] == pytest.approx(np.mean(angle <= 11.25), rel=1e-9)


def test_the_median_angle_is_exact_to_a_tenth_of_a_degree() -> None:
    angle = 90 * torch.rand(200_001, generator=seeded(), dtype=torch.float64) ** 2
    bins = torch.bincount((angle * 10).long(), minlength=1800).double()
    counts = torch.tensor([len(angle), 0.0, 0.0], dtype=torch.float64)
    assert float(median_angle(torch.cat([counts, bins]))) == pytest.approx(float(angle.median()), abs=0.1)
    assert math.isnan(float(median_angle(torch.zeros(1803, dtype=torch.float64))))
    other = torch.cat([torch.tensor([2.0, 0, 0]), torch.zeros(1800)]).double()
    other[3 + 120] = 2  # two angles of 12.0 to 12.1
    both = median_angle(torch.stack([torch.cat([counts, bins]), other]))
    assert both.tolist() == [float(median_angle(torch.cat([counts, bins]))), pytest.approx(12.05)]


def test_flow_errors_and_ratios_of_depth_at_a_threshold() -> None:
    """A flow is off by more than 3 pixels and more than 5 %; a depth is correct below the ratio 1.25."""
    truth = torch.tensor([[100.0, 40, 100, 100], [0, 0, 0, 0]]).view(2, 1, 4)
    predicted = truth + torch.tensor([[5.0, 3, 5.5, 0], [0, 0, 0, 0]]).view(2, 1, 4)
    assert metrics_of("flow", predicted[None], truth[None])["off by > 3 px and 5 %"] == 0.25
    assert metrics_of("depth", torch.full((1, 1, 1, 3), 5.0), torch.full((1, 1, 1, 3), 4.0))["δ < 1.25"] == 0


def test_reflectance_is_invariant_to_the_scale_of_each_image() -> None:
    predicted, truth, p, r = random_maps(3, low=0.0)
    metrics = metrics_of("reflectance", predicted, truth)
    assert metrics["MSE"] == pytest.approx(np.mean((p - r) ** 2), rel=1e-9)
    minimum, count = 0.0, 0
    for s, t in zip(predicted, truth, strict=True):
        valid = torch.isfinite(t).all(0)
        s, t = s[:, valid].double().numpy(), t[:, valid].double().numpy()
        minimum += minimize_scalar(lambda scale, s=s, t=t: float(((scale * s - t) ** 2).sum())).fun
        count += t.size
    assert metrics["scale-invariant MSE"] == pytest.approx(minimum / count, rel=1e-8)
    assert metrics_of("reflectance", truth.nan_to_num() * 0.3, truth)["scale-invariant MSE"] == pytest.approx(
        0, abs=1e-12
    )


def test_flow() -> None:
    predicted, truth, u, t = random_maps(2)
    predicted, truth, u, t = 5 * predicted, 5 * truth, 5 * u, 5 * t
    error, length = np.linalg.norm(u - t, axis=0), np.linalg.norm(t, axis=0)
    metrics = metrics_of("flow", predicted, truth)
    assert metrics["end-point error"] == pytest.approx(error.mean(), rel=1e-6)
    assert metrics["off by > 3 px and 5 %"] == pytest.approx(np.mean((error > 3) & (error > 0.05 * length)), rel=1e-6)


@pytest.mark.parametrize("kind", ["depth", "normals", "edges", "reflectance", "flow", "one number", "numbers"])
def test_direction_unit_and_scale_of_each_metric_are_those_of_its_values(kind: str) -> None:
    """Better: its value for the truth against that for noise. In the unit of the target: ten times for ten times both
    maps. A percentage: within 0 … 1 for any prediction."""
    channels = {"normals": 3, "reflectance": 3, "flow": 2, "numbers": 2}.get(kind, 1)
    truth = 1 + 9 * torch.rand(1, channels, 40, 40, generator=seeded(), dtype=torch.float64)
    noise = 1 + 9 * torch.rand(1, channels, 40, 40, generator=seeded(1), dtype=torch.float64)
    if kind == "edges":
        truth, noise = (truth > 9.5).double(), (noise > 5).double()
    perfect, poor = (metrics_of(kind, predicted, truth) for predicted in (truth, noise))
    tenfold = metrics_of(kind, 10 * noise, 10 * truth)
    for name, metric in metric_suite(kind, tuple(f"n{k}" for k in range(channels))).metrics.items():
        assert metric.higher_is_better == (perfect[name] > poor[name]), name
        assert metric.percent == (0 < poor[name] < 1 and perfect[name] in (0, 1) and name not in ("abs-rel", "R2"))
        if kind not in ("edges", "reflectance") and not metric.percent:
            assert metric.in_target_unit == (tenfold[name] == pytest.approx(10 * poor[name])), name
        assert (metric.fixed_unit == "°") == ("angular" in name)


def test_numbers() -> None:
    predicted, truth, y, t = random_maps(2)
    metrics = metrics_of("numbers", predicted, truth)
    assert metrics["R2"] == pytest.approx(r2_score(t.T, y.T), rel=1e-9)
    assert metrics["mean absolute error of n1"] == pytest.approx(mean_absolute_error(t[1], y[1]), rel=1e-9)
    single = metrics_of("numbers", predicted[:, :1], truth[:, :1])
    assert single["mean absolute error"] == pytest.approx(mean_absolute_error(t[0], y[0]), rel=1e-9)


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("tolerance", [1.0, 1.5, 3.2])
def test_as_many_boundary_pixels_match_as_by_the_berkeley_assignment(seed: int, tolerance: float) -> None:
    """Minimum sum of distances with a cost of a hundred tolerances for an unmatched pixel, as in the benchmark."""
    generator = seeded(seed)
    predicted, truth = (torch.rand(9, 11, generator=generator) < fraction for fraction in (0.3, 0.2))
    distance = cdist(torch.nonzero(predicted).numpy(), torch.nonzero(truth).numpy())
    cost = np.where(distance <= tolerance, distance, 100 * tolerance)
    pairs = linear_sum_assignment(cost)
    assert boundary.count_matches(predicted, truth, tolerance) == int((distance[pairs] <= tolerance).sum())


def test_the_f_measure_is_that_of_the_single_best_threshold_over_all_images() -> None:
    generator = seeded()
    predicted, truth = (
        torch.rand(3, 8, 8, generator=generator),
        (torch.rand(3, 8, 8, generator=generator) < 0.2).float(),
    )
    truth[0, :2] = torch.nan
    sums = torch.stack([boundary.counts(s, t) for s, t in zip(predicted, truth, strict=True)]).sum(0)
    best = 0.0
    for threshold in boundary.THRESHOLDS.tolist():
        pairs = predicted_count = true_count = 0
        for s, t in zip(predicted, truth, strict=True):
            selected = (s >= threshold) & torch.isfinite(t)
            pairs += boundary.count_matches(selected, t > 0.5, 1.0)
            predicted_count, true_count = predicted_count + int(selected.sum()), true_count + int((t > 0.5).sum())
        precision, recall = pairs / max(predicted_count, 1), pairs / true_count
        best = max(best, 2 * precision * recall / max(precision + recall, 1e-12))
    assert float(boundary.f_measure(sums)) == pytest.approx(best, abs=1e-12)
    assert math.isnan(float(boundary.f_measure(sums * 0)))


def test_a_perfect_prediction_has_a_boundary_f_of_one() -> None:
    truth = torch.zeros(1, 1, 12, 12)
    truth[0, 0, 5] = 1
    assert metrics_of("edges", truth, truth)["boundary F"] == 1
    moved = truth.roll(1, dims=2)
    assert metrics_of("edges", moved, truth)["boundary F"] == 1  # within the tolerance of one pixel
    assert metrics_of("edges", truth.roll(2, dims=2), truth)["boundary F"] == 0

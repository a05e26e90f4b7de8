"""Confidence intervals against scipy, and their coverage."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from raw_datasets import seeded
from scipy import optimize, special, stats
from scipy.stats import binomtest
from sklearn import metrics as sklearn_metrics
from torch import Tensor

from snellen.core.random import generator
from snellen.core.views import Metric
from snellen.metrics import segmentation
from snellen.metrics.classification import accuracy, balanced_accuracy, confusion_matrix, f1_macro, log_loss
from snellen.metrics.intervals import (
    Z,
    add_interval_of_mean,
    auc_interval,
    bootstrap,
    expanded_percentiles,
    level_of_zero,
    mean_fraction_interval,
    mean_fraction_limits,
    paired_difference_interval,
    wilson_interval,
)
from snellen.metrics.regression import mean_absolute_error, root_mean_squared_error


@pytest.mark.parametrize("count", [1, 2, 5, 20, 137, 10_000])
def test_wilsons_interval_equals_scipys(count: int) -> None:
    for correct in sorted({0, 1, count // 3, count // 2, count - 1, count}):
        expected = binomtest(correct, count).proportion_ci(method="wilson")
        low, high = wilson_interval(correct, count)
        assert low == pytest.approx(expected.low, abs=1e-9)
        assert high == pytest.approx(expected.high, abs=1e-9)
        assert 0 <= low <= correct / count <= high <= 1


def has_coverage(covered: int, trials: int) -> bool:
    """Whether 95 % coverage is credible: the count is at most 4 standard deviations of a binomial too low."""
    return covered / trials > 0.95 - 4 * (0.95 * 0.05 / trials) ** 0.5


def test_wilsons_interval_covers_the_truth_in_95_of_100_cases() -> None:
    rng = seeded()
    for truth in (0.5, 0.8, 0.97):
        correct = torch.rand(2000, 60, generator=rng) < truth
        covered = sum(low <= truth <= high for low, high in (wilson_interval(int(r.sum()), 60) for r in correct))
        assert has_coverage(covered, 2000), truth
        assert covered < 2000


def coverage(fractions: Tensor, counts: Tensor, draws: int) -> float:
    """How often the interval holds the mean of the fractions."""
    rng = np.random.default_rng(0)
    correct = torch.from_numpy(rng.binomial(counts.numpy(), fractions.numpy(), size=(draws, len(counts))))
    low, high = mean_fraction_limits(correct, counts)
    truth = float(fractions.mean())
    return float(((low <= truth + 1e-12) & (truth - 1e-12 <= high)).double().mean())


@pytest.mark.parametrize(
    ("fractions", "counts"),
    [
        ([0.99] * 10, [27] * 10),  # 0.42 by draws from Jeffreys' posteriors
        ([0.95] * 100, [10] * 100),  # 0.51
        ([0.9, 0.6, 0.75], [80, 15, 30]),
        ([0.99, 0.99], [5, 5]),
        ([0.95] * 10, [10] * 10),  # 0.929 with the correction for skewness alone
        ([0.99] * 3, [5] * 3),  # 0.88 without
        ([0.99] * 9 + [0.5], [200] * 9 + [5]),  # the rare class alone decides
        ([0.99] * 20 + [0.4] * 20, [2] * 40),  # 0.83 with the variance p (1 − p) / n
        ([0.9] * 40, [1] * 40),  # 0.82 without collapsed classes
    ],
)
def test_the_interval_of_balanced_accuracy_covers_the_truth(fractions: list[float], counts: list[int]) -> None:
    assert coverage(torch.tensor(fractions, dtype=torch.float64), torch.tensor(counts), 1000) > 0.93


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3, 10, 37, 100])
@pytest.mark.parametrize("count", [5, 10, 27, 200])
def test_the_interval_of_balanced_accuracy_covers_the_truth_over_a_grid(classes: int, count: int) -> None:
    for fraction in (0.3, 0.5, 0.7, 0.9, 0.95, 0.99):
        counts = torch.full((classes,), count)
        found = coverage(torch.full((classes,), fraction, dtype=torch.float64), counts, 800)
        assert found > 0.93 - 2 * (0.95 * 0.05 / 800) ** 0.5, fraction


@pytest.mark.parametrize(("correct", "counts"), [([56, 32], [70, 80]), ([9, 3, 27], [10, 8, 30]), ([199, 2], [200, 5])])
def test_at_the_limits_a_score_test_rejects_at_five_percent(correct: list[int], counts: list[int]) -> None:
    """The most likely fractions of a given mean are those of scipy; z² or z corrected for skewness is at its limit."""
    x, n = np.array(correct), np.array(counts)
    for sign, limit in zip((1, -1), mean_fraction_interval(torch.tensor(correct), torch.tensor(counts)), strict=True):
        start = np.clip(x / n, 0.01, 0.99)
        fitted = optimize.minimize(
            lambda p: -(x * np.log(p) + (n - x) * np.log1p(-p)).sum(),
            start + limit - start.mean(),
            method="SLSQP",
            bounds=[(1e-6, 1 - 1e-6)] * len(n),
            constraints=[{"type": "eq", "fun": lambda p, limit=limit: p.mean() - limit}],
            options={"ftol": 1e-14, "maxiter": 500},
        ).x
        terms = fitted * (1 - fitted) / (n - 1) / len(n) ** 2
        skewness = (terms * (1 - 2 * fitted) / n / len(n)).sum() / terms.sum() ** 1.5
        z = sign * ((x / n).mean() - limit) / terms.sum() ** 0.5
        expected = max(Z, Z + sign * skewness * (Z**2 - 1) / 6)
        assert z == pytest.approx(expected, abs=2e-3)


def test_the_interval_of_one_fraction_is_near_that_of_wilson_and_of_the_mid_p_value() -> None:
    low, high = mean_fraction_interval(torch.tensor([9]), torch.tensor([10]))
    # mid-P: P(X > 9) + P(X = 9) / 2 = 2.5 % at the lower limit, P(X < 9) + P(X = 9) / 2 at the upper one
    upper = optimize.brentq(lambda p: stats.binom.cdf(8, 10, p) + stats.binom.pmf(9, 10, p) / 2 - 0.025, 0.9, 1 - 1e-9)
    assert high == pytest.approx(upper, abs=5e-3)
    assert low == pytest.approx(wilson_interval(9, 10)[0], abs=0.03)


def test_the_interval_keeps_a_width_when_all_or_nothing_is_correct_and_mirrors() -> None:
    low, high = mean_fraction_interval(torch.tensor([50, 3]), torch.tensor([50, 3]))
    assert high == 1
    assert low < 0.9
    assert mean_fraction_interval(torch.tensor([0, 0]), torch.tensor([50, 3])) == pytest.approx((0, 1 - low))
    metric = balanced_accuracy(torch.tensor([[50, 0], [0, 3]]))
    assert (metric.value, metric.low, metric.high) == (1.0, low, high)


@pytest.mark.parametrize(("metric", "percent"), [("mae", False), ("iou", True)])
def test_fewer_than_five_samples_have_no_bootstrap_interval_and_that_is_shown(metric: str, percent: bool) -> None:
    if metric == "mae":
        shown = mean_absolute_error(torch.tensor([0.0, 1.0, 5.0]), torch.zeros(3))
        assert str(shown) == "2 (no interval: fewer than 5 samples)"
    else:
        tables = torch.tensor([[[8, 2], [1, 9]], [[5, 0], [0, 5]]])
        shown = segmentation.metric_over_images(tables, segmentation.mean_iou, "")
        assert str(shown).endswith("% (no interval: fewer than 5 images)")
    assert (shown.low, shown.high, shown.percent) == (None, None, percent)


def test_five_samples_have_an_interval() -> None:
    five = mean_absolute_error(torch.tensor([0.0, 1.0, 5.0, 2.0, 3.0]), torch.zeros(5))
    assert five.low is not None
    assert five.high is not None
    assert 0 < five.low < 2.2 < five.high
    tables = torch.tensor([[[8, 2], [1, 9]], [[5, 0], [0, 5]], [[1, 1], [0, 5]], [[2, 0], [3, 5]], [[5, 4], [0, 5]]])
    iou = segmentation.metric_over_images(tables, segmentation.mean_iou, "")
    assert iou.low is not None
    assert iou.high is not None
    assert iou.low < iou.high


def test_a_metric_that_is_equal_in_every_resample_shows_no_interval_of_width_zero() -> None:
    assert str(mean_absolute_error(torch.ones(20), torch.zeros(20))) == "1 (equal for all samples)"


@pytest.mark.parametrize("count", [5, 8, 30])
def test_percentiles_are_expanded_by_students_t(count: int) -> None:
    """At these levels a normal bootstrap distribution, of variance s² (n − 1) / n², gives mean ± t s / √n."""
    low, high = expanded_percentiles(count)
    half = stats.norm.ppf(high) * ((count - 1) / count) ** 0.5
    assert half == pytest.approx(stats.t.ppf(0.975, count - 1))
    assert low + high == pytest.approx(1)


def test_one_sample_has_every_percentile() -> None:
    assert expanded_percentiles(1) == (0, 1)


@pytest.mark.parametrize(("first", "second", "count"), [(5, 0, 12), (9, 1, 12), (3, 7, 40), (30, 10, 100), (0, 0, 20)])
def test_at_the_limits_of_a_paired_difference_the_score_test_rejects_at_five_percent(
    first: int, second: int, count: int
) -> None:
    """With the most likely fractions p₁₂ = q + d and p₂₁ = q among those of difference d, found by scipy."""
    low, high = paired_difference_interval(first, second, count)
    assert low < (first - second) / count < high
    for sign, d in ((1, low), (-1, high)):

        def cost(q: float, d: float = d) -> float:
            parts = np.array([q + d, q, 1 - 2 * q - d])
            return -float(special.xlogy([first, second, count - first - second], np.maximum(parts, 1e-300)).sum())

        q = optimize.minimize_scalar(
            cost, bounds=(max(0.0, -d), (1 - d) / 2), method="bounded", options={"xatol": 1e-12}
        )
        z = (first - second - count * d) / (count * (2 * q.x + d * (1 - d))) ** 0.5
        assert z == pytest.approx(sign * Z, rel=1e-4)


def test_a_paired_difference_excludes_zero_where_mcnemars_chi_square_test_rejects() -> None:
    """And so wherever the exact test rejects, which it does less."""
    for first, second in itertools.product(range(30), repeat=2):
        low, high = paired_difference_interval(first, second, 60)
        p = stats.chi2.sf((first - second) ** 2 / max(first + second, 1), 1)
        assert (low > 0 or high < 0) == (p < 0.05)
        if 0 < first + second < 25 and stats.binomtest(first, first + second).pvalue < 0.05:
            assert low > 0 or high < 0


def test_a_paired_difference_mirrors_and_ends_at_one() -> None:
    low, high = paired_difference_interval(9, 2, 20)
    assert paired_difference_interval(2, 9, 20) == pytest.approx((-high, -low))
    low, high = paired_difference_interval(8, 0, 8)
    assert 0.3 < low < high == 1


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.35, 0.6])
def test_the_limit_of_the_expanded_percentiles_at_the_level_of_zero_is_zero(shift: float) -> None:
    values = torch.randn(2000, generator=seeded(), dtype=torch.float64) / 5 + shift
    level = level_of_zero(torch.cat([values, values.new_full((10,), torch.nan)]), 12)
    fraction = stats.norm.cdf((12 / 11) ** 0.5 * stats.t.ppf(level / 2, 11))
    assert np.quantile(values.numpy(), fraction) == pytest.approx(0, abs=1e-9)


def test_the_level_of_zero_is_nothing_or_one_beyond_all_resamples() -> None:
    assert level_of_zero(torch.tensor([0.1, 0.2]).double(), 12) == 0
    assert level_of_zero(torch.tensor([-0.1, 0.0]).double(), 12) == 1
    assert level_of_zero(torch.tensor([-0.3, -0.2, 0.1]).double(), 12) == 1


def test_undefined_resamples_are_left_out() -> None:
    values = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    low, high = bootstrap(lambda rows: torch.where(rows[:, 0] == 0, torch.nan, values[rows].mean(1)), 5)
    assert 1 < low < high < 5


def test_the_bootstrap_of_a_mean_has_the_width_of_the_normal_interval() -> None:
    values = torch.randn(400, generator=seeded(), dtype=torch.float64) * 3 + 10
    low, high = bootstrap(lambda rows: values[rows].mean(1), 400)
    half = 1.96 * float(values.std()) / 20
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)
    assert (high + low) / 2 == pytest.approx(float(values.mean()), abs=half / 5)


def test_the_bootstrap_is_computed_in_blocks_and_is_deterministic() -> None:
    values = torch.randn(50, generator=seeded(), dtype=torch.float64)
    sizes = []

    def mean(rows: Tensor) -> Tensor:
        sizes.append(tuple(rows.shape))
        return values[rows].mean(1)

    assert bootstrap(mean, 50) == bootstrap(mean, 50)
    assert sizes == [(1000, 50)] * 2
    sizes.clear()
    many = torch.zeros(100_000)
    bootstrap(lambda rows: (sizes.append(tuple(rows.shape)), many[rows].mean(1))[1], 100_000, draws=100)  # type: ignore[func-returns-value]
    assert sizes == [(40, 100_000), (40, 100_000), (20, 100_000)]  # memory stays flat


@pytest.mark.parametrize("name", ["error", "log loss"])
def test_bootstrap_intervals_cover_the_truth_in_about_95_of_100_cases(name: str) -> None:
    rng = seeded()
    covered, trials, count = 0, 150, 150
    for _ in range(trials):
        if name == "error":
            metric = mean_absolute_error(torch.zeros(count).double(), torch.rand(count, generator=rng).double())
            truth = 0.5
        else:
            labels = (torch.rand(count, generator=rng) < 0.8).long()
            odds = torch.tensor([[0.0, 1.386294361]]).expand(count, -1)  # a probability of 80 %
            metric, truth = log_loss(odds, labels), 0.5004024235381879  # −.8 ln .8 − .2 ln .2
        assert metric.low is not None
        assert metric.high is not None
        covered += metric.low <= truth <= metric.high
    assert has_coverage(covered, trials)
    assert covered < trials


def test_accuracy_states_what_its_interval_is_over() -> None:
    metric = accuracy(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 0]))
    assert (metric.value, metric.over) == (0.75, "samples")
    assert str(metric) == "75 (30 to 95) %"


@pytest.mark.parametrize(("value", "positives", "negatives"), [(0.8, 20, 30), (0.97, 10, 90), (0.5, 8, 8)])
def test_at_the_limits_of_the_auc_its_score_test_rejects_at_five_percent(
    value: float, positives: int, negatives: int
) -> None:
    """Hanley and McNeil: Q₁ = A / (2 − A), Q₂ = 2A² / (1 + A), with both class sizes replaced by their mean."""
    size = (positives + negatives) / 2
    for area in auc_interval(value, positives, negatives):
        q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
        variance = area * (1 - area) + (size - 1) * (q1 - area**2) + (size - 1) * (q2 - area**2)
        assert abs(value - area) == pytest.approx(Z * (variance / (positives * negatives)) ** 0.5, rel=1e-6)


def test_the_auc_of_separated_classes_keeps_a_width() -> None:
    low, high = auc_interval(1.0, 10, 10)
    assert high == 1
    assert 0.7 < low < 0.9
    assert auc_interval(0.0, 10, 10) == pytest.approx((0, 1 - low))


def test_the_interval_of_macro_f1_is_that_of_resampled_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = np.sort(rng.integers(0, 3, 40))
    predicted = np.where(rng.random(40) < 0.7, truth, rng.integers(0, 3, 40))
    order = np.lexsort((predicted, truth))  # that of the cells of the confusion matrix
    truth, predicted = truth[order], predicted[order]
    metric = f1_macro(confusion_matrix(torch.from_numpy(truth), torch.from_numpy(predicted), 3))
    rows = torch.randint(40, (1000, 40), generator=generator(0, "bootstrap")).numpy()
    values = [sklearn_metrics.f1_score(truth[row], predicted[row], average="macro") for row in rows]
    assert (metric.low, metric.high) == pytest.approx(tuple(np.quantile(values, expanded_percentiles(40))), abs=1e-9)


@pytest.mark.parametrize("root", [1, 2])
def test_the_interval_of_mean_errors_is_the_studentised_bootstrap(root: int) -> None:
    values = torch.rand(30, generator=seeded(), dtype=torch.float64).square()
    metric = add_interval_of_mean(Metric(value=float(values.mean()) ** (1 / root), over="samples"), values, root)
    drawn = values.numpy()[torch.randint(30, (1000, 30), generator=generator(0, "bootstrap")).numpy()]
    t = (drawn.mean(1) - values.mean().item()) / stats.sem(drawn, axis=1)
    ends = values.mean().item() - np.quantile(t, [0.975, 0.025]) * stats.sem(values.numpy())
    assert (metric.low, metric.high) == pytest.approx(tuple(ends ** (1 / root)))


@pytest.mark.parametrize(("name", "least"), [("MAE", 0.9), ("RMSE", 0.87)])
def test_the_interval_of_few_normal_errors_covers_the_truth(name: str, least: float) -> None:
    """Plain percentiles of ten errors cover 0.85 and 0.79."""
    function, truth = {
        "MAE": (mean_absolute_error, (2 / np.pi) ** 0.5),
        "RMSE": (root_mean_squared_error, 1.0),
    }[name]
    rng, covered = seeded(), 0
    for _ in range(300):
        metric = function(torch.zeros(10).double(), torch.randn(10, generator=rng, dtype=torch.float64))
        assert metric.low is not None
        assert metric.high is not None
        covered += metric.low <= truth <= metric.high
    assert covered / 300 > least


@pytest.mark.parametrize(("correct", "count"), [(3, 8), (8, 8), (0, 5), (19, 20)])
def test_classes_of_one_trial_count_as_one_class(correct: int, count: int) -> None:
    ones = torch.tensor([1] * correct + [0] * (count - correct))
    single = mean_fraction_interval(ones, torch.ones(count, dtype=torch.int64))
    assert single == pytest.approx(mean_fraction_interval(torch.tensor([correct]), torch.tensor([count])), abs=1e-9)


@pytest.mark.parametrize("root", [1, 2])
def test_no_limit_of_a_mean_error_is_above_the_largest_error(root: int) -> None:
    values = torch.full((12,), 1e-3, dtype=torch.float64)
    values[0], values[1] = 16.0, 2e-3
    metric = add_interval_of_mean(Metric(value=float(values.mean()) ** (1 / root), over="samples"), values, root)
    assert metric.value is not None
    assert metric.high is not None
    assert metric.value < metric.high <= 16.0 ** (1 / root)

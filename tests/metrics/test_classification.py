"""Classification metrics against scikit-learn and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from raw_datasets import seeded
from scipy import stats
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve
from torch import Tensor

from snellen.metrics.classification import (
    accuracy,
    average_precision,
    balanced_accuracy,
    calibration,
    confusion_matrix,
    f1_macro,
    log_loss,
    resampled_average_precision,
    roc_auc,
    top_k_accuracy,
)

CASES = 60


def case(seed: int) -> tuple[Tensor, Tensor, int]:
    """Random scores, truth and number of classes; often small, sometimes with absent classes."""
    rng = np.random.default_rng(seed)
    count, classes = int(rng.integers(2, 40)), int(rng.integers(2, 7))
    scores = torch.from_numpy(rng.normal(size=(count, classes)) * 3)
    return scores, torch.from_numpy(rng.integers(0, classes, count)), classes


@pytest.mark.parametrize("seed", range(CASES))
def test_classification_metrics_equal_scikit_learns(seed: int) -> None:
    scores, truth, classes = case(seed)
    predicted = scores.argmax(1)
    table = confusion_matrix(truth, predicted, classes)
    names = list(range(classes))
    assert np.array_equal(table.numpy(), oracle.confusion_matrix(truth, predicted, labels=names))
    assert accuracy(truth, predicted).value == pytest.approx(oracle.accuracy_score(truth, predicted), abs=1e-9)
    recalls = oracle.recall_score(truth, predicted, labels=names, average=None, zero_division=np.nan)
    assert balanced_accuracy(table).value == pytest.approx(np.nanmean(recalls), abs=1e-9)
    present = sorted(set(truth.tolist()) | set(predicted.tolist()))
    f1 = oracle.f1_score(truth, predicted, labels=present, average="macro", zero_division=0)
    assert f1_macro(table).value == pytest.approx(f1, abs=1e-9)
    p = scores.softmax(1).numpy()
    assert log_loss(scores, truth).value == pytest.approx(oracle.log_loss(truth, p, labels=names), abs=1e-9)
    for k in range(1, classes):
        expected = oracle.top_k_accuracy_score(truth, scores, k=k, labels=names) if classes > 2 else None
        if expected is not None:
            assert top_k_accuracy(scores, truth, k).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(CASES))
def test_roc_auc_equals_the_probability_that_a_positive_scores_above_a_negative(seed: int) -> None:
    rng = np.random.default_rng(seed)
    score = torch.from_numpy(rng.integers(0, 8, 30) / 7)  # with ties, which count half
    positive = torch.from_numpy(rng.random(30) < 0.3)
    metric = roc_auc(score, positive)
    if not 0 < int(positive.sum()) < 30:
        assert metric.value is None
        return
    pairs = score[positive][:, None] - score[~positive][None]
    expected = float((pairs > 0).double().mean() + (pairs == 0).double().mean() / 2)
    assert metric.value == pytest.approx(expected, abs=1e-9)


def test_roc_auc_is_undefined_for_one_class() -> None:
    metric = roc_auc(torch.rand(5, generator=seeded()), torch.ones(5, dtype=torch.bool))
    assert (metric.value, metric.percent) == (None, True)
    assert metric.reason == "the split has one class only"


@pytest.mark.parametrize("seed", range(12))
def test_average_precision_equals_scikit_learns_and_ignores_labels_without_positives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    score = torch.from_numpy(rng.normal(size=(40, 4)))
    truth = torch.from_numpy((rng.random((40, 4)) < 0.3).astype(np.float64))
    truth[:, 2] = 0
    metric = average_precision(score, truth)
    each = [oracle.average_precision_score(truth[:, k], score[:, k]) for k in (0, 1, 3)]
    assert metric.value == pytest.approx(np.mean(each), abs=1e-9)
    assert metric.low is not None
    assert metric.high is not None
    assert metric.low < metric.value < metric.high
    undefined = average_precision(score, torch.zeros(40, 4))
    assert (undefined.value, undefined.percent) == (None, True)


@pytest.mark.parametrize("seed", range(12))
def test_average_precision_of_tied_scores_equals_scikit_learns_in_any_order_and_for_resamples(seed: int) -> None:
    rng = np.random.default_rng(seed)
    score = torch.from_numpy(rng.integers(0, 4, (40, 3)) / 4)
    truth = torch.from_numpy((rng.random((40, 3)) < 0.4).astype(np.float64))
    rows = torch.from_numpy(rng.integers(0, 40, (5, 40)))
    values = resampled_average_precision(score, truth)(torch.cat([torch.arange(40)[None], rows]))
    expected = [
        np.mean([oracle.average_precision_score(truth[r, k], score[r, k]) for k in range(3) if truth[r, k].any()])
        for r in (slice(None), *rows)
    ]
    assert values.tolist() == pytest.approx(expected, abs=1e-9)
    order = torch.from_numpy(rng.permutation(40))
    assert average_precision(score[order], truth[order]).value == pytest.approx(expected[0], abs=1e-9)


def test_average_precision_of_constant_scores_is_the_fraction_of_positives() -> None:
    truth = torch.zeros(20, 1)
    truth[:6] = 1
    metric = average_precision(torch.zeros(20, 1), truth)
    assert metric.value == pytest.approx(0.3)
    assert metric.low is not None
    assert metric.high is not None
    assert metric.low < 0.3 < metric.high


@pytest.mark.parametrize("seed", range(12))
def test_calibration_error_equals_that_of_binned_statistics(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probability, correct = rng.random(200), rng.random(200) < 0.6
    bins = int(rng.integers(5, 20))
    edges = np.linspace(0, 1, bins + 1)
    gap, *_ = stats.binned_statistic(probability, probability - correct, "sum", edges)
    rows, error = calibration(torch.from_numpy(probability), torch.from_numpy(correct), bins)
    assert error == pytest.approx(np.abs(gap).sum() / 200)
    assert [count for *_, count in rows] == [n for n in np.histogram(probability, edges)[0] if n]


@pytest.mark.parametrize("bins", [4, 8, 16])
def test_bins_hold_their_upper_edge_as_those_of_scikit_learn(bins: int) -> None:
    """Guo et al.: ((m − 1) / M, m / M]. The numbers are exact in binary: edges, and a value on either side of each."""
    edges = torch.arange(bins + 1, dtype=torch.float64) / bins
    probability = torch.cat([edges, edges[1:] - 1 / 64, edges[:-1] + 1 / 64, torch.tensor([0.5])])
    correct = torch.arange(len(probability)) % 3 == 0
    rows, error = calibration(probability, correct, bins)
    accuracies, confidences = calibration_curve(correct.numpy(), probability.numpy(), n_bins=bins)
    assert [confidence for confidence, *_ in rows] == pytest.approx(confidences)
    assert [fraction for _, fraction, _ in rows] == pytest.approx(accuracies)
    counts = [3 + (k == 0) + (k == bins // 2 - 1) for k in range(bins)]
    assert [count for *_, count in rows] == counts
    gaps = sum(n * abs(a - c) for n, a, c in zip(counts, accuracies, confidences, strict=True))
    assert error == pytest.approx(gaps / sum(counts))


def test_calibration_error_by_hand() -> None:
    """Ten bins: .91 and .93 fall into one bin, half of them correct; .55 and .72, both correct, into one each."""
    probability = torch.tensor([0.91, 0.93, 0.55, 0.72], dtype=torch.float64)
    correct = torch.tensor([True, False, True, True])
    rows, error = calibration(probability, correct, bins=10)
    assert [(round(confidence, 9), accuracy, count) for confidence, accuracy, count in rows] == [
        (0.55, 1.0, 1),
        (0.72, 1.0, 1),
        (0.92, 0.5, 2),
    ]
    assert error == pytest.approx((0.45 + 0.28 + 2 * 0.42) / 4)
    assert calibration(torch.ones(3), torch.ones(3, dtype=torch.bool))[1] == 0  # 1 belongs to the last bin


def test_a_perfectly_calibrated_forecast_has_a_small_error() -> None:
    probability = torch.rand(200_000, generator=seeded(), dtype=torch.float64)
    correct = torch.rand(200_000, generator=seeded(1), dtype=torch.float64) < probability
    rows, error = calibration(probability, correct)
    assert error < 0.01
    assert len(rows) == 15
    assert sum(count for _, _, count in rows) == 200_000


def test_properties_of_the_metrics() -> None:
    """Fractions are shown in percent; only the log loss is better if lower; intervals are over samples."""
    scores, truth = torch.randn(40, 3, generator=seeded()), torch.arange(40) % 3
    table = confusion_matrix(truth, scores.argmax(1), 3)
    positive = torch.nn.functional.one_hot(truth, 3).double()
    metrics = {
        "accuracy": accuracy(truth, scores.argmax(1)),
        "balanced accuracy": balanced_accuracy(table),
        "F1": f1_macro(table),
        "top-2 accuracy": top_k_accuracy(scores, truth, 2),
        "ROC AUC": roc_auc(scores[:, 0], truth == 0),
        "average precision": average_precision(scores, positive),
        "log loss": log_loss(scores, truth),
    }
    for name, metric in metrics.items():
        assert metric.value is not None
        assert metric.low is not None
        assert metric.high is not None
        assert metric.low < metric.value < metric.high, name
        fraction = name != "log loss"
        assert (metric.percent, metric.higher_is_better, metric.over) == (fraction, fraction, "samples"), name
        assert metric.unit == ("" if fraction else "nats")


def test_log_loss_of_a_confident_mistake_is_finite() -> None:
    metric = log_loss(torch.tensor([[1000.0, 0.0], [0.0, 0.0]]), torch.tensor([1, 0]))
    assert metric.value == pytest.approx((1000 + math.log(2)) / 2)
    assert not metric.higher_is_better

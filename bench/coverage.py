"""Coverage of every interval that Snellen shows, by simulation from populations whose value is known.

    python bench/coverage.py [--rounds 300] [--only NAME] [--seed 0]

The functions are those of the package; nothing is trained. A 95 % interval should hold the value of the population in
95 % of the rounds; with 300 rounds the standard error of a coverage near 95 % is 1.3 points. The default takes about
three minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from compare_calibration import KINDS
from harness import RESULTS, result_header
from scipy import stats
from torch import Tensor

from snellen.core.views import Metric
from snellen.metrics import boundary, classification, detection, intervals, iou, regression, segmentation
from snellen.metrics.matching import DetectionArrays, GroundTruthArrays, Matches, MatchingRules, match
from snellen.model_selection.cross_validation import mean_over_folds, mean_with_interval

Row = dict[str, Any]
PERFORMANCES = (0.3, 0.5, 0.7, 0.9, 0.95, 0.99)


def covered(metrics: Iterator[Metric], truth: float) -> Row:
    """Coverage and median width of intervals; `none` counts the rounds without one."""
    inside, missing, widths = 0, 0, list[float]()
    for metric in metrics:
        if metric.low is None or metric.high is None:
            missing += 1
            continue
        inside += metric.low - 1e-12 <= truth <= metric.high + 1e-12
        widths.append(metric.high - metric.low)
    shown = len(widths)
    width = float(np.median(widths)) if shown else None
    return {"coverage": inside / shown if shown else None, "width": width, "none": missing}


def simulated(name: str, case: str, draw: Callable[[], Metric], truth: float, rounds: int) -> Row:
    return {"metric": name, "case": case, **covered((draw() for _ in range(rounds)), truth), "rounds": rounds}


# -- fractions -------------------------------------------------------------------------------------------------------


def accuracy(rounds: int, seed: int) -> Iterator[Row]:
    """Exact, by the binomial distribution."""
    for count in (10, 30, 100, 1000):
        for p in (0.5, 0.9, 0.99):
            limits = np.array([intervals.wilson_interval(k, count) for k in range(count + 1)])
            chance = stats.binom.pmf(np.arange(count + 1), count, p)
            inside = (limits[:, 0] <= p) & (p <= limits[:, 1])
            width = float((chance * (limits[:, 1] - limits[:, 0])).sum())
            case = f"n = {count}, p = {p}"
            yield {
                "metric": "accuracy",
                "case": case,
                "coverage": float(chance[inside].sum()),
                "width": width,
                "none": 0,
            }


MIXTURES: dict[str, tuple[list[float], list[int]]] = {
    "recalls 0.9, 0.6, 0.75; n = 80, 15, 30": ([0.9, 0.6, 0.75], [80, 15, 30]),
    "9 classes of 200 at 0.99, one of 5 at 0.5": ([0.99] * 9 + [0.5], [200] * 9 + [5]),
    "9 classes of 200 at 0.99, one of 5 at 0.8": ([0.99] * 9 + [0.8], [200] * 9 + [5]),
    "500 samples at 0.99, 20 at 0.9": ([0.99, 0.9], [500, 20]),
    "37 classes of 10, recalls 0.3 to 0.99": (np.linspace(0.3, 0.99, 37).tolist(), [10] * 37),
    "37 classes of 3 to 200, recalls 0.3 to 0.99": (
        np.linspace(0.3, 0.99, 37).tolist(),
        np.geomspace(3, 200, 37).round().astype(int).tolist(),
    ),
    "37 classes of 3 to 200, recalls 0.99 to 0.3": (
        np.linspace(0.99, 0.3, 37).tolist(),
        np.geomspace(3, 200, 37).round().astype(int).tolist(),
    ),
    "100 classes of 10, half perfect, half at 0.5": ([1.0] * 50 + [0.5] * 50, [10] * 100),
    "50 classes of 1, 50 of 10, at 0.9": ([0.9] * 100, [1] * 50 + [10] * 50),
    "20 classes of 2 at 0.99, 20 at 0.4": ([0.99] * 20 + [0.4] * 20, [2] * 40),
}


def balanced_accuracy(rounds: int, seed: int) -> Iterator[Row]:
    """Classes of equal recall, beside Clopper and Pearson's interval of the pooled fraction; and mixtures."""
    rng = np.random.default_rng(seed)
    draws = 5 * rounds
    cases = {
        f"K = {classes}, n = {count}, p = {p}": ([p] * classes, [count] * classes)
        for classes in (2, 3, 10, 37, 100)
        for count in (5, 10, 27, 200)
        for p in PERFORMANCES
    }
    for case, (recalls, counts) in {**cases, **MIXTURES}.items():
        correct = rng.binomial(counts, recalls, size=(draws, len(counts)))
        low, high = intervals.mean_fraction_limits(torch.from_numpy(correct), torch.tensor(counts))
        truth = float(np.mean(recalls))
        inside = (low - 1e-12 <= truth) & (truth <= high + 1e-12)
        row = {
            "metric": "balanced accuracy",
            "case": case,
            "coverage": float(inside.double().mean()),
            "width": float((high - low).mean()),
            "none": 0,
            "rounds": draws,
        }
        if case in cases:
            x, n = correct.sum(1), sum(counts)
            exact_low = np.where(x == 0, 0, stats.beta.ppf(0.025, np.maximum(x, 1), n - x + 1))
            exact_high = np.where(x == n, 1, stats.beta.ppf(0.975, x + 1, np.maximum(n - x, 1)))
            row["clopper_pearson"] = float(((exact_low <= truth) & (truth <= exact_high)).mean())
            row["clopper_pearson_width"] = float((exact_high - exact_low).mean())
        yield row


# -- classification --------------------------------------------------------------------------------------------------


def labelled_scores(count: int, draw: torch.Generator, levels: int | None = None) -> tuple[Tensor, Tensor]:
    """Scores and truth of three labels of different frequency and difficulty; with few levels, scores tie."""
    truth = (torch.rand(count, 3, generator=draw) < torch.tensor([0.5, 0.3, 0.15])).double()
    scores = torch.randn(count, 3, generator=draw, dtype=torch.float64) + truth * torch.tensor([2.0, 1.5, 1.0])
    return (scores if levels is None else (scores * levels / 6).round()), truth


def average_precision(rounds: int, seed: int) -> Iterator[Row]:
    draw = torch.Generator().manual_seed(seed)
    for levels in (None, 5):
        scores, truth = labelled_scores(400_000, draw, levels)
        value = float(classification.resampled_average_precision(scores, truth)(torch.arange(len(truth))[None])[0])
        for count in (30, 100, 300):
            case = f"n = {count}, 3 labels" + ("" if levels is None else ", tied scores")

            def one(count: int = count, levels: int | None = levels) -> Metric:
                return classification.average_precision(*labelled_scores(count, draw, levels))

            yield simulated("average precision", case, one, value, max(rounds // 2, 20))


def classes_drawn(count: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Logits and truth of four classes."""
    truth = torch.randint(4, (count,), generator=draw)
    scores = torch.randn(count, 4, generator=draw, dtype=torch.float64)
    scores[torch.arange(count), truth] += 2
    return scores, truth


def log_loss(rounds: int, seed: int) -> Iterator[Row]:
    draw = torch.Generator().manual_seed(seed)
    scores, truth = classes_drawn(2_000_000, draw)
    value = float(torch.nn.functional.cross_entropy(scores, truth))
    for count in (5, 10, 30, 100, 300):
        yield simulated(
            "log loss",
            f"n = {count}",
            lambda count=count: classification.log_loss(*classes_drawn(count, draw)),  # type: ignore[misc]
            value,
            rounds,
        )


def macro_f1(rounds: int, seed: int) -> Iterator[Row]:
    draw = torch.Generator().manual_seed(seed)

    def table(count: int) -> Tensor:
        scores, truth = classes_drawn(count, draw)
        return classification.confusion_matrix(truth, scores.argmax(1), 4)

    value = float(classification.f1_macro(table(2_000_000)).value or 0)
    for count in (10, 30, 100, 300):
        yield simulated(
            "macro F1",
            f"n = {count}, 4 classes",
            lambda count=count: classification.f1_macro(table(count)),  # type: ignore[misc]
            value,
            rounds,
        )


def roc_auc(rounds: int, seed: int) -> Iterator[Row]:
    """Normal scores at a distance d: AUC = Φ(d / √2)."""
    draw = torch.Generator().manual_seed(seed)
    for distance in (1.0, 2.5):
        for count, fraction in ((20, 0.5), (100, 0.5), (100, 0.1), (300, 0.1)):

            def one(distance: float = distance, count: int = count, fraction: float = fraction) -> Metric:
                positive = torch.arange(count) < round(count * fraction)
                scores = torch.randn(count, generator=draw, dtype=torch.float64) + distance * positive
                return classification.roc_auc(scores, positive)

            value = float(stats.norm.cdf(distance / math.sqrt(2)))
            yield simulated("ROC AUC", f"n = {count}, {fraction:.0%} positive, AUC {value:.3f}", one, value, rounds)


# -- numbers ---------------------------------------------------------------------------------------------------------


def regression_errors(rounds: int, seed: int) -> Iterator[Row]:
    """Normal and Laplace errors of scale 1."""
    draw = torch.Generator().manual_seed(seed)

    def errors(kind: str, count: int) -> Tensor:
        if kind == "normal":
            return torch.randn(count, generator=draw, dtype=torch.float64)
        uniform = torch.rand(count, generator=draw, dtype=torch.float64) - 0.5
        return -uniform.sign() * torch.log1p(-2 * uniform.abs())

    functions = {
        "MAE": (regression.mean_absolute_error, {"normal": math.sqrt(2 / math.pi), "Laplace": 1.0}),
        "RMSE": (regression.root_mean_squared_error, {"normal": 1.0, "Laplace": math.sqrt(2)}),
    }
    for name, (function, values) in functions.items():
        for kind, value in values.items():
            for count in (5, 10, 30, 100, 300):

                def one(function: Any = function, kind: str = kind, count: int = count) -> Metric:
                    metric: Metric = function(torch.zeros(count, dtype=torch.float64), errors(kind, count))
                    return metric

                yield simulated(name, f"n = {count}, {kind} errors", one, value, rounds)
    for count in (5, 10, 30, 100, 300):

        def r2(count: int = count) -> Metric:
            truth = torch.randn(count, 1, generator=draw, dtype=torch.float64)
            return regression.r2(truth, truth + 0.5 * errors("normal", count)[:, None])

        yield simulated("R2", f"n = {count}", r2, 0.75, rounds)


# -- images ----------------------------------------------------------------------------------------------------------


def image_tables(count: int, draw: np.random.Generator) -> Tensor:
    """(N, 3, 3) pixels of images whose class areas and error rates vary."""
    area = torch.from_numpy(draw.dirichlet(np.ones(3), count)) * 10_000
    wrong = torch.from_numpy(draw.beta(1, 5, count))[:, None]
    off_diagonal = (area * wrong / 2)[:, :, None] * (1 - torch.eye(3, dtype=torch.float64))
    return torch.diag_embed(area * (1 - wrong)) + off_diagonal


def mean_iou(rounds: int, seed: int) -> Iterator[Row]:
    draw = np.random.default_rng(seed)
    value = float(segmentation.mean_iou(segmentation.class_counts(image_tables(400_000, draw)).sum(0)))
    for count in (2, 5, 10, 30, 100):
        yield simulated(
            "mean IoU",
            f"{count} images",
            lambda count=count: segmentation.metric_over_images(image_tables(count, draw), segmentation.mean_iou, ""),  # type: ignore[misc]
            value,
            rounds,
        )


def boundary_sums(count: int, draw: np.random.Generator) -> Tensor:
    """(N, 3 · 19) matched, predicted and true boundary pixels of images of different difficulty."""
    thresholds = boundary.THRESHOLDS.numpy()
    true = draw.gamma(4, 50, count)[:, None] * np.ones(len(thresholds))
    quality = draw.beta(6, 3, count)[:, None]
    recall = quality * (1 - thresholds**2)
    precision = quality * (0.4 + 0.6 * thresholds)
    matched = true * recall
    return torch.from_numpy(np.concatenate([matched, matched / precision, true], axis=1))


def boundary_f(rounds: int, seed: int) -> Iterator[Row]:
    draw = np.random.default_rng(seed)
    value = float(boundary.f_measure(boundary_sums(200_000, draw).sum(0)))
    like = Metric(value=None, over="images", percent=True)
    for count in (2, 5, 10, 30, 100):
        yield simulated(
            "boundary F",
            f"{count} images",
            lambda count=count: intervals.metric_of_sums(like, boundary_sums(count, draw), boundary.f_measure),  # type: ignore[misc]
            value,
            rounds,
        )


def image_matches(count: int, draw: np.random.Generator) -> Matches:
    """Detections of 1 to 6 objects of two classes in each image; some are missed, moved, or false."""
    truth_image, detected_image, truth_boxes, boxes, truth_labels, labels, scores = [], [], [], [], [], [], []
    for image in range(count):
        skill = draw.beta(6, 2)
        for k in range(draw.integers(1, 7)):
            corner = np.array([40.0 * k, 0.0])
            label = int(draw.random() < 0.3)
            truth_image.append(image)
            truth_labels.append(label)
            truth_boxes.append([*corner, *(corner + 30)])
            if draw.random() < skill:
                moved = corner + draw.normal(0, 2, 2)
                detected_image.append(image)
                labels.append(label)
                boxes.append([*moved, *(moved + 30)])
                scores.append(draw.beta(5, 2))
        for _ in range(draw.poisson(1.0)):
            corner = draw.uniform(0, 200, 2) + np.array([0.0, 100.0])
            detected_image.append(image)
            labels.append(int(draw.random() < 0.3))
            boxes.append([*corner, *(corner + 30)])
            scores.append(draw.beta(2, 4))
    detected, true = np.array(boxes).reshape(-1, 4), np.array(truth_boxes)
    crowd = np.zeros(len(true), bool)
    return match(
        DetectionArrays(
            np.array(detected_image, int), np.array(labels, int), np.array(scores), np.full(len(boxes), 900.0)
        ),
        GroundTruthArrays(np.array(truth_image), np.array(truth_labels), crowd, crowd, np.full(len(true), 900.0)),
        iou.box_overlap(detected, true, crowd),
        count,
        2,
        MatchingRules(),
    )


def coco_ap(rounds: int, seed: int) -> Iterator[Row]:
    draw = np.random.default_rng(seed)
    value = float(detection.average_precision(image_matches(4000, draw))[0].nanmean())
    for count in (5, 10, 30, 100):

        def one(count: int = count) -> Metric:
            matches = image_matches(count, draw)
            found = float(detection.average_precision(matches)[0].nanmean())
            metric = Metric(value=found, over="images", percent=True)
            return intervals.add_interval(metric, detection.resampled_mean_ap(matches), count, 200)

        yield simulated("COCO AP", f"{count} images", one, value, max(rounds // 3, 20))


# -- differences, seeds, folds ---------------------------------------------------------------------------------------


def differences(rounds: int, seed: int) -> Iterator[Row]:
    """Differences in `snellen compare` of two learners of the same population: the true difference is 0."""
    draw = torch.Generator().manual_seed(seed)
    for kind, (make, spec) in KINDS.items():
        for count in (30, 200) if kind != "balanced accuracy" else (200, 1000):
            yield simulated(
                f"difference in {kind}",
                f"n = {count}",
                lambda make=make, spec=spec, count=count: make(draw, count, 0.0, spec).pairs[0].difference,  # type: ignore[misc]
                0.0,
                max(rounds // 3, 20),
            )


def seeds_and_folds(rounds: int, seed: int) -> Iterator[Row]:
    """The mean over seeds of normal results; and over folds of least squares, whose folds share training samples."""
    rng = np.random.default_rng(seed)
    for count in (2, 3, 5):

        def over_seeds(count: int = count) -> Metric:
            return mean_with_interval([Metric(value=float(v)) for v in rng.normal(size=count)], "seeds")

        yield simulated("mean over seeds", f"{count} seeds", over_seeds, 0.0, 5 * rounds)
    features, samples = 10, 100

    def test_error(x: np.ndarray, y: np.ndarray, test: np.ndarray) -> float:
        weights = np.linalg.lstsq(x[~test], y[~test], rcond=None)[0]
        return float(np.abs(y[test] - x[test] @ weights).mean())

    for folds in (2, 5, 10):
        learned = samples - samples // folds
        errors = []
        for _ in range(2000):
            x = rng.normal(size=(learned + 500, features))
            y = x.sum(1) + rng.normal(size=len(x))
            errors.append(test_error(x, y, np.arange(len(x)) >= learned))

        def over_folds(folds: int = folds) -> Metric:
            x = rng.normal(size=(samples, features))
            y = x.sum(1) + rng.normal(size=samples)
            parts = np.arange(samples) % folds
            return mean_over_folds([Metric(value=test_error(x, y, parts == k)) for k in range(folds)])

        yield simulated("mean over folds", f"{folds} folds of 100 samples", over_folds, float(np.mean(errors)), rounds)


PARTS: dict[str, Callable[[int, int], Iterator[Row]]] = {
    "accuracy": accuracy,
    "balanced-accuracy": balanced_accuracy,
    "f1": macro_f1,
    "auc": roc_auc,
    "ap": average_precision,
    "log-loss": log_loss,
    "regression": regression_errors,
    "iou": mean_iou,
    "boundary": boundary_f,
    "coco": coco_ap,
    "differences": differences,
    "means": seeds_and_folds,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage of every interval.")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--only", choices=PARTS, help="one part; the stored results are kept")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    work = "Coverage and width of the 95 % intervals, by simulation from populations whose value is known."
    result: Row = {**result_header("coverage", work, args.rounds, 1), "rows": []}
    print(f"{'metric':36s}{'case':48s}{'coverage':>9s}{'width':>9s}  Clopper-Pearson")
    for name in [args.only] if args.only else PARTS:
        for row in PARTS[name](args.rounds, args.seed):
            result["rows"].append(row)
            shown = "no interval" if row["coverage"] is None else f"{row['coverage']:9.1%}{row['width']:9.3g}"
            exact = (
                f"  {row['clopper_pearson']:.1%} {row['clopper_pearson_width']:.3g}" if "clopper_pearson" in row else ""
            )
            print(f"{row['metric']:36s}{row['case']:48s}{shown}{exact}", flush=True)
    if not args.only:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "coverage.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()

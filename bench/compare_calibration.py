"""Calibration of `snellen compare`: false positives for equal learners, and power at three standard errors.

    python bench/compare_calibration.py [--pairs 200] [--samples 1000] [--seed 0]

Pairs of classifiers with 10 classes and pairs of regressors are simulated, not trained. The two of a pair share the
difficulty of each sample, so their errors are correlated as those of real models. The predictions of equal learners
have the same distribution; otherwise the first is better by three standard errors of the difference. Equal learners may
differ significantly in 5 % of the pairs (plus two standard errors of this fraction); the better one must be found in at
least 80 % of the other pairs.
"""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

import torch
from harness import RESULTS, result_header
from torch import Tensor

from snellen.core.spec import Classes, Input, Numbers, Spec
from snellen.model_selection.comparison import Comparison, compare_predictions
from snellen.model_selection.paired_test import RunPredictions
from snellen.tasks import TASKS

CLASSES = 10
APART = 3.0  # standard errors
INPUT = {"x": Input(modality="vector", shape=(1,))}
EQUAL_CLASSES = Spec(
    name="drawn", inputs=INPUT, target=Classes(names=tuple(map(str, range(CLASSES))), counts=(100,) * CLASSES)
)
RARE_CLASSES = Spec(
    name="drawn",
    inputs=INPUT,
    target=Classes(names=tuple(map(str, range(CLASSES))), counts=(100,) * (CLASSES - 1) + (5,)),
)
NUMBERS = Spec(name="drawn", inputs=INPUT, target=Numbers(names=("y",)))
SEVERAL = Spec(name="drawn", inputs=INPUT, target=Numbers(names=("y", "z")))


def classifier_pair(draw: torch.Generator, count: int, apart: float, spec: Spec) -> Comparison:
    """Simulated predictions of two classifiers; the second has an accuracy of 90 %.

    Half of the samples are easy (both are correct); on a hard one each is correct independently,
    with probability p + step and p. The difference of one sample then has the
    variance (p(1 − p) + (p + step)(1 − p − step)) / 2 + step² / 4, and the
    mean over classes has the effective sample size K² / Σ 1/Nₖ.
    """
    weights = torch.ones(CLASSES)
    if spec is RARE_CLASSES:
        weights[-1] = 0.2
    alike = CLASSES**2 / float((1 / (count * weights / weights.sum())).sum())
    p, step = 0.8, 0.0
    for _ in range(20):  # the standard error depends on the step
        step = 2 * apart * math.sqrt((p * (1 - p) + (p + step) * (1 - p - step) + step**2 / 2) / 2 / alike)
    truth = torch.multinomial(weights, count, replacement=True, generator=draw)
    hard = torch.rand(count, generator=draw) < 0.5

    def scores(chance: float) -> Tensor:
        right = ~hard | (torch.rand(count, generator=draw) < chance)
        predictions = torch.where(
            right, truth, (truth + 1 + torch.randint(CLASSES - 1, (count,), generator=draw)) % CLASSES
        )
        return torch.nn.functional.one_hot(predictions, CLASSES).float()

    return _compare(
        "classify", spec, truth, {"scores": (scores(p + step), scores(p)), "probabilistic": (torch.tensor(False),) * 2}
    )


def regressor_pair(draw: torch.Generator, count: int, apart: float, spec: Spec) -> Comparison:
    """Simulated predictions of two regressors: normal errors with a common part; the individual part of the second is
    larger by a factor.

    The mean absolute error of N(0, s²) is s √(2/π); the factor that makes the difference `apart` standard errors of
    it is determined on a large separate sample.
    """
    assert isinstance(spec.target, Numbers)
    wide = len(spec.target.names)

    def errors(rows: int, factor: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        common = torch.randn(rows, wide, dtype=torch.float64, generator=rng)
        individual = torch.randn(2, rows, wide, dtype=torch.float64, generator=rng)
        return 0.3 * (common + individual[0]), 0.3 * (common + factor * individual[1])

    factor = 1.0
    if apart:
        low, high = 1.0, 3.0
        for _ in range(30):
            factor = (low + high) / 2
            first, second = errors(50_000, factor, torch.Generator().manual_seed(1))
            power = 1 if wide == 1 else 2  # the mean absolute error, or the mean square that R2 is made of
            more = (second.abs() ** power - first.abs() ** power).mean(1)
            reached = float(more.mean() / (more.std() / math.sqrt(count)))
            low, high = (factor, high) if reached < apart else (low, factor)
    truth = torch.randn(count, wide, dtype=torch.float64, generator=draw)
    first, second = errors(count, factor, draw)
    return _compare("regress", spec, truth, {"said": (truth + first, truth + second)})


def _compare(task: str, spec: Spec, truth: Tensor, predictions: dict[str, tuple[Tensor, Tensor]]) -> Comparison:
    ids = torch.arange(len(truth))
    return compare_predictions(
        [
            RunPredictions(
                name=name,
                learner=name,
                task=TASKS[task],
                spec=spec,
                predictions={"truth": truth, "ids": ids, **{key: both[k] for key, both in predictions.items()}},
            )
            for k, name in enumerate(("first", "second"))
        ]
    )


KINDS = {
    "accuracy": (classifier_pair, EQUAL_CLASSES),
    "balanced accuracy": (classifier_pair, RARE_CLASSES),
    "mean absolute error": (regressor_pair, NUMBERS),
    "R2": (regressor_pair, SEVERAL),
}


def better_rates(kind: str, pairs: int, samples: int, seed: int) -> dict[str, float]:
    """Fraction of pairs with a significant difference: equal learners, correct direction, wrong direction."""
    make, spec = KINDS[kind]
    draw = torch.Generator().manual_seed(seed)
    equal = [make(draw, samples, 0.0, spec).pairs[0] for _ in range(pairs)]
    apart = [make(draw, samples, APART, spec).pairs[0] for _ in range(pairs)]
    assert make(draw, samples, 0.0, spec).headline == kind
    return {
        "equal": sum(p.better for p in equal) / pairs,
        "apart": sum(p.better and p.first == "first" for p in apart) / pairs,
        "wrong": sum(p.better and p.first == "second" for p in apart) / pairs,
    }


def max_false_rate(pairs: int) -> float:
    """Maximum false-positive rate: 5 % plus two standard errors for the number of pairs."""
    return 0.05 + 2 * math.sqrt(0.05 * 0.95 / pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description="Calibration of snellen compare.")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    work = "Significant differences among simulated pairs: of equal learners, and of learners 3 standard errors apart."
    result: dict[str, Any] = {
        **result_header("compare_calibration", work, args.pairs, 1),
        "samples": args.samples,
        "rows": [],
    }
    print(f"{'headline':22s}{'equal':>8s}{'allowed':>9s}{'apart':>8s}{'asked':>7s}{'wrong':>7s}")
    for kind in KINDS:
        rates = better_rates(kind, args.pairs, args.samples, args.seed)
        bar = {"allowed": max_false_rate(args.pairs), "asked": 0.8}
        reached = rates["equal"] <= bar["allowed"] and rates["apart"] >= bar["asked"]
        result["rows"].append({"headline": kind, **rates, **bar, "reached": reached})
        print(
            f"{kind:22s}{rates['equal']:8.1%}{bar['allowed']:9.1%}{rates['apart']:8.1%}{0.8:7.0%}"
            f"{rates['wrong']:7.1%}  {'reached' if reached else 'MISSED'}"
        )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "compare_calibration.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()

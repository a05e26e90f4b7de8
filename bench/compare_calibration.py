"""How often `snellen compare` says "better" of equal learners, and of learners that differ by three standard errors.

    python bench/compare_calibration.py [--pairs 200] [--samples 1000] [--seed 0]

Pairs of classifiers with 10 classes and pairs of regressors are drawn, not trained. Both of a pair share how hard a
sample is, so their errors go together as those of real models do. Of equal learners the answers have the same
distribution; of the others, the first is better by three standard errors of the difference, as the drawn distribution
has it. "Better" may be said of equal learners in 5 % of the pairs, ± two standard errors of so many pairs, and must be
said of the right one in at least 80 % of the others.
"""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

import torch
from harness import RESULTS, about
from torch import Tensor

from snellen.core.spec import Classes, Input, Numbers, Spec
from snellen.model_selection.comparison import Answers, Comparison, compared
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


def classified(draw: torch.Generator, count: int, apart: float, spec: Spec) -> Comparison:
    """Two classifiers, of which the second is right on nine samples of ten.

    Half of the samples are easy (both are right); on a hard one each is right by itself, with chance p + step and p.
    The difference of one sample then has the variance (p(1 − p) + (p + step)(1 − p − step)) / 2 + step² / 4, and the
    mean over classes as many samples as K² / Σ 1/Nₖ.
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
        said = torch.where(right, truth, (truth + 1 + torch.randint(CLASSES - 1, (count,), generator=draw)) % CLASSES)
        return torch.nn.functional.one_hot(said, CLASSES).float()

    return _compared(
        "classify", spec, truth, {"scores": (scores(p + step), scores(p)), "probabilistic": (torch.tensor(False),) * 2}
    )


def regressed(draw: torch.Generator, count: int, apart: float, spec: Spec) -> Comparison:
    """Two regressors whose errors are normal with a common part; the second's own part is larger by a factor.

    The mean absolute error of N(0, s²) is s √(2/π); the factor that makes the difference `apart` standard errors of
    it is found on a large draw of its own.
    """
    assert isinstance(spec.target, Numbers)
    wide = len(spec.target.names)

    def errors(rows: int, factor: float, drawn: torch.Generator) -> tuple[Tensor, Tensor]:
        common = torch.randn(rows, wide, dtype=torch.float64, generator=drawn)
        own = torch.randn(2, rows, wide, dtype=torch.float64, generator=drawn)
        return 0.3 * (common + own[0]), 0.3 * (common + factor * own[1])

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
    return _compared("regress", spec, truth, {"said": (truth + first, truth + second)})


def _compared(task: str, spec: Spec, truth: Tensor, said: dict[str, tuple[Tensor, Tensor]]) -> Comparison:
    ids = torch.arange(len(truth))
    return compared(
        [
            Answers(
                name=name,
                learner=name,
                task=TASKS[task],
                spec=spec,
                said={"truth": truth, "ids": ids, **{key: both[k] for key, both in said.items()}},
            )
            for k, name in enumerate(("first", "second"))
        ]
    )


KINDS = {
    "accuracy": (classified, EQUAL_CLASSES),
    "balanced accuracy": (classified, RARE_CLASSES),
    "mean absolute error": (regressed, NUMBERS),
    "R2": (regressed, SEVERAL),
}


def shares(kind: str, pairs: int, samples: int, seed: int) -> dict[str, float]:
    """How often "better" was said: of equal learners, of the better of two, and of the worse of two."""
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


def allowed(pairs: int) -> float:
    """5 % and two standard errors of a share of so many pairs."""
    return 0.05 + 2 * math.sqrt(0.05 * 0.95 / pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description="Is the verdict of compare calibrated?")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    work = 'How often compare says "better" of simulated pairs: of equal learners, and of 3 standard errors.'
    result: dict[str, Any] = {
        **about("compare_calibration", work, given.pairs, 1),
        "samples": given.samples,
        "rows": [],
    }
    print(f"{'headline':22s}{'equal':>8s}{'allowed':>9s}{'apart':>8s}{'asked':>7s}{'wrong':>7s}")
    for kind in KINDS:
        found = shares(kind, given.pairs, given.samples, given.seed)
        bar = {"allowed": allowed(given.pairs), "asked": 0.8}
        reached = found["equal"] <= bar["allowed"] and found["apart"] >= bar["asked"]
        result["rows"].append({"headline": kind, **found, **bar, "reached": reached})
        print(
            f"{kind:22s}{found['equal']:8.1%}{bar['allowed']:9.1%}{found['apart']:8.1%}{0.8:7.0%}"
            f"{found['wrong']:7.1%}  {'reached' if reached else 'MISSED'}"
        )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "compare_calibration.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()

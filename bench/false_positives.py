"""False positives of `snellen study`, `snellen compare` and the ladder, by simulation of models that are equal.

    python bench/false_positives.py [--rounds 200] [--seed 0]

The functions are those of the package; nothing is trained. At most 5 % of the verdicts on equal models may name a
difference (plus two standard errors for the number of rounds). The default takes about three minutes on two cores; the
extra `search` is needed for the row of a search.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from compare_calibration import EQUAL_CLASSES, NUMBERS, SEVERAL
from harness import RESULTS, result_header

from snellen.core.spec import Numbers, Spec
from snellen.core.views import Metric
from snellen.model_selection.advice import select_best
from snellen.model_selection.comparison import compare_predictions
from snellen.model_selection.cross_validation import mean_with_interval
from snellen.model_selection.hyperparameter_search import suggest_cell
from snellen.model_selection.importance import importance
from snellen.model_selection.paired_test import RunPredictions
from snellen.model_selection.runner_up import runner_up_sentence
from snellen.model_selection.search_space import RangeAxis, StudyCell
from snellen.model_selection.study_plan import best_cell, tested_trainings
from snellen.model_selection.study_results import CellResult, Training
from snellen.tasks import LEARNERS, TASKS

LEVEL = 0.05
LEARNER = LEARNERS["classify"]["softmax"]
Row = dict[str, Any]


def max_rate(rounds: int) -> float:
    """5 % plus two standard errors."""
    return LEVEL + 2 * math.sqrt(LEVEL * (1 - LEVEL) / rounds)


def rate(verdict: str, case: str, found: Iterator[bool], rounds: int) -> Row:
    fraction = sum(found) / rounds
    return {
        "verdict": verdict,
        "case": case,
        "rate": fraction,
        "at_most": max_rate(rounds),
        "reached": fraction <= max_rate(rounds),
        "rounds": rounds,
    }


# -- study -----------------------------------------------------------------------------------------------------------


def grid(*levels: int) -> list[StudyCell]:
    settings = [{f"setting {k}": int(value) for k, value in enumerate(point)} for point in np.ndindex(*levels)]
    return [StudyCell(number=k, learner=LEARNER, settings=s, values=s) for k, s in enumerate(settings, 1)]


def study_importance(rounds: int, rng: np.random.Generator) -> Iterator[Row]:
    """A study where no setting matters: some setting is called distinguishable from chance."""
    for levels, seeds, over in (
        ((2,), 5, "seeds"),
        ((5,), 3, "seeds"),
        ((2, 2), 5, "seeds"),
        ((3, 3, 2), 3, "seeds"),
        ((4, 4), 1, "seeds"),
        ((3, 3), 5, "folds"),
    ):
        cells = grid(*levels)

        def one(cells: list[StudyCell] = cells, seeds: int = seeds, over: str = over) -> bool:
            noise = rng.normal(size=(len(cells), seeds)) + 2 * rng.normal(size=(1, seeds))
            effects = importance(cells, noise.tolist(), [], over) or {}
            return any(effect.chance < LEVEL for effect in effects.values())

        case = f"{' × '.join(map(str, levels))} grid of noise, {seeds} {over if seeds > 1 else over[:-1]}"
        yield rate("study: a setting matters", case, (one() for _ in range(5 * rounds)), 5 * rounds)


def search_importance(rounds: int, rng: np.random.Generator) -> Iterator[Row]:
    """An optuna search where no setting matters; its later cells depend on the noise of the earlier ones."""
    axes = [RangeAxis(name="lr", low=1e-4, high=1e-1, is_integer=False)]
    axes.append(RangeAxis(name="weight_decay", low=1e-6, high=1e-2, is_integer=False))
    rounds = max(rounds // 4, 20)

    def one() -> bool:
        observed: list[tuple[StudyCell, float]] = []
        for number in range(1, 21):
            observed.append((suggest_cell(observed, number, [LEARNER], axes, EQUAL_CLASSES), float(rng.normal())))
        effects = importance([cell for cell, _ in observed], [[value] for _, value in observed], axes, "seeds") or {}
        return any(effect.chance < LEVEL for effect in effects.values())

    yield rate("study: a setting matters", "search of 20 cells of noise", (one() for _ in range(rounds)), rounds)


def study_runner_up(rounds: int, rng: np.random.Generator) -> Iterator[Row]:
    for over in ("seeds", "folds"):

        def one(over: str = over) -> bool:
            values = rng.normal(size=(15, 5)) + 2 * rng.normal(size=(1, 5))
            best = int(values.mean(1).argmax())
            sentence = runner_up_sentence([f"{k}" for k in range(15)], values.tolist(), best, over)
            return "significantly better" in sentence

        count = 5 * rounds
        yield rate("study: the best cell is better", f"15 equal cells, 5 {over}", (one() for _ in range(count)), count)


def fold_rows(right: np.ndarray, folds: np.ndarray) -> list[CellResult]:
    """Cells whose predictions of sample i are right[cell, i] in every fold (models of one cell agree)."""
    count = int(folds.max()) + 1
    rows = []
    for number, cell_right in enumerate(right, 1):
        trainings = []
        for fold in range(count):
            rest = np.flatnonzero(folds != fold)
            validation = rest[fold::5]  # a fifth of the other samples
            values = [float(cell_right[part].mean()) for part in (validation, folds == fold)]
            trainings.append(
                Training(
                    cell=number,
                    label=f"fold-{fold + 1}",
                    status="done",
                    validation=Metric(value=values[0]),
                    test=Metric(value=values[1]),
                )
            )
        cell = StudyCell(number=number, learner=LEARNER, settings={}, values={"x": number})
        validation_mean = mean_with_interval([t.validation for t in trainings if t.validation is not None], "folds")
        rows.append(CellResult(cell=cell, trainings=tuple(trainings), validation=validation_mean))
    return rows


def study_folds(rounds: int, rng: np.random.Generator) -> Iterator[Row]:
    """50 cells that guess (50 %), 1,000 samples, 5 folds: the interval of the selected result lies above chance."""
    folds = np.arange(1000) % 5
    results: dict[str, list[Metric]] = {"nested, as shown": [], "one cell selected over all folds, not nested": []}
    for _ in range(rounds):
        rows = fold_rows(rng.random((50, 1000)) < 0.5, folds)
        nested = [
            training.test for _, training in tested_trainings(rows, None, nested=True) if training.test is not None
        ]
        chosen = rows[(best_cell(rows) or 1) - 1]
        naive = [training.test for training in chosen.trainings if training.test is not None]
        for name, metrics in zip(results, (nested, naive), strict=True):
            results[name].append(mean_with_interval(metrics, "folds"))
    for name, means in results.items():
        above = (mean.low is not None and mean.low > 0.5 for mean in means)
        row = rate("study --folds: above chance", f"50 cells that guess, {name}", above, rounds)
        bias = float(np.mean([mean.value for mean in means if mean.value is not None])) - 0.5
        yield {**row, "bias": bias, **({} if name.startswith("nested") else {"reached": None})}


# -- compare and ladder ----------------------------------------------------------------------------------------------


def equal_runs(spec: Spec, runs: int, samples: int, draw: torch.Generator) -> list[RunPredictions]:
    if isinstance(spec.target, Numbers):
        truth = torch.randn(samples, len(spec.target.names), generator=draw, dtype=torch.float64)
        common = torch.randn(truth.shape, generator=draw, dtype=torch.float64)
        said = [truth + common + torch.randn(truth.shape, generator=draw, dtype=torch.float64) for _ in range(runs)]
        predictions = [{"said": s, "truth": truth, "ids": torch.arange(samples)} for s in said]
        task = "regress"
    else:
        truth = torch.randint(10, (samples,), generator=draw)
        hard = torch.rand(samples, generator=draw) < 0.5
        predictions = []
        for _ in range(runs):
            right = ~hard | (torch.rand(samples, generator=draw) < 0.8)
            classes = torch.where(right, truth, (truth + 1) % 10)
            scores = torch.nn.functional.one_hot(classes, 10).float()
            ids = torch.arange(samples)
            predictions.append({"scores": scores, "truth": truth, "ids": ids, "probabilistic": torch.tensor(False)})
        task = "classify"
    return [
        RunPredictions(name=f"{k}", learner=f"{k}", task=TASKS[task], spec=spec, predictions=p)
        for k, p in enumerate(predictions)
    ]


def compare_family(rounds: int, draw: torch.Generator) -> Iterator[Row]:
    """Any pair of several equal runs is called different."""
    for kind, spec in (("accuracy", EQUAL_CLASSES), ("mean absolute error", NUMBERS), ("R2", SEVERAL)):
        for runs in (2, 6):
            count = max(rounds // (1 if runs == 2 else 4), 20)

            def one(spec: Spec = spec, runs: int = runs) -> bool:
                return any(pair.better for pair in compare_predictions(equal_runs(spec, runs, 200, draw)).pairs)

            case = f"{runs} equal runs, {kind}, 200 samples"
            yield rate("compare: a pair differs", case, (one() for _ in range(count)), count)


def ladder_family(rounds: int, draw: torch.Generator) -> Iterator[Row]:
    """The simplest of equal models is not the one advised."""
    kinds: dict[str, Callable[[], torch.Tensor]] = {
        "accuracy": lambda: (torch.rand(300, generator=draw) < 0.2).double(),
        "mean absolute error": lambda: torch.randn(300, generator=draw, dtype=torch.float64).abs(),
    }
    for kind, errors_of in kinds.items():
        for models in (2, 5, 12):

            def one(models: int = models, errors_of: Callable[[], torch.Tensor] = errors_of) -> bool:
                errors = {f"{k}": errors_of() for k in range(models)}
                _, simplest, _ = select_best({name: -float(e.mean()) for name, e in errors.items()}, errors)
                return simplest != "0"

            case = f"{models} equal models, {kind}, 300 samples"
            yield rate("ladder: the simplest is worse", case, (one() for _ in range(5 * rounds)), 5 * rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description="False positives among equal models.")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    work = "Differences that study, compare and the ladder name among equal simulated models."
    result: Row = {**result_header("false_positives", work, args.rounds, 1), "rows": []}
    print(f"{'verdict':32s}{'case':68s}{'rate':>7s}{'at most':>9s}")
    parts: list[Callable[[int, Any], Iterator[Row]]] = [
        study_importance,
        search_importance,
        study_runner_up,
        study_folds,
        compare_family,
        ladder_family,
    ]
    for part in parts:
        by_torch = part in (compare_family, ladder_family)
        draw: Any = torch.Generator().manual_seed(args.seed) if by_torch else np.random.default_rng(args.seed)
        for row in part(args.rounds, draw):
            result["rows"].append(row)
            verdict = {True: "reached", False: "MISSED", None: "for comparison"}[row["reached"]]
            bias = f", bias {row['bias']:+.2%}" if "bias" in row else ""
            print(
                f"{row['verdict']:32s}{row['case']:68s}{row['rate']:7.1%}{row['at_most']:9.1%}  {verdict}{bias}",
                flush=True,
            )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "false_positives.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()

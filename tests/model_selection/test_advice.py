"""Advice of a ladder where differences cannot be tested, and its sentences on cheaper models."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import snellen
from snellen.api import RunOptions
from snellen.data.formats import OpenOptions
from snellen.model_selection.advice import Loss, select_best, select_best_run, without_intervals

QUIET = RunOptions(threads=1, report=False)
REASON = "fewer than 5 blocks of overlapping windows, too few for an interval. Give more data."


def test_without_intervals_the_best_is_advised_as_not_proven() -> None:
    values = {"baseline": -30.0, "boosted-trees": -5.75, "gru": -6.0}
    best, advised, advice = without_intervals(values, ["gru", "convnet1d"], REASON)
    assert best == advised == "boosted-trees"
    assert advice == (
        "Use boosted-trees: it has the best result on the validation split. This is not proven: that split has fewer "
        "than 5 blocks of overlapping windows, too few for an interval. Give more data. Too little time for the "
        "complete training: gru. Not compared, as the time was too short: convnet1d."
    )
    assert without_intervals({"baseline": -1.0, "mlp": -2.0}, [], REASON)[1] == "baseline"
    assert without_intervals({"mlp": -1.0, "gru": -1.0}, [], REASON)[2].startswith("Use mlp: no model has a better")


@pytest.mark.parametrize("steps", [400, 4000])
def test_few_blocks_of_forecasts_give_no_false_verdict(steps: int, tmp_path: Path) -> None:
    path = tmp_path / "waves.csv"
    path.write_text("x\n" + "\n".join(f"{math.sin(k / 5):.4f}" for k in range(steps)) + "\n")
    data = snellen.dataset(path, options=OpenOptions(target=("future",), window=20, horizon=10))
    runs = {
        name: snellen.train(data, name, out=tmp_path / name, options=QUIET)
        for name in ("baseline", "linear-autoregression")
    }
    best, advised, advice = select_best_run(runs, "mean absolute error", ["gru"])
    assert best == advised == "linear-autoregression"
    assert ("not proven: that split has fewer than 5 blocks" in advice) == (steps == 400)
    assert ("--horizon or --window" in advice) == (steps == 400)
    assert "the time was too short for" not in advice


@pytest.mark.parametrize(
    ("far", "more_errors", "sentence"),
    [
        (True, 0, "more than one standard error worse."),
        (False, 2, "has over 5 % more errors."),
    ],
)
def test_a_cheaper_model_that_is_not_significantly_worse_is_discarded_for_its_reason(
    far: bool, more_errors: int, sentence: str
) -> None:
    errors = {"mfcc-svm": torch.zeros(200), "convnet": torch.zeros(200)}
    errors["convnet"][:20], errors["mfcc-svm"][: 20 + more_errors] = 1, 1
    lost = Loss(value=0.01, standard_error=0.009 if far else 0.02, text="")
    _, advised, advice = select_best(
        {"mfcc-svm": 0.89, "convnet": 0.9}, errors, lambda first, second: 0.5, lambda name, best: lost, ["convnet"]
    )
    assert advised == "convnet"
    assert f"every cheaper model {'' if 'has' in sentence else 'is '}{sentence}" in advice
    assert "mfcc-svm, does not differ significantly" in advice

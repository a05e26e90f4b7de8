"""The ladder: every learner in one table, choices on validation, failures alone, goes on after a stop."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import snellen
from snellen.api import RunOptions
from snellen.core.errors import Stopped
from snellen.core.run import Run
from snellen.model_selection.ladder import Ladder, ladder, told_apart
from snellen.tasks import LEARNERS
from snellen.tasks.classify.baseline import BaselineSettings, Prior

ONE = RunOptions(threads=1)


def like_the_baseline(name: str, fit: Callable[..., None], **more: Any) -> snellen.Learner[Any, Any, Any]:
    return dataclasses.replace(LEARNERS["classify"]["baseline"], name=name, fit=fit, **more)


def breaks(c: BaselineSettings, data: Any, model: Prior, run: Run) -> None:
    raise RuntimeError("a bug of its own")


def diverges(c: BaselineSettings, data: Any, model: Prior, run: Run) -> None:
    for _ in run.steps(5):
        run.log(loss=float("nan"))


def cheats(c: BaselineSettings, data: Any, model: Prior, run: Run) -> None:
    for _ in run.steps(1_000_000_000):
        pass


@pytest.fixture(scope="module")
def climbed(tmp_path_factory: pytest.TempPathFactory) -> Ladder:
    torch.set_num_threads(1)
    own = [like_the_baseline("breaks", breaks), like_the_baseline("diverges", diverges)]
    return ladder("moons", budget=60, out=tmp_path_factory.mktemp("ladder") / "moons", learners=own, options=ONE)


def test_every_learner_has_its_line_simplest_first(climbed: Ladder) -> None:
    names = [rung.name for rung in climbed.rungs]
    ours = [name for name, learner in LEARNERS["classify"].items() if learner.in_default_ladder]
    assert names == [*ours, "breaks", "diverges"]
    assert set(climbed.untried) == set(LEARNERS["classify"]) - set(ours)
    assert climbed.rung("lenet").status == "refused"
    assert "image" in climbed.rung("lenet").reason


def test_a_learner_that_fails_ends_alone_with_its_reason(climbed: Ladder) -> None:
    assert climbed.rung("breaks").status == "failed"
    assert "a bug of its own" in climbed.rung("breaks").reason
    assert climbed.rung("diverges").status == "failed"
    assert "nan" in climbed.rung("diverges").reason
    assert climbed.rung("mlp").status == "done"


def test_figures_have_intervals_and_costs(climbed: Ladder) -> None:
    for rung in climbed.rungs:
        if rung.status == "done":
            for metric in (rung.headline, rung.validation):
                assert metric is not None
                assert metric.low <= metric.value <= metric.high  # type: ignore[operator]
            assert rung.seconds_learning is not None
            assert rung.peak_memory_bytes is not None
            assert rung.peak_memory_bytes > 1_000_000
    assert climbed.rung("mlp").multiply_adds > climbed.rung("softmax").multiply_adds  # type: ignore[operator]


def test_the_best_on_validation_is_advised_where_it_is_told_from_the_simpler(climbed: Ladder) -> None:
    values = {r.name: r.validation.value for r in climbed.rungs if r.validation is not None}
    assert values[climbed.best or ""] == max(v for v in values.values() if v is not None)
    assert climbed.best == climbed.advised == "bases"
    assert "bases" in climbed.advice


def test_the_frontier_holds_no_model_that_a_cheaper_one_equals(climbed: Ladder) -> None:
    done = [r for r in climbed.rungs if r.status == "done"]
    for rung in done:
        cheaper = [
            o
            for o in done
            if o.multiply_adds < rung.multiply_adds  # type: ignore[operator]
            and o.validation.value >= rung.validation.value
        ]  # type: ignore[operator, union-attr]
        assert not (rung.on_frontier and cheaper)
    assert climbed.rung("baseline").on_frontier


def test_the_page_tells_of_every_model_and_needs_nothing_outside(climbed: Ladder) -> None:
    page = (climbed.folder / "report.html").read_text()
    assert all(rung.name in page for rung in climbed.rungs)
    assert climbed.advice in re.sub(r"\s+", " ", page.replace("\u00a0", " "))
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)


def test_a_climb_of_other_data_is_not_gone_on_with(climbed: Ladder) -> None:
    with pytest.raises(snellen.UsageError, match="other data"):
        ladder("rings", budget=5, out=climbed.folder, options=ONE)


def test_a_stopped_climb_goes_on_and_keeps_what_was_learned(tmp_path: Path) -> None:
    def stops(c: BaselineSettings, data: Any, model: Prior, run: Run) -> None:
        raise Stopped("stopped", signal=2)

    own = like_the_baseline("stops", stops)
    with pytest.raises(Stopped) as caught:
        ladder("moons", budget=30, out=tmp_path / "l", learners=[own], options=ONE)
    assert str(tmp_path / "l") in caught.value.remedy
    before = (tmp_path / "l" / "mlp" / "model.safetensors").stat().st_mtime_ns
    again = ladder("moons", budget=30, out=tmp_path / "l", options=ONE)
    assert again.rung("mlp").status == "done"
    assert (tmp_path / "l" / "mlp" / "model.safetensors").stat().st_mtime_ns == before


def test_the_test_split_is_opened_after_all_have_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    task = LEARNERS["classify"]["baseline"].task
    honest = task.predict

    def predict(model: Any, data: Any, split: str, run: Run) -> Any:
        asked.append(split)
        return honest(model, data, split, run)

    monkeypatch.setattr(snellen.model_selection.ladder, "_write_page", lambda *a: None)  # it asks the baseline
    object.__setattr__(task, "predict", predict)
    try:
        ladder("moons", budget=30, out=tmp_path / "l", options=dataclasses.replace(ONE, report=False))
    finally:
        object.__setattr__(task, "predict", honest)
    first = asked.index("test")
    assert "test" not in asked[:first]
    learned = len([s for s in asked[:first] if s == "val"])
    assert learned >= 4
    assert "val" not in asked[first:]


def test_a_learner_with_endless_steps_is_cut_at_its_share(tmp_path: Path) -> None:
    own = like_the_baseline("endless", cheats)
    made = ladder("moons", budget=25, out=tmp_path / "l", learners=["baseline", own], options=ONE)
    rung = made.rung("endless")
    assert rung.status == "done"
    assert "of 1,000,000,000 steps" in rung.reason


def test_where_many_share_little_the_small_ones_still_climb(tmp_path: Path) -> None:
    made = ladder("xor", budget=16, out=tmp_path / "xor", options=ONE)  # even shares are below LEAST
    assert [made.rung(name).status for name in ("baseline", "perceptron", "lda")] == ["done"] * 3


def test_models_are_told_apart_by_paired_errors() -> None:
    drawn = torch.Generator().manual_seed(0)
    wrong = (torch.rand(1000, generator=drawn) < 0.3).double()
    better = wrong.clone()
    better[wrong.nonzero()[:60, 0]] = 0  # 60 of 1000 mended: far beyond 1.96 standard errors of the difference
    assert told_apart(wrong, better)
    assert not told_apart(wrong, wrong)
    swapped = wrong.clone()
    swapped[:100] = wrong[:100].flip(0)  # other samples wrong, as many
    assert not told_apart(wrong, swapped)


def test_equal_learners_are_told_apart_in_five_of_a_hundred() -> None:
    drawn = torch.Generator().manual_seed(1)

    def errors() -> Tensor:
        return (torch.rand(500, generator=drawn) < 0.2).double()

    share = sum(told_apart(errors(), errors()) for _ in range(1000)) / 1000
    assert 0.03 < share < 0.07  # 5 % with a sampling error of 0.7 points


def test_ladder_json_is_strict(climbed: Ladder) -> None:
    plain = json.loads((climbed.folder / "ladder.json").read_text(), parse_constant=pytest.fail)
    assert plain["finished"]["best"] == climbed.best

"""Run folders of schema 1, written by version 0.1.0 and kept as they were (`make.sh`), are read as before."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from pathlib import Path

import pytest
import squares
from torch import nn

import snellen
from snellen.cli.main import main
from snellen.core import legacy_names
from snellen.core.errors import SnellenError
from snellen.core.history import read_history
from snellen.core.record import versions
from snellen.core.serialization import to_plain
from snellen.core.settings import flatten, make, values
from snellen.model_selection.study import study
from snellen.tasks import LEARNERS

HERE = Path(__file__).parent
TASKS = ("classify", "regress", "segment", "pixels", "detect", "instances", "keypoints")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders in a place of their own, beside the images that four of them were trained on.

    They have the versions of this machine: resuming with others gives a warning, which is not the subject here.
    """
    shutil.copytree(HERE / "folders", tmp_path / "runs")
    squares.write(tmp_path / "data")
    for path in (tmp_path / "runs").rglob("run.json"):
        text = path.read_text().replace("{DATA}", str(tmp_path / "data"))
        for name, version in versions().items():
            text = re.sub(rf'"{name}": "[\d.]+(\+\w+)?"', f'"{name}": "{version}"', text)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


@pytest.mark.parametrize("task", TASKS)
def test_a_run_is_loaded_evaluated_and_reported(kept: Path, task: str) -> None:
    stored = json.loads((kept / task / "metrics.json").read_text())["splits"]["test"]
    run = snellen.load(kept / task, device="cpu")
    metrics = run.evaluate()
    assert set(metrics) == set(stored)
    for name, metric in metrics.items():
        before = stored[name]["value"]
        assert metric.value == (before if before is None else pytest.approx(before, rel=1e-3, abs=1e-4)), name
    assert run.report().exists()


def test_two_runs_are_compared(kept: Path) -> None:
    assert main(["compare", str(kept / "ladder" / "baseline"), str(kept / "ladder" / "perceptron")]) == 0


def test_an_interrupted_run_is_resumed_where_it_stopped(kept: Path) -> None:
    before = read_history(kept / "interrupted" / "history.jsonl")
    run = snellen.resume(kept / "interrupted")
    rows = read_history(kept / "interrupted" / "history.jsonl")
    assert rows[: len(before)] == before
    steps = [row["step"] for row in rows if "loss" in row]
    assert steps == list(range(len(steps)))
    assert len(steps) > 8
    assert run.record.status == "finished"


def test_a_ladder_is_resumed(kept: Path) -> None:
    made = snellen.ladder("moons", budget=300, learners=("baseline", "perceptron"), out=kept / "ladder-begun")
    assert [rung.status for rung in made.rungs] == ["done", "done"]
    assert made.best == "perceptron"


@pytest.mark.parametrize(("rate", "epochs"), [("rate=0.1,1", "--passes"), ("lr=0.1,1", "--epochs")])
def test_a_finished_study_is_shown_again(
    kept: Path, rate: str, epochs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written = {path: path.stat().st_mtime_ns for path in kept.rglob("model.safetensors")}
    words = f"--model perceptron --vary {rate} {epochs} 2 --seeds 1"
    assert main(["study", "moons", *words.split(), "--out", str(kept / "study"), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sum("validation" in line and "values" in line for line in lines) > 0
    assert written == {path: path.stat().st_mtime_ns for path in kept.rglob("model.safetensors")}


CHANGED_DEFAULTS = {("classify", "probe"): {"encoder"}}  # runs store the values that they were trained with


# Of learners that there were; runs of schema 1 have the default.
NEW_SETTINGS = {
    "fcn": {"from_scratch", "downscale"},
    **{name: {"downscale"} for name in ("unet", "encoder-decoder", "dilated")},
}


def test_every_setting_has_a_present_name() -> None:
    """Of each learner that there was, all settings of schema 1 lead to settings that it has now."""
    before = json.loads((HERE / "settings.json").read_text())
    for task, learners in before.items():
        for name, settings in learners.items():
            learner = LEARNERS[legacy_names.TASKS.get(task, task)][name]
            now = values(make(learner.settings, {}))
            known = {setting.name: setting for setting in flatten(learner.settings)}
            upgraded = legacy_names.upgrade_settings(settings, known)
            assert set(upgraded) <= set(now), (task, name)
            assert set(now) - set(upgraded) == NEW_SETTINGS.get(name, set()), (task, name)
            assert len(upgraded) == len(settings)
            changed = CHANGED_DEFAULTS.get((task, name), set())
            assert {n for n, value in upgraded.items() if to_plain(value) != to_plain(now[n])} == changed, (task, name)


FORMER_FLAGS = [
    ("train moons --model mlp --epochs 1 --act tanh --hard 0.5", "--act is now --activation"),
    ("train moons --model bases --epochs 1 --width 0.5", "--width is now --bandwidth"),
    ("train moons --model softmax --epochs 1 --keep-test-closed", "--keep-test-closed is now --skip-test"),
    ("data data/masks --as pairs", "--as is now --data-format"),
    ("train data/depth --task pixels --model baseline", "pixels is now dense-regress"),
    ("train data/depth --task=pixels --model baseline", "--task=dense-regress"),
    ("study moons --model perceptron --vary rate=0.1,1 --passes 1 --seeds 1", "--rate is now --lr"),
    ("train moons --model mlp --epochs 1 --sampling each --average 0.9", "--average is now --ema-decay"),
    ("study moons --model mlp --vary sampling=each,balanced --epochs 1 --seeds 1", ""),
]


@pytest.mark.parametrize(("words", "line"), FORMER_FLAGS)
def test_a_former_flag_answers_and_names_the_present_one(
    kept: Path, words: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = [] if words.startswith("data") else ["--out", "new"]
    assert main([*words.split(), *out]) == 0
    assert line in capsys.readouterr().err


def test_former_flags_are_not_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    for verb, flags in legacy_names.FLAGS.items():
        with contextlib.suppress(SystemExit):
            main([verb, "--help"])
        shown = capsys.readouterr().out
        assert not [flag for flag in flags if re.search(rf"{flag}(?![\w-])", shown)], verb
        assert all(present in shown for present in flags.values()), verb


@pytest.mark.filterwarnings("error")
def test_a_run_of_a_plain_module_is_loaded_without_a_warning(kept: Path) -> None:
    run = snellen.load(kept / "custom-module", learner=nn.Sequential(nn.Linear(2, 2)), device="cpu")
    assert run.record.settings["ema_decay"] == 0.9
    stored = json.loads((kept / "custom-module" / "metrics.json").read_text())["splits"]["test"]
    assert run.evaluate()["accuracy"].value == pytest.approx(stored["accuracy"]["value"])


@pytest.mark.parametrize(
    "words",
    [
        "study moons --model perceptron --vary passes=1,2 --epochs 3 --seeds 1",
        "study moons --model perceptron --vary rate=0.1,1 --vary lr=0.5,2 --seeds 1",
        "study moons --model perceptron --vary lr=1,2 --passes 3 --epochs 2 --seeds 1",
        "train moons --model softmax --epochs 1 --clip 1 --clip-grad 2",
    ],
)
def test_a_setting_is_not_given_by_two_of_its_names(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words.split(), "--out", str(tmp_path / "new")]) == 2
    assert "twice" in capsys.readouterr().err


@pytest.mark.parametrize("former", [{"act": "tanh", "activation": "relu"}, {"zz": "x"}])
def test_a_record_with_both_names_or_an_unknown_one_is_refused(kept: Path, former: dict[str, str]) -> None:
    path = kept / "classify" / "run.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "settings": {**record["settings"], **former}}))
    with pytest.raises(SnellenError, match=r"act|zz"):
        snellen.load(kept / "classify")


def test_deeply_nested_json_is_an_unknown_key(kept: Path) -> None:
    path = kept / "classify" / "run.json"
    record = json.loads(path.read_text())
    nested = "[" * 400 + "]" * 400
    path.write_text(json.dumps({**record, "zz": 0}).replace('"zz": 0', f'"zz": {nested}'))
    with pytest.raises(SnellenError, match="unknown key 'zz'"):
        snellen.load(kept / "classify")


DAMAGED = [{"vary": [1]}, {"cells": [1]}, {"cells": [{"model": "mlp"}]}, {"schema": 9}]


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_study_is_refused(kept: Path, damage: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    path = kept / "study" / "study.json"
    state = json.loads(path.read_text())
    state = {**state, "about": {**state["about"], **damage}} if "vary" in damage else {**state, **damage}
    path.write_text(json.dumps(state))
    words = "study moons --model perceptron --vary lr=0.1,1 --epochs 2 --seeds 1"
    assert main([*words.split(), "--out", str(kept / "study")]) == 3
    assert "Traceback" not in capsys.readouterr().err


def test_former_python_names_lead_to_the_present_ones(tmp_path: Path) -> None:
    with pytest.raises(SnellenError) as caught:
        snellen.train("moons", model="mlp", act="tanh", out=tmp_path / "new")
    assert "now called activation" in caught.value.remedy
    with pytest.raises(AttributeError, match="now called RunOptions"):
        snellen.Machine  # type: ignore[attr-defined]  # noqa: B018


def test_choices_of_other_settings_stay_as_they_are() -> None:
    known = {setting.name: setting for setting in flatten(LEARNERS["classify"]["mlp"].settings)}
    assert legacy_names.upgrade_settings({"own": "each", "sampling": "each"}, known) == {
        "own": "each",
        "sampling": "shuffle",
    }


CHANGELOG = (HERE.parents[1] / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_changelog_names_every_renamed_setting_flag_and_choice() -> None:
    """Two independent lists of the same renamings: a swapped pair in one of them is found."""
    renamed = CHANGELOG.partition("  - Settings:")[2].partition("  - Files and answers")[0]
    renamed = (
        re.sub(r"\s+", " ", renamed)
        .replace("R-CNN's ", "")
        .replace("the perceptron's ", "")
        .replace("of `serve`: ", "")
    )
    pairs: set[tuple[str, str]] = set()
    for present, former in re.findall(
        r"((?:`[^`]+`(?:, (?:and )?)?)+) \(((?:`[^`]+`(?:, )?)+)(?: of [^)]*)?\)", renamed
    ):
        new, old = (re.findall(r"`([^`]+)`", part) for part in (present, former))
        if len(new) == 1:
            pairs |= {(name, new[0]) for name in old}
        else:
            pairs |= set(zip(old, new[-len(old) :], strict=True))
    settings = {
        (f"--{former.replace('_', '-')}", f"--{name.replace('_', '-')}")
        for former, names in legacy_names.SETTINGS.items()
        for name in names
    }
    flags = {pair for verb in legacy_names.FLAGS.values() for pair in verb.items()}
    values = {(f"{'--sampling ' if new == 'shuffle' else ''}{new}", old) for old, new in legacy_names.VALUES.items()}
    pairs.add(("--seed", "--split-seed"))  # described with the seeds
    missing = (settings | flags | {(old, new) for new, old in values}) - pairs
    assert not missing, (missing, pairs)


def former_names(settings: dict[str, object]) -> dict[str, object]:
    """Settings by the names of schema 1."""
    former = {new: old for old, names in legacy_names.SETTINGS.items() for new in names}
    perceptron = {"lr": "rate", "epochs": "passes"}
    return {
        perceptron.get(name, name if name in perceptron else former.get(name, name)): v for name, v in settings.items()
    }


def test_folds_of_schema_1_are_continued(tmp_path: Path) -> None:
    folds = {"folds": 2, "model": "perceptron", "out": tmp_path / "folds", "settings": {"epochs": 2}}
    snellen.cross_validate("moons", **folds)
    path = tmp_path / "folds" / "folds.json"
    state = json.loads(path.read_text())
    assert state.pop("schema") == 2
    state["settings"] = former_names(state["settings"])
    assert "passes" in state["settings"]
    path.write_text(json.dumps(state))
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "folds").rglob("model.safetensors")}
    snellen.cross_validate("moons", **folds)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "folds").rglob("model.safetensors")} == before


def test_a_search_of_schema_1_is_continued(tmp_path: Path) -> None:
    words = {"model": "perceptron", "lr": "0.1..1", "epochs": [2]}
    first = study("moons", words, trials=2, seeds=1, out=tmp_path / "study")
    path = tmp_path / "study" / "study.json"
    state = json.loads(path.read_text())
    assert state.pop("schema") == 2
    state.pop("finished", None)
    state["about"]["vary"] = former_names(state["about"]["vary"])
    for cell in state["cells"]:
        cell["settings"] = former_names(cell["settings"])
    assert set(state["about"]["vary"]) == {"rate", "passes"}
    path.write_text(json.dumps(state))
    second = study("moons", words, trials=2, seeds=1, out=tmp_path / "study")
    assert [row.cell.settings for row in second.rows] == [row.cell.settings for row in first.rows]


def test_a_former_name_with_two_meanings_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "study digits --vary model=residual-mlp,bases --vary width=2..4 --trials 2 --epochs 1 --seeds 1"
    assert main([*words.split(), "--out", str(tmp_path / "study")]) == 2
    assert "'width' is called width in residual-mlp, and bandwidth in bases" in capsys.readouterr().err

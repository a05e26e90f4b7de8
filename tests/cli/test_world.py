"""A world on the command line: training, prediction of states, evaluation, comparison, and what has no samples."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from command import run_command

import snellen
from snellen.api import RunOptions
from snellen.core.errors import DataError, UsageError
from snellen.core.views import Board, BoardCell
from snellen.data.experience import open_experience, read_inputs
from snellen.data.synthetic.gridworld import GridWorld, gridworld
from snellen.report.view_html import html


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run of value iteration, which takes milliseconds, with its page."""
    folder = tmp_path_factory.mktemp("world") / "run"
    done = run_command(["train", "gridworld", "--model", "value-iteration", "--out", str(folder)])
    assert done.code == 0, done.err
    assert "over episodes" in done.out
    return folder


def test_states_are_predicted_as_numbers_json_and_tables(run: Path, tmp_path: Path) -> None:
    table = tmp_path / "states.csv"
    table.write_text("column,row\n3,2\n")
    done = run_command(["predict", str(run), "2,3", "[[2,3],[5,6]]", str(table)])
    assert done.code == 0, done.err
    first, again, beside_goal, row = done.lines
    assert first["action"] == again["action"] == row["action"] == "left"
    assert first["values"] == row["values"]
    assert (beside_goal["action"], beside_goal["values"]["up"]) == ("up", pytest.approx(0.96))


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ("9,0", "row cannot be 9"),
        ("1.5,0", "row cannot be 1.5"),
        ("1", "no state of 2 numbers"),
        ("[]", "no state of 2 numbers"),
        ("[[1,0],[2]]", "no state of 2 numbers"),
        ("[[true,0]]", "is no state"),
        ("[1,0", "cannot be parsed"),
        ("nan,0", "NaN or infinity"),
        ("1,1e999", "NaN or infinity"),
        (f"[[{'9' * 400},0]]", "is no state"),
        ("1,1", "is a wall"),
        ("4,6", "the cell G, which ends the episode"),
        ("nowhere.csv", "does not exist"),
    ],
)
def test_a_state_that_cannot_be_is_an_error(run: Path, state: str, cause: str) -> None:
    done = run_command(["predict", str(run), state])
    assert done.code in (2, 3)
    assert not done.out
    assert cause in done.err
    assert len(done.err.strip().splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["data", "gridworld"], "gridworld is a world: it has episodes, and no samples to check"),
        (["train", "gridworld", "--folds", "3"], "no samples to divide into folds"),
        (["train", "gridworld", "--range", "0,1"], "no samples with a range of values"),
        (["train", "gridworld", "--cache", "off"], "no samples to cache"),
        (["train", "gridworld", "--target", "x"], "--target does not apply"),
        (["train", "gridworld", "--quarantine"], "--quarantine does not apply"),
        (["train", "gridworld", "--data-format", "table"], "--data-format does not apply"),
        (["train", "gridworld", "--model", "mlp"], "Unknown model 'mlp' of control"),
        (["train", "moons", "--task", "control"], "no target for control"),
        (["get", "gridworld"], "needs no download"),
    ],
)
def test_what_a_world_does_not_have_is_one_line(arguments: list[str], cause: str) -> None:
    done = run_command(arguments)
    assert done.code == 2, done.err
    assert cause in done.err
    assert "Traceback" not in done.err


def test_dataset_of_a_world_is_an_error() -> None:
    with pytest.raises(UsageError, match="gridworld is a world"):
        snellen.dataset("gridworld")


def test_evaluation_and_comparison_use_the_same_episodes(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "random"
    assert run_command(["train", "gridworld", "--model", "baseline", "--out", str(other)]).code == 0
    compared = run_command(["compare", str(run), str(other), "--json"])
    assert compared.code == 0, compared.err
    assert compared.lines[0]["better"]
    assert compared.lines[0]["samples"] == 1000
    again = run_command(["evaluate", str(run), "--json"]).lines[0]["metrics"]["mean return"]["value"]
    assert again == snellen.load(run).metrics["mean return"].value
    evaluated = run_command(["evaluate", str(run), "--data", "slippery-gridworld", "--json"])
    assert evaluated.code == 0, evaluated.err
    assert evaluated.lines[0]["metrics"]["mean return"]["value"] < again
    refused = run_command(["evaluate", str(run), "--data", "moons"])
    assert refused.code == 3
    assert "targets" in refused.err


def test_the_page_shows_the_board_as_a_still_image(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert "Greedy policy and state values" in page
    assert "Mean return by start" in page
    assert "over 1,000 test episodes" in page
    assert "<script" not in page


def test_a_board_is_an_svg_of_its_cells() -> None:
    cells = [[BoardCell(value=0.5, arrow=(0, 1)), BoardCell(mark="<G")], [BoardCell(mark="#"), BoardCell(value=-1.0)]]
    figure = html(Board(title="A & B", cells=cells, caption="c"))
    svg = ET.fromstring(figure[figure.index("<svg") : figure.index("</svg>") + 6])
    assert len(svg.findall(".//rect")) == 4
    assert len(svg.findall(".//path")) == 1
    assert [text.text for text in svg.findall(".//text")] == ["0.50", "<G", "-1.00"]


def test_a_world_made_in_memory_is_trained_and_loaded_and_another_one_refused(tmp_path: Path) -> None:
    world = gridworld(("..G", "S#."), name="lane", sizes={"train": 20, "val": 6, "test": 8})
    options = RunOptions(report=False)
    trained = snellen.train(world, "q-learning", out=tmp_path / "run", options=options, episodes=200)
    assert trained.metrics["mean return"].value == pytest.approx(1 - 3 * 0.04)
    loaded = snellen.load(tmp_path / "run", data=world)
    assert loaded.evaluate()["success rate"].value == 1.0
    (worst,) = loaded.worst_samples(1)
    assert worst["truth"] == {"start": [1.0, 0.0]}
    other = gridworld(("..G", "S.."), name="lane", sizes={"train": 20, "val": 6, "test": 8}, seed=1)
    with pytest.raises(DataError, match="other samples"):
        snellen.load(tmp_path / "run", data=other)
    with pytest.raises(DataError, match="2 x 4 states, the model reads 2 x 3"):
        loaded.evaluate(gridworld(("..G.", "S#..")))
    with pytest.raises(DataError, match="has changed"):
        snellen.resume(tmp_path / "run", data=gridworld(("..G", "S.."), name="lane", sizes=world.spec.sizes))


def test_copies_of_an_experience_keep_what_it_is() -> None:
    world = open_experience("slippery-gridworld", seed=2)
    assert isinstance(world, GridWorld)
    smaller = dataclasses.replace(world, splits={"test": world.splits["test"][:3]})
    assert (smaller.slip, smaller.origin) == (0.2, world.origin)
    assert read_inputs(smaller, smaller.splits["test"], smaller.preprocessing).shape == (3, 2)
    assert open_experience(world) is world

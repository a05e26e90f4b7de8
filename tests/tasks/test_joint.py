"""Several targets of a table, predicted together: reading, metrics, losses, errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, mean_absolute_error

import snellen
from snellen.api import RunOptions
from snellen.cli.main import main
from snellen.core.errors import UsageError
from snellen.core.run import Run
from snellen.core.spec import Classes, Labels, Numbers, Several
from snellen.data.dataset import truth_of
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset
from snellen.nn.layers import Standardize
from snellen.nn.network import Network
from snellen.tasks.joint.objective import JointNetwork, JointObjective, JointSettings, fit_scaling, output_count
from snellen.tasks.joint.task import TASK, mean_skill, select

QUIET = RunOptions(threads=1, report=False)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of two columns with a class, a number and several labels."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("joint") / "rows.csv"
    lines = ["a,b,kind,size (mm),marks"]
    for a, b in rng.normal(size=(200, 2)):
        kind = "left" if a + 0.1 * rng.normal() < 0 else "right"
        marks = ";".join(word for word, on in (("up", b > 0), ("far", abs(a) > 1)) if on) or ";"
        lines.append(f"{a:.4f},{b:.4f},{kind},{3 * a - 2 * b + 50:.3f},{marks}")
    path.write_text("\n".join(lines))
    return path


def opened(table: Path, *target: str) -> snellen.Dataset:
    return dataset(table, options=OpenOptions(target=target))


def test_columns_of_different_kinds_are_several_targets(table: Path) -> None:
    data = opened(table, "kind", "size", "marks")
    assert isinstance(data.spec.target, Several)
    kind, size, marks = data.spec.target.parts.values()
    assert isinstance(kind, Classes)
    assert sum(kind.counts) == data.spec.sizes["train"]
    assert isinstance(size, Numbers)
    assert size.units == ("mm",)
    assert isinstance(marks, Labels)
    assert data.truth.shape == (200, 1 + 1 + 2)
    for name in ("kind", "size", "marks"):
        alone = opened(table, name)
        assert torch.equal(truth_of(data.spec.target, name, data.truth), alone.truth)
    assert torch.equal(data.splits["test"], opened(table, "kind").splits["test"])  # stratified by the classes


def test_numeric_columns_stay_numbers_unless_one_is_requested_as_classes(tmp_path: Path) -> None:
    path = tmp_path / "digits.csv"
    path.write_text("x,digit,angle\n" + "".join(f"{k * 7 % 11},{k % 3},{k * 1.5}\n" for k in range(40)))
    assert isinstance(opened(path, "digit", "angle").spec.target, Numbers)
    target = opened(path, "digit:classes", "angle").spec.target
    assert isinstance(target, Several)
    assert [type(part) for part in target.parts.values()] == [Classes, Numbers]


@pytest.mark.parametrize(
    ("target", "words"), [(("kind", "kind"), "twice"), (("kind", "weight"), "No column is called 'weight'")]
)
def test_a_wrong_target_is_an_error(table: Path, target: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        opened(table, *target)


def test_text_as_numbers_is_an_error_with_its_line(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", str(table), "--target", "kind:numbers,size"]) == 3
    assert "line 2" in capsys.readouterr().err


def test_mean_skill_by_hand() -> None:
    ours = torch.tensor([[0.0, 1.0], [1.0, 3.0]], dtype=torch.float64)
    theirs = torch.tensor([[1.0, 4.0], [1.0, 4.0]], dtype=torch.float64)
    assert float(mean_skill(ours, theirs)) == ((1 - 0.5 / 1) + (1 - 2 / 4)) / 2
    assert bool(torch.isnan(mean_skill(ours, theirs * torch.tensor([0.0, 1.0]))))


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> snellen.TrainedRun:
    data = opened(table, "kind", "size", "marks")
    out = tmp_path_factory.mktemp("joint") / "run"
    return snellen.train(data, "residual-mlp", out=out, options=QUIET, epochs=30)


def test_metrics_are_those_of_each_target_and_skill_is_against_the_constant(run: snellen.TrainedRun) -> None:
    predictions = run.predictions("test")
    kind, size = (select(predictions, name, run.spec) for name in ("kind", "size"))
    accuracy = accuracy_score(kind["truth"], kind["scores"].argmax(1))
    error = mean_absolute_error(size["truth"], size["said"])
    assert run.metrics["accuracy of kind"].value == pytest.approx(accuracy)
    assert run.metrics["mean absolute error of size"].value == pytest.approx(error)
    train = run.data.truth[run.data.splits["train"]]
    constant = np.full(len(size["truth"]), np.median(train[:, 1].numpy()))
    skill = 1 - error / mean_absolute_error(size["truth"], constant)
    assert run.metrics["skill of size"].value == pytest.approx(skill)
    skills = [run.metrics[f"skill of {name}"].value for name in ("kind", "size", "marks")]
    assert run.metrics["mean skill"].value == pytest.approx(np.mean(skills))
    assert 1 - float(TASK.errors(predictions, run.spec).mean()) == pytest.approx(run.metrics["mean skill"].value)
    assert run.metrics["mean skill"].value > 0.3


def test_predictions_name_each_target_and_the_truth_has_their_form(run: snellen.TrainedRun) -> None:
    (sample,) = run.worst_samples(1)
    assert set(sample["answer"]) == {"kind", "size", "marks"}
    assert sample["answer"]["kind"]["class"] in ("left", "right")
    assert isinstance(sample["truth"]["size"], float)
    assert set(sample["truth"]["marks"]) <= {"up", "far"}


def model_of(table: Path, separate: bool) -> tuple[JointNetwork, JointObjective, snellen.Dataset]:
    data = opened(table, "kind", "size", "marks")
    body = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.Tanh(), torch.nn.Linear(5, output_count(data.spec)))
    network = JointNetwork(Network(Standardize(data.spec.input), body), data.spec, separate)
    fit_scaling(network, data)
    return network, JointObjective(data.spec, JointSettings(), Run(Path(), resume=None)), data


def test_the_loss_is_the_sum_of_the_losses_in_numpy(table: Path) -> None:
    network, objective, data = model_of(table, separate=False)
    batch = data.samples("train").take(torch.arange(20))
    outputs = network.network(batch.x).double().detach().numpy()
    y, train = batch.y.numpy(), data.truth[data.splits["train"]].numpy()
    logits = outputs[:, :2]
    cross_entropy = np.log(np.exp(logits).sum(1)) - logits[np.arange(20), y[:, 0].astype(int)]
    squared = (outputs[:, 2] - (y[:, 1] - train[:, 1].mean()) / train[:, 1].std()) ** 2
    p = 1 / (1 + np.exp(-outputs[:, 3:]))
    binary = -(y[:, 2:] * np.log(p) + (1 - y[:, 2:]) * np.log(1 - p))
    expected = cross_entropy.mean() + squared.mean() + binary.mean()
    assert float(objective.loss(network, batch).detach()) == pytest.approx(expected, rel=1e-5)


def test_separate_networks_share_no_gradient(table: Path) -> None:
    network, objective, data = model_of(table, separate=True)
    batch = data.samples("train").take(torch.arange(20))
    outputs = network(batch.x)
    outputs["size"].sum().backward()
    assert all(p.grad is None for p in network.network.parameters())
    assert [any(p.grad is not None for p in other.parameters()) for other in network.others.values()] == [True, False]
    assert float(objective.loss(network, batch).detach()) > 0


def test_a_run_trained_on_other_classes_is_not_evaluated(run: snellen.TrainedRun, table: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text(table.read_text().replace("left", "west"))
    with pytest.raises(snellen.DataError, match="The targets of other"):
        run.evaluate(opened(other, "kind", "size", "marks"))


def test_predict_writes_one_record_for_each_row(
    run: snellen.TrainedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "new.csv"
    rows.write_text("a,b\n2.0,0.5\n-2.0,-0.5\n")
    assert main(["predict", str(run.folder), str(rows)]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["kind"]["class"], second["kind"]["class"]) == ("right", "left")
    assert first["size"] > second["size"]

"""Every diagnosis is provoked by a run that deserves it, and none is made of a healthy one."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from snellen.api import TrainedRun, train
from snellen.core.spec import Classes, Input
from snellen.core.views import Finding, Metric
from snellen.data.dataset import Dataset, Labelled, RawDataset
from snellen.data.open_dataset import assemble, dataset
from snellen.data.source import Array
from snellen.report import reference_metrics
from snellen.report.diagnosis import Evidence, diagnose
from snellen.report.network_statistics import gradients, silent_units
from snellen.tasks import LEARNERS, TASKS


def kinds(run: TrainedRun) -> set[str]:
    return {finding.kind for finding in run.told().findings}


def learned(tmp_path: Path, model: str, data: str | Dataset[Labelled] = "digits", **settings: object) -> TrainedRun:
    return train(data, model, out=tmp_path / "run", **settings)


def coin_tosses(count: int) -> Dataset[Labelled]:
    """Two classes that have nothing to do with their 100 numbers."""
    drawn = torch.Generator().manual_seed(1)
    x = torch.randn(count, 100, generator=drawn, dtype=torch.float64)
    truth = torch.randint(0, 2, (count,), generator=drawn)
    return assemble(
        RawDataset(
            source=Array(x, "row"),
            inputs={"row": Input(modality="vector", shape=(100,), dtype="float64")},
            target=Classes(names=("heads", "tails")),
            truth=truth,
            recognised_as="a table",
        ),
        "coins",
        0,
        None,
    )


@pytest.mark.parametrize(("model", "epochs"), [("softmax", 30), ("mlp", 30), ("perceptron", None)])
def test_a_healthy_run_on_digits_has_no_finding(tmp_path: Path, model: str, epochs: int | None) -> None:
    run = learned(tmp_path, model, **({} if epochs is None else {"epochs": epochs}))
    assert run.told().findings == []


def test_a_healthy_regression_has_no_finding(numbers_run: TrainedRun) -> None:
    assert numbers_run.told().findings == []


def test_a_healthy_run_on_several_labels_has_no_finding(labels_run: TrainedRun) -> None:
    assert labels_run.told().findings == []


def test_labels_that_are_never_said_are_found_out(labels_run: TrainedRun) -> None:
    evidence = evidence_of(labels_run)
    said = {**evidence.said, "scores": torch.full_like(evidence.said["scores"], -1.0)}
    assert [f.kind for f in diagnose(dataclasses.replace(evidence, said=said), {})] == ["one-class"]


def test_the_baseline_needs_no_input_to_be_read(digits_run: TrainedRun, numbers_run: TrainedRun) -> None:
    for run in (digits_run, numbers_run):
        model = reference_metrics.baseline(run.task, run.data)
        assert model is not None
        read = reference_metrics.figures(run.task, model, run.data, "test")
        assert reference_metrics.baseline_figures(run.task, run.data, "test") == read


def test_gradients_vanish_in_ten_sigmoid_layers_and_nothing_is_learned(tmp_path: Path) -> None:
    run = learned(tmp_path, "mlp", activation="sigmoid", hidden=(30,) * 10, epochs=3)
    assert {"vanishing", "at-chance", "one-class", "baseline"} <= kinds(run)
    assert "rate" not in kinds(run)
    assert run.told().findings[0].kind == "vanishing", "the cause stands before its symptoms"


@pytest.mark.parametrize("model", ["softmax", "mlp"])
def test_a_rate_of_ten_is_too_high(tmp_path: Path, model: str) -> None:
    assert "rate" in kinds(learned(tmp_path, model, lr=10.0, epochs=5))


def test_a_loss_that_falls_and_rises_again_says_the_rate_is_too_high(digits_run: TrainedRun) -> None:
    rows = [{"loop": "train", "step": k, "loss": 2.3 - 0.03 * min(k, 50) + 0.03 * max(0, k - 50)} for k in range(100)]
    evidence = dataclasses.replace(evidence_of(digits_run), history=rows)
    assert [f.kind for f in diagnose(evidence, {})] == ["rate"]
    falling = [{**row, "loss": 2.3 - 0.02 * k} for k, row in enumerate(rows)]
    assert diagnose(dataclasses.replace(evidence, history=falling), {}) == []


def test_a_rate_that_is_far_too_high_kills_relu_units(tmp_path: Path) -> None:
    run = learned(tmp_path, "mlp", lr=10.0, epochs=5)
    (finding,) = [f for f in run.told().findings if f.kind == "dead-units"]
    assert "hidden layer 1" in finding.message
    assert 0.3 * 120 < finding.count <= 120


def test_coin_tosses_learned_by_heart_show_a_gap_and_no_better_than_the_baseline(tmp_path: Path) -> None:
    run = learned(tmp_path, "mlp", coin_tosses(400), epochs=100)
    assert kinds(run) == {"gap", "baseline"}


def test_a_batch_whose_like_samples_have_unlike_labels_cannot_be_learned_by_heart(tmp_path: Path) -> None:
    x = torch.ones(60, 4, dtype=torch.float64)
    draft = RawDataset(
        source=Array(x, "row"),
        inputs={"row": Input(modality="vector", shape=(4,), dtype="float64")},
        target=Classes(names=("heads", "tails")),
        truth=torch.arange(60) % 2,
        recognised_as="a table",
    )
    run = learned(tmp_path, "mlp", assemble(draft, "coins", 0, None), overfit=True)
    assert "by-heart" in kinds(run)


@pytest.mark.parametrize("model", ["softmax", "mlp"])
def test_a_batch_that_was_learned_by_heart_has_no_finding(tmp_path: Path, model: str) -> None:
    assert kinds(learned(tmp_path, model, overfit=True)) == set()


def test_a_rate_of_nearly_zero_leaves_the_loss_at_chance(tmp_path: Path) -> None:
    run = learned(tmp_path, "mlp", lr=1e-9, epochs=1)
    assert "at-chance" in kinds(run)


def test_a_model_that_always_says_one_class_is_found_out(digits_run: TrainedRun) -> None:
    evidence = evidence_of(digits_run)
    scores = torch.zeros_like(evidence.said["scores"])
    scores[:, 3] = 1
    said = {**evidence.said, "scores": scores}
    found = diagnose(dataclasses.replace(evidence, said=said), {})
    assert [f.kind for f in found] == ["one-class"]
    assert "says 3 to 100 %" in found[0].message


def test_classes_that_are_never_said_are_named(digits_run: TrainedRun) -> None:
    evidence = evidence_of(digits_run)
    scores = evidence.said["scores"].clone()
    scores[:, [3, 8]] = scores.min() - 1
    (found,) = diagnose(dataclasses.replace(evidence, said={**evidence.said, "scores": scores}), {})
    assert found.kind == "never-said"
    there = torch.isin(evidence.said["truth"], torch.tensor([3, 8])).double().mean()
    assert found.message == f"It never says 3 or 8, and {100 * float(there):.2g} % of the samples are."


def test_the_baseline_is_not_beaten_when_it_lies_inside_the_interval(digits_run: TrainedRun) -> None:
    evidence = evidence_of(digits_run)
    near = Metric(value=0.97, low=0.9, high=0.99, percent=True)
    assert [f.kind for f in diagnose(evidence, {"accuracy": near})] == ["baseline"]
    assert diagnose(evidence, {"accuracy": Metric(value=0.1, percent=True)}) == []


def test_leakage_found_in_the_data_is_passed_on_first(digits_run: TrainedRun) -> None:
    leak = Finding(kind="leakage", message="12 test pictures are copies of training pictures")
    other = Finding(kind="imbalance", message="few of one class")
    evidence = evidence_of(digits_run)
    data = dataclasses.replace(evidence.data, findings=(other, leak))
    assert diagnose(dataclasses.replace(evidence, data=data), {}) == [leak]


class Deep(nn.Module):
    """ReLU layers whose weights are four times as large as they should be."""

    probabilistic = True

    def __init__(self, gain: float) -> None:
        super().__init__()
        sizes = [64, *[30] * 8, 10]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        drawn = torch.Generator().manual_seed(0)
        for layer in self.layers:
            layer.weight.data.normal_(0, gain * (2 / layer.in_features) ** 0.5, generator=drawn)

    def scores(self, x: Tensor) -> Tensor:
        x = x.float().flatten(1) / 255
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        y: Tensor = self.layers[-1](x)
        return y


@pytest.mark.parametrize(("gain", "fires"), [(6.0, True), (1.0, False)])
def test_gradients_explode_where_weights_are_too_large(tmp_path: Path, gain: float, fires: bool) -> None:
    data, model = dataset("digits"), Deep(gain)
    said = reference_metrics.ask(TASKS["classify"], model, data, "val")
    metrics = {"val": TASKS["classify"].measure(said, data.spec)}
    evidence = Evidence(
        task=TASKS["classify"], model=model, data=data, history=[], said=said, metrics=metrics, notes={}
    )
    found = {f.kind for f in diagnose(evidence, {})}
    assert ("exploding" in found) is fires
    assert "vanishing" not in found


def test_a_model_in_closed_form_is_where_its_buffers_are() -> None:
    lda = LEARNERS["classify"]["lda"]
    discriminant = lda.build(lda.settings(), dataset("digits").spec)
    assert not list(discriminant.parameters())
    assert reference_metrics.device_of(discriminant) == torch.device("cpu")
    assert reference_metrics.device_of(discriminant.to("meta")) == torch.device("meta")
    assert reference_metrics.device_of(nn.Linear(1, 1, device="meta")) == torch.device("meta")
    assert reference_metrics.device_of(nn.Identity()) == torch.device("cpu")


def test_layer_gradients_equal_those_of_backward(digits_run: TrainedRun) -> None:
    data, model = digits_run.data, digits_run.model
    batch = reference_metrics.few(data, "train", 64).samples("train").take(torch.arange(64))
    sizes = gradients(model, batch, data.spec)
    assert all(p.grad is None for p in model.parameters()), "the model is left as it was"
    nn.functional.cross_entropy(model(batch.x), batch.y).backward()
    weights = [p for p in model.parameters() if p.ndim > 1]
    expected = [float(p.grad.double().square().mean().sqrt()) for p in weights if p.grad is not None]
    model.zero_grad(set_to_none=True)
    assert [s.gradient for s in sizes] == pytest.approx(expected, rel=1e-5)


def test_silent_units_are_those_that_are_zero_on_every_sample_in_whatever_form_relu_comes() -> None:
    class Three(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.ReLU(inplace=True)
            self.conv = nn.Conv2d(1, 2, 1)
            self.conv.weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
            self.conv.bias.data.zero_()

        def scores(self, x: Tensor) -> Tensor:
            x = self.module(self.conv(x.float()))
            shift = torch.zeros(x[0].numel())
            shift[0] = -1000.0
            return nn.functional.relu(x.flatten(1) + shift).relu()

    data = dataset("digits")
    layers = silent_units(Three(), reference_metrics.few(data, "val", 300).samples("val"), data.spec)
    assert [len(layer) for layer in layers] == [2, 128, 128]
    assert layers[0].tolist() == [False, True]
    assert bool(layers[1][0])
    assert bool(layers[1][64:].all())


def evidence_of(run: TrainedRun) -> Evidence:
    told = run.told()
    return Evidence(
        task=told.task,
        model=run.model,
        data=run.data,
        history=told.history,
        notes=told.notes,
        said=run.predictions("test"),
        metrics=told.metrics,
    )

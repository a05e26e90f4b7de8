"""Diagnosis: every finding occurs for a run with that problem, and none for a healthy run."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest
import torch
from raw_datasets import classes
from torch import Tensor, nn

from snellen.api import TrainedRun, train
from snellen.core.history import read_history
from snellen.core.run import Run
from snellen.core.spec import Classes, Input
from snellen.core.views import Finding, Metric
from snellen.data.dataset import Dataset, Labelled, RawDataset
from snellen.data.open_dataset import assemble, dataset
from snellen.data.source import ArraySource
from snellen.report import diagnosis, reference_metrics
from snellen.report.diagnosis import Evidence, diagnose
from snellen.report.diagnosis_size import diagnosis_size, trained_samples
from snellen.report.network_statistics import dead_units, gradient_norms
from snellen.tasks import LEARNERS, TASKS
from snellen.tasks.regress.diagnosis import outside_findings


def kinds(run: TrainedRun) -> set[str]:
    return {finding.kind for finding in run.summary().findings}


def train_run(tmp_path: Path, model: str, data: str | Dataset[Labelled] = "digits", **settings: object) -> TrainedRun:
    return train(data, model, out=tmp_path / "run", **settings)


def coin_tosses(count: int) -> Dataset[Labelled]:
    """Two classes that are independent of their 100 inputs."""
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(count, 100, generator=rng, dtype=torch.float64)
    truth = torch.randint(0, 2, (count,), generator=rng)
    return assemble(
        RawDataset(
            source=ArraySource(x, "row"),
            inputs={"row": Input(modality="vector", shape=(100,), dtype="float64")},
            target=Classes(names=("heads", "tails")),
            truth=truth,
            recognised_as="a table",
        ),
        "coins",
        0,
        None,
    )


@pytest.mark.learning
@pytest.mark.parametrize(("model", "epochs"), [("softmax", 30), ("mlp", 30), ("perceptron", None)])
def test_a_healthy_run_on_digits_has_no_finding(tmp_path: Path, model: str, epochs: int | None) -> None:
    run = train_run(tmp_path, model, **({} if epochs is None else {"epochs": epochs}))
    assert run.summary().findings == []


def test_a_healthy_regression_has_no_finding(numbers_run: TrainedRun) -> None:
    assert numbers_run.summary().findings == []


@pytest.mark.learning
def test_a_healthy_run_on_several_labels_has_no_finding(labels_run: TrainedRun) -> None:
    assert labels_run.summary().findings == []


@pytest.mark.learning
def test_labels_that_are_never_predicted_are_a_finding(labels_run: TrainedRun) -> None:
    evidence = evidence_of(labels_run)
    predictions = {**evidence.predictions, "scores": torch.full_like(evidence.predictions["scores"], -1.0)}
    assert [f.kind for f in diagnose(dataclasses.replace(evidence, predictions=predictions), {})] == ["one-class"]


def test_the_baseline_reads_no_inputs(digits_run: TrainedRun, numbers_run: TrainedRun) -> None:
    for run in (digits_run, numbers_run):
        model = reference_metrics.fit_baseline(run.task, run.data)
        assert model is not None
        read = reference_metrics.evaluate(run.task, model, run.data, "test")
        assert reference_metrics.baseline_metrics(run.task, model, run.data, "test") == read


@pytest.mark.learning
def test_gradients_vanish_in_ten_sigmoid_layers(tmp_path: Path) -> None:
    run = train_run(tmp_path, "mlp", activation="sigmoid", hidden=(30,) * 10, epochs=3)
    assert {"vanishing", "at-chance", "one-class", "baseline"} <= kinds(run)
    assert "rate" not in kinds(run)
    assert run.summary().findings[0].kind == "vanishing", "causes come before symptoms"


@pytest.mark.learning
@pytest.mark.parametrize("model", ["softmax", "mlp"])
def test_a_learning_rate_of_ten_is_too_high(tmp_path: Path, model: str) -> None:
    assert "rate" in kinds(train_run(tmp_path, model, lr=10.0, epochs=5))


@pytest.mark.learning
def test_a_loss_that_falls_and_rises_again_is_a_finding_on_the_learning_rate(digits_run: TrainedRun) -> None:
    rows = [{"loop": "train", "step": k, "loss": 2.3 - 0.03 * min(k, 50) + 0.03 * max(0, k - 50)} for k in range(100)]
    evidence = dataclasses.replace(evidence_of(digits_run), history=rows)
    assert [f.kind for f in diagnose(evidence, {})] == ["rate"]
    falling = [{**row, "loss": 2.3 - 0.02 * k} for k, row in enumerate(rows)]
    assert diagnose(dataclasses.replace(evidence, history=falling), {}) == []


@pytest.mark.learning
def test_a_learning_rate_far_too_high_leaves_dead_relu_units(tmp_path: Path) -> None:
    run = train_run(tmp_path, "mlp", lr=10.0, epochs=5)
    (finding,) = [f for f in run.summary().findings if f.kind == "dead-units"]
    assert "hidden layer 1" in finding.message
    assert 0.3 * 120 < finding.count <= 120


@pytest.mark.learning
def test_overfit_coin_tosses_have_a_gap_and_are_no_better_than_the_baseline(tmp_path: Path) -> None:
    """With an SVM: of a network the epoch that is best on validation by chance may be its first, without a gap."""
    run = train_run(tmp_path, "svm", coin_tosses(400))
    assert kinds(run) == {"gap", "baseline"}


@pytest.mark.learning
def test_a_batch_of_equal_samples_with_different_labels_cannot_be_overfit(tmp_path: Path) -> None:
    x = torch.ones(60, 4, dtype=torch.float64)
    raw = RawDataset(
        source=ArraySource(x, "row"),
        inputs={"row": Input(modality="vector", shape=(4,), dtype="float64")},
        target=Classes(names=("heads", "tails")),
        truth=torch.arange(60) % 2,
        recognised_as="a table",
    )
    run = train_run(tmp_path, "mlp", assemble(raw, "coins", 0, None), overfit=True)
    assert "by-heart" in kinds(run)


@pytest.mark.learning
@pytest.mark.parametrize("model", ["softmax", "mlp"])
def test_an_overfit_batch_has_no_finding(tmp_path: Path, model: str) -> None:
    assert kinds(train_run(tmp_path, model, overfit=True)) == set()


@pytest.mark.learning
def test_a_learning_rate_near_zero_leaves_the_loss_at_chance(tmp_path: Path) -> None:
    run = train_run(tmp_path, "mlp", lr=1e-9, epochs=1)
    assert "at-chance" in kinds(run)


@pytest.mark.learning
def test_a_model_that_always_predicts_one_class_is_a_finding(digits_run: TrainedRun) -> None:
    evidence = evidence_of(digits_run)
    scores = torch.zeros_like(evidence.predictions["scores"])
    scores[:, 3] = 1
    predictions = {**evidence.predictions, "scores": scores}
    findings = diagnose(dataclasses.replace(evidence, predictions=predictions), {})
    assert [f.kind for f in findings] == ["one-class"]
    assert "predicts 3 for 100 %" in findings[0].message


@pytest.mark.learning
def test_classes_that_are_never_predicted_are_named(digits_run: TrainedRun) -> None:
    evidence = evidence_of(digits_run)
    scores = evidence.predictions["scores"].clone()
    scores[:, [3, 8]] = scores.min() - 1
    (finding,) = diagnose(dataclasses.replace(evidence, predictions={**evidence.predictions, "scores": scores}), {})
    assert finding.kind == "never-said"
    there = torch.isin(evidence.predictions["truth"], torch.tensor([3, 8])).double().mean()
    percent = f"{100 * float(there):.2g} %"
    assert finding.message == f"The model never predicts 3 or 8: {percent} of the samples are of these classes."


@pytest.mark.learning
def test_a_baseline_inside_the_interval_is_a_finding(digits_run: TrainedRun) -> None:
    evidence = evidence_of(digits_run)
    near = Metric(value=0.97, low=0.9, high=0.99, percent=True)
    assert [f.kind for f in diagnose(evidence, {"accuracy": near})] == ["baseline"]
    assert diagnose(evidence, {"accuracy": Metric(value=0.1, percent=True)}) == []


def test_leakage_in_the_data_is_the_first_finding(digits_run: TrainedRun) -> None:
    leak = Finding(kind="leakage", message="12 test images are copies of training images")
    other = Finding(kind="imbalance", message="few of one class")
    evidence = evidence_of(digits_run)
    data = dataclasses.replace(evidence.data, findings=(other, leak))
    assert diagnose(dataclasses.replace(evidence, data=data), {}) == [leak]


class Deep(nn.Module):
    """A deep ReLU network whose initial weights are scaled by `gain`."""

    probabilistic = True

    def __init__(self, gain: float) -> None:
        super().__init__()
        norms = [64, *[30] * 8, 10]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(norms))
        rng = torch.Generator().manual_seed(0)
        for layer in self.layers:
            layer.weight.data.normal_(0, gain * (2 / layer.in_features) ** 0.5, generator=rng)

    def scores(self, x: Tensor) -> Tensor:
        x = x.float().flatten(1) / 255
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        y: Tensor = self.layers[-1](x)
        return y


@pytest.mark.parametrize(("gain", "fires"), [(6.0, True), (1.0, False)])
def test_gradients_explode_for_large_weights(tmp_path: Path, gain: float, fires: bool) -> None:
    data, model = dataset("digits"), Deep(gain)
    predictions = reference_metrics.predict_split(TASKS["classify"], model, data, "val")
    metrics = {"val": TASKS["classify"].measure(predictions, data.spec)}
    evidence = Evidence(
        task=TASKS["classify"], model=model, data=data, history=[], predictions=predictions, metrics=metrics, notes={}
    )
    finding_kinds = {f.kind for f in diagnose(evidence, {})}
    assert ("exploding" in finding_kinds) is fires
    assert "vanishing" not in finding_kinds


def test_the_device_of_a_model_without_parameters_is_that_of_its_buffers() -> None:
    lda = LEARNERS["classify"]["lda"]
    discriminant = lda.build(lda.settings(), dataset("digits").spec)
    assert not list(discriminant.parameters())
    assert reference_metrics.device_of(discriminant) == torch.device("cpu")
    assert reference_metrics.device_of(discriminant.to("meta")) == torch.device("meta")
    assert reference_metrics.device_of(nn.Linear(1, 1, device="meta")) == torch.device("meta")
    assert reference_metrics.device_of(nn.Identity()) == torch.device("cpu")


def test_layer_gradients_equal_those_of_backward(digits_run: TrainedRun) -> None:
    data, model = digits_run.data, digits_run.model
    batch = reference_metrics.subsample(data, "train", 64).samples("train").take(torch.arange(64))
    norms = gradient_norms(model, batch, TASKS["classify"].diagnosis)
    assert all(p.grad is None for p in model.parameters()), "the model is unchanged"
    nn.functional.cross_entropy(model(batch.x), batch.y).backward()
    weights = [p for p in model.parameters() if p.ndim > 1]
    expected = [float(p.grad.double().square().mean().sqrt()) for p in weights if p.grad is not None]
    model.zero_grad(set_to_none=True)
    assert [s.gradient for s in norms] == pytest.approx(expected, rel=1e-5)


def test_dead_units_are_zero_on_every_sample_for_every_form_of_relu() -> None:
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
    layers = dead_units(
        Three(), reference_metrics.subsample(data, "val", 300).samples("val"), TASKS["classify"].diagnosis
    )
    assert [len(layer) for layer in layers] == [2, 128, 128]
    assert layers[0].tolist() == [False, True]
    assert bool(layers[1][0])
    assert bool(layers[1][64:].all())


def evidence_of(run: TrainedRun) -> Evidence:
    summary = run.summary()
    return Evidence(
        task=summary.task,
        model=run.model,
        data=run.data,
        history=summary.history,
        notes=summary.notes,
        predictions=run.predictions("test"),
        metrics=summary.metrics,
    )


def test_predictions_beyond_a_bound_of_the_target_are_named() -> None:
    """A fraction, 0 for many samples: predictions below 0 are doubtful, those above the largest value are not."""
    train = torch.cat([torch.zeros(5), torch.linspace(0.01, 0.9, 95)])[:, None].double()
    predicted = torch.tensor([[-0.06], [-0.01], [0.0], [0.5], [1.2]]).double()
    (finding,) = outside_findings(train, predicted, ("defect",), "test")
    assert finding.message == (
        "2 of 5 test predictions of defect are below 0, the smallest value in training (5 samples have it); the "
        "farthest is -0.06."
    )
    (finding,) = outside_findings(1 - train, 1 - predicted, ("defect",), "test")
    assert "above 1, the largest value" in finding.message
    assert outside_findings(train, predicted.clamp(min=0), ("defect",), "test") == []
    assert outside_findings(train[4:], predicted, ("defect",), "test") == []
    assert outside_findings(torch.zeros(9, 1), predicted, ("defect",), "test") == []
    few = torch.cat([torch.zeros(3), torch.linspace(0.01, 0.9, 997)])[:, None].double()  # 0.3 %: a tail
    assert outside_findings(few, predicted, ("defect",), "test") == []
    small = torch.cat([torch.zeros(2), torch.linspace(0.01, 0.9, 8)])[:, None].double()  # two may coincide
    assert outside_findings(small, predicted, ("defect",), "test") == []


def test_the_diagnosis_of_a_regression_looks_at_the_bounds(numbers_run: TrainedRun) -> None:
    evidence = evidence_of(numbers_run)
    data = evidence.data
    lowest = data.truth.quantile(0.2)
    bounded = dataclasses.replace(evidence, data=dataclasses.replace(data, truth=data.truth.clamp(min=lowest)))
    predictions = {**evidence.predictions, "said": evidence.predictions["said"] - 10 * data.truth.std()}
    found = diagnose(dataclasses.replace(bounded, predictions=predictions), {})
    assert "outside" in {finding.kind for finding in found}


def test_the_baseline_is_not_compared_with_itself(tmp_path: Path) -> None:
    summary = train_run(tmp_path, "baseline").summary()
    assert summary.findings == []
    assert summary.baseline == {}


def test_a_better_result_without_an_interval_is_no_finding(digits_run: TrainedRun) -> None:
    evidence = evidence_of(digits_run)
    for value, found in ((0.9, set()), (0.1, {"baseline"}), (0.05, {"baseline"})):
        ours = Metric(value=value, over="samples", reason="fewer than 5 samples")
        metrics = {split: {**named, "accuracy": ours} for split, named in evidence.metrics.items()}
        changed = dataclasses.replace(evidence, metrics=metrics)
        kinds = {finding.kind for finding in diagnose(changed, {"accuracy": Metric(value=0.1)})}
        assert kinds & {"baseline"} == found


# -- number of samples -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trained", [0, 100, 5000, 10**6])
@pytest.mark.parametrize("multiply_adds", [1e3, 2e9, 1e11])
@pytest.mark.parametrize("examines_layers", [True, False])
def test_the_diagnosis_costs_at_most_a_tenth_of_training(
    trained: int, multiply_adds: float, examines_layers: bool
) -> None:
    size = diagnosis_size(2000, trained, multiply_adds, examines_layers=examines_layers)
    cost = size.metrics + (3 * size.gradients + size.units if examines_layers else 0)  # in forward passes
    smallest = 32 + (3 * 8 + 32 if examines_layers else 0)
    allowed = max(0.1 * 3 * trained, 1e11 / multiply_adds)
    assert cost <= max(allowed, smallest) or (size.gradients == 8 and cost <= allowed + smallest)
    complete = 2000 + (3 * 64 + 512 if examines_layers else 0)
    assert size.limited == (allowed < complete)
    assert size.limited or cost == complete


def test_the_diagnosis_of_an_unknown_training_is_complete() -> None:
    for trained, multiply_adds in ((None, 1e12), (1, None), (1, 0)):
        assert diagnosis_size(300, trained, multiply_adds, examines_layers=True) == (64, 512, 300, False)


def test_trained_samples_are_counted_in_the_history() -> None:
    history = [{"loop": "first", "step": 90}, *({"loop": "train", "step": k, "loss": 1.0} for k in range(7))]
    assert trained_samples(history, {"samples per step": 32}) == 7 * 32
    assert trained_samples(history, {"samples per step": 0.3}) == 3
    assert trained_samples(history, {}) is None


def test_a_limited_diagnosis_examines_fewer_samples_and_the_report_contains_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train_run(tmp_path, "mlp", epochs=1)
    trained = trained_samples(read_history(run.folder / "history.jsonl"), run.summary().notes)
    assert trained == pytest.approx(run.spec.sizes["train"], abs=32)
    assert not run.summary().diagnosed.limited
    assert "training samples: the computation" not in run.report().read_text()
    monkeypatch.setattr("snellen.report.diagnosis_size.FREE_MULTIPLY_ADDS", 0.0)
    summary, again = run.summary(), run.summary()
    assert summary.diagnosed == again.diagnosed
    assert summary.findings == again.findings
    size = summary.diagnosed
    assert size.metrics + 3 * size.gradients + size.units <= 0.3 * trained
    counted = dict.fromkeys(("train", "val"), 0)
    forward = run.model.scores

    def count(x: Tensor) -> Tensor:
        counted["train" if len(x) != size.units else "val"] += len(x)
        return forward(x)

    monkeypatch.setattr(run.model, "scores", count)
    page = run.report().read_text()
    assert counted == {"train": size.metrics + size.gradients, "val": size.units}
    assert f"On {size.metrics} of {run.spec.sizes['train']:,} training samples: the computation" in page


def test_stored_predictions_of_the_training_split_are_not_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe has them; its frozen encoder is not examined either."""
    x, y = torch.randint(0, 256, (60, 3, 16, 16), dtype=torch.uint8), torch.arange(60) % 2
    train_run(tmp_path, "resnet20", classes(x, y, 2), epochs=1)
    for head in ("logistic", "neighbours"):
        run = train(
            classes(x, y, 2),
            "probe",
            out=tmp_path / head,
            encoder="resnet20",
            pretrained=str(tmp_path / "run"),
            head=head,
        )
        stored, computed = (
            run.predictions("train"),
            run.task.predict(run.model, run.data, "train", Run(Path(), resume=None)),
        )
        assert {name: tensor.dtype for name, tensor in stored.items()} == {n: t.dtype for n, t in computed.items()}
        assert torch.allclose(stored["scores"], computed["scores"], atol=1e-4)
        assert torch.equal(stored["truth"], computed["truth"])
        assert torch.equal(stored["ids"], computed["ids"])
        monkeypatch.setattr(run.model.features, "forward", lambda x: pytest.fail("features are computed again"))
        run.summary()


@pytest.mark.parametrize(("last", "kind"), [(0.01, "overfitting"), (1.0, "at-chance")])
def test_early_weights_at_chance_are_overfitting_where_the_training_loss_fell(last: float, kind: str) -> None:
    """A falling loss is that of weights that were not selected: to train longer would not help."""
    ours = {"accuracy": Metric(value=0.36), "log loss": Metric(value=1.09, higher_is_better=False)}
    baseline = {"accuracy": Metric(value=0.34), "log loss": Metric(value=1.1, higher_is_better=False)}
    history = [{"step": k, "loss": 1.1 + (last - 1.1) * min(1, k / 50)} for k in range(100)]
    (finding,) = diagnosis._chance(ours, baseline, "accuracy", history)
    assert finding.kind == kind
    assert ("train longer" in finding.remedy) == (kind == "at-chance")

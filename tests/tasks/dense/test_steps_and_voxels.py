"""Tasks `segment` and `dense-regress` at steps and voxels: metrics, predictions, files, report pages, own modules."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import torch
from sklearn.metrics import accuracy_score, jaccard_score, mean_absolute_error, r2_score
from torch import Tensor, nn

import snellen
from snellen.api import RunOptions
from snellen.core.errors import UsageError
from snellen.core.run import Run
from snellen.core.spec import Input
from snellen.data.dataset import Dataset, Labelled
from snellen.tasks import LEARNERS, TASKS
from snellen.training.dense import inside


def ragged_sequences(regress: bool) -> Dataset[Labelled]:
    """Sequences of 9 to 16 steps, NaN after the end, where the ground truth is -1 or NaN."""
    full = scenes.sequence_dataset(regress)
    x = full.source.values.clone()  # type: ignore[attr-defined]
    truth = torch.stack([full.annotations.load(id) for id in range(len(x))])  # type: ignore[union-attr, misc]
    for id in range(len(x)):
        x[id, 9 + id % 8 :] = torch.nan
        truth[id, ..., 9 + id % 8 :] = torch.nan if regress else -1
    names = ("mean",) if regress else ("negative", "positive")
    data = scenes.place_dataset(x, "sequence", truth, names, "ragged")
    inputs = {"x": Input(modality="sequence", shape=(None, 2))}
    return dataclasses.replace(data, spec=dataclasses.replace(data.spec, inputs=inputs))


class Noise(nn.Module):
    """A model whose outputs are a fixed function of the values, finite where these are NaN."""

    def __init__(self, outputs: int, axis: int) -> None:
        super().__init__()
        self.outputs, self.axis = outputs, axis

    def forward(self, x: Tensor) -> Tensor:
        values = x.nan_to_num(nan=3.0).sum(self.axis)
        return torch.stack([torch.sin(7 * values + k) for k in range(self.outputs)], 1)

    scores = predict = forward


def predictions_of(task: str, data: Dataset[Labelled], model: nn.Module, tmp_path: Path) -> Any:
    return TASKS[task].predict(model, data, "test", Run(tmp_path, resume=None, device="cpu"))


def places_of_the_test_split(data: Dataset[Labelled], model: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    """Ground truth and outputs (K, P) at all places with ground truth."""
    true, predicted = [], []
    for id in data.splits["test"].tolist():
        x, y = data.image(id), data.annotations.load(id)  # type: ignore[union-attr]
        is_inside = inside(x, data.spec.input)
        outputs = model(x[None])[0]
        true.append(y[..., is_inside].numpy().reshape(-1, int(is_inside.sum())))  # type: ignore[union-attr, index]
        predicted.append(outputs[:, is_inside].numpy())
    return np.concatenate(true, 1), np.concatenate(predicted, 1)


@pytest.mark.parametrize("data", [ragged_sequences(False), scenes.volume_dataset(False)], ids=["steps", "voxels"])
def test_metrics_of_classes_are_those_of_scikit_learn(data: Dataset[Labelled], tmp_path: Path) -> None:
    model = Noise(2, axis=-1 if data.spec.modality == "sequence" else 1)
    predictions = predictions_of("segment", data, model, tmp_path)
    metrics = TASKS["segment"].measure(predictions, data.spec)
    true, outputs = places_of_the_test_split(data, model)
    assert true.min() >= 0
    predicted = outputs.argmax(0)
    assert metrics["mean IoU"].value == pytest.approx(jaccard_score(true[0], predicted, average="macro"))
    accuracy = metrics[f"{data.spec.input.place} accuracy"]
    assert accuracy.value == pytest.approx(accuracy_score(true[0], predicted))
    assert accuracy.over == {"sequence": "sequences", "volume": "volumes"}[data.spec.modality]


@pytest.mark.parametrize("data", [ragged_sequences(True), scenes.volume_dataset(True)], ids=["steps", "voxels"])
def test_metrics_of_numbers_are_those_of_scikit_learn(data: Dataset[Labelled], tmp_path: Path) -> None:
    model = Noise(1, axis=-1 if data.spec.modality == "sequence" else 1)
    metrics = TASKS["dense-regress"].measure(predictions_of("dense-regress", data, model, tmp_path), data.spec)
    true, predicted = places_of_the_test_split(data, model)
    assert metrics["mean absolute error"].value == pytest.approx(mean_absolute_error(true[0], predicted[0]))
    assert metrics["R2"].value == pytest.approx(r2_score(true[0], predicted[0]))


@pytest.mark.parametrize("modality", ["sequence", "volume"])
def test_predictions_as_plain_data_hold_every_place(modality: str) -> None:
    data = {"sequence": ragged_sequences, "volume": scenes.volume_dataset}[modality]
    for task, regress in (("segment", False), ("dense-regress", True)):
        spec, x = data(regress).spec, torch.stack([data(regress).image(id) for id in range(3)])
        model = Noise(1 if regress else 2, axis=-1 if modality == "sequence" else 1)
        plain = json.loads(json.dumps(TASKS[task].predict_batch(model, x, spec), allow_nan=False))
        for sample, prediction in zip(x, plain, strict=True):
            is_inside, outputs = inside(sample, spec.input), model(sample[None])[0]
            if regress:
                read = TASKS[task].display.number_maps(prediction, spec)  # type: ignore[misc]
                expected = outputs[0][is_inside]
                assert read[0][is_inside[: len(read[0])]].numpy() == pytest.approx(expected.numpy(), abs=1e-4)
            else:
                read = TASKS[task].display.class_map(prediction, spec)  # type: ignore[misc]
                assert torch.equal(read[is_inside[: len(read)]], outputs.argmax(0)[is_inside])
            if modality == "sequence":  # nothing after the end
                assert read.shape[-1] == int(is_inside.sum())
            assert TASKS[task].display.lines(prediction, spec)


def test_training_ignores_the_steps_after_the_end(tmp_path: Path) -> None:
    """A batch of ragged sequences has the loss of its steps, for both tasks; a run gives finite predictions."""
    for task, regress in (("segment", False), ("dense-regress", True)):
        data = ragged_sequences(regress)
        learner = LEARNERS[task]["gru"]
        run = snellen.train(
            data, learner, out=tmp_path / task, options=RunOptions(threads=1, report=False), epochs=1, hidden_size=4
        )
        longer = torch.cat([data.image(0), torch.full((5, 2), torch.nan)])
        assert run.predict(longer) == run.predict(data.image(0)) == run.predict(data.image(0)[:9])
        with pytest.raises(UsageError, match="several lengths"):
            run.export("torch", tmp_path / "no.pt2")


@pytest.mark.parametrize(
    ("task", "learner", "words"),
    [
        (
            "segment",
            "gru",
            ["the sequences with the lowest mean IoU", "% of steps", "step accuracy", "over sequences", "negative"],
        ),
        ("dense-regress", "gru", ["ground truth", "prediction", "over sequences"]),
        ("dense-regress", "unet3d", ["slices along z", "over volumes"]),
    ],
)
def test_reports_name_the_places(task: str, learner: str, words: list[str], tmp_path: Path) -> None:
    data = (scenes.sequence_dataset if learner == "gru" else scenes.volume_dataset)(task == "dense-regress")
    options = RunOptions(threads=1)
    out = snellen.train(data, LEARNERS[task][learner], out=tmp_path / "run", options=options, epochs=1).folder
    page = (out / "report.html").read_text(encoding="utf-8")
    for word in words:
        assert word in page
    assert "images" not in page.split("<h2", 1)[1].replace('<figure class="images">', "").split("<style")[0]


def test_maps_are_written_as_arrays(tmp_path: Path) -> None:
    data = scenes.sequence_dataset(False)
    run = snellen.train(
        data, LEARNERS["segment"]["baseline"], out=tmp_path / "run", options=RunOptions(threads=1, report=False)
    )
    np.savez(tmp_path / "some.npz", x=data.source.values[:2].numpy())  # type: ignore[attr-defined]
    records = list(run.predict_files([tmp_path / "some.npz"], maps=tmp_path / "maps"))
    for k, record in enumerate(records):
        written = np.load(tmp_path / "maps" / f"some-{k}.npy")
        assert written.shape == (16,)
        assert [data.spec.target.names[c] for c in written] == record["classes"]  # type: ignore[union-attr]


class Conv(nn.Module):
    """A user's module on standardised (B, T, D) sequences."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x.transpose(1, 2))
        return y


def test_a_module_of_the_user_learns_steps(tmp_path: Path) -> None:
    data, options = scenes.sequence_dataset(False), RunOptions(threads=1, report=False)
    run = snellen.train(data, Conv(2), out=tmp_path / "run", options=options, epochs=2, lr=0.05)
    assert len(run.predict(data.image(0))["classes"]) == 16  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="are for images"):
        snellen.train(data, Conv(2), out=tmp_path / "tiles", options=options, tile_size=32)
    with pytest.raises(UsageError, match=r"not \(1, 2, 16\)"):
        snellen.train(data, Conv(3), out=tmp_path / "wrong", options=options, epochs=1)


@pytest.mark.parametrize("name", ["unet", "encoder-decoder", "dilated", "fcn"])
def test_networks_of_images_say_so(name: str) -> None:
    spec = scenes.sequence_dataset(False).spec
    assert snellen.api.unsupported_reason(LEARNERS["segment"][name], spec) == "reads image, not sequence"

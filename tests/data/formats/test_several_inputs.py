"""Tables with an image and numbers in each row, one of which may be missing."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from image_makers import save
from torch import Tensor

import snellen
from snellen.api import RunOptions
from snellen.cli.main import main
from snellen.core.errors import DataError, UsageError
from snellen.core.several_tensors import SeveralTensors, is_missing
from snellen.core.spec import Input, Preprocessing
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset
from snellen.nn.fusion import Fusion, SeveralStandardize
from snellen.nn.layers import Standardize

OPTIONS = OpenOptions(inputs=("photo", "age", "weight"), target=("label",))


def write_table(folder: Path, count: int = 120, **changes: dict[int, str]) -> Path:
    """Rows of a photo and two numbers: bright or dark photo, heavy or light; the class needs both.

    Args:
        changes: column to row to its cell, in place of the written one.
    """
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir(parents=True)
    lines = [["photo", "age", "weight", "label"]]
    for k in range(count):
        bright, heavy = bool(rng.integers(2)), bool(rng.integers(2))
        name = f"photos/{k:03d}.png"
        save(folder / name, ((200 if bright else 0) + rng.integers(0, 50, (12, 12))).astype(np.uint8))
        row = [name, f"{rng.normal(40, 8):.2f}", f"{rng.normal(90 if heavy else 50, 4):.2f}", "AB"[bright == heavy]]
        lines.append([changes.get(c, {}).get(k, cell) for c, cell in zip(lines[0], row, strict=True)])
    with (folder / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    return folder / "rows.csv"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos are missing in rows 0, 20 ..., numbers in rows 10, 30 ..."""
    no_number = dict.fromkeys(range(10, 120, 20), "")
    return write_table(
        tmp_path_factory.mktemp("two"), photo=dict.fromkeys(range(0, 120, 20), ""), age=no_number, weight=no_number
    )


def tensors(x: Tensor) -> dict[str, Tensor]:
    assert isinstance(x, SeveralTensors)
    return x.tensors


def test_each_row_has_both_inputs_and_what_is_missing_is_nan(table: Path) -> None:
    data = dataset(table, options=OPTIONS)
    assert {name: (one.modality, one.shape, one.optional) for name, one in data.spec.inputs.items()} == {
        "photo": ("image", (1, 12, 12), True),
        "row": ("vector", (2,), True),
    }
    assert "6 rows without image and 6 rows without numbers" in data.recognised_as
    x = tensors(data.source.read(np.arange(21), Preprocessing()))
    assert torch.nonzero(is_missing(x["photo"]))[:, 0].tolist() == [0, 20]
    assert torch.nonzero(is_missing(x["row"]))[:, 0].tolist() == [10]
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert x["row"][3].tolist() == pytest.approx([float(rows[3]["age"]), float(rows[3]["weight"])])
    split = data.samples("train")
    batch = tensors(split.take(torch.arange(len(split))).x)
    again = tensors(data.source.read(data.splits["train"].numpy(), Preprocessing()))
    assert all(torch.equal(batch[n].nan_to_num(-1), again[n].nan_to_num(-1)) for n in batch)


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({}, {"inputs": ("photo", "colour")}, "No column is called 'colour'"),
        ({}, {"inputs": ("photo", "label")}, "is the target"),
        ({}, {"inputs": ("photo", "age"), "pages": "volume"}, "volume"),
        ({"photo": {4: ""}, "age": {4: ""}, "weight": {4: ""}}, {}, "line 6, column 'photo': the row has neither"),
        ({"photo": {4: "photos/none.png"}}, {}, "'photos/none.png' does not exist"),
        ({"photo": {4: "../secret.png"}}, {}, "outside the folder"),
        ({"age": {4: "forty"}}, {}, "line 6, column 'age'"),
        ({"age": {4: ""}}, {}, "line 6, column 'age': missing"),
    ],
)
def test_what_cannot_be_read_ends_with_its_place(
    tmp_path: Path, changes: dict[str, dict[int, str]], options: dict[str, object], words: str
) -> None:
    path = write_table(tmp_path, 12, **changes)
    with pytest.raises((DataError, UsageError)) as caught:
        dataset(path, options=OpenOptions(**{"inputs": OPTIONS.inputs, "target": ("label",), **options}))  # type: ignore[arg-type]
    assert words in str(caught.value.cause)


def test_an_unreadable_image_is_named_and_can_be_skipped(tmp_path: Path) -> None:
    path = write_table(tmp_path, 200)
    (tmp_path / "photos" / "004.png").write_text("junk")
    with pytest.raises(DataError, match=r"line 6 \(photos/004.png\)"):
        dataset(path, options=OPTIONS)
    options = OpenOptions(inputs=OPTIONS.inputs, target=("label",), quarantine=True)
    data = dataset(path, options=options)
    assert len(data) == 199
    assert data.name(4) == "line 7"


def test_copies_of_an_image_stay_in_one_split(tmp_path: Path) -> None:
    path = write_table(tmp_path, 60)
    (tmp_path / "photos" / "007.png").write_bytes((tmp_path / "photos" / "005.png").read_bytes())
    data = dataset(path, options=OPTIONS)
    (split,) = [name for name, ids in data.splits.items() if 5 in ids.tolist()]
    assert 7 in data.splits[split].tolist()


@pytest.mark.parametrize("data", ["digits", "npz"])
def test_inputs_of_other_data_is_a_usage_error(tmp_path: Path, data: str) -> None:
    if data == "npz":
        np.savez(tmp_path / "a.npz", x=np.zeros((12, 3)), y=np.arange(12) % 2)
        data = str(tmp_path / "a.npz")
    with pytest.raises(UsageError, match=r"--inputs|no columns"):
        dataset(data, options=OPTIONS)


class Sum(torch.nn.Module):
    """An encoder whose one feature is the sum of the values."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).sum(1, keepdim=True)


def fusion() -> Fusion:
    image = Input(modality="image", shape=(1, 2, 2), dtype="uint8", optional=True)
    row = Input(modality="vector", shape=(2,), optional=True)
    torch.manual_seed(0)
    standardize = SeveralStandardize({"image": Standardize(image), "row": Standardize(row)})
    network = Fusion(standardize, [Sum(), Sum()], 1, 4, 3, 0.0)
    torch.nn.init.normal_(network.missing)
    return network


def batch() -> SeveralTensors:
    torch.manual_seed(1)
    image, row = torch.rand(5, 1, 2, 2) * 255, torch.randn(5, 2)
    image[1], row[3] = torch.nan, torch.nan
    return SeveralTensors({"image": image, "row": row})


def test_fusion_equals_its_formula_in_numpy() -> None:
    network, x = fusion(), batch()
    network.standardize.fit(x)
    present = x.tensors["row"][[0, 1, 2, 4]].double().numpy()
    row = (x.tensors["row"].double().numpy() - present.mean(0)) / present.std(0)
    pixels = x.tensors["image"].double().numpy()
    pixels = (pixels - np.nanmean(pixels)) / np.nanstd(pixels)
    features = np.stack([np.maximum(pixels.sum((1, 2, 3)), 0), np.maximum(row.sum(1), 0)], 1)
    features[1, 0], features[3, 1] = network.missing.detach().numpy()[:, 0]
    w, b, v, c = (p.detach().double().numpy() for p in (*network.hidden.parameters(), *network.head.parameters()))
    expected = np.maximum(features @ w.T + b, 0) @ v.T + c
    np.testing.assert_allclose(network(x).detach().numpy(), expected, rtol=1e-5, atol=1e-5)


def test_gradients_are_finite_where_inputs_are_missing() -> None:
    network, x = fusion(), batch()
    network.standardize.fit(x)
    network(x).square().sum().backward()
    gradients = [p.grad for p in network.parameters()]
    assert all(g is not None and bool(torch.isfinite(g).all()) for g in gradients)
    assert network.missing.grad is not None
    assert bool((network.missing.grad != 0).any())


def test_a_run_predicts_rows_that_lack_an_input(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = dataset(table, options=OPTIONS)
    out = tmp_path / "run"
    snellen.train(data, out=out, options=RunOptions(threads=1, report=False), epochs=2)
    assert main(["predict", str(out), str(table)]) == 0
    predicted = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(predicted) == 120
    run = snellen.load(out)
    direct = run.predict_batch(data.source.read(np.array([20]), run.record.preprocessing))[0]
    assert predicted[20]["probabilities"] == pytest.approx(direct["probabilities"], abs=1e-5)
    assert main(["export", str(out), "--to", "onnx"]) == 2
    assert "reads several inputs" in capsys.readouterr().err
    assert main(["serve", str(out), "--port", "0"]) == 2
    assert "Requests cannot hold the inputs of this model: photo and row" in capsys.readouterr().err


def test_a_missing_input_that_training_never_lacked_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = dataset(write_table(tmp_path / "whole", 40), options=OPTIONS)
    snellen.train(data, out=tmp_path / "run", options=RunOptions(threads=1, report=False), epochs=1)
    lacking = write_table(tmp_path / "lacking", 3, photo={1: ""})
    assert main(["predict", str(tmp_path / "run"), str(lacking)]) == 3
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 2
    assert "row 2: has no photo, which no sample lacked in training" in captured.err


@pytest.mark.parametrize(("inputs", "words"), [(("photo", "weight", "age"), "order"), (("photo",), "has the inputs")])
def test_other_columns_are_not_evaluated(tmp_path: Path, inputs: tuple[str, ...], words: str) -> None:
    path = write_table(tmp_path / "rows", 40)
    run = snellen.train(
        dataset(path, options=OPTIONS), "baseline", out=tmp_path / "run", options=RunOptions(threads=1, report=False)
    )
    with pytest.raises(DataError, match=words):
        run.evaluate(dataset(path, options=OpenOptions(inputs=inputs, target=("label",))))

"""Tables of image names with two numbers, and of several labels per row: from the file to the predictions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from snellen.api import load, train
from snellen.core.spec import Labels, Numbers
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset


def disc(row: float, column: float, rng: np.random.Generator) -> np.ndarray:
    """(16, 16) uint8: a bright disc at (row, column), in pixels."""
    y, x = np.mgrid[:16, :16]
    brightness = 200 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 8)
    return np.clip(brightness + rng.normal(20, 4, brightness.shape), 0, 255).astype(np.uint8)


@pytest.mark.learning
def test_image_names_with_two_numbers_are_reported_in_their_units(
    tmp_path: Path, assert_score: Callable[..., None]
) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "data"
    folder.mkdir()
    lines = ["file,across [mm],down [mm]"]
    for k in range(120):
        row, column = rng.uniform(3, 13, 2)
        Image.fromarray(disc(row, column, rng)).save(folder / f"{k}.png")
        lines.append(f"{k}.png,{column / 2:.3f},{100 + row / 2:.3f}")
    (folder / "discs.csv").write_text("\n".join(lines) + "\n")
    data = dataset(folder / "discs.csv", options=OpenOptions(target=("across", "down")))
    assert isinstance(data.spec.target, Numbers)
    assert (data.spec.target.names, data.spec.target.units) == (("across", "down"), ("mm", "mm"))
    run = train(data, "mlp", epochs=60, out=tmp_path / "run")
    assert run.headline == "R2"
    error = run.metrics["mean absolute error of down"]
    assert error.unit == "mm"
    assert_score(error.high, below=0.8)  # the positions lie within 5 mm
    page = run.report().read_text(encoding="utf-8")
    assert "across" in page
    assert "mm" in page
    Image.fromarray(disc(5, 10, rng)).save(tmp_path / "new.png")
    prediction = load(tmp_path / "run").predict(tmp_path / "new.png")
    assert isinstance(prediction, dict)
    assert set(prediction) == {"input", "across", "down"}
    assert_score(abs(prediction["across"] - 5.0), below=1)
    assert_score(abs(prediction["down"] - 102.5), below=1)
    worst = run.worst_samples(1)[0]
    assert set(worst["truth"]) == set(worst["answer"]) == {"across", "down"}


@pytest.mark.learning
def test_a_table_with_several_labels_per_row(tmp_path: Path, assert_score: Callable[..., None]) -> None:
    rng = np.random.default_rng(1)
    lines = ["warm,wet,windy,labels"]
    for values in rng.normal(size=(160, 3)):
        labels = [name for name, value in zip(("swim", "umbrella", "kite"), values, strict=True) if value > 0]
        lines.append(",".join(f"{value:.4f}" for value in values) + "," + (";".join(labels) or ";"))
    table = tmp_path / "weather.csv"
    table.write_text("\n".join(lines) + "\n")
    data = dataset(table)
    assert isinstance(data.spec.target, Labels)
    run = train(data, "softmax", epochs=60, lr=0.03, out=tmp_path / "run")
    assert run.headline == "average precision"
    assert_score(run.metrics["average precision"].value, above=0.9)
    assert "umbrella" in run.report().read_text(encoding="utf-8")
    (tmp_path / "new.jsonl").write_text(
        "\n".join(json.dumps({"warm": a, "wet": b, "windy": c}) for a, b, c in ((2, -2, -2), (-2, -2, -2), (-2, 2, 2)))
    )
    predictions = run.predict(tmp_path / "new.jsonl")
    assert isinstance(predictions, list)
    assert [prediction["labels"] for prediction in predictions] == [["swim"], [], ["kite", "umbrella"]]
    for record in run.worst_samples(3):
        assert record["truth"] != record["answer"]["labels"]

"""Row A16 of the lectures: an image folder dataset, and a small table of numbers and categories."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from snellen.api import train
from snellen.core.spec import Classes, Numbers
from snellen.data.open_dataset import dataset


def beach_image(rng: np.random.Generator, beach: bool) -> np.ndarray:
    """Image of sky over sand and sea, or over meadow, (16, 24, 3) uint8."""
    image = np.empty((16, 24, 3))
    horizon = rng.integers(5, 9)
    image[:horizon] = (130, 180, 230)
    image[horizon:] = (60, 110, 50)
    if beach:
        sand = rng.integers(horizon + 2, 13)
        image[horizon:sand] = (30, 90, 150)
        image[sand:] = (220, 200, 150)
    brightness = rng.uniform(0.7, 1.1)
    return np.clip(image * brightness + rng.normal(0, 15, image.shape), 0, 255).astype(np.uint8)


@pytest.mark.learning
def test_a16_image_folders_of_two_classes_are_loaded_trained_and_predicted(
    tmp_path: Path, assert_score: Callable[..., None]
) -> None:
    rng = np.random.default_rng(0)
    for name in ("beach", "no-beach"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(30):
            Image.fromarray(beach_image(rng, name == "beach")).save(tmp_path / "photos" / name / f"{k}.jpg", quality=95)
    data = dataset(tmp_path / "photos")
    assert isinstance(data.spec.target, Classes)
    assert data.spec.target.names == ("beach", "no-beach")
    assert data.spec.input.shape == (3, 16, 24)
    run = train(data, "softmax", out=tmp_path / "run")
    assert_score(run.metrics["accuracy"].low, above=0.6)  # 0.68: all 8 test images are right
    for name in ("beach", "no-beach"):
        Image.fromarray(beach_image(rng, name == "beach")).save(tmp_path / "new.png")
        prediction = run.predict(tmp_path / "new.png")
        assert isinstance(prediction, dict)
        assert prediction["class"] == name


def test_a16_a_table_of_numbers_and_categories_is_loaded_trained_and_predicted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    header = "subject,sex,group,age,height [cm],weight [kg],hours,errors,score"
    rows = []
    for k in range(22):
        sex, group = ("f", "m")[k % 2], ("a", "b", "c")[k % 3]
        age, hours = rng.integers(19, 40), round(rng.uniform(0, 10), 1)
        height, weight, errors = round(rng.normal(172, 8), 1), round(rng.normal(70, 9), 1), rng.integers(0, 9)
        score = 50 + 4 * hours + 6 * (group == "b") + rng.normal(0, 0.5)
        rows.append(f"P{k + 1:02d},{sex},{group},{age},{height},{weight},{hours},{errors},{score:.2f}")
    table = tmp_path / "table.csv"
    table.write_text("\n".join([header, *rows]) + "\n")
    data = dataset(table)
    assert len(data) == 22
    assert isinstance(data.spec.target, Numbers)
    columns = {column.name: column.categories for column in data.spec.input.columns}
    assert len(columns) == 7  # of 9 columns one is the target and one the row name
    assert (columns["sex"], columns["group"], columns["age"]) == (("f", "m"), ("a", "b", "c"), None)
    run = train(data, "least-squares", out=tmp_path / "run")
    assert run.metrics["R2"].value is not None
    predictions = run.predict(table)
    assert isinstance(predictions, list)
    truth = [float(row.rsplit(",", 1)[1]) for row in rows]
    assert [prediction["score"] for prediction in predictions] == pytest.approx(truth, abs=6)
    assert np.corrcoef([prediction["score"] for prediction in predictions], truth)[0, 1] > 0.95

"""LabelMe files: shapes, groups, splits, and their errors."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_makers import save, scene

from snellen.core.errors import DataError
from snellen.core.spec import Boxes
from snellen.data.annotations import ObjectAnnotations
from snellen.data.dataset import Dataset
from snellen.data.formats import OpenOptions, formats
from snellen.data.formats.labelme import open_raw
from snellen.data.open_dataset import dataset

RECTANGLE = {"label": "red", "points": [[2, 3], [12, 9]], "shape_type": "rectangle"}
POLYGON = {"label": "green", "points": [[10, 10], [20, 10], [20, 20]], "shape_type": "polygon"}


def labelme(file: Path, shapes: list[dict[str, Any]], image: str | None = None, **more: object) -> None:
    """Write a file and its image of 48 x 40 pixels, beside it unless `image` is given."""
    content = {"version": "5.2", "flags": {}, "shapes": shapes, "imagePath": image or f"{file.stem}.png", **more}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"imageData": "A" * 40_000, **content}))
    save(file.parent / str(content["imagePath"]), scene(sum(map(ord, str(file)))))


def opened(data: Dataset, id: int = 0) -> tuple[list[str], np.ndarray, torch.Tensor]:
    """Names, boxes and masks of the objects of an image."""
    assert isinstance(data.annotations, ObjectAnnotations)
    assert isinstance(data.spec.target, Boxes)
    objects = data.annotations.load(id)
    assert objects.masks is not None
    return [data.spec.target.names[k] for k in objects.labels.tolist()], objects.boxes.numpy(), objects.masks


@pytest.mark.parametrize(
    ("file", "image"),
    [("b{b}/{k}.json", None), ("{b}{k}.json", None), ("annotations/{b}{k}.json", "../images/{b}{k}.png")],
)
def test_polygons_and_rectangles_are_objects(tmp_path: Path, file: str, image: str | None) -> None:
    if image is not None:
        (tmp_path / "images").mkdir()
    for b in range(2):
        for k in range(3):
            labelme(tmp_path / file.format(b=b, k=k), [RECTANGLE, POLYGON], image and image.format(b=b, k=k))
    assert next(f.name for f in formats().values() if f.recognises(tmp_path)) == "labelme"
    data = dataset(tmp_path)
    assert data.recognised_as == "LabelMe: 12 objects of 2 classes in 6 images"
    names, boxes, masks = opened(data)
    assert names == ["red", "green"]
    assert boxes.tolist() == [[2, 3, 12, 9], [10, 10, 20, 20]]
    assert int(masks[0].sum()) == 60
    assert dict(data.files) == {"found": 12, "used": 12, "set aside": 0, "no data": 0}


def test_circles_and_groups(tmp_path: Path) -> None:
    circle = {"label": "red", "points": [[24, 20], [24, 30]], "shape_type": "circle"}
    parts = [
        {**RECTANGLE, "group_id": 1},
        {**RECTANGLE, "points": [[30, 30], [40, 36]], "group_id": 1},
        {**RECTANGLE, "group_id": 2},
    ]
    for k in range(4):
        labelme(tmp_path / f"{k}.json", [circle, *parts])
    _, boxes, masks = opened(dataset(tmp_path))
    assert np.allclose(boxes, [[14, 10, 34, 30], [2, 3, 40, 36], [2, 3, 12, 9]])
    assert int(masks[0].sum()) == pytest.approx(math.pi * 100, rel=0.03)
    assert int(masks[1].sum()) == 120


def test_split_folders(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for k in range(3):
            labelme(tmp_path / split / f"{k}.json", [RECTANGLE])
    data = dataset(tmp_path)
    assert {data.name(int(k)) for k in data.splits["test"]} == {f"test/{k}.png" for k in range(3)}
    labelme(tmp_path / "other.json", [RECTANGLE])
    with pytest.raises(DataError, match=r"other\.json lies outside"):
        dataset(tmp_path)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({**RECTANGLE, "shape_type": "point", "points": [[1, 2]]}, "shape 2 is a point of 1 points"),
        ({**POLYGON, "points": [[1, 2], [3, 4]]}, "shape 2 is a polygon of 2 points"),
        ({**POLYGON, "points": [[1, 2, 3]]}, "shape 2 has the points"),
        ({**POLYGON, "points": None}, "shape 2 has the points"),
        ({**POLYGON, "label": " "}, "shape 2 has no label"),
        ("red", "shape 2 has no label"),
        ({**POLYGON, "points": [[1e999, 2], [3, 4], [5, 6]]}, "not numbers"),
        ({**POLYGON, "points": [[400, 400], [500, 400], [500, 500]]}, "outside the image"),
    ],
)
def test_bad_shapes_are_errors_of_their_image(tmp_path: Path, shape: Any, message: str) -> None:
    for k in range(3):
        labelme(tmp_path / f"{k}.json", [RECTANGLE, shape] if k == 1 else [RECTANGLE])
    raw = open_raw(tmp_path, OpenOptions())
    assert list(raw.bad_samples) == [1]
    assert any(message in f.message for f in raw.bad_sample_findings)


def test_files_that_are_no_labelme_or_have_no_image(tmp_path: Path) -> None:
    labelme(tmp_path / "a.json", [RECTANGLE])
    (tmp_path / "b.json").write_text('{"shapes": 1, "imagePath": "b.png"}')
    (tmp_path / "c.json").write_text('{"shapes": [], "imagePath": "../../c.png"')
    (tmp_path / "notes.json").write_text("{}")
    raw = open_raw(tmp_path, OpenOptions())
    assert {entry.reason.partition(": ")[2].partition(" ")[0] for entry in raw.bad_samples.values()} == {
        "b.json",
        "c.json",
    }
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no LabelMe file"):
        open_raw(tmp_path / "empty", OpenOptions())
    labelme(tmp_path / "annotations/a.json", [RECTANGLE], "../a.png")
    with pytest.raises(DataError, match=r"two files for a\.png: a\.json and annotations/a\.json"):
        open_raw(tmp_path, OpenOptions())

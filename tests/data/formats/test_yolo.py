"""YOLO: normalised boxes, polygons and keypoints, data.yaml, and layouts without it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from annotation_makers import yolo
from image_makers import save, scene

from snellen.core.errors import DataError
from snellen.core.spec import Boxes
from snellen.data.annotations import ObjectAnnotations
from snellen.data.dataset import RawDataset
from snellen.data.formats import OpenOptions
from snellen.data.formats.yolo import FORMAT, open_raw
from snellen.data.open_dataset import dataset

OPTIONS = OpenOptions()
BOX = "0 0.5 0.5 0.5 0.25\n"  # 12 15 36 25 in a 48x40 image
POLYGON = "1 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n"


def lists(raw: RawDataset) -> ObjectAnnotations:
    assert isinstance(raw.annotations, ObjectAnnotations)
    return raw.annotations


def target(raw: RawDataset) -> Boxes:
    assert isinstance(raw.target, Boxes)
    return raw.target


def test_boxes_in_pixels_classes_and_splits_of_the_yaml(tmp_path: Path) -> None:
    yolo(tmp_path, {"train/a": BOX + "1 0.25 0.25 0.25 0.25\n", "train/b": "", "val/c": BOX, "train/d": None})
    assert FORMAT.recognises(tmp_path)
    raw = open_raw(tmp_path, OPTIONS)
    assert target(raw) == Boxes(names=("cat", "dog"))
    names = [raw.source.name(k) for k in range(4)]
    assert names == [f"images/{name}.png" for name in ("train/a", "train/b", "train/d", "val/c")]
    assert lists(raw).load(0).boxes.tolist() == [[12, 15, 36, 25], [6, 5, 18, 15]]
    assert lists(raw).load(0).labels.tolist() == [0, 1]
    assert lists(raw).load(1).boxes.shape == (0, 4)
    assert raw.given_splits is not None
    assert raw.given_splits.tolist() == [0, 0, 0, 1]
    assert raw.files == {"found": 8, "used": 8, "set aside": 0, "no data": 0}
    assert {(f.kind, f.count) for f in raw.findings} == {("empty-pictures", 2), ("no-text", 1)}
    data = dataset(tmp_path)
    assert dict(data.spec.sizes) == {"train": 2, "val": 1, "test": 1}
    assert data.origin is not None
    assert dataset(**data.origin).spec == data.spec


def test_polygons_are_masks_rendered_on_demand(tmp_path: Path) -> None:
    raw = open_raw(yolo(tmp_path, {"train/a": POLYGON, "train/b": POLYGON * 2}), OPTIONS)
    assert target(raw).masks
    annotation = lists(raw).load(0)
    assert annotation.boxes.tolist() == [[12, 10, 36, 30]]
    assert annotation.masks is not None
    inside = torch.zeros(40, 48, dtype=torch.bool)
    inside[11:29, 13:35] = True
    around = torch.zeros(40, 48, dtype=torch.bool)
    around[9:31, 11:37] = True
    assert bool((annotation.masks[0] >= inside).all())
    assert bool((annotation.masks[0] <= around).all())
    assert [f.kind for f in raw.findings] == ["duplicate-objects", "empty-class"]


def test_boxes_beside_polygons_leave_boxes_only(tmp_path: Path) -> None:
    raw = open_raw(yolo(tmp_path, {"train/a": POLYGON + BOX}), OPTIONS)
    assert not target(raw).masks
    assert lists(raw).load(0).masks is None
    (finding,) = (f for f in raw.findings if f.kind == "some-masks")
    assert (
        "1 of 2 objects have no mask: labels/train/a.txt line 2. All objects are read as boxes only" in finding.message
    )


def test_keypoints_with_their_mirror(tmp_path: Path) -> None:
    more = "kpt_shape: [2, 3]\nflip_idx: [1, 0]\n"
    raw = open_raw(yolo(tmp_path, {"train/a": "0 0.5 0.5 0.5 0.25 0.25 0.5 2 0 0 0\n" + BOX}, ["cat"], more), OPTIONS)
    assert target(raw) == Boxes(names=("cat",), keypoints=("point 1", "point 2"), mirrored=((0, 1),))
    points = lists(raw).load(0).keypoints
    assert points is not None
    assert points.tolist() == [[[12, 20, 2], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]
    yolo(tmp_path / "two", {"train/a": "0 0.5 0.5 0.5 0.25 0.25 0.5 0 0\n"}, ["cat"], "kpt_shape: [2, 2]\n")
    points = lists(open_raw(tmp_path / "two", OPTIONS)).load(0).keypoints
    assert points is not None
    assert points.tolist() == [[[12, 20, 2], [0, 0, 0]]]


@pytest.mark.parametrize("path", ["", "path: ../datasets/cats\n", "path: /home/me/cats\n", "path: .\n"])
def test_exporter_paths_are_resolved(tmp_path: Path, path: str) -> None:
    splits = {"train": "../images/train", "val": "./images/valid"}
    yolo(tmp_path, {"train/a": BOX, "valid/b": BOX}, more=path, splits=splits)
    raw = open_raw(tmp_path / "data.yaml", OPTIONS)
    assert raw.given_splits is not None
    assert raw.given_splits.tolist() == [0, 1]


def test_lists_of_images_are_splits(tmp_path: Path) -> None:
    yolo(tmp_path, {"all/a": BOX, "all/b": BOX, "all/c": BOX}, splits={"train": "train.txt", "val": "val.txt"})
    (tmp_path / "train.txt").write_text("./images/all/a.png\nimages\\all\\b.png\n")
    (tmp_path / "val.txt").write_text("images/all/nowhere.png\n")
    raw = open_raw(tmp_path, OPTIONS)
    assert [raw.source.name(k) for k in range(3)] == [f"images/all/{name}.png" for name in ("a", "b", "nowhere")]
    assert [e.path for e in raw.skipped] == ["images/all/c.png", "labels/all/c.txt"]
    with pytest.raises(DataError, match=r"nowhere.png does not exist"):
        dataset(tmp_path)


def test_a_split_that_repeats_the_training_folder_is_resampled(tmp_path: Path) -> None:
    images = {f"train/{k}": BOX for k in range(20)}
    data = dataset(yolo(tmp_path, images, splits={"train": "images/train", "val": "images/train"}))
    assert not set(data.splits["train"].tolist()) & set(data.splits["val"].tolist())
    assert "same-split" in {f.kind for f in data.findings}


@pytest.mark.parametrize("layout", ["images/train/{}", "train/images/{}", "images/{}", "{}"])
def test_without_a_yaml(tmp_path: Path, layout: str) -> None:
    for k in range(3):
        image = tmp_path / f"{layout.format(k)}.png"
        save(image, scene(k))
        text = tmp_path / f"{layout.format(k).replace('images', 'labels')}.txt"
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text(BOX)
    if layout in ("{}", "images/{}"):
        (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert FORMAT.recognises(tmp_path)
    raw = open_raw(tmp_path, OPTIONS)
    assert target(raw).names == (("cat", "dog") if layout in ("{}", "images/{}") else ("0",))
    assert (raw.given_splits is None) == ("train" not in layout)
    assert all(lists(raw).load(k).boxes.tolist() == [[12, 15, 36, 25]] for k in range(3))


def test_names_as_a_mapping_with_gaps(tmp_path: Path) -> None:
    yolo(tmp_path, {"train/a": "7 0.5 0.5 0.5 0.25\n2 0.5 0.5 0.5 0.5\n"})
    (tmp_path / "data.yaml").write_text("train: images/train\nnames:\n  7: dog\n  2: cat\n")
    raw = open_raw(tmp_path, OPTIONS)
    assert target(raw).names == ("cat", "dog")
    assert lists(raw).load(0).labels.tolist() == [1, 0]

"""YOLO: boxes, polygons and keypoints in shares of the picture, what data.yaml tells, and layouts without it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from annotation_makers import yolo
from image_makers import save, scene

from snellen.core.errors import DataError
from snellen.core.spec import Boxes
from snellen.data.annotations import ObjectLists
from snellen.data.dataset import RawDataset
from snellen.data.formats import OpenOptions
from snellen.data.formats.yolo import FORMAT, open_raw
from snellen.data.open_dataset import dataset

ASKED = OpenOptions()
BOX = "0 0.5 0.5 0.5 0.25\n"  # of a picture of 48 x 40: 12 15 36 25
POLYGON = "1 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n"


def lists(draft: RawDataset) -> ObjectLists:
    assert isinstance(draft.annotations, ObjectLists)
    return draft.annotations


def target(draft: RawDataset) -> Boxes:
    assert isinstance(draft.target, Boxes)
    return draft.target


def test_boxes_in_pixels_classes_and_splits_of_the_yaml(tmp_path: Path) -> None:
    yolo(tmp_path, {"train/a": BOX + "1 0.25 0.25 0.25 0.25\n", "train/b": "", "val/c": BOX, "train/d": None})
    assert FORMAT.recognises(tmp_path)
    draft = open_raw(tmp_path, ASKED)
    assert target(draft) == Boxes(names=("cat", "dog"))
    names = [draft.source.name(k) for k in range(4)]
    assert names == [f"images/{name}.png" for name in ("train/a", "train/b", "train/d", "val/c")]
    assert lists(draft).of(0).boxes.tolist() == [[12, 15, 36, 25], [6, 5, 18, 15]]
    assert lists(draft).of(0).labels.tolist() == [0, 1]
    assert lists(draft).of(1).boxes.shape == (0, 4)
    assert draft.given is not None
    assert draft.given.tolist() == [0, 0, 0, 1]
    assert draft.files == {"found": 8, "used": 8, "set aside": 0, "no data": 0}
    assert {(f.kind, f.count) for f in draft.findings} == {("empty-pictures", 2), ("no-text", 1)}
    data = dataset(tmp_path)
    assert dict(data.spec.sizes) == {"train": 2, "val": 1, "test": 1}
    assert data.origin is not None
    assert dataset(**data.origin).spec == data.spec


def test_polygons_are_masks_drawn_when_asked_for(tmp_path: Path) -> None:
    draft = open_raw(yolo(tmp_path, {"train/a": POLYGON, "train/b": POLYGON * 2}), ASKED)
    assert target(draft).masks
    found = lists(draft).of(0)
    assert found.boxes.tolist() == [[12, 10, 36, 30]]
    assert found.masks is not None
    inside = torch.zeros(40, 48, dtype=torch.bool)
    inside[11:29, 13:35] = True
    around = torch.zeros(40, 48, dtype=torch.bool)
    around[9:31, 11:37] = True
    assert bool((found.masks[0] >= inside).all())
    assert bool((found.masks[0] <= around).all())
    assert [f.kind for f in draft.findings] == ["duplicate-objects", "empty-class"]


def test_boxes_beside_polygons_leave_boxes_only(tmp_path: Path) -> None:
    draft = open_raw(yolo(tmp_path, {"train/a": POLYGON + BOX}), ASKED)
    assert not target(draft).masks
    assert lists(draft).of(0).masks is None
    (finding,) = (f for f in draft.findings if f.kind == "some-masks")
    assert "1 of 2 objects have no mask: labels/train/a.txt line 2. So all are read as boxes only" in finding.message


def test_keypoints_with_their_mirror(tmp_path: Path) -> None:
    more = "kpt_shape: [2, 3]\nflip_idx: [1, 0]\n"
    draft = open_raw(yolo(tmp_path, {"train/a": "0 0.5 0.5 0.5 0.25 0.25 0.5 2 0 0 0\n" + BOX}, ["cat"], more), ASKED)
    assert target(draft) == Boxes(names=("cat",), keypoints=("point 1", "point 2"), mirrored=((0, 1),))
    points = lists(draft).of(0).keypoints
    assert points is not None
    assert points.tolist() == [[[12, 20, 2], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]
    yolo(tmp_path / "two", {"train/a": "0 0.5 0.5 0.5 0.25 0.25 0.5 0 0\n"}, ["cat"], "kpt_shape: [2, 2]\n")
    points = lists(open_raw(tmp_path / "two", ASKED)).of(0).keypoints
    assert points is not None
    assert points.tolist() == [[[12, 20, 2], [0, 0, 0]]]


@pytest.mark.parametrize("path", ["", "path: ../datasets/cats\n", "path: /home/me/cats\n", "path: .\n"])
def test_folders_are_found_as_exporters_write_them(tmp_path: Path, path: str) -> None:
    splits = {"train": "../images/train", "val": "./images/valid"}
    yolo(tmp_path, {"train/a": BOX, "valid/b": BOX}, more=path, splits=splits)
    draft = open_raw(tmp_path / "data.yaml", ASKED)
    assert draft.given is not None
    assert draft.given.tolist() == [0, 1]


def test_lists_of_pictures_are_splits(tmp_path: Path) -> None:
    yolo(tmp_path, {"all/a": BOX, "all/b": BOX, "all/c": BOX}, splits={"train": "train.txt", "val": "val.txt"})
    (tmp_path / "train.txt").write_text("./images/all/a.png\nimages\\all\\b.png\n")
    (tmp_path / "val.txt").write_text("images/all/nowhere.png\n")
    draft = open_raw(tmp_path, ASKED)
    assert [draft.source.name(k) for k in range(3)] == [f"images/all/{name}.png" for name in ("a", "b", "nowhere")]
    assert [e.path for e in draft.aside] == ["images/all/c.png", "labels/all/c.txt"]
    with pytest.raises(DataError, match=r"nowhere.png is not there"):
        dataset(tmp_path)


def test_a_split_that_is_the_training_folder_again_is_made_anew(tmp_path: Path) -> None:
    pictures = {f"train/{k}": BOX for k in range(20)}
    data = dataset(yolo(tmp_path, pictures, splits={"train": "images/train", "val": "images/train"}))
    assert not set(data.splits["train"].tolist()) & set(data.splits["val"].tolist())
    assert "same-split" in {f.kind for f in data.findings}


@pytest.mark.parametrize("layout", ["images/train/{}", "train/images/{}", "images/{}", "{}"])
def test_without_a_yaml(tmp_path: Path, layout: str) -> None:
    for k in range(3):
        picture = tmp_path / f"{layout.format(k)}.png"
        save(picture, scene(k))
        text = tmp_path / f"{layout.format(k).replace('images', 'labels')}.txt"
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text(BOX)
    if layout in ("{}", "images/{}"):
        (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert FORMAT.recognises(tmp_path)
    draft = open_raw(tmp_path, ASKED)
    assert target(draft).names == (("cat", "dog") if layout in ("{}", "images/{}") else ("0",))
    assert (draft.given is None) == ("train" not in layout)
    assert all(lists(draft).of(k).boxes.tolist() == [[12, 15, 36, 25]] for k in range(3))


def test_names_as_a_mapping_with_gaps(tmp_path: Path) -> None:
    yolo(tmp_path, {"train/a": "7 0.5 0.5 0.5 0.25\n2 0.5 0.5 0.5 0.5\n"})
    (tmp_path / "data.yaml").write_text("train: images/train\nnames:\n  7: dog\n  2: cat\n")
    draft = open_raw(tmp_path, ASKED)
    assert target(draft).names == ("cat", "dog")
    assert lists(draft).of(0).labels.tolist() == [1, 0]

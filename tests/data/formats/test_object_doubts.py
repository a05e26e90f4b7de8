"""Object annotations in other units, orders or types than their format states: read rightly, or with their cause."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from annotation_makers import coco, coco_content, voc, yolo
from image_makers import save, scene

from snellen.core.errors import DataError
from snellen.core.spec import Boxes
from snellen.data.annotations import ObjectAnnotations
from snellen.data.dataset import Dataset
from snellen.data.open_dataset import dataset

BOX = {"category_id": 0, "bbox": [5, 6, 20, 10]}


def classes_by_image(data: Dataset) -> dict[str, list[str]]:
    target = data.spec.target
    assert isinstance(target, Boxes)
    assert isinstance(data.annotations, ObjectAnnotations)
    return {
        data.name(k): [target.names[label] for label in data.annotations.load(k).labels.tolist()]
        for k in range(len(data.source))
    }


def yolo_folders(root: Path) -> None:
    """Splits train and val of four images, each with one object of class 0."""
    for split in ("train", "val"):
        for k in range(4):
            save(root / f"images/{split}/{k}.png", scene(50 * (split == "val") + k))
            (root / f"labels/{split}").mkdir(parents=True, exist_ok=True)
            (root / f"labels/{split}/{k}.txt").write_text("0 0.5 0.5 0.3 0.3\n")


def test_class_lists_of_two_folders_hold_for_their_own(tmp_path: Path) -> None:
    yolo_folders(tmp_path)
    (tmp_path / "labels/train/classes.txt").write_text("red\ngreen\n")
    (tmp_path / "labels/val/classes.txt").write_text("green\nred\nblue\n")
    data = dataset(tmp_path)
    classes = classes_by_image(data)
    assert {name: classes[name] for name in classes if "train" in name} == {
        f"images/train/{k}.png": ["red"] for k in range(4)
    }
    assert {name: classes[name] for name in classes if "val" in name} == {
        f"images/val/{k}.png": ["green"] for k in range(4)
    }
    assert data.files["no data"] == 0


def test_an_index_beyond_the_list_of_its_folder_is_an_unknown_class(tmp_path: Path) -> None:
    yolo_folders(tmp_path)
    (tmp_path / "labels/train/classes.txt").write_text("red\ngreen\n")
    (tmp_path / "labels/val/classes.txt").write_text("green\nred\n")
    (tmp_path / "labels/val/0.txt").write_text("2 0.5 0.5 0.3 0.3\n")
    with pytest.raises(DataError, match=r"unknown class: labels/val/0\.txt line 1"):
        dataset(tmp_path)


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (
            {"classes.txt": "red\ngreen\n", "labels/train/classes.txt": "green\nred\n"},
            "class 0 is 'red' in classes.txt",
        ),
        ({"labels/train/classes.txt": "red\n", "labels/other/classes.txt": "blue\n"}, "neither lies with labels/val/0"),
    ],
)
def test_class_lists_that_contradict_each_other_are_refused(
    tmp_path: Path, lists: dict[str, str], message: str
) -> None:
    yolo_folders(tmp_path)
    for name, text in lists.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as error:
        dataset(tmp_path)
    assert message in error.value.cause


def test_a_longer_list_of_the_same_names_is_no_contradiction(tmp_path: Path) -> None:
    yolo_folders(tmp_path)
    (tmp_path / "classes.txt").write_text("red\n")
    (tmp_path / "labels/train/classes.txt").write_text("red\ngreen\n")
    target = dataset(tmp_path).spec.target
    assert isinstance(target, Boxes)
    assert target.names == ("red", "green")


def test_a_list_that_contradicts_the_yaml_file_is_refused(tmp_path: Path) -> None:
    yolo(tmp_path, {f"train/{k}": "0 0.5 0.5 0.3 0.3" for k in range(4)}, ("red", "green"))
    (tmp_path / "labels/classes.txt").write_text("green\nred\n")
    with pytest.raises(DataError, match=r"class 0 is 'red' in data\.yaml and 'green' in labels/classes\.txt"):
        dataset(tmp_path)


def test_a_yaml_file_of_any_name_gives_names_and_splits(tmp_path: Path) -> None:
    yolo_folders(tmp_path)
    text = "path: .\ntrain: images/train\nval: images/val\nnames: [red, green]\n"
    (tmp_path / "cells.yaml").write_text(text)
    (tmp_path / "hyp.yaml").write_text("lr0: 0.01\nnames: 3\n")
    data = dataset(tmp_path)
    assert data.recognised_as.startswith("YOLO (cells.yaml): 8 objects of 2 classes")
    assert data.spec.sizes["val"] > 0
    (tmp_path / "other.yml").write_text(text)
    with pytest.raises(DataError, match=r"several files of classes and splits: cells\.yaml, other\.yml"):
        dataset(tmp_path)
    assert dataset(tmp_path / "other.yml").recognised_as.startswith("YOLO (other.yml)")


def test_yolo_boxes_in_pixels_are_refused_with_their_cause(tmp_path: Path) -> None:
    yolo(tmp_path, {f"train/{k}": "0 24 20 10 8" for k in range(4)})
    with pytest.raises(DataError, match=r"4 of 4 boxes are not fractions .*corners 19, 16, 29, 24 of labels/train/0"):
        dataset(tmp_path)


@pytest.mark.parametrize("kind", [str, float])
def test_coco_ids_of_another_type_are_matched_by_value(tmp_path: Path, kind: type) -> None:
    content = coco_content([f"{k}.png" for k in range(6)], [], ("red", "green"))
    content["annotations"] = [
        {"id": k + 1, "image_id": kind(7 * k), "category_id": kind(3 * (k % 2)), "bbox": [5, 6, 20, 10]}
        for k in range(6)
    ]
    coco(tmp_path, "told.json", content)
    data = dataset(tmp_path)
    assert classes_by_image(data) == {f"{k}.png": [("red", "green")[k % 2]] for k in range(6)}
    assert f"image_id {kind(0)!r} for 0" in data.recognised_as


def test_coco_ids_that_are_text_need_no_note(tmp_path: Path) -> None:
    content = coco_content([f"{k}.png" for k in range(6)], [], ("red", "green"))
    for entry in content["images"]:
        entry["id"] = f"image{entry['id']}"
    content["annotations"] = [{**BOX, "id": k + 1, "image_id": f"image{7 * k}"} for k in range(6)]
    coco(tmp_path, "told.json", content)
    assert "differ in type" not in dataset(tmp_path).recognised_as


def test_annotations_of_unlisted_images_only_are_the_cause(tmp_path: Path) -> None:
    coco(tmp_path, "told.json", coco_content(["a.png"], [{**BOX, "image_id": "b"}, {**BOX, "image_id": "c"}]))
    with pytest.raises(DataError, match=r"2 annotations have an unknown image_id: .*'b'"):
        dataset(tmp_path)


def test_exchanged_corners_are_named_as_such(tmp_path: Path) -> None:
    voc(tmp_path / "voc", {str(k): [("red", 30, 28, 11 + k, 9)] for k in range(3)})
    with pytest.raises(DataError) as error:
        dataset(tmp_path / "voc")
    assert "Annotations/0.xml object 1 (xmin 30, ymin 28, xmax 11, ymax 9)" in error.value.cause
    assert "Exchange the two corners" in error.value.remedy
    coco(tmp_path / "coco", "told.json", coco_content(["a.png"], [{**BOX, "image_id": 0, "bbox": [30, 20, -10, 5]}]))
    with pytest.raises(DataError, match=r"annotation 1 of told\.json \(xmin 30, ymin 20, xmax 20, ymax 25\)"):
        dataset(tmp_path / "coco")


def test_boxes_without_area_keep_their_own_cause(tmp_path: Path) -> None:
    coco(tmp_path, "told.json", coco_content(["a.png"], [{**BOX, "image_id": 0, "bbox": [30, 20, 0, 5]}]))
    with pytest.raises(DataError, match="boxes without area"):
        dataset(tmp_path)


@pytest.mark.parametrize("format", ["coco", "voc"])
def test_boxes_as_fractions_are_refused(tmp_path: Path, format: str) -> None:
    if format == "coco":
        rows = [{"category_id": 0, "image_id": 7 * k, "bbox": [0.1, 0.2, 0.5, 0.25]} for k in range(4)]
        coco(tmp_path, "told.json", coco_content([f"{k}.png" for k in range(4)], rows))
    else:
        voc(tmp_path, {str(k): [("red", 0.1, 0.2, 0.6, 0.45)] for k in range(4)})
    with pytest.raises(DataError, match=r"all 4 boxes lie within 0 \.\.\. 1 \(corners 0\.1, 0\.2, 0\.6") as error:
        dataset(tmp_path)
    assert "Multiply" in error.value.remedy


def keypoints(root: Path, points: list[float]) -> Path:
    content: dict[str, Any] = coco_content([f"{k}.png" for k in range(4)], [], ("part",))
    content["categories"][0]["keypoints"] = ["a", "b"]
    content["annotations"] = [
        {**BOX, "id": k + 1, "image_id": 7 * k, "keypoints": points if k == 1 else [10, 10, 2, 12, 12, 2]}
        for k in range(4)
    ]
    coco(root, "told.json", content)
    return root


def test_keypoints_far_outside_their_image_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        dataset(keypoints(tmp_path, [10, 10, 2, -500, 900, 2]))
    assert "annotation 2 of told.json has a keypoint at -500, 900, its image 48x40 pixels" in error.value.cause


def test_keypoints_outside_by_less_than_the_image_are_a_warning(tmp_path: Path) -> None:
    data = dataset(keypoints(tmp_path / "near", [10, 10, 2, 55, 12, 1]))
    (finding,) = (f for f in data.findings if f.kind == "keypoints-outside")
    assert finding.where == ("annotation 2 of told.json",)
    unlabelled = dataset(keypoints(tmp_path / "unlabelled", [10, 10, 2, -500, 900, 0]))
    assert not [f for f in unlabelled.findings if f.kind == "keypoints-outside"]


def test_class_names_that_are_nearly_equal_are_doubted(tmp_path: Path) -> None:
    content = coco_content([f"{k}.png" for k in range(4)], [], ("red ", "Red", "hot dog", "hot-dog", "blue"))
    content["annotations"] = [{**BOX, "id": k + 1, "image_id": 7 * k, "category_id": 3 * k} for k in range(4)]
    coco(tmp_path / "coco", "told.json", content)
    (finding,) = (f for f in dataset(tmp_path / "coco").findings if f.kind == "alike-names")
    assert "'red ' and 'Red'; 'hot dog' and 'hot-dog'" in finding.message
    for number, name in enumerate(("Cat", "cat", "dog")):
        for k in range(4):
            save(tmp_path / f"folders/{name}/{k}.png", scene(4 * number + k))
    (finding,) = (f for f in dataset(tmp_path / "folders").findings if f.kind == "alike-names")
    assert finding.where == ("Cat", "cat")


def test_numbers_with_a_sign_are_different_classes(tmp_path: Path) -> None:
    rows = "".join(f"{k},{(-1) ** k}\n" for k in range(20))
    (tmp_path / "rows.csv").write_text("a,y\n" + rows)
    assert not [f for f in dataset(tmp_path / "rows.csv").findings if f.kind == "alike-names"]
    assert json.dumps(dataset(tmp_path / "rows.csv").truth[:2].tolist()) == "[1, 0]"

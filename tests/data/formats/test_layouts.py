"""Layouts as tools and websites write them: read, or refused with what was seen and what to type."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from snellen.core.errors import DataError
from snellen.data.dataset import Dataset, Labelled
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset

_random = np.random.default_rng(0)
XML = """<annotation><filename>{}</filename><size><width>16</width><height>12</height><depth>3</depth></size>
<object><name>cat</name><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>12</xmax><ymax>11</ymax></bndbox></object></annotation>
"""


def images(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_random.integers(0, 255, (12, 16, 3), np.uint8)).save(root / name)


def masks(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        values = np.zeros((12, 16), np.uint8)
        values[2 : 3 + int(_random.integers(8)), 3:9] = 1
        Image.fromarray(values).save(root / name)


def text(root: Path, name: str, content: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content)


def coco(names: list[str]) -> str:
    rows = enumerate(names, 1)
    return json.dumps(
        {
            "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}],
            "images": [{"id": k, "file_name": name, "width": 16, "height": 12} for k, name in rows],
            "annotations": [
                {"id": k, "image_id": k, "category_id": k % 2 + 1, "bbox": [2, 3, 9, 7], "area": 63, "iscrowd": 0}
                for k in range(1, len(names) + 1)
            ],
        }
    )


def names_of(data: Dataset[Labelled]) -> tuple[str, ...]:
    return tuple(getattr(data.spec.target, "names", ()))


@pytest.mark.parametrize("below", ["", "camera/"])
def test_coco_of_cvat_has_its_images_below_the_name_of_the_subset(tmp_path: Path, below: str) -> None:
    images(tmp_path, *(f"images/default/{below}{k}.png" for k in range(8)))
    text(tmp_path, "annotations/instances_default.json", coco([f"{below}{k}.png" for k in range(8)]))
    data = dataset(tmp_path)
    assert names_of(data) == ("red", "green")
    assert len(data) == 8


def test_a_label_studio_export_with_its_notes_is_yolo(tmp_path: Path) -> None:
    images(tmp_path, *(f"images/{k}.png" for k in range(8)))
    for k in range(8):
        text(tmp_path, f"labels/{k}.txt", f"{k % 2} 0.5 0.5 0.2 0.3\n")
    text(tmp_path, "classes.txt", "red\ngreen\n")
    text(tmp_path, "notes.json", '{"categories": [{"id": 0, "name": "red"}], "info": {"year": 2024}}')
    assert names_of(dataset(tmp_path)) == ("red", "green")


@pytest.mark.parametrize("outer", ["", "VOCdevkit/", "archive/VOCdevkit/"])
def test_the_split_lists_of_pascal_voc_are_read_from_every_folder_above(tmp_path: Path, outer: str) -> None:
    root = f"{outer}VOC2012"
    for k in range(9):
        images(tmp_path, f"{root}/JPEGImages/{k}.jpg")
        text(tmp_path, f"{root}/Annotations/{k}.xml", XML.format(f"{k}.jpg"))
    text(tmp_path, f"{root}/ImageSets/Main/train.txt", "0\n1\n2\n3\n4\n5\n")
    text(tmp_path, f"{root}/ImageSets/Main/val.txt", "6\n7\n8\n")
    data = dataset(tmp_path)
    assert {data.name(int(i)).rpartition("/")[2] for i in data.splits["val"]} == {"6.jpg", "7.jpg", "8.jpg"}


def test_a_list_of_images_and_values_separated_by_spaces_is_a_table(tmp_path: Path) -> None:
    images(tmp_path, *(f"images/cell{k}.png" for k in range(20)))
    rows = "".join(f"images/cell{k}.png  {k % 4 / 3}   {'mono' if k % 3 else 'poly'}\n" for k in range(20))
    text(tmp_path, "labels.csv", rows)
    data = dataset(tmp_path)
    assert names_of(data) == ("mono", "poly")
    assert len(data) == 20
    numbers = dataset(tmp_path, options=OpenOptions(target=("column 2",)))
    assert numbers.truth[:4, 0].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_a_list_of_files_is_read_as_the_path_and_named_for_its_folder(tmp_path: Path) -> None:
    images(tmp_path, *(f"images/{k}.png" for k in range(12)))
    text(tmp_path, "file_list.txt", "".join(f"images/{k}.png {k % 2}\n" for k in range(12)))
    assert len(dataset(tmp_path / "file_list.txt")) == 12
    with pytest.raises(DataError) as caught:
        dataset(tmp_path)
    assert str(tmp_path / "file_list.txt") in caught.value.remedy


def test_sentences_are_no_list_of_images(tmp_path: Path) -> None:
    text(tmp_path, "notes.csv", "a sentence here\nother words now\n")
    with pytest.raises(DataError):
        dataset(tmp_path)


def test_images_of_documentation_are_left_out(tmp_path: Path) -> None:
    text(tmp_path, "setup.py", "")
    images(tmp_path, "doc/images/a.png", "doc/images/b.png")
    with pytest.raises(DataError, match="a repository and holds 2 images, all of documentation"):
        dataset(tmp_path)
    images(tmp_path, *(f"data/{c}/{k}.png" for c in ("cat", "dog") for k in range(6)))
    data = dataset(tmp_path)
    assert names_of(data) == ("cat", "dog")
    assert any("2 images are left out as documentation" in f.message for f in data.findings)
    assert len(dataset(tmp_path, options=OpenOptions(format="folder"))) == 14


@pytest.mark.parametrize("folder", ["docs", "doc", "archive/docs", "documentation"])
@pytest.mark.parametrize("beside", ["README.md", "notes.doc"])  # the second is no sidecar: docs/ is not alone
def test_images_of_documentation_are_no_classes_without_other_signs_of_a_repository(
    tmp_path: Path, folder: str, beside: str
) -> None:
    root = tmp_path / "project"
    images(root, *(f"{folder}/{c}/{k}.png" for c in ("images", "logo") for k in range(6)))
    text(root, beside, "a project")
    for path in (root, root / folder):
        with pytest.raises(DataError, match=r"holds 12 images, all of documentation .*images/0\.png") as caught:
            dataset(path)
        assert "--data-format folder" in caught.value.remedy
        assert len(dataset(path, options=OpenOptions(format="folder"))) == 12
    images(root, *(f"{c}/{k}.png" for c in ("cat", "dog") for k in range(6)))  # now a class beside others, in doubt
    assert any("named like a folder of documentation" in f.message for f in dataset(root).findings)


def test_documents_in_a_folder_called_docs_are_doubted_and_read(tmp_path: Path) -> None:
    images(tmp_path, *(f"docs/{c}/{k}.png" for c in ("invoice", "images") for k in range(6)))
    text(tmp_path, "notes.doc", "")
    data = dataset(tmp_path)
    assert names_of(data) == ("images", "invoice")
    assert any("in folders of docs/, which is named like documentation" in f.message for f in data.findings)


def test_a_class_called_docs_stays_a_class(tmp_path: Path) -> None:
    images(tmp_path, *(f"{c}/{k}.png" for c in ("docs", "photos") for k in range(6)))
    assert names_of(dataset(tmp_path)) == ("docs", "photos")


def test_folders_of_dates_below_the_classes_are_no_classes(tmp_path: Path) -> None:
    folders = ("Rome/2023 summer", "Rome/2024", "Oslo/2024", "Oslo/May 2022", "Kyoto/2021-05-03")
    images(tmp_path, *(f"{folder}/{k}.png" for folder in folders for k in range(4)))
    data = dataset(tmp_path)
    assert names_of(data) == ("Kyoto", "Oslo", "Rome")
    assert "2023 summer" in data.recognised_as
    assert len(names_of(dataset(tmp_path, options=OpenOptions(format="folder")))) == 5


def test_folders_of_years_are_classes_if_they_are_the_only_ones(tmp_path: Path) -> None:
    images(tmp_path, *(f"{year}/{k}.png" for year in (2023, 2024) for k in range(6)))
    assert names_of(dataset(tmp_path)) == ("2023", "2024")


def test_folders_above_and_image_folders_below_are_no_part_of_a_class(tmp_path: Path) -> None:
    text(tmp_path, "solution.csv", "a,b\n1,2\n")
    for split in ("train", "val"):
        images(tmp_path, *(f"ILSVRC/Data/{split}/{c}/images/{k}.png" for c in ("n01", "n02") for k in range(5)))
    data = dataset(tmp_path)
    assert names_of(data) == ("n01", "n02")
    assert "read from ILSVRC/Data/" in data.recognised_as
    images(tmp_path, "ILSVRC/Data/val/images/9.png")
    with pytest.raises(DataError, match=r"1 image lies outside the class folders: ILSVRC/Data/val/images/9\.png"):
        dataset(tmp_path)


@pytest.mark.parametrize("folders", [("photos", "annot_png"), ("images", "annotations/trimaps")])
def test_masks_in_folders_of_other_names_are_pairs(tmp_path: Path, folders: tuple[str, str]) -> None:
    images(tmp_path, *(f"{folders[0]}/{k}.jpg" for k in range(8)))
    masks(tmp_path, *(f"{folders[1]}/{k}.png" for k in range(8)))
    data = dataset(tmp_path)
    assert data.recognised_as.startswith("image–mask pairs: 8 images")


@pytest.mark.parametrize("folders", [("input", "output"), ("LR", "HR"), ("source", "target")])
def test_pairs_of_images_are_no_classes(tmp_path: Path, folders: tuple[str, str]) -> None:
    images(tmp_path, *(f"{folder}/{k}.png" for folder in folders for k in range(8)))
    with pytest.raises(DataError, match="look like pairs"):
        dataset(tmp_path)
    assert len(dataset(tmp_path, options=OpenOptions(format="folder"))) == 16


def test_the_table_of_training_images_is_named_before_others(tmp_path: Path) -> None:
    images(tmp_path, *(f"train_images/{k}.png" for k in range(8)), *(f"test_images/t{k}.png" for k in range(3)))
    text(tmp_path, "train.csv", "image_id,label\n" + "".join(f"{k}.png,{k % 2}\n" for k in range(8)))
    text(tmp_path, "sample_submission.csv", "image_id,label\n" + "".join(f"t{k}.png,0\n" for k in range(3)))
    with pytest.raises(DataError) as caught:
        dataset(tmp_path)
    assert str(tmp_path / "train.csv") in caught.value.remedy
    assert len(dataset(tmp_path / "train.csv")) == 8


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("via_region_data.json", '{"a": {"filename": "0.png", "regions": []}}'),
        ("_annotations.createml.json", '[{"image": "0.png", "annotations": []}]'),
        ("annotations.xml", '<?xml version="1.0"?><annotations></annotations>'),
    ],
)
def test_files_of_annotations_that_are_not_read_are_named(tmp_path: Path, name: str, content: str) -> None:
    images(tmp_path, *(f"{k}.png" for k in range(6)))
    text(tmp_path, name, content)
    with pytest.raises(DataError) as caught:
        dataset(tmp_path)
    assert name in caught.value.cause
    assert "COCO" in caught.value.remedy


def test_classes_at_the_beginning_of_file_names_are_named(tmp_path: Path) -> None:
    images(tmp_path, *(f"train/{c}.{k}.png" for c in ("cat", "dog") for k in range(6)))
    with pytest.raises(DataError) as caught:
        dataset(tmp_path)
    assert "begin with the class (cat, dog)" in caught.value.remedy


def test_coco_ids_of_several_types_in_one_file_are_matched(tmp_path: Path) -> None:
    images(tmp_path, *(f"{k}.png" for k in range(8)))
    content = json.loads(coco([f"{k}.png" for k in range(8)]))
    for k, annotation in enumerate(content["annotations"]):
        annotation["image_id"] = (annotation["image_id"], str(annotation["image_id"]), float(k + 1))[k % 3]
    text(tmp_path, "annotations.json", json.dumps(content))
    data = dataset(tmp_path)
    assert sum(sum(data.counts(split)) for split in data.splits) == 8
    assert "ids differ in type" in data.recognised_as

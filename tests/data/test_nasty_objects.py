"""Broken and malicious object datasets: each ends with an error that gives the position and a remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from annotation_makers import coco, coco_content, voc, voc_xml, yolo
from image_makers import save, scene

from snellen.core.errors import DataError
from snellen.data.annotations import ObjectAnnotations
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset

ONE = {"image_id": 0, "category_id": 0, "bbox": [1, 2, 3, 4]}
BOMB = (
    '<!DOCTYPE a [<!ENTITY a "'
    + "x" * 1000
    + '">'
    + "".join(f'<!ENTITY {new} "{f"&{old};" * 50}">' for old, new in zip("abcde", "bcdef", strict=True))
    + "]>"
)


def broken_coco(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """A COCO dataset whose JSON content is what `change` returns, or what it modified in place."""

    def make(root: Path) -> None:
        content = coco_content(["a.png", "b.png"], [ONE, {**ONE, "image_id": 7}])
        path = coco(root, "_annotations.coco.json", content)
        changed = change(content)
        path.write_text(changed if isinstance(changed, str) else json.dumps(content if changed is None else changed))

    return make


def broken_voc(text: str | bytes, *, listed: str = "") -> Callable[[Path], None]:
    """A Pascal VOC dataset of two XML files, one of which has the content `text`."""

    def make(root: Path) -> None:
        voc(root, {"a": [("cat", 2, 2, 9, 9)], "b": []}, {"train": ["a", "b"]} if listed else None)
        (root / "Annotations" / "b.xml").write_bytes(text if isinstance(text, bytes) else text.encode())
        if listed:
            (root / "ImageSets" / "Main" / "train.txt").write_text(listed)

    return make


def broken_yolo(text: str | bytes = "0 0.5 0.5 0.5 0.5\n", content: str | None = None) -> Callable[[Path], None]:
    """A YOLO dataset with a label file, and a data.yaml, of this content."""

    def make(root: Path) -> None:
        yolo(root, {"train/a": "0 0.5 0.5 0.5 0.5\n", "train/b": ""})
        (root / "labels" / "train" / "b.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
        if content is not None:
            (root / "data.yaml").write_text(content)

    return make


def with_value(key: str, entry: str, value: Any) -> Callable[[Path], None]:
    """A COCO dataset in which the first entry of `key` has another value."""
    return broken_coco(lambda content: content[key][0].update({entry: value}))


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "JSON cut short": (broken_coco(lambda content: json.dumps(content)[:-40]), r"coco.json is not JSON"),
    "JSON of another shape": (broken_coco(lambda content: [content]), r"is not a JSON object with images"),
    "JSON without images": (broken_coco(lambda content: content.pop("images") and None), r"has no list of images"),
    "JSON without categories": (broken_coco(lambda content: {**content, "categories": []}), r"has no categories"),
    "annotations that are not a list": (
        broken_coco(lambda content: {**content, "annotations": {}}),
        r"no list of annotations",
    ),
    "deep nesting": (broken_coco(lambda content: '{"images": ' + "[" * 100_000), r"is not JSON"),
    "a number of 10,000 digits": (broken_coco(lambda content: '{"images": [' + "9" * 10_000 + "]}"), r"is not JSON"),
    "no file name": (with_value("images", "file_name", None), r"image 1 of images has no file_name"),
    "two images with one id": (with_value("images", "id", 7), r"two images have the id 7 \(a.png, b.png\)"),
    "one image with two ids": (with_value("images", "file_name", "b.png"), r"names 'b.png' twice"),
    "a name outside the folder": (
        with_value("images", "file_name", "../../etc/passwd"),
        r"passwd', which lies outside",
    ),
    "an absolute name": (with_value("images", "file_name", "/etc/passwd"), r"names '/etc/passwd', which lies outside"),
    "a Windows path": (with_value("images", "file_name", "C:\\x.png"), r"which lies outside"),
    "a name with a zero byte": (with_value("images", "file_name", "a\0.png"), r"'a\\x00.png', which is not a valid"),
    "a lone surrogate": (with_value("images", "file_name", "a\ud800.png"), r"which is not a valid file name"),
    "a class with a lone surrogate": (with_value("categories", "name", "a\ud800"), r"category 1 .*is not a valid name"),
    "a very long name": (with_value("images", "file_name", "a" * 5000), r"names 'aaa.*aaa', which is not a valid"),
    "a class with a long name": (with_value("categories", "name", "a" * 280), r"is of 280 bytes, more than 255"),
    "a class whose name is a number": (with_value("categories", "name", 5), r"the name 5, which is not text"),
    "a category without a name": (with_value("categories", "name", None), r"category 1 .* has no name"),
    "two images with one id of two types": (with_value("images", "id", "7"), r"id (7 and '7'|'7' and 7) \(a.png, b"),
    "two categories with one id of two types": (
        broken_coco(
            lambda content: content["categories"].append({"id": str(content["categories"][0]["id"]), "name": "z"})
        ),
        r"two categories have the id (\d+) and '\1' \(.*, z\)",
    ),
    "two categories with one name": (with_value("categories", "name", "dog"), r"two categories have the name 'dog'"),
    "a skeleton without keypoints": (
        with_value("categories", "skeleton", [[1, 2]]),
        r"skeleton with indices outside its 0 keypoints",
    ),
    "an id of 400 digits": (with_value("annotations", "image_id", 10**400), r"an unknown image_id"),
    "a box of 400 digits": (with_value("annotations", "bbox", [10**400, 1, 1, 1]), r"annotation 1 of _annotations"),
    "invalid XML": (broken_voc("<annotation><object>"), r"Annotations/b.xml is not XML"),
    "an empty file": (broken_voc(""), r"Annotations/b.xml is not XML"),
    "exponential entities": (broken_voc(BOMB + voc_xml([("&f;", 2, 2, 9, 9)])), r"b.xml declares entities"),
    "an external entity": (
        broken_voc('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + voc_xml([("&x;", 2, 2, 9, 9)])),
        r"b.xml declares entities",
    ),
    "a document type": (broken_voc("<!DOCTYPE annotation>" + voc_xml([])), r"b.xml declares entities or a DTD"),
    "an unknown encoding": (broken_voc('<?xml version="1.0" encoding="no-such"?><annotation/>'), r"b.xml is not XML"),
    "bytes that are not text": (broken_voc(b"\xff\xfe\x00<"), r"b.xml is not XML"),
    "no box": (
        broken_voc("<annotation><object><name>cat</name></object></annotation>"),
        r"b.xml object 1 has no bndbox",
    ),
    "no name": (broken_voc("<annotation><object><bndbox/></object></annotation>"), r"b.xml object 1 has no name"),
    "a non-numeric corner": (broken_voc(voc_xml([("cat", 2, 2, 9, 9)]).replace(">9<", ">nine<")), r"has xmax 'nine'"),
    "a missing corner": (broken_voc(voc_xml([("cat", 2, 2, 9, 9)]).replace("<ymin>2</ymin>", "")), r"ymin None"),
    "a NaN corner": (broken_voc(voc_xml([("cat", float("nan"), 2, 9, 9)])), r"not numbers: Annotations/b.xml"),
    "a list outside the folder": (
        broken_voc(voc_xml([]), listed="a\n../../b\n"),
        r"names '../../b', which has no file",
    ),
    "a non-numeric class": (broken_yolo("cat 0.5 0.5 0.5 0.5"), r"train/b.txt line 1: 'cat 0.5 0.5 0.5 0.5' are not"),
    "a fractional class": (broken_yolo("0.5 0.5 0.5 0.5 0.5"), r"line 1: '0.5' is not a class index"),
    "a negative class": (broken_yolo("-1 0.5 0.5 0.5 0.5"), r"'-1' is not a class index"),
    "a class without a name": (broken_yolo("\n2 0.5 0.5 0.5 0.5"), r"unknown class: labels/train/b.txt line 2"),
    "a very large class index": (broken_yolo("1" * 400 + " 0.5 0.5 0.5 0.5"), r"is not a class index"),
    "six numbers": (broken_yolo("0 0.5 0.5 0.5 0.5 0.9"), r"6 numbers are neither"),
    "pixels instead of normalised coordinates": (
        broken_yolo("0 24 20 10 10"),
        r"outside the image: labels/train/b.txt line 1",
    ),
    "not UTF-8": (broken_yolo(b"\xff\xfe0"), r"b.txt is not UTF-8 text"),
    "YAML that runs code": (
        broken_yolo(content="train: !!python/object/apply:os.system [ls]\n"),
        r"is not YAML of plain",
    ),
    "invalid YAML": (broken_yolo(content="names: [a]\ntrain: [\n"), r"is not YAML of plain data \(line 3: "),
    "YAML of another shape": (broken_yolo(content="train:\n"), r"data.yaml names no train, val or test"),
    "boolean names": (broken_yolo(content="train: images/train\nnames: [no, dog]\n"), r"a class False: YAML"),
    "fewer names than classes": (
        broken_yolo(content="train: images/train\nnames: [a, b]\nnc: 3\n"),
        r"2 names and nc: 3",
    ),
    "two classes with one name": (
        broken_yolo(content="train: images/train\nnames: [a, a]\n"),
        r"two classes called 'a'",
    ),
    "a split outside the folder": (
        broken_yolo(content="train: ../../etc\nnames: [a]\n"),
        r"'../../etc', which is not a folder in",
    ),
    "an absolute split": (broken_yolo(content="train: /etc\nnames: [a]\n"), r"'/etc', which is not a folder in"),
    "an invalid kpt_shape": (broken_yolo(content="train: images/train\nnames: [a]\nkpt_shape: 17\n"), r"kpt_shape: 17"),
    "an invalid flip_idx": (
        broken_yolo(content="train: images/train\nnames: [a]\nkpt_shape: [2, 2]\nflip_idx: [1, 1]\n"),
        r"flip_idx: \[1, 1\]",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_annotations_are_reported_with_a_remedy(tmp_path: Path, case: str) -> None:
    make, cause = BROKEN[case]
    make(tmp_path)
    with pytest.raises(DataError, match=cause) as caught:
        dataset(tmp_path)
    assert str(tmp_path) in caught.value.cause
    assert "\n" not in caught.value.cause
    assert caught.value.remedy


def test_unusual_names_are_valid(tmp_path: Path) -> None:
    names = ["ein Bild.png", "粒子.png", "a'b\"c.png", "sub/deeper/x.png"]
    content = coco_content(names, [{**ONE, "image_id": 7 * k} for k in range(4)], ["細胞", "white cell"])
    content["images"][3]["file_name"] = "sub\\deeper\\x.png"
    save(tmp_path / names[3], scene(1))
    path = tmp_path / "_annotations.coco.json"
    coco(tmp_path, path.name, coco_content(names[:3], []))
    path.write_text(json.dumps(content), "utf-8")
    data = dataset(tmp_path)
    assert sorted(data.name(k) for k in range(4)) == sorted(names)
    assert data.files == {"found": 5, "used": 5, "set aside": 0, "no data": 0}
    assert isinstance(data.annotations, ObjectAnnotations)


def test_wrong_annotated_sizes_and_areas_are_harmless(tmp_path: Path) -> None:
    content = coco_content(
        ["a.png", "b.png", "c.png"], [{**ONE, "area": -5}, {**ONE, "area": "x"}, {**ONE, "iscrowd": None}]
    )
    content["images"][0] |= {"width": 10**12, "height": 1}
    content["images"][1] |= {"width": -3}
    content["images"][2] |= {"width": None}
    data = dataset(coco(tmp_path, "told.json", content), options=OpenOptions(full=True))
    assert isinstance(data.annotations, ObjectAnnotations)
    assert data.annotations.load(0).areas.tolist() == [12, 12, 12]
    assert [f.count for f in data.findings if f.kind == "size-differs"] == [1]

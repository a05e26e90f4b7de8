"""Sets of objects that are broken, or meant badly, and the one right outcome of each: an error that names the place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from annotation_makers import coco, coco_told, voc, voc_xml, yolo
from image_makers import save, scene

from snellen.core.errors import DataError
from snellen.data.annotations import ObjectLists
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


def of_coco(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """The set of one JSON file, whose content is what `change` returns, or what it has made of it."""

    def make(root: Path) -> None:
        told = coco_told(["a.png", "b.png"], [ONE, {**ONE, "image_id": 7}])
        path = coco(root, "_annotations.coco.json", told)
        changed = change(told)
        path.write_text(changed if isinstance(changed, str) else json.dumps(told if changed is None else changed))

    return make


def of_voc(text: str | bytes, *, also: str = "") -> Callable[[Path], None]:
    """The set of two XML files, of which one is `text`."""

    def make(root: Path) -> None:
        voc(root, {"a": [("cat", 2, 2, 9, 9)], "b": []}, {"train": ["a", "b"]} if also else None)
        (root / "Annotations" / "b.xml").write_bytes(text if isinstance(text, bytes) else text.encode())
        if also:
            (root / "ImageSets" / "Main" / "train.txt").write_text(also)

    return make


def of_yolo(text: str | bytes = "0 0.5 0.5 0.5 0.5\n", told: str | None = None) -> Callable[[Path], None]:
    """The set with a text file, and a data.yaml, of this content."""

    def make(root: Path) -> None:
        yolo(root, {"train/a": "0 0.5 0.5 0.5 0.5\n", "train/b": ""})
        (root / "labels" / "train" / "b.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
        if told is not None:
            (root / "data.yaml").write_text(told)

    return make


def first(key: str, entry: str, value: Any) -> Callable[[Path], None]:
    """COCO whose first entry of `key` has another value."""
    return of_coco(lambda told: told[key][0].update({entry: value}))


NASTY: dict[str, tuple[Callable[[Path], None], str]] = {
    "JSON cut short": (of_coco(lambda told: json.dumps(told)[:-40]), r"coco.json is no JSON"),
    "JSON of another shape": (of_coco(lambda told: [told]), r"holds no object with images"),
    "JSON without images": (of_coco(lambda told: told.pop("images") and None), r"has no list of images"),
    "JSON without categories": (of_coco(lambda told: {**told, "categories": []}), r"has no categories"),
    "annotations that are no list": (of_coco(lambda told: {**told, "annotations": {}}), r"no list of annotations"),
    "nested without end": (of_coco(lambda told: '{"images": ' + "[" * 100_000), r"is no JSON"),
    "a number of 10,000 digits": (of_coco(lambda told: '{"images": [' + "9" * 10_000 + "]}"), r"is no JSON"),
    "no name of a file": (first("images", "file_name", None), r"picture 1 of images has no file_name"),
    "two pictures of one id": (first("images", "id", 7), r"two pictures have the id 7 \(a.png, b.png\)"),
    "one picture of two ids": (first("images", "file_name", "b.png"), r"names 'b.png' twice"),
    "a name that leads out": (first("images", "file_name", "../../etc/passwd"), r"passwd', which leads out"),
    "a name from the root": (first("images", "file_name", "/etc/passwd"), r"names '/etc/passwd', which leads out"),
    "a name of another system": (first("images", "file_name", "C:\\x.png"), r"which leads out"),
    "a name with a zero byte": (first("images", "file_name", "a\0.png"), r"'a\\x00.png', which no file can"),
    "half a character": (first("images", "file_name", "a\ud800.png"), r"which no file can be called"),
    "a class of half a character": (first("categories", "name", "a\ud800"), r"category 1 has no name"),
    "a name without end": (first("images", "file_name", "a" * 5000), r"names 'aaa.*aaa', which no file can"),
    "two categories of one name": (first("categories", "name", "dog"), r"two categories have the name 'dog'"),
    "a skeleton of no points": (first("categories", "skeleton", [[1, 2]]), r"skeleton of other than its 0 keypoints"),
    "an id of 400 digits": (first("annotations", "image_id", 10**400), r"pictures that the file does not list"),
    "a box of 400 digits": (first("annotations", "bbox", [10**400, 1, 1, 1]), r"annotation 1 of _annotations"),
    "XML that is none": (of_voc("<annotation><object>"), r"Annotations/b.xml is no XML"),
    "an empty file": (of_voc(""), r"Annotations/b.xml is no XML"),
    "entities that explode": (of_voc(BOMB + voc_xml([("&f;", 2, 2, 9, 9)])), r"b.xml declares entities"),
    "a file of the system": (
        of_voc('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + voc_xml([("&x;", 2, 2, 9, 9)])),
        r"b.xml declares entities",
    ),
    "a document type": (of_voc("<!DOCTYPE annotation>" + voc_xml([])), r"b.xml declares entities or a type"),
    "an unknown encoding": (of_voc('<?xml version="1.0" encoding="no-such"?><annotation/>'), r"b.xml is no XML"),
    "bytes of no text": (of_voc(b"\xff\xfe\x00<"), r"b.xml is no XML"),
    "no box": (of_voc("<annotation><object><name>cat</name></object></annotation>"), r"b.xml object 1 has no bndbox"),
    "no name": (of_voc("<annotation><object><bndbox/></object></annotation>"), r"b.xml object 1 has no name"),
    "a corner that is a word": (of_voc(voc_xml([("cat", 2, 2, 9, 9)]).replace(">9<", ">nine<")), r"has xmax 'nine'"),
    "a corner that is missing": (of_voc(voc_xml([("cat", 2, 2, 9, 9)]).replace("<ymin>2</ymin>", "")), r"ymin None"),
    "a corner that is no number": (of_voc(voc_xml([("cat", float("nan"), 2, 9, 9)])), r"no numbers: Annotations/b.xml"),
    "a list that leads out": (of_voc(voc_xml([]), also="a\n../../b\n"), r"names '../../b', which has no file"),
    "a class that is no number": (of_yolo("cat 0.5 0.5 0.5 0.5"), r"train/b.txt line 1: 'cat 0.5 0.5 0.5 0.5' are not"),
    "a class that is no integer": (of_yolo("0.5 0.5 0.5 0.5 0.5"), r"line 1: '0.5' is no number of a class"),
    "a class below 0": (of_yolo("-1 0.5 0.5 0.5 0.5"), r"'-1' is no number of a class"),
    "a class of no name": (of_yolo("\n2 0.5 0.5 0.5 0.5"), r"unknown class: labels/train/b.txt line 2"),
    "a class without end": (of_yolo("1" * 400 + " 0.5 0.5 0.5 0.5"), r"is no number of a class"),
    "six numbers": (of_yolo("0 0.5 0.5 0.5 0.5 0.9"), r"6 numbers are neither"),
    "pixels in place of shares": (of_yolo("0 24 20 10 10"), r"outside of the picture: labels/train/b.txt line 1"),
    "no UTF-8": (of_yolo(b"\xff\xfe0"), r"b.txt is no text in UTF-8"),
    "YAML that runs code": (of_yolo(told="train: !!python/object/apply:os.system [ls]\n"), r"is no YAML of plain"),
    "YAML that is none": (of_yolo(told="names: [a]\ntrain: [\n"), r"is no YAML of plain data \(line 3: "),
    "YAML of another shape": (of_yolo(told="train:\n"), r"data.yaml names no train, val or test"),
    "names that are truth values": (of_yolo(told="train: images/train\nnames: [no, dog]\n"), r"a class False: YAML"),
    "fewer names than classes": (of_yolo(told="train: images/train\nnames: [a, b]\nnc: 3\n"), r"2 names and nc: 3"),
    "two classes of one name": (of_yolo(told="train: images/train\nnames: [a, a]\n"), r"two classes called 'a'"),
    "a split that leads out": (of_yolo(told="train: ../../etc\nnames: [a]\n"), r"'../../etc', which is no folder in"),
    "a split from the root": (of_yolo(told="train: /etc\nnames: [a]\n"), r"'/etc', which is no folder in"),
    "a shape that is none": (of_yolo(told="train: images/train\nnames: [a]\nkpt_shape: 17\n"), r"kpt_shape: 17"),
    "a mirror that is none": (
        of_yolo(told="train: images/train\nnames: [a]\nkpt_shape: [2, 2]\nflip_idx: [1, 1]\n"),
        r"flip_idx: \[1, 1\]",
    ),
}


@pytest.mark.parametrize("case", NASTY)
def test_what_is_broken_is_named_with_a_remedy(tmp_path: Path, case: str) -> None:
    make, cause = NASTY[case]
    make(tmp_path)
    with pytest.raises(DataError, match=cause) as caught:
        dataset(tmp_path)
    assert str(tmp_path) in caught.value.cause
    assert "\n" not in caught.value.cause
    assert caught.value.remedy


def test_unusual_names_are_names(tmp_path: Path) -> None:
    names = ["ein Bild.png", "粒子.png", "a'b\"c.png", "sub/deeper/x.png"]
    told = coco_told(names, [{**ONE, "image_id": 7 * k} for k in range(4)], ["細胞", "white cell"])
    told["images"][3]["file_name"] = "sub\\deeper\\x.png"
    save(tmp_path / names[3], scene(1))
    path = tmp_path / "_annotations.coco.json"
    coco(tmp_path, path.name, coco_told(names[:3], []))
    path.write_text(json.dumps(told), "utf-8")
    data = dataset(tmp_path)
    assert sorted(data.name(k) for k in range(4)) == sorted(names)
    assert data.files == {"found": 5, "used": 5, "set aside": 0, "no data": 0}
    assert isinstance(data.annotations, ObjectLists)


def test_sizes_and_areas_that_are_told_wrongly_do_no_harm(tmp_path: Path) -> None:
    told = coco_told(["a.png", "b.png", "c.png"], [{**ONE, "area": -5}, {**ONE, "area": "x"}, {**ONE, "iscrowd": None}])
    told["images"][0] |= {"width": 10**12, "height": 1}
    told["images"][1] |= {"width": -3}
    told["images"][2] |= {"width": None}
    data = dataset(coco(tmp_path, "told.json", told), options=OpenOptions(full=True))
    assert isinstance(data.annotations, ObjectLists)
    assert data.annotations.of(0).areas.tolist() == [12, 12, 12]
    assert [f.count for f in data.findings if f.kind == "size-differs"] == [1]

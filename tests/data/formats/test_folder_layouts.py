"""Folder layouts: what is a class, a split, an annotation file, a folder of the system; and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from annotation_makers import voc_xml
from image_makers import save, scene

from snellen.core.errors import DataError
from snellen.core.spec import Boxes, Classes, PixelClasses
from snellen.data.dataset import Dataset
from snellen.data.formats import OpenOptions, formats
from snellen.data.formats.file_names import split_and_rest, split_index
from snellen.data.formats.single_folders import single_folders
from snellen.data.open_dataset import dataset

YOLO = "0 0.5 0.5 0.3 0.3\n1 0.3 0.3 0.2 0.2\n"
_SEEDS = iter(range(1, 1_000_000))  # every image differs, so no two are copies


def image(path: Path) -> None:
    save(path, scene(next(_SEEDS), (24, 20)))


def mask(path: Path, *values: int) -> None:
    pixels = np.random.default_rng(len(str(path))).choice(values, (20, 24)).astype(np.uint8)
    pixels[0, : len(values)] = values
    save(path, pixels)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def class_folders(root: Path, names: tuple[str, ...] = ("cat", "dog"), count: int = 4) -> None:
    for name in names:
        for k in range(count):
            image(root / name / f"{name}{k}.png")


def target_names(data: Dataset) -> tuple[str, ...]:
    assert isinstance(data.spec.target, Classes)
    return data.spec.target.names


def coco_text(names: list[str], keys: tuple[str, ...] = ("images", "annotations", "categories"), **more: object) -> str:
    content = {
        "images": [{"id": k + 1, "file_name": name, "width": 24, "height": 20} for k, name in enumerate(names)],
        "annotations": [
            {"id": k + 1, "image_id": k + 1, "category_id": 1 + k % 2, "bbox": [2, 3, 8, 9]} for k in range(len(names))
        ],
        "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}],
    }
    return json.dumps({**more, **{key: content[key] for key in keys}})


def names_by_split(data: Dataset) -> dict[str, set[str]]:
    return {split: {data.name(int(k)) for k in ids} for split, ids in data.splits.items()}


# Class folders and splits


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("archive/train", "archive/test"),
        ("a/b/c/train", "a/b/c/test"),
        ("training_set", "test_set"),
        ("Training Set", "Test Set"),
        ("train_images", "test_images"),
        ("traindata", "testdata"),
        ("train2017", "test2017"),
        ("train/train", "test/test"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("archive/seg_train", "archive/seg_test"),
    ],
)
def test_splits_under_other_names_and_below_single_folders(tmp_path: Path, train: str, test: str) -> None:
    class_folders(tmp_path / train)
    class_folders(tmp_path / test, count=2)
    data = dataset(tmp_path)
    assert isinstance(data.spec.target, Classes)
    assert data.spec.target.names == ("cat", "dog")
    assert data.spec.sizes["test"] == 4
    assert all("test" in name.lower() for name in names_by_split(data)["test"])
    assert "given splits" in data.recognised_as


def test_the_descended_folder_is_named_and_stored(tmp_path: Path) -> None:
    class_folders(tmp_path / "archive/data/train")
    class_folders(tmp_path / "archive/data/test")
    write(tmp_path / "archive/README.md", "about")
    data = dataset(tmp_path)
    assert data.recognised_as.endswith("read from archive/data/")
    assert data.origin is not None
    assert data.origin["data"] == str(tmp_path / "archive/data")
    assert data.spec.name == tmp_path.name


def test_single_folders_end_at_a_split_images_or_other_files(tmp_path: Path) -> None:
    class_folders(tmp_path / "split/train")
    class_folders(tmp_path / "one")
    image(tmp_path / "flat/cat/1.png")
    class_folders(tmp_path / "table/data")
    write(tmp_path / "table/rows.csv", "a,b\n")
    assert single_folders(tmp_path / "split") == [tmp_path / "split"]
    assert single_folders(tmp_path / "flat") == [tmp_path / "flat"]
    assert single_folders(tmp_path / "table") == [tmp_path / "table"]
    with pytest.raises(DataError, match=r"only one class \(cat\)"):
        dataset(tmp_path / "flat")


@pytest.mark.parametrize("classes", [("cat", "dog"), ("cat/black", "dog/white")])
def test_splits_below_classes(tmp_path: Path, classes: tuple[str, ...]) -> None:
    for name in classes:
        for split, count in (("train", 4), ("test", 2)):
            for k in range(count):
                image(tmp_path / name / split / f"{k}.png")
    data = dataset(tmp_path)
    assert isinstance(data.spec.target, Classes)
    assert data.spec.target.names == classes
    assert names_by_split(data)["test"] == {f"{name}/test/{k}.png" for name in classes for k in range(2)}
    assert "folders below the classes" in data.recognised_as


def test_splits_below_some_classes_are_refused(tmp_path: Path) -> None:
    for folder in ("cat/train", "cat/test", "dog"):
        image(tmp_path / folder / "1.png")
    with pytest.raises(DataError, match=r"split folders below some classes only: cat/test, cat/train beside dog"):
        dataset(tmp_path)
    data = dataset(tmp_path, options=OpenOptions(format="folder"))
    assert isinstance(data.spec.target, Classes)
    assert data.spec.target.names == ("cat/test", "cat/train", "dog")


@pytest.mark.parametrize("names", [("bus", "car", "train"), ("valid", "invalid")])
def test_classes_named_like_splits_are_read_on_request(tmp_path: Path, names: tuple[str, ...]) -> None:
    class_folders(tmp_path, names)
    with pytest.raises(DataError) as error:
        dataset(tmp_path)
    assert "--data-format folder" in error.value.remedy
    data = dataset(tmp_path, options=OpenOptions(format="folder"))
    assert isinstance(data.spec.target, Classes)
    assert data.spec.target.names == tuple(sorted(names))


def test_a_folder_beside_splits_is_refused(tmp_path: Path) -> None:
    class_folders(tmp_path / "seg_train/seg_train")
    class_folders(tmp_path / "seg_test/seg_test")
    image(tmp_path / "seg_pred/seg_pred/1.png")
    with pytest.raises(DataError, match="seg_test, seg_train beside seg_pred"):
        dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "split", "rest"),
    [
        ("train", 0, ""),
        ("Validation-Set", 1, ""),
        ("test1", 2, ""),
        ("trainset", 0, ""),
        ("seg_train", 0, "seg"),
        ("train_test", None, ""),
        ("dataset", None, ""),
        ("trainer", None, "trainer"),
        ("images", None, ""),
        ("contest", None, "contest"),
    ],
)
def test_words_of_splits(name: str, split: int | None, rest: str) -> None:
    assert split_and_rest(name) == (split, rest)
    assert split_index(name) == (None if rest else split)


def test_folders_of_the_system_are_left_out_and_counted(tmp_path: Path) -> None:
    class_folders(tmp_path, count=6)
    system = ("$RECYCLE.BIN/S-1", ".Trashes/501", "System Volume Information", "lost+found", "#recycle", "__MACOSX/cat")
    for folder in (*system, "cat/@eaDir/cat0.png"):
        image(tmp_path / folder / "1.png")
    data = dataset(tmp_path)
    assert isinstance(data.spec.target, Classes)
    assert data.spec.target.names == ("cat", "dog")
    assert dict(data.files) == {"found": 19, "used": 12, "set aside": 0, "no data": 7}


def test_thumbnails_of_a_network_drive_are_no_images_of_other_formats(tmp_path: Path) -> None:
    for k in range(4):
        image(tmp_path / f"yolo/images/{k}.png")
        image(tmp_path / f"yolo/images/@eaDir/{k}.png/T.jpg")
        write(tmp_path / f"yolo/labels/{k}.txt", YOLO)
        image(tmp_path / f"pairs/images/{k}.png")
        image(tmp_path / f"pairs/masks/@eaDir/{k}.png/T.jpg")
        mask(tmp_path / f"pairs/masks/{k}.png", 0, 1)
    assert len(dataset(tmp_path / "yolo").source) == 4
    assert isinstance(dataset(tmp_path / "pairs").spec.target, PixelClasses)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("fold1", "fold2", "fold3"), "named like parts of the data"),
        (tuple(f"patient{k}" for k in range(20)), "a folder may be a sample, not a class"),
        (("cat", "dog", "cat/thumbs"), "cat/ holds images and cat/thumbs/ too"),
    ],
)
def test_folders_that_may_be_no_classes_are_doubted(tmp_path: Path, folders: tuple[str, ...], message: str) -> None:
    for folder in folders:
        for k in range(1 if len(folders) > 10 else 4):
            image(tmp_path / folder / f"{k}.png")
    assert any(f.kind == "doubtful-classes" and message in f.message for f in dataset(tmp_path).findings)


def test_digits_and_usual_class_names_are_not_doubted(tmp_path: Path) -> None:
    class_folders(tmp_path / "chest_xray/train", ("NORMAL", "PNEUMONIA"))
    class_folders(tmp_path / "chest_xray/test", ("NORMAL", "PNEUMONIA"), 2)
    class_folders(tmp_path / "digits", tuple(map(str, range(10))), 2)
    xray = dataset(tmp_path / "chest_xray")
    assert isinstance(xray.spec.target, Classes)
    assert xray.spec.target.names == ("NORMAL", "PNEUMONIA")
    for data in (xray, dataset(tmp_path / "digits")):
        assert not [f for f in data.findings if f.severity != "note"]


# Annotation files


@pytest.mark.parametrize(
    ("image_path", "xml_path"),
    [
        ("b{b}/{k}.png", "b{b}/{k}.xml"),
        ("images/{b}_{k}.png", "annotations/xmls/{b}_{k}.xml"),
        ("images/{b}_{k}.png", "labels/{b}_{k}.xml"),
        ("img/{b}/{k}.png", "Annotations/{b}/{k}.xml"),
    ],
)
def test_voc_files_in_other_places(tmp_path: Path, image_path: str, xml_path: str) -> None:
    for b in range(2):
        for k in range(3):
            image(tmp_path / image_path.format(b=b, k=k))
            write(tmp_path / xml_path.format(b=b, k=k), voc_xml([("red", 3, 4, 12, 15)], (24, 20)))
    data = dataset(tmp_path)
    assert data.recognised_as.startswith("Pascal VOC: 6 objects of 1 class in 6 images")


def test_voc_splits_with_folders_for_images_and_annotations(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for k in range(3):
            image(tmp_path / f"{split}/images/{k}.png")
            write(tmp_path / f"{split}/annotations/{k}.xml", voc_xml([("red", 3, 4, 12, 15)], (24, 20)))
    data = dataset(tmp_path)
    assert names_by_split(data)["test"] == {f"test/images/{k}.png" for k in range(3)}


@pytest.mark.parametrize(
    ("image_path", "text_path"),
    [
        ("b{b}/{k}.png", "b{b}/{k}.txt"),
        ("images/{b}_{k}.png", "annotations/{b}_{k}.txt"),
        ("x/images/{b}_{k}.png", "x/labels/{b}_{k}.txt"),
    ],
)
def test_yolo_files_in_other_places(tmp_path: Path, image_path: str, text_path: str) -> None:
    for b in range(2):
        for k in range(3):
            image(tmp_path / image_path.format(b=b, k=k))
            write(tmp_path / text_path.format(b=b, k=k), YOLO)
        write((tmp_path / text_path.format(b=b, k=0)).parent / "classes.txt", "red\ngreen\n")
    data = dataset(tmp_path)
    assert data.recognised_as.startswith("YOLO: 12 objects of 2 classes in 6 images")
    assert isinstance(data.spec.target, Boxes)
    assert data.spec.target.names == ("red", "green")


@pytest.mark.parametrize("prefix", ["data/", "/home/user/darknet/", "./", ""])
def test_darknet_lists_as_cvat_exports_them(tmp_path: Path, prefix: str) -> None:
    for k in range(6):
        folder = "obj_train_data" if k < 4 else "obj_valid_data"
        image(tmp_path / folder / f"{k}.png")
        write(tmp_path / folder / f"{k}.txt", YOLO)
    write(tmp_path / "obj.names", "red\ngreen\n")
    write(tmp_path / "obj.data", f"classes = 2\ntrain = {prefix}train.txt\nvalid = {prefix}valid.txt\n")
    write(tmp_path / "train.txt", "".join(f"{prefix}obj_train_data/{k}.png\n" for k in range(4)))
    write(tmp_path / "valid.txt", "".join(f"{prefix}obj_valid_data/{k}.png\n" for k in (4, 5)))
    data = dataset(tmp_path)
    assert isinstance(data.spec.target, Boxes)
    assert data.spec.target.names == ("red", "green")
    assert names_by_split(data)["val"] == {"obj_valid_data/4.png", "obj_valid_data/5.png"}
    assert data.files["set aside"] == 0
    write(tmp_path / "obj.data", "classes = 2\ntrain = other.txt\n")
    with pytest.raises(DataError, match=r"other\.txt"):
        dataset(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("keys", [("images", "annotations", "categories"), ("categories", "annotations", "images")])
def test_coco_keys_in_any_order_and_encoding(tmp_path: Path, encoding: str, keys: tuple[str, ...]) -> None:
    for split in ("train", "val"):
        names = [f"{split}{k}.png" for k in range(4)]
        for name in names:
            image(tmp_path / "images" / split / name)
        (tmp_path / "annotations").mkdir(exist_ok=True)
        text = coco_text(names, keys, version={"major": 1}, padding="x" * 500)
        (tmp_path / f"annotations/cells_{split}.json").write_bytes(text.encode(encoding))
    for format in (None, "coco"):
        data = dataset(tmp_path, options=OpenOptions(format=format))
        assert "8 objects of 2 classes in 8 images in the given splits train, val" in data.recognised_as
    assert dataset(tmp_path / "annotations/cells_train.json").recognised_as.startswith("COCO (annotations/cells_train")


def refused_json(root: Path) -> None:
    for b in "12":
        for k in range(3):
            image(root / f"b{b}/{k}.png")
            write(root / f"b{b}/{k}.json", json.dumps({"regions": [{"label": "a", "points": [[1, 2]]}]}))


def refused_supervisely(root: Path) -> None:
    for b in "12":
        for k in range(3):
            image(root / f"b{b}/img/{b}{k}.png")
            write(root / f"b{b}/ann/{b}{k}.png.json", json.dumps({"objects": []}))


def refused_coco_batches(root: Path) -> None:
    for b in "12":
        names = [f"{b}{k}.png" for k in range(3)]
        for name in names:
            image(root / f"b{b}" / name)
        write(root / f"b{b}/result.json", coco_text(names))


def refused_masks(root: Path) -> None:
    for a, b in zip("abc", "xyz", strict=True):
        image(root / f"images/{a}.png")
        mask(root / f"masks/{b}.png", 0, 1)


def refused_fewer_masks(root: Path) -> None:
    for k in range(5):
        image(root / f"images/img_{k}.png")
        mask(root / f"masks/mask_{k + 3}.png", 0, 1)


@pytest.mark.parametrize(
    ("make", "cause", "remedy"),
    [
        (refused_json, "6 files of objects lie beside the images (b1/0.json)", "COCO"),
        (refused_supervisely, "6 files of objects lie there (b1/ann/10.png.json)", "COCO"),
        (refused_coco_batches, "the COCO file b1/result.json", "b1/result.json"),
        (
            refused_masks,
            "masks/ looks like masks or maps of images/, and no name matches: masks/x.png, images/a.png",
            "",
        ),
        (refused_fewer_masks, "no name matches: masks/mask_3.png, images/img_0.png", "images/a.jpg and masks/a.png"),
    ],
)
def test_annotations_that_no_format_reads_make_no_classes(
    tmp_path: Path, make: Callable[[Path], None], cause: str, remedy: str
) -> None:
    make(tmp_path)
    with pytest.raises(DataError) as error:
        dataset(tmp_path)
    assert cause in error.value.cause
    assert remedy in error.value.remedy
    assert "--data-format folder" in error.value.remedy
    assert isinstance(dataset(tmp_path, options=OpenOptions(format="folder")).spec.target, Classes)


@pytest.mark.parametrize(("ending", "text"), [(".txt", "a photo of a cat"), (".png.json", '{"title": "x", "time": 1}')])
def test_captions_and_metadata_beside_images_are_no_annotations(tmp_path: Path, ending: str, text: str) -> None:
    class_folders(tmp_path)
    for name in ("cat", "dog"):
        for k in range(4):
            write(tmp_path / name / f"{name}{k}{ending}", text)
    assert isinstance(dataset(tmp_path).spec.target, Classes)


# Masks of other names


@pytest.mark.parametrize(
    ("image_path", "mask_path", "given"),
    [
        ("images/img_{k}.png", "masks/mask_{k}.png", False),
        ("images/scan-{k:03}.png", "masks/seg{k}.png", False),
        ("{s}_images/{k}.png", "{s}_masks/{k}.png", True),
        ("images_{s}/{k}.png", "labels_{s}/{k}.png", True),
        ("archive/{s}/images/{k}.png", "archive/{s}/masks/{k}.png", True),
    ],
)
def test_masks_of_other_names_and_folders(tmp_path: Path, image_path: str, mask_path: str, given: bool) -> None:
    for k in range(12):
        names = {"k": k, "s": "train" if k < 8 else "val"}
        save(tmp_path / image_path.format(**names), scene(next(_SEEDS), (24, 20)))
        pixels = np.zeros((20, 24), np.uint8)
        pixels[0, : k + 1] = 1  # the k-th mask has k + 1 pixels
        save(tmp_path / mask_path.format(**names), pixels)
    data = dataset(tmp_path)
    assert isinstance(data.spec.target, PixelClasses)
    assert data.annotations is not None
    for id in range(12):
        number = int("".join(c for c in data.name(id).rpartition("/")[2] if c.isdigit()))
        annotation = data.annotations.load(id)
        assert int((annotation == 1).sum()) == number + 1
    assert ("in the given splits train, val" in data.recognised_as) is given
    assert any(f.kind == "by-number" for f in data.findings) is ("{k}.png" not in image_path.replace("_{k}", ""))


# Tables of images, and one class


@pytest.mark.parametrize(
    ("folder", "cell"), [("images/", "{k:03}.png"), ("train/", "id{k:03}"), ("", "id{k:03}"), ("a b/", "{k}")]
)
def test_a_table_names_images_in_a_subfolder_or_without_ending(tmp_path: Path, folder: str, cell: str) -> None:
    names = [cell.format(k=k) for k in range(12)]
    for name in names:
        image(tmp_path / f"{folder}{name.removesuffix('.png')}.png")
    write(tmp_path / "labels.csv", "id,breed\n" + "".join(f"{name},{'ab'[k % 2]}\n" for k, name in enumerate(names)))
    for path in (tmp_path, tmp_path / "labels.csv"):
        data = dataset(path)
        assert isinstance(data.spec.target, Classes)
        assert data.spec.target.names == ("a", "b")
        assert {data.name(k) for k in range(12)} == {f"{folder}{name.removesuffix('.png')}.png" for name in names}
        assert data.truth.tolist() == [k % 2 for k in range(12)]


def test_a_table_whose_names_lie_in_two_folders_is_refused(tmp_path: Path) -> None:
    for k in range(4):
        image(tmp_path / f"train/{k}.png")
        image(tmp_path / f"test/{k}.png")
    write(tmp_path / "rows.csv", "file,label\n" + "".join(f"{k}.png,{'ab'[k % 2]}\n" for k in range(4)))
    with pytest.raises(DataError, match=r"lie in test/\* and in train/\*"):
        dataset(tmp_path / "rows.csv")


def test_a_table_of_numbers_beside_class_folders_is_no_table_of_images(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for k in range(4):
            image(tmp_path / name / f"{k}.png")
    write(tmp_path / "history.csv", "epoch,loss\n" + "".join(f"{k},0.{k}\n" for k in range(4)))
    assert dataset(tmp_path).recognised_as.startswith("an image folder")


BOXES = {
    "names": "filename,width,height,class,xmin,ymin,xmax,ymax\n{k}.png,24,20,{c},1,2,9,8\n",
    "no header": "{k}.png,1,2,{x},8,{c}\n",
    "bbox": 'image,bbox,label\n{k}.png,"[1, 2, 8, 6]",{c}\n',
    "run lengths": "ImageId,EncodedPixels,label\n{k}.png,1 3 10 5,{c}\n",
}


@pytest.mark.parametrize("kind", BOXES)
def test_tables_of_boxes_are_no_classification(tmp_path: Path, kind: str) -> None:
    *header, row = BOXES[kind].splitlines()
    for k in range(6):
        image(tmp_path / f"{k}.png")
    rows = [row.format(k=k, x=9 + k, c="ab"[k % 2]) for k in range(6)]
    write(tmp_path / "train.csv", "\n".join([*header, *rows, ""]))
    with pytest.raises(DataError, match="lists objects, not images"):
        dataset(tmp_path / "train.csv")
    column = "column 6" if kind == "no header" else {"names": "class"}.get(kind, "label")
    assert len(dataset(tmp_path / "train.csv", options=OpenOptions(target=(column,))).source) == 6


def test_one_class_names_the_files_that_may_hold_the_labels(tmp_path: Path) -> None:
    image(tmp_path / "images/1.png")
    write(tmp_path / "labels.xlsx", "PK")
    with pytest.raises(DataError, match=r"only one class \(images\).*labels\.xlsx"):
        dataset(tmp_path)
    image(tmp_path / "two/train/1.png")
    image(tmp_path / "two/test/2.png")
    for name in ("train.csv", "test.csv"):
        write(tmp_path / "two" / name, "id,breed\nx,a\ny,b\n")
    with pytest.raises(DataError, match=r"2 images outside class folders .* annotations: test\.csv, train\.csv"):
        dataset(tmp_path / "two")


def test_pipes_are_not_opened_and_links_not_followed_to_recognise_a_format(tmp_path: Path) -> None:
    class_folders(tmp_path / "data")
    for name in ("cat0.txt", "cat1.xml", "cat2.json"):
        os.mkfifo(tmp_path / "data/cat" / name)
    for name in ("cells.yaml", "obj.data", "labels.json"):
        os.mkfifo(tmp_path / "data" / name)
    data = dataset(tmp_path / "data")
    assert isinstance(data.spec.target, Classes)
    assert data.spec.target.names == ("cat", "dog")
    for k in range(3):  # a link leads to annotations outside
        write(tmp_path / f"outside/{k}.txt", YOLO)
    (tmp_path / "data/labels").symlink_to(tmp_path / "outside")
    assert not formats()["yolo"].recognises(tmp_path / "data")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("fold1/cat", "fold1/dog", "fold2/cat", "fold2/dog"), "outer folders (fold1, fold2) holds the folders cat"),
        (("2023/cat", "2023/dog", "2024/cat", "2024/dog"), "may be parts of the data"),
        (("cat_train", "cat_test", "dog_train", "dog_test"), "end in names of splits"),
    ],
)
def test_outer_folders_and_suffixes_that_may_be_no_classes_are_doubted(
    names: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    for k, name in enumerate(names):
        for j in range(4):
            image(tmp_path / "data" / name / f"{k}{j}.png")
    messages = [
        finding.message for finding in dataset(tmp_path / "data").findings if finding.kind == "doubtful-classes"
    ]
    assert any(message in text for text in messages), messages


def test_folders_of_different_inner_classes_are_not_doubted(tmp_path: Path) -> None:
    for name in ("pet/cat", "pet/dog", "wild/fox"):
        for j in range(4):
            image(tmp_path / "data" / name / f"{name[-3:]}{j}.png")
    assert "doubtful-classes" not in {finding.kind for finding in dataset(tmp_path / "data").findings}


@pytest.mark.parametrize("values", [(0, 255), (0, 1, 2, 7)])
def test_a_class_folder_of_masks_is_refused(tmp_path: Path, values: tuple[int, ...]) -> None:
    for k in range(6):
        image(tmp_path / "originals" / f"p{k}.png")
        mask(tmp_path / "annotated" / f"q{k}_seg.png", *values)
    with pytest.raises(DataError, match=r"annotated/ looks like masks .* of the images in originals/"):
        dataset(tmp_path)
    assert target_names(dataset(tmp_path, options=OpenOptions(format="folder"))) == ("annotated", "originals")
    (tmp_path / "annotated" / "q0_seg.png").unlink()
    assert any("annotated/ looks like masks" in f.message for f in dataset(tmp_path).findings)


def test_binary_or_blank_images_alone_are_classes(tmp_path: Path) -> None:
    for k in range(6):
        mask(tmp_path / "circles" / f"{k}.png", 0, 255)
        mask(tmp_path / "squares" / f"a{k * 'b'}bb.png", 0, 255)
        mask(tmp_path / "blank" / f"b{k}.png", 9)
    assert target_names(dataset(tmp_path)) == ("blank", "circles", "squares")
    for k in range(6):
        (tmp_path / "circles" / f"{k}.png").unlink()
        (tmp_path / "squares" / f"a{k * 'b'}bb.png").unlink()
        image(tmp_path / "cats" / f"{k}.png")
    assert not any("masks" in f.message for f in dataset(tmp_path).findings)


@pytest.mark.parametrize("folder", ["doc/images", "docs/a/b", "README_files"])
def test_a_class_named_like_documentation_is_a_warning(tmp_path: Path, folder: str) -> None:
    class_folders(tmp_path)
    image(tmp_path / folder / "fig0.png")
    assert any(f"The class {folder} is named like a folder of doc" in f.message for f in dataset(tmp_path).findings)
    write(tmp_path / "setup.py", "")
    data = dataset(tmp_path)
    assert target_names(data) == ("cat", "dog")
    assert not any("hold no image" in f.message for f in data.findings)


def test_types_of_documents_are_classes(tmp_path: Path) -> None:
    class_folders(tmp_path, ("doc", "form"))
    assert not any("documentation" in f.message for f in dataset(tmp_path).findings)


@pytest.mark.parametrize("split", ["", "train/"])
@pytest.mark.parametrize("clip", ["clip{}", "Video_{:02}", "seq {}"])
def test_numbered_clips_below_classes_are_groups_and_no_classes(tmp_path: Path, clip: str, split: str) -> None:
    for c, label in enumerate(("cat", "dog")):
        for number in range(5):
            for k in range(4):
                image(tmp_path / "data" / f"{split}{label}" / clip.format(number + 5 * c) / f"{k:03}.png")
    data = dataset(tmp_path / "data")
    assert target_names(data) == ("cat", "dog")
    assert f"({clip.format(0)}, " in data.recognised_as
    assert "are no classes, --data-format folder makes them such" in data.recognised_as
    assert len(target_names(dataset(tmp_path / "data", options=OpenOptions(format="folder")))) == 10
    if split:
        return
    (hint,) = [f for f in data.findings if f.kind == "possible-groups"]
    first = f"cat/{clip.format(0)}"
    assert hint.message.startswith(
        f"The folders number 10 series of 4 samples, for example {first}/000.png to {first}/003"
    )
    assert hint.remedy.endswith("--group '*/{series}/*'")
    grouped = dataset(tmp_path / "data", options=OpenOptions(group="*/{series}/*"))
    folders = [{grouped.name(int(i)).rpartition("/")[0] for i in ids} for ids in grouped.splits.values()]
    assert not folders[0] & folders[1] | folders[0] & folders[2] | folders[1] & folders[2]


@pytest.mark.parametrize("folder", ["2023", "clip1"])
def test_folders_of_dates_or_clips_below_one_class_only_stay_classes(tmp_path: Path, folder: str) -> None:
    """Left out, all images would have one class."""
    for k in range(4):
        image(tmp_path / "data" / "Rome" / f"{k}.png")
        image(tmp_path / "data" / "Rome" / folder / f"{k}.png")
    data = dataset(tmp_path / "data")
    assert target_names(data) == ("Rome", f"Rome/{folder}")
    assert "are no classes" not in data.recognised_as


def test_clips_of_one_number_in_two_classes_are_one_series(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for k in range(20):
            image(tmp_path / label / f"clip{k // 4}" / f"{k % 4:03}.png")
    (hint,) = [f for f in dataset(tmp_path).findings if f.kind == "possible-groups"]
    assert "5 series of 8 samples, for example cat/clip0/000.png to cat/clip0/003.png" in hint.message


def test_folders_below_classes_that_differ_in_their_number_only_are_doubted(tmp_path: Path) -> None:
    for k in range(24):
        image(tmp_path / "data" / ("cat", "dog")[k // 12] / f"{k // 3:03}" / f"{k}.png")
    (doubt,) = [f for f in dataset(tmp_path / "data").findings if f.kind == "doubtful-classes"]
    assert doubt.message.startswith("The folders below cat, dog differ in their number only (cat/000, cat/001, ")


def test_classes_named_like_clips_are_doubted(tmp_path: Path) -> None:
    class_folders(tmp_path, ("clip1", "clip2"))
    assert any("named like parts of the data" in f.message for f in dataset(tmp_path).findings)


@pytest.mark.parametrize("folders", [("2023/01", "2023/02"), ("2022/01", "2023/01"), ("2023-01-05", "2023-02-06")])
def test_folders_that_are_all_dates_are_a_warning(tmp_path: Path, folders: tuple[str, ...]) -> None:
    for k in range(8):
        image(tmp_path / "photos" / folders[k % 2] / f"{k}.png")
    doubts = [f for f in dataset(tmp_path / "photos").findings if f.kind == "doubtful-classes"]
    assert [f.message.partition(" (")[0] for f in doubts] == ["All folders are dates"]

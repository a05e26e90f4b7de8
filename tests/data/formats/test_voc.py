"""Pascal VOC: zero- and one-based boxes, splits, difficult objects, masks, and comparison with torchvision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from annotation_makers import voc, voc_xml
from hypothesis import given, settings
from hypothesis import strategies as st
from image_makers import save, scene
from PIL import Image

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Boxes
from snellen.data.annotations import ObjectAnnotations, masks_to_boxes
from snellen.data.dataset import RawDataset
from snellen.data.formats import OpenOptions
from snellen.data.formats.voc import FORMAT, open_raw
from snellen.data.open_dataset import dataset
from snellen.data.source import BadSamples

OPTIONS = OpenOptions()


def boxes_of(raw: RawDataset, k: int) -> list[list[float]]:
    assert isinstance(raw.annotations, ObjectAnnotations)
    return raw.annotations.load(k).boxes.tolist()


def names_of(raw: RawDataset) -> tuple[str, ...]:
    assert isinstance(raw.target, Boxes)
    return raw.target.names


def test_one_based_boxes_include_the_last_pixel(tmp_path: Path) -> None:
    raw = open_raw(voc(tmp_path, {"a": [("cat", 1, 1, 48, 40)], "b": [("dog", 5, 6, 10, 12)]}), OPTIONS)
    assert boxes_of(raw, 0) == [[0, 0, 48, 40]]
    assert boxes_of(raw, 1) == [[4, 5, 10, 12]]
    assert names_of(raw) == ("cat", "dog")
    assert "count pixels from 1 (1 begin at 1, none at 0)" in raw.recognised_as
    assert raw.findings == ()
    assert raw.files == {"found": 4, "used": 4, "set aside": 0, "no data": 0}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (("cat", 0, 3, 9, 9), "1 begin at 0"),
        (("cat", 2.5, 3, 9, 9), "1 have fractions"),
    ],
)
def test_a_box_at_0_or_a_fraction_makes_all_boxes_zero_based(tmp_path: Path, row: tuple, why: str) -> None:
    raw = open_raw(voc(tmp_path, {"a": [row], "b": [("dog", 5, 6, 10, 12)]}), OPTIONS)
    assert boxes_of(raw, 0) == [list(row[1:])]
    assert boxes_of(raw, 1) == [[5, 6, 10, 12]]
    assert f"corners counted from 0 ({why})" in raw.recognised_as


def test_lists_of_image_sets_are_the_splits(tmp_path: Path) -> None:
    voc(
        tmp_path,
        {name: [("cat", 2, 2, 9, 9)] for name in "abcdef"},
        {"train": "ab", "val": "c", "trainval": "abce", "test": "d"},
    )
    raw = open_raw(tmp_path, OPTIONS)
    assert raw.given_splits is not None
    assert raw.given_splits.tolist() == [0, 0, 1, 2, 0]  # e is in trainval only; f in no list
    assert [(e.path, e.reason) for e in raw.skipped] == [("JPEGImages/f.jpg", "is in no list of ImageSets")]
    data = dataset(tmp_path)
    assert dict(data.spec.sizes) == {"train": 3, "val": 1, "test": 1}
    assert isinstance(data.spec.target, Boxes)
    assert data.spec.target.counts == (3,)


def test_xml_files_beside_images_in_split_folders(tmp_path: Path) -> None:
    for k, split in enumerate(("train", "train", "valid", "test")):
        save(tmp_path / split / f"{k}.png", scene(k))
        (tmp_path / split / f"{k}.xml").write_text(voc_xml([("cat", 0, 0, 9, 9)]))
    assert FORMAT.recognises(tmp_path)
    raw = open_raw(tmp_path, OPTIONS)
    assert raw.given_splits is not None
    assert sorted(raw.given_splits.tolist()) == [0, 0, 1, 2]
    assert "given splits train, val, test" in raw.recognised_as


def test_difficult_objects_are_ignored_and_images_without_objects_stay(tmp_path: Path) -> None:
    voc(tmp_path, {"a": [("cat", 2, 2, 9, 9)], "b": []})
    (tmp_path / "Annotations" / "a.xml").write_text(voc_xml([("cat", 2, 2, 9, 9)], difficult=1))
    raw = open_raw(tmp_path, OPTIONS)
    assert isinstance(raw.annotations, ObjectAnnotations)
    assert raw.annotations.load(0).ignored.tolist() == [True]
    assert len(raw.annotations.load(1).boxes) == 0
    assert {finding.kind for finding in raw.findings} == {"empty-pictures", "empty-class"}


def test_the_same_boxes_as_torchvision_reads(tmp_path: Path) -> None:
    from torchvision.datasets import VOCDetection

    names = ["a", "b", "c"]
    rng = np.random.default_rng(0)
    corners = [np.concatenate([rng.integers(1, 20, 2), rng.integers(21, 41, 2)]).tolist() for _ in range(9)]
    home = voc(
        tmp_path / "VOCdevkit" / "VOC2012",
        {
            name: [("cat" if k % 2 else "dog", *corners[3 * j + k]) for k in range(j + 1)]
            for j, name in enumerate(names)
        },
        {"train": names},
    )
    theirs = VOCDetection(str(tmp_path), year="2012", image_set="train")
    raw = open_raw(tmp_path / "VOCdevkit", OPTIONS)
    assert raw.source.name(0) == "JPEGImages/a.jpg"
    assert home.is_dir()
    for k, (_, record) in enumerate(theirs):
        rows = record["annotation"]["object"]
        expected = [
            [int(row["bndbox"][side]) - (side in ("xmin", "ymin")) for side in ("xmin", "ymin", "xmax", "ymax")]
            for row in rows
        ]
        assert boxes_of(raw, k) == expected
        assert isinstance(raw.annotations, ObjectAnnotations)
        assert [names_of(raw)[i] for i in raw.annotations.load(k).labels] == [row["name"] for row in rows]


@given(st.lists(st.tuples(st.integers(1, 48), st.integers(1, 40), st.integers(0, 47), st.integers(0, 39)), min_size=1))
@settings(max_examples=15)
def test_boxes_bound_their_pixels(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    corners = [(x, y, min(x + wide, 48), min(y + high, 40)) for x, y, wide, high in rows]
    root = voc(tmp_path_factory.mktemp("voc"), {"a": [("cat", *corner) for corner in corners]})
    masks = torch.zeros(len(corners), 40, 48, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, corners, strict=True):
        mask[y1 - 1 : y2, x1 - 1 : x2] = True  # pixels x1 ... x2, counted from 1, both inside
    assert boxes_of(open_raw(root, OPTIONS), 0) == masks_to_boxes(masks).tolist()


def test_listed_names_must_exist_and_be_in_one_split(tmp_path: Path) -> None:
    rows = [("cat", 2, 2, 9, 9)]
    voc(tmp_path / "gone", {"a": rows}, {"train": ["a", "z"]})
    with pytest.raises(DataError, match=r"train.txt names 'z', which has no file"):
        open_raw(tmp_path / "gone", OPTIONS)
    voc(tmp_path / "twice", {"a": rows, "b": rows}, {"train": ["a", "b"], "test": ["b"]})
    with pytest.raises(DataError, match=r"test.txt names 'b', which is in train already"):
        open_raw(tmp_path / "twice", OPTIONS)


def masks_of(root: Path, values: np.ndarray, lists: dict[str, str] | None = None) -> Path:
    """Write two images, with two objects and none; `values` is the palette PNG of the first."""
    voc(root, {"a": [("cat", 2, 2, 9, 9), ("dog", 20, 5, 30, 15)], "b": []}, lists)
    for name, content in (("a", values), ("b", np.zeros((40, 48), np.uint8))):
        image = Image.fromarray(content, "P")
        image.putpalette([k * 37 % 256 for k in range(768)])
        (root / "SegmentationObject").mkdir(exist_ok=True)
        image.save(root / "SegmentationObject" / f"{name}.png")
    return root


def test_target_instances_reads_object_masks(tmp_path: Path) -> None:
    values = np.zeros((40, 48), np.uint8)
    values[1:9, 1:9], values[4:15, 19:30], values[0] = 1, 2, 255
    root = masks_of(tmp_path, values, {"train": "ab"})
    (root / "ImageSets" / "Segmentation").mkdir()
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("a\n")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("b\n")
    raw = open_raw(root, OPTIONS)
    assert "masks: --target instances" in raw.recognised_as
    assert not raw.target.masks  # type: ignore[union-attr]
    assert raw.files["no data"] == 5  # two masks, three lists
    raw = open_raw(root, OpenOptions(target=("instances",)))
    assert raw.given_splits is not None
    assert raw.given_splits.tolist() == [0, 1]
    assert raw.files["used"] == 6
    annotation = raw.annotations.load(0)  # type: ignore[union-attr]
    assert torch.equal(annotation.masks, torch.from_numpy(np.stack([values == 1, values == 2])))
    assert annotation.boxes.tolist() == masks_to_boxes(annotation.masks).tolist()
    assert raw.annotations.load(1).masks.shape == (0, 40, 48)  # type: ignore[union-attr]


def test_masks_that_do_not_fit_their_objects(tmp_path: Path) -> None:
    options = OpenOptions(target=("instances",))
    raw = open_raw(masks_of(tmp_path / "more", np.full((40, 48), 3, np.uint8)), options)
    with pytest.raises(BadSamples, match=r"SegmentationObject/a.png has an object 3, its XML file only 2"):
        raw.annotations.load(0)  # type: ignore[union-attr]
    with pytest.raises(DataError, match=r"masks of another size: Annotations/a.xml object 1"):
        dataset(masks_of(tmp_path / "size", np.zeros((40, 40), np.uint8)), options=options)
    root = masks_of(tmp_path / "gone", np.zeros((40, 48), np.uint8))
    (root / "SegmentationObject" / "b.png").unlink()
    with pytest.raises(DataError, match=r"b.xml has no mask in SegmentationObject"):
        dataset(root, options=options)
    with pytest.raises(UsageError, match="--target masks is not a target of Pascal VOC"):
        dataset(root, options=OpenOptions(target=("masks",)))


def test_groups_follow_image_names(tmp_path: Path) -> None:
    voc(tmp_path, {f"s{k // 2}_{k}": [("cat", 2, 2, 9, 9)] for k in range(6)})
    raw = open_raw(tmp_path, OpenOptions(group="{slide}_*"))
    assert raw.groups is not None
    assert raw.groups.tolist() == [0, 0, 1, 1, 2, 2]


def test_other_xml_is_not_an_annotation(tmp_path: Path) -> None:
    voc(tmp_path, {"a": [("cat", 2, 2, 9, 9)], "b": []})
    (tmp_path / "Annotations" / "b.xml").write_text("<metadata/>")
    with pytest.raises(DataError, match=r"b.xml holds <metadata>, not <annotation>"):
        dataset(tmp_path)

"""Checks of object annotations: errors, warnings, quarantine, in all formats."""

from __future__ import annotations

from pathlib import Path

import pytest
from annotation_makers import coco, coco_content, voc, voc_xml, yolo
from hypothesis import given, settings
from hypothesis import strategies as st

from snellen.core.errors import DataError
from snellen.core.spec import Boxes
from snellen.data.annotations import ObjectAnnotations
from snellen.data.check.checks import DatasetRejected
from snellen.data.dataset import RawDataset
from snellen.data.formats import OpenOptions
from snellen.data.formats.coco import open_raw
from snellen.data.formats.yolo_labels import read_lines
from snellen.data.open_dataset import dataset

ONE = {"image_id": 0, "category_id": 0, "bbox": [1, 2, 3, 4]}


def open_coco(tmp_path: Path, *rows: dict[str, object]) -> RawDataset:
    return open_raw(coco(tmp_path, "told.json", coco_content(["a.png", "b.png"], [ONE, *rows])), OpenOptions())


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"bbox": [5, 5, 0, 4]}, "no-area"),
        ({"bbox": [5, 5, 4, -4]}, "swapped-corners"),
        ({"bbox": [48, 5, 4, 4]}, "outside"),
        ({"bbox": [-9, 5, 8, 4]}, "outside"),
        ({"bbox": [10**9, 5, 4, 4]}, "outside"),
        ({"bbox": [float("nan"), 5, 4, 4]}, "not-a-number"),
        ({"bbox": [1, 5, float("inf"), 4]}, "not-a-number"),
        ({"bbox": [float("inf"), 5, 4, 4]}, "not-a-number"),
        ({"bbox": [1e308, 5, 1e308, 4]}, "not-a-number"),
        ({"bbox": [1, 5, 4]}, "annotation"),
        ({"bbox": [1, 5, 4, 10**400]}, "annotation"),
        ({"bbox": None}, "annotation"),
        ({"category_id": 1}, "unknown-class"),
        ({"category_id": [1]}, "unknown-class"),
        ({"segmentation": [[1, 2, 3, 4]]}, "annotation"),
        ({"segmentation": {"size": [40, 48], "counts": [1, 2]}}, "annotation"),
        ({"segmentation": {"size": [40, 48], "counts": [10**400]}}, "annotation"),
        ({"segmentation": {"size": [40, 48], "counts": "52"}}, "annotation"),
        ({"segmentation": {"size": [40, 48], "counts": "52P"}}, "annotation"),
        ({"segmentation": {"size": [40, 48], "counts": "é"}}, "annotation"),
        ({"segmentation": {"size": [10**9, 48], "counts": "52"}}, "annotation"),
        ({"keypoints": [1, 2, 2]}, "annotation"),
    ],
)
def test_invalid_annotations_are_errors_of_their_image(tmp_path: Path, row: dict[str, object], kind: str) -> None:
    raw = open_coco(tmp_path, {**ONE, "image_id": 7, **row})
    assert list(raw.bad_samples) == [1]
    assert "annotation 2 of told.json" in raw.bad_samples[1].reason
    assert [(f.kind, f.severity, f.count) for f in raw.bad_sample_findings] == [(kind, "error", 1)]
    assert isinstance(raw.annotations, ObjectAnnotations)
    assert len(raw.annotations.load(0).boxes) == 1


@pytest.mark.parametrize(
    ("outline", "kind"),
    [
        ({"size": [40, 40], "counts": [1600]}, "mask-size"),
        ([[0, 0, 10**9, 0, 10**9, 10**9]], "mask-outside"),
        ([[0, 0, float("nan"), 0, 9, 9]], "mask-outside"),
    ],
)
def test_masks_that_do_not_fit_their_image(tmp_path: Path, outline: object, kind: str) -> None:
    good = {"size": [40, 48], "counts": [10, 5, 1905]}
    rows = [{**ONE, "segmentation": good}, {**ONE, "image_id": 7, "segmentation": outline}]
    told = coco_content(["a.png", "b.png"], rows)
    raw = open_raw(coco(tmp_path, "told.json", told), OpenOptions())
    assert list(raw.bad_samples) == [1]
    assert [f.kind for f in raw.bad_sample_findings] == [kind]
    assert raw.annotations is not None
    assert raw.annotations.load(0).masks is not None  # type: ignore[union-attr]


def kinds(raw: RawDataset) -> dict[str, int]:
    return {f.kind: f.count for f in raw.findings if f.kind not in ("empty-class", "empty-pictures")}


def test_boxes_are_clipped_to_their_image_with_a_warning_above_one_pixel(tmp_path: Path) -> None:
    raw = open_coco(tmp_path, {**ONE, "bbox": [-1, 5, 50, 36]}, {**ONE, "image_id": 7, "bbox": [40, 5, 10, 20]})
    assert isinstance(raw.annotations, ObjectAnnotations)
    assert raw.annotations.load(0).boxes.tolist()[1] == [0, 5, 48, 40]
    assert raw.annotations.load(1).boxes.tolist() == [[40, 5, 48, 25]]
    assert raw.annotations.load(1).areas.tolist() == [160]
    assert kinds(raw) == {"overhang": 1}
    assert "annotation 3" in raw.findings[0].message


def test_thin_boxes_duplicates_sizes_and_classes_are_reported(tmp_path: Path) -> None:
    told = coco_content(["a.png", "b.png"], [ONE, {**ONE, "bbox": [5, 5, 1, 9]}, ONE, {**ONE, "category_id": 3}])
    told["images"][0] |= {"width": 96, "height": 80}
    raw = open_raw(coco(tmp_path, "told.json", told), OpenOptions())
    assert kinds(raw) == {"thin": 1, "duplicate-objects": 1, "size-differs": 1}
    assert "annotation 3" in next(f for f in raw.findings if f.kind == "duplicate-objects").message
    assert "48x40 pixels, not 96x80" in next(f for f in raw.findings if f.kind == "size-differs").message
    assert {f.kind for f in raw.findings} >= {"empty-pictures"}


def test_all_problems_are_reported_at_once_and_quarantine_skips_their_images(tmp_path: Path) -> None:
    rows = [("cat", 2, 2, 9, 9)]
    voc(tmp_path, {f"{k:03d}": rows for k in range(10)})
    for k, bad in ((3, ("cat", 9, 2, 5, 9)), (4, ("dog", 90, 2, 95, 9))):
        (tmp_path / "Annotations" / f"{k:03d}.xml").write_text(voc_xml([*rows, bad]))
    (tmp_path / "Annotations" / "005.xml").write_text("<annotation><object>")
    (tmp_path / "JPEGImages" / "006.jpg").unlink()
    with pytest.raises(DatasetRejected) as caught:
        dataset(tmp_path)
    for word in ("003.xml object 2", "004.xml object 2", "005.xml is not XML", "006.jpg does not exist"):
        assert word in caught.value.cause
    with pytest.raises(DatasetRejected, match="skip 4 of 10 samples"):
        dataset(tmp_path, options=OpenOptions(quarantine=True))
    data = dataset(tmp_path, options=OpenOptions(quarantine=True, allow_skipped=True))
    assert len(data) == 6
    assert {entry.path for entry in data.skipped} == {f"JPEGImages/{k:03d}.jpg" for k in (3, 4, 5, 6)}
    assert data.files["found"] == data.files["used"] + data.files["set aside"] + data.files["no data"]
    assert isinstance(data.annotations, ObjectAnnotations)
    assert all(data.annotations.load(k).boxes.tolist() == [[1, 1, 9, 9]] for k in range(6))
    assert isinstance(data.spec.target, Boxes)


def test_annotations_without_image_and_labels_out_of_range(tmp_path: Path) -> None:
    told = coco_content(["a.png"], [ONE, {**ONE, "image_id": 99}])
    path = coco(tmp_path / "coco", "told.json", told)
    with pytest.raises(
        DataError, match=r"1 annotations have an unknown image_id: annotation 2 of told.json \(image_id 99\)"
    ):
        dataset(path)
    yolo(tmp_path / "yolo", {"train/a": "0 0.5 0.5 0.5 0.5\n", "train/b": "2 0.5 0.5 0.5 0.5\n"})
    with pytest.raises(DataError, match=r"of an unknown class: labels/train/b.txt line 1"):
        dataset(tmp_path / "yolo")


def test_copies_across_given_splits_are_reported(tmp_path: Path) -> None:
    root = voc(tmp_path, {name: [("cat", 2, 2, 9, 9)] for name in "abc"}, {"train": "ab", "test": "c"})
    (root / "JPEGImages" / "c.jpg").write_bytes((root / "JPEGImages" / "a.jpg").read_bytes())
    assert "leakage" in {f.kind for f in dataset(root).findings}


@given(st.lists(st.tuples(*[st.floats(0, 1, width=16)] * 4), max_size=6))
@settings(max_examples=40)
def test_relative_yolo_coordinates_round_trip(
    tmp_path_factory: pytest.TempPathFactory, boxes: list[tuple[float, ...]]
) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.txt"
    path.write_text("".join(f"{k} {' '.join(map(str, box))}\n" for k, box in enumerate(boxes)))
    lines = read_lines(path, None)
    assert [line.label for line in lines] == list(range(len(boxes)))
    for line, (x, y, width, height) in zip(lines, boxes, strict=True):
        x1, y1, x2, y2 = line.box
        assert ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1) == pytest.approx((x, y, width, height), abs=1e-12)

"""COCO datasets: the same boxes, masks and areas as pycocotools, file layouts, splits, keypoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from annotation_makers import coco, coco_content
from image_makers import save, scene

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Boxes
from snellen.data.annotations import ObjectAnnotations
from snellen.data.dataset import RawDataset
from snellen.data.formats import OpenOptions
from snellen.data.formats.coco import FORMAT, open_raw
from snellen.data.open_dataset import dataset

OPTIONS = OpenOptions()
POLYGON = [[2.0, 3.0, 20.5, 4.0, 18.0, 30.0, 6.0, 28.5]]
TWO_PARTS = [[1.0, 1.0, 8.0, 1.0, 8.0, 8.0], [30.0, 20.0, 44.0, 20.0, 44.0, 36.0, 30.0, 36.0]]


def lists(raw: RawDataset) -> ObjectAnnotations:
    assert isinstance(raw.annotations, ObjectAnnotations)
    return raw.annotations


def target(raw: RawDataset) -> Boxes:
    assert isinstance(raw.target, Boxes)
    return raw.target


def runs(mask: np.ndarray, *, packed: bool) -> dict[str, Any]:
    from pycocotools import mask as theirs

    if packed:
        content = theirs.encode(np.asfortranarray(mask.astype(np.uint8)))
        return {"size": content["size"], "counts": content["counts"].decode()}
    flat = mask.ravel(order="F").astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, flat.size]).tolist()
    return {"size": list(mask.shape), "counts": counts if flat[0] == 0 else [0, *counts]}


def random_content(seed: int) -> dict[str, Any]:
    """Content with polygons, both forms of run lengths and crowds, in random order."""
    rng = np.random.default_rng(seed)
    annotations = []
    for k in range(30):
        x, y = rng.integers(0, 24, 2).tolist()
        mask = np.zeros((40, 48), bool)
        mask[y : y + 9, x : x + 11] = rng.random((9, 11)) < 0.7
        corners = np.column_stack([rng.uniform(x, x + 20, 6), rng.uniform(y, min(y + 20, 40), 6)]).ravel().tolist()
        segmentation = [[corners], [corners, corners[2:8]], runs(mask, packed=True), runs(mask, packed=False)][k % 4]
        annotations.append(
            {
                "image_id": 7 * int(rng.integers(0, 4)),
                "category_id": 3 * int(rng.integers(0, 2)),
                "bbox": [x, y, 11 + k / 8, 9],
                "area": float(rng.uniform(5, 90)),
                "iscrowd": int(k % 4 == 2),
                "segmentation": segmentation,
            }
        )
    return coco_content(["a.png", "b.png", "c.png", "d.png", "empty.png"], annotations)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with NumPy 2
@pytest.mark.parametrize("seed", [0, 1])
def test_boxes_masks_and_areas_are_those_of_pycocotools(tmp_path: Path, seed: int) -> None:
    from pycocotools.coco import COCO

    path = coco(tmp_path, "told.json", random_content(seed))
    theirs = COCO(str(path))
    raw = open_raw(path, OPTIONS)
    assert not raw.bad_samples
    seen = 0
    for k in range(len(raw.source)):
        (image,) = (id for id, content in theirs.imgs.items() if content["file_name"] == raw.source.name(k))
        annotations = theirs.imgToAnns[image]
        annotation = lists(raw).load(k)
        assert len(annotation.boxes) == len(annotations)
        assert annotation.masks is not None
        for place, content in enumerate(annotations):
            x, y, width, height = content["bbox"]
            assert annotation.boxes[place].tolist() == pytest.approx([x, y, x + width, y + height], abs=1e-5)
            assert target(raw).names[int(annotation.labels[place])] == theirs.cats[content["category_id"]]["name"]
            assert bool(annotation.crowd[place]) == bool(content["iscrowd"])
            assert annotation.areas[place].item() == pytest.approx(content["area"], rel=1e-6)
            assert np.array_equal(annotation.masks[place].numpy(), theirs.annToMask(content).astype(bool))
            seen += 1
    assert seen == 30


def test_ids_may_have_gaps_begin_at_0_or_be_strings(tmp_path: Path) -> None:
    content = coco_content(
        ["a.png", "b.png"],
        [
            {"image_id": 0, "category_id": 0, "bbox": [1, 2, 3, 4]},
            {"image_id": "b", "category_id": "x", "bbox": [5, 6, 7, 8]},
        ],
    )
    content["images"][1]["id"] = "b"
    content["categories"] = [{"id": 90, "name": "never"}, {"id": 0, "name": "nought"}, {"id": "x", "name": "text"}]
    raw = open_raw(coco(tmp_path, "told.json", content), OPTIONS)
    assert target(raw).names == ("nought", "never", "text")
    assert lists(raw).load(0).labels.tolist() == [0]
    assert lists(raw).load(1).labels.tolist() == [2]
    assert lists(raw).load(1).boxes.tolist() == [[5, 6, 12, 14]]
    assert [(f.kind, f.where) for f in raw.findings] == [("empty-class", ("never",))]


ONE = {"image_id": 0, "category_id": 0, "bbox": [1, 2, 3, 4]}


def test_the_official_coco_layout(tmp_path: Path) -> None:
    for k, split in enumerate(("train2017", "val2017")):
        content = coco_content([f"{split}.png"], [ONE])
        coco(tmp_path / "annotations", f"instances_{split}.json", content, tmp_path / split, seed=10 * k)
        coco(tmp_path / "annotations", f"person_keypoints_{split}.json", content, tmp_path / split)
        (tmp_path / "annotations" / f"captions_{split}.json").write_text('{"images": [], "annotations": []}')
    save(tmp_path / "test2017" / "x.png", scene(99))
    assert FORMAT.recognises(tmp_path)
    raw = open_raw(tmp_path, OPTIONS)
    assert [raw.source.name(k) for k in range(2)] == ["train2017/train2017.png", "val2017/val2017.png"]
    assert raw.given_splits is not None
    assert raw.given_splits.tolist() == [0, 1]
    assert "instances_train2017.json" in raw.recognised_as
    assert "--target person_keypoints" in raw.recognised_as
    assert raw.files == {"found": 9, "used": 4, "set aside": 1, "no data": 4}
    assert [e.path for e in raw.skipped] == ["test2017/x.png"]
    assert "person_keypoints_val" in open_raw(tmp_path, OpenOptions(target=("person_keypoints",))).recognised_as
    with pytest.raises(UsageError, match="no annotations of kind 'keypoints'"):
        open_raw(tmp_path, OpenOptions(target=("keypoints",)))


def test_one_file_beside_the_images_of_each_split(tmp_path: Path) -> None:
    for k, split in enumerate(("train", "valid", "test")):
        coco(tmp_path / split, "_annotations.coco.json", coco_content(["a.png", "b.png"], [ONE]), seed=10 * k)
    assert FORMAT.recognises(tmp_path)
    data = dataset(tmp_path)
    assert dict(data.spec.sizes) == {"train": 2, "val": 2, "test": 2}
    again = dataset(**data.origin)  # type: ignore[arg-type]
    assert again.spec == data.spec
    assert data.annotations is not None
    assert again.annotations is not None
    assert torch.equal(again.annotations.load(0).boxes, data.annotations.load(0).boxes)  # type: ignore[union-attr]


def test_images_are_located_when_the_path_is_a_file(tmp_path: Path) -> None:
    path = coco(tmp_path / "annotations", "all.json", coco_content(["a.png", "b.png"], [ONE]), tmp_path / "images")
    assert FORMAT.recognises(path)
    raw = open_raw(path, OPTIONS)
    assert [raw.source.name(k) for k in range(2)] == ["images/a.png", "images/b.png"]
    assert raw.files == {"found": 3, "used": 3, "set aside": 0, "no data": 0}


def test_keypoints_with_pairs_and_bones(tmp_path: Path) -> None:
    content = coco_content(
        ["a.png"],
        [
            {**ONE, "keypoints": [1, 2, 2, 0, 0, 0, 5, 6, 1]},
            {**ONE, "category_id": 3, "bbox": [2, 2, 9, 9]},
        ],
    )
    content["categories"][0] |= {"keypoints": ["nose", "left_eye", "right_eye"], "skeleton": [[1, 2], [1, 3]]}
    raw = open_raw(coco(tmp_path, "told.json", content), OPTIONS)
    assert target(raw).keypoints == ("nose", "left_eye", "right_eye")
    assert target(raw).mirrored == ((1, 2),)
    assert target(raw).bones == ((0, 1), (0, 2))
    points = lists(raw).load(0).keypoints
    assert points is not None
    assert points.tolist() == [[[1, 2, 2], [0, 0, 0], [5, 6, 1]], [[0, 0, 0]] * 3]


@pytest.mark.parametrize("skeleton", [[[0, 1], [1, 2]], [[1, 2], [2, 3]]])
def test_a_skeleton_counts_from_zero_if_any_of_its_pairs_has_a_zero(tmp_path: Path, skeleton: list[list[int]]) -> None:
    content = coco_content(["a.png"], [{**ONE, "keypoints": [1, 2, 2, 3, 3, 2, 5, 6, 1]}])
    content["categories"][0] |= {"keypoints": ["a", "b", "c"], "skeleton": skeleton}
    assert target(open_raw(coco(tmp_path, "told.json", content), OPTIONS)).bones == ((0, 1), (1, 2))


@pytest.mark.parametrize("skeleton", [[[1, 2], [2, 4]], [[1, 2], [-1, 3]], [[0, 1], [1, 3]]])
def test_a_skeleton_with_one_index_outside_the_keypoints_is_refused(tmp_path: Path, skeleton: list[list[int]]) -> None:
    content = coco_content(["a.png"], [{**ONE, "keypoints": [1, 2, 2, 3, 3, 2, 5, 6, 1]}])
    content["categories"][0] |= {"keypoints": ["a", "b", "c"], "skeleton": skeleton}
    with pytest.raises(DataError, match="a skeleton with indices outside its 3 keypoints"):
        open_raw(coco(tmp_path, "told.json", content), OPTIONS)


def test_masks_are_used_only_where_every_object_has_one(tmp_path: Path) -> None:
    rows = [{**ONE, "segmentation": POLYGON}, {**ONE, "bbox": [9, 9, 9, 9], "segmentation": []}]
    raw = open_raw(coco(tmp_path, "told.json", coco_content(["a.png"], rows)), OPTIONS)
    assert not target(raw).masks
    assert lists(raw).load(0).masks is None
    (finding,) = (f for f in raw.findings if f.kind == "some-masks")
    assert finding.message == (
        "1 of 2 objects have no mask: annotation 2 of told.json (a.png). All objects are "
        "read as boxes only; the masks of the other 1 are not used."
    )
    assert "add the missing ones, or remove their images" in finding.remedy


def test_the_first_object_without_a_mask_is_named_with_its_file_and_image(tmp_path: Path) -> None:
    rows = [{**ONE, "image_id": 7 * (k % 2), "segmentation": POLYGON if k % 2 == 0 else []} for k in range(8)]
    for split in ("train", "valid"):
        content = coco_content(["a.png", "b.png"], rows if split == "valid" else rows[:1])
        coco(tmp_path / split, "_annotations.coco.json", content)
    (finding,) = (f for f in open_raw(tmp_path, OPTIONS).findings if f.kind == "some-masks")
    first = "the first annotation 2 of valid/_annotations.coco.json (b.png). All objects"
    assert f"4 of 9 objects have no mask, {first}" in finding.message
    assert (finding.count, len(finding.where)) == (4, 4)


def test_missing_boxes_are_the_bounds_of_the_mask(tmp_path: Path) -> None:
    rows = [{"image_id": 0, "category_id": 0, "segmentation": TWO_PARTS}]
    annotation = lists(open_raw(coco(tmp_path, "told.json", coco_content(["a.png"], rows)), OPTIONS)).load(0)
    assert annotation.boxes.tolist() == [[1, 1, 44, 36]]


def test_several_files_need_distinct_split_names(tmp_path: Path) -> None:
    for name in ("instances_train2014.json", "instances_train2017.json"):
        coco(tmp_path / "annotations", name, coco_content(["a.png"], [ONE]), tmp_path / "images")
    with pytest.raises(DataError, match="without a distinct split name"):
        open_raw(tmp_path, OPTIONS)


def test_annotations_are_stored_as_arrays_only(tmp_path: Path) -> None:
    path = coco(tmp_path, "told.json", random_content(0))
    kept = lists(open_raw(path, OPTIONS))
    assert all(isinstance(entry, torch.Tensor) for entry in kept.objects[:5])
    assert json.loads(path.read_text())["annotations"][0]["bbox"]

"""The same annotations in COCO, Pascal VOC and YOLO give the same dataset; boxes bound their masks."""

from __future__ import annotations

import pytest
import torch
from annotation_makers import coco, coco_content, voc, yolo
from hypothesis import given, settings
from hypothesis import strategies as st

from snellen.data.annotations import ObjectAnnotations
from snellen.data.formats import OpenOptions
from snellen.data.formats import coco as coco_format
from snellen.data.formats import voc as voc_format
from snellen.data.formats import yolo as yolo_format

NAMES = ("cat", "dog")
WIDTH, HEIGHT = 48, 40
Box = tuple[int, int, int, int, int]  # a class, and pixels x1, y1 up to x2, y2

corner = st.tuples(st.integers(0, 1), st.integers(0, 46), st.integers(0, 38), st.integers(1, 48), st.integers(1, 40))
boxes = corner.map(lambda b: (b[0], b[1], b[2], max(b[1] + 1, b[3]), max(b[2] + 1, b[4])))


@given(st.lists(boxes, min_size=1, max_size=8))
@settings(max_examples=20)
def test_the_same_annotations_in_three_formats(tmp_path_factory: pytest.TempPathFactory, truth: list[Box]) -> None:
    root = tmp_path_factory.mktemp("sets")
    rows = [
        {
            "image_id": 0,
            "category_id": 3 * label,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
        }
        for label, x1, y1, x2, y2 in truth
    ]
    path = coco(root / "coco", "told.json", coco_content(["a.png"], rows, NAMES))
    voc(root / "voc", {"a": [(NAMES[label], x1 + 1, y1 + 1, x2, y2) for label, x1, y1, x2, y2 in truth]})
    lines = [
        f"{label} {x1 / WIDTH} {y1 / HEIGHT} {x2 / WIDTH} {y1 / HEIGHT} {x2 / WIDTH} {y2 / HEIGHT}\n"
        for label, x1, y1, x2, y2 in truth
    ]
    yolo(root / "yolo", {"train/a": "".join(lines)}, NAMES)
    drafts = [
        coco_format.open_raw(path, OpenOptions()),
        voc_format.open_raw(root / "voc", OpenOptions()),
        yolo_format.open_raw(root / "yolo", OpenOptions()),
    ]
    expected = torch.tensor([box for _, *box in truth], dtype=torch.float32)
    for raw in drafts:
        assert isinstance(raw.annotations, ObjectAnnotations)
        assert not raw.bad_samples
        annotation = raw.annotations.load(0)
        torch.testing.assert_close(annotation.boxes, expected, atol=1e-4, rtol=0)
        names = raw.target.names  # type: ignore[union-attr]
        assert [names[k] for k in annotation.labels] == [NAMES[label] for label, *_ in truth]
        if annotation.masks is None:
            continue
        rows_of, columns_of = torch.arange(HEIGHT)[:, None] + 0.5, torch.arange(WIDTH)[None] + 0.5
        for mask, (x1, y1, x2, y2) in zip(annotation.masks, annotation.boxes.tolist(), strict=True):
            outside = (columns_of < x1 - 0.5) | (columns_of > x2 + 0.5) | (rows_of < y1 - 0.5) | (rows_of > y2 + 0.5)
            assert not bool((mask & outside).any())
    assert drafts[0].annotations.load(0).masks.flatten(1).sum(1).tolist() == [  # type: ignore[union-attr]
        (x2 - x1) * (y2 - y1) for _, x1, y1, x2, y2 in truth
    ]

"""Objects turn with pictures that EXIF turns: the same places as Pillow turns the pixels to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from annotation_makers import coco, coco_told, voc_xml
from image_makers import scene
from PIL import Image

from snellen.core.spec import Preprocessing
from snellen.data.annotations import ObjectLists
from snellen.data.formats import OpenOptions
from snellen.data.formats import coco as coco_format
from snellen.data.formats import voc as voc_format


def turned_picture(path: Path, how: int) -> None:
    """A 48x40 file with an orientation and a black block at x 6 ... 16, y 3 ... 30."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.maximum(scene(1), 60)
    values[3:30, 6:16] = 0
    exif = Image.Exif()
    exif[274] = how
    Image.fromarray(values).save(path, exif=exif)


RING = [[6.0, 3.0, 16.0, 3.0, 16.0, 30.0, 6.0, 30.0]]


@pytest.mark.parametrize("how", range(1, 9))
def test_boxes_masks_and_keypoints_of_the_file_before_turning(tmp_path: Path, how: int) -> None:
    turned_picture(tmp_path / "a.png", how)
    told = coco_told(
        ["a.png"],
        [
            {
                "image_id": 0,
                "category_id": 0,
                "bbox": [6, 3, 10, 27],
                "segmentation": RING,
                "keypoints": [6, 3, 2, 0, 0, 0],
            }
        ],
    )
    told["categories"][0]["keypoints"] = ["corner", "none"]
    draft = coco_format.open_raw(coco(tmp_path, "told.json", told), OpenOptions())
    assert isinstance(draft.annotations, ObjectLists)
    found = draft.annotations.of(0)
    black = draft.source.read(np.array([0]), Preprocessing())[0].amax(0) == 0
    assert found.masks is not None
    assert torch.equal(found.masks[0], black)
    rows, columns = np.nonzero(black.numpy())
    assert found.boxes.tolist() == [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
    assert found.keypoints is not None
    x, y, seen = found.keypoints[0, 0].tolist()
    assert {x, y} <= {float(n) for n in (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1)}
    assert seen == 2
    assert found.keypoints[0, 1].tolist() == [0, 0, 0]
    assert ("turned-objects" in {f.kind for f in draft.findings}) == (how > 1)


def test_boxes_drawn_on_the_turned_picture_are_left(tmp_path: Path) -> None:
    for k, how in enumerate((6, 6, 3)):  # the last has the same size turned or not: it goes the way of the others
        turned_picture(tmp_path / f"{k}.jpg", how)
        size = (40, 48) if how == 6 else (48, 40)
        (tmp_path / f"{k}.xml").write_text(voc_xml([("cat", 0, 3, 16, 30)], size))
    draft = voc_format.open_raw(tmp_path, OpenOptions())
    assert isinstance(draft.annotations, ObjectLists)
    assert [draft.annotations.of(k).boxes.tolist() for k in range(3)] == [[[0, 3, 16, 30]]] * 3
    (note,) = (f for f in draft.findings if f.kind == "turned-objects")
    assert "those of 3 left (1 have no size that tells which)" in note.message

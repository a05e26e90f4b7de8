"""Objects are rotated with EXIF-rotated images, as Pillow rotates the pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from annotation_makers import coco, coco_content, voc_xml
from image_makers import scene
from PIL import Image

from snellen.core.spec import Preprocessing
from snellen.data.annotations import ObjectAnnotations
from snellen.data.formats import OpenOptions
from snellen.data.formats import coco as coco_format
from snellen.data.formats import voc as voc_format


def save_rotated_image(path: Path, orientation: int) -> None:
    """A 48x40 file with an orientation and a black block at x 6 ... 16, y 3 ... 30."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.maximum(scene(1), 60)
    values[3:30, 6:16] = 0
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(values).save(path, exif=exif)


RING = [[6.0, 3.0, 16.0, 3.0, 16.0, 30.0, 6.0, 30.0]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_masks_and_keypoints_of_the_stored_image_are_rotated(tmp_path: Path, orientation: int) -> None:
    save_rotated_image(tmp_path / "a.png", orientation)
    content = coco_content(
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
    content["categories"][0]["keypoints"] = ["corner", "none"]
    raw = coco_format.open_raw(coco(tmp_path, "told.json", content), OpenOptions())
    assert isinstance(raw.annotations, ObjectAnnotations)
    objects = raw.annotations.load(0)
    black = raw.source.read(np.array([0]), Preprocessing())[0].amax(0) == 0
    assert objects.masks is not None
    assert torch.equal(objects.masks[0], black)
    rows, columns = np.nonzero(black.numpy())
    assert objects.boxes.tolist() == [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
    assert objects.keypoints is not None
    x, y, visibility = objects.keypoints[0, 0].tolist()
    assert {x, y} <= {float(n) for n in (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1)}
    assert visibility == 2
    assert objects.keypoints[0, 1].tolist() == [0, 0, 0]
    assert ("turned-objects" in {f.kind for f in raw.findings}) == (orientation > 1)


def test_boxes_of_the_displayed_image_are_kept(tmp_path: Path) -> None:
    for k, orientation in enumerate((6, 6, 3)):  # the last has the same size rotated or not, so the majority decides
        save_rotated_image(tmp_path / f"{k}.jpg", orientation)
        size = (40, 48) if orientation == 6 else (48, 40)
        (tmp_path / f"{k}.xml").write_text(voc_xml([("cat", 0, 3, 16, 30)], size))
    raw = voc_format.open_raw(tmp_path, OpenOptions())
    assert isinstance(raw.annotations, ObjectAnnotations)
    assert [raw.annotations.load(k).boxes.tolist() for k in range(3)] == [[[0, 3, 16, 30]]] * 3
    (note,) = (f for f in raw.findings if f.kind == "turned-objects")
    assert "not to those of 3 (1 are ambiguous)" in note.message

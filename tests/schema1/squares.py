"""Sixteen small images of one bright square on a dark ground, laid out for every task that reads images."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 24


def write(folder: Path) -> None:
    """Writes `boxes/` and `keypoints/` (COCO), `masks/` (image and mask), `depth/` (image and number map)."""
    annotations, images = [], []
    for name in ("boxes/images", "keypoints/images", "masks/images", "masks/masks", "depth/images", "depth/depth"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(16):
        draw = np.random.default_rng(number)
        side, (left, top) = int(draw.integers(6, 11)), draw.integers(1, 12, 2).tolist()
        pixels = draw.integers(0, 60, (SIDE, SIDE, 3)).astype(np.uint8)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[top : top + side, left : left + side] = 1
        pixels[mask == 1] += 150
        depth = np.where(mask == 1, 500, 1000 + 10 * np.arange(SIDE)).astype(np.uint16)
        file = f"{number:02}.png"
        for layout in ("boxes", "keypoints", "masks", "depth"):
            Image.fromarray(pixels).save(folder / layout / "images" / file)
        Image.fromarray(mask).save(folder / "masks" / "masks" / file)
        Image.fromarray(depth).save(folder / "depth" / "depth" / file)
        corners = [left, top, left + side, top, left + side, top + side, left, top + side]
        images.append({"id": number, "file_name": file, "width": SIDE, "height": SIDE})
        annotations.append(
            {
                "id": number + 1,
                "image_id": number,
                "category_id": 1,
                "iscrowd": 0,
                "area": side * side,
                "bbox": [left, top, side, side],
                "segmentation": [corners],
                "num_keypoints": 2,
                "keypoints": [left, top, 2, left + side - 1, top + side - 1, 2],
            }
        )
    category = {"id": 1, "name": "square"}
    points = {**category, "keypoints": ["first", "last"], "skeleton": [[1, 2]]}
    boxes = [{k: v for k, v in a.items() if "keypoints" not in k} for a in annotations]
    for layout, objects, one in (("boxes", boxes, category), ("keypoints", annotations, points)):
        text = json.dumps({"images": images, "annotations": objects, "categories": [one]})
        (folder / layout / "annotations.json").write_text(text)

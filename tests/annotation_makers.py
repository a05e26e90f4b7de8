"""Object datasets (COCO, Pascal VOC, YOLO) on disk, for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from image_makers import save, scene

Row = tuple[str, float, float, float, float]  # a class and the corners of its box


def voc_xml(rows: Sequence[Row], size: tuple[int, int] | None = (48, 40), difficult: int = 0) -> str:
    """A Pascal VOC annotation file. size: width, height."""
    size_element = (
        "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    )
    objects = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for name, x1, y1, x2, y2 in rows
    )
    return f"<annotation><filename>x.jpg</filename>{size_element}{objects}</annotation>"


def voc(root: Path, images: dict[str, Sequence[Row]], lists: dict[str, Sequence[str]] | None = None) -> Path:
    """Write a Pascal VOC dataset: 48x40 images with these rows, and split lists."""
    (root / "Annotations").mkdir(parents=True, exist_ok=True)
    for k, (name, rows) in enumerate(images.items()):
        save(root / "JPEGImages" / f"{name}.jpg", scene(700 + k))
        (root / "Annotations" / f"{name}.xml").write_text(voc_xml(rows))
    for split, names in (lists or {}).items():
        (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    return root


def coco(
    folder: Path,
    name: str,
    content: dict[str, Any],
    image_folder: Path | None = None,
    size: tuple[int, int] = (48, 40),
    seed: int = 300,
) -> Path:
    """Write a COCO JSON file, and its images beside it or in another folder unless they exist."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    for k, image in enumerate(content["images"]):
        place = (image_folder or folder) / image["file_name"]
        if not place.exists():
            save(place, scene(seed + k, size))
    return folder / name


def coco_content(
    images: Sequence[str],
    annotations: Sequence[dict[str, Any]],
    categories: Sequence[str] = ("cat", "dog"),
    size: tuple[int, int] = (48, 40),
) -> dict[str, Any]:
    """The content of a COCO JSON file. Image ids are 0, 7, 14 ..., category ids 0, 3, 6 ..., annotation ids 1, 2 ..."""
    width, height = size
    return {
        "images": [{"id": 7 * k, "file_name": name, "width": width, "height": height} for k, name in enumerate(images)],
        "categories": [{"id": 3 * k, "name": name} for k, name in enumerate(categories)],
        "annotations": [{"id": k + 1, "iscrowd": 0, **annotation} for k, annotation in enumerate(annotations)],
    }


def yolo(
    root: Path,
    images: dict[str, str | None],
    names: Sequence[str] = ("cat", "dog"),
    more: str = "",
    splits: dict[str, str] | None = None,
) -> Path:
    """Write a YOLO dataset with data.yaml. images: split/name -> label text, or None for no file."""
    for k, (name, text) in enumerate(images.items()):
        save(root / "images" / f"{name}.png", scene(500 + k))
        if text is not None:
            place = root / "labels" / f"{name}.txt"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
    folders = splits or {split: f"images/{split}" for split in dict.fromkeys(name.split("/")[0] for name in images)}
    lines = [f"{split}: {place}\n" for split, place in folders.items()]
    (root / "data.yaml").write_text("".join(lines) + f"names: {json.dumps(list(names))}\n{more}")
    return root

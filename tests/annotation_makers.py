"""Sets of objects in pictures on a disk, for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from image_makers import save, scene

Row = tuple[str, float, float, float, float]  # a class and the corners of its box


def voc_xml(rows: Sequence[Row], size: tuple[int, int] | None = (48, 40), difficult: int = 0) -> str:
    """An annotation file; `size`: width, height."""
    told = "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    objects = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for name, x1, y1, x2, y2 in rows
    )
    return f"<annotation><filename>x.jpg</filename>{told}{objects}</annotation>"


def voc(root: Path, pictures: dict[str, Sequence[Row]], lists: dict[str, Sequence[str]] | None = None) -> Path:
    """A set laid out as Pascal VOC is: 48x40 pictures with these rows, and lists of splits."""
    (root / "Annotations").mkdir(parents=True, exist_ok=True)
    for k, (name, rows) in enumerate(pictures.items()):
        save(root / "JPEGImages" / f"{name}.jpg", scene(700 + k))
        (root / "Annotations" / f"{name}.xml").write_text(voc_xml(rows))
    for split, names in (lists or {}).items():
        (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    return root


def coco(
    folder: Path,
    name: str,
    told: dict[str, Any],
    pictures: Path | None = None,
    size: tuple[int, int] = (48, 40),
    seed: int = 300,
) -> Path:
    """A JSON file, and its pictures beside it or in another folder, where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(told))
    for k, image in enumerate(told["images"]):
        place = (pictures or folder) / image["file_name"]
        if not place.exists():
            save(place, scene(seed + k, size))
    return folder / name


def coco_told(
    images: Sequence[str],
    annotations: Sequence[dict[str, Any]],
    categories: Sequence[str] = ("cat", "dog"),
    size: tuple[int, int] = (48, 40),
) -> dict[str, Any]:
    """What a JSON file tells; pictures are numbered 0, 7, 14 ..., categories 0, 3, 6 ..., annotations 1, 2 ..."""
    width, height = size
    return {
        "images": [{"id": 7 * k, "file_name": name, "width": width, "height": height} for k, name in enumerate(images)],
        "categories": [{"id": 3 * k, "name": name} for k, name in enumerate(categories)],
        "annotations": [{"id": k + 1, "iscrowd": 0, **one} for k, one in enumerate(annotations)],
    }


def yolo(
    root: Path,
    pictures: dict[str, str | None],
    names: Sequence[str] = ("cat", "dog"),
    more: str = "",
    splits: dict[str, str] | None = None,
) -> Path:
    """A set with data.yaml: split/name -> the text of its labels, or None for no file."""
    for k, (name, text) in enumerate(pictures.items()):
        save(root / "images" / f"{name}.png", scene(500 + k))
        if text is not None:
            place = root / "labels" / f"{name}.txt"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
    told = splits or {split: f"images/{split}" for split in dict.fromkeys(name.split("/")[0] for name in pictures)}
    lines = [f"{split}: {place}\n" for split, place in told.items()]
    (root / "data.yaml").write_text("".join(lines) + f"names: {json.dumps(list(names))}\n{more}")
    return root

"""Sets of objects in pictures on a disk, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from picture_makers import save, scene

Row = tuple[str, float, float, float, float]  # a class and the corners of its box


def voc_xml(rows: Sequence[Row], size: tuple[int, int] | None = (48, 40), difficult: int = 0) -> str:
    """An annotation file; `size`: width, height."""
    told = "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    objects = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>" for name, x1, y1, x2, y2 in rows)  # fmt: skip
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

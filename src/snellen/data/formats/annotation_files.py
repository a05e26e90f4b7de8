"""Kinds of annotation files by their content: COCO JSON, YOLO text, Pascal VOC XML, and JSON files of one image."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Sequence
from pathlib import Path

from snellen.core.input_files import open_regular

_COCO_HEAD = re.compile(r'\s*\{\s*"(info|images|licenses?|annotations|categories|type)"')
_COCO_KEYS = ("images", "annotations", "categories")
_OBJECT_KEYS = re.compile(r'"(shapes|objects|annotations|regions|bbox|polygon|points|boxes|bndbox)"\s*:')
_START = 1 << 14  # bytes read of a file


def is_coco(path: Path) -> bool:
    """Whether a JSON file is in COCO's layout: by its first key and "images", or by its keys. A BOM is no obstacle."""
    start = _start(path, 200)
    encoding: str = json.detect_encoding(start)
    text = start.decode(encoding, "replace").lstrip("\ufeff")
    if not text.lstrip().startswith("{"):
        return False
    if encoding in ("utf-16", "utf-32"):  # their byte order is that of the BOM
        encoding += "-le" if start[:1] == b"\xff" else "-be"
    keys = (
        _COCO_KEYS[:1] if _COCO_HEAD.match(text) is not None else _COCO_KEYS
    )  # Label Studio's notes.json has no images
    return _holds_keys(path, encoding.removesuffix("-sig"), keys)


def is_labelme(path: Path) -> bool:
    """Whether a JSON file has LabelMe's list of shapes. The image may be stored before it, as text."""
    return _holds_keys(path, "utf-8", ("shapes", "imagePath"))


def is_label_studio(path: Path) -> bool:
    """Whether a JSON file is Label Studio's raw export: a list of tasks with data and annotations."""
    if not _start(path, 200).decode("utf-8-sig", "replace").lstrip().startswith("["):
        return False
    return any(
        _holds_keys(path, "utf-8", keys)
        for keys in (("annotations", "result", "from_name", "to_name"), ("annotations", "data", "project", "drafts"))
    )


def of_whole_images(path: Path) -> bool:
    """Whether results in a file of Label Studio are choices, that is, classes of whole images."""
    return _holds_keys(path, "utf-8", ("choices",))


def _holds_keys(path: Path, encoding: str, keys: Sequence[str]) -> bool:
    """Whether all keys occur in a file. It may be large and its last key decisive, so it is mapped."""
    try:
        with open_regular(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return all(content.find(json.dumps(key).encode(encoding)) >= 0 for key in keys)
    except (OSError, ValueError):
        return False


def is_annotation_text(path: Path) -> bool:
    """Whether every line is a class index and at least four numbers, as in YOLO; not of an empty file."""
    text = _start(path, _START).decode("utf-8", "replace")
    lines = [line.split() for line in text.splitlines() if line.strip()]
    lines = lines[:-1] if len(text) >= _START else lines
    return bool(lines) and all(_is_object(fields) for fields in lines)


def _is_object(fields: list[str]) -> bool:
    try:
        numbers = [float(field) for field in fields]
    except ValueError:
        return False
    return len(numbers) >= 5 and fields[0].isdecimal()


def is_voc_xml(path: Path) -> bool:
    """Whether an XML file begins as an annotation."""
    return re.search(rb"<annotation\b", _start(path, _START), re.IGNORECASE) is not None


def is_object_json(path: Path) -> bool:
    """Whether a JSON file of one image tells of objects, by its keys (Supervisely and others)."""
    return _OBJECT_KEYS.search(_start(path, _START).decode("utf-8", "replace")) is not None


def _start(path: Path, size: int) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(size)
    except OSError:
        return b""

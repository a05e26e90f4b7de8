"""Random folders open, or end with a one-line error with cause and remedy (R5).

`SNELLEN_FUZZ=1000 pytest tests/data/test_fuzzed_folders.py` runs a thousand of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from annotation_makers import coco_content, voc, yolo
from image_makers import encoded, save, scene, tiff, write_bad_files
from PIL import Image

from snellen.core.detections import GroundTruth
from snellen.core.errors import SnellenError
from snellen.core.spec import Boxes, Preprocessing
from snellen.data.dataset import Dataset, Labelled
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset

COUNT = int(os.environ.get("SNELLEN_FUZZ", "100"))
NAMES = ("a", "b", "cat", "Dog", "ein Hund", "粒", "x.jpg", "train", "test", "val", ".hidden", "__MACOSX", "a'b\"c")


def test_random_folders_open_or_raise_errors_with_a_cause(tmp_path: Path) -> None:
    opened = 0
    for seed in range(COUNT):
        draw = random.Random(seed)
        root = tmp_path / str(seed)
        root.mkdir()
        draw.choice(MAKERS)(root, draw)
        opened += opens_or_says_why(root, draw, seed)
    assert 0.1 * COUNT < opened < 0.9 * COUNT


def test_random_object_datasets_open_or_raise_errors_with_a_cause(tmp_path: Path) -> None:
    opened = 0
    for seed in range(COUNT):
        draw = random.Random(seed)
        root = tmp_path / str(seed)
        root.mkdir()
        SETS[seed % len(SETS)](root, draw)
        opened += opens_or_says_why(root, draw, seed)
    assert 0.1 * COUNT < opened < 0.9 * COUNT


def opens_or_says_why(root: Path, draw: random.Random, seed: int) -> bool:
    options = OpenOptions(
        quarantine=draw.random() < 0.6,
        allow_skipped=draw.random() < 0.7,
        pages=draw.choice([None, "first", "max"]),
        group=draw.choice([None, None, None, "{slide}_*"]),
    )
    try:
        data = dataset(root, seed=seed, options=options)
        if data.files:
            adds_up = data.files["used"] + data.files.get("set aside", 0) + data.files.get("no data", 0)
            assert adds_up == data.files["found"], (seed, data.files)
            assert len(data.skipped) == data.files.get("set aside", 0), seed
        ids = sorted(int(i) for split in data.splits.values() for i in split)
        assert ids == list(range(len(data.source))), seed
        for split in data.splits.values():
            assert len(data.source.read(split.numpy(), Preprocessing(size=(8, 8)))) == len(split)
        if data.annotations is not None:
            for id in ids:
                sound(data, id, seed)
        return True
    except SnellenError as error:
        refused = error
    files = [path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir()]
    paths = [str(root), *files, "outside.png", "nowhere.png", "/dev/null", "--group"]
    assert any(path in refused.cause for path in paths), (seed, refused.cause)
    assert refused.remedy, (seed, refused.cause)
    assert "\n" not in refused.cause, seed
    return False


def sound(data: Dataset[Labelled], id: int, seed: int) -> None:
    """Check that boxes have an area inside the image, and that every label has a name."""
    annotation, target = data.annotations.load(id), data.spec.target  # type: ignore[union-attr]
    assert isinstance(annotation, GroundTruth)
    assert isinstance(target, Boxes)
    _, height, width = data.image(id).shape
    x1, y1, x2, y2 = annotation.boxes.unbind(1)
    assert bool(((x1 >= 0) & (y1 >= 0) & (x2 <= width) & (y2 <= height) & (x1 < x2) & (y1 < y2)).all()), (
        seed,
        annotation,
    )
    assert bool(((annotation.labels >= 0) & (annotation.labels < len(target.names))).all()), seed
    assert annotation.masks is None or annotation.masks.shape == (len(annotation.boxes), height, width), seed
    assert torch.isfinite(annotation.areas).all(), seed


def class_folders_with_errors(root: Path, draw: random.Random) -> None:
    """Class folders, some with splits, with good images, damaged ones and strays."""
    tops = draw.choice([[""], ["train", "test"], ["train", "val", "test"], ["train"], ["test"], ["train", "extra"]])
    labels = draw.sample(NAMES, draw.randint(1, 4))
    for top in tops:
        for label in labels:
            folder = root / top / label
            folder.mkdir(parents=True, exist_ok=True)
            for k in range(draw.choice([0, 1, 3, 8])):
                write_image(folder / f"s{draw.randint(0, 3)}_{k}", draw)
    if draw.random() < 0.5:
        spoil(root, draw)


def write_image(path: Path, draw: random.Random) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = scene(draw.randint(0, 30), draw.choice([(12, 10), (12, 10), (20, 16)]), draw.choice([1, 3, 3, 3, 4]))
    kind = draw.choice(["png", "png", "jpg", "tif", "deep", "gif", "bmp", "webp"])
    if kind == "deep":
        tiff(
            path.with_suffix(".tif"),
            values.astype(draw.choice(["uint16", "float32", "int32"])),
            photometric="minisblack",
            planarconfig="contig" if values.ndim == 3 else None,
        )
    elif kind in ("jpg", "bmp"):
        Image.fromarray(values).convert("RGB").save(path.with_suffix("." + kind))
    else:
        Image.fromarray(values).save(path.with_suffix("." + kind))


def spoil(root: Path, draw: random.Random) -> None:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
    for _ in range(draw.randint(1, 4)):
        folder = draw.choice(folders)
        match draw.randint(0, 6):
            case 0:
                write_bad_files(folder / draw.choice(["", "more"]))
            case 1 if files:
                damage(draw.choice(files), draw)
            case 2:
                (folder / draw.choice(["notes.docx", "Thumbs.db", ".DS_Store", "a.json", "clip.mp4"])).write_bytes(b"x")
            case 3:
                link = folder / f"link{draw.randint(0, 9)}{draw.choice(['', '.png'])}"
                if not link.is_symlink():
                    link.symlink_to(draw.choice([*folders, *files, root / "nothing"]))
            case 4:
                name = folder / f"s_{draw.randint(0, 9)}.jpg"
                if not name.exists() and not name.is_symlink():
                    name.mkdir()
            case 5 if files:
                (folder / f"s9_{draw.randint(0, 9)}.png").write_bytes(draw.choice(files).read_bytes())
            case _:
                save(folder / f"s5_{draw.randint(0, 99)}.png", np.full((1, 1), 3, np.uint8))


def damage(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if not content:
        return
    for _ in range(draw.choice([1, 1, 5, 50])):
        content[draw.randrange(len(content))] = draw.randrange(256)
    path.write_bytes(content[: draw.choice([len(content), len(content) // 2, 10])])


def flat_or_nearly_empty(root: Path, draw: random.Random) -> None:
    for k in range(draw.randint(0, 3)):
        (root / f"s1_{k}{draw.choice(['.png', '.jpg', '.txt', '', '.npy'])}").write_bytes(
            draw.choice([b"", b"x", encoded(scene(k)), draw.randbytes(300)])
        )
    for k in range(draw.randint(0, 2)):
        (root / f"empty{k}").mkdir()


def idx_files(root: Path, draw: random.Random) -> None:
    for part, count in (("train", 30), ("t10k", 12)):
        rng = np.random.default_rng(draw.randint(0, 99))
        x = rng.integers(0, 256, (count, 6, 6), dtype=np.uint8)
        y = rng.integers(0, 3, count, dtype=np.uint8)
        (root / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">BBBBIII", 0, 0, 8, 3, count, 6, 6) + x.tobytes())
        (root / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">BBBBI", 0, 0, 8, 1, count) + y.tobytes())
    if draw.random() < 0.5:
        damage(draw.choice(sorted(root.iterdir())), draw)


def table_of_names(root: Path, draw: random.Random) -> None:
    """Images with a table that lists them, some of them wrongly."""
    for k in range(draw.choice([2, 10, 30])):
        write_image(root / "pictures" / f"s{k % 4}_{k}", draw)
    names = sorted(path.relative_to(root).as_posix() for path in (root / "pictures").iterdir())
    if draw.random() < 0.5:
        names += draw.sample([*names, "pictures/nowhere.png", "../outside.png", "/dev/null"], 2)
    rows = [f"{name},{draw.choice(['cat', 'dog', 'cat', draw.choice(['', 'bird'])])}" for name in names]
    (root / "labels.csv").write_text("\n".join(["file,class", *rows]) + "\n")
    if draw.random() < 0.5:
        spoil(root, draw)


MAKERS: list[Callable[[Path, random.Random], None]] = [
    class_folders_with_errors,
    class_folders_with_errors,
    class_folders_with_errors,
    class_folders_with_errors,
    table_of_names,
    flat_or_nearly_empty,
    idx_files,
]


ODD = [
    None,
    True,
    -1,
    0,
    10**9,
    10**400,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../../x.png",
    "/dev/null",
    [],
    {},
    [[]],
    [1, 2],
    {"size": [3, 3], "counts": "52"},
    {"size": [12, 10], "counts": [5, 5, 110]},
    "a\\b.png",
]


def coco_set(root: Path, draw: random.Random) -> None:
    """A JSON file for each split, with some values replaced by odd ones, or damaged."""
    for split in draw.choice([[""], ["train"], ["train", "valid"], ["train", "test"]]):
        home = root / split
        names = [f"s{draw.randint(0, 3)}_{k}.png" for k in range(draw.choice([2, 6]))]
        for k, name in enumerate(names):
            save(home / name, scene(draw.randint(0, 30) + k, (12, 10)))
        segment = draw.choice([None, [[1, 1, 6, 1, 6, 6]], {"size": [10, 12], "counts": [5, 5, 110]}])
        rows = [
            {
                "image_id": 7 * draw.randrange(len(names)),
                "category_id": 3 * draw.randrange(2),
                "area": 9,
                "bbox": [draw.randint(0, 4), draw.randint(0, 4), 5.5, 5],
            }
            for _ in range(6)
        ]
        told: Any = coco_content(names, [{**row, "segmentation": segment} for row in rows], size=(12, 10))
        for _ in range(draw.choice([0, 0, 1, 2])):
            replace_value(told, draw)
        path = home / "_annotations.coco.json"
        path.write_text(json.dumps(told))
        if draw.random() < 0.15:
            damage(path, draw)
    if draw.random() < 0.3:
        spoil(root, draw)


def replace_value(told: Any, draw: random.Random) -> None:
    """Replace one value, at any depth, by an odd one, or delete it."""
    while True:
        key = draw.choice(list(told) if isinstance(told, dict) else range(len(told)))
        if isinstance(told[key], dict | list) and told[key] and draw.random() < 0.9:
            told = told[key]
        elif draw.random() < 0.2:
            del told[key]
            return
        else:
            told[key] = draw.choice(ODD)
            return


def voc_set(root: Path, draw: random.Random) -> None:
    """XML files with split lists, some numbers replaced, some files damaged."""
    names = [f"s{draw.randint(0, 3)}_{k}" for k in range(draw.choice([2, 6]))]
    lists = draw.choice([{}, {"train": names}, {"train": names[:1], "test": names[1:]}, {"val": names}])
    voc(
        root,
        {name: [(draw.choice(["cat", "dog"]), 1, 1, draw.randint(2, 48), draw.randint(2, 40))] for name in names},
        lists,
    )
    for file in sorted((root / "Annotations").iterdir()):
        if draw.random() < 0.15:
            odd = draw.choice(["0", "-3", "nan", "1e9", "", "x", "&lol;", "<b/>"])
            file.write_text(file.read_text().replace(draw.choice([">1<", ">48<", ">0<", ">cat<"]), f">{odd}<", 1))
        elif draw.random() < 0.05:
            damage(file, draw)
    if draw.random() < 0.3:
        spoil(root, draw)


def yolo_set(root: Path, draw: random.Random) -> None:
    """Label files with data.yaml, some words replaced, some files damaged."""
    polygons = draw.random() < 0.4
    row = "1 0.1 0.1 0.8 0.1 0.5 0.9\n" if polygons else "0 0.5 0.5 0.25 0.25\n"
    splits = draw.choice([["train"], ["train", "val"], ["train", "val", "test"], ["test"]])
    names = [f"{split}/s{k}_{split}" for split in splits for k in range(3)]
    yolo(root, {name: draw.choice([row, row * 2, row, "", None]) for name in names})
    for file in sorted(root.rglob("*.txt")):
        if draw.random() < 0.1:
            odd = draw.choice(["7", "-1", "nan", "1e9", "x", "0.5 0.5", "", "\u0663"])
            file.write_text(file.read_text().replace(draw.choice(["0.5", "0.1", "1 ", "0 "]), odd, 1))
        elif draw.random() < 0.05:
            damage(file, draw)
    if draw.random() < 0.15:
        damage(root / "data.yaml", draw)
    if draw.random() < 0.3:
        spoil(root, draw)


SETS: list[Callable[[Path, random.Random], None]] = [coco_set, voc_set, yolo_set]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "deep"])
def test_damaged_images_raise_unusable_file_only(tmp_path: Path, kind: str) -> None:
    from snellen.data.decode.header import UnusableFile
    from snellen.data.decode.image_decoder import decode, header

    path = tmp_path / "picture"
    if kind == "deep":
        tiff(path, scene(1, (20, 16), 1).astype(np.uint16))
        encoded_image = path.read_bytes()
    else:
        encoded_image = encoded(scene(1, (20, 16)), kind)
    draw = random.Random(0)
    for _ in range(COUNT):
        path.write_bytes(encoded_image)
        damage(path, draw)
        for read in (header, lambda path: decode(path, Preprocessing(size=(4, 4)))):
            with contextlib.suppress(UnusableFile):
                read(path)

"""Random folders of image–map pairs open, or end with a one-line error with its cause (R5).

`SNELLEN_FUZZ=1000 pytest tests/data/test_fuzzed_pairs.py` runs a thousand of them.
"""

from __future__ import annotations

import contextlib
import os
import random
import struct
from pathlib import Path

import numpy as np
import torch
from image_makers import save, scene
from PIL import Image
from test_fuzzed_folders import damage, spoil

from snellen.core.detections import GroundTruth
from snellen.core.errors import SnellenError
from snellen.core.spec import Boxes, PixelNumbers
from snellen.data.decode.header import UnusableFile
from snellen.data.formats import OpenOptions
from snellen.data.formats.map_files import read_map
from snellen.data.formats.mask_values import read_mask_info
from snellen.data.open_dataset import dataset

COUNT = int(os.environ.get("SNELLEN_FUZZ", "100"))
LAYOUTS = (
    ("images/{k}", "masks/{k}"),
    ("{s}/image/{k}", "{s}/label/{k}"),
    ("{s}/{k}", "{s}annot/{k}"),
    ("{k}", "{k}_mask"),
    ("images/{s}/{k}", "labels/{s}/{k}"),
)
NUMBERS = ("depth", "normals", "edges", "reflectance", "flow")


def test_random_pairs_open_or_raise_errors_with_a_cause(tmp_path: Path) -> None:
    opened = 0
    for seed in range(COUNT):
        draw = random.Random(seed)
        root = tmp_path / str(seed)
        root.mkdir()
        (masks if draw.random() < 0.5 else number_maps)(root, draw)
        for _ in range(draw.choice([0, 0, 1, 3])):
            damage(draw.choice([f for f in sorted(root.rglob("*")) if f.is_file()]), draw)
        if draw.random() < 0.25:
            with contextlib.suppress(FileExistsError):  # the same bad files twice in one place
                spoil(root, draw)
        opened += opens_or_says_why(root, draw, seed)
    assert 0.1 * COUNT < opened < 0.9 * COUNT


def opens_or_says_why(root: Path, draw: random.Random, seed: int) -> bool:
    options = OpenOptions(
        quarantine=draw.random() < 0.6,
        allow_skipped=draw.random() < 0.7,
        target=draw.choice([(), (), (), ("classes",), ("instances",), ("depth",)]),
    )
    try:
        data = dataset(root, seed=seed, options=options)
        assert data.annotations is not None, seed
        adds_up = data.files["used"] + data.files["set aside"] + data.files["no data"]
        assert adds_up == data.files["found"], (seed, data.files)
        assert len(data.skipped) == data.files["set aside"], seed
        for split in data.splits:
            for there in data.scenes(split).in_order():
                fits(there.image, there.truth, data.spec.target)
        return True
    except SnellenError as error:
        refused = error
    files = [path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir()]
    assert any(path in refused.cause for path in [str(root), *files]) or options.target, (seed, refused.cause)
    assert refused.remedy, (seed, refused.cause)
    assert "\n" not in refused.cause, seed
    return False


def fits(image: torch.Tensor, truth: object, target: object) -> None:
    size = image.shape[-2:]
    if isinstance(truth, GroundTruth):
        assert isinstance(target, Boxes)
        assert truth.masks.shape[1:] == size
        assert bool((truth.areas > 0).all())
    elif isinstance(target, PixelNumbers):
        assert truth.shape == (len(target.names), *size)
    else:
        assert truth.shape == size
        assert int(truth.max()) < len(target.names)
        assert int(truth.min()) >= -1


def masks(root: Path, draw: random.Random) -> None:
    image_pattern, map_pattern = draw.choice(LAYOUTS)
    kind = draw.choice(["few", "few", "binary", "deep", "colours", "many"])
    for k in range(draw.choice([2, 5, 9])):
        split = draw.choice(["train", "train", "test"])
        size = draw.choice([(12, 10), (12, 10), (12, 10), (7, 1)])
        save(root / f"{image_pattern.format(k=k, s=split)}.png", scene(k, size, draw.choice([1, 3, 3])))
        values = np.random.default_rng(k).integers(0, {"binary": 2, "deep": 900, "many": 60}.get(kind, 4), size[::-1])
        path = root / f"{map_pattern.format(k=k, s=split)}{draw.choice(['.png'] * 9 + ['.jpg', '.tif'])}"
        if draw.random() < 0.95:
            stored = (
                values.astype(np.uint16)
                if kind == "deep"
                else (values * (255 if kind == "binary" else 1)).astype(np.uint8)
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "colours":
                stored = np.stack([stored * 60, 255 - stored * 60, stored], -1)
            Image.fromarray(stored).convert("L" if path.suffix == ".jpg" else None).save(path)
    if draw.random() < 0.4:
        names = draw.choice(["a\nb\nc\nd\n", "a\nvoid\n", "a\na\n", "", "\xff\n"])
        (root / "classes.txt").write_text(names, encoding="latin-1")
    if kind == "colours" and draw.random() < 0.8:
        lines = [f"c{v},{v * 60},{255 - v * 60},{v}" for v in range(draw.choice([3, 4, 4]))]
        (root / "class_dict.csv").write_text("\n".join(["name,r,g,b", *lines, draw.choice(["", "x,1", "c0,9,9,9"])]))


def number_maps(root: Path, draw: random.Random) -> None:
    kind = draw.choice(NUMBERS)
    channels = {"normals": 3, "flow": 2}.get(kind, 1)
    for k in range(draw.choice([3, 6])):
        save(root / f"images/{k}.png", scene(k, (10, 12)))
        values = np.random.default_rng(k).uniform(0, 1, (12, 10, channels)).astype(np.float32)
        path = root / kind / f"{k}{draw.choice(['.npy', '.pfm' if channels != 2 else '.flo', '.npy'])}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npy":
            np.save(path, draw.choice([values, values, values[..., 0], values.transpose(2, 0, 1)]))
        elif path.suffix == ".pfm":
            path.write_bytes(f"{'PF' if channels == 3 else 'Pf'}\n10 12\n-1\n".encode() + values[::-1].tobytes())
        else:
            path.write_bytes(b"PIEH" + struct.pack("<ii", 10, 12) + values.tobytes())
    if kind == "flow":
        save(root / f"images/{k + 1}.png", scene(k, (10, 12)))
    if draw.random() < 0.2:
        (root / "depth.json").write_text(draw.choice(['{"scale": 2}', "{", '{"scale": []}']))


def test_damaged_masks_and_maps_raise_unusable_file_only(tmp_path: Path) -> None:
    values = np.arange(120, dtype=np.float32).reshape(12, 10)
    np.save(tmp_path / "a.npy", values)
    (tmp_path / "a.pfm").write_bytes(b"Pf\n10 12\n-1.0\n" + values.tobytes())
    (tmp_path / "a.flo").write_bytes(b"PIEH" + struct.pack("<ii", 10, 6) + values.tobytes())
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "a.png")
    Image.fromarray(values.astype(np.uint8)).convert("P").save(tmp_path / "b.png")
    draw = random.Random(0)
    for path in sorted(tmp_path.iterdir()):
        encoded_map = path.read_bytes()
        for _ in range(COUNT):
            path.write_bytes(encoded_map)
            damage(path, draw)
            with contextlib.suppress(UnusableFile):
                assert read_map(path).ndim in (2, 3)
            with contextlib.suppress(UnusableFile):
                assert read_mask_info(path).height > 0 or path.suffix != ".png"

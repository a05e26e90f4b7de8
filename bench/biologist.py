"""End-to-end test on a typical microscopy folder: data check, split without leakage, training, confidence interval.

    python bench/biologist.py [--common 270] [--rare 30] [--side 96] [--folder FOLDER] [--seed 0]

Two classes of cells under a fluorescence microscope, 12 bits deep in 16-bit TIFFs. The rare class is 20 grey levels
brighter; exposure and background vary from image to image, with photon and camera noise. The folder contains exact
duplicates, near-duplicates (quantised, resized, cropped), one image with two labels, and files that are not images. All
expectations are asserted; the results are printed last as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from snellen.api import load
from snellen.cli.main import main as snellen
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset

STEP = 20  # grey levels between the classes
DEPTH = 4095
LENIENT = ("--quarantine", "--allow-skipped")  # the loss is over 1 in 100 with fewer than 200 images


@dataclasses.dataclass(frozen=True)
class Planted:
    """Duplicates planted in the folder, by relative file names."""

    copies: tuple[tuple[str, str], ...]
    near: tuple[tuple[str, str], ...]
    two_labels: tuple[str, str]


def cells(rng: np.random.Generator, side: int, bright: bool) -> np.ndarray:
    """(side, side) uint16 of 12 bits: cells on an uneven background with camera noise.

    Grey levels: background about 300, cells 200 to 600 above it, and `STEP` on everything for the bright class.
    Between images the background varies with a standard deviation of 4.
    """
    y, x = np.mgrid[:side, :side] / side
    slope = rng.normal(0, 15, 2)
    scene = 300 + rng.normal(0, 4) + slope[0] * (x - 0.5) + slope[1] * (y - 0.5) + STEP * bright
    for _ in range(rng.integers(4, 9)):
        row, column = rng.uniform(0, 1, 2)
        long, wide, angle = rng.uniform(0.04, 0.1), rng.uniform(0.03, 0.07), rng.uniform(0, np.pi)
        along = (x - column) * np.cos(angle) + (y - row) * np.sin(angle)
        across = (y - row) * np.cos(angle) - (x - column) * np.sin(angle)
        scene = scene + rng.uniform(200, 600) * np.exp(-(((along / long) ** 2 + (across / wide) ** 2) ** 2))
    photons = rng.poisson(scene / 2) * 2.0  # two grey levels a photon
    return np.clip(np.rint(photons + rng.normal(0, 8, scene.shape)), 0, DEPTH).astype(np.uint16)


def write(path: Path, values: np.ndarray, **options: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values, **options)
    return path


def resized(values: np.ndarray, side: int) -> np.ndarray:
    from PIL import Image

    picture = Image.fromarray(values.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    return np.clip(np.rint(np.asarray(picture)), 0, DEPTH).astype(np.uint16)


def make(folder: Path, common: int, rare: int, side: int, seed: int = 0, resize: bool = True) -> Planted:
    """Write the folder: `common` and `rare` distinct images of the two classes, duplicates and foreign files.

    Args:
        resize: some near-duplicates have a different size.
    """
    rng = np.random.default_rng(seed)
    names: dict[str, list[Path]] = {"control": [], "treated": []}
    for name, count in (("control", common), ("treated", rare)):
        names[name] = [
            write(folder / name / f"{name[0]}{k:04d}.tif", cells(rng, side, name == "treated")) for k in range(count)
        ]
    copies, near = [], []
    for paths in names.values():
        for k in range(3):
            copy = paths[k].with_name(f"{paths[k].stem} (copy).tif")
            shutil.copy(paths[k], copy)
            copies.append((paths[k], copy))
        edits = [tifffile.imread(paths[4]) // 4 * 4, tifffile.imread(paths[5]) // 8 * 8]
        if resize:
            edits += [resized(tifffile.imread(paths[k]), size) for k, size in ((6, 2 * side // 3), (7, 3 * side // 2))]
        for path, values in zip(paths[4:], edits, strict=False):
            near.append((path, write(path.with_name(f"{path.stem}_edited.tif"), values, compression="zlib")))
    relabelled = folder / "treated" / "which one.tif"
    shutil.copy(names["control"][9], relabelled)
    (folder / "notes.docx").write_bytes(b"PK")
    (folder / "control" / "Thumbs.db").write_bytes(b"\0")
    (folder / "control" / "._c0001.tif").write_bytes(b"\0")
    (folder / "settings.txt").write_text("exposure 80 ms\n")

    def relative_names(pairs: list[tuple[Path, Path]]) -> tuple[tuple[str, str], ...]:
        return tuple((a.relative_to(folder).as_posix(), b.relative_to(folder).as_posix()) for a, b in pairs)

    return Planted(relative_names(copies), relative_names(near), relative_names([(names["control"][9], relabelled)])[0])


def run_command(arguments: list[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = snellen(arguments)
    print(f"$ snellen {' '.join(arguments)}\n{err.getvalue()}{out.getvalue()}")
    return code, out.getvalue(), err.getvalue()


def check(folder: Path, planted: Planted) -> None:
    """Strict mode reports the image with two labels; with quarantine, no duplicate crosses a split."""
    code, _, output = run_command(["data", str(folder)])
    assert code == 3, code
    assert all(name in output for name in planted.two_labels), output
    code, output, _ = run_command(["data", str(folder), *LENIENT])
    assert code == 0, code
    assert "notes.docx" in output
    data = dataset(folder, options=OpenOptions(quarantine=True, allow_skipped=True))
    split_of = {data.name(id): split for split, ids in data.splits.items() for id in ids.tolist()}
    assert not set(planted.two_labels) & set(split_of)
    leaked = [pair for pair in (*planted.copies, *planted.near) if split_of[pair[0]] != split_of[pair[1]]]
    assert not leaked, leaked
    assert data.spec.input.dtype == "uint16"


def train(folder: Path, out: Path, seed: int = 0) -> dict[str, Any]:
    """Train the suggested learner and return the metrics of the test split."""
    started = time.monotonic()
    code, _, _ = run_command(["train", str(folder), *LENIENT, "--seed", str(seed), "--out", str(out)])
    assert code == 0, code
    run = load(out)
    assert run.headline == "balanced accuracy", run.headline
    metric = run.metrics["balanced accuracy"]
    assert metric.value is not None
    return {
        "learner": run.record.learner,
        "balanced accuracy": metric.value,
        "low": metric.low,
        "high": metric.high,
        "accuracy": run.metrics["accuracy"].value,
        "test": run.spec.sizes["test"],
        "seconds": time.monotonic() - started,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="End-to-end test on a microscopy folder.")
    parser.add_argument("--common", type=int, default=270)
    parser.add_argument("--rare", type=int, default=30)
    parser.add_argument("--side", type=int, default=96, help="pixels")
    parser.add_argument("--folder", type=Path, help="folder for the generated images (kept)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary) / "cells"
        planted = make(folder, args.common, args.rare, args.side, args.seed)
        check(folder, planted)
        figures = train(folder, Path(temporary) / "run", args.seed)
        assert figures["low"] > 0.5, figures
        print(json.dumps(figures))


if __name__ == "__main__":
    main()

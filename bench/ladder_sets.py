"""Data sets of the ladder benchmark, made from public data on disk in the form in which a user would have them."""

from __future__ import annotations

import csv
import wave
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

CELL = 80  # pixels a side of a cut-out cell


@dataclass(frozen=True, kw_only=True)
class BenchSet:
    """One data set.

    Args:
        make: (folder of the public data, empty folder) -> path that `snellen` opens.
        scripts: names of the plain scripts that fit the task, see ladder_scripts.py.
        flip: whether a person would flip the images.
        peers: names of programs that choose a model by themselves, see ladder_peers.py.
        repeated: whether it is measured with several seeds.
    """

    make: Callable[[Path, Path], Path]
    scripts: tuple[str, ...]
    flip: bool = True
    peers: tuple[str, ...] = ()
    repeated: bool = False


def bccd_cells(data: Path, out: Path) -> Path:
    """Each annotated blood cell as an image of its class: three classes of very unequal size."""
    for xml in sorted((data / "bccd" / "Annotations").glob("*.xml")):
        image = Image.open(data / "bccd" / "JPEGImages" / f"{xml.stem}.jpg").convert("RGB")
        for k, element in enumerate(ElementTree.parse(xml).getroot().iter("object")):
            box = [int(float(element.findtext(f"bndbox/{name}", "0"))) for name in ("xmin", "ymin", "xmax", "ymax")]
            if box[2] - box[0] < 8 or box[3] - box[1] < 8:
                continue
            folder = out / element.findtext("name", "")
            folder.mkdir(exist_ok=True)
            image.crop(tuple(box)).resize((CELL, CELL)).save(folder / f"{xml.stem}_{k}.png")
    return out


def spectrograms(data: Path, out: Path) -> Path:
    """Each spoken digit as a grey image: logarithm of the short-time spectrum, 64 frequencies by 64 times."""
    for path in sorted((data / "spoken-digits").glob("*.wav")):
        with wave.open(str(path)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float64)
        window = 256
        starts = np.linspace(0, max(0, len(samples) - window), 64).astype(int)
        padded = np.pad(samples, (0, window))
        frames = np.stack([padded[s : s + window] for s in starts]) * np.hanning(window)
        spectrum = np.log1p(np.abs(np.fft.rfft(frames, axis=1))[:, :128].reshape(64, 64, 2).mean(2))
        grey = (255 * (spectrum - spectrum.min()) / max(float(np.ptp(spectrum)), 1e-9)).astype(np.uint8)
        digit = path.stem.split("_")[0]
        (out / digit).mkdir(exist_ok=True)
        Image.fromarray(grey.T[::-1]).save(out / digit / f"{path.stem}.png")
    return out


def hand_poses(data: Path, out: Path) -> Path:
    """Key points of hands as a table with three classes."""
    path = out / "poses.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"{axis}{k}" for k in range(21) for axis in "xy"), "pose"])
        with (data / "hand-landmarks" / "keypoint_classifier_keypoint.csv").open() as source:
            writer.writerows([*row[1:], f"pose{row[0]}"] for row in csv.reader(source) if row)
    return path


def diabetes(data: Path, out: Path) -> Path:
    """442 patients, ten measurements, a noisy target (scikit-learn's copy of Efron et al. 2004)."""
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(scaled=False)
    path = out / "diabetes.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*bunch.feature_names, "progression"])
        writer.writerows([*row, target] for row, target in zip(bunch.data, bunch.target, strict=True))
    return path


def nuclei_counts(data: Path, out: Path) -> Path:
    """Images of nuclei with the number of nuclei in each."""
    rows = []
    for path in sorted((data / "nuclei" / "images").glob("*.png")):
        mask = np.asarray(Image.open(data / "nuclei" / "masks" / path.name))
        Image.open(path).convert("RGB").save(out / path.name)
        rows.append([path.name, len(np.unique(mask)) - 1])
    table = out / "counts.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["file", "nuclei"], *rows])
    return out


IMAGES = ("bn-cnn", "svc", "1-nn")
SETS: dict[str, BenchSet] = {
    "mnist": BenchSet(make=lambda data, out: data / "MNIST", scripts=IMAGES, flip=False),
    "cifar10-subset": BenchSet(
        make=lambda data, out: data / "cifar10-subset", scripts=(*IMAGES, "probe"), repeated=True
    ),
    "clothing": BenchSet(make=lambda data, out: data / "clothing", scripts=(*IMAGES, "probe"), repeated=True),
    "bccd-cells": BenchSet(make=bccd_cells, scripts=(*IMAGES, "probe")),
    "spoken-digits": BenchSet(make=spectrograms, scripts=IMAGES, flip=False),
    "hand-landmarks": BenchSet(
        make=hand_poses, scripts=("boosting", "forest", "svc", "1-nn"), peers=("autogluon",), repeated=True
    ),
    "diabetes": BenchSet(
        make=diabetes, scripts=("boosting", "forest", "svr", "ridge"), peers=("autogluon",), repeated=True
    ),
    "nuclei-counts": BenchSet(make=nuclei_counts, scripts=("bn-cnn", "svr", "boosting")),
    "camvid": BenchSet(make=lambda data, out: data / "camvid", scripts=("u-net", "u-net-lite0")),
    "bccd": BenchSet(make=lambda data, out: data / "bccd", scripts=("ssdlite", "faster-rcnn"), peers=("ultralytics",)),
    "nuclei": BenchSet(make=lambda data, out: data / "nuclei", scripts=("mask-rcnn",)),
}

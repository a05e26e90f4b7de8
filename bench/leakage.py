"""Copies planted between the splits of a real image folder: how many are found, and how many others are accused.

    python bench/leakage.py FOLDER [--idx MNIST] [--planted 200] [--seed 0]

FOLDER is an image folder with train and test. Of each kind, `planted` training pictures are put into the test split of
a temporary copy: as they are, re-encoded as JPEG of quality 75, 85 and 95, and resized by 0.5, 0.7, 1.5 and 2 with
three filters. False alarms are the pictures of FOLDER itself, and of the IDX folder, that are called copies of another.
The figures are printed last as JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from snellen.data.check.duplicates import copies_of_array, copies_of_files
from snellen.data.decode.image_files import ImageFiles
from snellen.data.formats import OpenOptions, idx, image_folder
from snellen.data.source import Array

Edit = Callable[[Path, Path], Path]


def jpeg(quality: int) -> Edit:
    def save(source: Path, target: Path) -> Path:
        with Image.open(source) as image:
            image.convert("RGB").save(target.with_suffix(".jpg"), quality=quality)
        return target.with_suffix(".jpg")

    return save


def resize(factor: float, how: Image.Resampling) -> Edit:
    def save(source: Path, target: Path) -> Path:
        with Image.open(source) as image:
            size = round(image.width * factor), round(image.height * factor)
            image.convert("RGB").resize(size, how).save(target.with_suffix(".png"))
        return target.with_suffix(".png")

    return save


def exact(source: Path, target: Path) -> Path:
    return Path(shutil.copy(source, target))


EDITS: dict[str, Edit] = {"exact": exact, **{f"jpeg {q}": jpeg(q) for q in (75, 85, 95)}}
EDITS |= {
    f"x{factor} {how.name.lower()}": resize(factor, how)
    for factor in (0.5, 0.7, 1.5, 2)
    for how in (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Recall and false alarms of the search for copies.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--idx", type=Path, help="a folder of IDX files, for false alarms")
    parser.add_argument("--planted", type=int, default=200, help="copies of each kind")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    figures: dict[str, object] = {"recall": recall(given.folder, given.planted, given.seed)}
    original = image_folder.open_raw(given.folder, OpenOptions(full=True)).source
    assert isinstance(original, ImageFiles)
    pairs = copies_of_files(original, full=True)
    figures["called copies in the folder"] = accused(len(original), [*pairs.exact, *pairs.near])
    for a, b in [*pairs.exact, *pairs.near]:
        print(f"{original.name(a)} = {original.name(b)}")
    if given.idx:
        array = idx.open_raw(given.idx, OpenOptions()).source
        assert isinstance(array, Array)
        pairs = copies_of_array(array, full=True)
        figures["called copies in IDX"] = accused(len(array), [*pairs.exact, *pairs.near])
    print(json.dumps(figures))


def accused(count: int, pairs: list[tuple[int, int]]) -> dict[str, float]:
    return {
        "pictures": count,
        "accused": len({id for pair in pairs for id in pair}),
        "rate": len({id for pair in pairs for id in pair}) / count,
    }


def recall(data: Path, planted: int, seed: int) -> dict[str, float]:
    """Fraction found of each kind, and of all re-encoded and all resized ones."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "data"
        shutil.copytree(data, root)
        pool = sorted((root / "train").rglob("*.*"))
        partner: dict[str, tuple[str, str]] = {}
        for kind, edit in EDITS.items():
            for source in draw.sample(pool, planted):
                target = root / "test" / source.parent.name / f"planted-{kind}-{source.name}"
                made = edit(source, target)
                partner[str(made.relative_to(root))] = (kind, str(source.relative_to(root)))
        source = image_folder.open_raw(root, OpenOptions()).source
        assert isinstance(source, ImageFiles)
        copies = copies_of_files(source, full=True)
        from snellen.data.check.duplicates import groups_of

        group = groups_of(len(source), [*copies.exact, *copies.near])
        place = {source.name(id): int(group[id]) for id in range(len(source))}
        hits: dict[str, list[bool]] = {kind: [] for kind in EDITS}
        for copy, (kind, original) in partner.items():
            hits[kind].append(place[copy] == place[original])
    figures = {kind: sum(found) / len(found) for kind, found in hits.items()}
    for kind, value in figures.items():
        print(f"{kind:16} {value:6.1%}")
    encoded = [hit for kind, found in hits.items() if kind.startswith("jpeg") for hit in found]
    resized = [hit for kind, found in hits.items() if kind.startswith("x") for hit in found]
    return {**figures, "re-encoded": sum(encoded) / len(encoded), "resized": sum(resized) / len(resized)}


if __name__ == "__main__":
    main()

"""Duplicate detection: recall of duplicates planted between the splits of an image folder, and false alarms.

    python bench/leakage.py FOLDER [--idx MNIST] [--planted 200] [--seed 0]

FOLDER is an image folder with train and test. For each kind, `planted` training images are copied into the test split
of a temporary copy: unchanged, re-encoded as JPEG of quality 75, 85 and 95, and resized by 0.5, 0.7, 1.5 and 2 with
three filters. False alarms are images of FOLDER itself, and of the IDX folder, reported as duplicates of another.
The results are printed last as JSON.
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

from snellen.data.check.duplicates import find_array_duplicates, find_file_duplicates
from snellen.data.decode.image_files import ImageFiles
from snellen.data.formats import OpenOptions, idx, image_folder
from snellen.data.source import ArraySource

Edit = Callable[[Path, Path], Path]


def jpeg(quality: int) -> Edit:
    def save(source: Path, target: Path) -> Path:
        with Image.open(source) as image:
            image.convert("RGB").save(target.with_suffix(".jpg"), quality=quality)
        return target.with_suffix(".jpg")

    return save


def resize(factor: float, resampling: Image.Resampling) -> Edit:
    def save(source: Path, target: Path) -> Path:
        with Image.open(source) as image:
            size = round(image.width * factor), round(image.height * factor)
            image.convert("RGB").resize(size, resampling).save(target.with_suffix(".png"))
        return target.with_suffix(".png")

    return save


def exact(source: Path, target: Path) -> Path:
    return Path(shutil.copy(source, target))


EDITS: dict[str, Edit] = {"exact": exact, **{f"jpeg {q}": jpeg(q) for q in (75, 85, 95)}}
EDITS |= {
    f"x{factor} {resampling.name.lower()}": resize(factor, resampling)
    for factor in (0.5, 0.7, 1.5, 2)
    for resampling in (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Recall and false alarms of duplicate detection.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--idx", type=Path, help="folder of IDX files, for false alarms")
    parser.add_argument("--planted", type=int, default=200, help="duplicates of each kind")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    result: dict[str, object] = {"recall": recall(args.folder, args.planted, args.seed)}
    original = image_folder.open_raw(args.folder, OpenOptions(full=True)).source
    assert isinstance(original, ImageFiles)
    pairs = find_file_duplicates(original, full=True)
    result["called copies in the folder"] = false_alarms(len(original), [*pairs.exact, *pairs.near])
    for a, b in [*pairs.exact, *pairs.near]:
        print(f"{original.name(a)} = {original.name(b)}")
    if args.idx:
        array = idx.open_raw(args.idx, OpenOptions()).source
        assert isinstance(array, ArraySource)
        pairs = find_array_duplicates(array, full=True)
        result["called copies in IDX"] = false_alarms(len(array), [*pairs.exact, *pairs.near])
    print(json.dumps(result))


def false_alarms(count: int, pairs: list[tuple[int, int]]) -> dict[str, float]:
    return {
        "pictures": count,
        "accused": len({id for pair in pairs for id in pair}),
        "rate": len({id for pair in pairs for id in pair}) / count,
    }


def recall(data: Path, planted: int, seed: int) -> dict[str, float]:
    """Recall of each kind, of all re-encoded and of all resized duplicates."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "data"
        shutil.copytree(data, root)
        pool = sorted((root / "train").rglob("*.*"))
        partner: dict[str, tuple[str, str]] = {}
        for kind, edit in EDITS.items():
            for source in draw.sample(pool, planted):
                target = root / "test" / source.parent.name / f"planted-{kind}-{source.name}"
                edited = edit(source, target)
                partner[str(edited.relative_to(root))] = (kind, str(source.relative_to(root)))
        source = image_folder.open_raw(root, OpenOptions()).source
        assert isinstance(source, ImageFiles)
        copies = find_file_duplicates(source, full=True)
        from snellen.data.check.duplicates import connected_groups

        group = connected_groups(len(source), [*copies.exact, *copies.near])
        group_of = {source.name(id): int(group[id]) for id in range(len(source))}
        hits: dict[str, list[bool]] = {kind: [] for kind in EDITS}
        for copy, (kind, original) in partner.items():
            hits[kind].append(group_of[copy] == group_of[original])
    result = {kind: sum(hits_of_kind) / len(hits_of_kind) for kind, hits_of_kind in hits.items()}
    for kind, value in result.items():
        print(f"{kind:16} {value:6.1%}")
    encoded = [hit for kind, hits_of_kind in hits.items() if kind.startswith("jpeg") for hit in hits_of_kind]
    resized = [hit for kind, hits_of_kind in hits.items() if kind.startswith("x") for hit in hits_of_kind]
    return {**result, "re-encoded": sum(encoded) / len(encoded), "resized": sum(resized) / len(resized)}


if __name__ == "__main__":
    main()

"""Transfer learning: 300 images of ten classes, trained from scratch, from pretrained weights, and with a probe.

    python bench/transfer.py FOLDER [--encoder RUN] [--pictures 300] [--seeds 5] [--seconds 2400] [--threads 1]

FOLDER is an image folder with train and test, 32 pixels a side. Without --encoder a resnet20 is first trained on
CIFAR-100 (under $SNELLEN_DATA) in at most --seconds. Every seed samples a different subset; the test split is complete.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from pathlib import Path
from typing import Any

from accuracy import interval
from harness import RESULTS, result_header

import snellen
from snellen.api import RunOptions

MODEL = "resnet20"
ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    "from scratch": (MODEL, {"from_scratch": True, "epochs": 60}),
    "begun with the run": (MODEL, {"epochs": 60}),
    "probe, logistic regression": ("probe", {"encoder": MODEL}),
    "probe, neighbours": ("probe", {"encoder": MODEL, "head": "neighbours"}),
}


def sample_folder(folder: Path, count: int, seed: int, to: Path) -> Path:
    """A folder of links: `count` training images, equally many of each class, and all test images."""
    for split in ("train", "test"):
        for kind in sorted((folder / split).iterdir()):
            files = sorted(kind.iterdir())
            if split == "train":
                files = random.Random(f"{seed} {kind.name}").sample(files, count // 10)
            (to / split / kind.name).mkdir(parents=True)
            for file in files:
                os.symlink(file.resolve(), to / split / kind.name / file.name)
    return to


def train_arms(args: argparse.Namespace, seed: int, encoder: Path) -> dict[str, float]:
    """Test accuracy of each arm, %."""
    accuracies = {}
    with tempfile.TemporaryDirectory() as scratch:
        data = snellen.dataset(sample_folder(args.folder, args.pictures, seed, Path(scratch, "data")), seed=seed)
        for arm, (model, settings) in ARMS.items():
            start = {} if settings.get("from_scratch") else {"pretrained": str(encoder)}
            run = snellen.train(data, model, out=Path(scratch, arm.replace(" ", "-")), seed=seed, **settings, **start)
            value = run.metrics["accuracy"].value
            assert value is not None
            accuracies[arm] = 100 * value
    return accuracies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2400)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    encoder = args.encoder
    if encoder is None:
        encoder = Path(tempfile.mkdtemp(), "encoder")
        snellen.train(
            "cifar100",
            MODEL,
            out=encoder,
            epochs=12,
            precision="bfloat16",
            options=RunOptions(threads=args.threads, seconds=args.seconds),
        )
    run_loaded = snellen.load(encoder)
    metrics = json.loads((encoder / "metrics.json").read_text())
    settings = run_loaded.record.settings
    how = (
        f"{run_loaded.record.learner}, {settings['epochs']} epochs, {settings['precision']}, "
        f"{metrics['cost']['seconds_learning'] / 60:.0f} minutes on {run_loaded.record.device}"
    )
    head = {
        **result_header(
            "transfer",
            "Training on few images, with and without pretraining on another dataset.",
            args.seeds,
            args.threads,
        ),
        "pictures": args.pictures,
        "encoder": {
            "data": run_loaded.spec.name,
            "accuracy": 100 * (run_loaded.metrics["accuracy"].value or 0),
            "learned": how,
        },
    }
    each = []
    for seed in range(args.seeds):
        each.append(train_arms(args, seed, encoder))
        print(seed, {arm: round(value, 2) for arm, value in each[-1].items()}, flush=True)
    rows = []
    for arm in ARMS:
        values = [accuracies[arm] for accuracies in each]
        gains = [accuracies[arm] - accuracies["from scratch"] for accuracies in each]
        rows.append(
            {
                "name": arm,
                "accuracy": sum(values) / len(values),
                "interval": interval(values),
                "each": values,
                "over scratch": sum(gains) / len(gains),
                "interval over scratch": interval(gains),
            }
        )
    (RESULTS / "transfer.json").write_text(json.dumps({**head, "rows": rows}, indent=1, allow_nan=False) + "\n")
    for row in rows:
        print(
            f"{row['name']:28s} {row['accuracy']:.1f} ± {row['interval'] or 0:.1f} %  over scratch "
            f"{row['over scratch']:+.1f} ± {row['interval over scratch'] or 0:.1f} points"
        )


if __name__ == "__main__":
    main()

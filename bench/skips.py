"""Skip connections (D2): a U-Net and the same network without skips, on the built-in shapes, at borders and elsewhere.

    python bench/skips.py [--seeds 3] [--epochs 3] [--threads 1]

Each seed trains both networks to segment solids from the ground, on the same images in the same order. Border pixels
are within 3 pixels of the other class.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path

import torch
from accuracy import interval
from harness import RESULTS, result_header
from torch import Tensor, nn

import snellen
from snellen.api import RunOptions
from snellen.core.spec import PixelClasses
from snellen.data.annotations import MapAnnotations
from snellen.data.dataset import Dataset, Labelled
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset
from snellen.metrics import segmentation
from snellen.nn.tiling import apply_tiled

NEAR = 3  # pixels
ARMS = ("encoder-decoder", "unet")
PLACES = ("everywhere", "at borders", "elsewhere")


def near_borders(truth: Tensor) -> Tensor:
    """(H, W) bool: another class lies within `NEAR` pixels, along rows, columns and diagonals."""
    side = 2 * NEAR + 1
    wide = nn.functional.pad(truth[None, None].float(), (NEAR,) * 4, mode="replicate")
    highest = nn.functional.max_pool2d(wide, side, stride=1)
    lowest = -nn.functional.max_pool2d(-wide, side, stride=1)
    return (highest != lowest)[0, 0]


def solid_classes() -> Dataset[Labelled]:
    """The built-in shapes with two classes: the ground and any solid."""
    data = dataset("shapes", seed=0, options=OpenOptions(target=("pixels",)))
    annotations = data.annotations
    assert annotations is not None

    def load_map(id: int) -> Tensor:
        truth = annotations.load(id)
        assert isinstance(truth, Tensor)
        return truth.clamp(max=1)

    maps = MapAnnotations(load_map, range(len(annotations)))
    target = PixelClasses(names=("ground", "solid"), counts=maps.counts(data.splits["train"], 2))
    return dataclasses.replace(data, annotations=maps, spec=dataclasses.replace(data.spec, target=target))


def train_and_evaluate(arm: str, args: argparse.Namespace, seed: int) -> dict[str, float]:
    """Test mean IoU in each place, %."""
    data = solid_classes()
    with tempfile.TemporaryDirectory() as scratch:
        run = snellen.train(
            data,
            arm,
            out=Path(scratch, "run"),
            seed=seed,
            epochs=args.epochs,
            options=RunOptions(threads=args.threads, report=False),
        )
        assert isinstance(run.model, nn.Module)
        count = 2
        tables = {place: torch.zeros(count, count, dtype=torch.int64) for place in PLACES}
        with torch.inference_mode():
            for scene in data.scenes("test").in_order():
                assert isinstance(scene.truth, Tensor)
                predicted = apply_tiled(run.model.scores, scene.image[None])[0].argmax(0)  # type: ignore[operator]
                near = near_borders(scene.truth)
                for place, mask in zip(PLACES, (near | ~near, near, ~near), strict=True):
                    tables[place] += segmentation.confusion_matrix(scene.truth.where(mask, -1), predicted, count)
    return {place: 100 * float(segmentation.mean_iou(segmentation.class_counts(t))) for place, t in tables.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    work = "The same network with and without skip connections: mean IoU of solids and ground in shapes."
    head = {**result_header("skips", work, args.seeds, args.threads), "epochs": args.epochs, "near": NEAR}
    each: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for seed in range(args.seeds):
        for arm in ARMS:
            each[arm].append(train_and_evaluate(arm, args, seed))
            print(seed, arm, {place: round(value, 2) for place, value in each[arm][-1].items()}, flush=True)
    rows = []
    for place in PLACES:
        values = {arm: [result[place] for result in each[arm]] for arm in ARMS}
        better = [with_ - without for with_, without in zip(values["unet"], values["encoder-decoder"], strict=True)]
        rows.append({"place": place, "each": values, "better": sum(better) / len(better), "interval": interval(better)})
    (RESULTS / "skips.json").write_text(json.dumps({**head, "rows": rows}, indent=1, allow_nan=False) + "\n")
    for row in rows:
        print(f"{row['place']:12s} skips {row['better']:+.1f} ± {row['interval'] or 0:.1f} points of mean IoU")


if __name__ == "__main__":
    main()

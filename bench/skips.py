"""Skips (D2): a U-Net and the same network without its skips, on the built-in shapes, at borders and away from them.

    python bench/skips.py [--seeds 3] [--epochs 3] [--threads 1]

Each seed trains both to tell solids from the ground behind them, on the same pictures seen in the same order. Borders
are the pixels within 3 of one of the other class.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path

import torch
from accuracy import interval
from harness import RESULTS, about
from torch import Tensor, nn

import snellen
from snellen.api import RunOptions
from snellen.core.spec import PixelClasses
from snellen.data.annotations import Maps
from snellen.data.dataset import Dataset, Labelled
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset
from snellen.metrics import segmentation
from snellen.nn.tiling import tiled

NEAR = 3  # pixels
ARMS = ("encoder-decoder", "unet")
PLACES = ("everywhere", "at borders", "elsewhere")


def borders(truth: Tensor) -> Tensor:
    """(H, W) bool: another class lies within `NEAR` pixels, along rows, columns and diagonals."""
    side = 2 * NEAR + 1
    wide = nn.functional.pad(truth[None, None].float(), (NEAR,) * 4, mode="replicate")
    highest = nn.functional.max_pool2d(wide, side, stride=1)
    lowest = -nn.functional.max_pool2d(-wide, side, stride=1)
    return (highest != lowest)[0, 0]


def solids() -> Dataset[Labelled]:
    """The built-in shapes with two classes: the ground and any solid."""
    data = dataset("shapes", seed=0, options=OpenOptions(target=("pixels",)))
    told = data.annotations
    assert told is not None

    def two(id: int) -> Tensor:
        truth = told.of(id)
        assert isinstance(truth, Tensor)
        return truth.clamp(max=1)

    maps = Maps(two, range(len(told)))
    target = PixelClasses(names=("ground", "solid"), counts=maps.counts(data.splits["train"], 2))
    return dataclasses.replace(data, annotations=maps, spec=dataclasses.replace(data.spec, target=target))


def learned(arm: str, given: argparse.Namespace, seed: int) -> dict[str, float]:
    """Test mean IoU in each place, %."""
    data = solids()
    with tempfile.TemporaryDirectory() as scratch:
        run = snellen.train(
            data,
            arm,
            out=Path(scratch, "run"),
            seed=seed,
            epochs=given.epochs,
            options=RunOptions(threads=given.threads, report=False),
        )
        assert isinstance(run.model, nn.Module)
        count = 2
        tables = {place: torch.zeros(count, count, dtype=torch.int64) for place in PLACES}
        with torch.inference_mode():
            for scene in data.scenes("test").in_order():
                assert isinstance(scene.truth, Tensor)
                said = tiled(run.model.scores, scene.image[None])[0].argmax(0)  # type: ignore[operator]
                near = borders(scene.truth)
                for place, counted in zip(PLACES, (near | ~near, near, ~near), strict=True):
                    tables[place] += segmentation.confusion(scene.truth.where(counted, -1), said, count)
    return {place: 100 * float(segmentation.mean_iou(segmentation.sums(t))) for place, t in tables.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    what = "The same network with and without skips: solids of shapes against the ground, mean IoU."
    head = {**about("skips", what, given.seeds, given.threads), "epochs": given.epochs, "near": NEAR}
    each: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for seed in range(given.seeds):
        for arm in ARMS:
            each[arm].append(learned(arm, given, seed))
            print(seed, arm, {place: round(value, 2) for place, value in each[arm][-1].items()}, flush=True)
    rows = []
    for place in PLACES:
        values = {arm: [found[place] for found in each[arm]] for arm in ARMS}
        better = [with_ - without for with_, without in zip(values["unet"], values["encoder-decoder"], strict=True)]
        rows.append({"place": place, "each": values, "better": sum(better) / len(better), "interval": interval(better)})
    (RESULTS / "skips.json").write_text(json.dumps({**head, "rows": rows}, indent=1, allow_nan=False) + "\n")
    for row in rows:
        print(f"{row['place']:12s} skips {row['better']:+.1f} ± {row['interval'] or 0:.1f} points of mean IoU")


if __name__ == "__main__":
    main()

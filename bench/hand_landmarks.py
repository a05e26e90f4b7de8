"""Hand gestures: runs of Snellen beside the best of scikit-learn on the same splits.

    python bench/hand_landmarks.py RUN [RUN ...] [--out bench/results/hand_landmarks.json]

Each RUN was trained on poses or trajectories of the hand-landmarks data (docs/guide/sequences.md has the commands).
The scikit-learn models read the same numbers as one standardised row; each is fitted for all values of a grid, chosen
by the accuracy on the validation split, and measured once on the test split. Differences are paired: the 95 % interval
is that of a bootstrap over blocks of consecutive test rows, as rows of one recording are alike.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import snellen

GRIDS: dict[str, tuple[Any, dict[str, list[Any]]]] = {
    "SVC": (SVC, {"C": [1, 10, 100], "gamma": [0.003, 0.01, 0.03, 0.1]}),
    "kNN": (KNeighborsClassifier, {"n_neighbors": [1, 3, 5, 10], "weights": ["uniform", "distance"]}),
    "random forest": (RandomForestClassifier, {"n_estimators": [300], "min_samples_leaf": [1, 3], "random_state": [0]}),
    "HistGradientBoosting": (
        HistGradientBoostingClassifier,
        {"learning_rate": [0.1], "max_iter": [100], "random_state": [0]},
    ),
    "MLP": (
        MLPClassifier,
        {
            "hidden_layer_sizes": [(100,), (128, 64)],
            "alpha": [1e-4, 1e-2],
            "early_stopping": [True],
            "random_state": [0],
        },
    ),
}
RESAMPLES = 2000


def split_arrays(data: Any, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n, D) and classes (n,) of a split."""
    samples = data.samples(split)
    batch = samples.take(torch.arange(len(samples)))
    return batch.x.flatten(1).double().numpy(), batch.y.numpy()


def blocks_of(ids: np.ndarray) -> np.ndarray:
    """Block of each test sample: consecutive rows of the file are one block."""
    return np.concatenate([[0], np.cumsum(np.diff(ids) > 1)])


def interval(values: np.ndarray, blocks: np.ndarray) -> list[float]:
    """95 % interval of the mean of values, by a bootstrap over blocks."""
    rng = np.random.default_rng(0)
    sums, sizes = np.bincount(blocks, values), np.bincount(blocks)
    drawn = rng.integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    return [float(x) for x in np.quantile(means, [0.025, 0.975])]


def best_of_grid(name: str, parts: dict[str, tuple[np.ndarray, np.ndarray]]) -> tuple[dict[str, Any], np.ndarray]:
    """The chosen settings with their accuracies, and which test samples are right."""
    make, grid = GRIDS[name]
    scaler = StandardScaler().fit(parts["train"][0])
    rows = {split: scaler.transform(x) for split, (x, _) in parts.items()}
    started, best = time.monotonic(), None
    for values in itertools.product(*grid.values()):
        settings = dict(zip(grid, values, strict=True))
        model = make(**settings).fit(rows["train"], parts["train"][1])
        score = float((model.predict(rows["val"]) == parts["val"][1]).mean())
        if best is None or score > best[0]:
            best = (score, settings, model)
    assert best is not None
    right = best[2].predict(rows["test"]) == parts["test"][1]
    seconds = round(time.monotonic() - started, 1)
    chosen = {k: v for k, v in best[1].items() if k != "random_state"}
    return {"settings": chosen, "validation": best[0], "test": float(right.mean()), "seconds": seconds}, right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--out", default="bench/results/hand_landmarks.json")
    args = parser.parse_args()
    results: dict[str, Any] = {}
    known: dict[str, Any] = {}
    for folder in args.runs:
        run = snellen.load(folder)
        data = run.data
        key = json.dumps([run.record.data["data"], run.record.data["options"]], sort_keys=True)
        if key not in known:
            parts = {split: split_arrays(data, split) for split in ("train", "val", "test")}
            known[key] = parts, {name: best_of_grid(name, parts) for name in GRIDS}
        parts, peers = known[key]
        blocks = blocks_of(data.splits["test"].numpy())
        x = data.samples("test").take(torch.arange(len(blocks))).x
        with torch.inference_mode():
            right = run.model.eval().scores(x).argmax(1).numpy() == parts["test"][1]
        winner = max(peers, key=lambda name: peers[name][0]["validation"])
        difference = right.astype(float) - peers[winner][1]
        results[Path(folder).name] = {
            "model": run.record.learner,
            "data": Path(run.record.data["data"]).name,
            "test samples": len(blocks),
            "test blocks": int(blocks[-1]) + 1,
            "test": float(right.mean()),
            "interval over blocks": interval(right.astype(float), blocks),
            "scikit-learn": {name: one for name, (one, _) in peers.items()},
            "best of scikit-learn on validation": winner,
            "difference": float(difference.mean()),
            "difference, interval over blocks": interval(difference, blocks),
        }
    text = {
        "command": "python bench/hand_landmarks.py " + " ".join(Path(one).name for one in args.runs),
        "hardware": f"{platform.machine()}, one CPU core, shared with other work",
        "python": sys.version.split()[0],
        "runs": results,
    }
    Path(args.out).write_text(json.dumps(text, indent=1) + "\n")
    print(json.dumps(text, indent=1))


if __name__ == "__main__":
    main()

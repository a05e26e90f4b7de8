"""Programs that choose a model by themselves, beside the ladder: AutoGluon on tables, Ultralytics' smallest detector.

    python bench/ladder_peers.py NAME MANIFEST OUT --seconds 180 [--seed 0]

Each has the time of one ladder with one thread, and stores its predictions of the test split as a script does. Neither
needs a download: YOLO is trained from random weights. Ultralytics (AGPL-3.0) is run as a program of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ladder_problem import Problem
from PIL import Image

STARTUP = 10.0  # seconds of a budget that are left for start-up and predictions


def autogluon(problem: Problem, out: Path, seconds: float) -> Any:
    """Test predictions of AutoGluon's default preset: (N, K) probabilities, or (N,) numbers."""
    import pandas as pd
    from autogluon.tabular import TabularPredictor

    tables = {}
    for split in ("train", "val", "test"):
        tables[split] = pd.DataFrame(problem.rows(split)).add_prefix("x")
        tables[split]["target"] = problem.targets(split)
    is_numbers = problem.kind == "numbers"
    predictor = TabularPredictor(
        "target",
        problem_type="regression" if is_numbers else "multiclass",
        eval_metric="mean_absolute_error" if is_numbers else "accuracy",
        path=str(out / "model"),
        verbosity=1,
    )
    limit = max(seconds - STARTUP, 1.0)
    predictor.fit(tables["train"], tuning_data=tables["val"], time_limit=limit, num_cpus=1, num_gpus=0)
    test = tables["test"].drop(columns="target")
    if is_numbers:
        return predictor.predict(test).to_numpy()
    return predictor.predict_proba(test)[list(range(problem.classes))].to_numpy()


def ultralytics(problem: Problem, out: Path, seconds: float) -> Any:
    """Detections of YOLO11n, trained from random weights for as long as the budget allows."""
    sizes = {}
    for split in ("train", "val", "test"):
        for kind in ("images", "labels"):
            (out / "data" / kind / split).mkdir(parents=True, exist_ok=True)
        for k, (image, objects) in enumerate(problem.scenes(split)):
            height, width = image.shape[:2]
            sizes[split, k] = np.array([width, height, width, height])
            Image.fromarray(image).save(out / "data" / "images" / split / f"{k:05d}.png")
            left, top, right, bottom = (objects["boxes"] / sizes[split, k]).T
            rows = np.stack([objects["labels"], (left + right) / 2, (top + bottom) / 2, right - left, bottom - top], 1)
            lines = [f"{int(row[0])} " + " ".join(f"{x:.6f}" for x in row[1:]) for row in rows]
            (out / "data" / "labels" / split / f"{k:05d}.txt").write_text("\n".join(lines))
    names = "".join(f"  {k}: class{k}\n" for k in range(problem.classes))
    (out / "data.yaml").write_text(f"path: {out / 'data'}\ntrain: images/train\nval: images/val\nnames:\n{names}")
    common = ["device=cpu", f"project={out}", "exist_ok=True", "verbose=False"]
    hours = max(seconds - 2 * STARTUP, 1.0) / 3600
    train = [f"data={out / 'data.yaml'}", "model=yolo11n.yaml", f"time={hours}", "imgsz=320", "workers=0"]
    yolo(["detect", "train", *train, "plots=False", "name=train", f"seed={problem.seed}", *common])
    detected: dict[str, np.ndarray] = {}
    for split in ("val", "test"):
        options = [f"model={out / 'train' / 'weights' / 'best.pt'}", f"source={out / 'data' / 'images' / split}"]
        options += ["imgsz=320", "conf=0.01", "save=False", "save_txt=True", "save_conf=True", f"name={split}"]
        yolo(["detect", "predict", *options, *common])
        boxes, scores, labels, counts = [], [], [], []
        for k in range(len([s for s, _ in sizes if s == split])):
            file = out / split / "labels" / f"{k:05d}.txt"
            rows = np.loadtxt(file, ndmin=2) if file.exists() else np.zeros((0, 6))
            x, y, w, h = rows[:, 1:5].T
            boxes.append((np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1) * sizes[split, k]).astype("f4"))
            scores.append(rows[:, 5].astype("f4"))
            labels.append(rows[:, 0].astype("i8"))
            counts.append(len(rows))
        detected |= {
            f"{split}_boxes": np.concatenate(boxes),
            f"{split}_scores": np.concatenate(scores),
            f"{split}_labels": np.concatenate(labels),
            f"{split}_counts": np.array(counts),
        }
    return detected


def yolo(arguments: list[str]) -> None:
    subprocess.run([Path(sys.executable).with_name("yolo"), *arguments], check=True)


PEERS: dict[str, Callable[[Problem, Path, float], Any]] = {"autogluon": autogluon, "ultralytics": ultralytics}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    test = PEERS[args.name](Problem(args.manifest, args.seed), args.out.resolve(), args.seconds)
    if isinstance(test, dict):
        file = "test.npz"
        np.savez_compressed(args.out / file, **test)
    else:
        file = "test.npy"
        np.save(args.out / file, test)
    (args.out / "result.json").write_text(json.dumps({"file": file, "wall": time.monotonic() - started}))


if __name__ == "__main__":
    main()

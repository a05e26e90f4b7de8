"""Our learners beside plain PyTorch scripts of the same network and schedule: test accuracy over seeds.

    python bench/accuracy.py [--learners softmax,mlp,lenet,resnet18] [--seeds 3] [--threads 1]

Reads MNIST and cifar10-subset under $SNELLEN_DATA. Every training is a process of its own, ours and plain in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness import HERE, RESULTS, about

APART = {"softmax": 0.3, "mlp": 0.3, "lenet": 0.3, "resnet18": 1.0}  # points that ours may lie below

OURS = """
import json, sys, time
from snellen import api
name, data, seed, threads, folder = sys.argv[1:]
run = api.train(data, name, out=folder, seed=int(seed), options=api.RunOptions(threads=int(threads)))
print(json.dumps({"accuracy": 100 * run.metrics["accuracy"].value, "cpu": time.process_time()}))
"""


def once(*command: str) -> dict[str, float]:
    path = os.pathsep.join(filter(None, [str(HERE.parent / "src"), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
    )
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stderr}")
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def ours(name: str, seed: int, threads: int) -> dict[str, float]:
    data = "mnist" if name != "resnet18" else str(Path(os.environ["SNELLEN_DATA"], "cifar10-subset"))
    with tempfile.TemporaryDirectory() as folder:
        return once("-c", OURS, name, data, str(seed), str(threads), str(Path(folder, "run")))


def plain(name: str, seed: int, threads: int) -> dict[str, float]:
    rest = ["--seed", str(seed), "--threads", str(threads)]
    if name == "resnet18":
        data = str(Path(os.environ["SNELLEN_DATA"], "cifar10-subset"))
        return once(str(HERE / "reference" / "resnet18.py"), data, *rest)
    return once(str(HERE / "reference" / "mnist.py"), name, *rest)


def interval(values: list[float]) -> float | None:
    """Half of the 95 % interval of the mean over seeds (Student's t)."""
    if len(values) < 2:
        return None
    from scipy.stats import t

    return float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5


def compared(name: str, seeds: int, threads: int) -> dict[str, Any]:
    here, there = [], []
    for seed in range(seeds):
        here.append(ours(name, seed, threads))
        there.append(plain(name, seed, threads))
        print(
            f"  {name} seed {seed}: ours {here[-1]['accuracy']:.2f} %, plain {there[-1]['accuracy']:.2f} %",
            file=sys.stderr,
            flush=True,
        )
    row: dict[str, Any] = {"name": name, "seeds": seeds, "allowed": APART[name]}
    for who, said in (("ours", here), ("plain", there)):
        accuracies = [s["accuracy"] for s in said]
        row[who] = {
            "accuracy": statistics.fmean(accuracies),
            "interval": interval(accuracies),
            "each": accuracies,
            "cpu": statistics.median(s["cpu"] for s in said),
        }
    row["apart"] = row["ours"]["accuracy"] - row["plain"]["accuracy"]
    row["reached"] = row["apart"] >= -APART[name]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--learners", default=",".join(APART))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    path = RESULTS / "accuracy.json"
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    asked = given.learners.split(",")
    head = about("accuracy", "Test accuracy of our learners and of plain scripts.", given.seeds, given.threads)
    rows = [row for row in before if row["name"] not in asked]
    for name in asked:
        row = compared(name, given.seeds, given.threads)
        rows.append({**row, "commit": head["commit"], "date": head["date"]})
        rows.sort(key=lambda row: list(APART).index(row["name"]))
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps({**head, "rows": rows}, indent=1, allow_nan=False) + "\n")
    for row in rows:
        verdict = "reached" if row["reached"] else "MISSED"
        print(
            f"{row['name']:10s} ours {row['ours']['accuracy']:.2f} %  plain {row['plain']['accuracy']:.2f} %  "
            f"apart {row['apart']:+.2f}, allowed -{row['allowed']}: {verdict}"
        )
    print(f"worst difference: {min(row['apart'] for row in rows):+.2f} points")


if __name__ == "__main__":
    main()

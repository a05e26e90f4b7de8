"""Test accuracy of our learners and of plain PyTorch scripts with the same network and schedule, over seeds.

    python bench/accuracy.py [--learners softmax,mlp,lenet,resnet18] [--seeds 3] [--threads 1]

Reads MNIST and cifar10-subset under $SNELLEN_DATA. Each training is a separate process, ours and plain alternating.
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

from harness import HERE, RESULTS, result_header

MEASURED = ("commit", "date", "command", "hardware", "rounds", "threads")  # of each row: rows of several runs are kept
MAX_DEFICIT = {"softmax": 0.3, "mlp": 0.3, "lenet": 0.3, "resnet18": 1.0}  # allowed deficit of ours, points

OURS = """
import json, sys, time
from snellen import api
name, data, seed, threads, folder = sys.argv[1:]
run = api.train(data, name, out=folder, seed=int(seed), options=api.RunOptions(threads=int(threads)))
print(json.dumps({"accuracy": 100 * run.metrics["accuracy"].value, "cpu": time.process_time()}))
"""


def run_script(*command: str) -> dict[str, float]:
    path = os.pathsep.join(filter(None, [str(HERE.parent / "src"), os.environ.get("PYTHONPATH", "")]))
    process = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
    )
    if process.returncode:
        raise SystemExit(f"{command[0]} failed:\n{process.stderr}")
    output: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return output


def ours(name: str, seed: int, threads: int) -> dict[str, float]:
    data = "mnist" if name != "resnet18" else str(Path(os.environ["SNELLEN_DATA"], "cifar10-subset"))
    with tempfile.TemporaryDirectory() as folder:
        return run_script("-c", OURS, name, data, str(seed), str(threads), str(Path(folder, "run")))


def plain(name: str, seed: int, threads: int) -> dict[str, float]:
    rest = ["--seed", str(seed), "--threads", str(threads)]
    if name == "resnet18":
        data = str(Path(os.environ["SNELLEN_DATA"], "cifar10-subset"))
        return run_script(str(HERE / "reference" / "resnet18.py"), data, *rest)
    return run_script(str(HERE / "reference" / "mnist.py"), name, *rest)


def interval(values: list[float]) -> float | None:
    """Half of the 95 % interval of the mean over seeds (Student's t)."""
    if len(values) < 2:
        return None
    from scipy.stats import t

    return float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5


def compare_accuracy(name: str, seeds: int, threads: int) -> dict[str, Any]:
    our_results, plain_results = [], []
    for seed in range(seeds):
        our_results.append(ours(name, seed, threads))
        plain_results.append(plain(name, seed, threads))
        print(
            f"  {name} seed {seed}: ours {our_results[-1]['accuracy']:.2f} %, "
            f"plain {plain_results[-1]['accuracy']:.2f} %",
            file=sys.stderr,
            flush=True,
        )
    row: dict[str, Any] = {"name": name, "seeds": seeds, "allowed": MAX_DEFICIT[name]}
    for source, source_results in (("ours", our_results), ("plain", plain_results)):
        accuracies = [s["accuracy"] for s in source_results]
        row[source] = {
            "accuracy": statistics.fmean(accuracies),
            "interval": interval(accuracies),
            "each": accuracies,
            "cpu": statistics.median(s["cpu"] for s in source_results),
        }
    row["apart"] = row["ours"]["accuracy"] - row["plain"]["accuracy"]
    row["reached"] = row["apart"] >= -MAX_DEFICIT[name]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--learners", default=",".join(MAX_DEFICIT))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    path = RESULTS / "accuracy.json"
    earlier_rows = json.loads(path.read_text())["rows"] if path.exists() else []
    asked = args.learners.split(",")
    head = result_header("accuracy", "Test accuracy of our learners and of plain scripts.", args.seeds, args.threads)
    rows = [row for row in earlier_rows if row["name"] not in asked]
    for name in asked:
        row = compare_accuracy(name, args.seeds, args.threads)
        rows.append({**row, **{key: head[key] for key in MEASURED}})
        rows.sort(key=lambda row: list(MAX_DEFICIT).index(row["name"]))
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps({**head, "rows": rows}, indent=1, allow_nan=False) + "\n")
    for row in rows:
        verdict = "reached" if row["reached"] else "MISSED"
        print(
            f"{row['name']:10s} ours {row['ours']['accuracy']:.2f} %  plain {row['plain']['accuracy']:.2f} %  "
            f"difference {row['apart']:+.2f}, allowed -{row['allowed']}: {verdict}"
        )
    print(f"worst difference: {min(row['apart'] for row in rows):+.2f} points")


if __name__ == "__main__":
    main()

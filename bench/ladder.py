"""S12: test score of the model that the ladder advises, beside plain scripts with the same CPU time.

    python bench/ladder.py [--sets clothing,mnist] [--minutes 1,3,10] [--seeds 3] [--work runs/bench-ladder]

Reads the public data sets under $SNELLEN_DATA, in the layout of their releases. The ladder is a process of its own with
one thread; its time is measured from prompt to prompt. The plain script of a budget is the best on the validation split
of all complete trainings that need no more CPU time. Both see the same splits. The verdict is that of `snellen
compare`: a paired test on the same test samples. Trainings of scripts are kept in the work folder and not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import HERE, RESULTS, result_header
from ladder_judge import judge, script_predictions, validation_score
from ladder_sets import SETS, BenchSet

from snellen.api import load
from snellen.core import file_io
from snellen.core.spec import Boxes, Classes, Numbers, PixelClasses
from snellen.data.dataset import SPLITS, Dataset
from snellen.data.open_dataset import dataset
from snellen.model_selection.paired_test import RunPredictions


def run_process(command: list[str], log: Path, cpu_limit: float | None = None) -> tuple[float, float]:
    """Run a command to its end; wall and CPU seconds. With a limit of CPU seconds it may be killed there."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE.parent / "src"), os.environ.get("PYTHONPATH")]))
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with log.open("w") as file:
        code = subprocess.run(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=None if cpu_limit is None else lambda: limit_cpu(cpu_limit),
        ).returncode
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if code and (cpu_limit is None or code not in (-signal.SIGXCPU, -signal.SIGKILL)):
        raise SystemExit(f"{' '.join(command)} ended with status {code}: see {log}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - started, cpu


def limit_cpu(seconds: float) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 5))


def write_manifest(bench_set: BenchSet, data: Dataset[Any], path: Path) -> None:
    """Write what a script needs: names of the files or the arrays, and the targets, of each split."""
    target = data.spec.target
    kind = {Classes: "classes", Numbers: "numbers", PixelClasses: "pixels", Boxes: "boxes"}[type(target)]
    arrays: dict[str, np.ndarray] = {}
    files: dict[str, list[str]] = {}
    is_files = hasattr(data.source, "root") and data.spec.modality == "image"
    for split in SPLITS:
        ids = data.splits[split]
        if kind == "boxes":
            arrays |= objects_of(data, split)
        elif kind == "pixels":
            arrays[f"{split}_y"] = np.stack([scene.truth.numpy() for scene in data.scenes(split).in_order()])
        else:
            arrays[f"{split}_y"] = data.truth[ids].numpy() if kind == "classes" else data.truth[ids].numpy()[:, 0]
        if is_files:
            files[split] = [data.name(int(i)) for i in ids]
        else:
            arrays[f"{split}_x"] = data.source.read(ids.numpy(), data.preprocessing).numpy()
    np.savez(path.with_suffix(".npz"), **arrays)
    plain = {
        "kind": kind,
        "classes": len(getattr(target, "names", ())),
        "flip": bench_set.flip,
        "root": str(data.source.root) if is_files else "",
        "files": files,
    }
    path.write_text(json.dumps(plain))


def objects_of(data: Dataset[Any], split: str) -> dict[str, np.ndarray]:
    """The objects of all images after one another, with their number in each; masks by image."""
    truths = [scene.truth for scene in data.scenes(split).in_order()]
    arrays = {
        f"{split}_boxes": torch.cat([truth.boxes for truth in truths]).numpy(),
        f"{split}_labels": torch.cat([truth.labels for truth in truths]).numpy(),
        f"{split}_counts": np.array([len(truth.labels) for truth in truths]),
    }
    for k, truth in enumerate(truths):
        if truth.masks is not None:
            arrays[f"{split}_masks_{k}"] = truth.masks.numpy()
    return arrays


def script_points(bench_set: BenchSet, manifest: Path, work: Path, seconds: float, seed: int) -> list[dict[str, Any]]:
    """All complete trainings of all scripts of a set, from the work folder if they are there."""
    points = []
    for name in bench_set.scripts:
        folder = work / f"script-{name}-{seed}"
        if not (folder / "done").exists():
            command = [sys.executable, str(HERE / "ladder_scripts.py"), name, str(manifest), str(folder)]
            command += ["--seconds", str(seconds), "--seed", str(seed)]
            run_process(command, work / f"{folder.name}.log", cpu_limit=2.5 * seconds)
            (folder / "done").touch()
        complete = folder / "points.json"  # missing if no training was complete within the limit
        for point in json.loads(complete.read_text()) if complete.exists() else []:
            points.append({**point, "script": name, "file": str(folder / point["file"])})
    return points


def peer_rows(
    bench_set: BenchSet, manifest: Path, work: Path, minutes: float, ours: RunPredictions, run: Any, data: Dataset[Any]
) -> list[dict[str, Any]]:
    """The verdict against each program that chooses a model by itself, with the time of the ladder."""
    rows = []
    for name in bench_set.peers:
        folder = work / f"peer-{name}-{minutes:g}m"
        if not (folder / "result.json").exists():
            command = [sys.executable, str(HERE / "ladder_peers.py"), name, str(manifest), str(folder)]
            run_process([*command, "--seconds", f"{60 * minutes:g}"], work / f"{folder.name}.log")
        result = json.loads((folder / "result.json").read_text())
        point = {"script": name, "file": str(folder / result["file"])}
        judged = judge(ours, script_predictions(ours, run, point, data))
        rows.append({"name": name, "wall": result["wall"], **judged})
    return rows


def measure(name: str, minutes: list[float], seed: int, data_folder: Path, work: Path) -> list[dict[str, Any]]:
    """Results of one set and seed, one for each budget."""
    bench_set, folder = SETS[name], work / name
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "data"
    if not (folder / "made").exists():
        made.mkdir(exist_ok=True)
        (folder / "made").write_text(str(bench_set.make(data_folder, made)))
    path = Path((folder / "made").read_text())
    data = dataset(path, seed=0)
    manifest = folder / "manifest.json"
    if not manifest.exists():
        write_manifest(bench_set, data, manifest)
    points = script_points(bench_set, manifest, folder, 60 * max(minutes), seed)
    results = []
    for budget in minutes:
        out = folder / f"ladder-{budget:g}m-{seed}"
        if not (out / "measured.json").exists():
            command = [sys.executable, "-m", "snellen", str(path), "--budget", f"{60 * budget:g}s", "--threads", "1"]
            wall, cpu = run_process([*command, "--seed", str(seed), "--out", str(out)], folder / f"{out.name}.log")
            (out / "measured.json").write_text(json.dumps({"wall": wall, "cpu": cpu}))
        measured = json.loads((out / "measured.json").read_text())
        finished = file_io.read_json(out / "ladder.json")["finished"]
        rung = next(r for r in finished["rungs"] if r["name"] == finished["advised"])
        run = load(rung["folder"], data=data)
        ours = RunPredictions(
            name="ours", learner=run.record.learner, task=run.task, spec=run.spec, predictions=run.predictions("test")
        )
        affordable = [point for point in points if point["seconds"] <= 60 * budget]
        row = {"set": name, "seed": seed, "minutes": budget, "advised": finished["advised"], **measured}
        headline = rung["headline"]
        scale, sign = (100.0 if headline["percent"] else 1.0), (1 if headline["higher_is_better"] else -1)
        tested = {r["name"]: r["headline"]["value"] for r in finished["rungs"] if r["status"] == "done"}
        best_model = max(tested, key=lambda name: sign * tested[name])
        row |= {"best_model": best_model, "best_value": scale * tested[best_model]}
        if affordable:
            if isinstance(run.spec.target, Boxes):
                for point in affordable:
                    point["value"] = validation_score(run, point, data)
            best = max(affordable, key=lambda point: point["value"])
            other = script_predictions(ours, run, best, data)
            row |= {"script": best["script"], "label": best["label"], "seconds": best["seconds"], **judge(ours, other)}
        else:
            row |= {"script": None, "verdict": "no script finished"}
        row["peers"] = peer_rows(bench_set, manifest, folder, budget, ours, run, data) if seed == 0 else []
        results.append(row)
        print(describe(row), flush=True)
    return results


def describe(row: dict[str, Any]) -> str:
    head = f"{row['set']:15s} {row['minutes']:4g} min seed {row['seed']}: {row['advised']:20s}"
    tail = f"{row['wall']:.0f} s, {row['cpu']:.0f} CPU s"
    if row["script"] is None:
        return f"{head} {row['verdict']} ({tail})"
    low, high = row["interval"]
    script = f"{row['script']} {row['label']} ({row['seconds']:.0f} CPU s) {row['script_value']:.4g}"
    return (
        f"{head} {row['ours']:.4g} | {script} | {row['difference']:+.3g} [{low:+.3g}, {high:+.3g}]: "
        f"{row['verdict']} ({tail})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, default=Path("runs", "bench-ladder"))
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--minutes", default="1,3,10")
    parser.add_argument("--seeds", type=int, default=1, help="of the sets that are repeated; the others have one")
    args = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / "ladder.json"
    minutes = [float(m) for m in args.minutes.split(",")]
    for name in args.sets.split(","):
        for seed in range(args.seeds if SETS[name].repeated else 1):
            rows = measure(name, minutes, seed, Path(os.environ["SNELLEN_DATA"]).resolve(), args.work.resolve())
            head = result_header("ladder", "The advised model beside plain scripts.", args.seeds, 1)
            stored = json.loads(path.read_text())["rows"] if path.exists() else []
            keys = {(row["set"], row["seed"], row["minutes"]) for row in rows}
            kept = [row for row in stored if (row["set"], row["seed"], row["minutes"]) not in keys]
            stamp = {"commit": head["commit"], "date": head["date"]}
            merged = kept + [{**row, **stamp} for row in rows]
            merged.sort(key=lambda row: (list(SETS).index(row["set"]), row["minutes"], row["seed"]))
            path.write_text(json.dumps({**head, "rows": merged}, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()

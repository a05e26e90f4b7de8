"""An output at every step: the MLP of a window against recurrent networks, causal and in both directions.

python bench/step_outputs.py RESULTS.json [FOLDER]

Data: the built-in `oscillators` (a class at every step), and "the last marked value" (a number at every step), which
is made here: x holds a value u, uniform in -1 ... 1, and a mark, 1 at 5 % of the steps; y is the value at the last
marked step so far, 0 before the first mark. A window of w steps contains no mark with a probability of 0.95^w.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

import snellen
from snellen.api import RunOptions

SEEDS = 3
MODELS = ("mlp", "rnn", "lstm", "gru")


def last_marked(file: Path) -> Path:
    """Write 600 sequences of 96 steps of "the last marked value"."""
    rng = np.random.default_rng(0)
    value, mark = rng.uniform(-1, 1, (600, 96)), rng.random((600, 96)) < 0.05
    last = np.maximum.accumulate(np.where(mark, np.arange(96), -1), axis=1)  # step of the last mark, -1: none yet
    y = np.where(last < 0, 0, np.take_along_axis(value, last.clip(0), 1))
    np.savez(file, x=np.stack([value, mark], 2).astype("float32"), y=y.astype("float32"))
    return file


def main(results: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    data = {"oscillators": "oscillators", "last": str(last_marked(folder / "last.npz"))}
    rows = json.loads(results.read_text()) if results.exists() else []
    done = {(r["data"], r["model"], r["causal"], r["seed"]) for r in rows}
    wanted = [(name, "baseline", None, 0) for name in data]
    wanted += [
        (name, model, causal, seed)
        for seed in range(SEEDS)
        for name in data
        for model in MODELS
        for causal in (True, False)
    ]
    for name, model, causal, seed in wanted:
        if (name, model, causal, seed) in done:
            continue
        out = folder / f"{name}-{model}-{causal}-{seed}"
        settings = {} if causal is None else {"causal": causal}
        start = time.process_time()
        run = snellen.train(
            data[name], model, seed=seed, out=out, options=RunOptions(threads=1, report=False), **settings
        )
        seconds = time.process_time() - start
        metrics = {name: [m.value, m.low, m.high] for name, m in run.metrics.items()}
        rows.append(
            {
                "data": name,
                "model": model,
                "causal": causal,
                "seed": seed,
                "metrics": metrics,
                "cpu_seconds": round(seconds, 1),
            }
        )
        results.write_text(json.dumps(rows, indent=1) + "\n")
        print(name, model, causal, seed, run.metrics[run.headline], f"{seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "runs/step-outputs"))

"""Forecasts of daily time series: Snellen's models beside ETS and gradient boosting on lags, on the same test windows.

    python bench/series.py [--seeds 3] [--peer-python PYTHON]

Series are the built-in `visits` of several seeds (ten years of days, horizon 28). All models have the same training,
validation and test windows, the same past, known columns and calendar. The table has the mean absolute error by
horizon and over all, with the mean absolute scaled error (MASE); intervals are over blocks of overlapping test windows.
PYTHON has scikit-learn and statsmodels (bench/requirements.txt).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from series_peers import PEERS

import snellen
from snellen.api import RunOptions
from snellen.data.dataset import Dataset, Labelled
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset
from snellen.data.recording_windows import RecordingWindows
from snellen.data.synthetic.visits import visits_table
from snellen.metrics import forecasting, scaled_errors
from snellen.tasks.forecast.naive_scale import naive_scale

HERE = Path(__file__).resolve().parent
MODELS = ("seasonal-naive", "linear-autoregression", "boosted-trees", "mlp")
HORIZONS = (1, 7, 14, 28)


def problem(data: Dataset[Labelled], seed: int) -> dict[str, Any]:
    """The input of the peers."""
    source, table = data.source, visits_table(seed)
    assert isinstance(source, RecordingWindows)
    days = [datetime.fromisoformat(text) for text in table.column("date")]
    numbers = {name: np.array([float(cell) for cell in table.column(name)]) for name in table.names[1:]}
    return {
        "y": numbers["visits"],
        "others": numbers["temperature"][:, None],
        "known": np.stack([numbers["holiday"], numbers["promotion"]], 1),
        "calendar": np.array([[day.weekday(), day.timetuple().tm_yday, 0] for day in days]),
        "season": 7,
        "window": source.window,
        "horizon": source.horizon,
        **{split: source.start[ids.numpy()] for split, ids in data.splits.items()},
    }


def measures(forecast: torch.Tensor, data: Dataset[Labelled]) -> dict[str, Any]:
    """Mean absolute errors of (N, H) forecasts of the test windows."""
    ids = data.splits["test"]
    source = data.source
    assert isinstance(source, RecordingWindows)
    error = forecast[..., None] - source.future(ids.numpy()).double()
    start = torch.from_numpy(source.start)[ids]
    block = forecasting.blocks(torch.zeros_like(start), start, source.window + source.horizon)
    whole = forecasting.mean_absolute_error(error, block)
    scaled = scaled_errors.mean_absolute_scaled_error(error, naive_scale(data, ids), block)
    by_horizon = {h: float(error[:, h - 1].abs().mean()) for h in HORIZONS}
    return {"mae": whole.value, "low": whole.low, "high": whole.high, "mase": scaled.value, "by_horizon": by_horizon}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--peer-python", default=os.environ.get("SNELLEN_BENCH_PYTHON", sys.executable))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "series.json")
    args = parser.parse_args()
    results: dict[str, list[dict[str, Any]]] = {}
    for seed in range(args.seeds):
        data = dataset("visits", seed=seed, options=OpenOptions(future=True))
        with tempfile.TemporaryDirectory() as folder:
            for name in MODELS:
                started = time.process_time()
                options = RunOptions(threads=1, report=False)
                run = snellen.train(data, name, out=f"{folder}/{name}", seed=seed, options=options)
                seconds = time.process_time() - started
                found = measures(run.predictions("test")["said"][..., 0], data)
                results.setdefault(name, []).append({**found, "seconds": seconds})
            np.savez(f"{folder}/in.npz", **problem(data, seed))
            for name in PEERS:
                command = [args.peer_python, str(HERE / "series_peers.py"), name, f"{folder}/in.npz", f"{folder}/o.npz"]
                subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
                out = np.load(f"{folder}/o.npz")
                found = measures(torch.from_numpy(out["test"]), data)
                results.setdefault(name, []).append({**found, "seconds": float(out["seconds"])})
        args.out.write_text(json.dumps({"horizons": HORIZONS, "results": results}, indent=1) + "\n")
    print("| Model | " + " | ".join(f"h = {h}" for h in HORIZONS) + " | all | MASE | CPU seconds |")
    print("|---" * (len(HORIZONS) + 4) + "|")
    for name, runs in results.items():
        cells = [np.mean([run["by_horizon"][h] for run in runs]) for h in HORIZONS]
        whole, scaled = ([run[key] for run in runs] for key in ("mae", "mase"))
        seconds = np.mean([run["seconds"] for run in runs])
        shown = " | ".join(f"{cell:.0f}" for cell in cells)
        print(f"| {name} | {shown} | {np.mean(whole):.0f} | {np.mean(scaled):.2f} | {seconds:.0f} |")


if __name__ == "__main__":
    main()

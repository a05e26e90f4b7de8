"""Peak memory of training on sequences: 10,000 ragged ones, with and without a very long one; a series of 1,000,000
steps and one of 100,000, with a horizon of 100 steps.

    python bench/sequence_memory.py

Each training runs in a process of its own, without evaluation and report. The output of an entry is the peak memory
less that after the imports, and the size of the data in megabytes.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import Bench, print_result, result_header, write_result

LONG = "ragged 10,000 and one of 100,000 steps"
CASES = ("ragged 10,000", f"{LONG}, bptt 200", LONG, "series of 100,000", "series of 1,000,000")
BENCH = Bench(
    name="sequence_memory",
    work="Training of a GRU on 10,000 sequences of 10 to 150 steps and 3 features, one epoch, and of a linear "
    "autoregression on a series with windows and horizons of 100 steps.",
    ours={},
    peers={},
    bars=[],
    same=lambda ours, peer: None,
)


def write_data(case: str, folder: Path) -> tuple[Path, int]:
    """The file of a case, and the bytes of its values."""
    rng = np.random.default_rng(0)
    if case.startswith("series"):
        count = 1_000_000 if case.endswith("1,000,000") else 100_000
        steps = np.arange(count)
        values = np.sin(steps / 20) + 0.3 * np.sin(steps / 300) + 0.1 * rng.normal(size=count)
        np.save(folder / "series.npy", values.astype(np.float32)[:, None])
        return folder / "series.npy", 4 * count
    lengths = rng.integers(10, 151, 10_000)
    if "one of" in case:
        lengths[5000] = 100_000
    x = rng.normal(size=(lengths.sum(), 3)).astype(np.float32)
    y = np.arange(len(lengths)) % 2
    np.savez(folder / "ragged.npz", x=x, y=y, lengths=lengths)
    return folder / "ragged.npz", x.nbytes


def train(case: str) -> None:
    """Train once and print seconds, processor seconds and memory."""
    import snellen
    from snellen.api import RunOptions
    from snellen.tasks import LEARNERS

    assert LEARNERS
    imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with tempfile.TemporaryDirectory() as name:
        path, size = write_data(case, Path(name))
        if case.startswith("series"):
            from snellen.data.formats import OpenOptions
            from snellen.data.open_dataset import dataset

            data: Any = dataset(path, options=OpenOptions(target=("future",), window=100, horizon=100))
            task, model, settings = "forecast", "linear-autoregression", dict[str, Any]()
        else:
            data, task, model, settings = str(path), None, "gru", {"epochs": 1}
            settings |= {"bptt": 200} if "bptt" in case else {}
        peaks = {}
        learner = LEARNERS[task or "classify"][model]
        fit = learner.fit

        def measured_fit(*arguments: Any) -> None:
            started, cpu = time.perf_counter(), time.process_time()
            fit(*arguments)
            peaks.update(seconds=time.perf_counter() - started, cpu=time.process_time() - cpu)
            peaks["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

        object.__setattr__(learner, "fit", measured_fit)
        options = RunOptions(threads=1, evaluate_test=False, report=False)
        snellen.train(data, learner, task=task, out=Path(name, "run"), options=options, **settings)
    print(json.dumps({**peaks, "above": (peaks["peak"] - imported) / 1e6, "size": size / 1e6}))


def main() -> None:
    if len(sys.argv) > 1:
        train(sys.argv[1])
        return
    entries = []
    for case in CASES:
        print(f"  {case}", file=sys.stderr, flush=True)
        done = subprocess.run([sys.executable, __file__, case], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        row = json.loads(done.stdout.splitlines()[-1])
        entries.append(
            {
                "name": case,
                **dict.fromkeys(("median", "min", "max"), row["seconds"]),
                "cpu": row["cpu"],
                "peak_bytes": row["peak"],
                "output": {"MB above the imports": row["above"], "MB of data": row["size"]},
                "share_of_limit": None,
                "versions": {},
            }
        )
    result = {
        **result_header(BENCH.name, BENCH.work, 1, 1),
        "unit": BENCH.unit,
        "entries": entries,
        "ratios": [],
        "bars": [],
    }
    write_result(BENCH, result)
    print_result(result, BENCH.unit)


if __name__ == "__main__":
    main()

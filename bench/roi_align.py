"""D8, N11 scaled down: Mask R-CNN with RoIAlign and with RoIPool, otherwise identical, with the same seeds.

    python bench/roi_align.py DATA [--seeds 3] [--epochs 6] [--min-size 128]

Prints mask AP on the test split of each seed, and the mean difference with its 95 % interval over seeds (Student's t);
writes results/roi_align.json.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from pathlib import Path

from harness import RESULTS, result_header
from scipy import stats

import snellen
from snellen.api import RunOptions


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--min-size", type=int, default=128)
    args = parser.parse_args()
    data = snellen.dataset(args.data)
    found: dict[str, list[dict[str, float]]] = {"roi-align": [], "roi-pool": []}
    started = time.monotonic()
    for seed in range(args.seeds):
        for pool, rows in found.items():
            with tempfile.TemporaryDirectory() as folder:
                run = snellen.train(
                    data,
                    "mask-rcnn",
                    out=Path(folder) / pool,
                    seed=seed,
                    roi_pooling=pool,
                    epochs=args.epochs,
                    min_size=args.min_size,
                    options=RunOptions(threads=1, report=False),
                )
                rows.append({name: metric.value for name, metric in run.metrics.items() if metric.value is not None})
            print(pool, seed, {name: round(value, 4) for name, value in rows[-1].items() if "AP" in name}, flush=True)
    headline = run.headline
    differences = [a[headline] - b[headline] for a, b in zip(found["roi-align"], found["roi-pool"], strict=True)]
    half_width = None
    if len(differences) > 1:
        half_width = (
            float(stats.t.ppf(0.975, len(differences) - 1))
            * statistics.stdev(differences)
            / math.sqrt(len(differences))
        )
    result = {
        **result_header("roi_align", "Mask R-CNN with RoIAlign and with RoIPool.", args.seeds, 1),
        "data": data.spec.name,
        "epochs": args.epochs,
        "min_size": args.min_size,
        "headline": headline,
        "difference": statistics.fmean(differences),
        "half_width": half_width,
        "each": differences,
        "metrics": found,
        "seconds": time.monotonic() - started,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "roi_align.json").write_text(json.dumps(result, indent=1) + "\n")
    print(
        f"{headline}: RoIAlign is {100 * result['difference']:.2f} points better than RoIPool, "
        f"± {'?' if half_width is None else f'{100 * half_width:.2f}'} (95 %, {args.seeds} seeds)"
    )


if __name__ == "__main__":
    main()

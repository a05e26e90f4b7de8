"""Time to open a folder of many tiny images, first and repeated.

    python bench/check_scale.py [--files 100000] [--classes 10] [--folder FOLDER]

The images are generated in a temporary folder (or in FOLDER, which is kept), with a separate file index. Each opening
runs in a separate process, so that only the index is cached. The results are printed last as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

OPEN = """
import resource, sys, time
from snellen.data.open_dataset import dataset
start, busy = time.perf_counter(), time.process_time()
data = dataset(sys.argv[1])
seconds, busy = time.perf_counter() - start, time.process_time() - busy
print(seconds, busy, len(data.source), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, sep="\\t")
for finding in data.findings:
    print(finding.severity, finding.message[:200], file=sys.stderr)
"""


def make(folder: Path, files: int, classes: int) -> None:
    """Write distinct 8 x 8 PNGs into class folders."""
    rng = np.random.default_rng(0)
    for k in range(classes):
        (folder / f"class{k}").mkdir(parents=True, exist_ok=True)
    for i in range(files):
        values = rng.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(values).save(folder / f"class{i % classes}" / f"{i:06d}.png", compress_level=0)


def open_folder(folder: Path, cache: Path) -> dict[str, float]:
    process = subprocess.run(
        [sys.executable, "-c", OPEN, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "SNELLEN_CACHE": str(cache)},
    )
    seconds, busy, samples, megabytes = process.stdout.split()
    print(
        f"{float(seconds):8.2f} s  {float(busy):.2f} s of CPU  {samples} samples  {megabytes} MiB peak\n"
        f"{process.stderr.strip()}"
    )
    return {"seconds": float(seconds), "cpu": float(busy), "samples": int(samples), "MiB": int(megabytes)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time to open a folder of many tiny images.")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--folder", type=Path, help="folder for the generated images, or an existing one")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary) / "data"
        if not folder.exists():
            make(folder, args.files, args.classes)
        cache = Path(temporary) / "cache"
        print(json.dumps({"first": open_folder(folder, cache), "again": open_folder(folder, cache)}))


if __name__ == "__main__":
    main()

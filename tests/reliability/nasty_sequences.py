"""Random damage to sequences, sound and motion: each opens, or ends with one line of cause and one of remedy.

    python tests/reliability/nasty_sequences.py --count 5000

Each case is a dataset of one format, damaged at random, opened with random options, with all its samples read; some are
trained by the command line. A case may take 30 seconds. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import random
import shutil
import signal
import struct
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.append(str(Path(__file__).parents[1]))

import motion_makers
import recordings

from snellen.cli.main import main as snellen
from snellen.core.errors import SnellenError
from snellen.core.spec import Preprocessing
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset

SECONDS = 30
Maker = Callable[[Path, random.Random], "tuple[Path, dict[str, Any]]"]
NAMES = ("a", "Zoë", "日本", "b c", "x.wav", "-n", "a'b\"c", "train2")


def walk(draw: random.Random, steps: int, features: int = 2) -> np.ndarray:
    values: np.ndarray = np.random.default_rng(draw.getrandbits(32)).normal(size=(steps, features)).cumsum(0)
    return values


def splits(draw: random.Random) -> list[str]:
    return draw.choice([[""], [""], ["train", "test"], ["train", "val", "test"]])


def text(values: np.ndarray, draw: random.Random, header: bool = True) -> str:
    lines = [",".join(f"{v:.6g}" for v in row) for row in values]
    if draw.random() < 0.4:
        lines = [f"{k * 0.02:.2f},{line}" for k, line in enumerate(lines)]
        return "\n".join(["time,x,y", *lines]) if header else "\n".join(lines)
    return "\n".join(["x,y", *lines] if header else lines)


def sequence_folder(root: Path, draw: random.Random) -> tuple[Path, dict[str, Any]]:
    is_text = draw.random() < 0.7
    steps = draw.choice([0, 0, 12])
    timed = draw.getrandbits(32)
    for split in splits(draw):
        for label in draw.sample(NAMES, 2):
            for k in range(4):
                path = root / split / label / f"p{k}_{k}.{'csv' if is_text else 'npy'}"
                path.parent.mkdir(parents=True, exist_ok=True)
                values = walk(draw, steps or draw.randint(1, 20))
                if is_text:
                    path.write_text(text(values, random.Random(timed)))
                else:
                    np.save(path, values)
    return root, {}


def audio_folder(root: Path, draw: random.Random) -> tuple[Path, dict[str, Any]]:
    for split in splits(draw):
        for frequency, label in zip((150, 400), draw.sample(NAMES, 2), strict=True):
            for k in range(4):
                values = recordings.tone(frequency, 0.05 + 0.01 * k, seed=draw.getrandbits(16))
                recordings.write(root / split / label / f"ann_{k}.wav", values)
    return root, {"sample_rate": draw.choice([None, None, 1000])}


def json_lines(root: Path, draw: random.Random) -> tuple[Path, dict[str, Any]]:
    rows = [
        {"x": walk(draw, draw.randint(1, 9)).round(4).tolist(), "label": "ab"[k % 2], "person": f"p{k % 4}"}
        for k in range(16)
    ]
    (root / "d.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return root / "d.jsonl", {"group": draw.choice([None, "person"])}


def table(root: Path, draw: random.Random) -> tuple[Path, dict[str, Any]]:
    rows = [
        f"{k},{t},{v:.5g},{'ab'[k % 2]}"
        for k in range(14)
        for t, (v,) in enumerate(walk(draw, draw.randint(2, 9), 1).tolist())
    ]
    (root / "d.csv").write_text("\n".join(["id,time,v,label", *rows]))
    return root / "d.csv", {"sequence_id": "id", "time": draw.choice([None, "time"]), "target": ("label",)}


def arrays(root: Path, draw: random.Random) -> tuple[Path, dict[str, Any]]:
    lengths = np.array([draw.randint(1, 9) for _ in range(16)])
    flat = walk(draw, int(lengths.sum()))
    padded = np.zeros((16, 9, 2))
    padded[np.arange(9) < lengths[:, None]] = flat
    content = {"x": draw.choice([flat, padded]), "lengths": lengths, "y": np.arange(16) % 2}
    kind = draw.randint(0, 9)
    if kind == 0:
        content["lengths"] = lengths - 1
    elif kind == 1:
        content["lengths"] = lengths[:-1]
    elif kind == 2:
        content["x"] = content["x"] * np.where(draw.random() < 0.5, np.nan, 1e200)
    elif kind == 3:
        content["lengths"] = lengths.astype(float)
    elif kind == 4:
        content["y"] = np.zeros(16)
    elif kind == 5:
        content["x"] = content["x"].astype(draw.choice(["complex64", "U8", "bool", "int64", "float16"]))
    elif kind == 6:
        content["x"] = np.full_like(content["x"], 3.0)
    np.savez(root / "d.npz", **content)
    return root / "d.npz", {}


def text_recordings(root: Path, draw: random.Random) -> tuple[Path, dict[str, Any]]:
    timed = draw.getrandbits(32)
    for split in splits(draw):
        for k in range(3):
            path = root / split / f"r{k}.csv"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text(walk(draw, draw.randint(30, 60)), random.Random(timed)))
    return root, _future(draw)


def one_series(root: Path, draw: random.Random) -> tuple[Path, dict[str, Any]]:
    (root / "d.csv").write_text(text(walk(draw, 120), draw))
    return root / "d.csv", _future(draw)


def acclaim(root: Path, draw: random.Random) -> tuple[Path, dict[str, Any]]:
    for k in range(3):
        motion_makers.write_amc(root / f"02_0{k}.amc", motion_makers.angles(70, k))
    (root / "02.asf").write_text(motion_makers.ASF)
    return root, {**_future(draw), "pose": draw.choice([None, "positions"])}


def bvh(root: Path, draw: random.Random) -> tuple[Path, dict[str, Any]]:
    for k in range(3):
        motion_makers.write_bvh(root / f"02_0{k}.bvh", motion_makers.angles(70, k)[:, :9])
    return root, {**_future(draw), "pose": draw.choice([None, "positions"])}


def exponential_maps(root: Path, draw: random.Random) -> tuple[Path, dict[str, Any]]:
    for k in range(3):
        motion_makers.write_cmu_text(root / "walk" / f"w_{k}.txt", 60, k)
    return root, _future(draw)


def _future(draw: random.Random) -> dict[str, Any]:
    return {"target": ("future",), "window": draw.choice([None, 3]), "horizon": draw.choice([None, 2])}


MAKERS: list[Maker] = [
    sequence_folder,
    audio_folder,
    json_lines,
    table,
    arrays,
    text_recordings,
    one_series,
    acclaim,
    bvh,
    exponential_maps,
]

Damage = Callable[[Path, random.Random], None]


def truncate(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content) + 1)])


def garble(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice([1, 3, 40])):
        if content:
            content[draw.randrange(len(content))] = draw.choice([0, 10, 44, 46, 45, 57, 255, draw.randrange(256)])
    path.write_bytes(content)


def replace(path: Path, draw: random.Random) -> None:
    content = [
        b"",
        b"\n\n\n",
        b"<!DOCTYPE html><html><body>404</body></html>\n" * 5,
        b"\x00" * 200,
        b"\xef\xbb\xbf" + path.read_bytes(),
        path.read_bytes().decode("latin-1").encode("utf-16"),
        b"\r".join(path.read_bytes().split(b"\n")),
        b"x,y\n",
        b"1,2\n",
        b"nan,nan\n" * 40,
        b"3,3\n" * 40,
        b"1e308,-1e308\n" * 40,
        b"1e400,1\n" * 40,
        b"1;2;3\n4;5;6\n" * 10,
        b"[" * 50_000,
        b'{"x": [[1, 2], [3]], "label": "a"}\n',
        b'{"x": [], "label": "a"}\n' * 3,
        b'{"x": [[1e999, NaN]], "label": null}\n' * 3,
        b"RIFF\xff\xff\xff\xffWAVE",
        b"," * 5000 + b"\n",
    ]
    path.write_bytes(draw.choice(content))


def spoil_line(path: Path, draw: random.Random) -> None:
    lines = path.read_bytes().split(b"\n")
    at = draw.randrange(len(lines))
    kind = draw.randint(0, 6)
    if kind == 0:
        lines[at] += draw.choice([b",9", b" 9", b",,,", b"}"])
    elif kind == 1:
        lines[at] = lines[draw.randrange(len(lines))]
    elif kind == 2:
        del lines[at]
    elif kind == 3:
        cells = lines[at].split(b",")
        cells[draw.randrange(len(cells))] = draw.choice([b"", b"nan", b"inf", b"1e309", b"x", b"0x1F", b"1_0", b"\xff"])
        lines[at] = b",".join(cells)
    elif kind == 4:
        lines.insert(at, draw.choice([b"", b"#", b"x,y", b"}", b"END", b"999", b"root 1 2 3"]))
    elif kind == 5:
        draw.shuffle(lines)
    else:
        words = lines[at].split(b" ")
        words[draw.randrange(len(words))] = draw.choice([b"elbow", b"-1", b"1e40", b"nan", b"{", b"7", b"CHANNELS"])
        lines[at] = b" ".join(words)
    path.write_bytes(b"\n".join(lines))


def other_kind(path: Path, draw: random.Random) -> None:
    """A directory, a link or nothing in place of the file."""
    path.unlink()
    kind = draw.randint(0, 5)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        path.symlink_to("nowhere")
    elif kind == 2:
        path.symlink_to(path.name)
    elif kind == 3:
        (path.parent / "loop").symlink_to(".") if not (path.parent / "loop").is_symlink() else None
    elif kind == 4:
        path.symlink_to("/dev/zero")


def add(path: Path, draw: random.Random) -> None:
    name = draw.choice(["README.md", ".DS_Store", "notes.docx", "labels.csv", "x.wav", "y.npy", "é\u0301.txt", "a.mp3"])
    if not (path.parent / name).exists():
        (path.parent / name).write_bytes(draw.choice([b"", b"x", path.read_bytes()[:100]]))


def wave(path: Path, draw: random.Random) -> None:
    """A WAV file with an odd header: no samples, no channels, wrong sizes, NaN, another rate or depth."""
    samples = draw.choice(
        [b"", b"\x01\x02" * 99, struct.pack("<99f", *[float("nan")] * 99), b"\xff\x7f" * 99, bytes(198)]
    )
    tag, bits = draw.choice([(1, 16), (1, 16), (3, 32), (1, 0), (1, 12), (7, 8), (0xFFFE, 16), (85, 16), (1, 24)])
    channels, rate = draw.choice([0, 1, 1, 2, 65535]), draw.choice([0, 2000, 2000, 4000, 1 << 31])
    block = channels * bits // 8
    head = struct.pack("<HHIIHH", tag, channels, rate, (rate * block) & 0xFFFFFFFF, block & 0xFFFF, bits)
    size = draw.choice([len(samples), len(samples), 0, 1 << 31, 0xFFFFFFFF, 7])
    chunks = b"fmt " + struct.pack("<I", draw.choice([16, 16, 16, 4, 1 << 30])) + head
    chunks += b"data" + struct.pack("<I", size) + samples
    path.write_bytes(b"RIFF" + struct.pack("<I", draw.choice([4 + len(chunks), 0, 0xFFFFFFFF])) + b"WAVE" + chunks)


def swap(path: Path, draw: random.Random) -> None:
    other = draw.choice(sorted(p for p in path.parent.iterdir() if p.is_file()))
    path.write_bytes(other.read_bytes())


def skeleton(path: Path, draw: random.Random) -> None:
    """Motion without its skeleton, with unknown bones, or with other numbers of channels."""
    folder = path.parent
    kind = draw.randint(0, 3)
    if kind == 0 and (folder / "02.asf").is_file():
        (folder / "02.asf").unlink()
    elif kind == 1:
        path.write_bytes(path.read_bytes().replace(b"lleg", b"elbow"))
    elif kind == 2:
        count = draw.choice([b"5", b"0", b"x"])
        path.write_bytes(path.read_bytes().replace(b"CHANNELS 3", b"CHANNELS " + count))
    else:
        path.write_bytes(path.read_bytes().replace(b"Frames:", b"Frames: 9"))


DAMAGES: list[Damage] = [truncate, garble, replace, spoil_line, spoil_line, spoil_line, other_kind, add, swap]

OWN_DAMAGES: dict[Maker, list[Damage]] = {audio_folder: [wave], acclaim: [skeleton], bvh: [skeleton]}


class Hang(BaseException):
    """A case took longer than SECONDS."""


def _alarm(*_: object) -> None:
    raise Hang


def case(root: Path, seed: int) -> str:
    """Run one case; returns its outcome, "maker: opened" or "maker: error ...". Raises AssertionError for a defect."""
    draw = random.Random(seed)
    maker = MAKERS[seed % len(MAKERS)]
    path, options = maker(root, draw)
    for _ in range(draw.choice([0, 1, 1, 1, 2, 3])):
        files = sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink())
        if not files:
            break
        damages = [*DAMAGES, *3 * OWN_DAMAGES.get(maker, [])]
        draw.choice(damages)(draw.choice(files), draw)
    quarantine = draw.random() < 0.4
    opened = OpenOptions(**options, quarantine=quarantine, allow_skipped=quarantine and draw.random() < 0.8)
    signal.signal(signal.SIGALRM, _alarm)
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            data = dataset(path, seed=seed, options=opened)
            ids = sorted(int(i) for split in data.splits.values() for i in split)
            x = data.source.read(np.array(ids), Preprocessing())
        assert len(x) == len(ids) > 0
        if isinstance(x, torch.Tensor) and x.is_floating_point():
            assert not torch.isinf(x).any()
        if data.files:
            total = sum(data.files.get(key, 0) for key in ("used", "set aside", "no data"))
            assert total == data.files["found"], dict(data.files)
        if draw.random() < 0.1:
            return f"{maker.__name__}: trained {command_line(path, root, options, maker, draw)}"
        return f"{maker.__name__}: opened"
    except SnellenError as error:
        check_message(error, root)
        return f"{maker.__name__}: {type(error).__name__}"
    finally:
        signal.alarm(0)


def check_message(error: SnellenError, root: Path) -> None:
    """Raise AssertionError unless an error has one line of cause, with the path, and one of remedy."""
    assert error.cause, "no cause"
    assert error.remedy, f"no remedy: {error.cause}"
    assert "\n" not in error.cause + error.remedy, error.cause
    assert str(root) in error.cause or error.cause.startswith(("--", "No column")), f"no path: {error.cause}"


def command_line(path: Path, root: Path, options: dict[str, Any], maker: Maker, draw: random.Random) -> int:
    """Train by the command line; returns the exit code, which is 0, or 2 or 3 with two lines of error."""
    line = ["train", str(path), "--out", str(root.parent / f"{root.name}-run"), "--model"]
    line += draw.choice([["baseline"], ["gru", "--epochs", "1"]]) if maker is not audio_folder else ["baseline"]
    for name, value in options.items():
        if name == "target" and value == ("future",):
            line += ["--task", "forecast"]
        elif value is not None:
            line += [f"--{name.replace('_', '-')}", ",".join(value) if isinstance(value, tuple) else str(value)]
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = snellen(line)
    written = errors.getvalue()
    assert "Traceback" not in written + output.getvalue(), written[-500:]
    assert code in (0, 2, 3), (code, written[-300:])
    assert code == 0 or written.strip(), line
    return code


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    outcomes: collections.Counter[str] = collections.Counter()
    defects: list[tuple[int, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.first, options.first + options.count):
            root = Path(folder) / str(seed)
            root.mkdir()
            try:
                outcomes[case(root, seed)] += 1
            except Hang:
                defects.append((seed, "hangs"))
            except Exception as error:
                traceback.print_exc(limit=-3)
                defects.append((seed, f"{type(error).__name__}: {error}"[:300]))
            shutil.rmtree(root, ignore_errors=True)
            shutil.rmtree(root.parent / f"{seed}-run", ignore_errors=True)
    report = {"cases": options.count, "outcomes": dict(sorted(outcomes.items())), "defects": defects}
    print(json.dumps(report, ensure_ascii=False))


if __name__ == "__main__":
    main()

"""Requests a second and their latency, beside LitServe: the same model, the same reading, one thread of torch each.

A server runs in a process of its own; the bench's process is the client. Times are seconds a request with 16 clients
at once (each sends its next request when the last is answered). `alone` is one client. CPU is the server's, with its
workers'; the client's is not counted. Each is sent the same pictures in its own way, and must answer the same.
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import functools
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import HERE, Bar, Bench, Options, Output, Round, main

CLIENTS = 16
REQUESTS = {"lenet": 800, "resnet18": 160}
ALONE = {"lenet": 200, "resnet18": 40}
SIDES = {"lenet": (28, 1), "resnet18": (224, 3)}  # pixels, channels


def trained(model: str, folder: Path) -> tuple[Path, list[bytes]]:
    """A run of one epoch on two dozen drawn pictures, and these pictures: what it learned does not matter here."""
    code = f"""
import numpy as np
from pathlib import Path
from PIL import Image
draw, side, channels = np.random.default_rng(0), *{SIDES[model]}
for name, low in (("dark", 0), ("light", 60)):
    Path({str(folder)!r}, "photos", name).mkdir(parents=True)
    for k in range(12):
        coarse = draw.integers(low, low + 190, (side // 4, side // 4, channels), dtype=np.uint8)
        picture = Image.fromarray(coarse.squeeze()).resize((side, side), Image.Resampling.BICUBIC)
        picture.save(Path({str(folder)!r}, "photos", name, f"{{k}}." + ("png" if channels == 1 else "jpg")))
"""
    words = [
        "train",
        str(folder / "photos"),
        "--model",
        model,
        "--epochs",
        "1",
        "--from-scratch",
        "--image-size",
        str(SIDES[model][0]),
        "--out",
        str(folder / "run"),
    ]
    for command in (["-c", code], ["-m", "snellen", *words]):
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return folder / "run", [path.read_bytes() for path in sorted((folder / "photos").rglob("*.*g"))]


def form(number: int, picture: bytes, port: int) -> bytes:
    """As curl -F sends it."""
    part = b'Content-Disposition: form-data; name="file"; filename="%d"\r\nContent-Type: image/png\r\n\r\n' % number
    body = b"--b0undary\r\n%b%b\r\n--b0undary--\r\n" % (part, picture)
    return message(body, b"multipart/form-data; boundary=b0undary", port)


def encoded(number: int, picture: bytes, port: int) -> bytes:
    """In JSON: LitServe hands an object to its worker, and a form's file cannot be handed on."""
    body = json.dumps({"name": str(number), "picture": base64.b64encode(picture).decode()}).encode()
    return message(body, b"application/json", port)


def message(body: bytes, kind: bytes, port: int) -> bytes:
    return b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        port,
        kind,
        len(body),
        body,
    )


async def client(port: int, requests: Iterator[bytes], took: list[float], said: dict[str, float]) -> None:
    """One connection: a request, its answer, the next."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for sent in requests:
        begun = time.perf_counter()
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        fields = dict(line.lower().split(b": ", 1) for line in head.splitlines()[1:] if line)
        body = await reader.readexactly(int(fields[b"content-length"]))
        took.append(time.perf_counter() - begun)
        (answer,) = json.loads(body)["answers"]
        said[answer["input"]] = max(answer["probabilities"].values())
    writer.close()


async def load(
    requests: list[bytes], port: int, clients: int, count: int
) -> tuple[float, list[float], dict[str, float]]:
    """Seconds in all, of each request, and what was said of each picture."""
    sent = iter([requests[k % len(requests)] for k in range(count)])
    took: list[float] = []
    said: dict[str, float] = {}
    begun = time.perf_counter()
    await asyncio.gather(*(client(port, sent, took, said) for _ in range(clients)))
    return time.perf_counter() - begun, took, said


def family(process: int) -> list[int]:
    """A process and those it began."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process, *(other for child in children for other in family(int(child)))]


def burnt(process: int) -> float:
    """Seconds of CPU of a process and those it began."""
    fields = [Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split() for each in family(process)]
    return sum(int(f[11]) + int(f[12]) for f in fields) / os.sysconf("SC_CLK_TCK")


def memory(process: int) -> int:
    """Bytes that only a process and those it began have, at this moment."""
    texts = [Path(f"/proc/{each}/smaps_rollup").read_text() for each in family(process)]
    return sum(int(line.split()[1]) << 10 for text in texts for line in text.splitlines() if line.startswith("Pss:"))


def served(
    model: str, command: Callable[[Path, int], list[str]], how: Callable[[int, bytes, int], bytes], options: Options
) -> Round:
    place = tempfile.TemporaryDirectory()
    run, pictures = trained(model, Path(place.name))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    requests = [how(number, picture, port) for number, picture in enumerate(pictures)]
    server = subprocess.Popen(
        command(run, port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    atexit.register(os.killpg, server.pid, signal.SIGKILL)
    until = time.monotonic() + 120
    while True:
        try:
            asyncio.run(load(requests, port, 1, 1))
            break
        except (OSError, AssertionError, asyncio.IncompleteReadError):
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the server does not answer") from None
            time.sleep(0.2)

    def once() -> Callable[[], Output]:
        _, alone, first = asyncio.run(load(requests, port, 1, ALONE[model]))
        before = burnt(server.pid)
        seconds, took, said = asyncio.run(load(requests, port, CLIENTS, REQUESTS[model]))
        cpu = burnt(server.pid) - before
        parts, few = statistics.quantiles(took, n=100), statistics.quantiles(alone, n=100)
        figures = {
            "seconds": seconds / REQUESTS[model],
            "cpu": cpu / REQUESTS[model],
            "peak": float(memory(server.pid)),
            "requests/s": REQUESTS[model] / seconds,
            "p50 ms": 1e3 * parts[49],
            "p99 ms": 1e3 * parts[98],
            "alone p50 ms": 1e3 * few[49],
            "alone p99 ms": 1e3 * few[98],
            "said": sum(said.values()),
            "said alone": sum(first.values()),
        }
        return lambda: figures

    once.kept = place, server  # type: ignore[attr-defined]
    return once


def ours(run: Path, port: int, *more: str) -> list[str]:
    return [sys.executable, "-m", "snellen", "serve", str(run), "--port", str(port), "--threads", "1", *more]


def batched(run: Path, port: int) -> list[str]:
    return ours(run, port, "--batch-size", "16")


def theirs(run: Path, port: int, *more: str) -> list[str]:
    return [sys.executable, str(HERE / "litserve_server.py"), str(run), str(port), *more]


def zmq(run: Path, port: int) -> list[str]:
    return theirs(run, port, "zmq")


def same(ours: Output, peer: Output) -> str | None:
    """Equal answers, to the last bits that a batch may change."""
    for name in ("said", "said alone"):
        if abs(ours[name] - peer[name]) > 1e-4:
            return f"{name} {ours[name]:.6f} and {peer[name]:.6f}"
    return None


BENCH = Bench(
    name="serving",
    work="Answering pictures over HTTP: LeNet (28x28 PNG) and ResNet-18 (224x224 JPEG), 16 clients.",
    ours={
        f"{model}: {name}": functools.partial(served, model, command, form)
        for model in SIDES
        for name, command in (("snellen", ours), ("snellen --batch 16", batched))
    },
    peers={
        f"{model}: {name}": functools.partial(served, model, command, encoded)
        for model in SIDES
        for name, command in (("litserve", theirs), ("litserve zmq", zmq))
    },
    bars=[Bar(ours=f"{model}: snellen", peer=f"{model}: litserve", most=1.0) for model in SIDES],
    same=same,
    unit="s a request",
)

if __name__ == "__main__":
    main(BENCH, __file__)

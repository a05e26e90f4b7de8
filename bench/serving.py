"""Throughput and latency of HTTP inference, compared with LitServe: same model, same preprocessing, one torch thread.

The server runs in a separate process; the process of the benchmark is the client. Times are seconds per request with 16
concurrent clients (each sends its next request after the response). `alone` is one client. CPU time is that of the
server and its workers, without the client. All servers get the same images and must return the same predictions.
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


def train_run(model: str, folder: Path) -> tuple[Path, list[bytes]]:
    """A run of one epoch on 24 generated images, and these images; its accuracy is irrelevant here."""
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
    arguments = [
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
    for command in (["-c", code], ["-m", "snellen", *arguments]):
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return folder / "run", [path.read_bytes() for path in sorted((folder / "photos").rglob("*.*g"))]


def form_request(number: int, image: bytes, port: int) -> bytes:
    """A multipart form request, as sent by curl -F."""
    part = b'Content-Disposition: form-data; name="file"; filename="%d"\r\nContent-Type: image/png\r\n\r\n' % number
    body = b"--b0undary\r\n%b%b\r\n--b0undary--\r\n" % (part, image)
    return message(body, b"multipart/form-data; boundary=b0undary", port)


def json_request(number: int, image: bytes, port: int) -> bytes:
    """A JSON request: LitServe pickles the request for its worker, which a form file does not support."""
    body = json.dumps({"name": str(number), "picture": base64.b64encode(image).decode()}).encode()
    return message(body, b"application/json", port)


def message(body: bytes, kind: bytes, port: int) -> bytes:
    return b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        port,
        kind,
        len(body),
        body,
    )


async def client(port: int, requests: Iterator[bytes], latencies: list[float], scores: dict[str, float]) -> None:
    """One connection that sends requests in sequence."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for request_iterator in requests:
        started = time.perf_counter()
        writer.write(request_iterator)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        fields = dict(line.lower().split(b": ", 1) for line in head.splitlines()[1:] if line)
        body = await reader.readexactly(int(fields[b"content-length"]))
        latencies.append(time.perf_counter() - started)
        (answer,) = json.loads(body)["answers"]
        scores[answer["input"]] = max(answer["probabilities"].values())
    writer.close()


async def load(
    requests: list[bytes], port: int, clients: int, count: int
) -> tuple[float, list[float], dict[str, float]]:
    """Total seconds, latency of each request, and the top probability for each image."""
    request_iterator = iter([requests[k % len(requests)] for k in range(count)])
    latencies: list[float] = []
    scores: dict[str, float] = {}
    started = time.perf_counter()
    await asyncio.gather(*(client(port, request_iterator, latencies, scores) for _ in range(clients)))
    return time.perf_counter() - started, latencies, scores


def process_tree(process: int) -> list[int]:
    """A process and its descendants."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process, *(other for child in children for other in process_tree(int(child)))]


def cpu_seconds(process: int) -> float:
    """CPU seconds of a process and its descendants."""
    fields = [Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split() for each in process_tree(process)]
    return sum(int(f[11]) + int(f[12]) for f in fields) / os.sysconf("SC_CLK_TCK")


def memory(process: int) -> int:
    """Proportional set size of a process and its descendants, bytes."""
    texts = [Path(f"/proc/{each}/smaps_rollup").read_text() for each in process_tree(process)]
    return sum(int(line.split()[1]) << 10 for text in texts for line in text.splitlines() if line.startswith("Pss:"))


def serve_round(
    model: str,
    command: Callable[[Path, int], list[str]],
    make_request: Callable[[int, bytes, int], bytes],
    options: Options,
) -> Round:
    workspace = tempfile.TemporaryDirectory()
    run, images = train_run(model, Path(workspace.name))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    requests = [make_request(number, image, port) for number, image in enumerate(images)]
    server = subprocess.Popen(
        command(run, port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    atexit.register(os.killpg, server.pid, signal.SIGKILL)
    deadline = time.monotonic() + 120
    while True:
        try:
            asyncio.run(load(requests, port, 1, 1))
            break
        except (OSError, AssertionError, asyncio.IncompleteReadError):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the server does not respond") from None
            time.sleep(0.2)

    def run_round() -> Callable[[], Output]:
        _, alone, alone_scores = asyncio.run(load(requests, port, 1, ALONE[model]))
        before = cpu_seconds(server.pid)
        seconds, latencies, scores = asyncio.run(load(requests, port, CLIENTS, REQUESTS[model]))
        cpu = cpu_seconds(server.pid) - before
        quantiles, alone_quantiles = statistics.quantiles(latencies, n=100), statistics.quantiles(alone, n=100)
        outputs = {
            "seconds": seconds / REQUESTS[model],
            "cpu": cpu / REQUESTS[model],
            "peak": float(memory(server.pid)),
            "requests/s": REQUESTS[model] / seconds,
            "p50 ms": 1e3 * quantiles[49],
            "p99 ms": 1e3 * quantiles[98],
            "alone p50 ms": 1e3 * alone_quantiles[49],
            "alone p99 ms": 1e3 * alone_quantiles[98],
            "said": sum(scores.values()),
            "said alone": sum(alone_scores.values()),
        }
        return lambda: outputs

    run_round.resources = workspace, server  # type: ignore[attr-defined]
    return run_round


def ours(run: Path, port: int, *more: str) -> list[str]:
    return [sys.executable, "-m", "snellen", "serve", str(run), "--port", str(port), "--threads", "1", *more]


def batched(run: Path, port: int) -> list[str]:
    return ours(run, port, "--batch-size", "16")


def theirs(run: Path, port: int, *more: str) -> list[str]:
    return [sys.executable, str(HERE / "litserve_server.py"), str(run), str(port), *more]


def zmq(run: Path, port: int) -> list[str]:
    return theirs(run, port, "zmq")


def same(ours: Output, peer: Output) -> str | None:
    """Equal probabilities, up to rounding differences between batch sizes."""
    for name in ("said", "said alone"):
        if abs(ours[name] - peer[name]) > 1e-4:
            return f"{name} {ours[name]:.6f} and {peer[name]:.6f}"
    return None


BENCH = Bench(
    name="serving",
    work="Image classification over HTTP: LeNet (28x28 PNG) and ResNet-18 (224x224 JPEG), 16 clients.",
    ours={
        f"{model}: {name}": functools.partial(serve_round, model, command, form_request)
        for model in SIDES
        for name, command in (("snellen", ours), ("snellen --batch-size 16", batched))
    },
    peers={
        f"{model}: {name}": functools.partial(serve_round, model, command, json_request)
        for model in SIDES
        for name, command in (("litserve", theirs), ("litserve zmq", zmq))
    },
    bars=[Bar(ours=f"{model}: snellen", peer=f"{model}: litserve", max_value=1.0) for model in SIDES],
    same=same,
    unit="s per request",
)

if __name__ == "__main__":
    main(BENCH, __file__)

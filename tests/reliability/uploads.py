"""R13, full test: malformed uploads, then more clients than the capacity of the server.

    python tests/reliability/uploads.py --uploads 10000 --seconds 60 --clients 64

One real server for images and one for tables, each in a separate process; cases follow from the seed, so that one of
them can be repeated (--only). No status above 499, no hang, constant memory; after each hundred a valid request gets
the same bytes. Above capacity: 429 or 503 with Retry-After, slow clients disconnected, the same bytes for valid ones.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import torch
from hostile import END, FORM, KINDS, ROWS, SLOW, Case, field, picture, request

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "serving"))
from process import Server, serving

from snellen.cli.main import main as snellen

TIMEOUT = 120  # seconds until a server counts as hung; it disconnects slow clients after 2
MAX_GROWTH = 64 << 20  # bytes of memory after the warm-up
GOOD = request(field(picture(random.Random(0), size=(64, 48))) + END, FORM)


def train_runs(folder: Path) -> None:
    """Train the runs `digits` and `rows`."""
    rows = "".join(f"{k},{'ab'[k % 2]},{2 * k + k % 2 + 0.5}\n" for k in range(60))
    (folder / "rows.csv").write_text(f"size,kind,height [mm]\n{rows}")
    for arguments in (
        ["digits", "--model", "softmax", "--epochs", "1", "--out", str(folder / "digits")],
        [str(folder / "rows.csv"), "--model", "least-squares", "--out", str(folder / "rows")],
    ):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            assert snellen(["train", *arguments]) == 0


def exchange(server: Server, case: Case) -> list[tuple[int, bytes, bytes]]:
    """Send a case; returns status, head and body of each response, one per request or until the end."""
    responses = []
    with socket.create_connection((server.host, int(server.port)), timeout=TIMEOUT) as connection:
        with contextlib.suppress(ConnectionError):  # the server has closed the connection
            for chunk in case.chunks:
                connection.sendall(chunk)
                time.sleep(case.pause)
            if case.half:
                connection.shutdown(socket.SHUT_WR)
        if case.leaves:
            return []
        with contextlib.suppress(ConnectionError), connection.makefile("rb") as stream:
            for _ in range(case.answers):
                head = read_head(stream)
                if not head.startswith(b"HTTP/1.1 "):
                    break
                fields = dict(line.lower().split(b": ", 1) for line in head.splitlines()[1:])
                length = fields.get(b"content-length")
                body = stream.read() if length is None else stream.read(int(length))
                responses.append((int(head[9:12]), head, body))
    return responses


def read_head(stream: BinaryIO) -> bytes:
    """Read up to the blank line, or to the end."""
    lines = []
    while (line := stream.readline(1 << 16)) not in (b"", b"\r\n"):
        lines.append(line)
    return b"".join(lines)


def check(case: Case, responses: list[tuple[int, bytes, bytes]]) -> str:
    """Check the responses to a case; returns the first status."""
    assert responses or case.silent, f"no response instead of one of {case.statuses}"
    for status, head, body in responses:
        assert status < 500, f"{status}: {body[:500]!r}"
        assert status in case.statuses, f"{status}, not one of {case.statuses}: {body[:500]!r}"
        if b"application/json" in head and b"content-length: 0" not in head:
            plain = json.loads(body)
            assert ("answers" in plain) == (status == 200)
            assert status == 200 or set(plain["error"]) == {"code", "cause", "remedy"}
        assert b"Traceback" not in body
    return str(responses[0][0]) if responses else "none"


class MonitoredServer:
    """Server with repeated checks of a valid response and of its memory."""

    def __init__(self, server: Server, good: bytes) -> None:
        self.server = server
        self.case = Case(chunks=(good,), statuses=(200,))
        ((status, _, self.expected),) = exchange(server, self.case)
        assert status == 200, self.expected
        self.memory: list[int] = []

    def check(self) -> None:
        """Compare the valid response with the first one, and record the memory."""
        ((status, _, body),) = exchange(self.server, self.case)
        assert (status, body) == (200, self.expected), (status, body)
        self.memory.append(self.server.memory())

    def growth(self, since: int = 0) -> int:
        """Largest growth of memory since a check, in bytes."""
        return max(self.memory[since:]) - self.memory[since]


def send_malformed(pictures: MonitoredServer, rows: MonitoredServer, options: argparse.Namespace) -> dict[str, object]:
    """Send the malformed uploads; returns counts of statuses by kind."""
    outcomes: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    slow: list[tuple[str, Case, Future[list[tuple[int, bytes, bytes]]]]] = []
    longest = 0.0
    with ThreadPoolExecutor(16) as pool:
        for number in range(options.uploads) if options.only is None else [options.only]:
            draw = random.Random(f"{options.seed} {number}")
            kind = draw.choice(KINDS)
            case = kind(draw)
            begun = time.monotonic()
            try:
                outcome = check(case, exchange((rows if case.rows else pictures).server, case))
            except BaseException:
                print(
                    f"case {number} of seed {options.seed}: {kind.__name__} {case.chunks[0][:2000]!r}", file=sys.stderr
                )
                raise
            outcomes[kind.__name__][outcome] += 1
            longest = max(longest, time.monotonic() - begun)
            if options.only is not None:
                print(kind.__name__, outcome, file=sys.stderr)
            if number % 50 == 25:
                slow_kind = draw.choice(SLOW)
                slow_case = slow_kind(draw)
                slow.append((slow_kind.__name__, slow_case, pool.submit(exchange, pictures.server, slow_case)))
            if number % 100 == 99:
                pictures.check()
                rows.check()
        for name, slow_case, future in slow:
            outcomes[name][check(slow_case, future.result())] += 1
    return {
        "uploads": options.uploads,
        "slow": len(slow),
        "longest": round(longest, 2),
        "outcomes": {name: dict(counts) for name, counts in sorted(outcomes.items())},
    }


def overload(monitored: MonitoredServer, options: argparse.Namespace) -> dict[str, object]:
    """Run more clients than the capacity of the server, some of them slow; returns counts of outcomes."""
    server, outcomes, errors = monitored.server, collections.Counter[str](), list[str]()
    until = time.monotonic() + options.seconds
    lock = threading.Lock()

    def fast_client() -> Iterator[str]:
        for status, head, body in exchange(server, monitored.case):
            if status == 200:
                assert body == monitored.expected
            else:
                assert status in (429, 503), (status, body)
                assert b"retry-after: 1" in head.lower()
            yield str(status)

    def slow_client() -> Iterator[str]:
        draw = random.Random(0)
        case = draw.choice(SLOW)(draw)
        responses = exchange(server, case)
        assert all(status in (408, 503) for status, _, _ in responses), responses
        yield "slow client cut"

    def client(act: Callable[[], Iterator[str]]) -> None:
        while time.monotonic() < until:
            try:
                results = list(act()) or ["closed"]
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}")
                return
            with lock:
                outcomes.update(results)

    threads = [
        threading.Thread(target=client, args=(slow_client if k < options.clients // 8 else fast_client,))
        for k in range(options.clients)
    ]
    for thread in threads:
        thread.start()
    memory = []
    while any(thread.is_alive() for thread in threads):
        memory.append(server.memory())
        time.sleep(0.2)
    assert not errors, errors[:3]
    assert outcomes["200"]
    assert outcomes["429"] + outcomes["503"], "never above capacity"
    assert outcomes["slow client cut"]
    warm = memory[min(len(memory) - 1, max(1, len(memory) // 10))]
    return {
        "clients": options.clients,
        "seconds": options.seconds,
        "outcomes": dict(outcomes),
        "grown": max(memory) - warm,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploads", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="run only the case with this number")
    parser.add_argument("--seconds", type=float, default=3, help="of overload")
    parser.add_argument("--clients", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        train_runs(folder)
        limits = ["--io-timeout", "2", "--timeout", "10"]
        pictures = MonitoredServer(
            stack.enter_context(serving(folder / "digits", *limits, "--max-bytes", str(1 << 20))), GOOD
        )
        rows = MonitoredServer(stack.enter_context(serving(folder / "rows", *limits)), request(ROWS, "text/csv"))
        result = send_malformed(pictures, rows, options)
        warm = len(pictures.memory) // 10
        if pictures.memory:
            result |= {
                "grown": pictures.growth(warm),
                "grown_rows": rows.growth(warm),
                "memory": [m >> 20 for m in pictures.memory[:: max(1, len(pictures.memory) // 20)]],
            }
        small = stack.enter_context(serving(folder / "digits", *limits, "--max-queue", "4"))
        large = request(field(picture(random.Random(1), "JPEG", (1500, 1500), "RGB")) + END, FORM)
        if options.only is None and options.seconds:
            result["crowd"] = overload(MonitoredServer(small, large), options)
        for server in (pictures.server, rows.server, small):
            code, output = server.stop()
            assert code == 143
            assert "Traceback" not in output, output
    print(json.dumps(result))
    growths = [result.get("grown", 0), result.get("grown_rows", 0)]
    assert max(growths) < MAX_GROWTH, "memory grows"


if __name__ == "__main__":
    main()

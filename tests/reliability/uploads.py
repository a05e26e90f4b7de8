"""R13, the whole of it: malformed uploads, then more clients than the server has room for.

    python tests/reliability/uploads.py --uploads 10000 --seconds 60 --clients 64

A real server for pictures and one for rows, each in a process of its own; cases are drawn from the seed, so that one of
them can be sent again (--only). No answer above 499, no hang, memory flat, a good request after each hundred answered
with the same bytes. Above capacity: 429 or 503 with Retry-After, slow clients cut, good answers the same bytes.
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

PATIENCE = 20  # seconds until a server is taken for hung: what is slow is cut after 2
ROOM = 64 << 20  # bytes that memory may grow after the warm-up
GOOD = request(field(picture(random.Random(0), size=(64, 48))) + END, FORM)


def trained(folder: Path) -> None:
    """The runs `digits` and `rows`."""
    rows = "".join(f"{k},{'ab'[k % 2]},{2 * k + k % 2 + 0.5}\n" for k in range(60))
    (folder / "rows.csv").write_text(f"size,kind,height [mm]\n{rows}")
    for words in (
        ["digits", "--model", "softmax", "--epochs", "1", "--out", str(folder / "digits")],
        [str(folder / "rows.csv"), "--model", "least-squares", "--out", str(folder / "rows")],
    ):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            assert snellen(["train", *words]) == 0


def exchange(server: Server, case: Case) -> list[tuple[int, bytes, bytes]]:
    """Sends a case; status, head and body of each answer, as many as there were requests or until the end."""
    answers = []
    with socket.create_connection((server.host, int(server.port)), timeout=PATIENCE) as wire:
        with contextlib.suppress(ConnectionError):  # the server has heard enough
            for chunk in case.chunks:
                wire.sendall(chunk)
                time.sleep(case.pause)
            if case.half:
                wire.shutdown(socket.SHUT_WR)
        if case.leaves:
            return []
        with contextlib.suppress(ConnectionError), wire.makefile("rb") as stream:
            for _ in range(case.answers):
                head = read_head(stream)
                if not head.startswith(b"HTTP/1.1 "):
                    break
                fields = dict(line.lower().split(b": ", 1) for line in head.splitlines()[1:])
                length = fields.get(b"content-length")
                body = stream.read() if length is None else stream.read(int(length))
                answers.append((int(head[9:12]), head, body))
    return answers


def read_head(stream: BinaryIO) -> bytes:
    """Up to the blank line, or to the end."""
    lines = []
    while (line := stream.readline(1 << 16)) not in (b"", b"\r\n"):
        lines.append(line)
    return b"".join(lines)


def look(case: Case, answers: list[tuple[int, bytes, bytes]]) -> str:
    """What came back, where it is right."""
    assert answers or case.silent, f"no answer, where one of {case.statuses} was due"
    for status, head, body in answers:
        assert status < 500, f"{status}: {body[:500]!r}"
        assert status in case.statuses, f"{status}, not one of {case.statuses}: {body[:500]!r}"
        if b"application/json" in head and b"content-length: 0" not in head:
            plain = json.loads(body)
            assert ("answers" in plain) == (status == 200)
            assert status == 200 or set(plain["error"]) == {"code", "cause", "remedy"}
        assert b"Traceback" not in body
    return str(answers[0][0]) if answers else "none"


class Watched:
    """A server whose good answer and whose memory are looked at again and again."""

    def __init__(self, server: Server, good: bytes) -> None:
        self.server = server
        self.case = Case(chunks=(good,), statuses=(200,))
        ((status, _, self.right),) = exchange(server, self.case)
        assert status == 200, self.right
        self.memory: list[int] = []

    def look(self) -> None:
        ((status, _, body),) = exchange(self.server, self.case)
        assert (status, body) == (200, self.right), (status, body)
        self.memory.append(self.server.memory())

    def grown(self, since: int = 0) -> int:
        """Bytes of memory more, at most, than at a look."""
        return max(self.memory[since:]) - self.memory[since]


def hostile(pictures: Watched, rows: Watched, asked: argparse.Namespace) -> dict[str, object]:
    """The malformed uploads."""
    seen: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    slow: list[tuple[str, Case, Future[list[tuple[int, bytes, bytes]]]]] = []
    longest = 0.0
    with ThreadPoolExecutor(16) as pool:
        for number in range(asked.uploads) if asked.only is None else [asked.only]:
            draw = random.Random(f"{asked.seed} {number}")
            kind = draw.choice(KINDS)
            case = kind(draw)
            begun = time.monotonic()
            try:
                outcome = look(case, exchange((rows if case.rows else pictures).server, case))
            except BaseException:
                print(f"case {number} of seed {asked.seed}: {kind.__name__} {case.chunks[0][:2000]!r}", file=sys.stderr)
                raise
            seen[kind.__name__][outcome] += 1
            longest = max(longest, time.monotonic() - begun)
            if asked.only is not None:
                print(kind.__name__, outcome, file=sys.stderr)
            if number % 50 == 25:
                crawling = draw.choice(SLOW)
                late = crawling(draw)
                slow.append((crawling.__name__, late, pool.submit(exchange, pictures.server, late)))
            if number % 100 == 99:
                pictures.look()
                rows.look()
        for name, late, answer in slow:
            seen[name][look(late, answer.result())] += 1
    return {
        "uploads": asked.uploads,
        "slow": len(slow),
        "longest": round(longest, 2),
        "outcomes": {name: dict(counts) for name, counts in sorted(seen.items())},
    }


def crowd(watched: Watched, asked: argparse.Namespace) -> dict[str, object]:
    """More clients than there is room for, and slow ones among them."""
    server, seen, troubles = watched.server, collections.Counter[str](), list[str]()
    until = time.monotonic() + asked.seconds
    lock = threading.Lock()

    def hungry() -> Iterator[str]:
        for status, head, body in exchange(server, watched.case):
            if status == 200:
                assert body == watched.right
            else:
                assert status in (429, 503), (status, body)
                assert b"retry-after: 1" in head.lower()
            yield str(status)

    def crawling() -> Iterator[str]:
        draw = random.Random(0)
        case = draw.choice(SLOW)(draw)
        begun = time.monotonic()
        answers = exchange(server, case)
        assert time.monotonic() - begun < PATIENCE
        assert all(status in (408, 503) for status, _, _ in answers), answers
        yield "slow client cut"

    def client(act: Callable[[], Iterator[str]]) -> None:
        while time.monotonic() < until:
            try:
                outcomes = list(act()) or ["closed"]
            except Exception as error:
                troubles.append(f"{type(error).__name__}: {error}")
                return
            with lock:
                seen.update(outcomes)

    threads = [
        threading.Thread(target=client, args=(crawling if k < asked.clients // 8 else hungry,))
        for k in range(asked.clients)
    ]
    for thread in threads:
        thread.start()
    memory = []
    while any(thread.is_alive() for thread in threads):
        memory.append(server.memory())
        time.sleep(0.2)
    assert not troubles, troubles[:3]
    assert seen["200"]
    assert seen["429"] + seen["503"], "never above capacity"
    assert seen["slow client cut"]
    warm = memory[min(len(memory) - 1, max(1, len(memory) // 10))]
    return {"clients": asked.clients, "seconds": asked.seconds, "outcomes": dict(seen), "grown": max(memory) - warm}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploads", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one case")
    parser.add_argument("--seconds", type=float, default=3, help="of the crowd")
    parser.add_argument("--clients", type=int, default=64)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        trained(folder)
        limits = ["--io-timeout", "2", "--timeout", "10"]
        pictures = Watched(stack.enter_context(serving(folder / "digits", *limits, "--max-bytes", str(1 << 20))), GOOD)
        rows = Watched(stack.enter_context(serving(folder / "rows", *limits)), request(ROWS, "text/csv"))
        result = hostile(pictures, rows, asked)
        warm = len(pictures.memory) // 10
        if pictures.memory:
            result |= {
                "grown": pictures.grown(warm),
                "grown_rows": rows.grown(warm),
                "memory": [m >> 20 for m in pictures.memory[:: max(1, len(pictures.memory) // 20)]],
            }
        small = stack.enter_context(serving(folder / "digits", *limits, "--max-queue", "4"))
        large = request(field(picture(random.Random(1), "JPEG", (1500, 1500), "RGB")) + END, FORM)
        if asked.only is None and asked.seconds:
            result["crowd"] = crowd(Watched(small, large), asked)
        for server in (pictures.server, rows.server, small):
            code, said = server.stop()
            assert code == 143
            assert "Traceback" not in said, said
    print(json.dumps(result))
    growths = [result.get("grown", 0), result.get("grown_rows", 0)]
    assert max(growths) < ROOM, "memory is not flat"


if __name__ == "__main__":
    main()

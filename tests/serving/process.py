"""A server in a process of its own, and requests to it over real sockets."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

PATIENCE = 120  # seconds until a server is taken for hung


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def plain(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The word of an error, whose form is looked at too."""
        error = self.plain["error"]
        assert list(self.plain) == ["error"]
        assert set(error) == {"code", "cause", "remedy"}
        assert "\n" not in error["cause"]
        return str(error["code"])


class Server:
    """`snellen serve RUN --port 0 ...`; what it prints is in `out` and `err` at the end."""

    def __init__(self, run: Path, words: Sequence[str] = (), log: Path | None = None) -> None:
        self.log = log or run.parent / f"log-{os.getpid()}-{id(self)}"
        command = [sys.executable, "-m", "snellen", "serve", str(run), "--port", "0", "--threads", "1", *words]
        with open(self.log, "wb") as err:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=err, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
        assert self.process.stdout is not None
        self.told = [self.process.stdout.readline() for _ in range(3)]
        assert self.told[0].startswith("serving "), self.log.read_text()
        self.host, self.port = self.told[0].split(" at http://")[1].strip().strip("/").rsplit(":", 1)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection(self.host.strip("[]"), int(self.port), timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def predict(self, body: bytes, kind: str = "image/png", **headers: str) -> Answer:
        return self.ask("POST", "/predict", body, {"Content-Type": kind, **headers})

    def memory(self) -> int:
        """Bytes of the process that lie in memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Its exit code, and what it said on standard error."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        return code, self.log.read_text()


@contextlib.contextmanager
def serving(run: Path, *words: str) -> Iterator[Server]:
    server = Server(run, words)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.communicate()


def png(values: np.ndarray) -> bytes:
    written = io.BytesIO()
    Image.fromarray(values).save(written, format="PNG")
    return written.getvalue()


BOUNDARY = "b0undary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def form(files: Sequence[tuple[str, bytes]], ending: str = "--\r\n") -> bytes:
    """A form as curl -F writes it."""
    written = b""
    for name, content in files:
        written += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'.encode()
        written += b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n"
    return written + f"--{BOUNDARY}{ending}".encode()

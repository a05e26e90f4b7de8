"""`snellen serve` in a subprocess, and HTTP requests to it."""

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

TIMEOUT = 120  # seconds until a server counts as hung


class Response(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def plain(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error code; also checks the form of the error."""
        error = self.plain["error"]
        assert list(self.plain) == ["error"]
        assert set(error) == {"code", "cause", "remedy"}
        assert "\n" not in error["cause"]
        return str(error["code"])


class Server:
    """`snellen serve RUN --port 0 ...`; its standard error goes to `log`."""

    def __init__(self, run: Path, arguments: Sequence[str] = (), log: Path | None = None) -> None:
        self.log = log or run.parent / f"log-{os.getpid()}-{id(self)}"
        command = [sys.executable, "-m", "snellen", "serve", str(run), "--port", "0", "--threads", "1", *arguments]
        with open(self.log, "wb") as err:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=err, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
        assert self.process.stdout is not None
        self.startup_lines = [self.process.stdout.readline() for _ in range(3)]
        assert self.startup_lines[0].startswith("serving "), self.log.read_text()
        self.host, self.port = self.startup_lines[0].split(" at http://")[1].strip().strip("/").rsplit(":", 1)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        connection = http.client.HTTPConnection(self.host.strip("[]"), int(self.port), timeout=TIMEOUT)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Response(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def predict(self, body: bytes, kind: str = "image/png", **headers: str) -> Response:
        return self.request("POST", "/predict", body, {"Content-Type": kind, **headers})

    def memory(self) -> int:
        """Resident memory of the process in bytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; the exit code and the text on standard error."""
        self.process.send_signal(number)
        code = self.process.wait(TIMEOUT)
        return code, self.log.read_text()


@contextlib.contextmanager
def serving(run: Path, *arguments: str) -> Iterator[Server]:
    server = Server(run, arguments)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.communicate()


def png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG")
    return buffer.getvalue()


BOUNDARY = "b0undary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def form(files: Sequence[tuple[str, bytes]], ending: str = "--\r\n") -> bytes:
    """A multipart form as curl -F writes it."""
    buffer = b""
    for name, content in files:
        buffer += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'.encode()
        buffer += b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n"
    return buffer + f"--{BOUNDARY}{ending}".encode()

"""Binding, serving, and stopping in order."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, cast

import uvicorn

from snellen.api import TrainedRun
from snellen.core import files
from snellen.core.errors import EnvironmentProblem, Stopped, UsageError
from snellen.serving.app import Service, application
from snellen.serving.connection_limits import connections
from snellen.serving.inference_queue import Desk
from snellen.serving.limits import Limits

GRACE = 5  # seconds for what is in flight when the server is told to stop
IDLE = 5  # seconds that a connection is kept after an answer, at most
_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens nowhere yet, bound to the first address of `host`.

    Raises:
        UsageError: for a host that is none.
        EnvironmentProblem: where the port is taken, or not ours to take.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError, OverflowError) as error:
        raise UsageError(f"--host {host} is no address of this machine: {error}", "Take 127.0.0.1.") from error
    family, kind, protocol, _, address = found[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        made.close()
        raise EnvironmentProblem(
            f"Port {port} of {host} cannot be had: {error.strerror or error}",
            "Take another; --port 0 finds a free one.",
        ) from error
    return made


def is_local(address: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    return ipaddress.ip_address(address.getsockname()[0].partition("%")[0]).is_loopback


def url_of(address: socket.socket) -> str:
    host, port = address.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serve(trained: TrainedRun, address: socket.socket, limits: Limits, ready: Callable[[], None]) -> None:
    """Answers until a signal comes; then finishes what is in flight.

    Args:
        address: see `bound`.
        ready: called once the server listens.
    Raises:
        Stopped: by the signal.
    """
    host = address.getsockname()[0]
    hosts = _NAMES | {f"[{host}]" if ":" in host else host} if is_local(address) else None
    desk = Desk(trained, limits)
    try:
        sha256 = files.sha256(trained.folder / "model.safetensors")
        service = Service(trained, desk, url_of(address), sha256)
        config = uvicorn.Config(
            application(service, hosts),
            loop="asyncio",
            http=cast(Any, connections(limits)),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=IDLE,
            timeout_graceful_shutdown=GRACE,
        )
        with _signals() as caught:
            asyncio.run(_serve(uvicorn.Server(config), address, ready))
    finally:
        desk.close()
    if caught:
        name = signal.Signals(caught[0]).name
        raise Stopped(f"Stopped by {name} after {service.answered:,} answers", signal=caught[0])


async def _serve(server: uvicorn.Server, address: socket.socket, ready: Callable[[], None]) -> None:
    async def tell() -> None:
        while not server.started:
            await asyncio.sleep(0.01)
        ready()

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    telling = asyncio.ensure_future(tell())
    await server.serve(sockets=[address])
    telling.cancel()


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Notes SIGINT and SIGTERM, which uvicorn raises again once it has stopped."""
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

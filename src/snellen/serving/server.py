"""Server: bind, serve, shut down gracefully."""

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
from snellen.core import file_io
from snellen.core.errors import EnvironmentProblem, Stopped, UsageError
from snellen.serving.app import Service, application
from snellen.serving.connection_limits import connection_factory
from snellen.serving.inference_queue import InferenceQueue
from snellen.serving.limits import Limits

SHUTDOWN_SECONDS = 5  # seconds for requests in progress at shutdown
KEEP_ALIVE_SECONDS = 5  # idle seconds of a connection after a response
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


def bind_socket(host: str, port: int) -> socket.socket:
    """A socket bound to the first address of `host`, not yet listening.

    Raises:
        UsageError: for an unknown host.
        EnvironmentProblem: if the port is in use or not permitted.
    """
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError, OverflowError) as error:
        raise UsageError(
            f"--host {host} is not an address of this machine: {error}", "Use --host 127.0.0.1."
        ) from error
    family, kind, protocol, _, address = addresses[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise EnvironmentProblem(
            f"Cannot bind port {port} of {host}: {error.strerror or error}",
            "Use another port; --port 0 selects a free one.",
        ) from error
    return listener


def is_local(address: socket.socket) -> bool:
    """Whether the address is a loopback address."""
    return ipaddress.ip_address(address.getsockname()[0].partition("%")[0]).is_loopback


def url_of(address: socket.socket) -> str:
    """The base URL of a bound socket."""
    host, port = address.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serve(trained: TrainedRun, address: socket.socket, limits: Limits, ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM, then finish the requests in progress.

    Args:
        address: bound socket, see `bind_socket`.
        ready: called once the server listens.
    Raises:
        Stopped: after a signal.
    """
    host = address.getsockname()[0]
    hosts = _LOCAL_NAMES | {f"[{host}]" if ":" in host else host} if is_local(address) else None
    queue = InferenceQueue(trained, limits)
    try:
        sha256 = file_io.sha256(trained.folder / "model.safetensors")
        service = Service(trained, queue, url_of(address), sha256)
        config = uvicorn.Config(
            application(service, hosts),
            loop="asyncio",
            http=cast(Any, connection_factory(limits)),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        with _recorded_signals() as received:
            asyncio.run(_serve(uvicorn.Server(config), address, ready))
    finally:
        queue.close()
    if received:
        name = signal.Signals(received[0]).name
        raise Stopped(f"Stopped by {name} after {service.num_answered:,} responses", signal=received[0])


async def _serve(server: uvicorn.Server, address: socket.socket, ready: Callable[[], None]) -> None:
    async def call_ready() -> None:
        while not server.started:
            await asyncio.sleep(0.01)
        ready()

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    waiting = asyncio.ensure_future(call_ready())
    await server.serve(sockets=[address])
    waiting.cancel()


@contextlib.contextmanager
def _recorded_signals() -> Iterator[list[int]]:
    """Record SIGINT and SIGTERM, which uvicorn raises again after its shutdown."""
    received: list[int] = []

    def record(number: int, frame: FrameType | None) -> None:
        received.append(number)

    handlers = {number: signal.signal(number, record) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)

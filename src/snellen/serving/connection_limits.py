"""Connection limits: number of connections, and timeouts for slow clients (uvicorn bounds idle time only)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from snellen.serving.limits import MIN_RATE, Limits

_DRAIN_SECONDS = 2.0  # for which the rest of a request is discarded
_BUSY_RESPONSE = b"""HTTP/1.1 503 Service Unavailable\r
Content-Type: application/json\r
Retry-After: 1\r
Connection: close\r
Content-Length: %d\r
\r
%b"""
_BUSY_BODY = b'{"error": {"code": "busy", "cause": "Too many connections are open", "remedy": "Retry later."}}'


class TimedConnection(asyncio.Protocol):
    """uvicorn's HTTP protocol, closed when its client is too slow.

    The request head must arrive within the I/O timeout after the connection or the last response. The timer stops
    while the application runs, which has its own timeout for the body, and restarts while the response is sent.

    The server closes its side of a connection first, and discards what still arrives until the client closes the other:
    closing over unread bytes resets the connection, and the client loses the response (503, 413).

    Args:
        draining: all connections, of one server, that are in this last state.
    """

    def __init__(self, inner: H11Protocol, limits: Limits, draining: set[TimedConnection]) -> None:
        self.inner = inner
        self.limits = limits
        self.draining = draining
        self._app: ASGIApp = inner.app
        inner.app = self._run_app
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False  # for `inner`, which has not seen it or has closed it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._set_timer(self.limits.io_timeout)
        if len(self.inner.connections) >= self.limits.max_connections:
            transport.write(_BUSY_RESPONSE % (len(_BUSY_BODY), _BUSY_BODY))
            self.drain()
        else:
            self.inner.connection_made(cast(asyncio.Transport, _DrainingTransport(transport, self)))

    def drain(self) -> None:
        """Close the sending side; close the connection when the client does, at the latest after a timeout."""
        assert self._transport is not None
        self._is_closed = True
        if len(self.draining) >= self.limits.max_connections or not self._transport.can_write_eof():
            self._transport.close()
            return
        self.draining.add(self)
        self._set_timer(_DRAIN_SECONDS + self._transport.get_write_buffer_size() / MIN_RATE)
        try:
            self._transport.resume_reading()
            self._transport.write_eof()
        except OSError:  # the client has closed the connection already
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._is_closed:
            return
        try:
            self.inner.data_received(data)
        except Exception:  # bytes after the end of a request that h11 closed
            assert self._transport is not None
            self._transport.abort()

    def eof_received(self) -> None:
        if not self._is_closed:
            self.inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_timer(None)
        self.draining.discard(self)
        if not self._is_closed:
            self.inner.connection_lost(exc)

    def pause_writing(self) -> None:
        if not self._is_closed:
            self.inner.pause_writing()

    def resume_writing(self) -> None:
        if not self._is_closed:
            self.inner.resume_writing()

    async def _run_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        timeout = self.limits.io_timeout

        async def send_with_timer(message: Message) -> None:
            if message["type"] == "http.response.body":
                self._set_timer(timeout + len(message.get("body", b"")) / MIN_RATE)
            await send(message)

        self._set_timer(None)
        try:
            await self._app(scope, receive, send_with_timer)
        except BaseException:
            self._set_timer(timeout)
            raise

    def _set_timer(self, seconds: float | None) -> None:
        """Restart the timer; None: stop it."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if seconds is not None and self._transport is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._transport.abort)


class _DrainingTransport:
    """A transport that uvicorn closes by `TimedConnection.drain`, and which is closed for it at once."""

    def __init__(self, transport: asyncio.Transport, connection: TimedConnection) -> None:
        self._transport = transport
        self._connection = connection
        self._is_closing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._is_closing or self._transport.is_closing()

    def close(self) -> None:
        if self.is_closing():
            return
        self._is_closing = True
        self._connection.drain()
        asyncio.get_running_loop().call_soon(self._connection.inner.connection_lost, None)


def connection_factory(limits: Limits) -> Callable[..., TimedConnection]:
    """Protocol factory for uvicorn."""
    draining: set[TimedConnection] = set()

    def make_connection(
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> TimedConnection:
        return TimedConnection(H11Protocol(config, server_state, app_state, _loop), limits, draining)

    return make_connection

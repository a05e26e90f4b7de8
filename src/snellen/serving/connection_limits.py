"""A connection with a clock: uvicorn bounds the idle time between requests, this bounds what a slow client takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from snellen.serving.limits import SLOWEST, Limits

_FULL = b"""HTTP/1.1 503 Service Unavailable\r
Content-Type: application/json\r
Retry-After: 1\r
Connection: close\r
Content-Length: %d\r
\r
%b"""
_FULL_BODY = b'{"error": {"code": "busy", "cause": "Too many connections are open", "remedy": "Ask again later."}}'


class Connection(asyncio.Protocol):
    """uvicorn's protocol, which is cut off when its client takes too long.

    The head of a request must be there within the patience, counted from the last answer (or the beginning); the clock
    stands still while the application has it, which has a clock of its own for the body; and it runs again while the
    answer goes out.
    """

    def __init__(self, inner: H11Protocol, limits: Limits) -> None:
        self.inner = inner
        self.limits = limits
        self._app: ASGIApp = inner.app
        inner.app = self._timed
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._turned_away = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._wait(self.limits.io_timeout)
        if len(self.inner.connections) >= self.limits.max_connections:
            self._turned_away = True
            transport.write(_FULL % (len(_FULL_BODY), _FULL_BODY))
            transport.close()
        else:
            self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._turned_away:
            return
        try:
            self.inner.data_received(data)
        except Exception:  # bytes after the end of what h11 understands
            assert self._transport is not None
            self._transport.abort()

    def eof_received(self) -> None:
        if not self._turned_away:
            self.inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait(None)
        if not self._turned_away:
            self.inner.connection_lost(exc)

    def pause_writing(self) -> None:
        if not self._turned_away:
            self.inner.pause_writing()

    def resume_writing(self) -> None:
        if not self._turned_away:
            self.inner.resume_writing()

    async def _timed(self, scope: Scope, receive: Receive, send: Send) -> None:
        patience = self.limits.io_timeout

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.body":
                self._wait(patience + len(message.get("body", b"")) / SLOWEST)
            await send(message)

        self._wait(None)
        try:
            await self._app(scope, receive, sent)
        except BaseException:
            self._wait(patience)
            raise

    def _wait(self, seconds: float | None) -> None:
        """Starts the clock anew; None: stops it."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if seconds is not None and self._transport is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._transport.abort)


def connections(limits: Limits) -> Callable[..., Connection]:
    """What uvicorn makes of each connection."""

    def made(
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> Connection:
        return Connection(H11Protocol(config, server_state, app_state, _loop), limits)

    return made

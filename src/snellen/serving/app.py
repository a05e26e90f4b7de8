"""ASGI application: host and origin check, endpoints, JSON error responses."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from snellen.api import TrainedRun
from snellen.core.errors import printable_json, short_repr
from snellen.serving.description import info, openapi, page
from snellen.serving.http_errors import CLOSE_CONNECTION, RETRY_LATER, HTTPError, internal_error, shutting_down
from snellen.serving.inference_queue import InferenceQueue, InferenceRequest
from snellen.serving.limits import MAX_BODIES, MIN_RATE
from snellen.serving.request import check_content_type, inputs

_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"),
    (b"referrer-policy", b"same-origin"),
]


class RequestGuard:
    """Middleware: checks the Host and Origin headers and adds security headers to each response.

    Args:
        hosts: accepted host names, without port; None: any.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        if scope["type"] != "http":
            return
        error = self._check_headers({name: value.decode("latin-1") for name, value in scope["headers"]})
        try:
            await (self.app if error is None else _error_response(error))(scope, receive, send_with_headers)
        except asyncio.CancelledError:  # the grace period of the shutdown is over
            if not started:
                await _error_response(shutting_down())(scope, receive, send_with_headers)

    def _check_headers(self, headers: Mapping[bytes, str]) -> HTTPError | None:
        host = headers.get(b"host", "")
        if self.hosts is not None and without_port(host) not in self.hosts:
            return HTTPError(
                421,
                "wrong-host",
                f"This server is not {short_repr(host)}",
                "Use localhost in the URL, or start the server with another --host.",
                CLOSE_CONNECTION,
            )
        origin = headers.get(b"origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            return HTTPError(
                403,
                "foreign-origin",
                f"A page of {short_repr(origin)} may not send requests to this server",
                "Send the request from a program or from the server's own page.",
                CLOSE_CONNECTION,
            )
        return None


def without_port(host: str) -> str:
    """ "localhost:8000" and "[::1]:8000" without the port, in lower case."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower().rstrip(".")


class Service:
    """The endpoints of one trained model.

    Args:
        url: base URL, shown on the HTML page.
        sha256: SHA-256 of the model's weights.
    """

    def __init__(self, trained: TrainedRun, queue: InferenceQueue, url: str, sha256: str) -> None:
        self.trained = trained
        self.queue = queue
        self.limits = queue.limits
        self.body_bytes = 0  # bytes of request bodies in memory
        self.num_answered = 0
        self._page = page(trained, url)
        self._info = _encoded(info(trained, sha256, self.limits))
        self._openapi = _encoded(openapi(trained, self.limits))

    async def predict(self, request: Request) -> Response:
        """`POST /predict`: files or table rows in, predictions as of `snellen predict` out."""
        content_type = request.headers.get("content-type", "")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            cause, remedy = "The body is compressed", "Send it without Content-Encoding."
            raise HTTPError(415, "unsupported-encoding", cause, remedy, CLOSE_CONNECTION)
        check_content_type(content_type, self.trained.spec)
        body = bytearray()
        try:
            await self._receive(request, body)
            queued = self.queue.submit(
                lambda: inputs(body, content_type, self.trained.spec, self.trained.record.preprocessing, self.limits)
            )
            return await self._wait(request, queued)
        finally:
            self.body_bytes -= len(body)

    async def _receive(self, request: Request, body: bytearray) -> None:
        """Read the body, in bounded size and time."""
        max_bytes = self.limits.max_bytes
        too_large = HTTPError(
            413,
            "too-large",
            f"The body has more than {max_bytes:,} bytes",
            "Send fewer or smaller inputs, or start the server with a higher --max-bytes.",
            CLOSE_CONNECTION,
        )
        length = request.headers.get("content-length", "0")
        if int(length if length.isdecimal() else 0) > max_bytes:
            raise too_large
        begun = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self.limits.io_timeout) as clock:
                async for chunk in request.stream():
                    if len(body) + len(chunk) > max_bytes:
                        raise too_large
                    if self.body_bytes + len(chunk) > MAX_BODIES * max_bytes:
                        raise HTTPError(
                            503,
                            "no-memory",
                            "Too many request bodies are in memory",
                            "Retry later.",
                            {**RETRY_LATER, **CLOSE_CONNECTION},
                        )
                    self.body_bytes += len(chunk)
                    body += chunk
                    clock.reschedule(begun + self.limits.io_timeout + len(body) / MIN_RATE)
        except TimeoutError:
            raise HTTPError(
                408,
                "too-slow",
                f"Only {len(body):,} bytes of the body arrived in time",
                "Send it faster, or start the server with a higher --io-timeout.",
                CLOSE_CONNECTION,
            ) from None

    async def _wait(self, request: Request, queued: InferenceRequest) -> Response:
        """Wait for the predictions, until the timeout or until the client disconnects."""
        disconnected = asyncio.ensure_future(_disconnected(request))
        pending: set[asyncio.Future[Any]] = {queued.future, disconnected}
        try:
            done, _ = await asyncio.wait(pending, timeout=self.limits.timeout, return_when=asyncio.FIRST_COMPLETED)
            if queued.future in done:
                content = queued.future.result()
                self.num_answered += 1
                return _json(content)
            if disconnected in done:
                raise ClientDisconnect
            raise HTTPError(
                503, "timeout", f"No prediction after {self.limits.timeout:g} s", "Retry later.", RETRY_LATER
            )
        finally:
            queued.cancel()
            disconnected.cancel()

    async def health(self, request: Request) -> Response:
        """`GET /health`: status and number of queued requests."""
        return _json(_encoded({"status": "ok", "waiting": self.queue.num_waiting}))

    async def info(self, request: Request) -> Response:
        """`GET /info`: the model, its input and the limits."""
        return _json(self._info)

    async def openapi(self, request: Request) -> Response:
        """`GET /openapi.json`: the OpenAPI description."""
        return _json(self._openapi)

    async def page(self, request: Request) -> Response:
        """`GET /`: the HTML page."""
        return Response(self._page, media_type="text/html")


def application(service: Service, hosts: frozenset[str] | None) -> ASGIApp:
    """The ASGI application of a service; `hosts` are the accepted host names, None: any."""
    routes = [
        Route("/", service.page),
        Route("/predict", service.predict, methods=["POST"]),
        Route("/health", service.health),
        Route("/info", service.info),
        Route("/openapi.json", service.openapi),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={
            HTTPError: _http_error,
            HTTPException: _routing_error,
            ClientDisconnect: _client_gone,
            Exception: _internal_error,
        },
    )
    app.router.redirect_slashes = False
    return RequestGuard(app, hosts)


async def _disconnected(request: Request) -> None:
    """Wait until the client disconnects."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _encoded(plain: Any) -> bytes:
    return printable_json(json.dumps(plain, ensure_ascii=False, allow_nan=False)).encode()


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")


def _error_response(error: HTTPError) -> Response:
    return Response(_encoded(error.to_plain()), error.status, error.headers, "application/json")


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPError)
    return _error_response(error)


async def _routing_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return _error_response(
            HTTPError(
                405,
                "method-not-allowed",
                f"{short_repr(request.method)} is not allowed at this path",
                "POST files to /predict.",
                error.headers,
            )
        )
    return _error_response(
        HTTPError(404, "not-found", "There is nothing at this path", "POST files to /predict, or GET / for help.")
    )


async def _client_gone(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # the client is gone: nobody receives it


async def _internal_error(request: Request, error: Exception) -> Response:
    traceback.print_exception(error)
    return _error_response(internal_error())

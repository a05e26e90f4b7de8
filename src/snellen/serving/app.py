"""The ASGI application: who may ask, what is taken in, and every refusal as JSON."""

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
from snellen.core.errors import shown
from snellen.serving.description import info, openapi, page
from snellen.serving.http_errors import AGAIN, CLOSE, Refused, bug, stopping
from snellen.serving.inference_queue import Desk, Question
from snellen.serving.limits import BODIES, SLOWEST
from snellen.serving.request import inputs, refuse_kind

_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"),
    (b"referrer-policy", b"same-origin"),
]


class Door:
    """Lets in what is addressed to this server, and no page of another origin; says on each answer how it may be used.

    Args:
        hosts: the names it goes by, without port; None: any.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = False

        async def sent(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        if scope["type"] != "http":
            return
        refusal = self._refusal({name: value.decode("latin-1") for name, value in scope["headers"]})
        try:
            await (self.app if refusal is None else _as_json(refusal))(scope, receive, sent)
        except asyncio.CancelledError:  # the server stops, and has waited long enough
            if not began:
                await _as_json(stopping())(scope, receive, sent)

    def _refusal(self, headers: Mapping[bytes, str]) -> Refused | None:
        host = headers.get(b"host", "")
        if self.hosts is not None and without_port(host) not in self.hosts:
            return Refused(
                421,
                "wrong-host",
                f"This server is not {shown(host)}",
                "Ask it as localhost, or let it listen elsewhere with --host.",
                CLOSE,
            )
        origin = headers.get(b"origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            return Refused(
                403,
                "foreign-origin",
                f"A page of {shown(origin)} may not ask this server",
                "Ask it from a program, or from its own page.",
                CLOSE,
            )
        return None


def without_port(host: str) -> str:
    """ "localhost:8000" and "[::1]:8000" without the port, in lower case."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower().rstrip(".")


class Service:
    """A trained model, and what is asked of it.

    Args:
        url: where it is reached, for its page.
        sha256: of the model's weights.
    """

    def __init__(self, trained: TrainedRun, desk: Desk, url: str, sha256: str) -> None:
        self.trained = trained
        self.desk = desk
        self.limits = desk.limits
        self.held = 0  # bytes of bodies that are in memory
        self.answered = 0
        self._page = page(trained, url)
        self._info = _encoded(info(trained, sha256, self.limits))
        self._openapi = _encoded(openapi(trained, self.limits))

    async def predict(self, request: Request) -> Response:
        """`POST /predict`: files or rows in, the answers of `snellen predict` out."""
        kind = request.headers.get("content-type", "")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refused(415, "unsupported-encoding", "The body is compressed", "Send it without Content-Encoding.")
        refuse_kind(kind, self.trained.spec)
        body = bytearray()
        try:
            await self._receive(request, body)
            question = self.desk.ask(
                lambda: inputs(body, kind, self.trained.spec, self.trained.record.preprocessing, self.limits)
            )
            return await self._answer(request, question)
        finally:
            self.held -= len(body)

    async def _receive(self, request: Request, body: bytearray) -> None:
        """Takes the body in, in bounded size and time."""
        most = self.limits.max_bytes
        too_large = Refused(
            413,
            "too-large",
            f"The body has more than {most:,} bytes",
            "Send less at once, or start the server with a higher --max-bytes.",
        )
        said = request.headers.get("content-length", "0")
        if int(said if said.isdecimal() else 0) > most:
            raise too_large
        begun = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self.limits.io_timeout) as clock:
                async for chunk in request.stream():
                    if len(body) + len(chunk) > most:
                        raise too_large
                    if self.held + len(chunk) > BODIES * most:
                        raise Refused(
                            503, "no-memory", "Too much is being sent at once", "Ask again later.", {**AGAIN, **CLOSE}
                        )
                    self.held += len(chunk)
                    body += chunk
                    clock.reschedule(begun + self.limits.io_timeout + len(body) / SLOWEST)
        except TimeoutError:
            raise Refused(
                408,
                "too-slow",
                f"{len(body):,} bytes of the body came in time, and no more",
                "Send it faster, or start the server with a higher --io-timeout.",
                CLOSE,
            ) from None

    async def _answer(self, request: Request, question: Question) -> Response:
        """Waits for the answer, as long as somebody wants it and its time is not over."""
        gone = asyncio.ensure_future(_gone(request))
        both: set[asyncio.Future[Any]] = {question.done, gone}
        try:
            done, _ = await asyncio.wait(both, timeout=self.limits.timeout, return_when=asyncio.FIRST_COMPLETED)
            if question.done in done:
                said = question.done.result()
                self.answered += 1
                return _json(said)
            if gone in done:
                raise ClientDisconnect
            raise Refused(
                503, "timeout", f"There is no answer after {self.limits.timeout:g} s", "Ask again later.", AGAIN
            )
        finally:
            question.leave()
            gone.cancel()

    async def health(self, request: Request) -> Response:
        """`GET /health`."""
        return _json(_encoded({"status": "ok", "waiting": self.desk.waiting}))

    async def info(self, request: Request) -> Response:
        """`GET /info`."""
        return _json(self._info)

    async def openapi(self, request: Request) -> Response:
        """`GET /openapi.json`."""
        return _json(self._openapi)

    async def page(self, request: Request) -> Response:
        """`GET /`."""
        return Response(self._page, media_type="text/html")


def application(service: Service, hosts: frozenset[str] | None) -> ASGIApp:
    """What uvicorn is given; `hosts` are the names that it goes by, None: any."""
    routes = [
        Route("/", service.page),
        Route("/predict", service.predict, methods=["POST"]),
        Route("/health", service.health),
        Route("/info", service.info),
        Route("/openapi.json", service.openapi),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={Refused: _refused, HTTPException: _unrouted, ClientDisconnect: _nobody, Exception: _bug},
    )
    app.router.redirect_slashes = False
    return Door(app, hosts)


async def _gone(request: Request) -> None:
    """Returns when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _encoded(plain: Any) -> bytes:
    return json.dumps(plain, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace")


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")


def _as_json(refusal: Refused) -> Response:
    return Response(_encoded(refusal.plain()), refusal.status, refusal.headers, "application/json")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return _as_json(error)


async def _unrouted(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return _as_json(
            Refused(
                405,
                "method-not-allowed",
                f"{shown(request.method)} is not for this path",
                "POST files to /predict.",
                error.headers,
            )
        )
    return _as_json(
        Refused(404, "not-found", "There is nothing at this path", "POST files to /predict; GET / tells more.")
    )


async def _nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # which goes nowhere


async def _bug(request: Request, error: Exception) -> Response:
    traceback.print_exception(error)
    return _as_json(bug())

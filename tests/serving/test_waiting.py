"""Timeouts, disconnects and memory limits of waiting requests."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from process import png

from snellen.api import load
from snellen.serving.app import Service, application
from snellen.serving.inference_queue import InferenceQueue
from snellen.serving.limits import Limits

BODY = png(np.zeros((8, 8), np.uint8))
SCOPE = {
    "type": "http",
    "method": "POST",
    "path": "/predict",
    "raw_path": b"/predict",
    "query_string": b"",
    "headers": [(b"host", b"localhost"), (b"content-type", b"image/png")],
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "scheme": "http",
    "root_path": "",
}


async def call_app(app: Any, receive: Callable[[], Awaitable[dict[str, Any]]]) -> tuple[int, dict[str, str], Any]:
    messages: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    await app(dict(SCOPE), receive, send)
    body = b"".join(message.get("body", b"") for message in messages)
    headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
    return messages[0]["status"], headers, json.loads(body) if body else None


def served(home: Path, limits: Limits, test: Callable[[Any, Service], Awaitable[None]]) -> list[int]:
    """Run a test with a model that is blocked until the test ends; returns its batch sizes."""
    trained, is_over, sizes = load(home / "digits"), threading.Event(), []
    records = trained.predict_records

    def blocked_records(names: Any, x: Any) -> Any:
        assert is_over.wait(10)
        sizes.append(len(x))
        return records(names, x)

    trained.predict_records = blocked_records  # type: ignore[method-assign]
    queue = InferenceQueue(trained, limits)
    try:
        service = Service(trained, queue, "http://localhost/", "")
        asyncio.run(asyncio.wait_for(test(application(service, None), service), 120))  # type: ignore[arg-type]
    finally:
        is_over.set()
        queue.close()
    assert service.body_bytes == 0
    return sizes


async def whole_body() -> dict[str, Any]:
    return {"type": "http.request", "body": BODY, "more_body": False}


def receive_from(*messages: dict[str, Any]) -> Callable[[], Awaitable[dict[str, Any]]]:
    """A receive callable: these messages, then nothing."""
    remaining = list(messages)

    async def receive() -> dict[str, Any]:
        if not remaining:
            await asyncio.sleep(100)
        return remaining.pop(0)

    return receive


def test_a_prediction_timeout_gives_503(home: Path) -> None:
    async def test(app: Any, service: Service) -> None:
        status, headers, plain = await call_app(app, receive_from(await whole_body()))
        assert (status, plain["error"]["code"], headers["retry-after"]) == (503, "timeout", "1")
        status, _, plain = await call_app(app, receive_from(await whole_body()))
        assert (status, plain["error"]["code"]) == (503, "timeout")

    assert served(home, Limits(timeout=0.05), test) in ([], [1])  # the second timed out before its turn


def test_a_disconnect_frees_the_queue(home: Path) -> None:
    async def test(app: Any, service: Service) -> None:
        await call_app(app, receive_from(await whole_body(), {"type": "http.disconnect"}))
        await call_app(app, receive_from(await whole_body(), {"type": "http.disconnect"}))

    assert served(home, Limits(), test) in ([], [1])


@pytest.mark.parametrize("size", [0, 3])
def test_a_slow_body_gives_408(home: Path, size: int) -> None:
    async def test(app: Any, service: Service) -> None:
        first_chunk = {"type": "http.request", "body": BODY[:size], "more_body": True}
        status, headers, plain = await call_app(app, receive_from(first_chunk))
        assert (status, plain["error"]["code"], headers["connection"]) == (408, "too-slow", "close")
        assert f"{size} bytes" in plain["error"]["cause"]

    assert served(home, Limits(io_timeout=0.05), test) == []


def test_a_disconnect_releases_the_body(home: Path) -> None:
    async def test(app: Any, service: Service) -> None:
        first_chunk = {"type": "http.request", "body": BODY[:9], "more_body": True}
        await call_app(app, receive_from(first_chunk, {"type": "http.disconnect"}))

    assert served(home, Limits(), test) == []


def test_too_many_bytes_in_memory_give_503(home: Path) -> None:
    async def test(app: Any, service: Service) -> None:
        service.body_bytes = 8 * 1000
        status, headers, plain = await call_app(app, receive_from(await whole_body()))
        assert (status, plain["error"]["code"], headers["retry-after"]) == (503, "no-memory", "1")
        service.body_bytes = 0

    assert served(home, Limits(max_bytes=1000), test) == []


def test_a_request_at_shutdown_gives_503(home: Path) -> None:
    async def test(app: Any, service: Service) -> None:
        waiting = asyncio.ensure_future(call_app(app, receive_from(await whole_body())))
        while not service.body_bytes:
            await asyncio.sleep(0.001)
        waiting.cancel()
        status, _, plain = await waiting
        assert (status, plain["error"]["code"]) == (503, "stopping")

    assert served(home, Limits(), test) in ([], [1])


def test_a_bug_is_logged_and_not_sent(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def test(app: Any, service: Service) -> None:
        service.queue.submit = None  # type: ignore[assignment]
        with pytest.raises(TypeError):  # caught by uvicorn
            await call_app(app, receive_from(await whole_body()))

    served(home, Limits(), test)
    assert "Traceback" in capsys.readouterr().err

"""Who waits for an answer: as long as its time allows, and as long as somebody listens."""

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
from snellen.serving.inference_queue import Desk
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


async def asked(app: Any, receive: Callable[[], Awaitable[dict[str, Any]]]) -> tuple[int, dict[str, str], Any]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(dict(SCOPE), receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, json.loads(body) if body else None


def served(home: Path, limits: Limits, test: Callable[[Any, Service], Awaitable[None]]) -> list[int]:
    """Runs a test against a model that answers only once the test is over; how many inputs it was asked about."""
    trained, over, sizes = load(home / "digits"), threading.Event(), []
    records = trained.records

    def late(names: Any, x: Any) -> Any:
        assert over.wait(10)
        sizes.append(len(x))
        return records(names, x)

    trained.records = late  # type: ignore[method-assign]
    desk = Desk(trained, limits)
    try:
        service = Service(trained, desk, "http://localhost/", "")
        asyncio.run(asyncio.wait_for(test(application(service, None), service), 20))  # type: ignore[arg-type]
    finally:
        over.set()
        desk.close()
    assert service.held == 0
    return sizes


async def whole() -> dict[str, Any]:
    return {"type": "http.request", "body": BODY, "more_body": False}


def coming(*messages: dict[str, Any]) -> Callable[[], Awaitable[dict[str, Any]]]:
    """These, and then nothing."""
    left = list(messages)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.sleep(100)
        return left.pop(0)

    return receive


def test_an_answer_that_does_not_come_in_time_is_given_up(home: Path) -> None:
    async def test(app: Any, service: Service) -> None:
        status, headers, plain = await asked(app, coming(await whole()))
        assert (status, plain["error"]["code"], headers["retry-after"]) == (503, "timeout", "1")
        status, _, plain = await asked(app, coming(await whole()))
        assert (status, plain["error"]["code"]) == (503, "timeout")

    assert served(home, Limits(timeout=0.05), test) in ([], [1])  # the second was given up before its turn


def test_a_client_that_goes_away_frees_its_place(home: Path) -> None:
    async def test(app: Any, service: Service) -> None:
        await asked(app, coming(await whole(), {"type": "http.disconnect"}))
        await asked(app, coming(await whole(), {"type": "http.disconnect"}))

    assert served(home, Limits(), test) in ([], [1])


@pytest.mark.parametrize("size", [0, 3])
def test_a_body_that_does_not_come_in_time_is_given_up(home: Path, size: int) -> None:
    async def test(app: Any, service: Service) -> None:
        begun = {"type": "http.request", "body": BODY[:size], "more_body": True}
        status, headers, plain = await asked(app, coming(begun))
        assert (status, plain["error"]["code"], headers["connection"]) == (408, "too-slow", "close")
        assert f"{size} bytes" in plain["error"]["cause"]

    assert served(home, Limits(io_timeout=0.05), test) == []


def test_a_body_whose_client_leaves_is_forgotten(home: Path) -> None:
    async def test(app: Any, service: Service) -> None:
        begun = {"type": "http.request", "body": BODY[:9], "more_body": True}
        await asked(app, coming(begun, {"type": "http.disconnect"}))

    assert served(home, Limits(), test) == []


def test_more_bytes_than_may_be_held_are_sent_away(home: Path) -> None:
    async def test(app: Any, service: Service) -> None:
        service.held = 8 * 1000
        status, headers, plain = await asked(app, coming(await whole()))
        assert (status, plain["error"]["code"], headers["retry-after"]) == (503, "no-memory", "1")
        service.held = 0

    assert served(home, Limits(max_bytes=1000), test) == []


def test_what_is_cut_off_at_the_end_is_told(home: Path) -> None:
    async def test(app: Any, service: Service) -> None:
        waiting = asyncio.ensure_future(asked(app, coming(await whole())))
        await asyncio.sleep(0.05)
        waiting.cancel()
        status, _, plain = await waiting
        assert (status, plain["error"]["code"]) == (503, "stopping")

    assert served(home, Limits(), test) in ([], [1])


def test_a_mistake_of_the_server_is_not_shown(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def test(app: Any, service: Service) -> None:
        service.desk.ask = None  # type: ignore[assignment]
        with pytest.raises(TypeError):  # which uvicorn takes
            await asked(app, coming(await whole()))

    served(home, Limits(), test)
    assert "Traceback" in capsys.readouterr().err

"""Report pages in an offline browser: no requests, no console messages, no horizontal overflow."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from snellen.api import TrainedRun

CHROMIUM = shutil.which("chromium")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["digits_run", "hostile_names_run", "numbers_run"])
def test_a_page_opens_offline_without_messages_at_any_width(
    browser: Any, name: str, scheme: str, request: pytest.FixtureRequest
) -> None:
    run: TrainedRun = request.getfixturevalue(name)
    context = browser.new_context(java_script_enabled=True, color_scheme=scheme, offline=True)
    page = context.new_page()
    messages: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("dialog", lambda dialog: messages.append("a dialog opened"))
    page.on("request", lambda request: requests.append(request.url))
    address = (run.folder / "report.html").resolve().as_uri()
    page.goto(address)
    assert messages == []
    assert [url for url in requests if not url.startswith("data:")] == [address]
    for width in (1200, 400):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("h1").is_visible()
    ink, paper = page.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.documentElement))")
    assert (luminance(ink) < luminance(paper)) is (scheme == "light")
    axis = page.locator("svg text").first.evaluate("e => getComputedStyle(e).fill")
    assert axis == ink, "the text of a plot has the text colour of the page"
    assert page.evaluate("[...document.images].every(i => i.naturalWidth > 0)")
    context.close()


def luminance(colour: str) -> int:
    """Of "rgb(29, 28, 26)", roughly."""
    return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))

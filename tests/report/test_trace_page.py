"""Page of a trace in a browser: slider, toggle, hover and keyboard; its numbers are those of the trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snellen.report.pages.trace import trace_page
from snellen.trace import EXAMPLES, example, mlp, trace_network, train_seeds
from snellen.trace.descent import NetworkTrace


def number(text: str) -> float:
    return float(text.replace("−", "-"))


@pytest.fixture(scope="module")
def page(browser: Any) -> Any:
    context = browser.new_context(offline=True, viewport={"width": 1200, "height": 900})
    yield context.new_page()
    context.close()


def open_page(page: Any, trace: NetworkTrace, folder: Path) -> list[str]:
    """Open the page of a trace; a list that collects messages of the console and requests."""
    file = folder / "trace.html"
    file.write_text(trace_page(trace, "A trace"), encoding="utf-8")
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(file.as_uri())
    return messages


def cells(page: Any, selector: str) -> list[str]:
    texts: list[str] = page.locator(f".numbers tr{selector} td").all_inner_texts()
    return texts


def test_the_slider_the_toggle_and_the_keyboard_show_the_numbers_of_the_trace(page: Any, tmp_path: Path) -> None:
    trace = trace_network(example("lecture003"), 20)
    messages = open_page(page, trace, tmp_path)
    edge = page.locator('.edge[data-key="1.weight"][data-i="0"]')
    edge.hover()
    formula = page.locator("#formula p").all_inner_texts()
    assert formula[1] == "∂E/∂w5 = δ(y) · h1 = −0.809 · 0.85 = −0.68765"
    assert formula[2].endswith("= 0.14 − 0.05 · −0.68765 = 0.1743825")
    page.locator('.unit[data-layer="1"][data-i="0"]').focus()
    assert page.locator("#formula p").all_inner_texts()[:2] == [
        "h1 = w1 · x1 + w2 · x2",
        "= 0.11 · 2 + 0.21 · 3 = 0.85",
    ]
    page.keyboard.press("Tab")  # the next unit
    assert page.locator("#formula").inner_text().startswith("h2 = ")

    slider = page.locator("#step")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.locator("#forth").click()
    state = trace.state(4)
    assert page.locator("#now").inner_text().startswith("After 4 of 20 updates: E = ")
    assert number(page.locator("#now").inner_text().split("E = ")[1].split(";")[0]) == pytest.approx(
        state.traced.loss, rel=1e-6
    )
    for n in range(4):
        value, gradient, autograd, difference, following = map(
            number, cells(page, f'[data-key="0.weight"][data-i="{n}"]')
        )
        assert value == pytest.approx(state.parameters["0.weight"].flat[n], rel=1e-6)
        assert following == pytest.approx(state.updated["0.weight"].flat[n], rel=1e-6)
        for other in (gradient, autograd, difference):
            assert other == pytest.approx(state.traced.gradients["0.weight"].flat[n], rel=1e-6)
    page.locator("input[value=backward]").check()
    shown = page.locator('.value[data-layer="2"]').text_content()
    assert number(shown) == pytest.approx(state.traced.gradients["1.z"][0, 0], rel=1e-2)
    slider.focus()
    page.keyboard.press("End")
    assert "After 20 of 20" in page.locator("#now").inner_text()
    assert page.locator("#forth").is_disabled()
    assert messages == []


@pytest.mark.parametrize("name", ["convolution", "batch-norm", "xor", "mario"])
def test_every_formula_of_a_page_ends_in_the_number_of_the_trace(page: Any, name: str, tmp_path: Path) -> None:
    """Each cell, unit and edge of the drawing, before the first and after the last update."""
    trace = trace_network(example(name), 2)
    messages = open_page(page, trace, tmp_path)
    for k in (0, len(trace.states) - 1):
        state = trace.states[k]
        page.evaluate(f"go({k})")
        found = page.evaluate(
            """() => all("[tabindex][data-i]").map((e) => {
                 e.dispatchEvent(new Event("focus"));
                 return { ...e.dataset, lines: all("#formula p").map((p) => p.textContent) };
               })"""
        )
        count = 0
        for entry in found:
            sample, i = int(entry.get("s", 0)), int(entry["i"])
            if "key" in entry:
                expected = state.traced.gradients[entry["key"]].flat[i]
                got = entry["lines"][1]
            else:
                layer = int(entry["layer"])
                expected = state.traced.gradients[f"{layer - 1}.z" if layer else "x"][sample].flat[i]
                got = entry["lines"][-1]
                if layer:
                    value = state.traced.a[layer - 1][sample].flat[i]
                    ends = [line.rpartition(" = ")[2] for line in entry["lines"] if " = " in line]
                    assert any(number_or_nan(end) == pytest.approx(value, rel=2e-3) for end in ends), entry
            assert number_or_nan(got.rpartition(" = ")[2]) == pytest.approx(expected, rel=2e-3, abs=1e-300), entry
            count += 1
        assert count >= 11
    assert messages == []


def number_or_nan(text: str) -> float:
    try:
        return number(text)
    except ValueError:
        return float("nan")


def test_a_hint_to_scroll_is_shown_only_where_the_graph_is_cut_off(page: Any, tmp_path: Path) -> None:
    open_page(page, trace_network(example("mario"), 0), tmp_path)
    for width in (400, 1200):
        page.set_viewport_size({"width": width, "height": 900})
        is_cut = page.locator(".drawing .wide").evaluate("node => node.scrollWidth > node.clientWidth")
        assert page.locator(".swipe").is_visible() == is_cut == (width == 400)


def test_the_path_of_the_gradient_is_marked_and_its_source(page: Any, tmp_path: Path) -> None:
    open_page(page, trace_network(example("convolution"), 1), tmp_path)
    page.locator("input[value=backward]").check()
    path = page.eval_on_selector_all('td.path[data-layer="0"]', "cells => cells.map((e) => Number(e.dataset.i))")
    assert path == [1, 7, 10, 12]  # row order in the 4 x 4 grid; of the two 7s the first
    page.locator('td[data-layer="2"][data-i="3"]').hover()
    assert page.eval_on_selector_all("td.source", "cells => cells.map((e) => e.dataset.i)") == ["10"]
    assert "the first of 2 equal values in row order" in page.locator("#formula").inner_text()


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_a_page_is_small_and_complete_without_a_script(name: str) -> None:
    entry = EXAMPLES[name]
    network = entry.build(0)
    outcomes = train_seeds(network, 5, 20) if entry.seeds else None
    html = trace_page(trace_network(network, 2), entry.title, outcomes, entry.remarks(network))
    assert len(html.encode()) < 200_000
    assert "http" not in html.replace("http-equiv", "")
    assert 'class="numbers"' in html
    assert 'id="controls" hidden' in html


def test_the_largest_networks_have_a_page_below_a_megabyte() -> None:
    rng = np.random.default_rng(0)
    wide = mlp(rng.normal(size=(4, 16)).tolist(), rng.normal(size=(4, 12)).tolist(), (16,) * 2, lr=1e-4)
    trace = trace_network(wide, 3)
    assert wide.number_count > 900
    assert len(trace_page(trace, "wide").encode()) < 1_000_000
    states = tuple(trace.states) * 20  # as --show may store
    assert len(trace_page(NetworkTrace(network=wide, losses=trace.losses, states=states), "wide").encode()) < 1_000_000

"""Report pages in an offline browser: no requests, no console messages, no horizontal overflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from snellen.api import TrainedRun
from snellen.core.views import Metric, Plot, Series
from snellen.report.pages.ladder import Rung, ladder_page
from snellen.report.plots import plot_svg


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["digits_run", "hostile_names_run", "numbers_run", "surface_run"])
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


@pytest.mark.parametrize("width", [1200, 400, 320])
def test_no_column_of_a_ladder_is_cut_off(browser: Any, tmp_path: Path, width: int) -> None:
    """Whatever the length of a remark, and of a word in it."""
    figure = Metric(value=0.989, low=0.968, high=0.996, over="samples", percent=True)
    rungs = [
        Rung(
            name=name,
            headline=figure,
            reason=reason,
            parameters=11_200_000,
            multiply_adds=34_600_000,
            seconds_learning=70.9,
            milliseconds_a_prediction=14.2,
            peak_memory_bytes=900_000_000,
        )
        for name, reason in (
            ("softmax", ""),
            ("resnet18", "trained 290 of 320 steps (time limit); " * 3),
            ("mobilenetv2", f"from scratch: {'w' * 200}.pth is missing"),
        )
    ]
    rungs.append(Rung(name="lenet", status="refused", reason="x" * 200))
    path = tmp_path / "ladder.html"
    path.write_text(ladder_page("Ladder on x", "balanced accuracy", rungs, "Use softmax.", "", ""), encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    inside = page.evaluate("(e => [e.scrollWidth, e.clientWidth])(document.querySelector('.wide'))")
    assert inside[0] <= inside[1]
    for text in ("34.6 million", "balanced accuracy (test)", "peak RAM"):
        assert page.get_by_text(text, exact=True).first.is_visible() or width < 600, text
    page.close()


def test_pictures_of_a_training_have_the_proportions_of_the_image(browser: Any, surface_run: TrainedRun) -> None:
    """Each snapshot is shown with its epoch, the last picture is the image itself, and its pixels are those of it."""
    page = browser.new_page(viewport={"width": 400, "height": 900})
    page.goto((surface_run.folder / "report.html").resolve().as_uri())
    figure = page.locator("figure.images", has_text="How the fit sharpens in training")
    names = [text.strip() for text in figure.locator("li b").all_inner_texts()]
    assert names[:3] == ["epoch 1", "epoch 2", "epoch 4"]
    assert names[3].startswith("selected: epoch ")
    assert names[4:] == ["the image"]
    sizes = figure.locator("img").evaluate_all("all => all.map(i => [i.naturalWidth, i.naturalHeight])")
    assert {width / height for width, height in sizes} == {24 / 16}
    grey = figure.locator("img").last.evaluate(_PIXELS)
    assert len(grey) == 2
    assert grey[0] == 0  # the lowest level is black
    assert grey[1] == 255  # the highest is white
    page.close()


_PIXELS = """image => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const at = (x, y) => context.getImageData(x, y, 1, 1).data[0];
  return [at(0, 0), at(canvas.width - 1, canvas.height - 1)];
}"""


def luminance(colour: str) -> int:
    """Of "rgb(29, 28, 26)", roughly."""
    return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))


def test_no_label_of_an_axis_is_cut_off(browser: Any, tmp_path: Path) -> None:
    """The label lies within the height of the plot, whatever the length of the metric or of a name of the user."""
    path = tmp_path / "plots.html"
    names = (
        "balanced accuracy (test) [%], higher is better",
        "a long name of a measured quantity " * 5,
        "mean_temperature_of_the_sensor_" * 3,
    )
    series = [Series(name="a", x=[1.0, 2.0], y=[0.5, 0.7])]
    plots = [plot_svg(Plot(title="p", x=name, y=name, series=series)) for name in names]
    path.write_text(f"<!doctype html><meta charset=utf-8>{''.join(plots)}", encoding="utf-8")
    page = browser.new_page(viewport={"width": 800, "height": 900})
    page.goto(path.as_uri())
    outside = page.evaluate(
        """[...document.querySelectorAll('svg')].flatMap(svg => {
            const all = svg.getBoundingClientRect();
            return [...svg.querySelectorAll('text')].filter(t => {
                const box = t.getBoundingClientRect();
                return box.top < all.top - 2 || box.bottom > all.bottom + 2 || box.left < all.left - 2
                    || box.right > all.right + 2;
            }).map(t => t.textContent);
        })"""
    )
    assert outside == []
    page.close()

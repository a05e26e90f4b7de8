"""The page of `snellen filter` in a browser: the numbers under the pointer equal those of SciPy; pages stay small."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.ndimage

from snellen.filters.examples import EXAMPLES, scene
from snellen.filters.kernels import KERNELS, gabor
from snellen.filters.stages import FilterStage, filter_stage, format_value, pool_stage
from snellen.report.filter_images import GreyScale, reduce_peaks, scale_of_input, scale_of_result, to_pixels
from snellen.report.pages.filter import BUDGET, filter_page
from snellen.report.pages.filter_drawing import interactive


def write_page(
    path: Path, stages: Sequence[FilterStage], places: Sequence[tuple[int, int]], signal: bool = False
) -> str:
    scales = [scale_of_input(stages[0].source, 255.0, signal)]
    for stage in stages:
        scales.append(scale_of_result(stage, scales[-1], signal))
    page = filter_page("x", ["an image"], stages, scales, places, signal)
    path.write_text(page, encoding="utf-8")
    assert len(page.encode()) < 1_000_000
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    return page


def shown(page: Any, k: int = 0) -> str:
    return str(page.locator(".sum").nth(k).inner_text())


def test_the_page_computes_the_output_under_the_pointer_the_keys_and_the_sliders(browser: Any, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 65536, (3, 30, 40)).astype(np.uint16)
    kernel = np.random.default_rng(1).normal(size=(3, 5))
    filtered = filter_stage(image, kernel, "typed", convolve=True, border="wrap")
    pooled = pool_stage(filtered.result, "max", size=3, stride=2)
    text = write_page(tmp_path / "page.html", [filtered, pooled], [(0, 2), (1, 1)])
    expected = np.stack([scipy.ndimage.convolve(c.astype(float), kernel, mode="wrap") for c in image])
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto((tmp_path / "page.html").as_uri())
    still = re.findall(r'<p class="sum"[^>]*>(.*?)</p><div class="arithmetic">(.*?)</div></div>', text)
    for k, (sentence, table) in enumerate(still):  # what stands there without the script is what it writes
        assert shown(page, k) == html.unescape(sentence)
        cells = [html.unescape(re.sub(r"<[^>]*>", "", cell)) for cell in re.findall(r"<td[^>]*>(.*?)</td>", table)]
        assert page.locator(".stage").nth(k).locator("td").all_text_contents() == cells
    assert (
        shown(page)
        == f"Output 0,2 = {format_value(expected[0, 2, 0])}: sum of 15 products, 6 of them beyond the border"
    )

    drawing = page.locator(".result svg").first
    box = drawing.bounding_box()
    width, height = (int(v) for v in drawing.get_attribute("viewBox").split()[2:])
    assert (width, height) == (44, 32)  # as large as the input with its border
    drawing.hover(position={"x": (2 + 17 + 0.5) * box["width"] / width, "y": (1 + 29 + 0.5) * box["height"] / height})
    assert shown(page).startswith(f"Output 17,29 = {format_value(expected[0, 29, 17])}: ")
    page.locator("select").first.select_option("2")
    assert shown(page).startswith(f"Output 17,29 = {format_value(expected[2, 29, 17])}: ")
    drawing.focus()
    for key in ("ArrowLeft", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
    assert shown(page).startswith(f"Output 16,27 = {format_value(expected[2, 27, 16])}: ")
    page.locator("input.x").first.fill("3")
    assert shown(page).startswith(f"Output 3,27 = {format_value(expected[2, 27, 3])}: ")
    window = page.locator(".input rect.window").first
    assert [float(window.get_attribute(name)) for name in ("x", "y", "width", "height")] == [3, 27, 5, 3]
    page.locator("input.y").nth(1).fill("5")
    highest = expected[0, 10:13, 2:5]
    assert shown(page, 1) == f"Output 1,5 = {format_value(highest.max())}: largest of 9 values"
    chosen = page.locator(".stage").nth(1).locator("td")
    marked = [k for k in range(9) if chosen.nth(k).get_attribute("class") == "chosen"]
    assert marked == [int(highest.argmax())]
    page.set_viewport_size({"width": 400, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert messages == []
    page.close()


def test_a_long_list_of_products_and_a_signal_in_the_browser(browser: Any, tmp_path: Path) -> None:
    photo = scene()
    stage = filter_stage(photo[:1], gabor(size=41), "gabor", border="reflect")
    text = write_page(tmp_path / "gabor.html", [stage], [(100, 3)])
    (sentence, listed), *_ = re.findall(r'<p class="sum"[^>]*>(.*?)</p><div class="arithmetic">(.*?)</div></div>', text)
    page = browser.new_page()
    page.goto((tmp_path / "gabor.html").as_uri())
    assert shown(page) == html.unescape(sentence)
    items = [html.unescape(item) for item in re.findall(r"<li[^>]*>(.*?)</li>", listed)]
    assert page.locator(".listed li").all_text_contents() == items
    assert len(items) == 13
    signal = EXAMPLES["signal"].make()
    kernel = np.array([[-1.0, 0.0, 1.0]])
    write_page(tmp_path / "signal.html", [filter_stage(signal[None, None], kernel, "x", signal=True)], [(6, 0)], True)
    page.goto((tmp_path / "signal.html").as_uri())
    page.locator("input.x").fill("13")
    assert shown(page) == f"Output 13 = {format_value(signal[14] - signal[12])}: sum of 3 products"
    assert page.locator(".terms span").all_text_contents() == ["12", "13", "14"]
    assert page.locator(".kernel h3").inner_text() == "Kernel 3"
    page.locator(".result svg").focus()
    for key, place in (("End", 23), ("Home", 0)):
        page.keyboard.press(key)
        assert shown(page).startswith(f"Output {place} = ")
    page.close()


@pytest.mark.parametrize(("side", "is_reduced"), [(288, False), (700, True)])
def test_the_caption_of_the_whole_image_says_whether_it_is_reduced(tmp_path: Path, side: int, is_reduced: bool) -> None:
    values = np.zeros((1, side, 216), np.uint8)
    text = write_page(tmp_path / "page.html", [filter_stage(values, gabor(), "gabor")], [(9, 9)])
    assert (f"216 × {side}, reduced" in text) == is_reduced
    assert f"216 × {side}; " in text or is_reduced
    assert "The empty frame has no outputs" in text
    assert "Gabor kernels are not normalised" in text


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float64"])
@pytest.mark.parametrize("channels", [1, 3, 7])
def test_a_large_image_is_cropped_around_the_place_and_the_page_stays_below_a_megabyte(
    tmp_path: Path, dtype: str, channels: int
) -> None:
    values = (np.random.default_rng(0).random((channels, 700, 900)) * 255).astype(dtype)
    stage = filter_stage(values, KERNELS["gaussian"].make(sigma=3.0), "gaussian")
    part = interactive(stage, (890, 350), BUDGET, False)
    assert part.crop.x + part.crop.w == 900
    assert part.crop.y <= 350 < part.crop.y + part.crop.h
    padded = np.pad(values, ((0, 0), (12, 12), (12, 12)))
    region = part.region
    expected = padded[:, region.y + 12 :, region.x + 12 :][: len(part.values), : region.h, : region.w]
    np.testing.assert_array_equal(part.values, expected)
    write_page(tmp_path / "page.html", [stage], [(890, 350)])


def test_grey_levels_follow_the_kernel() -> None:
    image = np.array([[[0, 100, 255]]], dtype=np.uint8)
    base = scale_of_input(image, 255.0, False)
    assert str(base) == "0 is black, 255 white"
    mean = filter_stage(image, np.array([[2.0]]), "double")
    assert scale_of_result(mean, base, False) == GreyScale(low=0, high=510)
    slope = filter_stage(image, np.array([[-1.0, 0.0, 1.0]]), "slope", padding="valid")
    signed = scale_of_result(slope, base, False)
    assert signed.signed
    np.testing.assert_array_equal(to_pixels(np.array([[[-255.0, 0, 255]]]), signed), [[0, 128, 255]])
    assert scale_of_result(pool_stage(slope.result, "max", size=1), signed, False) == signed
    assert base.clipped(np.array([[[-1.0, 3, 256]]])) == 2
    peaks = reduce_peaks(np.array([[1.0, -5, 2], [0, 3, -1]]), 2)
    np.testing.assert_array_equal(peaks, [[-5, 2]])

"""Motion and sound in pages: quantised positions, playable WAVs, the controls in a browser, no script without them."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import re
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from motions import BONES, clip_of, sounds, tone, walk, walking
from PIL import Image
from scipy.signal import resample

from snellen.core.views import Motion, Plot, Series, Sound, SoundClip, Table, Track
from snellen.report import view_html
from snellen.report.motion import LEVELS, MISSING, shown_frames, still_frames, time_text
from snellen.report.pages.layout import page
from snellen.report.sound import resampled, spectrogram_png


def player_data(page: str) -> tuple[dict[str, Any], np.ndarray]:
    (description,) = re.findall(r'data-motion="([^"]+)"', page)
    (positions,) = re.findall(r'data-positions="([^"]+)"', page)
    return json.loads(html.unescape(description)), np.frombuffer(base64.b64decode(positions), "<i2").reshape(-1, 3)


def test_positions_in_the_page_are_those_of_the_view() -> None:
    view = walking()
    description, values = player_data(view_html.html(view))
    expected = torch.cat([track.positions for track in view.tracks]).reshape(-1, 3).numpy()
    centre = (expected.max(0) + expected.min(0)) / 2
    unit = (expected.max(0) - expected.min(0)).max() / 2 / LEVELS
    assert np.allclose(values * unit + centre, expected, atol=0.51 * unit)
    assert description["tracks"] == [[0, 60], [35, 25]]
    assert description["frames"] == list(range(60))


def test_two_tracks_of_60_frames_and_38_joints_take_less_than_60_kb() -> None:
    positions = torch.randn(60, 38, 3, generator=torch.Generator().manual_seed(0)).cumsum(0)
    tracks = [Track(name=name, positions=positions) for name in ("truth", "forecast")]
    view = Motion(title="m", tracks=tracks, bones=[(k, k + 1) for k in range(37)], frame_seconds=0.04, present=34)
    assert len(view_html.html(view)) < 60_000


def test_of_a_long_motion_every_kth_frame_is_drawn_and_the_last_observed_one_is_among_them() -> None:
    positions = walk(5000)
    view = Motion(title="m", tracks=[Track(name="truth", positions=positions)], bones=BONES, present=4321)
    frames = shown_frames(view)
    assert 4321 in frames
    assert set(np.diff(frames)) == {8}  # 5,000 * 18 joints / 12,000
    text = view_html.html(view)
    assert len(text) < 130_000
    assert "Every 8th of 5,000 frames is drawn." in text
    assert still_frames(view)[:2] == [0, 4321]


def test_joints_without_a_position_are_not_drawn() -> None:
    positions = walk(10)
    positions[3, 4] = math.nan
    view = Motion(title="m", tracks=[Track(name="truth", positions=positions)], bones=BONES)
    text = view_html.html(view)
    values = player_data(text)[1].reshape(10, 18, 3)
    assert (values[3, 4] == MISSING).all()
    assert (values == MISSING).sum() == 3
    assert "nan" not in text.lower()


@pytest.mark.parametrize("bones", [[], [(0, 1)]])
@pytest.mark.parametrize(
    "tracks",
    [
        [],
        [Track(name="t", positions=torch.zeros(0, 3, 3))],
        [Track(name="t", positions=torch.full((4, 3, 3), math.nan))],
        [Track(name="t", positions=torch.zeros(1, 1, 3))],
        [Track(name="t", positions=torch.rand(3, 2, 3)), Track(name="u", positions=torch.rand(3, 1, 3))],
        [
            Track(name="t", positions=torch.full((2, 3, 3), 1e300, dtype=torch.float64)),
            Track(name="u", positions=-torch.ones(2, 2, 3)),
        ],
    ],
)
def test_a_motion_without_extent_is_a_page(tracks: list[Track], bones: list[tuple[int, int]]) -> None:
    text = view_html.html(Motion(title="m", tracks=tracks, bones=bones, frame_seconds=0.1, present=0))
    assert text.startswith('<figure class="motion">')
    assert not re.search(r"[^a-z](nan|inf)[^a-z]", text)


def test_time_is_relative_to_the_last_observed_frame() -> None:
    view = walking()
    assert [time_text(view, k) for k in (0, 34, 36, 59)] == ["−1360 ms", "0 ms", "+80 ms", "+1000 ms"]


def wav_of(text: str) -> list[tuple[np.ndarray, int]]:
    result = []
    for data in re.findall(r"data:audio/wav;base64,([^\"]+)", text):
        with wave.open(io.BytesIO(base64.b64decode(data))) as file:
            assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
            values = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767
            result.append((values, file.getframerate()))
    return result


def test_a_recording_plays_as_it_is_and_a_long_one_in_its_first_seconds() -> None:
    text = view_html.html(sounds())
    (short, short_rate), (long, long_rate) = wav_of(text)
    assert (short_rate, long_rate) == (8000, 16000)
    assert np.allclose(short, tone(1000, 0.6)[0], atol=1e-4)
    assert len(long) == 5 * 16000
    seconds = np.arange(len(long)) / 16000
    expected = (0.5 * np.sin(2 * np.pi * 440 * seconds) + 0.5 * np.sin(2 * np.pi * 3000 * seconds)) / 2
    assert np.allclose(long[100:-100], expected[100:-100], atol=1e-3)
    assert "First 5 s of 7.0 s. Mean of 2 channels. Played at 16 kHz instead of 44.1 kHz." in text


@pytest.mark.parametrize(("count", "rate", "new_rate"), [(999, 44100, 16000), (801, 2000, 8000), (1000, 8000, 3000)])
def test_resampling_equals_that_of_scipy(count: int, rate: int, new_rate: int) -> None:
    x = np.random.default_rng(0).normal(size=count)
    new_count = round(count * new_rate / rate)
    expected = resample(x, new_count)
    if new_count % 2 == 0 and new_count < count:  # SciPy keeps the coefficient at the Nyquist frequency
        spectrum = np.fft.rfft(expected)
        spectrum[-1] = 0
        expected = np.fft.irfft(spectrum, new_count)
    assert np.allclose(resampled(torch.from_numpy(x), rate, new_rate), expected, atol=1e-12)


def test_the_brightest_row_of_a_spectrogram_is_that_of_the_tone() -> None:
    levels = clip_of(tone(1000, 0.5), 8000, "").spectrogram
    assert levels is not None
    pixels = np.asarray(Image.open(io.BytesIO(spectrogram_png(levels))).convert("RGB")).astype(int).sum(2)
    assert pixels.shape == levels.shape
    assert pixels[::-1].mean(1).argmax() == 1000 / (8000 / 256)
    silent = np.asarray(Image.open(io.BytesIO(spectrogram_png(torch.zeros(4, 4)))).convert("RGB"))
    assert silent.max() < 10


@pytest.mark.parametrize("channels", [0, 1, 2])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_recording_of_any_content_is_a_page(count: int, channels: int) -> None:
    for value in (0.0, math.nan, math.inf, 5.0):
        samples = torch.full((channels, count), value)
        for levels in (None, torch.full((3, count), -value)):
            clip = SoundClip(samples=samples, rate=500.5, spectrogram=levels, frequencies=(0, 1, 2), caption="<b>")
            text = view_html.html(Sound(title="s", items=[clip] * 9))
            assert "The first 8 of 9 recordings." in text
            assert "<b><b>" not in text
            assert not re.search(r'[" ](nan|inf)', text)
            assert ("<audio" in text) is (count * channels > 0)


def test_a_fan_has_bands_of_two_strengths_and_a_dashed_line_also_in_the_legend() -> None:
    x, wide = [1.0, 2.0, 3.0], {"low": [0.0, 0.0, 0.0], "high": [4.0, 4.0, 4.0]}
    narrow = {"low": [1.0, 1.0, 1.0], "high": [3.0, 3.0, 3.0]}
    series = [
        Series(name="90 % interval", x=x, y=[None] * 3, style="band", colour_index=1, **wide),
        Series(name="50 % interval", x=x, y=[None] * 3, style="band", colour_index=1, **narrow),
        Series(name="truth", x=x, y=[2.0, 2.0, 3.0], style="dashed", colour_index=0),
        Series(name="median", x=x, y=[2.0, 2.0, 2.0], colour_index=1),
    ]
    text = view_html.html(Plot(title="Fan", x="step", y="sales", series=series))
    svg, legend = text.split("</svg>")
    assert svg.count("fill-opacity: 0.2") == 2
    assert svg.count("stroke-dasharray: 5.6,2.8") == 1  # 4 and 2 widths of the line
    keys = re.findall(r'<i class="([^"]+)" style="background:([^;"]+)(?:;opacity:([.0-9]+))?"', legend)
    colours = [key[1] for key in keys]
    assert [key[0] for key in keys] == ["band", "band", "line dashed", "line"]
    assert [key[2] for key in keys] == ["0.20", "0.36", "", ""]  # 1 - 0.8 * 0.8
    assert colours[0] == colours[1] == colours[3] != colours[2]


def test_a_page_has_a_script_and_media_only_for_views_that_need_them() -> None:
    table = view_html.html(Table(title='<div class="player"><audio ', columns=["a"], rows=[]))
    motion, sound = view_html.html(walking()), view_html.html(sounds())
    pages = [page("t", "s", "", body) for body in (table, motion, sound, motion + sound)]
    assert ["script-src" in text for text in pages] == [False, True, False, True]
    assert [text.count("<script>") for text in pages] == [0, 1, 0, 1]
    assert ["media-src data:" in text for text in pages] == [False, False, True, True]
    assert page("t", "s", "", motion, script="let a = 1;").count("<script>") == 1


def test_a_motion_is_played_turned_and_read_by_keyboard(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    view = walking()
    path.write_text(page("t", "s", "<h1>t</h1>", view_html.html(view) + view_html.html(sounds())), encoding="utf-8")
    context = browser.new_context(viewport={"width": 400, "height": 900}, offline=True)
    opened = context.new_page()
    opened.clock.install(time=0)
    messages: list[str] = []
    opened.on("console", lambda message: messages.append(message.text))
    opened.on("pageerror", lambda error: messages.append(str(error)))
    opened.goto(path.as_uri())
    assert not opened.locator(".stills").is_visible()
    frame, output = opened.get_by_role("slider", name="frame"), opened.locator("output")
    for key, text in (
        ("Home", "frame 1 of 60, observed −1360 ms"),
        ("ArrowRight", "frame 2 of 60, observed −1320 ms"),
        ("End", "frame 60 of 60, forecast +1000 ms"),
    ):
        frame.press(key)
        assert output.inner_text() == text
        assert frame.get_attribute("aria-valuetext") == text
    # the figure lies within the canvas at the first and at the last frame, from every side
    turn, drawn = opened.get_by_role("slider", name="angle"), []
    for key in ("Home", "End"):
        frame.press(key)
        for value in ("-180", "-90", "0", "90"):
            turn.fill(value)
            drawn.append(opened.evaluate(_DRAWN_PIXELS))
    assert len({tuple(place) for place in drawn}) > 4
    assert all(left > 0 and right < width - 1 for left, right, width in drawn)
    turn.fill("-30")
    turn.press("ArrowLeft")
    assert opened.locator(".turn span").inner_text() == "−35°"
    box = opened.locator("canvas").bounding_box()
    opened.mouse.move(box["x"] + 50, box["y"] + 50)
    opened.mouse.down()
    opened.mouse.move(box["x"] + 90, box["y"] + 50, steps=4)
    opened.mouse.up()
    assert opened.locator(".turn span").inner_text() != "−35°"
    opened.clock.pause_at(100_000)
    frame.press("End")
    button = opened.locator("button")
    button.press("Enter")
    assert button.inner_text() == "Pause"
    opened.clock.run_for(400)
    moved = frame.evaluate("e => e.valueAsNumber")
    assert abs(moved - 400 / 40) <= 1  # frames of 40 ms
    button.press("Enter")
    opened.clock.run_for(400)
    assert (button.inner_text(), frame.evaluate("e => e.valueAsNumber")) == ("Play", moved)
    button.press("Enter")
    opened.clock.run_for(3000)
    assert (button.inner_text(), output.inner_text()) == ("Play", "frame 60 of 60, forecast +1000 ms")
    durations = [audio.evaluate(_DURATION) for audio in opened.locator("audio").all()]
    assert durations == pytest.approx([0.6, 5.0], abs=0.01)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 400
    assert messages == []
    context.close()


_DURATION = """a => new Promise((done) => {
  if (a.readyState) done(a.duration);
  a.addEventListener("loadedmetadata", () => done(a.duration));
})"""
_DRAWN_PIXELS = """() => {  // columns of the outermost pixels of a skeleton, and the width
  const canvas = document.querySelector("canvas"), { width, height } = canvas;
  const copy = Object.assign(document.createElement("canvas"), { width, height });
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const data = context.getImageData(0, 0, width, height).data;
  const columns = [];
  for (let k = 0; k < width * height; k++) if (data[4 * k + 3] > 200) columns.push(k % width);
  return [columns.reduce((a, b) => Math.min(a, b)), columns.reduce((a, b) => Math.max(a, b)), width];
}"""


def test_without_javascript_still_frames_are_shown(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(page("t", "s", "<h1>t</h1>", view_html.html(walking())), encoding="utf-8")
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(path.as_uri())
    assert opened.locator(".stills svg").count() == 6
    assert opened.locator(".stills").is_visible()
    assert not opened.locator("button").is_visible()
    assert opened.locator(".stills span").all_inner_texts()[:3] == ["−1360 ms", "0 ms", "+280 ms"]
    context.close()

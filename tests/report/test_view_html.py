"""Views as HTML: correct numbers, escaped names, no external references."""

from __future__ import annotations

import base64
import io
import itertools
import re
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from snellen.core.spec import Boxes
from snellen.core.views import (
    AnnotatedImage,
    ImageGrid,
    Mark,
    Matrix,
    Motion,
    Plot,
    Series,
    Sound,
    SoundClip,
    Table,
    Text,
    Track,
    View,
)
from snellen.detection.display import marks_of_objects
from snellen.report import overlay, view_html
from snellen.report.html_text import clean

MANY = tuple(f"class {k}" for k in range(40))


def decode_image(page: str) -> Image.Image:
    (data,) = re.findall(r"base64,([^\"]+)", page)
    return Image.open(io.BytesIO(base64.b64decode(data)))


def image_html(values: torch.Tensor, low: float, high: float) -> str:
    return view_html.html(
        ImageGrid(title="", items=[AnnotatedImage(values=values, low=low, high=high, caption="a\nb.png")])
    )


def hostile_views(names: tuple[str, ...]) -> list[View]:
    square = torch.ones(len(names), len(names)).tolist()
    lines = [Series(name=n, x=[1, 2], y=[1.0, None], labels=(n, n)) for n in names]
    noise = torch.rand(1, 4, 4)
    return [
        Text(title=names[0], lines=names, level="warning"),
        Table(title=names[1], columns=names, rows=[names, [None] * len(names)], caption=names[0]),
        Matrix(title=names[0], rows=names, columns=names, values=square, x=names[1], y=names[0], caption=names[1]),
        ImageGrid(
            title=names[0], items=[AnnotatedImage(values=noise, low=0, high=1, caption=n, good=False) for n in names]
        ),
        *(
            Motion(title=n, tracks=[Track(name=n, positions=torch.rand(2, 3, 3))], bones=[(0, 1)], caption=n)
            for n in names
        ),
        Sound(title=names[0], items=[SoundClip(samples=noise[0], rate=8000, caption=n) for n in names[:8]]),
        Sound(title=names[0], items=[SoundClip(samples=noise[0], rate=8000, caption=n) for n in names[8:]]),
        *(
            Plot(title=n, x=m, y=k, style="points", caption=m, series=lines)
            for n, m, k in zip(names[::3], names[1::3], names[2::3], strict=False)
        ),
    ]


@pytest.mark.parametrize("kind", [Text, Table, Matrix, ImageGrid, Plot, Motion, Sound])
def test_hostile_names_are_escaped(kind: type[Any], hostile_names: tuple[str, ...], parsed_page: Any) -> None:
    views = [view for view in hostile_views(hostile_names) if isinstance(view, kind)]
    for page in map(view_html.html, views):
        for tag, attributes in parsed_page(page).tags:
            assert tag not in ("script", "iframe", "object", "link", "style", "b>")
            assert not [name for name in attributes if name.startswith("on")]
            if tag == "img":
                assert str(attributes["src"]).startswith("data:image/png;base64,")
            assert str(attributes.get("href", "#")).startswith("#")
        assert not set("\u202e\x00") & set(page)
    texts = " ".join(word for page in map(view_html.html, views) for word in parsed_page(page).texts).replace(
        "\u00a0", " "
    )
    assert not [name for name in hostile_names if clean(name) not in texts]


def test_a_table_shows_every_cell_and_aligns_numbers_right(parsed_page: Any) -> None:
    parsed = parsed_page(
        view_html.html(
            Table(
                title="t",
                columns=["class", "samples", "recall", "taken for"],
                rows=[["7", 1135, "99.2 ± 0.5 %", "2 (3)"], ["8", None, None, ""]],
            )
        )
    )
    assert [word for word in parsed.texts if word.strip()] == [
        "t",
        "class",
        "samples",
        "recall",
        "taken for",
        "7",
        "1,135",
        "99.2 ± 0.5 %",
        "2 (3)",
        "8",
        "–",
        "–",
    ]
    aligned = [attributes.get("class") for tag, attributes in parsed.tags if tag == "th"]
    assert aligned == [None, "n", "n", None]


def test_a_matrix_marks_correct_predictions_and_errors(parsed_page: Any) -> None:
    parsed = parsed_page(
        view_html.html(Matrix(title="m", rows=["a", "b"], columns=["a", "b"], values=[[8, 2], [0, 5]]))
    )
    cells = [attributes for tag, attributes in parsed.tags if tag == "td" and "class" in attributes]
    assert [(c["class"], c["title"]) for c in cells] == [("ok", "a → a: 8"), ("bad", "a → b: 2"), ("ok", "b → b: 5")]


def test_a_large_matrix_shows_colour_only(parsed_page: Any) -> None:
    page = view_html.html(Matrix(title="m", rows=MANY, columns=MANY, values=(torch.eye(40) * 9).tolist()))
    assert "9" not in [word.strip() for word in parsed_page(page).texts]
    assert 'title="class 3 → class 3: 9"' in page


@pytest.mark.parametrize(
    ("values", "low", "high", "expected"),
    [
        (torch.tensor([[[0, 255]]], dtype=torch.uint8), 0, 255, [0, 255]),
        (torch.tensor([[[1000, 1128, 1255]]], dtype=torch.int32).to(torch.uint16), 1000, 1255, [0, 128, 255]),
        (torch.tensor([[[-1.0, 0.0, 1.0]]], dtype=torch.float64), -1, 1, [0, 128, 255]),
        (torch.tensor([[[float("nan"), float("inf"), -float("inf")]]]), 0, 1, [0, 255, 0]),
        (torch.tensor([[[5.0, 5.0]]]), 5, 5, [0, 0]),
    ],
)
def test_images_of_any_depth_are_scaled_by_their_range(
    values: torch.Tensor, low: float, high: float, expected: list[int]
) -> None:
    assert np.asarray(decode_image(image_html(values, low, high))).ravel().tolist() == expected


def test_rgb_is_unchanged_and_other_channels_are_side_by_side() -> None:
    colour = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    assert np.array_equal(np.asarray(decode_image(image_html(colour, 0, 255))), colour.permute(1, 2, 0).numpy())
    five = torch.randint(0, 256, (5, 4, 6), dtype=torch.uint8)
    rng = np.asarray(decode_image(image_html(five, 0, 255)))
    assert rng.shape == (4, 30), "five channels side by side"
    assert np.array_equal(rng[:, 6:12], five[1].numpy())


def test_large_images_are_reduced_and_small_ones_marked_small() -> None:
    large, small = image_html(torch.rand(3, 900, 600), 0, 1), image_html(torch.rand(3, 28, 28), 0, 1)
    assert decode_image(large).size == (107, 160)
    assert 'class="small"' in small
    assert 'class="small"' not in large


def test_frames_side_by_side_take_the_place_of_two_images() -> None:
    strip = image_html(torch.rand(3, 20, 160), 0, 1)
    assert '"image strip"' in strip
    assert 'class="small"' in strip
    assert decode_image(strip).size == (160, 20)
    assert decode_image(image_html(torch.rand(3, 100, 800), 0, 1)).size == (320, 40)
    assert "strip" not in image_html(torch.rand(3, 20, 40), 0, 1)


def test_24_images_of_noise_stay_below_three_megabytes() -> None:
    items = [AnnotatedImage(values=torch.rand(3, 300, 300), low=0, high=1) for _ in range(24)]
    assert len(view_html.html(ImageGrid(title="", items=items))) < 3_000_000


@pytest.mark.parametrize("style", ["line", "points", "bars"])
def test_a_plot_is_one_svg_with_the_colours_of_the_page(style: str, parsed_page: Any) -> None:
    view = Plot(
        title="p",
        x="step",
        y="loss",
        style=style,
        log_x=True,
        log_y=True,
        diagonal=True,
        series=[
            Series(name=n, x=[1, 10, 99], y=[1.0, 0.01, 0.5], low=[0.9, 0.001, 0.4], high=[1.1, 0.02, 0.6])
            for n in ("one", "two")
        ],
    )
    page = view_html.html(view)
    parsed = parsed_page(page)
    assert [tag for tag, _ in parsed.tags].count("svg") == 1
    assert "http" not in page
    assert set(re.findall(r"url\((.)", page)) <= {"#"}
    assert "currentColor" in page
    assert not re.search(r"#0[123]0[123]0[123]", page), "a placeholder colour is left"
    assert {"step", "loss", "one", "two"} <= set(parsed.texts)
    assert view_html.html(view) == page, "the output is deterministic"


def test_ticks_of_logarithmic_axes_are_plain_text(parsed_page: Any) -> None:
    series = [Series(name="", x=[1e-6, 1, 1e6], y=[0, 1, 2])]
    page = view_html.html(Plot(title="", x="", y="", log_x=True, series=series))
    texts = set(parsed_page(page).texts)
    assert "10⁶" in texts
    assert "10⁻⁶" in texts
    assert "mathdefault" not in page


def test_a_logarithmic_axis_without_a_power_of_ten_has_plain_ticks(parsed_page: Any) -> None:
    page = view_html.html(Plot(title="", x="", y="", log_x=True, series=[Series(name="", x=[2.1e9, 2.9e9], y=[0, 1])]))
    assert "mathdefault" not in page
    assert any(re.fullmatch(r"2(\.\d+)?e\+09", word) for word in parsed_page(page).texts)


@pytest.mark.parametrize(
    "series",
    [[], [Series(name="", x=[], y=[])], [Series(name="", x=[1], y=[None])], [Series(name="", x=[0.0], y=[0.0])]],
)
def test_an_empty_plot_is_drawn(series: list[Series]) -> None:
    assert "<svg" in view_html.html(Plot(title="", x="", y="", series=series, log_x=True, log_y=True, diagonal=True))


def test_marks_on_small_images_are_drawn_at_a_higher_resolution() -> None:
    def rng(marks: tuple[Mark, ...]) -> tuple[int, int]:
        item = AnnotatedImage(values=torch.zeros(3, 48, 96), low=0, high=1, caption="a", marks=marks)
        return decode_image(view_html.html(ImageGrid(title="", items=[item]))).size

    assert rng(()) == (96, 48)
    assert rng((Mark(box=(10, 10, 40, 40), label="cup"),)) == (288, 144)


def test_labels_of_marks_never_overlap_and_the_last_mark_keeps_its_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last mark is the detection with the highest score."""
    drawn: list[tuple[str, overlay.Rectangle]] = []
    draw_label = overlay._draw_label

    def record(draw: Any, text: str, *arguments: Any) -> None:
        taken = arguments[-1]
        before = len(taken)
        draw_label(draw, text, *arguments)
        drawn.extend((text, place) for place in taken[before:])

    monkeypatch.setattr(overlay, "_draw_label", record)
    marks = [
        Mark(label=f"cell {k}", colour_index=0, box=(8.0 * k, 5.0 * k, 8.0 * k + 60, 5.0 * k + 50)) for k in range(30)
    ]
    image = Image.new("RGB", (320, 240))
    overlay.draw_marks(image, 1.0, marks)
    assert drawn[0][0] == "cell 29"
    assert 4 < len(drawn) < 30
    for (_, a), (_, b) in itertools.combinations(drawn, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    assert all(x1 >= 0 and y1 >= 0 and x2 <= 320 and y2 <= 240 for _, (x1, y1, x2, y2) in drawn)


@pytest.mark.parametrize("with_masks", [False, True])
def test_boxes_of_one_class_have_one_colour_and_masks_of_it_several(with_masks: bool) -> None:
    item: dict[str, Any] = {"class": "cell", "score": 0.5, "box": [0, 0, 2, 2]}
    if with_masks:
        item["mask"] = {"size": [2, 2], "counts": "04"}
    target = Boxes(names=("cell",), counts=(3,))
    colours = [mark.colour_index for mark in marks_of_objects([item, item, item], target)]
    assert colours == ([2, 1, 0] if with_masks else [0, 0, 0])


def test_the_label_of_a_box_as_high_as_the_image_lies_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    image = overlay.draw_marks(
        Image.new("RGB", (200, 100)), 1.0, [Mark(label="cell", colour_index=1, box=(20, 0, 180, 100))]
    )
    pixels = np.asarray(image)
    filled = (pixels == overlay.class_colour(1)).all(2)
    rows = np.flatnonzero(filled[:99, 21])  # left of the text: the background of the label, and the upper edge
    assert 8 < len(rows) < 40
    assert rows.tolist() == list(range(len(rows)))


def test_labels_do_not_share_a_row_of_pixels() -> None:
    """A rectangle of Pillow includes its last row and column."""
    marks = [Mark(label="a", colour_index=k, box=(10.0, 30.0 + 40 * k, 60.0, 60.0 + 40 * k)) for k in range(2)]
    taken: list[overlay.Rectangle] = []
    for mark in marks:
        canvas = Image.new("RGB", (100, 140))
        assert mark.box is not None
        overlay._draw_label(
            ImageDraw.Draw(canvas), mark.label, mark.box, (255, 0, 0), overlay.font(12), canvas.size, taken
        )
        x1, y1, x2, y2 = taken[-1]
        rows, columns = np.nonzero(np.asarray(canvas).any(2))
        assert (columns.min(), rows.min()) == (round(x1), round(y1))
        assert (columns.max(), rows.max()) == (round(x2) - 1, round(y2) - 1)


def test_series_of_one_colour_have_other_markers() -> None:
    """The palette has six colours; the seventh series of points has the first colour and a triangle."""
    series = [Series(name=str(k), x=[float(k)], y=[0.0]) for k in range(8)]
    shown = view_html.html(Plot(title="", x="x", y="y", series=series, style="points"))
    keys = re.findall(r"<li>(<i.*?</i>)", shown)
    assert len(set(keys)) == 8
    assert keys[6].replace(' class="marker1"', "") == keys[0]
    paths = set(re.findall(r'<path id="m[^"]*" d="([^"]*)"', shown))
    assert len([d for d in paths if d.count("C") > 4]) == 1, "one circle"
    assert any(d.count("L") == 2 and "C" not in d for d in paths), "a triangle"


def test_the_legend_shows_lines_as_lines_and_points_as_points() -> None:
    """A line and the points of one colour, as of a class and its samples, have different symbols."""
    series = [
        Series(name="short", x=[0.0, 1.0], y=[0.0, 1.0], colour_index=0),
        Series(name="samples of short", x=[0.0], y=[0.0], style="points", colour_index=0),
        Series(name="counts", x=[0.0], y=[1.0], style="bars"),
    ]
    keys = re.findall(r"<li>(<i.*?</i>)", view_html.html(Plot(title="", x="x", y="y", series=series)))
    assert [re.findall(r'class="(.*?)"', key) for key in keys] == [["line"], [], ["marker2"]]

"""Decision maps in reports: positions and colours in the page, data of every form, a browser at two widths."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from raw_datasets import classes, labels, numbers, seeded

from snellen.api import RunOptions, TrainedRun, train
from snellen.core.spec import Classes, Column, Input
from snellen.core.views import DecisionMap, MapPoints, Plot, Table, Text, View
from snellen.data.dataset import Dataset, Labelled, RawDataset
from snellen.data.open_dataset import assemble
from snellen.data.source import ArraySource
from snellen.model_selection.study import study
from snellen.report import view_html


def maps(run: TrainedRun, split: str = "test") -> list[View]:
    return run.learner.task.input_maps(run.model, run.data, run.record.spec, split)


def table(x: torch.Tensor, y: torch.Tensor, *columns: Column) -> Dataset[Labelled]:
    inputs = {"x": Input(modality="vector", shape=tuple(x.shape[1:]), dtype="float32", columns=columns)}
    target = Classes(names=("a", "b"))
    raw = RawDataset(source=ArraySource(x), inputs=inputs, target=target, truth=y, recognised_as="")
    return assemble(raw, "table", 0, None)


def test_the_page_shows_the_predicted_class_at_its_place(tmp_path: Path) -> None:
    """Colours of the PNG against predictions of the model at the coordinates that the axes print."""
    run = train("moons", model="mlp", hidden=(16,), epochs=20, out=tmp_path / "run", options=RunOptions())
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert len(page) < 1_000_000
    figure = page[page.index('<figure class="plot map">') :]
    figure = figure[: figure.index("</figure>")]
    match = re.search(
        r'<svg x="(\S+)" y="(\S+)" width="(\S+)" height="(\S+)" .*?<image x="(\S+)" y="(\S+)" width="(\S+)" '
        r'height="(\S+)".*?base64,([^"]+)"',
        figure,
    )
    assert match is not None
    left, top, *frame = map(float, match.groups()[:8])
    pixels = np.array(Image.open(io.BytesIO(base64.b64decode(match[9]))))
    rows, columns = pixels.shape[:2]
    view = maps(run)[0]
    assert isinstance(view, DecisionMap)
    rng = np.random.default_rng(0)
    for row, column in zip(rng.integers(rows, size=40), rng.integers(columns, size=40), strict=True):
        across = (frame[2] + (column + 0.5) / columns * frame[4]) / frame[0]  # 0 … 1 of the axis
        up = 1 - (frame[3] + (row + 0.5) / rows * frame[5]) / frame[1]
        x = view.x_range[0] + across * (view.x_range[1] - view.x_range[0])
        y = view.y_range[0] + up * (view.y_range[1] - view.y_range[0])
        with torch.inference_mode():
            scores = run.model.scores(torch.tensor([[x, y]], dtype=torch.float32))[0]
        if float((scores[0] - scores[1]).abs()) > 0.05:
            blue = pixels[row, column, 2] > pixels[row, column, 0]
            assert blue == bool(scores[0] > scores[1])
    drawn = sum(len(points.x) for points in view.points)
    assert f"0 of {drawn} drawn samples" in figure or re.search(rf"\d+ of {drawn} drawn samples", figure)
    assert left > 0
    assert top > 0


def surface(y_range: tuple[float, float]) -> DecisionMap:
    corner = (0.0, y_range[0])
    points = [
        MapPoints(name=name, x=[corner[0]], y=[corner[1]], values=[1.0], filled=not k)
        for k, name in enumerate(("training sample", "test sample"))
    ]
    values = torch.zeros(2, 2)
    return DecisionMap(title="m", x="x", y="y", x_range=(0, 1), y_range=y_range, values=values, points=points,
                       levels=(0.0, 1.0, 2.0), value_name="power", equal=y_range[1] > 1)  # fmt: skip


@pytest.mark.parametrize("height", [1.0, 3.0])
def test_the_legend_of_a_surface_has_the_symbols_of_its_samples_and_the_bar_its_title(height: float) -> None:
    shown = view_html.html(surface((0.0, height)))
    drawing, legend = shown.split('<ul class="legend">')
    styles = [re.findall(r"<path d=\"M[^\"]*z?\" (?:fill=\"#\w+\" )?(stroke=\"#\w+\" stroke-width=\"\S+\")/>", part)
              for part in (drawing, legend)]  # fmt: skip
    assert styles[0] == styles[1]
    assert len(styles[0]) == 4, "a white and a black outline of each symbol"
    curved = [[("a" in d) for d in re.findall(r'<path d="M\S+ \S+?(m[^"]*)"', part)] for part in (drawing, legend)]
    assert curved[0] == curved[1] == [True, True, False, False], "circles, then squares"
    numbers_at = max(float(x) for x in re.findall(r'<text x="(\S+)" y="\S+">', drawing))
    title_at = float(re.findall(r'translate\((\S+) \S+ rotate\(-90\)" text-anchor="middle">power', drawing)[0])
    assert 0 < title_at - numbers_at < 40


def test_axes_have_one_scale_where_perpendiculars_are_drawn_or_no_width_is_lost(tmp_path: Path) -> None:
    x = torch.rand(80, 2, generator=seeded()) * torch.tensor([1.0, 2.0])
    data = classes(x, (x[:, 0] + x[:, 1] / 2 > 1).long(), 2)
    linear, knn = (maps(train(data, model=name, out=tmp_path / name))[0] for name in ("lda", "knn"))
    assert isinstance(linear, DecisionMap)
    assert isinstance(knn, DecisionMap)
    assert linear.equal
    assert not knn.equal
    square = classes(x * torch.tensor([2.0, 1.0]), (x[:, 0] > 0.5).long(), 2)
    assert maps(train(square, model="knn", out=tmp_path / "square"))[0].equal  # type: ignore[union-attr]


def classes_of_training_samples(run: TrainedRun) -> dict[str, int]:
    """Class with the highest score of the model, by the name of the sample."""
    batch = run.data.samples("train").take(torch.arange(len(run.data.splits["train"])))
    with torch.inference_mode():
        predicted = run.model.scores(batch.x).argmax(1).tolist()
    return {run.data.name(k): c for k, c in zip(batch.ids.tolist(), predicted, strict=True)}


@pytest.mark.parametrize("model", ["lda", "knn", "random-forest", "svm", "mlp", "baseline"])
def test_every_classifier_has_a_map(model: str, tmp_path: Path) -> None:
    x = torch.randn(90, 2, generator=seeded())
    run = train(classes(x, torch.arange(90) % 7, 7), model=model, out=tmp_path / "run")
    view = maps(run)[0]
    assert isinstance(view, DecisionMap)
    assert set(view.values.unique().tolist()) <= set(range(7))
    assert "<svg" in view_html.html(view)


def test_data_of_other_forms(tmp_path: Path) -> None:
    """Labels, several numbers, categories, constant and integer columns, outliers, decades, one input, twenty-one."""
    x = torch.randn(80, 2, generator=seeded())
    y = (x > 0).float()
    run = train(labels(x, torch.cat([y, y, y], 1)), model="mlp", epochs=1, out=tmp_path / "labels")
    assert [view.title for view in maps(run)] == [f"Decision map: label label {k}" for k in range(3)]
    run = train(numbers(x, torch.cat([x] * 3, 1), [f"n{k}" for k in range(6)]), model="ridge", out=tmp_path / "numbers")
    assert len(maps(run)) == 3
    category = Column(name="c", categories=("u", "v"))
    one_hot = torch.nn.functional.one_hot(torch.arange(80) % 2).float()
    data = table(torch.cat([x[:, :1], one_hot], 1), y[:, 0].long(), Column(name="x"), category)
    assert maps(train(data, model="lda", out=tmp_path / "categories")) == []
    constant = torch.stack([x[:, 0], torch.full((80,), 3.0)], 1)
    view = maps(train(classes(constant, y[:, 0].long(), 2), model="softmax", epochs=1, out=tmp_path / "constant"))[0]
    assert isinstance(view, DecisionMap)
    assert view.y_range == (1.5, 4.5)
    integers = torch.randint(0, 200, (80, 2), generator=seeded(), dtype=torch.uint8)
    run = train(classes(integers, y[:, 0].long(), 2), model="knn", out=tmp_path / "integers")
    assert isinstance(maps(run)[0], DecisionMap)
    far = x.clone()
    far[run.data.splits["train"][0]] = 1e6
    view = maps(train(classes(far, y[:, 0].long(), 2), model="lda", out=tmp_path / "outlier"))[0]
    assert isinstance(view, DecisionMap)
    assert view.x_range[1] < 10
    assert "1 training sample lies outside the axes." in view.caption
    decades = 10 ** (4 * x)
    view = maps(train(numbers(decades, x[:, 0]), model="mlp", activation="relu", epochs=1, out=tmp_path / "logs"))[0]
    assert isinstance(view, DecisionMap)
    assert view.log_x
    assert "curved on logarithmic axes" in view.caption or "not drawn" in view.caption
    assert "<svg" in view_html.html(view)
    wide = torch.randn(80, 21, generator=seeded())
    assert maps(train(classes(wide, y[:, 0].long(), 2), model="lda", out=tmp_path / "wide")) == []
    three = maps(train(classes(wide[:, :3], y[:, 0].long(), 2), model="lda", out=tmp_path / "three"))
    assert [type(view) for view in three] == [Table]
    curve = maps(train(classes(x[:, :1], y[:, 0].long(), 2), model="perceptron", out=tmp_path / "one"))[0]
    assert isinstance(curve, Plot)


def test_distances_in_the_table_are_those_in_raw_units(tmp_path: Path) -> None:
    """Against the plane through points at which the two scores of the model are equal."""
    x = torch.randn(80, 2, generator=seeded()) * torch.tensor([1.0, 30.0]) + torch.tensor([5.0, -100.0])
    y = (x[:, 0] - 5 + (x[:, 1] + 100) / 30 > 0).long()
    run = train(table(x, y, Column(name="a [cm]"), Column(name="b [kg]")), model="softmax", out=tmp_path / "run")
    view, distances = maps(run)[:2]
    assert isinstance(view, DecisionMap)
    assert isinstance(distances, Table)
    assert (view.x, view.y) == ("a [cm]", "b [kg]")
    assert not view.equal
    assert "does not look perpendicular" in view.caption
    assert "different units" in distances.caption
    boundary = next(line for line in view.lines if line.kind == "boundary")
    (x0, y0), (x1, y1) = boundary.paths[0]
    with torch.inference_mode():
        scores = run.model.scores(torch.tensor([[x0, y0], [x1, y1]], dtype=torch.float64)).double()
    assert torch.allclose(scores[:, 0], scores[:, 1], atol=1e-3)
    normal = np.array([y0 - y1, x1 - x0]) / np.hypot(x1 - x0, y1 - y0)
    predicted = classes_of_training_samples(run)
    for row in distances.rows:
        point = np.array([float(str(row[2])), float(str(row[3]))])
        assert abs(float(str(row[1]))) == pytest.approx(abs(normal @ (point - [x0, y0])), rel=2e-3, abs=2e-3)
        by_model = predicted[str(row[0]).partition(": ")[2]]
        assert (float(str(row[1])) > 0) == (by_model == 1)
        assert str(row[5]).removesuffix(" (wrong)") == "ab"[by_model]
        assert str(row[5]).endswith(" (wrong)") == (row[4] != "ab"[by_model])
    assert run.model.network.body[1].weight.shape == (2, 2)
    torch.nn.init.zeros_(run.model.network.body[1].weight)
    assert isinstance(maps(run)[1], Text)


def test_a_relu_curve_bends_at_its_breakpoints(tmp_path: Path) -> None:
    run = train("sine", model="mlp", activation="relu", hidden=(6, 5), epochs=30, out=tmp_path / "run")
    plot = maps(run)[0]
    assert isinstance(plot, Plot)
    series = {line.name: line for line in plot.series}
    match = re.search(r"has ([\d,]+) breakpoints \(([\d,]+) on this axis\).* = 42\.", plot.caption)
    assert match is not None
    assert len(series["breakpoints"].x) == int(match[2]) <= int(match[1]) <= 41
    curve_x, curve_y = np.array(series["model"].x), np.array(series["model"].y, float)
    slope = np.diff(curve_y) / np.diff(curve_x)
    bends = curve_x[1:-1][np.abs(np.diff(slope)) > 2e-2 * np.abs(slope).max()]
    assert all(np.abs(np.array(series["breakpoints"].x) - bend).min() < 5e-3 for bend in bends)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_study_shows_one_map_for_each_cell(browser: Any, tmp_path: Path, scheme: str) -> None:
    vary = {"model": "softmax,mlp", "epochs": "3"}
    study("rings", vary, seeds=1, out=tmp_path / "study")
    page = browser.new_page(viewport={"width": 1200, "height": 900}, color_scheme=scheme)
    page.goto((tmp_path / "study" / "report.html").as_uri())
    drawings = page.locator("figure.map > svg[role=img]")
    assert drawings.count() == 2
    boxes = [drawings.nth(k).bounding_box() for k in range(2)]
    assert boxes[0]["y"] == pytest.approx(boxes[1]["y"], abs=40)
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    titles = page.locator("figure.map h3").all_inner_texts()
    assert titles[0].startswith("model=softmax")
    assert all("seed 0" in title for title in titles)
    assert "median validation result" in page.inner_text("body")
    outside = page.evaluate(
        """[...document.querySelectorAll('figure.map > svg')].flatMap(svg => {
            const all = svg.getBoundingClientRect();
            return [...svg.querySelectorAll('text')].map(t => t.getBoundingClientRect()).filter(
                b => b.left < all.left - 1 || b.right > all.right + 1 || b.bottom > all.bottom + 1);
        }).length"""
    )
    assert outside == 0
    page.set_viewport_size({"width": 400, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.close()

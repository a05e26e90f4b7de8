"""Report page, model card and notebook summary of real runs."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

import snellen
from snellen.api import RunOptions, TrainedRun
from snellen.core.views import Finding, Metric
from snellen.data.formats import OpenOptions
from snellen.report.html_text import clean
from snellen.report.notebook import run_html
from snellen.report.pages.ladder import Rung, cost_plot, ladder_page
from snellen.report.pages.run import best_model_sections, report_html
from snellen.report.pages.sections import data_section, findings_html, metrics_html, rerun_command, rerun_html
from snellen.report.pages.verdicts import baseline_verdict, headline_html, interval_caption

ORDER = [
    "Diagnosis",
    "Worst predictions",
    "Learning curves",
    "Predictions in detail",
    "Data",
    "Cost",
    "Settings",
    "All metrics",
    "Reproduce this run",
]


def report_of(run: TrainedRun) -> str:
    return Path(run.folder, "report.html").read_text(encoding="utf-8")


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


@pytest.mark.parametrize("name", ["digits_run", "hostile_names_run", "numbers_run", "labels_run"])
def test_the_page_is_self_contained(name: str, request: pytest.FixtureRequest, parsed_page: Any) -> None:
    run: TrainedRun = request.getfixturevalue(name)
    page = report_of(run)
    assert len(page) < 3_000_000
    for tag, attributes in parsed_page(page).tags:
        assert tag not in ("script", "iframe", "object", "embed", "base", "form")
        assert not [key for key in attributes if key.startswith("on")]
        for key in ("src", "href", "srcset", "action", "poster", "data", "xlink:href"):
            assert str(attributes.get(key, "#")).startswith(("#", "data:"))
    sheet = "".join(re.findall(r"<style>(.*?)</style>", page, re.DOTALL))
    assert "@import" not in sheet
    assert "url(" not in sheet
    if name != "hostile_names_run":  # one of its class names is a URL
        assert "http://" not in page
        assert "https://" not in page


def test_the_sections_are_in_order(digits_run: TrainedRun) -> None:
    assert headings(report_of(digits_run)) == ORDER


def test_the_headline_is_a_sentence_with_interval_and_samples(digits_run: TrainedRun) -> None:
    page = report_of(digits_run)
    figure = str(digits_run.metrics["accuracy"]).replace(" ", "\u00a0")
    assert f"<h1><b>{figure}</b> of 270 test images classified correctly</h1>" in page
    assert "Better than the baseline" in page
    assert "95\u00a0% confidence interval over samples" in page


def test_the_page_shows_worst_predictions_settings_classes_and_versions(
    digits_run: TrainedRun, parsed_page: Any
) -> None:
    page = report_of(digits_run)
    assert "data:image/png;base64," in page
    texts = " ".join(parsed_page(page).texts)
    for expected in (
        "Hidden layers: number of units of each",
        "given",
        "Confusion matrix",
        "Calibration",
        "torch",
        "snellen",
    ):
        assert expected in texts


def test_hostile_names_are_escaped(
    hostile_names_run: TrainedRun, hostile_names: tuple[str, ...], parsed_page: Any
) -> None:
    page = report_of(hostile_names_run)
    texts = parsed_page(page).texts
    for name in hostile_names:
        assert clean(name) in texts
    assert "<img src=y>" in "".join(texts)
    assert "\u202e" not in page
    card = Path(hostile_names_run.folder, "README.md").read_text(encoding="utf-8")
    assert not re.search(r"(?<!\\)<(script|img)", card)


def test_a_regression_is_reported_in_its_unit(numbers_run: TrainedRun) -> None:
    page = report_of(numbers_run)
    assert re.search(r"<h1><b>[^<]* mm</b> mean absolute error over 45 test rows</h1>", page)
    assert "depth: predicted against true" in page


def test_several_labels_are_reported_by_label(labels_run: TrainedRun, parsed_page: Any) -> None:
    page = report_of(labels_run)
    assert re.search(r"<h1><b>[^<]* %</b> average precision over \d+ test rows</h1>".replace(" %", "\u00a0%"), page)
    assert {"warm", "wet", "windy"} <= set(parsed_page(page).texts)


def test_a_page_states_that_the_test_split_has_not_been_evaluated(digits_run: TrainedRun) -> None:
    summary = digits_run.summary()
    untested = dataclasses.replace(summary, metrics={"val": summary.metrics["val"]})
    page = report_html(untested)
    assert "validation images classified correctly" in page
    assert "The test split has not been evaluated." in page


def test_without_a_typed_command_the_call_from_python_is_given(digits_run: TrainedRun) -> None:
    summary = digits_run.summary()
    assert rerun_command(summary) == "snellen.train('digits', model='mlp', epochs=30, seed=0)"
    typed = dataclasses.replace(summary.record, command="snellen train digits --model mlp")
    assert rerun_command(dataclasses.replace(summary, record=typed)) == "snellen train digits --model mlp"


@pytest.mark.parametrize(
    ("ours", "theirs", "level", "text"),
    [
        (Metric(value=0.99, low=0.98, high=0.995, percent=True), Metric(value=0.9, percent=True), "good", "10 times"),
        (
            Metric(value=1.0, low=0.98, high=1.0, percent=True),
            Metric(value=0.9, percent=True),
            "good",
            "by 10 percentage points",
        ),
        (
            Metric(value=2e-4, low=1e-4, high=6e-4, percent=True),
            Metric(value=4e-5, percent=True),
            "warning",
            "slightly",
        ),
        (
            Metric(value=0.92, low=0.88, high=0.95, percent=True),
            Metric(value=0.9, percent=True),
            "warning",
            "but within",
        ),
        (Metric(value=0.9, low=0.88, high=0.9, percent=True), Metric(value=0.9, percent=True), "warning", "Not better"),
        (Metric(value=None, reason="empty", percent=True), Metric(value=0.9, percent=True), "", ""),
    ],
)
def test_the_verdict_follows_from_the_interval(
    digits_run: TrainedRun, ours: Metric, theirs: Metric, level: str, text: str
) -> None:
    sentence, actual_level = baseline_verdict(
        "accuracy", ours, theirs, digits_run.task.display.baseline(digits_run.spec)
    )
    assert actual_level == level
    assert text in sentence


def test_an_error_is_better_when_it_is_smaller(numbers_run: TrainedRun) -> None:
    ours = Metric(value=0.5, low=0.4, high=0.6, higher_is_better=False, unit="mm")
    worse = dataclasses.replace(ours, value=2.0)
    sentence, level = baseline_verdict("mean absolute error", ours, worse, "the median")
    assert level == "good"
    assert "the error of the baseline is 4 times as large" in sentence


def test_an_undefined_headline_has_its_reason(digits_run: TrainedRun) -> None:
    text = headline_html("accuracy", Metric(value=None, reason="the split is <empty>"), "test", digits_run.spec)
    assert text == "accuracy is undefined over 270 test images: the split is &lt;empty&gt;"


def test_the_reason_of_a_missing_interval_is_no_part_of_the_headline(digits_run: TrainedRun) -> None:
    metric = Metric(value=20.44, unit="mm", higher_is_better=False, reason="no interval: fewer than 5 blocks")
    assert headline_html("MPJPE", metric, "test", digits_run.spec).startswith("<b>20.44 mm</b> MPJPE over ")
    assert interval_caption("MPJPE", metric, 182) == "No interval: fewer than 5 blocks."


def test_the_model_card_has_front_matter_metrics_and_limits(digits_run: TrainedRun) -> None:
    card = Path(digits_run.folder, "README.md").read_text(encoding="utf-8")
    _, matter, text = card.split("---\n", 2)
    lines = matter.splitlines()
    assert "library_name: snellen" in lines
    assert "pipeline_tag: image-classification" in lines
    assert "- accuracy" in lines
    assert "license" not in matter
    assert json.loads(lines[lines.index("- snellen") + 1][2:]) == "mlp"
    assert f"| accuracy | {digits_run.metrics['accuracy']} |" in text
    for heading in ("## Data", "## Metrics", "## Use", "## Limits"):
        assert heading in text


def test_a_notebook_shows_headline_metrics_and_learning_curves(digits_run: TrainedRun) -> None:
    page = digits_run._repr_html_()
    assert str(digits_run.metrics["accuracy"]).replace(" ", "\u00a0") in page
    assert page.count("<svg") == 3
    assert "http" not in page


def test_a_ladder_shows_every_rung_and_the_best_model_below(
    digits_run: TrainedRun, hostile_names: tuple[str, ...], parsed_page: Any
) -> None:
    summary = digits_run.summary()
    figure = Metric(value=0.9, low=0.88, high=0.92, percent=True, over="samples")
    rungs = [
        Rung(
            name="baseline",
            headline=dataclasses.replace(figure, value=0.1, low=0.08, high=0.12),
            parameters=10,
            multiply_adds=0,
            seconds_learning=0.1,
            on_frontier=True,
        ),
        Rung(name="softmax", headline=figure, parameters=650, multiply_adds=640, seconds_learning=2, on_frontier=True),
        Rung(name=hostile_names[0], headline=figure, parameters=10_000, multiply_adds=9_000_000, seconds_learning=30.0),
        Rung(name="lenet", reason="needs images of at least 12x12 pixels, these have 8x8"),
    ]
    page = ladder_page(
        "Snellen on digits",
        "accuracy",
        rungs,
        "Take softmax: 90 ± 2 %.",
        best_model_sections(summary),
        data_section(summary.data),
        "The ladder took 4 min 42 s of 4 min.",
    )
    page_elements = parsed_page(page)
    assert "script" not in {tag for tag, _ in page_elements.tags}
    texts = " ".join(page_elements.texts)
    for expected in (
        "Take softmax",
        hostile_names[0],
        "needs images of at least 12x12 pixels",
        "90.0\u00a0±\u00a02.0\u00a0%",
        "9 million",
        "accuracy (test) [%], higher is better",
        "The ladder took 4 min 42 s of 4 min.",
    ):
        assert expected in texts
    assert page.count("●") == 3, "two on the frontier, and the caption that explains the mark"
    assert headings(page) == ["Models", "Performance against cost", "Best validation result: mlp", *ORDER[:5]]


def test_the_axis_of_a_ladder_names_the_metric_its_unit_and_its_direction() -> None:
    error = Metric(value=2.0, low=1.5, high=2.5, higher_is_better=False, unit="mm")
    rungs = [Rung(name=name, headline=error, multiply_adds=10**k) for k, name in enumerate("abc", 1)]
    plot = cost_plot("mean absolute error", rungs, "multiply_adds", "multiply-adds per prediction")
    assert plot is not None
    assert plot.y == "mean absolute error (test) [mm], lower is better"
    assert plot.title == "Mean absolute error against multiply-adds per prediction"
    rungs = [dataclasses.replace(rung, headline=Metric(value=0.3)) for rung in rungs]
    plot = cost_plot("R2", rungs, "multiply_adds", "multiply-adds per prediction")
    assert plot is not None
    assert plot.y == "R2 (test), higher is better"


def test_why_there_is_no_interval_is_said_once_below_a_table() -> None:
    reason = "fewer than 5 blocks of overlapping windows"
    short = Metric(value=2.5, higher_is_better=False, unit="mm", reason=f"no interval: {reason}")
    undefined = Metric(value=None, reason="the reference is exact")
    page = ladder_page("x", "MPJPE", [Rung(name=name, headline=short) for name in "abc"], "Use a.", "", "")
    table = metrics_html(
        {"val": {"MPJPE": short}, "test": {"MPJPE": short, "skill": undefined}}, {"MPJPE": short}, "test"
    )
    text = run_html("mlp on x", "MPJPE", {"MPJPE": short, "MPJPE in the room": short}, [])
    for shown in (page, table, text):
        plain = shown.replace("\u00a0", " ")
        assert plain.count(reason) == 1
        assert f"No interval: {reason}." in plain
        assert "2.5 mm<" in plain
    assert "undefined: the reference is exact" in table


def test_a_remark_of_a_ladder_shows_no_folder_of_this_machine() -> None:
    rungs = [
        Rung(name="a", headline=Metric(value=0.5), reason="from scratch: /home/u/.cache/hub/net-1a.pth is missing"),
        Rung(name="b", status="failed", reason="photos/cat/1.png or /data/x/2.png cannot be read"),
    ]
    page = ladder_page("Snellen on x", "accuracy", rungs, "Take a.", "", "")
    assert "from scratch: …/net-1a.pth is missing" in page
    assert "photos/cat/1.png or …/2.png cannot be read" in page
    assert "/home/u" not in page


def test_a_ladder_without_results_has_a_page() -> None:
    page = ladder_page(
        "Snellen on x", "accuracy", [Rung(name="lenet", reason="no memory")], "Nothing could be learned.", "", ""
    )
    assert "no memory" in page
    assert "<svg" not in page


def test_places_in_the_message_of_a_finding_are_not_repeated() -> None:
    named = Finding(kind="thin", message="2 boxes are thin: a.png 3; b.png 1", where=("a.png 3", "b.png 1"), count=2)
    counted = Finding(kind="few", message="cat has 3 samples, dog 90", where=("a.png", "cat"), count=2)
    assert findings_html([named]).count("a.png 3") == 1
    assert "<bdi>a.png</bdi>; <bdi>cat</bdi>" in findings_html([counted])


def test_the_call_that_repeats_a_run_opens_the_data_in_the_same_way(tmp_path: Path) -> None:
    rows = "".join(f"{k if k % 9 else ''},{k % 5},{'xy'[k % 2]}\n" for k in range(90))
    (tmp_path / "rows.csv").write_text("a,b,kind\n" + rows)
    data = snellen.dataset(tmp_path / "rows.csv", options=OpenOptions(impute="median", target=("kind",)))
    run = snellen.train(data, "softmax", out=tmp_path / "run", options=RunOptions(threads=1, report=False), epochs=3)
    call = rerun_command(run.summary())
    assert call.startswith("snellen.train(snellen.dataset(")
    assert "options=OpenOptions(target=('kind',), impute='median'))" in call
    names = {"snellen": snellen, "OpenOptions": OpenOptions}
    again = eval(f"{call[:-1]}, out={str(tmp_path / 'again')!r})", names)
    assert (again.folder / "model.safetensors").read_bytes() == (run.folder / "model.safetensors").read_bytes()
    summary = dataclasses.replace(run.summary(), notes={"fitted": {"steps": 10, "of": 40}})
    assert "ended this training after 10 of 40 steps" in rerun_html(summary)

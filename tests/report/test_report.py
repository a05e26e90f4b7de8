"""The page, the card and the notebook's summary of real runs."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from snellen.api import TrainedRun
from snellen.core.views import Finding, Metric
from snellen.report.html_text import clean
from snellen.report.pages.ladder import Rung, ladder_page
from snellen.report.pages.run import closer, report
from snellen.report.pages.sections import command, data_section, findings
from snellen.report.pages.verdicts import headline, verdict

ORDER = [
    "Diagnosis",
    "Where it fails",
    "Learning",
    "In detail",
    "Data",
    "Cost",
    "Settings",
    "All figures",
    "To run it again",
]


def page_of(run: TrainedRun) -> str:
    return Path(run.folder, "report.html").read_text(encoding="utf-8")


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


@pytest.mark.parametrize("name", ["digits_run", "hostile_run", "numbers_run", "labels_run"])
def test_a_page_needs_nothing_outside_itself(name: str, request: pytest.FixtureRequest, seen: Any) -> None:
    run: TrainedRun = request.getfixturevalue(name)
    page = page_of(run)
    assert len(page) < 3_000_000
    for tag, attributes in seen(page).tags:
        assert tag not in ("script", "iframe", "object", "embed", "base", "form")
        assert not [key for key in attributes if key.startswith("on")]
        for key in ("src", "href", "srcset", "action", "poster", "data", "xlink:href"):
            assert str(attributes.get(key, "#")).startswith(("#", "data:"))
    sheet = "".join(re.findall(r"<style>(.*?)</style>", page, re.DOTALL))
    assert "@import" not in sheet
    assert "url(" not in sheet
    if name != "hostile_run":  # there, a class is called like an address
        assert "http://" not in page
        assert "https://" not in page


def test_the_sections_stand_in_the_order_they_are_read(digits_run: TrainedRun) -> None:
    assert headings(page_of(digits_run)) == ORDER


def test_the_headline_is_a_sentence_with_interval_and_samples(digits_run: TrainedRun) -> None:
    page = page_of(digits_run)
    figure = str(digits_run.metrics["accuracy"]).replace(" ", "\u00a0")
    assert f"<h1><b>{figure}</b> of 269 test pictures right</h1>" in page
    assert "It is clearly beaten" in page
    assert "95\u00a0% interval over samples" in page


def test_a_page_shows_the_worst_errors_settings_classes_and_versions(digits_run: TrainedRun, seen: Any) -> None:
    page = page_of(digits_run)
    assert "data:image/png;base64," in page
    words = " ".join(seen(page).words)
    for expected in ("Units of each hidden layer.", "given", "Confusion matrix", "Calibration", "torch", "snellen"):
        assert expected in words


def test_hostile_names_are_shown_as_they_are_and_do_nothing(
    hostile_run: TrainedRun, hostile: tuple[str, ...], seen: Any
) -> None:
    page = page_of(hostile_run)
    words = seen(page).words
    for name in hostile:
        assert clean(name) in words
    assert "<img src=y>" in "".join(words)
    assert "\u202e" not in page
    card = Path(hostile_run.folder, "README.md").read_text(encoding="utf-8")
    assert not re.search(r"(?<!\\)<(script|img)", card)


def test_a_regression_is_reported_in_its_unit(numbers_run: TrainedRun) -> None:
    page = page_of(numbers_run)
    assert re.search(r"<h1>Off by <b>[^<]* mm</b> on average, over 45 test rows</h1>", page)
    assert "depth: said against true" in page


def test_several_labels_are_reported_by_label(labels_run: TrainedRun, seen: Any) -> None:
    page = page_of(labels_run)
    assert re.search(r"<h1><b>[^<]* %</b> average precision over \d+ test rows</h1>".replace(" %", "\u00a0%"), page)
    assert {"warm", "wet", "windy"} <= set(seen(page).words)


def test_a_test_split_that_was_not_opened_is_said_to_be_so(digits_run: TrainedRun) -> None:
    told = digits_run.told()
    unopened = dataclasses.replace(told, metrics={"val": told.metrics["val"]})
    page = report(unopened)
    assert "validation pictures right" in page
    assert "The test split has not been opened." in page


def test_without_a_typed_command_the_call_from_python_is_given(digits_run: TrainedRun) -> None:
    told = digits_run.told()
    assert command(told) == "snellen.train('digits', model='mlp', epochs=30, seed=0)"
    typed = dataclasses.replace(told.record, command="snellen train digits --model mlp")
    assert command(dataclasses.replace(told, record=typed)) == "snellen train digits --model mlp"


@pytest.mark.parametrize(
    ("ours", "theirs", "level", "words"),
    [
        (Metric(value=0.99, low=0.98, high=0.995, percent=True), Metric(value=0.9, percent=True), "good", "10 times"),
        (Metric(value=1.0, low=0.98, high=1.0, percent=True), Metric(value=0.9, percent=True), "good", "by 10 points"),
        (Metric(value=2e-4, low=1e-4, high=6e-4, percent=True), Metric(value=4e-5, percent=True), "warning", "hardly"),
        (Metric(value=0.92, low=0.88, high=0.95, percent=True), Metric(value=0.9, percent=True), "warning", "chance"),
        (Metric(value=0.9, low=0.88, high=0.9, percent=True), Metric(value=0.9, percent=True), "warning", "not beaten"),
        (Metric(value=None, reason="empty", percent=True), Metric(value=0.9, percent=True), "", ""),
    ],
)
def test_the_verdict_follows_from_the_interval(
    digits_run: TrainedRun, ours: Metric, theirs: Metric, level: str, words: str
) -> None:
    said, found = verdict("accuracy", ours, theirs, digits_run.spec)
    assert found == level
    assert words in said


def test_an_error_is_better_when_it_is_smaller(numbers_run: TrainedRun) -> None:
    ours = Metric(value=0.5, low=0.4, high=0.6, higher_is_better=False, unit="mm")
    said, level = verdict("mean absolute error", ours, dataclasses.replace(ours, value=2.0), numbers_run.spec)
    assert level == "good"
    assert "its error is 4 times as large" in said


def test_an_undefined_headline_says_why(digits_run: TrainedRun) -> None:
    words = headline("accuracy", Metric(value=None, reason="the split is <empty>"), "test", digits_run.spec)
    assert words == "accuracy is undefined over 269 test pictures: the split is &lt;empty&gt;"


def test_the_card_has_front_matter_figures_and_limits(digits_run: TrainedRun) -> None:
    card = Path(digits_run.folder, "README.md").read_text(encoding="utf-8")
    _, matter, text = card.split("---\n", 2)
    lines = matter.splitlines()
    assert "library_name: snellen" in lines
    assert "pipeline_tag: image-classification" in lines
    assert "- accuracy" in lines
    assert "license" not in matter
    assert json.loads(lines[lines.index("- snellen") + 1][2:]) == "mlp"
    assert f"| accuracy | {digits_run.metrics['accuracy']} |" in text
    for heading in ("## Data", "## Figures", "## Use", "## Limits"):
        assert heading in text


def test_a_notebook_shows_headline_figures_and_curves(digits_run: TrainedRun) -> None:
    page = digits_run._repr_html_()
    assert str(digits_run.metrics["accuracy"]).replace(" ", "\u00a0") in page
    assert page.count("<svg") == 3
    assert "http" not in page


def test_a_ladder_shows_every_rung_and_the_best_model_below(
    digits_run: TrainedRun, hostile: tuple[str, ...], seen: Any
) -> None:
    told = digits_run.told()
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
        Rung(name=hostile[0], headline=figure, parameters=10_000, multiply_adds=9_000_000, seconds_learning=30.0),
        Rung(name="lenet", reason="needs 12 pixels a side, these are 8x8"),
    ]
    page = ladder_page("Snellen on digits", rungs, "Take softmax: 90 ± 2 %.", closer(told), data_section(told.data))
    found = seen(page)
    assert "script" not in {tag for tag, _ in found.tags}
    words = " ".join(found.words)
    for expected in ("Take softmax", hostile[0], "needs 12 pixels a side", "90.0\u00a0±\u00a02.0\u00a0%", "9 million"):
        assert expected in words
    assert page.count("●") == 3, "two on the frontier, and the line that says what the mark means"
    assert headings(page) == ["The ladder", "What better costs", "mlp, looked at closely", *ORDER[:5]]


def test_a_ladder_on_which_nothing_was_measured_is_still_a_page() -> None:
    page = ladder_page("Snellen on x", [Rung(name="lenet", reason="no memory")], "Nothing could be learned.", "", "")
    assert "no memory" in page
    assert "<svg" not in page


def test_places_that_a_finding_names_itself_are_not_told_twice() -> None:
    named = Finding(kind="thin", message="2 boxes are thin: a.png 3; b.png 1", where=("a.png 3", "b.png 1"), count=2)
    counted = Finding(kind="few", message="cat has 3 samples, dog 90", where=("a.png", "cat"), count=2)
    assert findings([named]).count("a.png 3") == 1
    assert "<bdi>a.png</bdi>; <bdi>cat</bdi>" in findings([counted])

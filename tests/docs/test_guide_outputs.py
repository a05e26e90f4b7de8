"""Outputs that the guides show are those of the commands, on built-in data (the rules: `guide_commands`)."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from guide_commands import GUIDE, agrees, shown_commands

from snellen.api.trained_run import TrainedRun
from snellen.cli.main import main

DIGITS = tuple(f"train digits --model {name}" for name in ("softmax", "mlp", "lda"))
PAGES = {  # page -> commands whose runs it uses
    "classical.md": (),
    "comparing.md": DIGITS,
    "control.md": (),
    "fitting-functions.md": (),
    "filters.md": (),
    "decision-maps.md": (),
    "learned-filters.md": (),
    "perceptron-to-convnet.md": (),
    "runs.md": DIGITS[:1],
    "sequences.md": (),
    "trace.md": (),
    "training.md": (),
}
ELSEWHERE = (
    "mnist",
    "photos",
    "houses",
    "study digits",
    "study rosenbrock",
    "study rings",
    "--epochs 20000",
    "point_history",
    "keypoint",
    "history.npz",
    "steps.",
    "moves",
    "printf",
)  # other data; long; tested elsewhere


def shown_outputs(page: Path) -> Iterator[tuple[str, list[str]]]:
    """(command, lines below it) of each command of the page that runs on built-in data and shows an output."""
    for command, lines in shown_commands(page):
        if lines and not any(word in command for word in ELSEWHERE):
            yield command, lines


@pytest.mark.parametrize("page", PAGES)
def test_commands_print_what_the_guide_shows(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(TrainedRun, "report", lambda self: None)  # slow, and not shown
    for command in PAGES[page]:
        assert main(shlex.split(command)) == 0
    compared = 0
    for command, lines in shown_outputs(GUIDE / page):
        program, *words = shlex.split(command)
        capfd.readouterr()
        if program == "snellen":
            main(words)
            captured = capfd.readouterr()
            printed = (captured.out + captured.err).splitlines()
        else:
            assert words[0] == "-2", command  # head
            printed = Path(words[1]).read_text(encoding="utf-8").splitlines()[:2]
        for line in lines:
            near = "\n        ".join(printed)
            assert any(agrees(line, text) for text in printed), f"{page}: {command}\nshows   {line}\nprinted {near}"
            compared += 1
    assert compared


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("accuracy   96.3 ± 2.3 %", "accuracy       97.4 ± 2.0 %", True),
        ("accuracy   96.3 ± 2.3 %", "accuracy       97.5 ± 2.0 %", False),
        ("accuracy   96.3 ± 2.3 %", "balanced accuracy       96.3 ± 2.3 %", False),
        ("accuracy   98.5 ± 1.6 %", "accuracy       98.5 (96.2 to 99.4) %", True),
        ("accuracy   98.5 ± 1.6 %", "accuracy       98.5 (86.2 to 99.4) %", False),
        ("calibration error 2.0 %", "calibration error 2.4 %", True),
        ("calibration error 2.0 %", "calibration error 2.6 %", False),
        ("75 of 100 succeed, 75 ± 8 %", "75 of 100 succeed, 78 ± 9 %", True),
        ("75 of 100 succeed, 75 ± 8 %", "74 of 100 succeed, 75 ± 8 %", False),
        ("importance 45 % 12 to 68 %", "importance 44 % 14 to 66 %", True),
        ("about 20 s, 1,000 steps", "about 22 s, 1,000 steps", True),
        ("about 20 s, 1,000 steps", "about 20 s, 1,001 steps", False),
        ("--lr 0.01 default Rate ...", "--lr 0.01 default Rate: its highest value 3", True),
        ("--lr 0.01 default Rate ...", "--lr 0.02 default Rate: its highest value 3", False),
    ],
)
def test_lines_agree_in_words_and_nearly_in_numbers(shown: str, printed: str, same: bool) -> None:
    assert agrees(shown, printed) == same

"""Outputs that the guides show are those of the commands, on built-in data.

A shown line must appear in the output; `...` stands for any text. A value with an interval may differ by half of it,
any other number by a quarter: results differ a little between processors.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from snellen.api.trained_run import TrainedRun
from snellen.cli.main import main

INTERVAL = re.compile(r"([\d.]+) \(([\d.]+) to ([\d.]+)\)")
GUIDE = Path(__file__).parents[2] / "docs" / "guide"
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
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
)  # other data; long; tested elsewhere


def shown_outputs(page: Path) -> Iterator[tuple[str, list[str]]]:
    """(command, lines below it) of each command of the page that runs on built-in data and shows an output."""
    for block in re.findall(r"^```\n(\$ .*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, *lines = part.splitlines()
            if lines and not any(word in command for word in ELSEWHERE):
                yield command, [line for line in lines if line.strip()]


def agrees(shown: str, printed: str) -> bool:
    """Whether a printed line has the words of the shown one, and nearly its numbers."""
    shown, printed = (INTERVAL.sub(symmetric, " ".join(line.split())) for line in (shown, printed))
    words = ".*".join(re.escape(part) for part in NUMBER.sub("\0", shown).split(" ..."))
    if not re.fullmatch(words.replace(re.escape("\0"), NUMBER.pattern), printed):
        return False
    margins = {mean: float(half) / 2 for mean, half in re.findall(r"([\d.]+) ± ([\d.]+)", shown)}
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=" ..." not in shown)
    return all(abs(value(a) - value(b)) <= margins.get(a, abs(value(a)) / 4) for a, b in pairs)


def symmetric(interval: re.Match[str]) -> str:
    """The form with ±; which form is printed hangs on the asymmetry of the interval."""
    return f"{interval[1]} ± {(float(interval[3]) - float(interval[2])) / 2:g}"


def value(text: str) -> float:
    return float(text.replace(",", ""))


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
        ("--lr 0.01 default Rate ...", "--lr 0.01 default Rate: its highest value 3", True),
        ("--lr 0.01 default Rate ...", "--lr 0.02 default Rate: its highest value 3", False),
    ],
)
def test_lines_agree_in_words_and_nearly_in_numbers(shown: str, printed: str, same: bool) -> None:
    assert agrees(shown, printed) == same

"""Lessons: every command of the pages `lecture-00N.md` runs, and prints what the page shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from guide_commands import GUIDE, agrees, shown_commands

from snellen.api.trained_run import TrainedRun
from snellen.cli.main import main

LESSONS = sorted(GUIDE.glob("lecture-*.md"))


def test_every_lecture_has_a_lesson() -> None:
    assert [page.stem for page in LESSONS] == [f"lecture-00{n}" for n in range(5)]


@pytest.mark.parametrize("page", LESSONS, ids=lambda page: page.stem)
def test_every_command_runs_and_prints_what_the_lesson_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(TrainedRun, "report", lambda self: None)  # slow, and not shown
    commands = list(shown_commands(page))
    text = page.read_text(encoding="utf-8")
    assert len(commands) == len(re.findall(r"^\$ snellen |^snellen ", text, re.M)), "a command in another block"
    for command, lines in commands:
        program, *words = shlex.split(command)
        assert program == "snellen", command
        capfd.readouterr()
        code = main(words)
        captured = capfd.readouterr()
        assert code == 0, f"{command}\n{captured.err}"
        printed = (captured.out + captured.err).splitlines()
        for line in lines:
            near = "\n        ".join(printed)
            assert any(agrees(line, text) for text in printed), f"{command}\nshows   {line}\nprinted {near}"

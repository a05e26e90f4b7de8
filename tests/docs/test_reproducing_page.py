"""docs/reproduced.md is up to date; docs/guide/reproducing.md shows the output of its commands."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
from pathlib import Path

import pytest

from snellen.cli.main import main

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = DOCS / "guide" / "reproducing.md"


def stdout_of(arguments: list[str]) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        assert main(arguments) == 0
    return out.getvalue()


def test_the_page_of_results_equals_the_output_of_its_script() -> None:
    spec = importlib.util.spec_from_file_location("reproduced", DOCS / "reproduced.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert (DOCS / "reproduced.md").read_text(encoding="utf-8") == script.page(), "python docs/reproduced.py"


def test_commands_and_snippets_print_the_output_in_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = GUIDE.read_text(encoding="utf-8")
    ((command, shown),) = re.findall(r"^\$ (snellen .*)\n((?:(?!```).*\n)*)", text, re.M)
    outputs = [
        re.sub(r"^measured: \S+ at .* by (`.*`; seed 0); .*", r"\1", text_of_table, flags=re.M)
        for text_of_table in (stdout_of(command.split()[1:]), shown)
    ]  # without date, commit and machine
    assert outputs[0] == outputs[1]
    assert "`; seed 0" in outputs[1]
    (commands,) = re.findall(r"```sh\n(.*?)```", text, re.S)
    for line in commands.splitlines():
        stdout_of(line.split()[1:])
    assert [path.name for path in Path("measured").iterdir()] == ["initialisation.json"]
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(snippet, {})
    assert out.getvalue().splitlines() == re.findall(r"^print\(.*\)  # (.*)$", snippet, re.M)

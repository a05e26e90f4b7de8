"""The page of published tables is fresh, and the guide beside it does what it says."""

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


def printed(words: list[str]) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        assert main(words) == 0
    return out.getvalue()


def test_the_page_of_results_is_what_its_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("reproduced", DOCS / "reproduced.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert (DOCS / "reproduced.md").read_text(encoding="utf-8") == script.page(), "python docs/reproduced.py"


def test_the_guide_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = GUIDE.read_text(encoding="utf-8")
    ((words, shown),) = re.findall(r"^\$ (snellen .*)\n((?:(?!```).*\n)*)", text, re.M)
    timeless = [
        re.sub(r"^measured: \S+ at .* by (`.*`; seed 0); .*", r"\1", said, flags=re.M)
        for said in (printed(words.split()[1:]), shown)
    ]  # without date, commit and machine
    assert timeless[0] == timeless[1]
    assert "`; seed 0" in timeless[1]
    (told,) = re.findall(r"```sh\n(.*?)```", text, re.S)
    for line in told.splitlines():
        printed(line.split()[1:])
    assert [path.name for path in Path("measured").iterdir()] == ["initialisation.json"]
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(snippet, {})
    assert out.getvalue().splitlines() == re.findall(r"^print\(.*\)  # (.*)$", snippet, re.M)

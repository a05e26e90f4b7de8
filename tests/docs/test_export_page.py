"""The page on export does what it says: its commands print what it shows, its snippets say what stands beside them."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from snellen.cli.main import main
from snellen.data.synthetic.toys import digits

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "export.md"


def words(text: str) -> str:
    """Without the hash, the differences and the version, which differ between machines and in time."""
    return re.sub(r"[0-9a-f]{64}|at most \S+, \S+|snellen \d\S+", "#", text)


def printed(words: list[str]) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(words) == 0
    return out.getvalue()


def test_the_page_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    printed(["train", "digits", "--model", "softmax", "--epochs", "5"])
    Image.fromarray(digits(0).source.values[0, 0].numpy()).save("digit.png")  # type: ignore[attr-defined]
    text = PAGE.read_text(encoding="utf-8")
    (shown,) = re.findall(r"^\$ (snellen .*)\n((?:(?!```).*\n)*)", text, re.M)
    assert words(printed(shown[0].split()[1:])) == words(shown[1])
    (told,) = re.findall(r"```sh\nsnellen (.*)\n```", text)
    printed(told.split())
    snippets = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    assert len(snippets) == 3
    for snippet in snippets:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(snippet, {})
        assert out.getvalue().splitlines() == re.findall(r"^print\(.*\)  # (.*)$", snippet, re.M)

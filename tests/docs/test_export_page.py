"""docs/guide/export.md: commands and snippets print the output that the page shows."""

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


def without_variable_parts(text: str) -> str:
    """Replace hash, differences and version, which vary between machines and releases."""
    return re.sub(r"[0-9a-f]{64}|at most \S+, \S+|snellen \d\S+", "#", text)


def stdout_of(arguments: list[str]) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(arguments) == 0
    return out.getvalue()


def test_commands_and_snippets_print_the_output_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    stdout_of(["train", "digits", "--model", "softmax", "--epochs", "5"])
    Image.fromarray(digits(0).source.values[0, 0].numpy()).save("digit.png")  # type: ignore[attr-defined]
    text = PAGE.read_text(encoding="utf-8")
    ((command, shown),) = re.findall(r"^\$ (snellen .*)\n((?:(?!```).*\n)*)", text, re.M)
    assert without_variable_parts(stdout_of(command.split()[1:])) == without_variable_parts(shown)
    (command_to_torch,) = re.findall(r"```sh\nsnellen (.*)\n```", text)
    stdout_of(command_to_torch.split())
    snippets = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    assert len(snippets) == 3
    for snippet in snippets:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(snippet, {})
        assert out.getvalue().splitlines() == re.findall(r"^print\(.*\)  # (.*)$", snippet, re.M)

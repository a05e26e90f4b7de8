"""docs/guide/serve.md: its output, snippet, error codes and limits are those of the code."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from snellen.cli.main import main
from snellen.core.spec import Input, Modality, Spec
from snellen.data.synthetic.toys import digits
from snellen.serving.limits import limits

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "guide" / "serve.md").read_text(encoding="utf-8")


def test_the_server_prints_and_predicts_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["train", "digits", "--model", "softmax", "--epochs", "5"]) == 0
    Image.fromarray(digits(0).source.values[0, 0].numpy()).save("digit.png")  # type: ignore[attr-defined]
    ((command, shown),) = re.findall(r"^\$ snellen (.*)\n((?:(?!```).*\n)*)", TEXT, re.M)
    server = subprocess.Popen(
        [sys.executable, "-m", "snellen", *command.split(), "--port", "0"],
        text=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert server.stdout is not None
        startup_text = "".join(server.stdout.readline() for _ in range(3))
        port = re.findall(r":(\d+)/", startup_text)[0]
        assert startup_text.replace(port, "8000") == shown
        (code,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(code.replace("8000", port), {})
        assert out.getvalue() == "0\n"
    finally:
        server.terminate()
        server.communicate(timeout=60)
    assert server.returncode == 143


def test_the_error_codes_are_those_of_the_code() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src" / "snellen" / "serving").glob("*.py"))
    raised = set(re.findall(r'HTTPError\(\s*(\d+),\s*"([\w-]+)"', code)) | {("503", "busy")}  # by a connection
    rows = re.findall(r"^\| ((?:\d+, )*\d+) \| (.+?) \|", TEXT, re.M)
    documented = {
        (status, error_code)
        for statuses, error_codes in rows
        for error_code in re.findall(r"`([\w-]+)`", error_codes)
        for status in statuses.split(", ")
    }
    assert raised <= documented
    assert {error_code for _, error_code in documented} == {error_code for _, error_code in raised}
    assert {status for status, _ in documented} == {status for status, _ in raised}


def spec_of(modality: Modality) -> Spec:
    return Spec(name="s", inputs={"x": Input(modality=modality, shape=(1, 1, 1))}, target=None)


def test_the_limits_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| `(--[\w-]+)` \| (.+?) \|", TEXT, re.M))
    images, tables = limits(spec_of("image"), {}), limits(spec_of("vector"), {})
    assert rows == {
        "--max-bytes": f"{images.max_bytes >> 20} MiB; tables {tables.max_bytes >> 20} MiB",
        "--max-pixels": f"{images.max_pixels:,}",
        "--max-inputs": f"{images.max_inputs}; rows {tables.max_inputs:,}",
        "--max-queue": str(images.max_queue),
        "--timeout": f"{images.timeout:g} s",
        "--io-timeout": f"{images.io_timeout:g} s",
        "--max-connections": str(images.max_connections),
    }


def test_the_responses_on_the_page_are_json() -> None:
    shown = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```$", TEXT, re.M | re.S)]
    assert [list(entry) for entry in shown] == [["answers"], ["error"]]

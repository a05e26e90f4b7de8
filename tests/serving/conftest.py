"""Fixtures: two small runs and a server for each."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from process import Server, serving

from snellen.cli.main import main


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs `digits` (images) and `rows` (a table)."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("served")
    rows = "".join(f"{k},{'ab'[k % 2]},{2 * k + k % 2 + 0.5}\n" for k in range(60))
    (folder / "rows.csv").write_text(f"size,kind,height [mm]\n{rows}")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert main(["train", str(folder / "rows.csv"), "--model", "least-squares", "--out", str(folder / "rows")]) == 0
        assert main(["train", "digits", "--model", "softmax", "--epochs", "1", "--out", str(folder / "digits")]) == 0
    return folder


@pytest.fixture(scope="session")
def server(home: Path) -> Iterator[Server]:
    """Server of the image run."""
    with serving(home / "digits") as server:
        yield server


@pytest.fixture(scope="session")
def table_server(home: Path) -> Iterator[Server]:
    with serving(home / "rows") as server:
        yield server

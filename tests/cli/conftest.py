"""Fixtures: a temporary working folder, and a folder with data and two runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command import run_command, write_images

from snellen.data.synthetic.toys import digits


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs/softmax-digits-1, runs/least-squares-rows-1 and their data."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        source = digits(0).source
        write_images(folder / "photos", [source.values[k, 0].numpy() for k in range(3)])  # type: ignore[attr-defined]
        rows = "".join(f"{k},{k % 7},{2 * k + k % 7 + 0.5}\n" for k in range(60))
        (folder / "rows.csv").write_text(f"a,b,height [mm]\n{rows}")
        assert run_command(["train", "rows.csv", "--model", "least-squares"]).code == 0
        assert run_command(["train", "digits", "--model", "softmax", "--epochs", "1"]).code == 0
    return folder

"""Small data in a folder of its own, which is also the working folder, and a run on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command import pictures, said

from snellen.data.synthetic.toys import digits


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs/softmax-digits-1, runs/least-squares-rows-1 and what they can be asked about."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        source = digits(0).source
        pictures(folder / "photos", [source.values[k, 0].numpy() for k in range(3)])  # type: ignore[attr-defined]
        rows = "".join(f"{k},{k % 7},{2 * k + k % 7 + 0.5}\n" for k in range(60))
        (folder / "rows.csv").write_text(f"a,b,height [mm]\n{rows}")
        assert said(["train", "rows.csv", "--model", "least-squares"]).code == 0
        assert said(["train", "digits", "--model", "softmax", "--epochs", "1"]).code == 0
    return folder

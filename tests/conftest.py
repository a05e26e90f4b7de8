"""Fixtures of all tests: one thread, separate data and cache folders; distribution of tests with `-n`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch


@pytest.fixture(autouse=True)
def _isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use one thread, which is faster on tiny tensors, and folders separate from those of the user."""
    torch.set_num_threads(1)
    home: Path = tmp_path_factory.getbasetemp() / "home"
    monkeypatch.setenv("SNELLEN_DATA", str(home / "data"))
    monkeypatch.setenv("SNELLEN_CACHE", str(home / "cache"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n`: run tests that share a training in one process.

    Tests of a file stay together, as they share its fixtures; contract tests stay together by learner.
    """
    from xdist.scheduler import LoadScopeScheduling

    class FileScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            return f"contract{test[test.find('[') :]}" if "contract/" in file and "[" in test else file

    return FileScheduling(config, log)

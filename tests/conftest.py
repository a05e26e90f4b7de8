"""Shared by all tests: one thread, no network, caches and data folders of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch


@pytest.fixture(autouse=True)
def _alone(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads on tiny tensors are slower than one; a user's own data and caches are no part of a test."""
    torch.set_num_threads(1)
    home: Path = tmp_path_factory.getbasetemp() / "home"
    monkeypatch.setenv("SNELLEN_DATA", str(home / "data"))
    monkeypatch.setenv("SNELLEN_CACHE", str(home / "cache"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n`: tests that look at one training stay in the process that made it.

    A file's tests stay together, as its fixtures serve all of it; of the contract, those of one learner.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            return f"contract{test[test.find('[') :]}" if "contract/" in file and "[" in test else file

    return Together(config, log)

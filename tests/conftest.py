"""Shared by all tests: one thread, no network, caches and data folders of their own."""

from __future__ import annotations

from pathlib import Path

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


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `--dist loadgroup`: tests that look at one training stay in the process that made it.

    A file is a group, as its fixtures serve all of it; the contract's groups are its learners.
    """
    for item in items:
        parts = [item.path.name]
        if item.path.parent.name == "contract" and hasattr(item, "callspec"):
            parts.append(item.callspec.id)
        item.add_marker(pytest.mark.xdist_group("-".join(parts)))

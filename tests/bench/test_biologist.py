"""A folder as a biologist might have it, in small: refused with reasons, then split without leakage and learned."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "biologist.py"


@pytest.mark.learning
def test_a_folder_a_biologist_might_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training_seed: int, assert_score: Callable[..., None]
) -> None:
    spec = importlib.util.spec_from_file_location("biologist", BENCH)
    assert spec is not None
    assert spec.loader is not None
    biologist = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "biologist", biologist)
    spec.loader.exec_module(biologist)
    monkeypatch.chdir(tmp_path)
    planted = biologist.make(tmp_path / "cells", common=220, rare=32, side=24, resize=False)
    biologist.check(tmp_path / "cells", planted)
    figures = biologist.train(tmp_path / "cells", tmp_path / "run", training_seed)
    assert_score(figures["low"], above=0.5)  # the chance of two classes; 0.74 to 0.76 over three seeds
    assert figures["learner"] == "lenet"

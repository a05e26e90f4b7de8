"""R1: a run that is killed any number of times ends bit-identical to an uninterrupted one.

Eight kills for each family (SNELLEN_KILLS sets another number); the full test of 200 is

    python tests/reliability/killing.py --kills 200
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from families import FAMILIES

KILLS = int(os.environ.get("SNELLEN_KILLS", "8"))


@pytest.fixture(scope="module")
def campaigns() -> dict[str, dict[str, Any]]:
    """Results of all families, from one separate process, which forks."""
    script = Path(__file__).with_name("killing.py")
    ended = subprocess.run([sys.executable, script, "--kills", str(KILLS)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    reports = [json.loads(line) for line in ended.stdout.splitlines()]
    return {report["family"]: report for report in reports}


@pytest.mark.timeout(60 + 60 * KILLS)
@pytest.mark.parametrize("family", FAMILIES)
def test_killed_runs_end_bit_identical(campaigns: dict[str, dict[str, Any]], family: str) -> None:
    report = campaigns[family]
    assert report["kills"] >= KILLS
    assert report["inside a save"] >= 0.3 * KILLS - 2
    assert report["runs"] >= 1
    assert report["different"] == 0
    assert report["lost"] == 0

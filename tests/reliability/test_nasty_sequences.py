"""Damaged sequences, sound, motion and series open, or end with one line of cause and one of remedy.

Forty cases (SNELLEN_NASTY sets another number); the full test is

    python tests/reliability/nasty_sequences.py --count 5000
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = int(os.environ.get("SNELLEN_NASTY", "40"))


def run(count: int, first: int = 0) -> dict[str, int]:
    """Outcomes of a number of cases, from a process that ends without defects."""
    script = Path(__file__).with_name("nasty_sequences.py")
    ended = subprocess.run(
        [sys.executable, script, "--count", str(count), "--first", str(first)], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    report = json.loads(ended.stdout.splitlines()[-1])
    assert report["defects"] == [], ended.stderr[-2000:]
    outcomes: dict[str, int] = report["outcomes"]
    assert sum(outcomes.values()) == count
    return outcomes


def test_damaged_sequences_open_or_end_with_a_cause_and_a_remedy() -> None:
    outcomes = run(COUNT)
    opened = sum(number for name, number in outcomes.items() if "Error" not in name and "Rejected" not in name)
    assert 0.1 * COUNT < opened < 0.9 * COUNT


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_whole_campaign_of_damaged_sequences() -> None:
    outcomes = run(5000)
    makers = {name.partition(":")[0] for name in outcomes}
    assert all(f"{maker}: opened" in outcomes for maker in makers)
    assert any("trained 0" in name for name in outcomes)

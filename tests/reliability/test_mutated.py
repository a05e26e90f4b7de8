"""R11: a run folder from a stranger is read, or refused in a line; nothing in it runs, imports, connects or escapes.

Five hundred folders here (SNELLEN_MUTATIONS sets another number); the whole count is

    python tests/reliability/mutating.py --count 100000
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = int(os.environ.get("SNELLEN_MUTATIONS", "500"))


@pytest.mark.timeout(120 + COUNT)
def test_mutated_run_folders_are_read_or_refused_in_a_line() -> None:
    script = Path(__file__).with_name("mutating.py")
    ended = subprocess.run([sys.executable, script, "--count", str(COUNT)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-4000:]
    report = json.loads(ended.stdout)
    assert report["cases"] == COUNT
    assert report["peak"] < 3 << 30
    refused = sum(count for outcome, count in report["outcomes"].items() if "Error" in outcome)
    assert refused > 0.3 * COUNT
    assert any("works" in outcome for outcome in report["outcomes"])

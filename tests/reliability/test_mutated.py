"""R11: an untrusted run folder is read or gives a one-line error; no code runs, imports, connects or writes elsewhere.

Two hundred folders (SNELLEN_MUTATIONS sets another number); the full test is

    python tests/reliability/mutating.py --count 100000
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = int(os.environ.get("SNELLEN_MUTATIONS", "200"))


@pytest.mark.timeout(120 + COUNT)
def test_mutated_run_folders_are_read_or_give_a_one_line_error() -> None:
    script = Path(__file__).with_name("mutating.py")
    ended = subprocess.run([sys.executable, script, "--count", str(COUNT)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-4000:]
    report = json.loads(ended.stdout)
    assert report["cases"] == COUNT
    assert report["peak"] < 3 << 30
    num_errors = sum(count for outcome, count in report["outcomes"].items() if "Error" in outcome)
    assert num_errors > 0.3 * COUNT
    assert any("works" in outcome for outcome in report["outcomes"])

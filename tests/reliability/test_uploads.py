"""R13: malformed uploads get an error response, never a 5xx or a hang; above capacity the server sends Retry-After.

A thousand uploads (SNELLEN_UPLOADS sets another number); the full test is

    python tests/reliability/uploads.py --uploads 10000 --seconds 60 --clients 64
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hostile import KINDS

COUNT = int(os.environ.get("SNELLEN_UPLOADS", "1000"))


@pytest.mark.timeout(240 + COUNT)
def test_malformed_uploads_and_overload() -> None:
    script = Path(__file__).with_name("uploads.py")
    arguments = ["--uploads", str(COUNT), "--seconds", "3", "--clients", "64"]
    ended = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-4000:]
    report = json.loads(ended.stdout)
    assert sum(sum(counts.values()) for counts in report["outcomes"].values()) == COUNT + report["slow"]
    assert {kind.__name__ for kind in KINDS} <= set(report["outcomes"])
    assert report["crowd"]["outcomes"]["200"]

"""Every decoder keeps within 4 times the expected size and 300 MB, whatever a file unpacks to (see `bombs`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("bombs.py")


def results(*arguments: str) -> list[dict[str, str]]:
    command = [sys.executable, str(SCRIPT), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}  # an arena reserves 64 MB per thread
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS and /proc")
@pytest.mark.parametrize(
    "arguments", [("quick", "1", str(640 << 20)), pytest.param(("all", "8", str(2 << 30)), marks=pytest.mark.slow)]
)
def test_decoders_take_a_bounded_multiple_of_the_expected_memory(arguments: tuple[str, ...]) -> None:
    cases = results(*arguments)
    assert len(cases) >= 10
    assert [case for case in cases if not case["result"].startswith(("read", "refused"))] == []

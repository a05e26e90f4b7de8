"""Two processes never go on with one run at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from families import Family, pictures

from snellen.core.errors import UsageError

SHORT = Family(pictures, "softmax", {"epochs": 1})
HOLDING = """
import sys
from pathlib import Path
from snellen.core.files import alone
with alone(Path(sys.argv[1])):
    print("inside", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="files are locked otherwise there")
def test_a_run_that_another_process_is_at_work_on_is_left_alone(tmp_path: Path) -> None:
    SHORT.train(tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    holding = subprocess.Popen(
        [sys.executable, "-c", HOLDING, tmp_path / "run"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holding.stdout is not None
    assert holding.stdout.readline() == "inside\n"
    with pytest.raises(UsageError, match="Another process is at work"):
        SHORT.resume(tmp_path / "run")
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    holding.kill()  # nothing is left that would keep others out
    holding.communicate()
    SHORT.resume(tmp_path / "run")

"""Exclusive lock: two processes never write one run at the same time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from families import Family, pictures

from snellen.core.errors import UsageError

SHORT = Family(pictures, "softmax", {"epochs": 1})
LOCKING_SCRIPT = """
import sys
from pathlib import Path
from snellen.core.file_io import exclusive_lock
with exclusive_lock(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="files are locked differently there")
def test_a_run_that_another_process_writes_is_not_resumed(tmp_path: Path) -> None:
    SHORT.train(tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    locking = subprocess.Popen(
        [sys.executable, "-c", LOCKING_SCRIPT, tmp_path / "run"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert locking.stdout is not None
    assert locking.stdout.readline() == "locked\n"
    with pytest.raises(UsageError, match="Another process is writing"):
        SHORT.resume(tmp_path / "run")
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    locking.kill()  # which releases the lock
    locking.communicate()
    SHORT.resume(tmp_path / "run")

"""The diff of CONTRIBUTING.md applies to the source as it is, and the learner it adds learns."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def diff() -> str:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"^```diff\n(.*?\n)```$", page, re.M | re.S)
    return str(found)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_diff_applies_and_its_learner_learns(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    alone = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent), "PYTHONPATH": str(tmp_path / "src")}
    subprocess.run(["git", "apply", "-"], input=diff(), text=True, check=True, cwd=tmp_path, env=alone)
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "docs/grid.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run([sys.executable, "docs/grid.py"], check=True, cwd=tmp_path, env=alone)
    assert '"nearest-mean"' in (tmp_path / "src/snellen/core/catalog.json").read_text(encoding="utf-8")
    assert "`nearest-mean`" in (tmp_path / "README.md").read_text(encoding="utf-8")
    words = ["train", "digits", "--model", "nearest-mean", "--out", str(tmp_path / "run"), "--threads", "1", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "snellen", *words], capture_output=True, text=True, check=False, cwd=tmp_path, env=alone
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["learner"] == "nearest-mean"
    assert said["metrics"]["accuracy"]["value"] > 0.85
    assert (tmp_path / "run" / "report.html").exists()

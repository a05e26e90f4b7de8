"""The diffs of CONTRIBUTING.md apply to the source as it is, and what they add works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "contributing"


def diff() -> str:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"^```diff\n(.*?\n)```$", page, re.M | re.S)
    return str(found)


def patched(folder: Path, *diffs: str) -> dict[str, str]:
    """Copy the source to a folder and apply diffs; the environment in which Python imports it."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    alone = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent), "PYTHONPATH": str(folder / "src")}
    for one in diffs:
        subprocess.run(["git", "apply", "-"], input=one, text=True, check=True, cwd=folder, env=alone)
    (folder / "docs").mkdir()
    for name in ("README.md", "docs/grid.py"):
        shutil.copy(ROOT / name, folder / name)
    subprocess.run([sys.executable, "docs/grid.py"], check=True, cwd=folder, env=alone)
    return alone


def run(words: list[str], folder: Path, alone: dict[str, str]) -> str:
    """Output of a command of the patched source."""
    command = [sys.executable, "-m", "snellen", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=alone)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_diff_applies_and_its_learner_learns(tmp_path: Path) -> None:
    alone = patched(tmp_path, diff())
    assert '"nearest-mean"' in (tmp_path / "src/snellen/core/catalog.json").read_text(encoding="utf-8")
    assert "`nearest-mean`" in (tmp_path / "README.md").read_text(encoding="utf-8")
    words = ["train", "digits", "--model", "nearest-mean", "--out", str(tmp_path / "run"), "--threads", "1", "--json"]
    said = json.loads(run(words, tmp_path, alone))
    assert said["learner"] == "nearest-mean"
    assert said["metrics"]["accuracy"]["value"] > 0.85
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_diffs_of_spectra_and_outliers_add_a_kind_of_input_and_a_task(tmp_path: Path) -> None:
    alone = patched(tmp_path, *((EXAMPLES / name).read_text("utf-8") for name in ("spectrum.diff", "outlier.diff")))
    rng = np.random.default_rng(0)
    for k in range(60):
        kind = ("ethanol", "water")[k % 2]
        folder = tmp_path / "spectra" / kind
        folder.mkdir(parents=True, exist_ok=True)
        line = np.exp(-(((np.arange(30) - (10, 20)[k % 2]) / 3) ** 2)) + 0.05 * rng.normal(size=30)
        rows = "".join(f"{400 + i}, {value:.4f}\n" for i, value in enumerate(line))
        (folder / f"{k:02d}.spc.txt").write_text(f"# a spectrum\n{rows}")
    options = ["--out", "run", "--threads", "1", "--json"]
    said = json.loads(run(["train", "spectra", "--model", "knn", *options], tmp_path, alone))
    assert said["metrics"]["accuracy"]["value"] > 0.8
    predicted = json.loads(run(["predict", "run", "spectra/water/01.spc.txt"], tmp_path, alone))
    assert predicted["class"] == "water"
    options[1] = "outliers"
    said = json.loads(run(["train", "spectra", "--task", "outlier", *options], tmp_path, alone))
    assert said["learner"] == "pca"
    assert (tmp_path / "outliers" / "report.html").exists()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_diff_of_angles_adds_a_kind_of_target(tmp_path: Path) -> None:
    alone = patched(tmp_path, (EXAMPLES / "angle.diff").read_text("utf-8"))
    angles = np.random.default_rng(0).uniform(0, 360, 120)
    rows = "".join(f"{np.cos(np.deg2rad(a)):.4f},{np.sin(np.deg2rad(a)):.4f},{a:.2f}\n" for a in angles)
    (tmp_path / "rows.csv").write_text(f"u,v,heading\n{rows}")
    options = ["--target", "heading:angle", "--epochs", "40", "--out", "run", "--threads", "1", "--json"]
    said = json.loads(run(["train", "rows.csv", *options], tmp_path, alone))
    assert said["metrics"]["mean angular error"]["value"] < 30  # 90 of a random direction
    (tmp_path / "north.csv").write_text("u,v\n0,-1\n")
    assert abs(json.loads(run(["predict", "run", "north.csv"], tmp_path, alone))["heading"] - 270) < 45

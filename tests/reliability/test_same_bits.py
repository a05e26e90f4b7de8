"""R4: the same seed gives bit-identical results, another seed others; predictions do not depend on the batch."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from families import FAMILIES, pictures, result

BATCH_TOLERANCE = 1e-5  # of scores of order 1: sums of other lengths round differently

_SCRIPT = """
import sys, json, torch
torch.set_num_threads(1)
from pathlib import Path
from families import FAMILIES, result
print(json.dumps({name: (family.train(Path(sys.argv[1]) / name), result(Path(sys.argv[1]) / name))[1]
                  for name, family in FAMILIES.items()}))
"""


@pytest.fixture(scope="module")
def other_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Results of all families in a new process."""
    ended = subprocess.run(
        [sys.executable, "-c", _SCRIPT, tmp_path_factory.mktemp("elsewhere")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    assert ended.returncode == 0, ended.stderr
    hashes: dict[str, dict[str, str]] = json.loads(ended.stdout)
    return hashes


@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_seed_gives_the_same_bits(name: str, tmp_path: Path, other_process: dict[str, dict[str, str]]) -> None:
    """Independent of earlier random numbers, of the process, and of how often the run is saved."""
    torch.manual_seed(77)
    np.random.seed(77)
    random.seed(77)
    FAMILIES[name].train(tmp_path / "a", save_every=30)
    assert torch.initial_seed() == 77
    assert result(tmp_path / "a") == other_process[name]


@pytest.mark.parametrize("name", [n for n in FAMILIES if n not in ("baseline", "perceptron")])
def test_another_seed_gives_other_results(name: str, tmp_path: Path, other_process: dict[str, dict[str, str]]) -> None:
    FAMILIES[name].train(tmp_path / "b", seed=1, save_every=30)
    assert result(tmp_path / "b")["model.safetensors"] != other_process[name]["model.safetensors"]
    assert result(tmp_path / "b")["history.jsonl"] != other_process[name]["history.jsonl"]


def test_training_restores_the_generators_of_the_caller(tmp_path: Path) -> None:
    def draws() -> tuple[float, float, float]:
        return float(torch.rand(())), float(np.random.rand()), random.random()

    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    expected = draws()
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    FAMILIES["own loop"].train(tmp_path / "run", save_every=30)
    assert draws() == expected


@pytest.mark.parametrize("name", ["mlp", "lenet", "own module"])
def test_predictions_do_not_depend_on_the_batch(name: str, tmp_path: Path) -> None:
    """Scores of single samples and of batches of 32 agree within 1e-5 of the largest; predicted classes agree."""
    trained = FAMILIES[name].train(tmp_path / "run", save_every=30)
    x = trained.data.samples("train").take(torch.arange(32)).x
    with torch.inference_mode():
        together = trained.model.scores(x)
        single = torch.cat([trained.model.scores(one[None]) for one in x])
    assert float((together - single).abs().max()) <= BATCH_TOLERANCE * float(together.abs().max())
    assert [a["class"] for a in trained.predict_batch(x)] == [trained.predict_batch(one[None])[0]["class"] for one in x]


def test_evaluating_changes_no_file_of_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    FAMILIES["own loop"].train(folder, save_every=30)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}
    trained = FAMILIES["own loop"].load(folder)
    assert trained.evaluate(pictures(), "val").keys() == trained.metrics.keys()
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}
    assert after == before

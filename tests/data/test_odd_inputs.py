"""Inputs that gave a wrong result without a word, or a traceback."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import snellen
from snellen.api import RunOptions
from snellen.cli.main import main
from snellen.core.errors import DataError, UsageError
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset

QUIET = RunOptions(threads=1, report=False)


def series(path: Path, step: float) -> Path:
    rows = "".join(f"{k * step:g},{np.sin(k / 3):.4f}\n" for k in range(120))
    path.write_text(f"time,v\n{rows}")
    return path


def test_recordings_of_other_steps_are_not_forecast(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = OpenOptions(window=6, horizon=3)
    data = dataset(series(tmp_path / "a.csv", 1), options=options)
    run = snellen.train(data, "baseline", out=tmp_path / "run", options=QUIET)
    other = series(tmp_path / "b.csv", 2)
    assert main(["predict", str(run.folder), str(other)]) == 3
    assert "has steps of 2, the model was trained on steps of 1" in capsys.readouterr().err
    with pytest.raises(DataError, match="steps of 2"):
        run.evaluate(dataset(other, options=options))


@pytest.mark.parametrize("shape", [(30, 4), (30, 6, 4)])
def test_numbers_too_large_to_compute_with_are_named(tmp_path: Path, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    x[7, ..., 2] = -1e300
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(30) % 2)
    with pytest.raises(DataError, match="sample 7: column 3 is"):
        dataset(tmp_path / "a.npz", options=OpenOptions(modality="sequence" if len(shape) == 3 else None))


def test_a_model_of_vectors_in_arrays_predicts_arrays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).normal(size=(40, 4))
    np.savez(tmp_path / "a.npz", x=x, y=(x[:, 0] > 0).astype(int))
    run = snellen.train(tmp_path / "a.npz", "knn", out=tmp_path / "run", options=QUIET)
    np.save(tmp_path / "new.npy", x[:3])
    assert main(["predict", str(run.folder), str(tmp_path / "new.npy")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    np.save(tmp_path / "empty.npy", x[:0])
    assert main(["predict", str(run.folder), str(tmp_path / "empty.npy")]) == 3
    assert "holds no samples" in capsys.readouterr().err
    (tmp_path / "cloud.txt").write_text("1 2 3 4")
    assert main(["predict", str(run.folder), str(tmp_path / "cloud.txt")]) == 3
    assert "is no array file" in capsys.readouterr().err


def test_generation_of_several_inputs_is_a_usage_error_that_leaves_no_run(tmp_path: Path) -> None:
    from image_makers import save

    lines = ["photo,age,label"]
    for k in range(30):
        save(tmp_path / f"{k}.png", np.full((8, 8), 8 * k, np.uint8))
        lines.append(f"{k}.png,{k},{'ab'[k % 2]}")
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    data = dataset(tmp_path / "rows.csv", options=OpenOptions(inputs=("photo", "age"), target=("label",)))
    for model in (None, "baseline"):
        with pytest.raises(UsageError, match="reads one input"):
            snellen.train(data, model, task="generate", out=tmp_path / "run", options=QUIET)
    assert not (tmp_path / "run").exists()

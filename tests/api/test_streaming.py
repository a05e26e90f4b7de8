"""Predictions step by step: equal to those of the whole sequence, and printed as the steps arrive."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import snellen
from snellen.api import RunOptions, TrainedRun
from snellen.api.streaming import Stream, predict_lines
from snellen.cli.main import main
from snellen.core.errors import DataError, UsageError
from snellen.data.formats import FUTURE, OpenOptions

QUIET = RunOptions(threads=1, report=False)


def ragged_file(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 12, 40)
    x = np.concatenate([rng.normal(size=(n, 2)) for n in lengths])
    np.savez(folder / "ragged.npz", x=x, lengths=lengths, y=np.arange(40) % 2)
    return folder / "ragged.npz"


def trained(folder: Path, model: str, **settings: object) -> TrainedRun:
    return snellen.train(ragged_file(folder), model, out=folder / "run", options=QUIET, epochs=1, **settings)


@pytest.mark.parametrize(
    ("model", "settings"),
    [("gru", {"layers": 2}), ("lstm", {}), ("rnn", {"form": "tanh"}), ("rnn", {"form": "lecture", "layers": 2})],
)
def test_the_prediction_after_each_step_is_that_of_the_steps_so_far(
    model: str, settings: dict[str, object], tmp_path: Path
) -> None:
    run = trained(tmp_path, model, **settings)
    stream, x = Stream(run), torch.randn(20, 2, dtype=torch.float64)
    for _ in range(2):  # a second sequence begins without the state of the first
        for t in range(20):
            whole = run.predict_batch(x[None, : t + 1])[0]["probabilities"]
            assert stream.step(x[t])["probabilities"] == pytest.approx(whole, rel=1e-5)  # type: ignore[index]
        stream.restart()


def test_a_carried_state_takes_no_more_memory_with_every_step(tmp_path: Path) -> None:
    stream = Stream(trained(tmp_path, "gru"))
    for _ in range(50):
        stream.step(torch.zeros(2, dtype=torch.float64))
    assert len(stream._steps) == 1


@pytest.mark.parametrize("model", ["gru", "mlp"])
def test_a_class_at_every_step_is_that_of_the_whole(model: str, tmp_path: Path) -> None:
    data = snellen.dataset("oscillators")
    run = snellen.train(data, model, out=tmp_path / "run", options=QUIET, epochs=1, causal=True)
    x = data.source.read(np.array([0]), data.preprocessing)[0]
    stream = Stream(run)
    for _ in range(2):  # a second sequence begins without the state of the first
        steps = [stream.step(row)["classes"][0] for row in x]  # type: ignore[index]
        assert steps == run.predict_batch(x[None])[0]["classes"]
        stream.restart()


@pytest.mark.parametrize("model", ["gru", "mlp"])
def test_a_network_that_reads_later_steps_is_refused(model: str, tmp_path: Path) -> None:
    run = snellen.train("oscillators", model, out=tmp_path / "run", options=QUIET, epochs=1)
    with pytest.raises(UsageError, match="reads the steps after"):
        Stream(run)


def test_a_forecast_is_made_of_the_last_window(tmp_path: Path) -> None:
    t = np.arange(300)
    np.savetxt(
        tmp_path / "s.csv", np.stack([np.sin(t / 5), np.cos(t / 7)], 1), delimiter=",", header="a,b", comments=""
    )
    data = snellen.dataset(tmp_path / "s.csv", options=OpenOptions(target=(FUTURE,), window=8, horizon=3))
    run = snellen.train(data, "gru", out=tmp_path / "run", options=QUIET, epochs=1)
    lines = (tmp_path / "s.csv").read_text().splitlines()[:13]
    swapped = [",".join(reversed(line.split(","))) for line in lines]
    records = list(predict_lines(run, [*lines, "", *swapped]))
    assert [record["step"] for record in records] == [8, 9, 10, 11, 12] * 2
    assert [record["sequence"] for record in records] == [1] * 5 + [2] * 5
    assert records[0]["forecast"] == records[5]["forecast"]
    (tmp_path / "start.csv").write_text("\n".join(lines))
    (whole,) = run.predict_files([tmp_path / "start.csv"])
    for name in "ab":
        assert records[4]["forecast"][name] == pytest.approx(whole["forecast"][name], rel=1e-6)


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (["1,2", "1"], "line 2 has 1 cells"),
        (["1,2", "1,x"], "line 2 is 'x', not a number"),
        (["1,2", "[1, null]"], "line 2 is 'null'"),
        (["1,2", "[1, 2"], "line 2 is no JSON"),
        (["[[1, 2]]"], "line 1 is no list"),
        (["nan,1"], "line 1 is 'nan'"),
        (["1e999 1"], "line 1 is '1e999'"),
        (['{"a": 1}'], "line 1 has names"),
        (["missing.npy"], "line 1 has 1 cells"),
        (["a,b"], "no step"),
        ([], "no step"),
    ],
)
def test_a_line_that_holds_no_step_is_named(lines: list[str], cause: str, tmp_path: Path) -> None:
    run = trained(tmp_path, "gru")
    with pytest.raises(DataError, match=cause.replace("[", r"\[")):
        list(predict_lines(run, lines))


def test_standard_input_is_answered_line_by_line(tmp_path: Path) -> None:
    """Each answer arrives before the next line is written."""
    run = trained(tmp_path, "gru")
    command = [sys.executable, "-m", "snellen", "predict", str(run.folder), "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for t, line in enumerate(("0.5 -1", "[0.25, 2]", "0.1;0.2"), 1):
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["step"] == t
        process.stdin.close()
        assert process.wait() == 0


def test_standard_input_may_still_be_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(tmp_path, "gru")
    np.save(tmp_path / "one.npy", np.zeros((1, 5, 2)))
    stdin = io.BufferedReader(io.BytesIO(f"{tmp_path / 'one.npy'}\n".encode()))  # type: ignore[arg-type]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stdin))
    assert main(["predict", str(run.folder), "-"]) == 0
    assert json.loads(capsys.readouterr().out)["input"] == f"{tmp_path / 'one.npy'}[0]"

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
from snellen.core.spec import Future, Input, Preprocessing, Skeleton, Spec
from snellen.data.formats import FUTURE, OpenOptions
from snellen.modalities.arrays import SEQUENCE
from snellen.modalities.modality import Upload, UploadLimits
from snellen.modalities.step_lines import read_steps

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
        (["[[1, 2], [3, 4]]"], "line 1 is no list"),
    ],
)
def test_a_line_that_holds_no_step_is_named(lines: list[str], cause: str, tmp_path: Path) -> None:
    run = trained(tmp_path, "gru")
    with pytest.raises(DataError, match=cause.replace("[", r"\[")):
        list(predict_lines(run, lines))


def test_a_byte_order_mark_and_quotes_are_no_part_of_the_numbers(tmp_path: Path) -> None:
    run = trained(tmp_path, "gru")
    plain = list(predict_lines(run, ["1,2", "3,4"]))
    assert list(predict_lines(run, ["\ufeff1,2", '"3","4"'])) == plain


def test_a_stream_shorter_than_the_window_is_an_error(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "s.csv", np.sin(np.arange(200.0)), header="a", comments="")
    data = snellen.dataset(tmp_path / "s.csv", options=OpenOptions(target=(FUTURE,), window=8, horizon=3))
    run = snellen.train(data, "constant-velocity", out=tmp_path / "run", options=QUIET)
    with pytest.raises(DataError, match="Sequence 2 on standard input has 5 steps, a prediction needs 8"):
        list(predict_lines(run, ["a", *"123456789", "", *"12345"]))


def test_motion_is_not_read_line_by_line() -> None:
    """Its files are resampled: a line would be a step of another duration."""
    skeleton = Skeleton(joints=("hip",), parents=(-1,), form="positions", columns=(0,))
    spec = Spec(
        name="walk",
        inputs={"sequence": Input(modality="sequence", shape=(2, 3))},
        target=Future(names=("x", "y", "z"), steps=1, skeleton=skeleton),
    )
    with pytest.raises(UsageError, match="no frame rate"):
        list(read_steps(["1 2 3"], spec))


def test_requests_hold_numbers_only() -> None:
    spec = Spec(name="s", inputs={"x": Input(modality="sequence", shape=(None, 2))}, target=None)
    for content, cause in (
        ('[[["1", "2"]]]', 'holds "1", not a number'),
        ("[[[true, 2]]]", "holds true"),
        ("[[[1, null]]]", "holds null"),
        ("[[[1, 1e999]]]", "beyond the range"),
    ):
        upload = Upload("body", "application/json", f'{{"sequences": {content}}}'.encode())
        with pytest.raises(DataError, match=cause):
            list(SEQUENCE.read_uploads([upload], spec, Preprocessing(), UploadLimits(10, 10)))


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

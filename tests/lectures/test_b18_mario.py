"""B18, the next position of Mario: sigmoid networks trained on tracks at nearly constant velocity."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import snellen
from snellen.api import RunOptions
from snellen.cli.main import main
from snellen.core.errors import UsageError
from snellen.core.spec import Future
from snellen.data.formats import FUTURE, OpenOptions
from snellen.data.open_dataset import dataset
from snellen.data.recording_windows import RecordingWindows
from snellen.data.synthetic import builtin_recordings as built_in
from snellen.tasks.forecast.task import SKILL

MARIO = "22.5\n24.7\n25.3\n"
FORECAST = OpenOptions(target=(FUTURE,))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> snellen.TrainedRun:
    return snellen.train(
        "tracks",
        "mlp",
        task="forecast",
        out=tmp_path_factory.mktemp("mario") / "run",
        options=RunOptions(threads=1, report=False),
        activation="sigmoid",
        hidden=(16, 16),
        lr=0.02,
        epochs=12,
        batch_size=64,
    )


def test_b18_a_network_trained_on_tracks_beats_the_last_value(run: snellen.TrainedRun) -> None:
    skill = run.metrics[SKILL]
    assert skill.low is not None
    assert skill.low > 0.3  # 0 is the skill of the last value


def test_b18_the_forecast_is_that_of_the_code_of_the_lecture(
    run: snellen.TrainedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`h1 = f(np.dot(W1, x) + b1)`, `h2 = f(np.dot(W2, h1) + b2)`, `out = np.dot(W3, h2) + b3`.

    x is the changes since the last position, and out the next change, both in units of the typical change.
    """
    weights = {name: values.double().numpy() for name, values in run.model.state_dict().items()}
    w1, w2, w3 = (weights[name] for name in sorted(weights) if name.endswith("weight"))
    b1, b2, b3 = (weights[name] for name in sorted(weights) if name.endswith("bias"))
    f = lambda z: 1.0 / (1.0 + np.exp(-z))  # noqa: E731
    x = np.array([22.5, 24.7, 25.3])
    h1 = f(np.dot(w1, (x - x[2]) / weights["scale"]) + b1)
    h2 = f(np.dot(w2, h1) + b2)
    out = np.dot(w3, h2) + b3
    (tmp_path / "mario.txt").write_text(MARIO)
    assert main(["predict", str(run.folder), str(tmp_path / "mario.txt")]) == 0
    (forecast,) = json.loads(capsys.readouterr().out)["forecast"]["position"]
    assert forecast == pytest.approx(float(x[2] + out[0] * weights["scale"][0]), abs=1e-4)
    assert 25.3 < forecast < 28  # a runner at about 1.4 a step; the last value is 25.3


def test_b18_the_tracks_have_the_stated_accelerations_and_errors_of_measurement() -> None:
    """The second difference of a track is a change of velocity and three errors with the weights 1, −2, 1."""
    read = built_in.tracks(0)
    x = np.stack([recording.values[:, 0] for recording in read.recordings])
    expected = built_in.ACCELERATION**2 + 6 * built_in.MEASUREMENT**2
    assert np.diff(x, 2, axis=1).var() == pytest.approx(expected, rel=0.08)
    v = x[:, -1] - x[:, 0]
    steps = built_in.TRACK_STEPS - 1
    spread = steps**2 * built_in.SPEED**2 + built_in.ACCELERATION**2 * sum(k**2 for k in range(1, steps)) + 2 * 0.09
    assert v.var() == pytest.approx(spread, rel=0.2)
    assert np.array_equal(x[3], built_in.tracks(0).recordings[3].values[:, 0])
    assert not np.array_equal(x[3], built_in.tracks(1).recordings[3].values[:, 0])


def test_builtin_recordings_are_cut_into_the_requested_windows_and_no_track_crosses_a_split() -> None:
    data = dataset("tracks", options=FORECAST)
    target = data.spec.target
    assert isinstance(target, Future)
    assert (data.spec.input.shape, target.steps) == ((3, 1), 1)
    source = data.source
    assert isinstance(source, RecordingWindows)
    in_split = [set(source.recording[ids.numpy()].tolist()) for ids in data.splits.values()]
    assert [len(a & b) for a in in_split for b in in_split if a is not b] == [0] * 6
    sine = dataset("sine", options=OpenOptions(window=30, horizon=4, stride=2))
    assert sine.spec.input.shape == (30, 1)
    assert sine.truth.shape[1:] == (4, 1)
    values = built_in.sine_series(0).recordings[0].values
    first = int(sine.splits["test"][0])
    np.testing.assert_array_equal(sine.source.read(np.array([first]), sine.preprocessing)[0], _window(values, sine, 0))
    np.testing.assert_array_equal(sine.truth[first], _window(values, sine, 30)[:4])
    assert values.std() == pytest.approx(np.sqrt(0.5 + built_in.SINE_NOISE**2), rel=0.03)  # a sine has variance 1/2


def _window(values: np.ndarray, data: snellen.Dataset[object], after: int) -> torch.Tensor:
    source = data.source
    assert isinstance(source, RecordingWindows)
    start = int(source.start[int(data.splits["test"][0])]) + after
    return torch.from_numpy(values[start : start + 30])


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("digits", FORECAST, "digits is built in and holds no recordings to forecast"),
        ("tracks", OpenOptions(target=("speed",)), "--target speed does not apply to tracks|one target"),
        ("sine", OpenOptions(target=("y",), horizon=3), "--target y does not apply to sine"),
    ],
)
def test_other_options_of_builtin_recordings_are_usage_errors(name: str, options: OpenOptions, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        dataset(name, options=options)

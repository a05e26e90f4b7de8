"""Errors of motion against a script of their own and by hand; forecasts of motion from files to views."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import snellen
from snellen.api import RunOptions
from snellen.cli.main import main
from snellen.core.spec import Future, Input, Skeleton, Spec
from snellen.core.views import Motion, Table
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset
from snellen.metrics.motion import euler_angle_error, mean_joint_distance
from snellen.tasks.forecast import poses
from snellen.tasks.forecast.linear import LinearAutoregression, least_squares
from snellen.tasks.forecast.step_errors import headline, horizons, step_errors
from snellen.tasks.forecast.task import TASK
from snellen.tasks.forecast.vector import VectorAutoregression, fit_vector
from tests.motion_makers import ASF, angles, write_amc, write_cmu_text

QUIET = RunOptions(threads=1, report=False)


def motion_spec(skeleton: Skeleton, features: int, steps: int) -> Spec:
    target = Future(
        names=tuple(f"f{k}" for k in range(features)), steps=steps, duration=40, duration_unit="ms", skeleton=skeleton
    )
    return Spec(name="m", inputs={"x": Input(modality="sequence", shape=(4, features))}, target=target)


def test_joint_distances_by_hand() -> None:
    truth = torch.zeros(1, 1, 2, 3, dtype=torch.float64)
    forecast = torch.tensor([[[[3.0, 0, 4], [3, 0, 5]]]], dtype=torch.float64)
    assert mean_joint_distance(forecast, truth, aligned=False).tolist() == [[(5 + 34**0.5) / 2]]
    assert mean_joint_distance(forecast, truth, aligned=True).tolist() == [[0.5]]


def test_an_angle_that_stands_still_in_the_truth_is_left_out() -> None:
    truth = torch.tensor([[[0.0, 1.0], [0.5, 1.0]]], dtype=torch.float64)
    forecast = truth + torch.tensor([0.3, 9.0])
    np.testing.assert_allclose(euler_angle_error(forecast, truth).numpy(), [[0.3, 0.3]])


@pytest.mark.parametrize("inverse", [True, False])
def test_errors_of_exponential_maps_equal_a_script_of_scipys_rotations(inverse: bool) -> None:
    """As the published script: exponential map, matrix, Euler angles, L2 norm; positions joint by joint."""
    rng = np.random.default_rng(0)
    parents, offsets = (-1, 0, 1, 0), rng.normal(size=(4, 3))
    skeleton = Skeleton(
        joints=("root", "a", "b", "c"),
        parents=parents,
        form="exponential-maps",
        columns=(3, 6, -1, 9),
        root=0,
        offsets=tuple(map(tuple, offsets.tolist())),
        inverse=inverse,
        unit="mm",
        scale=10.0,
    )
    spec = motion_spec(skeleton, 12, 5)
    truth, forecast = rng.normal(size=(2, 3, 5, 12)) * 0.7
    truth[1, :, 9:] = 0.2  # a joint that stands still in the second window
    found = step_errors(torch.from_numpy(forecast), torch.from_numpy(truth), spec)
    assert list(found) == ["MPJPE", "MPJPE in the room", "Euler-angle error", "mean absolute error"]
    assert headline(spec) == "MPJPE"
    assert horizons(spec) == {"80 ms": 1, "160 ms": 3}

    def rotation(row: np.ndarray, column: int) -> Rotation:
        turned = Rotation.from_rotvec(row[column : column + 3]) if column >= 0 else Rotation.identity()
        return turned.inv() if inverse else turned

    def places(row: np.ndarray) -> np.ndarray:
        turns, points = [], []
        for j, parent in enumerate(parents):
            own = rotation(row, skeleton.columns[j])
            turns.append(own if parent < 0 else turns[parent] * own)
            points.append(row[:3] + offsets[j] if parent < 0 else points[parent] + turns[parent].apply(offsets[j]))
        return 10 * np.array(points)

    for n in range(3):
        euler = [
            np.concatenate([[rotation(row, c).as_euler("ZYX") for c in (6, 9)] for row in window]).reshape(5, 6)
            for window in (truth[n], forecast[n])
        ]
        used = euler[0].std(0) > 1e-4
        expected = np.sqrt(((euler[1] - euler[0])[:, used] ** 2).sum(1))
        np.testing.assert_allclose(found["Euler-angle error"].values[n], expected, rtol=1e-9)
        for h in range(5):
            a, b = places(forecast[n, h]), places(truth[n, h])
            np.testing.assert_allclose(
                found["MPJPE in the room"].values[n, h], np.linalg.norm(a - b, axis=1).mean(), rtol=1e-9
            )
            a, b = a - a[0], b - b[0]
            np.testing.assert_allclose(found["MPJPE"].values[n, h], np.linalg.norm(a - b, axis=1).mean(), rtol=1e-9)


@pytest.mark.parametrize("up", ["x", "y", "z", "-y"])
def test_a_drawn_skeleton_stands_upright_and_walks_to_the_right(up: str) -> None:
    skeleton = Skeleton(joints=("a", "b"), parents=(-1, 0), form="positions", columns=(0, 3), up=up)  # type: ignore[arg-type]
    axis, sign = "xyz".index(up[-1]), -1.0 if up.startswith("-") else 1.0
    places = torch.zeros(10, 2, 3, dtype=torch.float64)
    places[..., (axis + 1) % 3] = 2 * torch.arange(10)[:, None]
    places[:, 1, axis] = sign * 3
    shown = poses.upright(places, skeleton, 4, 10)
    np.testing.assert_allclose(shown[:, 0, 0], 2.0 * np.arange(-4, 6), atol=1e-12)
    np.testing.assert_allclose(shown[:, 1, 1] - shown[:, 0, 1], 3)
    np.testing.assert_allclose(torch.cdist(shown[0], shown[9]), torch.cdist(places[0], places[9]))


@pytest.mark.parametrize("base", ["linear-autoregression", "vector-autoregression"])
def test_a_network_that_corrects_an_autoregression_starts_as_it(tmp_path: Path, base: str) -> None:
    for k in range(4):
        write_amc(tmp_path / "02" / f"{k}.amc", angles(120, k))
    (tmp_path / "02" / "02.asf").write_text(ASF)
    data = dataset(tmp_path / "02", options=OpenOptions(target=("future",), window=4, horizon=3))
    run = snellen.train(data, "mlp", out=tmp_path / "run", options=QUIET, epochs=1, lr=1e-12, base=base)
    linear = LinearAutoregression(data.spec, 4) if base == "linear-autoregression" else VectorAutoregression(data.spec)
    if isinstance(linear, VectorAutoregression):
        fit_vector(linear, data)
    else:
        least_squares(linear, data)
    x = data.source.read(data.splits["test"].numpy(), data.preprocessing)
    torch.testing.assert_close(run.model.forecast(x), linear.forecast(x), rtol=0, atol=1e-6)
    loaded = snellen.load(tmp_path / "run")
    torch.testing.assert_close(loaded.model.forecast(x), run.model.forecast(x))


def test_a_run_on_motion_predicts_the_folder_of_its_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "02"
    for k in range(4):
        write_amc(folder / "walk" / "slow" / f"{k}.amc", angles(120, k))
    (folder / "02.asf").write_text(ASF)
    data = dataset(folder, options=OpenOptions(target=("future",), window=4, horizon=3))
    snellen.train(data, "constant-velocity", out=tmp_path / "run", options=QUIET)
    (folder / "notes.txt").write_text("walks of subject 2\n")
    assert main(["predict", str(tmp_path / "run"), str(folder)]) == 0
    assert capsys.readouterr().out.count(".amc") == 4
    for name in ("one.jsonl", "note.md"):
        (tmp_path / name).write_text('{"x": [[1, 2], [3, 4]]}\n')
        assert main(["predict", str(tmp_path / "run"), str(tmp_path / name)]) != 0
        printed = capsys.readouterr()
        assert "is not a file of a known kind; a forecast is made from files that end in .amc, .bvh" in (
            printed.out + printed.err
        )
    (tmp_path / "empty").mkdir()
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "empty")]) != 0
    assert "Give files that end in .amc, .bvh, .npy" in capsys.readouterr().err


def test_a_run_on_motion_has_errors_by_horizon_and_skeletons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for k in range(4):
        write_cmu_text(tmp_path / "walk" / f"{k}.txt", 160, k)
    data = dataset(tmp_path / "walk", options=OpenOptions(target=("future",), horizon=4, window=4))
    run = snellen.train(data, "baseline", out=tmp_path / "run", options=QUIET)
    assert {"MPJPE", "MPJPE at 80 ms", "MPJPE at 160 ms", "Euler-angle error at 160 ms"} <= set(run.metrics)
    assert run.metrics["MPJPE at 80 ms"].unit == "mm"
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "walk" / "0.txt")]) == 0
    assert '"lfemur x"' in capsys.readouterr().out
    views = TASK.views(run.predictions("test"), data, data.spec)
    worst = next(view for view in views if isinstance(view, Table) and view.title == "Worst windows")
    assert worst.columns == ["window", "MPJPE [mm]", "of the last value [mm]", "skill", "joint with the largest error"]
    skeleton = data.spec.target.skeleton  # type: ignore[union-attr]
    assert {row[-1] for row in worst.rows} <= set(skeleton.joints[1:])  # type: ignore[union-attr]  # not the root
    motion = [view for view in views if isinstance(view, Motion)]
    assert [track.start for track in motion[0].tracks] == [0, 3]
    assert [len(track.positions) for track in motion[0].tracks] == [8, 5]
    assert (motion[0].present, motion[0].frame_seconds, len(motion[0].bones)) == (3, 0.04, 37)
    assert float((motion[0].tracks[0].positions[3] - motion[0].tracks[1].positions[0]).norm()) == 0

"""Vector autoregression against scikit-learn's ridge regression; reflected motion against reflected positions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

import snellen
from snellen.api import RunOptions
from snellen.core.errors import UsageError
from snellen.core.run import Run
from snellen.core.spec import Future, Input, Preprocessing, Skeleton, Spec
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset
from snellen.tasks.forecast import poses
from snellen.tasks.forecast.mirror import reflection, with_reflections
from snellen.tasks.forecast.objective import ForecastObjective, ForecastSettings
from tests.motion_makers import ASF, angles, write_amc, write_cmu_text
from tests.tasks.forecast.test_forecasters import autoregressive, series_data

QUIET = RunOptions(threads=1, report=False)


def test_it_equals_scikit_learns_ridge_on_principal_components(tmp_path: Path) -> None:
    values = np.concatenate([autoregressive(), 40 * autoregressive()[::-1]], 1)
    data = series_data(values)
    run = snellen.train(data, "vector-autoregression", out=tmp_path / "run", options=QUIET, components=3, ridge=0.2)
    ids = data.splits["train"].numpy()
    x, y = data.source.read(ids, Preprocessing()).numpy(), data.truth[ids].numpy()
    new = data.source.read(data.splits["test"].numpy()[:5], Preprocessing()).numpy()
    own, expected = np.empty_like(y), np.empty((5, *y.shape[1:]))
    for feature in range(4):
        last = x[:, -1:, feature]
        w, *_ = np.linalg.lstsq(x[:, :-1, feature] - last, y[:, :, feature] - last, rcond=None)
        own[:, :, feature] = last + (x[:, :-1, feature] - last) @ w
        expected[:, :, feature] = new[:, -1:, feature] + (new[:, :-1, feature] - new[:, -1:, feature]) @ w
    changes, new_changes = x[:, :-1] - x[:, -1:], new[:, :-1] - new[:, -1:]
    unit = np.sqrt((changes**2).mean((0, 1)))
    basis = np.linalg.svd((changes / unit).reshape(-1, 4), full_matrices=False)[2][:3].T
    inputs = ((changes / unit) @ basis).reshape(len(x), -1)
    ridge = Ridge(alpha=0.2 * (inputs**2).sum(0).mean(), fit_intercept=False)
    ridge.fit(inputs, (y - own).reshape(len(y), -1))
    expected += ridge.predict(((new_changes / unit) @ basis).reshape(5, -1)).reshape(expected.shape)
    np.testing.assert_allclose(run.model.forecast(torch.from_numpy(new)).numpy(), expected, rtol=1e-7, atol=1e-8)


def test_one_feature_has_no_vector_autoregression(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 2 features"):
        snellen.train(series_data(autoregressive()[:, :1]), "vector-autoregression", out=tmp_path, options=QUIET)


def body(names: tuple[str, ...], lateral: int, up: str, inverse: bool) -> Spec:
    """A root with two legs of two bones and a head, left and right apart along the axis `lateral`."""
    bones = np.zeros((6, 3))
    vertical = "xyz".index(up)
    bones[[1, 3], lateral], bones[[1, 3], vertical] = [1, -1], -0.5
    bones[[2, 4], vertical], bones[5, vertical] = -3, 2
    skeleton = Skeleton(
        joints=names,
        parents=(-1, 0, 1, 0, 3, 0),
        form="exponential-maps",
        columns=(3, 6, 9, 12, 15, -1),
        root=0,
        offsets=tuple(map(tuple, bones.tolist())),
        inverse=inverse,
        up=up,  # type: ignore[arg-type]
    )
    target = Future(names=tuple(f"f{k}" for k in range(18)), steps=2, skeleton=skeleton)
    return Spec(name="m", inputs={"x": Input(modality="sequence", shape=(4, 18))}, target=target)


NAMES = ("hips", "LeftLeg", "LeftFoot", "RightLeg", "RightFoot", "head")


@pytest.mark.parametrize(
    ("names", "lateral", "up", "inverse"),
    [
        (NAMES, 0, "y", False),
        (("root", "lfemur", "ltibia", "rfemur", "rtibia", "lowerback"), 1, "z", True),
        (("hips", "leg_l", "foot_l", "leg_r", "foot_r", "neck"), 2, "y", True),
    ],
)
def test_reflected_features_give_reflected_positions(
    names: tuple[str, ...], lateral: int, up: str, inverse: bool
) -> None:
    spec = body(names, lateral, up, inverse)
    found = reflection(spec)
    assert found is not None
    x = torch.randn(7, 18, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    skeleton = spec.target.skeleton  # type: ignore[union-attr]
    expected = poses.positions(x, skeleton)[:, [0, 3, 4, 1, 2, 5]]
    expected[..., lateral] *= -1
    torch.testing.assert_close(poses.positions(found.of(x), skeleton), expected)
    torch.testing.assert_close(found.of(found.of(x)), x)


def test_bodies_without_two_equal_sides_have_no_reflection() -> None:
    assert reflection(body(("hips", "a", "b", "c", "d", "head"), 0, "y", False)) is None
    assert reflection(body(("hips", "LeftLeg", "a", "RightLeg", "RightA", "head"), 0, "y", False)) is None
    spec = body(NAMES, 0, "y", False)
    skeleton = spec.target.skeleton  # type: ignore[union-attr]
    longer = replace(skeleton, offsets=(*skeleton.offsets[:2], (0.0, -6.0, 0.0), *skeleton.offsets[3:]))
    assert reflection(replace(spec, target=replace(spec.target, skeleton=longer))) is None  # type: ignore[type-var]


def test_training_windows_are_doubled_and_no_other(tmp_path: Path) -> None:
    for k in range(4):
        write_cmu_text(tmp_path / "walk" / f"{k}.txt", 160, k)
    data = dataset(tmp_path / "walk", options=OpenOptions(target=("future",), horizon=4, window=4))
    both = with_reflections(data, True)
    count = len(data.splits["train"])
    assert len(both.splits["train"]) == 2 * count
    for split in ("val", "test"):
        assert torch.equal(both.samples(split).take(torch.arange(5)).x, data.samples(split).take(torch.arange(5)).x)
    samples, map_ = both.samples("train"), reflection(data.spec)
    assert map_ is not None
    own, other = samples.take(torch.arange(count)), samples.take(torch.arange(count, 2 * count))
    torch.testing.assert_close(other.x, map_.of(own.x))
    torch.testing.assert_close(other.y, map_.of(own.y))
    assert not torch.equal(own.x, other.x)


def test_mirror_needs_two_sides(tmp_path: Path) -> None:
    for k in range(4):
        write_amc(tmp_path / "02" / f"{k}.amc", angles(120, k))
    (tmp_path / "02" / "02.asf").write_text(ASF)
    data = dataset(tmp_path / "02", options=OpenOptions(target=("future",), window=4, horizon=3))
    for wrong in (data, series_data(autoregressive())):
        with pytest.raises(UsageError, match="--mirror needs motion"):
            snellen.train(wrong, "vector-autoregression", out=tmp_path / "run", options=QUIET, mirror=True)


def test_the_loss_of_positions_is_mpjpe_and_the_distance_of_the_root_against_the_base(tmp_path: Path) -> None:
    for k in range(4):
        write_cmu_text(tmp_path / "walk" / f"{k}.txt", 160, k)
    data = dataset(tmp_path / "walk", options=OpenOptions(target=("future",), horizon=4, window=4))
    run = snellen.train(data, "gru", out=tmp_path / "run", options=QUIET, epochs=1, base="last-value")
    batch = data.samples("train").take(torch.arange(6))
    objective = ForecastObjective(ForecastSettings(loss="positions"), Run(tmp_path / "other"))
    skeleton = data.spec.target.skeleton  # type: ignore[union-attr]
    truth = poses.positions(batch.y, skeleton).numpy()
    sums = []
    for values in (run.model.forecast(batch.x).detach(), batch.x[:, -1:].expand_as(batch.y)):
        places = poses.positions(values, skeleton).numpy()
        root = np.linalg.norm(places[:, :, 0] - truth[:, :, 0], axis=-1).mean()
        own, other = places - places[:, :, :1], truth - truth[:, :, :1]
        sums.append(np.linalg.norm(own - other, axis=-1).mean() + root)
    np.testing.assert_allclose(objective.loss(run.model, batch).detach().numpy(), sums[0] / sums[1], rtol=1e-4)

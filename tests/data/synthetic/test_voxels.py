"""Voxels: occupancy agrees with the ray caster and with volumes in closed form; rotations are uniform."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import kstest

from snellen.data.open_dataset import dataset
from snellen.data.synthetic.rotations import random_rotation
from snellen.data.synthetic.voxels import COUNT, LARGEST, SMALLEST, VOXELS, solid, volume
from snellen.geometry.ray_caster import KINDS, SIDE, UNIT_VOLUMES, rays


@pytest.mark.parametrize("id", range(8))
def test_points_are_inside_behind_the_first_intersection_and_outside_before_it(id: int) -> None:
    shape = dataclasses.replace(solid(0, id), centre=np.array([0.2, -0.1, 5.0]), size=0.8)
    directions = rays(*np.random.default_rng(id).uniform(0, SIDE, (2, 2000)))
    depth, _ = shape.intersect(directions)
    hit = np.isfinite(depth)
    assert hit.sum() > 100
    assert shape.contains((depth[hit] + 1e-6)[:, None] * directions[hit]).all()
    assert not shape.contains((depth[hit] - 1e-6)[:, None] * directions[hit]).any()
    for along in np.linspace(4, 6.5, 40):
        assert not shape.contains(along * directions[~hit]).any()


def test_the_occupied_volume_is_that_of_the_solid_and_does_not_depend_on_the_class() -> None:
    volumes = {kind: [] for kind in KINDS}  # type: dict[str, list[float]]
    ratios = []
    for id in range(160):
        shape = solid(0, id)
        exact = UNIT_VOLUMES[shape.kind] * shape.size**3
        volumes[shape.kind].append(exact)
        if shape.kind in ("sphere", "cube"):  # these fit into the volume wherever they are
            ratios.append(float(volume(shape).sum()) / 255 / exact)
    assert np.mean(ratios) == pytest.approx(1, abs=0.005)  # a single one depends on the grid of points
    assert np.allclose(ratios, 1, atol=0.08)
    uniform = [np.log(np.array(v) / SMALLEST) / np.log(LARGEST / SMALLEST) for v in volumes.values()]
    assert all(kstest(u, "uniform").pvalue > 1e-4 for u in uniform)


def test_axes_are_z_y_x() -> None:
    shape = dataclasses.replace(solid(0, 0), centre=np.array([4.5, 10.5, 15.5]), size=1.4)
    x = volume(shape).double().numpy()
    assert x.shape == (1, VOXELS, VOXELS, VOXELS)
    assert x[0, 15, 10, 4] == 255
    z, y, x_centre = (np.average(np.arange(VOXELS), weights=x[0].sum(axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    assert np.allclose([z, y, x_centre], [15, 10, 4], atol=0.01)


def test_random_rotations_are_uniform() -> None:
    """The angle of a uniformly distributed rotation has the distribution function (θ − sin θ)/π."""
    matrices = np.stack([random_rotation(u) for u in np.random.default_rng(0).uniform(size=(2000, 3))])
    assert np.allclose(matrices @ matrices.transpose(0, 2, 1), np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.det(matrices), 1)
    angle = np.arccos(np.clip((np.trace(matrices, axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert kstest(angle, lambda t: (t - np.sin(t)) / np.pi).pvalue > 1e-3
    assert kstest(matrices[:, 2, 0], "uniform", (-1, 2)).pvalue > 1e-3  # a coordinate of a point on a sphere


def test_the_dataset_has_as_many_volumes_of_each_class() -> None:
    data = dataset("voxels")
    assert data.spec.input.axes == ("channel", "z", "y", "x")
    assert data.truth.bincount().tolist() == [COUNT // 4] * 4

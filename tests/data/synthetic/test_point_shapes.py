"""Point clouds of solid shapes: a function of the seed; the solid of each cloud, and how clouds are drawn."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from snellen.core.spec import Classes, Input
from snellen.data.synthetic.point_shapes import NOISE, SOLIDS, cloud, point_shapes, rotation
from snellen.modalities.points import SIDE, draw


def test_the_data_is_a_function_of_the_seed() -> None:
    first, second, other = point_shapes(0), point_shapes(0), point_shapes(1)
    x, again, different = (raw.source.all(None) for raw in (first, second, other))  # type: ignore[arg-type]
    assert x is not None
    assert again is not None
    assert different is not None
    assert torch.equal(x, again)
    assert not torch.equal(x, different)
    assert x.shape == (1000, 256, 3)
    assert isinstance(first.target, Classes)
    assert first.target.names == ("sphere", "box", "cylinder", "cone", "torus")
    assert first.truth is not None
    assert torch.bincount(first.truth).tolist() == [200] * 5


def test_clouds_are_solids_with_noise_in_poses_of_their_own() -> None:
    """Spheres fit a sphere with the residual of the noise (least squares of |q|² = 2 q·c + r² − |c|²)."""
    centres, sizes = [], []
    for id in range(20):
        points = cloud(3, id, SOLIDS["sphere"])
        left = np.column_stack([2 * points, np.ones(len(points))])
        solution = np.linalg.lstsq(left, (points**2).sum(1), rcond=None)[0]
        radius = np.sqrt(solution[3] + solution[:3] @ solution[:3])
        distances = np.linalg.norm(points - solution[:3], axis=1) / radius
        assert 0.7 * NOISE < distances.std() < 1.3 * NOISE
        centres.append(solution[:3])
        sizes.append(radius)
    assert 0.45 < min(sizes) < max(sizes) < 2.1
    assert np.abs(centres).max() < 1.1
    assert np.std(centres, axis=0).min() > 0.1


def test_rotations_are_those_of_scipy() -> None:
    quaternions = np.random.default_rng(0).normal(size=(50, 4))
    expected = Rotation.from_quat(quaternions[:, [1, 2, 3, 0]]).as_matrix()
    assert np.allclose([rotation(q) for q in quaternions], expected, atol=1e-12)


def test_a_drawing_shows_near_points_darker_and_no_row_after_the_end() -> None:
    spec = Input(modality="points", shape=(None, 3))
    x = torch.tensor([[-1.0, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, -1]])
    image = draw(x, spec)
    assert image.shape == (1, SIDE, SIDE)
    assert image.dtype == torch.uint8
    rows = (image[0] == image.min()).nonzero()[:, 0]
    assert len(rows) > 0
    assert float(rows.float().mean()) > SIDE / 2  # the nearest point, z = 1, seen from above
    assert torch.equal(draw(torch.cat([x, torch.full((3, 3), torch.nan)]), spec), image)
    assert torch.equal(draw(100 * x.double() + 7, spec), image)  # position and size do not count
    flat = draw(torch.tensor([[0.0, 0], [0, 1], [1, 1]]), Input(modality="points", shape=(3, 2)))[0]
    quarter = [bool((flat[a:b, c:d] < 255).any()) for a, b in ((0, 80), (80, 160)) for c, d in ((0, 80), (80, 160))]
    assert quarter == [True, True, True, False]  # y points up
    assert bool((draw(torch.full((2, 3), torch.nan), spec) == 255).all())

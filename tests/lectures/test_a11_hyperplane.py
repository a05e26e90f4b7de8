"""Row A11 of the lectures: the signed distance from a hyperplane in two, three and more dimensions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from raw_datasets import seeded
from scipy.optimize import minimize
from torch import Tensor

from snellen.geometry.hyperplane import boundary_distance, class_boundaries, project, signed_distance


def plane(dimensions: int) -> tuple[Tensor, Tensor, Tensor]:
    rng = seeded(dimensions)
    w = torch.randn(dimensions, generator=rng, dtype=torch.float64) * 3
    return w, torch.tensor(0.7, dtype=torch.float64), torch.randn(20, dimensions, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("dimensions", [1, 2, 3, 8])
def test_a11_h_is_the_distance_to_the_nearest_point_of_the_hyperplane(dimensions: int) -> None:
    """Lecture 004, h = w̃ · x̃ with x̃ = [1 | x], after division by ‖w‖; the nearest point by SciPy's minimiser."""
    w, b, x = plane(dimensions)
    h = signed_distance(w, b, x)
    w_tilde = torch.cat([b[None], w]) / torch.linalg.vector_norm(w)
    assert torch.allclose(h, torch.cat([torch.ones(20, 1), x], 1) @ w_tilde, atol=1e-12)
    feet = project(w, b, x)
    assert torch.allclose(feet @ w + b, torch.zeros(20, dtype=torch.float64), atol=1e-12)
    assert torch.allclose((x - feet).norm(dim=1), h.abs(), atol=1e-12)
    assert torch.equal(h > 0, x @ w + b > 0)
    for k in range(3):
        nearest = minimize(
            lambda p, k=k: float(((p - x[k].numpy()) ** 2).sum()),
            np.zeros(dimensions),
            constraints={"type": "eq", "fun": lambda p: float(w.numpy() @ p + b)},
            tol=1e-12,
        )
        assert abs(float(h[k])) == pytest.approx(nearest.fun**0.5, abs=1e-5)


def test_a11_the_distance_is_that_of_school_formulas_and_does_not_depend_on_the_length_of_w() -> None:
    x = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    assert float(signed_distance(torch.tensor([3.0, 4.0], dtype=torch.float64), 5.0, x)) == pytest.approx(6.0)
    w, b, x = plane(3)
    for scale in (1e-200, 1e-3, 1e150):
        assert torch.allclose(signed_distance(w * scale, b * scale, x), signed_distance(w, b, x), rtol=1e-12)
    with pytest.raises(ValueError, match="zero"):
        signed_distance(w * 0, b, x)


def test_a11_the_distance_from_a_boundary_of_several_classes_is_the_smallest_step_that_changes_the_class() -> None:
    """Steps in many directions, each as long as the distance: none inside changes the class, some just outside does."""
    rng = seeded(5)
    w, b = torch.randn(4, 2, generator=rng).double(), torch.randn(4, generator=rng).double()
    x = torch.randn(50, 2, generator=rng).double() * 2
    predicted, neighbour, distance = boundary_distance(w, b, x)
    angle = torch.linspace(0, 2 * torch.pi, 3601, dtype=torch.float64)
    steps = torch.stack([angle.cos(), angle.sin()], 1)
    for k in range(50):
        near, far = (((x[k] + f * distance[k] * steps) @ w.T + b).argmax(1) for f in (0.999, 1.001))
        assert bool((near == predicted[k]).all())
        assert set(far.tolist()) == {int(predicted[k]), int(neighbour[k])}


def test_a11_the_drawn_boundary_of_several_classes_is_where_two_scores_are_equal_and_highest() -> None:
    rng = seeded(7)
    w, b = torch.randn(5, 2, generator=rng).double(), torch.randn(5, generator=rng).double()
    low, high = torch.tensor([-3.0, -2.0]).double(), torch.tensor([2.0, 4.0]).double()
    segments = class_boundaries(w, b, low, high)
    inside = torch.cat([a + t * (z - a) for a, z in segments for t in torch.linspace(0, 1, 9)[:, None, None]])
    top = (inside @ w.T + b).topk(2, dim=1).values
    assert torch.allclose(top[:, 0], top[:, 1], atol=1e-9)
    assert bool(((inside >= low - 1e-9) & (inside <= high + 1e-9)).all())
    x, y = torch.meshgrid(*(torch.linspace(float(low[k]), float(high[k]), 400) for k in (0, 1)), indexing="ij")
    classes = (torch.stack([x, y], 2).double() @ w.T + b).argmax(2)
    changes = int((classes[1:] != classes[:-1]).sum())  # the length of the boundary along y, in grid steps
    length = sum(abs(float(z[1] - a[1])) for a, z in segments)
    assert changes * float(high[1] - low[1]) / 399 == pytest.approx(length, rel=0.02)

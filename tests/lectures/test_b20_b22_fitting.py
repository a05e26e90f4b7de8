"""Rows B20 to B22 of the lectures: surfaces, an image as a surface, universal approximation and capacity."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import torch

from snellen.api import RunOptions, train
from snellen.data.open_dataset import dataset
from snellen.data.synthetic.toys import rosenbrock_function
from snellen.nn.mlp import MLP
from snellen.reproduce.approximation import interpolating_network, largest_error, points, sine
from snellen.reproduce.image_surface import standardised
from snellen.reproduce.mlp_ensemble import Recipe, fit, initial_ensemble, predict

# -- B20 Rosenbrock's surface ----------------------------------------------------------------------------------------


def test_b20_the_surface_is_0_at_its_minimum_and_1_at_the_origin() -> None:
    assert rosenbrock_function(torch.tensor([[1.0, 1.0], [0.0, 0.0]])).tolist() == [0, 1]
    lowest = scipy.optimize.minimize(lambda x: float(rosenbrock_function(torch.from_numpy(x))), [-1.2, 1.0], tol=1e-12)
    np.testing.assert_allclose(lowest.x, (1, 1), atol=1e-3)


@pytest.mark.learning
def test_b20_the_error_falls_with_the_nodes(tmp_path: Path) -> None:
    """The sweep of docs/guide/fitting-functions.md with fewer widths, seeds and epochs."""
    data = dataset("rosenbrock")
    medians = []
    for width in (1, 8, 32):
        errors = []
        for seed in range(3):
            options = RunOptions(report=False, device="cpu")
            run = train(
                data, "mlp", seed=seed, out=tmp_path / f"{width}-{seed}", options=options, hidden=(width,), epochs=30
            )
            error = run.metrics["mean absolute error"].value
            assert error is not None
            errors.append(error)
        medians.append(statistics.median(errors))
    assert medians[0] > 1.1 * medians[1] > 1.3 * medians[2], medians  # 358, 255, 170


# -- B21 an image as a surface ---------------------------------------------------------------------------------------


@pytest.mark.learning
def test_b21_two_layers_fit_an_image_better_than_one_of_as_many_weights() -> None:
    x, y = (values.float() for values in standardised(16))
    medians = []
    for hidden in ((125,), (20, 20)):
        ensemble = initial_ensemble((2, *hidden, 1), "tanh", range(5))
        assert ensemble.num_weights() == 501
        fit(ensemble, x, y, range(5), Recipe(epochs=400, batch_size=64, lr=0.01))
        medians.append(float((predict(ensemble, x) - y).square().mean((1, 2)).median()))
    assert medians[1] < 0.9 * medians[0], medians  # 0.31 and 0.24


# -- B22 universal approximation and capacity ------------------------------------------------------------------------


@pytest.mark.learning
@pytest.mark.parametrize("activation_name", ["sigmoid", "relu"])
def test_b22_the_error_after_training_falls_with_the_width(activation_name: str) -> None:
    """Median over 5 seeds of the largest error, one hidden layer, one period of a sine."""
    x, medians = points(64), []
    for width in (1, 8, 32):
        ensemble = initial_ensemble((1, width, 1), activation_name, range(5))
        fit(ensemble, x.float(), sine(x, 1).float(), range(5), Recipe(epochs=1000, batch_size=64, lr=0.02))
        fine = points(501)
        medians.append(float(largest_error(predict(ensemble, fine.float()), sine(fine, 1)).median()))
    assert medians[0] > medians[1] > medians[2]
    assert medians[2] < medians[0] / 2, medians  # sigmoid 0.77 and 0.17, ReLU 1.06 and 0.08


@pytest.mark.parametrize("function", [lambda x: sine(x, 3), torch.exp, lambda x: x**3 - x, lambda x: x**2])
def test_b22_a_relu_network_by_interpolation_has_at_most_the_error_of_its_bound(
    function: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    """|F − f| ≤ h²/8 · max |f''| with one unit per piece, for any number of pieces; f'' by differences."""
    fine = points(20_001)
    x, f = fine[:, 0].numpy(), function(fine)[:, 0].numpy()
    curvature = np.abs(np.diff(f, 2)).max() / (x[1] - x[0]) ** 2 * (1 + 1e-4)
    for pieces in (1, 2, 3, 7, 16, 50, 200):
        network = interpolating_network(function, pieces)
        assert sum(p.numel() for p in network.parameters()) == 3 * pieces + 1
        outputs = network(fine).detach()[:, 0].numpy()
        knots = np.linspace(-1, 1, pieces + 1)
        oracle = np.interp(x, knots, function(torch.from_numpy(knots)[:, None])[:, 0])
        np.testing.assert_allclose(outputs, oracle, atol=1e-10)
        assert np.abs(outputs - f).max() <= (2 / pieces) ** 2 / 8 * curvature + 1e-12
    for x_k in points(8):  # the error at a point of interpolation is 0
        assert math.isclose(interpolating_network(function, 7)(x_k[None]).item(), function(x_k).item(), abs_tol=1e-12)


def zigzag(layers: int) -> MLP:
    """Three ReLU units in each layer; every layer maps [−1, 1] onto itself four times.

    z has kinks at −½, 0 and ½ and slopes 4, −4, 4, −8. Two of its units face left, so that no piece is flat.
    """
    kinks, changes, faces = (
        torch.tensor(values, dtype=torch.float64)
        for values in ((-0.5, 0.0, 0.5), (-8.0, 8.0, -12.0), (1.0, -1.0, -1.0))
    )
    shift = -1 - float(changes @ (faces * -kinks).relu())  # z(0) = −1
    network = MLP((1, *[3] * layers, 1), "relu").double()
    first, *inner, last = network.layers
    with torch.no_grad():
        first.weight.copy_(faces[:, None])  # type: ignore[operator]
        first.bias.copy_(-faces * kinks)  # type: ignore[operator]
        for layer in inner:
            layer.weight.copy_(faces[:, None] * changes)  # type: ignore[operator]
            layer.bias.copy_(faces * (shift - kinks))  # type: ignore[operator]
        last.weight.copy_(changes[None])  # type: ignore[operator]
        last.bias.fill_(shift)  # type: ignore[operator]
    return network


def count_pieces(network: MLP, low: float, high: float) -> int:
    """Number of linear pieces between two points, from the slopes over intervals that are much finer."""
    x = np.linspace(low, high, 200_001)
    y = network(torch.from_numpy(x)[:, None]).detach()[:, 0].numpy()
    slopes = np.diff(y) / np.diff(x)
    same = np.isclose(slopes[1:], slopes[:-1], rtol=1e-6, atol=1e-6)
    starts = np.flatnonzero(~same)  # one or two neighbouring differences for each kink
    return 1 + int((np.diff(starts, prepend=-9) > 1).sum())


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_b22_a_relu_network_has_more_linear_pieces_than_the_product_of_its_widths(layers: int) -> None:
    """The bound of one variable is ∏ (W_n + 1) pieces, which this network reaches; ∏ W_n of the lecture is none.

    Source: Serra, Tjandraatmadja and Ramalingam 2018, "Bounding and Counting Linear Regions of Deep Neural Networks".
    """
    assert count_pieces(zigzag(layers), -1.3, 1.3) == (3 + 1) ** layers > 3**layers

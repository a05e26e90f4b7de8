"""Row B17 of the lectures: XOR, which no linear classifier solves and two hidden units do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linprog
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from snellen.api import train
from snellen.data.synthetic.toys import xor
from snellen.geometry.linear_regions import linear_regions
from snellen.nn.mlp import MLP
from snellen.nn.piecewise_linear import layers_of_body


def points() -> tuple[torch.Tensor, torch.Tensor]:
    raw = xor(0)
    assert raw.truth is not None
    return raw.source.read(np.arange(4), None).float(), raw.truth  # type: ignore[arg-type]


def test_b17_two_hidden_units_classify_all_four_points() -> None:
    """By hand, y = h1 − 2 h2 with h1 = ReLU(x1 + x2), h2 = ReLU(x1 + x2 − 1); and by training from random weights."""
    x, y = points()
    by_hand = MLP((2, 2, 1))
    for layer, weight, bias in zip(by_hand.layers, ([[1, 1], [1, 1]], [[1, -2]]), ([0, -1], [0]), strict=True):
        layer.weight.data, layer.bias.data = torch.tensor(weight).float(), torch.tensor(bias).float()
    assert torch.equal(by_hand(x).detach()[:, 0], y.float())

    starts = 40
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = [MLP((2, 2, 1), "tanh") for _ in range(starts)]
    parameters, buffers = stack_module_state(networks)  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(parameters.values(), lr=0.1)

    def logits(p: dict[str, torch.Tensor]) -> torch.Tensor:
        outputs: torch.Tensor = vmap(lambda one: functional_call(networks[0], (one, buffers), (x,)))(p)
        return outputs[..., 0]

    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(
            logits(parameters), y.float().expand(starts, 4), reduction="sum"
        ).backward()
        optimizer.step()
    solved = ((logits(parameters) > 0) == (y > 0)).all(1)
    assert int(solved.sum()) > 0, "a network of two hidden units reaches 4 of 4 from some initial weights"


def test_b17_no_hyperplane_separates_xor_and_the_perceptron_never_classifies_all_points(tmp_path: Path) -> None:
    """No (w, b) has s (w · x + b) ≥ 1 on all four points, by linear programming; three of four is the maximum."""
    x, y = points()
    sign = 2 * y.numpy() - 1.0
    constraints = -sign[:, None] * np.hstack([x.numpy(), np.ones((4, 1))])
    assert linprog(np.zeros(3), constraints, -np.ones(4), bounds=(None, None)).status == 2  # infeasible
    for left_out in range(4):
        rows = np.arange(4) != left_out
        assert linprog(np.zeros(3), constraints[rows], -np.ones(3), bounds=(None, None)).status == 0
    run = train("xor", model="perceptron", epochs=100, out=tmp_path / "run")
    accuracy = run.metrics["accuracy"].value
    assert accuracy is not None
    assert accuracy <= 0.75


def test_b17_the_network_divides_the_plane_into_four_regions() -> None:
    """Two lines that cross in the window; in the network by hand they are parallel, and there are three."""
    mlp = MLP((2, 2, 1))
    mlp.layers[0].weight.data = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    mlp.layers[0].bias.data = torch.tensor([-1.0, 0.0])
    for weight, expected in ((None, 4), ([[1.0, 1.0], [2.0, 2.0]], 3)):
        if weight is not None:
            mlp.layers[0].weight.data = torch.tensor(weight)
            mlp.layers[0].bias.data = torch.tensor([-0.5, -3.0])
        layers = layers_of_body(mlp)
        assert layers is not None
        regions = linear_regions([layers.weights[0].numpy()], [layers.biases[0].numpy()], (-0.1, -0.1), (1.1, 1.1))
        assert len(regions.vertices) == expected

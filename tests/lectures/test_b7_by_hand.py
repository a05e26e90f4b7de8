"""Row B7 of the lectures: one step of backpropagation, calculated by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from snellen.nn.mlp import MLP

LR = 0.05


def small_mlp() -> MLP:
    """Two inputs, two hidden units, one output; linear units without biases; w1 … w6 = .11 .21 .12 .08 .14 .15."""
    net = MLP((2, 2, 1), activation_name="linear").double()
    with torch.no_grad():
        net.layers[0].weight.copy_(torch.tensor([[0.11, 0.21], [0.12, 0.08]], dtype=torch.float64))  # type: ignore[operator]
        net.layers[1].weight.copy_(torch.tensor([[0.14, 0.15]], dtype=torch.float64))  # type: ignore[operator]
        for layer in net.layers:
            layer.bias.zero_().requires_grad_(False)  # type: ignore[operator, union-attr]
    return net


def weights(net: MLP) -> list[Tensor]:
    return [layer.weight for layer in net.layers]  # type: ignore[misc]


def step(net: MLP) -> dict[str, list[float]]:
    """One step of gradient descent on E = ½ (y − 1)² for the input (2, 3), with all intermediate values."""
    hidden: dict[str, Tensor] = {}
    hook = net.layers[0].register_forward_hook(lambda module, inputs, output: hidden.__setitem__("h", output.detach()))
    y = net(torch.tensor([[2.0, 3.0]]).double())
    hook.remove()
    error = 0.5 * (y - 1).square().sum()
    gradients = torch.autograd.grad(error, weights(net))
    values = {
        "h": hidden["h"],
        "prediction": y,
        "error": error,
        "delta": y - 1,
        "hidden": gradients[0],
        "output": gradients[1],
    }
    with torch.no_grad():
        for weight, gradient in zip(weights(net), gradients, strict=True):
            weight -= LR * gradient
    return {name: value.detach().flatten().tolist() for name, value in values.items()}


def test_b7_every_number_of_the_step_matches_the_lecture() -> None:
    net = small_mlp()
    step_values = step(net)
    expected = {
        "h": [0.85, 0.48],
        "prediction": [0.191],
        "error": [0.3272405],
        "delta": [-0.809],
        "output": [-0.68765, -0.38832],
        "hidden": [-0.22652, -0.33978, -0.24270, -0.36405],
    }
    for name, values in expected.items():
        assert step_values[name] == pytest.approx(values, abs=1e-12), name
    first, second = (weight.detach().flatten().tolist() for weight in weights(net))
    assert first == pytest.approx([0.121326, 0.226989, 0.132135, 0.0982025], abs=1e-12)
    assert second == pytest.approx([0.1743825, 0.169416], abs=1e-12)


def test_b7_the_hidden_layer_is_updated_with_the_old_output_weights() -> None:
    """With the new w5 the first weight would become 0.12411: the backward pass comes before any update."""
    net = small_mlp()
    step(net)
    new_w5 = float(weights(net)[1][0, 0].detach())
    with_new_weights = 0.11 - LR * -0.809 * new_w5 * 2
    assert with_new_weights == pytest.approx(0.12411, abs=5e-6)
    assert float(weights(net)[0][0, 0].detach()) == pytest.approx(0.11 + LR * 0.809 * 0.14 * 2, abs=1e-12)


def test_b7_the_prediction_converges() -> None:
    net = small_mlp()
    step(net)
    assert step(net)["prediction"] == pytest.approx([0.25575], abs=5e-6)
    for _ in range(18):
        step(net)
    assert abs(step(net)["delta"][0]) < 1e-3

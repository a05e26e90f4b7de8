"""The layers of linear and piecewise linear models in raw units: equal to the models themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from raw_datasets import classes, numbers, seeded
from torch import nn

from snellen.api import train
from snellen.nn.mlp import MLP
from snellen.nn.piecewise_linear import LinearLayers, layers_of_body, layers_of_model


def forward(layers: LinearLayers, x: torch.Tensor) -> torch.Tensor:
    for k, (weight, bias) in enumerate(zip(layers.weights, layers.biases, strict=True)):
        x = x @ weight.T + bias
        if k < len(layers.weights) - 1:
            x = torch.where(x > 0, x, layers.slope * x)
    return x


def inputs() -> torch.Tensor:
    """Columns of very different scales and offsets."""
    return torch.randn(60, 2, generator=seeded()) * torch.tensor([3.0, 0.02]) + torch.tensor([50.0, -1.0])


@pytest.mark.parametrize("model", ["perceptron", "softmax", "lda", "svm", "mlp"])
def test_classifiers_in_raw_units(model: str, tmp_path: Path) -> None:
    x = inputs()
    y = (x[:, 0] - 50 + 100 * (x[:, 1] + 1) > 0).long()
    settings = {"svm": {"kernel": "linear"}, "mlp": {"hidden": (5, 4), "batch_norm": True, "epochs": 3}}.get(model, {})
    run = train(classes(x, y, 2), model=model, out=tmp_path / "run", **settings)
    layers = layers_of_model(run.model)
    assert layers is not None
    assert len(layers.weights) == (3 if model == "mlp" else 1)
    with torch.inference_mode():
        assert torch.allclose(forward(layers, x.double()), run.model.scores(x).double(), atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("model", ["least-squares", "ridge", "mlp"])
def test_regressors_in_raw_units(model: str, tmp_path: Path) -> None:
    x = inputs()
    y = torch.stack([1000 * x[:, 0], x[:, 1] ** 2], 1)
    settings = {"mlp": {"activation": "leaky-relu", "epochs": 3}}.get(model, {})
    run = train(numbers(x, y, ("a", "b")), model=model, out=tmp_path / "run", **settings)
    layers = layers_of_model(run.model)
    assert layers is not None
    with torch.inference_mode():
        expected = run.model.predict(x).double()
    assert torch.allclose(forward(layers, x.double()), expected, rtol=1e-4, atol=float(1e-4 * y.std()))


def test_other_networks_have_no_such_layers_and_linear_layers_collapse() -> None:
    assert layers_of_body(MLP((2, 3, 1), "tanh")) is None
    assert layers_of_body(MLP((2, 3, 1), "maxout")) is None
    assert (
        layers_of_body(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.LeakyReLU(), nn.Linear(2, 1)))
        is None
    )
    assert layers_of_body(nn.Sequential(nn.Linear(2, 2), nn.ReLU())) is None
    linear = MLP((2, 5, 4, 3), "linear").double()
    layers = layers_of_body(linear)
    assert layers is not None
    assert layers.is_linear
    x = torch.randn(7, 2, generator=seeded(), dtype=torch.float64)
    assert torch.allclose(forward(layers, x), linear(x).detach(), atol=1e-12)
    sequence = nn.Sequential(nn.Flatten(), nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Dropout(), nn.Linear(3, 1)).eval()
    layers = layers_of_body(sequence)
    assert layers is not None
    assert torch.allclose(forward(layers, x).float(), sequence(x.float()).detach(), atol=1e-6)


def test_batch_normalisation_of_small_variances_is_folded_with_its_constant() -> None:
    """Variances about the constant eps = 1e-5 that is added to them."""
    mlp = MLP((2, 3, 2), batch_norm=True).double().eval()
    for k, tensor in enumerate((*mlp.norms[0].parameters(), mlp.norms[0].running_mean)):
        torch.nn.init.normal_(tensor, generator=seeded(k))
    mlp.norms[0].running_var.copy_(torch.tensor([1e-4, 2e-5, 0.0]))
    layers = layers_of_body(mlp)
    assert layers is not None
    x = torch.randn(20, 2, generator=seeded(), dtype=torch.float64)
    with torch.inference_mode():
        assert torch.allclose(forward(layers, x), mlp(x), rtol=1e-9)

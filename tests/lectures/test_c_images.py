"""Rows C6 and C13 of the lectures: the convolutional layer and LeNet."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from raw_datasets import seeded
from torch import Tensor, nn
from torch.func import functional_call

from snellen.core.spec import Classes, Input, Spec
from snellen.nn.convnets.lenet import MIN_SIDE, LeNet
from snellen.tasks.classify import LEARNERS


def layers(channels: int = 1, size: tuple[int, int] = (28, 28)) -> list[nn.Conv2d]:
    return [m for m in LeNet(channels, size, 10).modules() if isinstance(m, nn.Conv2d)]


def brute_force(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, pad: int) -> np.ndarray:
    """(C, H, W) with (D, C, k, k): each filter spans a small window and the full depth."""
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    side = weight.shape[-1]
    out = np.zeros((len(weight), x.shape[1] - side + 1, x.shape[2] - side + 1))
    for d in range(len(weight)):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                out[d, i, j] = (weight[d] * x[:, i : i + side, j : j + side]).sum() + bias[d]
    return out


def test_c6_the_layers_of_lenet_compute_the_correlation_of_the_lecture() -> None:
    first, second = (layer.double() for layer in layers(3, (16, 12)))
    x = torch.randn(1, 3, 16, 12, generator=seeded(), dtype=torch.float64)
    for layer, inputs, pad, shape in ((first, x, 2, (6, 16, 12)), (second, first(x).detach(), 0, (16, 12, 8))):
        expected = brute_force(inputs[0].numpy(), layer.weight.detach().numpy(), layer.bias.detach().numpy(), pad)
        assert expected.shape == shape
        assert np.allclose(layer(inputs)[0].detach().numpy(), expected, atol=1e-12)


def test_c6_a_filter_is_local_and_spans_the_input_depth() -> None:
    """A 200×200×3 image has 120,000 values; a fully connected unit has as many weights, a filter of 5×5×3 has 75."""
    layer = nn.Conv2d(3, 1, 5, padding=2)
    x = torch.randn(1, 3, 200, 200, generator=seeded(), requires_grad=True)
    (reach,) = torch.autograd.grad(layer(x)[0, 0, 100, 60], x)
    rows, columns = torch.nonzero(reach[0].abs().amax(0), as_tuple=True)
    assert (int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())) == (98, 102, 58, 62)
    assert int((reach != 0).sum()) == 75
    assert layer.weight.numel() == 75
    assert layer.bias is not None
    assert layer.bias.numel() == 1
    assert x.numel() == 120_000
    assert nn.Linear(120_000, 1000, bias=False, device="meta").weight.numel() == 120_000_000


def test_c6_depths_and_sizes_of_consecutive_layers() -> None:
    """32×32×3 through D1 filters of 5×5×3, pad 2, to 32×32×D1; the next filters are D1 deep."""
    d1, d2 = 7, 4
    first, second = nn.Conv2d(3, d1, 5, padding=2), nn.Conv2d(d1, d2, 5, padding=2)
    y = first(torch.zeros(1, 3, 32, 32))
    assert y.shape == (1, d1, 32, 32)
    assert second.weight.shape == (d2, d1, 5, 5)
    assert second(y).shape == (1, d2, 32, 32)


def test_c6_convolution_passes_the_gradient_check() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = LeNet(1, (MIN_SIDE, MIN_SIDE), 2).double()
    x = torch.randn(1, 1, MIN_SIDE, MIN_SIDE, generator=seeded(), dtype=torch.float64)
    named = {name: p.detach().clone().requires_grad_() for name, p in net.features.named_parameters()}

    def features(*parameters: Tensor) -> Tensor:
        return functional_call(net.features, dict(zip(named, parameters, strict=True)), x)

    assert torch.autograd.gradcheck(features, tuple(named.values()))


def test_c13_lenet_has_61706_parameters() -> None:
    net = LeNet(1, (28, 28), 10)
    assert sum(p.numel() for p in net.parameters()) == 61_706
    counts = [sum(p.numel() for p in m.parameters()) for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert counts == [156, 2_416, 48_120, 10_164, 850]  # two convolutions, three linear layers


@pytest.mark.parametrize("size", [(12, 12), (13, 30), (28, 28), (64, 48)])
@pytest.mark.parametrize("channels", [1, 3])
def test_c13_the_learner_builds_lenet_for_images_of_any_size(size: tuple[int, int], channels: int) -> None:
    names = tuple("abcdefg")
    spec = Spec(
        name="s",
        inputs={"image": Input(modality="image", shape=(channels, *size), dtype="uint8")},
        target=Classes(names=names),
    )
    model = LEARNERS["lenet"].build(LEARNERS["lenet"].settings(), spec)
    x = torch.randint(256, (2, channels, *size), generator=seeded(), dtype=torch.uint8)
    assert model.scores(x).shape == (2, len(names))

"""Row C7 of the lectures: convolution in three dimensions."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from raw_datasets import seeded
from scipy.signal import correlate
from torch import nn

from snellen.architectures import ARCHITECTURES
from snellen.core.spec import Classes, Input, Modality, Spec
from snellen.nn.convnets.convnet3d import ConvNet3d, halvings
from snellen.nn.network import Network
from snellen.tasks import LEARNERS


def convolutions(network: nn.Module) -> list[nn.Conv3d]:
    return [m for m in network.modules() if isinstance(m, nn.Conv3d)]


def test_c7_the_sizes_and_weights_of_the_lecture() -> None:
    """1×32³ through two filters of 4³, pad 1, stride 2, to 2×16³: ⌊(32 + 2 − 4)/2⌋ + 1 = 16; 2 · 4³ + 2 = 130."""
    layer = nn.Conv3d(1, 2, 4, stride=2, padding=1)
    assert layer(torch.zeros(1, 1, 32, 32, 32)).shape == (1, 2, 16, 16, 16)
    assert sum(p.numel() for p in layer.parameters()) == 130


def test_c7_the_layers_compute_the_correlation_in_three_dimensions() -> None:
    torch.manual_seed(0)
    first, second = convolutions(ConvNet3d(2, (5, 6, 7), 3, width=3, stages=2).double())
    x = torch.randn(1, 2, 5, 6, 7, generator=seeded(), dtype=torch.float64)
    for layer, inputs in ((first, x), (second, first(x).detach())):
        padded = np.pad(inputs[0].numpy(), ((0, 0), (1, 1), (1, 1), (1, 1)))
        expected = [correlate(padded, filter.numpy(), mode="valid")[0] for filter in layer.weight.detach()]
        assert np.allclose(layer(inputs)[0].detach().numpy(), np.stack(expected), atol=1e-12)


def test_c7_the_network_passes_the_gradient_check() -> None:
    torch.manual_seed(0)
    net = ConvNet3d(1, (3, 6, 5), 2, width=2, stages=2, dropout=0).double()
    x = torch.randn(2, 1, 3, 6, 5, generator=seeded(), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(net, (x,))
    weight = convolutions(net)[0].weight

    def of_weight(values: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = torch.func.functional_call(net, {"features.stage1.0.weight": values}, (x.detach(),))
        return y

    assert torch.autograd.gradcheck(of_weight, (weight,))


@pytest.mark.parametrize(
    ("sides", "stages", "expected"),
    [
        ((12, 24, 24), None, [(12, 24, 24), (6, 12, 12), (3, 6, 6), (3, 3, 3)]),
        ((20, 20, 20), None, [(20,) * 3, (10,) * 3, (5,) * 3, (2,) * 3]),
        ((3, 64, 100), None, [(3, 32, 50), (3, 16, 25), (3, 8, 12), (3, 4, 6), (3, 4, 3)]),
        ((1, 1, 1), None, [(1, 1, 1)]),
        ((4, 4, 4), 3, [(4, 4, 4)] * 3),
        ((200, 200, 200), None, [(100,) * 3, (50,) * 3, (25,) * 3, (12,) * 3, (6,) * 3]),
    ],
)
def test_c7_axes_are_halved_while_they_are_longer_than_four(
    sides: tuple[int, ...], stages: int | None, expected: list[tuple[int, ...]]
) -> None:
    """Shapes of the feature maps, and the number of weights: 27 · C_in · C_out, two of each normalisation, a head."""
    assert len(halvings(sides, stages)) == len(expected)
    with torch.device("meta"):
        net = ConvNet3d(3, sides, 10, width=4, stages=stages).eval()
        shapes = []
        for module in net.features:
            module.register_forward_hook(lambda _, __, y: shapes.append(tuple(y.shape[1:])))
        assert net(torch.empty(2, 3, *sides)).shape == (2, 10)
    maps = [shape for shape, (name, _) in zip(shapes, net.features.named_children(), strict=True) if "stage" in name]
    widths = [3, *(4 * 2**k for k in range(len(expected)))]
    assert maps == [(width, *side) for width, side in zip(widths[1:], expected, strict=True)]
    weights = sum(27 * a * b + 2 * b for a, b in pairwise(widths)) + 10 * widths[-1] + 10
    assert sum(p.numel() for p in net.parameters()) == weights


@pytest.mark.parametrize(("modality", "shape"), [("clip", (6, 2, 8, 7)), ("volume", (2, 6, 8, 7))])
def test_c7_clips_and_volumes_are_read_with_their_channels_first(modality: Modality, shape: tuple[int, ...]) -> None:
    """The body gets (B, C, T, H, W), or (B, C, Z, Y, X), with the values of the channel."""
    spec = Spec(name="x", inputs={"x": Input(modality=modality, shape=shape)}, target=Classes(names=("a", "b")))
    learner = LEARNERS["classify"]["convnet3d"]
    model = learner.build(learner.settings(), spec)
    network = model.network
    assert isinstance(network, Network)
    seen: list[torch.Tensor] = []
    network.body.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.rand(3, *shape, generator=seeded())  # inside the range of a layer that was not fitted
    assert model.eval().scores(x).shape == (3, 2)
    assert torch.equal(seen[0], x.movedim(1 + spec.input.feature_axis, 1))
    assert seen[0].shape[1] == 2
    assert ARCHITECTURES["convnet3d"].accepts == {"clip", "volume"}
    assert learner.unsupported_reason(spec) is None
    one_place = Input(modality=modality, shape=tuple(2 if side == 2 else 1 for side in shape))
    assert "more than one place" in str(learner.unsupported_reason(replace(spec, inputs={"x": one_place})))

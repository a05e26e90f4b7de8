"""Rows D1 and D2 of the lectures: fully convolutional networks of any image size; skip connections."""

from __future__ import annotations

import pytest
import torch
from raw_datasets import seeded
from torch import Tensor, nn

from snellen.architectures import ARCHITECTURES
from snellen.architectures.dense import DENSE
from snellen.core.settings import make
from snellen.nn.dense.fcn import FCN, FrozenBatchNorm, feature_maps_by_stride
from snellen.nn.dense.unet import UNet

SMALL = {"width": 4, "depth": 2, "dilations": (1, 2)}


def body(name: str, channels: int = 3, outputs: int = 5, **overrides: object) -> nn.Module:
    architecture = DENSE[name]
    defaults = {key: value for key, value in SMALL.items() if key in vars(architecture.settings())}
    return architecture.body(make(architecture.settings, {**defaults, **overrides}), channels, outputs).eval()


@pytest.mark.parametrize("name", [name for name, one in DENSE.items() if "image" in one.accepts])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 30), (33, 16)])
def test_d1_dense_networks_preserve_any_height_and_width(name: str, height: int, width: int) -> None:
    with torch.no_grad():
        assert body(name)(torch.rand(2, 3, height, width)).shape == (2, 5, height, width)


@pytest.mark.parametrize(("stride", "strides"), [("32", [32]), ("16", [32, 16]), ("8", [32, 16, 8])])
def test_d1_fcn_adds_the_scores_of_finer_feature_maps(stride: str, strides: list[int]) -> None:
    fcn = body("fcn", encoder="resnet18", stride=stride)
    assert fcn.strides == strides
    x, maps = torch.rand(1, 3, 64, 96, generator=seeded()), []
    with torch.no_grad():
        y = None
        feature_maps = fcn.encoder(x)
        for k, (feature_map, scores) in enumerate(zip(feature_maps, fcn.scores, strict=True)):
            assert feature_map.shape[2:] == (64 // strides[k], 96 // strides[k])
            y = (
                scores(feature_map)
                if y is None
                else scores(feature_map)
                + nn.functional.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
            )
            maps.append(feature_map)
        expected = nn.functional.interpolate(y, size=(64, 96), mode="bilinear", align_corners=False)
        assert torch.allclose(fcn(x), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("resnet18", {32: 512, 16: 256, 8: 128}),
        ("vgg16", {32: 512, 16: 512, 8: 512}),
        ("resnet20", {4: 64}),
    ],
)
def test_d1_the_feature_maps_of_an_encoder_are_identified_by_stride(name: str, channels: dict[int, int]) -> None:
    architecture = ARCHITECTURES[name]
    with torch.device("meta"):
        stages = feature_maps_by_stride(architecture.body(make(architecture.settings, {}), (3, 256, 256), 1), 3)
    assert {stride: stages[stride][1] for stride in channels} == channels
    assert max(stages) == max(channels)


def test_d1_the_encoder_of_an_fcn_matches_the_classifier_without_its_head() -> None:
    architecture = ARCHITECTURES["resnet18"]
    classifier = architecture.body(make(architecture.settings, {}), (3, 256, 256), 7).eval()
    fcn = FCN(classifier, 3, 2, 32, "bilinear").eval()
    x = torch.rand(1, 3, 64, 64, generator=seeded())
    with torch.no_grad():
        last = classifier.layer4(
            classifier.layer3(
                classifier.layer2(
                    classifier.layer1(classifier.maxpool(classifier.relu(classifier.bn1(classifier.conv1(x)))))
                )
            )
        )  # type: ignore[operator]
        assert torch.allclose(fcn.encoder(x)[0], last, atol=1e-6)
    assert not any(name.startswith("encoder.fc") for name in fcn.state_dict())


def test_frozen_batch_normalisation_keeps_its_statistics() -> None:
    net = FrozenBatchNorm(UNet(1, 2, 4, 1)).train()
    statistics = {name: tensor.clone() for name, tensor in net.state_dict().items() if "running" in name}
    net(torch.rand(2, 1, 8, 8)).sum().backward()
    assert statistics
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in statistics.items())
    assert all(not m.weight.requires_grad for m in net.modules() if isinstance(m, nn.BatchNorm2d))
    assert net.body.head.weight.grad is not None


def test_d2_without_skip_connections_all_information_passes_the_smallest_feature_map() -> None:
    """With the smallest feature map set to zero, the network without skips has the same output for all images."""
    x = torch.rand(2, 1, 32, 32, generator=seeded())
    for skips in (False, True):
        net = UNet(1, 2, 4, 2, skips=skips).eval()
        net.encoder[-1].register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
        with torch.no_grad():
            first, second = net(x)
        assert torch.equal(first, second) == (not skips)


def test_d2_the_networks_with_and_without_skips_differ_only_in_decoder_weights() -> None:
    with_, without = UNet(3, 2, 8, 3), UNet(3, 2, 8, 3, skips=False)
    differ = {name for name, tensor in with_.state_dict().items() if without.state_dict()[name].shape != tensor.shape}
    assert differ == {f"decoder.{k}.0.weight" for k in range(3)}


def noisy_discs(count: int, generator: torch.Generator, size: int = 32) -> tuple[Tensor, Tensor]:
    """(N, 1, H, W) images of three discs each in noise, and (N, H, W) whether a pixel is in a disc."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    centre = size * torch.rand(count, 3, 2, generator=generator)
    radius = 3 + 4 * torch.rand(count, 3, generator=generator)
    y_distance, x_distance = rows - centre[:, :, 0, None, None], columns - centre[:, :, 1, None, None]
    inside = (y_distance.square() + x_distance.square() < radius[..., None, None].square()).any(1)
    noise = 0.5 * torch.randn(count, size, size, generator=generator)
    return (inside.float() + noise)[:, None], inside.long()


def error_at_borders(skips: bool, seed: int) -> float:
    """Fraction of wrong pixels beside a border, after 60 steps."""
    torch.manual_seed(seed)
    generator = seeded(seed)
    net = UNet(1, 2, 8, 3, skips=skips)
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):
        x, y = noisy_discs(16, generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    x, y = noisy_discs(64, generator)
    level = y[:, None].float()
    border = (nn.functional.max_pool2d(level, 3, 1, 1) != -nn.functional.max_pool2d(-level, 3, 1, 1))[:, 0]
    with torch.no_grad():
        wrong = net.eval()(x).argmax(1) != y
    return float(wrong[border].float().mean())


def test_d2_skip_connections_improve_borders() -> None:
    """Over 20 seeds, 9 to 14 % with skips, 28 to 45 % without, and the ratio at most 0.43."""
    assert error_at_borders(skips=True, seed=0) < 0.6 * error_at_borders(skips=False, seed=0)

"""Rows D1 and D2 of the lectures: any height and width in, the same out; skips carry what halving has lost."""

from __future__ import annotations

import pytest
import torch
from raw_datasets import seeded
from torch import nn

from snellen.architectures import ARCHITECTURES
from snellen.architectures.dense import DENSE
from snellen.core.settings import make
from snellen.nn.dense.fcn import FCN, Frozen, maps_of
from snellen.nn.dense.unet import UNet

SMALL = {"width": 4, "depth": 2, "dilations": (1, 2)}


def body(name: str, channels: int = 3, outputs: int = 5, **own: object) -> nn.Module:
    architecture = DENSE[name]
    known = {key: value for key, value in SMALL.items() if key in vars(architecture.settings())}
    return architecture.body(make(architecture.settings, {**known, **own}), channels, outputs).eval()


@pytest.mark.parametrize("name", list(DENSE))
@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 30), (33, 16)])
def test_d1_any_height_and_width_in_the_same_out(name: str, height: int, width: int) -> None:
    with torch.no_grad():
        assert body(name)(torch.rand(2, 3, height, width)).shape == (2, 5, height, width)


@pytest.mark.parametrize(("stride", "taken"), [("32", [32]), ("16", [32, 16]), ("8", [32, 16, 8])])
def test_d1_fcn_adds_the_scores_of_finer_maps_to_those_of_coarser_ones(stride: str, taken: list[int]) -> None:
    fcn = body("fcn", encoder="resnet18", stride=stride)
    assert fcn.strides == taken
    x, maps = torch.rand(1, 3, 64, 96, generator=seeded()), []
    with torch.no_grad():
        y = None
        seen = fcn.encoder(x)
        for k, (own, scores) in enumerate(zip(seen, fcn.scores, strict=True)):
            assert own.shape[2:] == (64 // taken[k], 96 // taken[k])
            y = (
                scores(own)
                if y is None
                else scores(own) + nn.functional.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
            )
            maps.append(own)
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
def test_d1_the_maps_of_an_encoder_are_found_by_their_size(name: str, channels: dict[int, int]) -> None:
    architecture = ARCHITECTURES[name]
    with torch.device("meta"):
        found = maps_of(architecture.body(make(architecture.settings, {}), (3, 256, 256), 1), 3)
    assert {stride: found[stride][1] for stride in channels} == channels
    assert max(found) == max(channels)


def test_d1_the_encoder_of_an_fcn_computes_what_the_classifier_computes_up_to_its_head() -> None:
    architecture = ARCHITECTURES["resnet18"]
    whole = architecture.body(make(architecture.settings, {}), (3, 256, 256), 7).eval()
    fcn = FCN(whole, 3, 2, 32, "bilinear").eval()
    x = torch.rand(1, 3, 64, 64, generator=seeded())
    with torch.no_grad():
        last = whole.layer4(
            whole.layer3(whole.layer2(whole.layer1(whole.maxpool(whole.relu(whole.bn1(whole.conv1(x)))))))
        )  # type: ignore[operator]
        assert torch.allclose(fcn.encoder(x)[0], last, atol=1e-6)
    assert not any(name.startswith("encoder.fc") for name in fcn.state_dict())


def test_frozen_batch_normalisation_stays_as_it_came() -> None:
    net = Frozen(UNet(1, 2, 4, 1)).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items() if "running" in name}
    net(torch.rand(2, 1, 8, 8)).sum().backward()
    assert before
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in before.items())
    assert all(not m.weight.requires_grad for m in net.modules() if isinstance(m, nn.BatchNorm2d))
    assert net.body.head.weight.grad is not None


def test_d2_without_skips_all_that_is_known_of_a_pixel_passes_through_the_smallest_map() -> None:
    """Silence the smallest map, and the plain network says the same of every picture; the U-Net does not."""
    x = torch.rand(2, 1, 32, 32, generator=seeded())
    for skips in (False, True):
        net = UNet(1, 2, 4, 2, skips=skips).eval()
        net.encoder[-1].register_forward_hook(lambda module, given, made: torch.zeros_like(made))
        with torch.no_grad():
            one, other = net(x)
        assert torch.equal(one, other) == (not skips)


def test_d2_the_two_networks_differ_in_nothing_but_the_weights_that_see_the_skips() -> None:
    with_, without = UNet(3, 2, 8, 3), UNet(3, 2, 8, 3, skips=False)
    differ = {name for name, tensor in with_.state_dict().items() if without.state_dict()[name].shape != tensor.shape}
    assert differ == {f"decoder.{k}.0.weight" for k in range(3)}

"""Rows C14 to C21 of the lectures: networks and their sizes, orders of the residual unit, many paths, many links."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from raw_datasets import classes, seeded
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from snellen.architectures import ARCHITECTURES
from snellen.architectures.architecture import Start
from snellen.core.settings import make
from snellen.nn.convnets.residual import CifarNet, Unit
from snellen.report.cost import Cost, cost_of
from snellen.tasks.classify import LEARNERS, TASK

IMAGENET = (3, 224, 224)
ORDERS = ("original", "bn-after-addition", "relu-before-addition", "relu-only-pre-activation", "full-pre-activation")


def planned(name: str, shape: tuple[int, ...] = IMAGENET, outputs: int = 1000, **own: Any) -> nn.Module:
    """A network without weights."""
    architecture = ARCHITECTURES[name]
    with torch.device("meta"):
        return architecture.body(make(architecture.settings, own), shape, outputs)


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def normal(module: nn.Module, seed: int = 0) -> nn.Module:
    """A module with random weights and statistics of batch normalisation, in double precision."""
    drawn = seeded(seed)
    module = module.to_empty(device="cpu").double()
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            continue
        values = torch.randn(tensor.shape, generator=drawn, dtype=tensor.dtype)
        tensor.copy_(values.abs() + 0.5 if "running_var" in name else values * (0.3 if tensor.ndim > 1 else 1.0))
    return module


# -- C14, C15, C16 ---------------------------------------------------------------------------------------------------


def test_c14_alexnet_has_61100840_parameters() -> None:
    assert count(planned("alexnet")) == 61_100_840


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("vgg11", 132_863_336),
        ("vgg13", 133_047_848),
        ("vgg16", 138_357_544),
        ("vgg19", 143_667_240),
    ],
)
def test_c15_vgg_has_the_parameters_of_the_paper_and_as_many_layers_as_its_name_says(
    name: str, parameters: int
) -> None:
    net = planned(name)
    assert count(net) == parameters
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in net.modules()) == int(name.removeprefix("vgg"))
    assert {m.kernel_size for m in net.modules() if isinstance(m, nn.Conv2d)} == {(3, 3)}


def test_c16_googlenet_has_6624904_parameters() -> None:
    assert count(planned("googlenet")) == 6_624_904  # without the two auxiliary classifiers


def test_c16_four_branches_are_laid_side_by_side_and_1x1_convolutions_make_them_cheap() -> None:
    unit = normal(planned("googlenet").inception3a).eval()  # type: ignore[arg-type]
    branches = [unit.branch1, unit.branch2, unit.branch3, unit.branch4]
    x = torch.randn(2, 192, 7, 7, generator=seeded(), dtype=torch.float64)
    made = [branch(x) for branch in branches]  # type: ignore[operator]
    assert [part.shape[1] for part in made] == [64, 128, 32, 32]  # table 1 of the paper
    assert torch.equal(unit(x), torch.cat(made, 1))
    reduced = [m for m in unit.branch2.modules() if isinstance(m, nn.Conv2d)]  # type: ignore[union-attr]
    assert [(m.in_channels, m.out_channels, m.kernel_size) for m in reduced] == [(192, 96, (1, 1)), (96, 128, (3, 3))]
    assert sum(m.weight.numel() for m in reduced) < 192 * 128 * 9


# -- C17 plain and residual ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [
        (20, 269_722),
        (32, 464_154),
        (44, 658_586),
        (56, 853_018),
        (110, 1_727_962),
    ],
)
def test_c17_the_bypass_has_no_weights(depth: int, parameters: int) -> None:
    """Plain and residual nets hold the same weights by name; 0.27, 0.46, 0.66, 0.85 and 1.7 M in the paper."""
    with torch.device("meta"):
        residual, plain = CifarNet(depth, 3, 10), CifarNet(depth, 3, 10, unit="plain")
    assert count(residual) == count(plain) == parameters
    assert [(n, t.shape) for n, t in residual.state_dict().items()] == [
        (n, t.shape) for n, t in plain.state_dict().items()
    ]
    layers = [m for m in residual.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth


def test_c17_what_a_unit_does_not_do_is_passed_on_with_a_bypass_and_lost_without() -> None:
    x = torch.rand(2, 4, 6, 6, generator=seeded(), dtype=torch.float64)
    residual, plain = (normal(Unit((4, 4), 1, unit, bottleneck=False)) for unit in ("original", "plain"))
    for unit in (residual, plain):
        nn.init.zeros_(unit.norms[-1].weight)  # type: ignore[index, union-attr, arg-type]
        nn.init.zeros_(unit.norms[-1].bias)  # type: ignore[index, union-attr, arg-type]
    assert torch.equal(residual(x), x)
    assert not bool(plain(x).any())


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_c17_resnets_are_torchvisions(depth: int) -> None:
    from torchvision import models

    with torch.device("meta"):
        theirs = getattr(models, f"resnet{depth}")()
    ours = planned(f"resnet{depth}")
    assert count(ours) == {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160}[depth]
    assert {n: t.shape for n, t in ours.state_dict().items()} == {n: t.shape for n, t in theirs.state_dict().items()}


# -- C18 orders of the unit ------------------------------------------------------------------------------------------


def composed(unit: Any, x: Tensor, order: str) -> Tensor:
    """F(x) of a unit by figure 4 of "Identity mappings", before what follows the addition."""
    weights = [conv.weight for conv in unit.convs]
    steps = [conv.stride[0] for conv in unit.convs]

    def conv(k: int, y: Tensor) -> Tensor:
        return F.conv2d(y, weights[k], stride=steps[k], padding=weights[k].shape[-1] // 2)

    def bn(k: int, y: Tensor) -> Tensor:
        mean, var = y.mean((0, 2, 3), keepdim=True), y.var((0, 2, 3), correction=0, keepdim=True)
        norm = unit.norms[k]
        return (y - mean) / torch.sqrt(var + norm.eps) * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)

    if order == "original":
        return bn(1, conv(1, F.relu(bn(0, conv(0, x)))))
    if order == "bn-after-addition":
        return conv(1, F.relu(bn(0, conv(0, x))))
    if order == "relu-before-addition":
        return F.relu(bn(1, conv(1, F.relu(bn(0, conv(0, x))))))
    if order == "relu-only-pre-activation":
        return bn(1, conv(1, F.relu(bn(0, conv(0, F.relu(x))))))
    return conv(1, F.relu(bn(1, conv(0, F.relu(bn(0, x))))))


def after(unit: Any, total: Tensor, order: str) -> Tensor:
    """What follows the addition."""
    if order == "bn-after-addition":
        norm = unit.norms[-1]
        return F.relu(F.batch_norm(total, None, None, norm.weight, norm.bias, training=True, eps=norm.eps))
    return F.relu(total) if order == "original" else total


@pytest.mark.parametrize("order", ORDERS)
def test_c18_the_five_orders_are_those_of_the_lectures_table(order: str) -> None:
    unit = normal(Unit((4, 4), 1, order, bottleneck=False))
    x = torch.randn(3, 4, 6, 6, generator=seeded(1), dtype=torch.float64)
    assert torch.allclose(unit(x), after(unit, x + composed(unit, x, order), order), atol=1e-12)


@pytest.mark.parametrize("order", ORDERS)
def test_c18_where_the_stage_changes_the_bypass_takes_every_second_pixel_and_adds_zeros(order: str) -> None:
    unit = normal(Unit((4, 8), 2, order, bottleneck=False))
    x = torch.randn(3, 4, 6, 6, generator=seeded(1), dtype=torch.float64)
    bypass = torch.cat([x[:, :, ::2, ::2], torch.zeros(3, 4, 3, 3, dtype=x.dtype)], 1)
    assert torch.allclose(unit(x), after(unit, bypass + composed(unit, x, order), order), atol=1e-12)


def test_c18_with_all_before_the_identity_passes_and_in_the_original_it_does_not() -> None:
    """x_L = x_l + Σ F(x_i), over six units."""
    for order, holds in (("full-pre-activation", True), ("relu-only-pre-activation", True), ("original", False)):
        units = [normal(Unit((4, 4), 1, order, bottleneck=False), seed) for seed in range(6)]
        x = start = torch.randn(3, 4, 5, 5, generator=seeded(9), dtype=torch.float64)
        total = torch.zeros_like(x)
        for unit in units:
            total = total + composed(unit, x, order)
            x = unit(x)
        assert torch.allclose(x, start + total, atol=1e-11) == holds


@pytest.mark.parametrize("order", ORDERS)
def test_c18_every_order_is_a_network_of_110_and_of_164_layers(order: str) -> None:
    for name, outer in (("resnet110", 64), ("resnet164", 256)):
        net = planned(name, (3, 32, 32), 10, residual_unit=order)
        assert isinstance(net, CifarNet)
        assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in net.modules()) == int(name.removeprefix("resnet"))
        assert net.head.in_features == outer
        assert net(torch.zeros(2, 3, 32, 32, device="meta")).shape == (2, 10)
        assert round(count(net) / 1e6, 1) == 1.7  # both in the paper


# -- C19 ResNeXt, C20 DenseNet ---------------------------------------------------------------------------------------


def test_c19_a_grouped_convolution_is_split_transform_and_merge() -> None:
    """A unit of ResNeXt in form (c) of its figure 3 says what form (a) says: paths of their own, summed."""
    paths = 4
    net = planned("resnext50", (3, 32, 32), 10, cardinality=paths, width_per_group=8)
    unit: Any = normal(net.layer1[1]).eval()  # type: ignore[index, arg-type]
    width = unit.conv2.out_channels // paths
    assert unit.conv2.groups == paths
    assert width == 8
    x = torch.randn(2, 256, 5, 5, generator=seeded(2), dtype=torch.float64)

    def norm(y: Tensor, bn: Any, own: slice = slice(None)) -> Tensor:
        mean, var = bn.running_mean[own], bn.running_var[own]
        return F.batch_norm(y, mean, var, bn.weight[own], bn.bias[own], eps=bn.eps)

    merged = torch.zeros_like(x)
    for path in range(paths):
        own = slice(path * width, (path + 1) * width)
        y = F.relu(norm(F.conv2d(x, unit.conv1.weight[own]), unit.bn1, own))
        y = F.relu(norm(F.conv2d(y, unit.conv2.weight[own], padding=1), unit.bn2, own))
        merged = merged + F.conv2d(y, unit.conv3.weight[:, own])
    assert torch.allclose(unit(x), F.relu(x + norm(merged, unit.bn3)), atol=1e-12)


@pytest.mark.parametrize(
    ("name", "own", "parameters"),
    [
        ("resnext50_32x4d", {}, 25_028_904),
        ("resnext101_64x4d", {"cardinality": 64}, 83_455_272),
        ("resnext101_32x8d", {"width_per_group": 8}, 88_791_336),
    ],
)
def test_c19_resnext_is_torchvisions_with_32_paths_with_more_and_with_wider_ones(
    name: str, own: dict[str, int], parameters: int
) -> None:
    from torchvision import models

    with torch.device("meta"):
        theirs = getattr(models, name)()
    ours = planned(name.partition("_")[0], **own)
    assert count(ours) == parameters
    assert {n: t.shape for n, t in ours.state_dict().items()} == {n: t.shape for n, t in theirs.state_dict().items()}


@pytest.mark.parametrize("growth", [12, 32])
def test_c20_a_layer_is_given_what_all_before_it_made(growth: int) -> None:
    """Layer l of a block has k0 + k (l − 1) input channels, and a block of L layers L (L + 1) / 2 links."""
    net: Any = planned("densenet121", (3, 32, 32), 10, growth_rate=growth)
    given: dict[str, list[int]] = {}  # layer -> channels of each feature map that it is given

    def progress(name: str) -> Any:
        return lambda layer, inputs: given.update({name: [made.shape[1] for made in inputs[0]]})

    layers = {name: layer for name, layer in net.features.named_modules() if re.search(r"denselayer\d+$", name)}
    for name, layer in layers.items():
        layer.register_forward_pre_hook(progress(name))
    net(torch.zeros(2, 3, 32, 32, device="meta"))
    first = 2 * growth
    for block, length in enumerate((6, 12, 24, 16), 1):
        own = [given[f"denseblock{block}.denselayer{place}"] for place in range(1, length + 1)]
        for place, channels in enumerate(own, 1):
            layer = layers[f"denseblock{block}.denselayer{place}"]
            assert layer.conv1.in_channels == sum(channels) == first + growth * (place - 1)
            assert channels[1:] == [growth] * (place - 1)
        assert sum(map(len, own)) == length * (length + 1) // 2
        first = (first + growth * length) // 2  # a transition halves the channels


def test_c20_densenet121_has_7978856_parameters() -> None:
    assert count(planned("densenet121")) == 7_978_856


# -- C21 networks compared -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(name for name, one in ARCHITECTURES.items() if one.weights is not None))
def test_c21_parameters_and_multiply_adds_are_those_that_are_published(name: str) -> None:
    """Torchvision keeps both beside its weights, counted by another program."""
    from torchvision.models import get_model_weights

    known = get_model_weights(ARCHITECTURES[name].weights or "").DEFAULT.meta
    net = planned(name).eval()
    with FlopCounterMode(display=False) as flops:
        net(torch.zeros(1, *IMAGENET, device="meta"))
    assert count(net) == known["num_params"]
    assert flops.get_total_flops() / 2e9 == pytest.approx(known["_ops"], rel=0.01)


def test_c21_a_run_tells_its_parameters_and_multiply_adds() -> None:
    """ResNet-18 on 224 pixels: 1.8 G multiply-adds in the paper."""
    x = torch.randint(256, (10, 3, 224, 224), generator=seeded(), dtype=torch.uint8)
    data = classes(x, torch.arange(10) % 2, 2, same=True)
    learner = LEARNERS["resnet18"]
    settings = make(learner.settings, {"image_size": 224})
    data = dataclasses.replace(data, preprocessing=learner.preprocessing_of(settings, data.spec))
    model = learner.build(settings, data.spec).eval()
    told = cost_of(model, TASK, data, data.spec, Cost())
    assert settings.network.start == Start(image_size=224)
    assert told["multiply_adds"] == pytest.approx(1.814e9, rel=0.01)
    assert told["parameters"] == 11_689_512 - 998 * 513  # two classes, not a thousand

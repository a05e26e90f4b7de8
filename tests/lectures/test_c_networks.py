"""Rows C14 to C21 of the lectures: AlexNet, VGG, GoogLeNet, ResNet and its units, ResNeXt, DenseNet."""

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
from snellen.architectures.architecture import InitSettings
from snellen.architectures.resnet import resnet
from snellen.core.settings import make
from snellen.nn.convnets.residual import CifarResNet, ResidualUnit
from snellen.report.cost import TrainingCost, model_cost
from snellen.tasks.classify import LEARNERS, TASK

IMAGENET = (3, 224, 224)
ORDERS = ("original", "bn-after-addition", "relu-before-addition", "relu-only-pre-activation", "full-pre-activation")


def on_meta(name: str, shape: tuple[int, ...] = IMAGENET, outputs: int = 1000, **settings: Any) -> nn.Module:
    """Network on the meta device, without memory for weights."""
    architecture = ARCHITECTURES[name]
    with torch.device("meta"):
        return architecture.body(make(architecture.settings, settings), shape, outputs)


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def with_random_weights(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give a module random weights and batch-normalisation statistics, in double precision."""
    generator = seeded(seed)
    module = module.to_empty(device="cpu").double()
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            continue
        values = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
        tensor.copy_(values.abs() + 0.5 if "running_var" in name else values * (0.3 if tensor.ndim > 1 else 1.0))
    return module


# -- C14, C15, C16 ---------------------------------------------------------------------------------------------------


def test_c14_alexnet_has_61100840_parameters() -> None:
    assert count(on_meta("alexnet")) == 61_100_840


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("vgg11", 132_863_336),
        ("vgg13", 133_047_848),
        ("vgg16", 138_357_544),
        ("vgg19", 143_667_240),
    ],
)
def test_c15_vgg_has_the_parameters_and_layers_of_the_paper(name: str, parameters: int) -> None:
    net = on_meta(name)
    assert count(net) == parameters
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in net.modules()) == int(name.removeprefix("vgg"))
    assert {m.kernel_size for m in net.modules() if isinstance(m, nn.Conv2d)} == {(3, 3)}


def test_c16_googlenet_has_6624904_parameters() -> None:
    assert count(on_meta("googlenet")) == 6_624_904  # without the two auxiliary classifiers


def test_c16_inception_concatenates_four_branches_with_1x1_reductions() -> None:
    unit = with_random_weights(on_meta("googlenet").inception3a).eval()  # type: ignore[arg-type]
    branches = [unit.branch1, unit.branch2, unit.branch3, unit.branch4]
    x = torch.randn(2, 192, 7, 7, generator=seeded(), dtype=torch.float64)
    outputs = [branch(x) for branch in branches]  # type: ignore[operator]
    assert [part.shape[1] for part in outputs] == [64, 128, 32, 32]  # table 1 of the paper
    assert torch.equal(unit(x), torch.cat(outputs, 1))
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
def test_c17_the_identity_shortcut_has_no_weights(depth: int, parameters: int) -> None:
    """Plain and residual networks have the same weights by name; 0.27, 0.46, 0.66, 0.85 and 1.7 M in the paper."""
    with torch.device("meta"):
        residual, plain = CifarResNet(depth, 3, 10), CifarResNet(depth, 3, 10, unit="plain")
    assert count(residual) == count(plain) == parameters
    assert [(n, t.shape) for n, t in residual.state_dict().items()] == [
        (n, t.shape) for n, t in plain.state_dict().items()
    ]
    layers = [m for m in residual.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth


def test_c17_a_zero_residual_unit_is_the_identity_and_a_plain_one_zero() -> None:
    x = torch.rand(2, 4, 6, 6, generator=seeded(), dtype=torch.float64)
    residual, plain = (
        with_random_weights(ResidualUnit((4, 4), 1, unit, bottleneck=False)) for unit in ("original", "plain")
    )
    for unit in (residual, plain):
        nn.init.zeros_(unit.norms[-1].weight)  # type: ignore[index, union-attr, arg-type]
        nn.init.zeros_(unit.norms[-1].bias)  # type: ignore[index, union-attr, arg-type]
    assert torch.equal(residual(x), x)
    assert not bool(plain(x).any())


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_c17_resnets_match_torchvision(depth: int) -> None:
    from torchvision import models

    with torch.device("meta"):
        reference = getattr(models, f"resnet{depth}")()
    network = on_meta(f"resnet{depth}")
    assert count(network) == {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160}[depth]
    assert {n: t.shape for n, t in network.state_dict().items()} == {
        n: t.shape for n, t in reference.state_dict().items()
    }


# -- C18 residual units ----------------------------------------------------------------------------------------------


def composed(unit: Any, x: Tensor, unit_order: str) -> Tensor:
    """Residual branch F(x) of a unit, by figure 4 of He et al. 2016, "Identity mappings"."""
    weights = [conv.weight for conv in unit.convs]
    steps = [conv.stride[0] for conv in unit.convs]

    def conv(k: int, y: Tensor) -> Tensor:
        return F.conv2d(y, weights[k], stride=steps[k], padding=weights[k].shape[-1] // 2)

    def bn(k: int, y: Tensor) -> Tensor:
        mean, var = y.mean((0, 2, 3), keepdim=True), y.var((0, 2, 3), correction=0, keepdim=True)
        norm = unit.norms[k]
        return (y - mean) / torch.sqrt(var + norm.eps) * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)

    if unit_order == "original":
        return bn(1, conv(1, F.relu(bn(0, conv(0, x)))))
    if unit_order == "bn-after-addition":
        return conv(1, F.relu(bn(0, conv(0, x))))
    if unit_order == "relu-before-addition":
        return F.relu(bn(1, conv(1, F.relu(bn(0, conv(0, x))))))
    if unit_order == "relu-only-pre-activation":
        return bn(1, conv(1, F.relu(bn(0, conv(0, F.relu(x))))))
    return conv(1, F.relu(bn(1, conv(0, F.relu(bn(0, x))))))


def after_addition(unit: Any, total: Tensor, unit_order: str) -> Tensor:
    """Operations after the addition."""
    if unit_order == "bn-after-addition":
        norm = unit.norms[-1]
        return F.relu(F.batch_norm(total, None, None, norm.weight, norm.bias, training=True, eps=norm.eps))
    return F.relu(total) if unit_order == "original" else total


@pytest.mark.parametrize("unit_order", ORDERS)
def test_c18_the_five_residual_units_match_the_lecture(unit_order: str) -> None:
    unit = with_random_weights(ResidualUnit((4, 4), 1, unit_order, bottleneck=False))
    x = torch.randn(3, 4, 6, 6, generator=seeded(1), dtype=torch.float64)
    assert torch.allclose(unit(x), after_addition(unit, x + composed(unit, x, unit_order), unit_order), atol=1e-12)


@pytest.mark.parametrize("unit_order", ORDERS)
def test_c18_the_shortcut_between_stages_subsamples_and_pads_with_zeros(unit_order: str) -> None:
    unit = with_random_weights(ResidualUnit((4, 8), 2, unit_order, bottleneck=False))
    x = torch.randn(3, 4, 6, 6, generator=seeded(1), dtype=torch.float64)
    bypass = torch.cat([x[:, :, ::2, ::2], torch.zeros(3, 4, 3, 3, dtype=x.dtype)], 1)
    assert torch.allclose(unit(x), after_addition(unit, bypass + composed(unit, x, unit_order), unit_order), atol=1e-12)


def test_c18_pre_activation_units_pass_the_identity_and_the_original_does_not() -> None:
    """x_L = x_l + Σ F(x_i), over six units."""
    for unit_order, holds in (("full-pre-activation", True), ("relu-only-pre-activation", True), ("original", False)):
        units = [with_random_weights(ResidualUnit((4, 4), 1, unit_order, bottleneck=False), seed) for seed in range(6)]
        x = start = torch.randn(3, 4, 5, 5, generator=seeded(9), dtype=torch.float64)
        total = torch.zeros_like(x)
        for unit in units:
            total = total + composed(unit, x, unit_order)
            x = unit(x)
        assert torch.allclose(x, start + total, atol=1e-11) == holds


@pytest.mark.parametrize("unit_order", ORDERS)
def test_c18_every_residual_unit_builds_networks_of_110_and_164_layers(unit_order: str) -> None:
    for name, outer in (("resnet110", 64), ("resnet164", 256)):
        net = on_meta(name, (3, 32, 32), 10, residual_unit=unit_order)
        assert isinstance(net, CifarResNet)
        assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in net.modules()) == int(name.removeprefix("resnet"))
        assert net.head.in_features == outer
        assert net(torch.zeros(2, 3, 32, 32, device="meta")).shape == (2, 10)
        assert round(count(net) / 1e6, 1) == 1.7  # both in the paper


# -- C19 ResNeXt, C20 DenseNet ---------------------------------------------------------------------------------------


def test_c19_a_grouped_convolution_is_split_transform_merge() -> None:
    """A ResNeXt unit in form (c) of figure 3 equals form (a): the sum of separate paths."""
    paths = 4
    net = on_meta("resnext50", (3, 32, 32), 10, cardinality=paths, width_per_group=8)
    unit: Any = with_random_weights(net.layer1[1]).eval()  # type: ignore[index, arg-type]
    width = unit.conv2.out_channels // paths
    assert unit.conv2.groups == paths
    assert width == 8
    x = torch.randn(2, 256, 5, 5, generator=seeded(2), dtype=torch.float64)

    def norm(y: Tensor, bn: Any, settings: slice = slice(None)) -> Tensor:
        mean, var = bn.running_mean[settings], bn.running_var[settings]
        return F.batch_norm(y, mean, var, bn.weight[settings], bn.bias[settings], eps=bn.eps)

    merged = torch.zeros_like(x)
    for path in range(paths):
        settings = slice(path * width, (path + 1) * width)
        y = F.relu(norm(F.conv2d(x, unit.conv1.weight[settings]), unit.bn1, settings))
        y = F.relu(norm(F.conv2d(y, unit.conv2.weight[settings], padding=1), unit.bn2, settings))
        merged = merged + F.conv2d(y, unit.conv3.weight[:, settings])
    assert torch.allclose(unit(x), F.relu(x + norm(merged, unit.bn3)), atol=1e-12)


@pytest.mark.parametrize(
    ("name", "settings", "parameters"),
    [
        ("resnext50_32x4d", {}, 25_028_904),
        ("resnext101_64x4d", {"cardinality": 64}, 83_455_272),
        ("resnext101_32x8d", {"width_per_group": 8}, 88_791_336),
    ],
)
def test_c19_resnext_matches_torchvision_at_any_cardinality_and_width(
    name: str, settings: dict[str, int], parameters: int
) -> None:
    from torchvision import models

    with torch.device("meta"):
        reference = getattr(models, name)()
    network = on_meta(name.partition("_")[0], **settings)
    assert count(network) == parameters
    assert {n: t.shape for n, t in network.state_dict().items()} == {
        n: t.shape for n, t in reference.state_dict().items()
    }


def test_c19_cardinality_costs_nothing_and_width_and_depth_cost_twice() -> None:
    """Xie et al. 2017, tables 3 and 4: 7.8 G and 8.0 G multiply-adds of the networks with 101 layers; twice as many of
    the wider ones, and of more groups."""

    def multiply_adds(groups: int, width: int) -> float:
        with torch.device("meta"):
            net = resnet(101, IMAGENET, 1000, groups, width).eval()
        with FlopCounterMode(display=False) as flops:
            net(torch.zeros(1, *IMAGENET, device="meta"))
        return flops.get_total_flops() / 2e9

    assert round(multiply_adds(1, 64), 1) == 7.8
    assert round(multiply_adds(32, 4), 1) == 8.0
    for groups, width in ((1, 100), (2, 64), (64, 4)):
        assert multiply_adds(groups, width) == pytest.approx(2 * 7.8, rel=0.05)


@pytest.mark.parametrize("growth", [12, 32])
def test_c20_a_dense_layer_receives_all_preceding_feature_maps(growth: int) -> None:
    """Layer l of a block has k0 + k (l − 1) input channels, and a block of L layers L (L + 1) / 2 links."""
    net: Any = on_meta("densenet121", (3, 32, 32), 10, growth_rate=growth)
    inputs_of: dict[str, list[int]] = {}  # layer -> channels of each input feature map

    def record_inputs(name: str) -> Any:
        return lambda layer, inputs: inputs_of.update({name: [outputs.shape[1] for outputs in inputs[0]]})

    layers = {name: layer for name, layer in net.features.named_modules() if re.search(r"denselayer\d+$", name)}
    for name, layer in layers.items():
        layer.register_forward_pre_hook(record_inputs(name))
    net(torch.zeros(2, 3, 32, 32, device="meta"))
    first = 2 * growth
    for block, length in enumerate((6, 12, 24, 16), 1):
        settings = [inputs_of[f"denseblock{block}.denselayer{index}"] for index in range(1, length + 1)]
        for index, channels in enumerate(settings, 1):
            layer = layers[f"denseblock{block}.denselayer{index}"]
            assert layer.conv1.in_channels == sum(channels) == first + growth * (index - 1)
            assert channels[1:] == [growth] * (index - 1)
        assert sum(map(len, settings)) == length * (length + 1) // 2
        first = (first + growth * length) // 2  # a transition halves the channels


def test_c20_densenet121_has_7978856_parameters() -> None:
    assert count(on_meta("densenet121")) == 7_978_856


# -- C21 network sizes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", sorted(name for name, architecture in ARCHITECTURES.items() if isinstance(architecture.weights, str))
)
def test_c21_parameters_and_multiply_adds_match_torchvision(name: str) -> None:
    """Torchvision publishes both with its weights, counted by another program."""
    from torchvision.models import get_model_weights

    metadata = get_model_weights(ARCHITECTURES[name].weights or "").DEFAULT.meta
    net = on_meta(name).eval()
    with FlopCounterMode(display=False) as flops:
        net(torch.zeros(1, *IMAGENET, device="meta"))
    assert count(net) == metadata["num_params"]
    assert flops.get_total_flops() / 2e9 == pytest.approx(metadata["_ops"], rel=0.01)


def test_c21_a_run_reports_its_parameters_and_multiply_adds() -> None:
    """ResNet-18 on 224 pixels: 1.8 G multiply-adds in the paper."""
    x = torch.randint(256, (10, 3, 224, 224), generator=seeded(), dtype=torch.uint8)
    data = classes(x, torch.arange(10) % 2, 2, same=True)
    learner = LEARNERS["resnet18"]
    settings = make(learner.settings, {"image_size": 224})
    data = dataclasses.replace(data, preprocessing=learner.preprocessing_of(settings, data.spec))
    model = learner.build(settings, data.spec).eval()
    cost = model_cost(model, TASK, data, data.spec, TrainingCost())
    assert settings.network.init == InitSettings(image_size=224)
    assert cost["multiply_adds"] == pytest.approx(1.814e9, rel=0.01)
    assert cost["parameters"] == 11_689_512 - 998 * 513  # two classes instead of 1,000

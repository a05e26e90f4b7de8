"""Backbones with feature pyramid networks (FPN).

Source: Lin, Dollár, Girshick, He, Hariharan and Belongie 2017, "Feature pyramid networks for object detection".
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, cast

from torch import Tensor, nn

from snellen.core.torchvision_import import import_torchvision
from snellen.nn.convnets import efficientnet

BackboneName = Literal["small", "efficientnet-lite0", "resnet18", "resnet34", "resnet50", "mobilenet"]
Norm = Literal["batch", "frozen", "group"]

SMALL_WIDTHS = (32, 64, 96, 128)  # channels of the stages of the small backbone
EPSILON = 1e-5  # added to the variance in batch normalisation
SMALL_FPN_CHANNELS = 64  # channels of its pyramid and of that of EfficientNet-Lite0; the others have 256, as published
FPN_CHANNELS = 256


class SmallResNet(nn.Module):
    """Small ResNet: four stages of one residual unit each, about a million weights, for a few hundred images and a CPU.

    Its feature maps have the strides 4, 8, 16 and 32.
    """

    def __init__(self, channels: int, norm: Callable[[int], nn.Module]) -> None:
        import_torchvision()
        from torchvision.models.resnet import BasicBlock

        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, SMALL_WIDTHS[0], 5, 2, 2, bias=False), norm(SMALL_WIDTHS[0]), nn.ReLU()
        )
        inputs = SMALL_WIDTHS[0]
        for index, width in enumerate(SMALL_WIDTHS):
            downsample = nn.Sequential(nn.Conv2d(inputs, width, 1, 2, bias=False), norm(width))
            self.add_module(f"layer{index + 1}", BasicBlock(inputs, width, 2, downsample, norm_layer=norm))
            inputs = width
        _init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the last feature map."""
        for stage in self.children():
            x = stage(x)
        return x


def norm_layer(norm: Norm, epsilon: float = EPSILON) -> Callable[[int], nn.Module]:
    """Normalisation layer by name; group normalisation has groups of sixteen channels.

    Args:
        epsilon: of batch normalisation.
    """
    from torchvision.ops import FrozenBatchNorm2d

    if norm == "group":
        return lambda channels: nn.GroupNorm(max(1, channels // 16), channels)
    return partial(nn.BatchNorm2d if norm == "batch" else FrozenBatchNorm2d, eps=epsilon)


class FeaturePyramid(nn.Module):
    """Feature pyramid: maps with the same number of channels, large to small.

    Args:
        body: returns an `OrderedDict` of feature maps.
        fpn: torchvision's `FeaturePyramidNetwork`.
        channels: of every map.
        strides: of each map, in pixels of the image.
    """

    def __init__(self, body: nn.Module, fpn: nn.Module, channels: int, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.body = body
        self.fpn = fpn
        self.out_channels = channels
        self.strides = strides

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        """(B, C, H, W) to feature maps by name."""
        return cast("OrderedDict[str, Tensor]", self.fpn(self.body(x)))


def feature_pyramid(
    name: BackboneName,
    channels: int,
    norm: Norm,
    trainable_stages: int = 5,
    coarse: bool = False,
    epsilon: float = EPSILON,
) -> FeaturePyramid:
    """Feature pyramid of a backbone, with one more map, half as large as the smallest.

    Args:
        channels: of the image.
        trainable_stages: number of stages that are trained, counted from the last; the others are frozen.
        coarse: strides 8 to 128 in place of 4 to 64, for one-stage detectors.
        epsilon: of frozen batch normalisation.
    """
    import_torchvision()
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.detection.backbone_utils import _mobilenet_extractor
    from torchvision.models.mobilenetv3 import mobilenet_v3_large
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
    from torchvision.ops import FeaturePyramidNetwork
    from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

    first = 1 if coarse else 0
    if name == "mobilenet":
        extractor = _mobilenet_extractor(
            mobilenet_v3_large(weights=None, norm_layer=norm_layer(norm, epsilon)), True, 6
        )
        extractor.body["0"][0] = _stem(extractor.body["0"][0], channels)
        parts = list(extractor.body.children())
        for part in parts[: max(0, len(parts) - 3 * trainable_stages)] if trainable_stages < 5 else []:
            part.requires_grad_(False)
        return FeaturePyramid(extractor.body, extractor.fpn, FPN_CHANNELS, (32, 32, 64))
    if name == "efficientnet-lite0":
        layer = None if norm == "frozen" else norm_layer(norm, efficientnet.EPSILON)
        maps = efficientnet.EfficientNetLiteMaps(channels, layer, first)
        body: nn.Module = maps
        widths, fpn_channels, stages = efficientnet.MAP_CHANNELS, SMALL_FPN_CHANNELS, maps.stages()
    else:
        if name == "small":
            network: Any = SmallResNet(channels, norm_layer(norm))
            widths, fpn_channels, stem = SMALL_WIDTHS, SMALL_FPN_CHANNELS, [network.stem]
        else:
            unit = Bottleneck if name == "resnet50" else BasicBlock
            layers = [2, 2, 2, 2] if name == "resnet18" else [3, 4, 6, 3]
            network = ResNet(unit, layers, norm_layer=norm_layer(norm, epsilon))
            network.conv1 = _stem(network.conv1, channels)
            widths, fpn_channels = tuple(width * unit.expansion for width in (64, 128, 256, 512)), FPN_CHANNELS
            stem = [network.conv1, network.bn1]
        stages = [nn.ModuleList(stem), network.layer1, network.layer2, network.layer3, network.layer4]
        body = IntermediateLayerGetter(network, {f"layer{k + 1}": str(k - first) for k in range(first, 4)})
    for stage in stages[: len(stages) - trainable_stages]:
        stage.requires_grad_(False)
    extra = LastLevelP6P7(fpn_channels, fpn_channels) if coarse else LastLevelMaxPool()
    fpn = FeaturePyramidNetwork(list(widths[first:]), fpn_channels, extra)
    return FeaturePyramid(body, fpn, fpn_channels, (8, 16, 32, 64, 128) if coarse else (4, 8, 16, 32, 64))


def _stem(conv: nn.Conv2d, channels: int) -> nn.Conv2d:
    """The first convolution, replaced for images with another number of channels."""
    if conv.in_channels == channels:
        return conv
    return nn.Conv2d(channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, bias=False)  # type: ignore[arg-type]


def _init_weights(network: nn.Module) -> None:
    """Kaiming initialisation of the convolutions."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

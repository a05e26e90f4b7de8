"""Residual networks: torchvision's, with a stem that fits the picture.

Source: He, Zhang, Ren and Sun 2016, "Deep residual learning"; lecture 003.
"""

from __future__ import annotations

from typing import cast

from torch import nn


def resnet18(channels: int, outputs: int, *, small: bool) -> nn.Module:
    """ResNet-18.

    Args:
        small: pictures of up to 64 pixels: a 3x3 stem without stride and pooling, so that detail survives.
    """
    from torchvision.models.resnet import BasicBlock, ResNet

    net = ResNet(BasicBlock, [2, 2, 2, 2], num_classes=outputs)
    if small:
        net.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        net.maxpool = nn.Identity()
    elif channels != 3:
        net.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    if net.conv1.weight.device.type != "meta":
        nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
    return cast(nn.Module, net)

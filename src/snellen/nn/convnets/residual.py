"""ResNets for CIFAR (He et al. 2016): 6n + 2 layers, with five variants of the residual unit.

Source: He, Zhang, Ren and Sun 2016, "Deep residual learning", section 4.2; "Identity mappings in deep residual
networks", figure 4; lecture 003.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

WIDTHS = (16, 32, 64)  # channels of the three stages
BOTTLENECK = 164  # depth from which units have three convolutions


class ResidualUnit(nn.Module):
    """Residual unit, x + F(x), with batch normalisation and ReLU in one of five orders.

    F has two 3x3 convolutions, or 1x1, 3x3, 1x1.
    The shortcut has no weights: between stages it takes every second pixel and pads channels with zeros.

    Args:
        channels: (in, out).
        stride: of the first 3x3 convolution.
        unit: "original": conv-BN-ReLU-conv-BN, add, ReLU; "bn-after-addition": the last BN after the sum;
            "relu-before-addition": the last ReLU before the sum; "relu-only-pre-activation": ReLU-conv-BN-ReLU-conv-BN;
            "full-pre-activation": BN-ReLU-conv-BN-ReLU-conv, add; "plain": original without the shortcut.
        bottleneck: three convolutions, the outer ones 1x1, with four times as many channels outside.
    """

    def __init__(self, channels: tuple[int, int], stride: int, unit: str, bottleneck: bool) -> None:
        super().__init__()
        inputs, outputs = channels
        inner = outputs // 4 if bottleneck else outputs
        sizes, kernels = (
            ((inputs, inner, inner, outputs), (1, 3, 1)) if bottleneck else ((inputs, outputs, outputs), (3, 3))
        )
        strides = (1, stride, 1) if bottleneck else (stride, 1)
        self.unit = unit
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, kernel, step, kernel // 2, bias=False)
            for (a, b), kernel, step in zip(itertools.pairwise(sizes), kernels, strides, strict=True)
        )
        norm_first = unit == "full-pre-activation"
        self.norms = nn.ModuleList(nn.BatchNorm2d(n) for n in (sizes[:-1] if norm_first else sizes[1:]))
        self.stride, self.extra_channels = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H', W')."""
        y, last = x, len(self.convs) - 1
        for index, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            if self.unit == "full-pre-activation":
                y = conv(norm(y).relu())
            elif self.unit == "relu-only-pre-activation":
                y = norm(conv(y.relu()))
            elif index < last:
                y = norm(conv(y)).relu()
            else:
                y = conv(y) if self.unit == "bn-after-addition" else norm(conv(y))
        if self.unit == "plain":
            return y.relu()
        if self.unit == "relu-before-addition":
            return self.shortcut(x) + y.relu()
        if self.unit == "bn-after-addition":
            z: Tensor = self.norms[-1](self.shortcut(x) + y)
            return z.relu()
        total = self.shortcut(x) + y
        return total.relu() if self.unit == "original" else total

    def shortcut(self, x: Tensor) -> Tensor:
        """(B, C, H, W) subsampled and padded to the output shape."""
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        return nn.functional.pad(x, (0, 0, 0, 0, 0, self.extra_channels)) if self.extra_channels else x


class CifarResNet(nn.Module):
    """ResNet for CIFAR: 6n + 2 layers.

    A 3x3 convolution, three stages of units at full, half and quarter size, mean pooling, a linear layer.

    Args:
        depth: weight layers: 6n + 2 for n units per stage; from 164 on 9n + 2, with bottlenecks.
        channels: of the input.
        outputs: K.
        unit: see `ResidualUnit`.
    """

    def __init__(self, depth: int, channels: int, outputs: int, unit: str = "original") -> None:
        super().__init__()
        bottleneck = depth >= BOTTLENECK
        count = (depth - 2) // (9 if bottleneck else 6)
        widths = [4 * width for width in WIDTHS] if bottleneck else list(WIDTHS)
        self.stem = nn.Conv2d(channels, WIDTHS[0], 3, padding=1, bias=False)
        pre_activation = unit in ("full-pre-activation", "relu-only-pre-activation")
        self.stem_norm = nn.BatchNorm2d(WIDTHS[0]) if unit != "full-pre-activation" else nn.Identity()
        self.activate_stem = not pre_activation
        units = []
        inputs = WIDTHS[0]
        for stage, width in enumerate(widths):
            for index in range(count):
                units.append(ResidualUnit((inputs, width), 2 if stage and not index else 1, unit, bottleneck))
                inputs = width
        self.units = nn.Sequential(*units)
        self.last_norm = nn.BatchNorm2d(inputs) if unit == "full-pre-activation" else nn.Identity()
        self.activate_last = pre_activation
        self.head = nn.Linear(inputs, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K)."""
        x = self.stem_norm(self.stem(x))
        x = self.units(x.relu() if self.activate_stem else x)
        x = self.last_norm(x)
        x = x.relu() if self.activate_last else x
        y: Tensor = self.head(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))
        return y

"""Plain scripts for a class at every pixel: a U-Net from scratch, and one on EfficientNet-Lite0 (ImageNet)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from ladder_detectors import pyramid
from ladder_problem import Clock, Point, Problem

EPOCHS = (5, 10, 20, 40, 80, 160)


def u_net(problem: Problem, clock: Clock) -> Iterator[Point]:
    """A U-Net of four levels."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    def block(inputs: int, outputs: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        return nn.Sequential(*layers)

    class UNet(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            widths = [width, 2 * width, 4 * width, 8 * width]
            self.down = nn.ModuleList(block(a, b) for a, b in zip([3, *widths], widths, strict=False))
            self.up = nn.ModuleList(block(b + a, a) for a, b in itertools.pairwise(widths))
            self.out = nn.Conv2d(width, problem.classes, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            skips = []
            for k, down in enumerate(self.down):
                x = down(x if k == 0 else F.max_pool2d(x, 2))
                skips.append(x)
            for k in (2, 1, 0):
                x = F.interpolate(x, size=skips[k].shape[-2:], mode="bilinear")
                x = self.up[k](torch.cat([x, skips[k]], 1))
            out: torch.Tensor = self.out(x)
            return out

    return trained(problem, clock, lambda: UNet(16), 3e-3)


def u_net_lite0(problem: Problem, clock: Clock) -> Iterator[Point]:
    """Maps of the encoder at four strides, brought to stride 4, added, and classified."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Segmenter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = pyramid()
            width = self.encoder.out_channels
            self.mix = nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
            )
            self.out = nn.Conv2d(width, problem.classes, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            maps = list(self.encoder(x).values())
            size = maps[0].shape[-2:]
            mixed = self.mix(sum(F.interpolate(part, size=size, mode="bilinear") for part in maps))
            return F.interpolate(self.out(mixed), size=x.shape[-2:], mode="bilinear")

    return trained(problem, clock, Segmenter, 1e-3)


def trained(problem: Problem, clock: Clock, make: Callable[[], Any], rate: float) -> Iterator[Point]:
    """Train completely several times, each time with twice the epochs: half-size images, AdamW, one cycle, flips."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    def tensors(split: str) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(problem.images(split, None))).float() / 128 - 1

    train, val = tensors("train"), tensors("val")
    y = torch.from_numpy(problem.targets("train")).long()

    def predict(net: nn.Module, images: torch.Tensor) -> np.ndarray:
        net.eval()
        parts = []
        with torch.inference_mode():
            for image in images.split(1):
                out = net(F.interpolate(image, scale_factor=0.5, mode="area"))
                parts.append(F.interpolate(out, size=image.shape[-2:], mode="bilinear").argmax(1))
        return torch.cat(parts).numpy()

    def mean_iou(predicted: np.ndarray, truth: np.ndarray) -> float:
        known = truth >= 0
        ious = []
        for k in range(problem.classes):
            a, b = (predicted == k) & known, truth == k
            if (a | b).any():
                ious.append((a & b).sum() / (a | b).sum())
        return float(np.mean(ious))

    for epochs in EPOCHS:
        start = clock.now()
        torch.manual_seed(problem.seed)
        net = make()
        steps = epochs * -(-len(train) // 4)
        optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
        half_y = F.interpolate(y[:, None].float(), scale_factor=0.5, mode="nearest")[:, 0].long()
        half_x = F.interpolate(train, scale_factor=0.5, mode="area")
        for _ in range(epochs):
            net.train()
            for rows in torch.randperm(len(train)).split(4):
                x, target = half_x[rows], half_y[rows]
                if problem.flip and torch.rand(()) < 0.5:
                    x, target = x.flip(3), target.flip(2)
                loss = F.cross_entropy(net(x), target, ignore_index=-1)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        value = mean_iou(predict(net, val), problem.targets("val"))
        yield Point(
            f"{epochs} epochs", clock.now(), value, clock.untimed(lambda net=net: predict(net, tensors("test")))
        )
        clock.paused += clock.now() - start

"""Plain PyTorch on MNIST: the networks and schedules of our learners, without Snellen.

    python bench/reference/mnist.py softmax|mlp|lenet [--seed 0] [--threads 1]

Trains on the first 55,000 training images; prints the accuracy on the 10,000 test images as one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from mnist import MEAN, STD, images

EPOCHS = {"softmax": 15, "mlp": 15, "lenet": 30}


def network(name: str) -> nn.Module:
    if name == "softmax":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    if name == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 120), nn.ReLU(), nn.Linear(120, 10))
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def varied(x: Tensor) -> Tensor:
    """(B, 1, H, W) randomly rotated by up to 10 degrees, scaled by up to 10 %, shifted by up to 7 % of the side."""

    def draw(max_value: float) -> Tensor:
        return (2 * torch.rand(len(x)) - 1) * max_value

    turn, zoom = draw(torch.pi * 10 / 180), 1 + draw(0.1)
    matrix = torch.stack(
        [
            torch.stack([turn.cos() / zoom, -turn.sin() / zoom, draw(0.14)], 1),
            torch.stack([turn.sin() / zoom, turn.cos() / zoom, draw(0.14)], 1),
        ],
        1,
    )  # (B, 2, 3)
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def one_cycle(step: int, total: int) -> float:
    rising = round(0.2 * total)
    return (step + 1) / rising if step < rising else 1 - (step - rising) / (total - rising)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("network", choices=list(EPOCHS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    x, y = map(torch.from_numpy, images("train"))
    x, y = x[:55_000, None].float(), y[:55_000]
    model = network(args.network)
    optimizer = torch.optim.Adam(model.parameters())
    started, step = time.process_time(), 0
    total = EPOCHS[args.network] * -(-len(x) // 64)
    for _ in range(EPOCHS[args.network]):
        for chosen in torch.randperm(len(x)).split(64):
            batch = x[chosen]
            if args.network == "lenet":
                batch = varied(batch)
            for group in optimizer.param_groups:
                group["lr"] = 0.002 * one_cycle(step, total)
            optimizer.zero_grad()
            F.cross_entropy(model((batch - MEAN) / STD), y[chosen]).backward()
            optimizer.step()
            step += 1
    cpu = time.process_time() - started
    test_x, test_y = map(torch.from_numpy, images("t10k"))
    with torch.inference_mode():
        right = (model((test_x[:, None].float() - MEAN) / STD).argmax(1) == test_y).float().mean()
    print(json.dumps({"accuracy": 100 * float(right), "cpu": cpu}))


if __name__ == "__main__":
    main()

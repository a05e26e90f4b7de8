"""Plain PyTorch: torchvision's ResNet-18 with a 3x3 stem on an image folder of 32x32 pictures, with nothing of ours.

    python bench/reference/resnet18.py FOLDER [--seed 0] [--threads 2]

FOLDER holds train/ and test/ with a folder a class. The schedule is that of our learner. Prints the test accuracy as
one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18

EPOCHS, BATCH, RATE, DECAY = 8, 32, 0.03, 0.0005


def split(folder: Path) -> tuple[Tensor, Tensor]:
    """(N, 3, 32, 32) float 0 to 255, (N,) int64."""
    files = [(path, k) for k, d in enumerate(sorted(folder.iterdir())) for path in sorted(d.iterdir())]
    x = np.stack([np.asarray(Image.open(path).convert("RGB")) for path, _ in files])
    return torch.from_numpy(x).permute(0, 3, 1, 2).float(), torch.tensor([k for _, k in files])


def varied(x: Tensor) -> Tensor:
    """Each mirrored or not, and moved by up to 4 pixels into a border of black."""
    out = torch.empty_like(x)
    padded = F.pad(x, (4, 4, 4, 4))
    for k, (row, column, mirror) in enumerate(torch.randint(0, 9, (len(x), 3)).tolist()):
        cut = padded[k, :, row : row + 32, column : column + 32]
        out[k] = cut.flip(2) if mirror % 2 else cut
    return out


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    x, y = split(args.folder / "train")
    test_x, test_y = split(args.folder / "test")
    kept = torch.randperm(len(x))[: len(x) * 9 // 10]  # our learner keeps a tenth for validation
    x, y = x[kept], y[kept]
    mean, std = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True)
    model = resnet18(num_classes=10)
    model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    model.to(memory_format=torch.channels_last)
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=RATE, momentum=0.9, nesterov=True)
    total = EPOCHS * -(-len(x) // BATCH)
    rising = round(0.2 * total)
    started, step = time.process_time(), 0
    bfloat16 = bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(x)).split(BATCH):
            rate = (step + 1) / rising if step < rising else 1 - (step - rising) / (total - rising)
            for group in optimizer.param_groups:
                group["lr"] = RATE * rate
            batch = ((varied(x[chosen]) - mean) / std).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                loss = F.cross_entropy(model(batch), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    cpu = time.process_time() - started
    model.eval()
    with torch.inference_mode():
        scores = torch.cat([model((part - mean) / std) for part in test_x.split(200)])
    print(json.dumps({"accuracy": 100 * float((scores.argmax(1) == test_y).float().mean()), "cpu": cpu}))


if __name__ == "__main__":
    main()

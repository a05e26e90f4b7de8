"""What is counted is what torch's own counter counts; nothing on the way loads torch's compiler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import get_model

from snellen.nn.flops import Operations


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vit_b_32", "densenet121"])
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_operations_are_those_that_torch_counts(name: str, mode: type) -> None:
    net, x = get_model(name).eval(), torch.zeros(1, 3, 224, 224)
    with mode(), FlopCounterMode(display=False) as torchs:
        net(x)
    with mode(), Operations() as ours:
        net(x)
    assert ours.count == torchs.get_total_flops() > 0


def test_gradients_are_counted_too() -> None:
    net, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 5)), torch.zeros(2, 3, 8, 8)
    with FlopCounterMode(display=False) as torchs:
        net(x).sum().backward()
    with Operations() as ours:
        net(x).sum().backward()
    assert ours.count == torchs.get_total_flops() > 0


SCRIPT = """
import sys
from snellen.cli.main import main
assert main(["train", "digits", "--model", sys.argv[1], "--epochs", "1", "--out", sys.argv[2]]) == 0
assert main(["predict", sys.argv[2], sys.argv[3]]) == 0
loaded = [name for name in ("torch._dynamo", "sympy") if name in sys.modules]
assert not loaded, loaded
"""


@pytest.mark.parametrize("model", ["mlp", "softmax"])
def test_without_torchvision_nothing_loads_torchs_compiler(model: str, tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "digit.png")
    words = [sys.executable, "-c", SCRIPT, model, str(tmp_path / "run"), str(tmp_path / "digit.png")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""The FLOP counter equals torch's; no command loads torch's compiler."""

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

from snellen.nn.flops import FlopCounter
from snellen.nn.recurrent import GRU, LSTM, RNN


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "vit_b_32", "densenet121"])
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_flops_equal_torchs_counter(name: str, mode: type) -> None:
    net, x = get_model(name).eval(), torch.zeros(1, 3, 224, 224)
    with mode(), FlopCounterMode(display=False) as expected:
        net(x)
    with mode(), FlopCounter() as counter:
        net(x)
    assert counter.count == expected.get_total_flops() > 0


def test_the_backward_pass_is_counted() -> None:
    net, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 5)), torch.zeros(2, 3, 8, 8)
    with FlopCounterMode(display=False) as expected:
        net(x).sum().backward()
    with FlopCounter() as counter:
        net(x).sum().backward()
    assert counter.count == expected.get_total_flops() > 0


@pytest.mark.parametrize(("network", "gates"), [(RNN, 1), (GRU, 3), (LSTM, 4)])
def test_recurrent_layers_multiply_their_weights_at_every_step(network: type, gates: int) -> None:
    net, x = network(3, 8, 2, 5), torch.zeros(2, 7, 3)
    forward = 2 * 2 * 7 * gates * 8 * (3 + 8 + 8 + 8) + 2 * 2 * 8 * 5
    with torch.inference_mode(), FlopCounter() as counter:
        net(x)
    assert counter.count == forward
    with FlopCounter() as counter:
        net(x.requires_grad_()).sum().backward()
    assert counter.count == pytest.approx(3 * forward, rel=0.03)  # the first step has no state before it


SCRIPT = """
import sys
from snellen.cli.main import main
for model in ("mlp", "softmax"):
    run = f"{sys.argv[1]}/{model}"
    assert main(["train", "digits", "--model", model, "--epochs", "1", "--out", run]) == 0
    assert main(["predict", run, f"{sys.argv[1]}/digit.png"]) == 0
    loaded = [name for name in ("torch._dynamo", "sympy") if name in sys.modules]
    assert not loaded, (model, loaded)
"""


def test_without_torchvision_nothing_loads_torchs_compiler(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "digit.png")
    process = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr

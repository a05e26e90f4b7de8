"""`snellen predict` imports only what the model needs, and torchvision without torch's compiler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import blocks
import torch
from PIL import Image
from raw_datasets import classes, numbers, seeded

from snellen.api import train

COMPILER = ("torch._dynamo", "sympy", "triton")
HEAVY = (*COMPILER, "torchvision", "matplotlib", "sklearn", "scipy", "pandas")
SCRIPT = """
import sys
from pathlib import Path
from snellen.cli.main import main
for image in sorted(Path(sys.argv[2]).glob("*/photo.png")):
    assert main(["predict", str(image.parent), str(image)]) == 0
    loaded = [name for name in sys.argv[1].split(",") if name in sys.modules]
    assert not loaded, (image, loaded)
"""
COMPILER_SCRIPT = """
assert "torchvision" in sys.modules
import torch
roi_align = sys.modules["torchvision.ops.roi_align"]
assert roi_align.is_compile_supported("cpu") is sys.modules["torch._dynamo.utils"].is_compile_supported("cpu")
assert torch.compile(torch.sin, backend="eager")(torch.zeros(1)) == 0
"""
X = torch.randint(0, 256, (40, 3, 16, 16), generator=seeded(), dtype=torch.uint8)
PAIRS = classes(X, torch.arange(40) % 2, 2)
BRIEF: dict[str, Any] = {"epochs": 1, "batch_size": 8}


def predict_in_child(runs: Path, forbidden: tuple[str, ...], then: str = "") -> None:
    """Predict an image with each run in a new process, and fail if it has imported a forbidden library."""
    arguments = [",".join(forbidden), str(runs)]
    process = subprocess.run([sys.executable, "-c", SCRIPT + then, *arguments], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def test_a_prediction_imports_no_library_that_the_model_does_not_need(tmp_path: Path) -> None:
    for model in ("mlp", "lenet", "resnet20", "efficientnet-lite0"):
        train(PAIRS, model, out=tmp_path / model, **BRIEF)
    train(PAIRS, "knn", out=tmp_path / "knn")
    train(PAIRS, "probe", out=tmp_path / "probe", encoder="resnet20", pretrained=str(tmp_path / "resnet20"))
    train(numbers(X, torch.arange(40.0)), "lenet", out=tmp_path / "regression", **BRIEF)
    for run in tmp_path.iterdir():
        Image.new("RGB", (16, 16)).save(run / "photo.png")
    predict_in_child(tmp_path, HEAVY)


def test_torchvision_is_imported_without_torchs_compiler_until_it_calls_it(tmp_path: Path) -> None:
    train(PAIRS, "resnet18", out=tmp_path / "classifier", **BRIEF)
    train(blocks.block_dataset(10), "faster-rcnn", out=tmp_path / "detector", epochs=1, max_proposals=20)
    Image.new("RGB", (16, 16)).save(tmp_path / "classifier" / "photo.png")
    Image.new("L", (64, 64)).save(tmp_path / "detector" / "photo.png")
    predict_in_child(tmp_path, COMPILER, COMPILER_SCRIPT)

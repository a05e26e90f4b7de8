"""D5, D6: resuming detectors trained in stages is bit-identical, interrupted within a stage or after one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blocks
import pytest
import torch

import snellen
from snellen.api import RunOptions
from snellen.core import file_io

QUICK: dict[str, Any] = {"epochs": 1, "batch_size": 2, "min_size": 64, "rois_per_image": 16, "max_proposals": 40}


@pytest.mark.parametrize("cut", [4, 14], ids=["during proposals", "during training"])
@pytest.mark.parametrize("name", ["rcnn", "fast-rcnn"])
def test_resuming_is_bit_identical(name: str, cut: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cv2")
    torch.set_num_threads(1)
    data = blocks.box_dataset()
    subset = dataclasses.replace(data, splits={split: ids[:6] for split, ids in data.splits.items()})
    snellen.train(subset, name, out=tmp_path / "whole", options=RunOptions(threads=1, report=False), **QUICK)
    original: Callable[..., str] = file_io.write_tensors
    saves = 0

    def stop(path: Path, *rest: Any) -> str:
        nonlocal saves
        saves += path.parent.name == "state"
        if saves == cut:
            raise KeyboardInterrupt
        return original(path, *rest)

    monkeypatch.setattr(file_io, "write_tensors", stop)
    options = RunOptions(threads=1, report=False, save_every=0.0)
    with pytest.raises(KeyboardInterrupt):
        snellen.train(subset, name, out=tmp_path / "cut", options=options, **QUICK)
    monkeypatch.undo()
    snellen.resume(tmp_path / "cut", data=subset, options=RunOptions(threads=1, report=False))
    uninterrupted, resumed = (file_io.read_tensors(tmp_path / run / "model.safetensors")[0] for run in ("whole", "cut"))
    assert all(torch.equal(uninterrupted[key], resumed[key]) for key in uninterrupted)
    one, other = (tmp_path / run / "history.jsonl" for run in ("whole", "cut"))
    assert one.read_bytes() == other.read_bytes()

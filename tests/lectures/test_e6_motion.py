"""Row E6 of the lectures: a 3D ConvNet on classes that only the motion shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from raw_datasets import seeded

from snellen.api import RunOptions, train
from snellen.core.spec import Classes, Input
from snellen.data.dataset import RawDataset
from snellen.data.open_dataset import assemble
from snellen.data.source import ArraySource


@pytest.mark.learning
def test_e6_a_3d_convnet_classifies_motions_that_no_frame_shows(
    tmp_path: Path, assert_score: Callable[..., None]
) -> None:
    """A dot moves left or right on a ring of columns: in every frame, all its positions are equally likely."""
    count, steps, side = 300, 6, 8
    start = torch.randint(0, side, (count, 2), generator=seeded())
    right = torch.arange(count) % 2
    column = (start[:, :1] + (2 * right - 1)[:, None] * torch.arange(steps)) % side  # (N, T)
    x = torch.zeros(count, steps, 1, side, side, dtype=torch.uint8)
    x[torch.arange(count)[:, None], torch.arange(steps), 0, start[:, 1:], column] = 255
    raw = RawDataset(
        source=ArraySource(x, "clip"),
        inputs={"x": Input(modality="clip", shape=(steps, 1, side, side), dtype="uint8")},
        target=Classes(names=("left", "right")),
        truth=right,
        recognised_as="dots",
    )
    data = assemble(raw, "dots", 0, None)
    run = train(data, "convnet3d", out=tmp_path / "run", options=RunOptions(report=False), epochs=5)
    assert_score(run.metrics["accuracy"].value, above=0.9)  # 1

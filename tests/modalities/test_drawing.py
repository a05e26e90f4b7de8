"""Drawings of clips and volumes: frames, and maximum projections, side by side."""

from __future__ import annotations

import numpy as np
import torch

from snellen.core.spec import Classes, Input
from snellen.core.views import ImageGrid
from snellen.data.dataset import RawDataset
from snellen.data.open_dataset import assemble
from snellen.data.source import ArraySource
from snellen.modalities.drawing import MAX_FRAMES, draw_clip, draw_volume
from snellen.modalities.sample_views import samples_view

CLIP = Input(modality="clip", shape=(11, 3, 4, 5), dtype="uint8")
VOLUME = Input(modality="volume", shape=(1, 2, 3, 4))


def test_a_clip_is_drawn_as_its_first_last_and_frames_between() -> None:
    x = torch.randint(0, 255, (11, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    image = draw_clip(x, CLIP)
    assert image.dtype == torch.uint8
    assert image.shape == (3, 4, 6 * MAX_FRAMES - 1)
    drawn = np.rint(np.linspace(0, 10, 8)).astype(int)
    for k, frame in enumerate(drawn):
        assert torch.equal(image[..., 6 * k : 6 * k + 5], x[frame])
    assert bool((image[..., 5::6] == x[drawn].max()).all())
    assert draw_clip(x[:1], CLIP).shape == (3, 4, 5)
    assert torch.equal(draw_clip(x.to(torch.uint16), CLIP), image.int())


def test_a_volume_is_drawn_as_maximum_projections_along_its_axes() -> None:
    x = torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    image, v = draw_volume(x, VOLUME)[0].numpy(), x[0].numpy()
    assert image.shape == (3, 4 + 1 + 4 + 1 + 3)
    assert np.array_equal(image[:, :4], v.max(0))
    assert np.array_equal(image[:2, 5:9], v.max(1))
    assert np.array_equal(image[:2, 10:], v.max(2))
    assert (image[2, 5:9] == min(v.max(axis).min() for axis in range(3))).all()

    deep = (1000 * (x + 5)).to(torch.uint16)
    assert np.array_equal(draw_volume(deep, VOLUME)[0, :, :4].numpy(), deep[0].int().amax(0).numpy())
    occupancy = (x > 0).to(torch.uint8)
    assert np.array_equal(draw_volume(occupancy, VOLUME)[0, :, :4].numpy(), 255 * occupancy[0].amax(0).numpy())


def test_clips_are_shown_as_images() -> None:
    x = torch.randint(0, 255, (30, 3, 1, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    raw = RawDataset(
        source=ArraySource(x, "clip"),
        inputs={"clip": Input(modality="clip", shape=(3, 1, 4, 5), dtype="uint8")},
        target=Classes(names=("a", "b")),
        truth=torch.arange(30) % 2,
        recognised_as="clips",
    )
    view = samples_view(assemble(raw, "clips", 0, None), [4], ["wrong"], "Worst", "")
    assert isinstance(view, ImageGrid)
    assert torch.equal(view.items[0].values[..., :5], x[4, 0])

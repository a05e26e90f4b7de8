"""Clips and volumes are predicted from arrays in every order of axes in which data is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from snellen.core.errors import DataError
from snellen.core.spec import Input, Spec
from snellen.modalities.arrays import read_samples

CLIP = Input(modality="clip", shape=(5, 1, 8, 9), dtype="uint8")
COLOUR = Input(modality="clip", shape=(3, 3, 8, 9), dtype="uint8")
VOLUME = Input(modality="volume", shape=(1, 8, 8, 6))


def samples(path: Path, x: np.ndarray, spec_input: Input) -> torch.Tensor:
    np.save(path, x)
    spec = Spec(name="x", inputs={"x": spec_input}, target=None)
    return torch.stack([sample for _, sample in read_samples(path, spec)])


def test_axes_are_read_as_in_training(tmp_path: Path) -> None:
    path, rng = tmp_path / "x.npy", np.random.default_rng(0)
    clips = rng.integers(0, 255, (4, 5, 1, 8, 9), dtype=np.uint8)
    expected = torch.from_numpy(clips)
    for x in (clips, clips[:, :, 0], clips.transpose(0, 1, 3, 4, 2)):
        assert torch.equal(samples(path, x, CLIP), expected)
        assert torch.equal(samples(path, x[2], CLIP), expected[2:3])
    colour = rng.integers(0, 255, (2, 3, 3, 8, 9), dtype=np.uint8)
    for x in (colour, colour.transpose(0, 1, 3, 4, 2)):
        assert torch.equal(samples(path, x, COLOUR), torch.from_numpy(colour))
        assert torch.equal(samples(path, x[0], COLOUR), torch.from_numpy(colour[:1]))
    volumes = rng.random((3, 1, 8, 8, 6)).astype(np.float32)
    for x in (volumes, volumes[:, 0], volumes.transpose(0, 2, 3, 4, 1)):
        assert torch.equal(samples(path, x, VOLUME), torch.from_numpy(volumes))


@pytest.mark.parametrize("shape", [(4, 4, 8, 9), (5, 9, 8), (4, 5, 8, 9, 3), (4, 5, 1, 1, 8, 9), (), (0, 5, 8)])
def test_other_arrays_are_errors_with_both_shapes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError) as error:
        samples(tmp_path / "x.npy", np.zeros(shape, np.uint8), CLIP)
    assert f"has the shape {shape}" in error.value.cause
    assert "(N, 5, 1, 8, 9)" in error.value.cause

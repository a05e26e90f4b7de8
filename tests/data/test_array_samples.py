"""Samples of array files for prediction: axes of samples and channels, and the lengths of sequences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from snellen.core.errors import DataError
from snellen.core.spec import Input, Spec
from snellen.modalities.arrays import read_samples

R = np.random.default_rng(0)
GREY = R.normal(size=(2, 1, 3, 4, 5)).astype("f4")
COLOUR = R.normal(size=(2, 2, 3, 4, 5)).astype("f4")
STEPS = R.normal(size=(3, 6, 2)).astype("f4")
SEQUENCE = Input(modality="sequence", shape=(None, 2))


def spec(spec_input: Input) -> Spec:
    return Spec(name="arrays", inputs={"x": spec_input}, target=None)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (GREY, GREY),
        (GREY[:, 0], GREY),
        (np.moveaxis(GREY, 1, -1), GREY),
        (GREY[0, 0], GREY[:1]),
        (GREY[0], GREY[:1]),
        (COLOUR, COLOUR),
        (np.moveaxis(COLOUR, 1, -1), COLOUR),
        (np.moveaxis(COLOUR[0], 0, -1), COLOUR[:1]),
    ],
)
def test_volumes_are_read_in_every_order_of_axes_that_training_reads(
    stored: np.ndarray, expected: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", stored)
    np.savez(tmp_path / "a.npz", x=stored)
    volume = Input(modality="volume", shape=expected.shape[1:])
    for name in ("a.npy", "a.npz"):
        samples = [sample for _, sample in read_samples(tmp_path / name, spec(volume))]
        assert torch.equal(torch.stack(samples), torch.from_numpy(expected))


@pytest.mark.parametrize("flat", [False, True])
def test_sequences_end_at_their_lengths(flat: bool, tmp_path: Path) -> None:
    lengths = np.array([2, 6, 3])
    parts = [x[:length] for x, length in zip(STEPS, lengths, strict=True)]
    np.savez(tmp_path / "a.npz", x=np.concatenate(parts) if flat else STEPS, lengths=lengths)
    samples = [sample for _, sample in read_samples(tmp_path / "a.npz", spec(SEQUENCE))]
    assert [sample.tolist() for sample in samples] == [part.tolist() for part in parts]


@pytest.mark.parametrize(
    ("x", "lengths"),
    [
        (STEPS, [2, 6]),
        (STEPS, [2, 7, 3]),
        (STEPS, [0, 1, 2]),
        (STEPS, [1.0, 2.0, 3.0]),
        (STEPS[0], [2, 3]),
        (np.full((1, 3, 2), np.nan, "f4"), [2]),
    ],
)
def test_lengths_that_do_not_fit_are_errors(x: np.ndarray, lengths: list[float], tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=x, lengths=np.array(lengths))
    with pytest.raises(DataError) as error:
        list(read_samples(tmp_path / "a.npz", spec(SEQUENCE)))
    assert error.value.remedy


def test_shorter_sequences_than_the_model_reads_are_errors(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=STEPS, lengths=np.array([6, 6, 5]))
    with pytest.raises(DataError, match=r"\(5, 2\)"):
        list(read_samples(tmp_path / "a.npz", spec(Input(modality="sequence", shape=(6, 2)))))

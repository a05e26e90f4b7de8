"""Arrays with a target at every place: what is recognised, the values that are read, and errors of shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import snellen
from snellen.core.errors import DataError, SnellenError, UsageError
from snellen.core.spec import Numbers, PixelClasses, PixelNumbers
from snellen.data.formats import OpenOptions

R = np.random.default_rng(0)
STEPS = R.normal(size=(20, 12, 2)).astype("f4")
STEP_CLASSES = R.integers(0, 3, (20, 12))
VOXELS = R.normal(size=(20, 4, 5, 6)).astype("f4")
LENGTHS = R.integers(5, 13, 20)


def opened(folder: Path, **arrays: Any) -> Any:
    np.savez(folder / "data.npz", **arrays)
    return snellen.dataset(folder / "data.npz")


@pytest.mark.parametrize(
    ("x", "y", "modality", "shape", "target", "sentence"),
    [
        (STEPS, STEP_CLASSES, "sequence", (12, 2), PixelClasses, "'y' as a class at every step"),
        (STEPS, STEPS[..., 0], "sequence", (12, 2), PixelNumbers, "'y' as a number at every step"),
        (STEPS, np.tile(STEPS, 2)[..., :3], "sequence", (12, 2), PixelNumbers, "'y' as 3 numbers at every step"),
        # Sides that look like those of a greyscale image: the target tells that they are steps.
        (np.tile(STEPS, (1, 2, 10)), STEP_CLASSES.repeat(2, 1), "sequence", (24, 20), PixelClasses, "sequences of 24"),
        (VOXELS, VOXELS * 2, "volume", (1, 4, 5, 6), PixelNumbers, "'y' as a number at every voxel"),
        (VOXELS[..., None], VOXELS > 0, "volume", (1, 4, 5, 6), PixelClasses, "'y' as a class at every voxel"),
        (VOXELS[:, :3], VOXELS[:, 0] > 0, "image", (3, 5, 6), PixelClasses, "'y' as a class at every pixel"),
    ],
)
def test_targets_at_every_place_are_recognised_from_the_shapes(
    x: Any, y: Any, modality: str, shape: Any, target: type, sentence: str, tmp_path: Path
) -> None:
    data = opened(tmp_path, x=x, y=y)
    assert (data.spec.modality, data.spec.input.shape) == (modality, shape)
    assert isinstance(data.spec.target, target)
    assert sentence in data.recognised_as
    for id in range(3):
        loaded = data.annotations.load(id)
        expected = torch.from_numpy(y[id].astype("i8" if target is PixelClasses else "f4"))
        expected = expected if target is PixelClasses else expected.reshape(*y.shape[1 : len(shape)], -1).movedim(-1, 0)
        assert torch.equal(loaded, expected.reshape(loaded.shape))


def test_hdf5_gives_the_data_of_npz(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x"], file["y"] = STEPS, STEP_CLASSES
    npz, hdf5 = opened(tmp_path, x=STEPS, y=STEP_CLASSES), snellen.dataset(tmp_path / "data.h5")
    assert npz.spec.target == hdf5.spec.target
    for id in (0, 7):
        assert torch.equal(npz.annotations.load(id), hdf5.annotations.load(id))
        assert torch.equal(npz.image(id), hdf5.image(id))


@pytest.mark.parametrize("flat", [False, True])
def test_steps_after_the_end_have_no_target(flat: bool, tmp_path: Path) -> None:
    """Targets in a padded array, or of all steps one after another, as the inputs."""
    x, y = STEPS, STEP_CLASSES
    if flat:
        x, y = (np.concatenate([a[:n] for a, n in zip(part, LENGTHS, strict=True)]) for part in (x, y))
    data = opened(tmp_path, x=x, y=y, lengths=LENGTHS)
    assert data.spec.input.is_ragged
    assert len(data.source) == 20
    for id, length in enumerate(LENGTHS.tolist()):
        loaded = data.annotations.load(id)
        assert loaded[:length].tolist() == STEP_CLASSES[id, :length].tolist()
        assert loaded[length:].tolist() == [-1] * (LENGTHS.max() - length)
    numbers = opened(tmp_path, x=STEPS, y=STEPS[..., 0], lengths=LENGTHS)
    assert torch.isnan(numbers.annotations.load(1)[0, LENGTHS[1] :]).all()
    assert torch.isfinite(numbers.annotations.load(1)[0, : LENGTHS[1]]).all()


def test_missing_values_are_left_out_and_counted(tmp_path: Path) -> None:
    classes, numbers = STEP_CLASSES.copy() + 1, STEPS[..., 0].copy()
    classes[0, :3], numbers[0, :3] = -1, np.nan
    data = opened(tmp_path, x=STEPS, y=classes)
    assert data.spec.target.names == ("1", "2", "3")
    assert data.annotations.load(0)[:3].tolist() == [-1, -1, -1]
    assert "3 steps without a class" in data.recognised_as
    assert sum(data.spec.target.counts) == sum((classes[data.splits["train"]] >= 0).sum(1))
    assert "3 of them missing" in opened(tmp_path, x=STEPS, y=numbers).recognised_as


def test_names_and_kinds_of_classes_can_be_given(tmp_path: Path) -> None:
    texts = np.array(["rest", "walk", ""])[STEP_CLASSES]
    data = opened(tmp_path, x=STEPS, y=texts)
    assert data.spec.target.names == ("rest", "walk")
    assert (data.annotations.load(0) == -1).tolist() == (STEP_CLASSES[0] == 2).tolist()
    opened(tmp_path, x=STEPS, y=STEP_CLASSES)
    options = OpenOptions(target=("y:numbers",))
    assert isinstance(snellen.dataset(tmp_path / "data.npz", options=options).spec.target, PixelNumbers)


@pytest.mark.parametrize(
    ("x", "y", "cause"),
    [
        (VOXELS, VOXELS[:, :3], "which does not fit 'x' of"),
        (STEPS, STEP_CLASSES[:19], "their lengths differ"),
        (STEPS, STEP_CLASSES * 0, "only one class"),
        (STEPS, STEP_CLASSES - 2, "holds the class -2"),
        (STEPS, np.where(STEP_CLASSES == 0, np.inf, STEPS[..., 0]), "holds infinity"),
        (STEPS, np.full((20, 12), np.nan), "holds no"),
        (STEPS, np.full((20, 12), 0.5), "is 0.5 at every step"),
        (STEPS, np.full((20, 12), "a"), "1 distinct strings"),
        (STEPS, STEPS[..., 0] + 1j, "not numbers"),
    ],
)
def test_wrong_targets_have_a_clear_error(x: Any, y: Any, cause: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        opened(tmp_path, x=x, y=y)
    assert cause in error.value.cause
    assert error.value.remedy
    assert "\n" not in error.value.cause


def test_splits_and_kinds_must_agree(tmp_path: Path) -> None:
    for arrays in (
        {"x_train": STEPS, "y_train": STEP_CLASSES, "x_test": STEPS, "y_test": STEP_CLASSES[:, 0]},
        {"x_train": STEPS, "y_train": STEP_CLASSES, "x_test": STEPS, "y_test": STEP_CLASSES[:, :5]},
    ):
        with pytest.raises(DataError, match="in the splits"):
            opened(tmp_path, **arrays)
    opened(tmp_path, x=STEPS, y=STEP_CLASSES)
    for options in (OpenOptions(target=("y:labels",)), OpenOptions(modality="clip")):
        with pytest.raises((DataError, UsageError)) as error:
            snellen.dataset(tmp_path / "data.npz", options=options)
        assert isinstance(error.value, SnellenError)


def test_nearly_as_many_columns_as_steps_are_doubted(tmp_path: Path) -> None:
    data = opened(tmp_path, x=STEPS, y=STEP_CLASSES[:, :11])
    assert isinstance(data.spec.target, Numbers)
    (finding,) = [finding for finding in data.findings if finding.kind == "places"]
    assert "not as a class at every step" in finding.message

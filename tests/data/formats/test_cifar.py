"""CIFAR folders written by the tests, in the layout and pickle protocol of the real ones."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from snellen.core.errors import DataError
from snellen.core.spec import Classes
from snellen.data.formats import OpenOptions, formats
from snellen.data.formats.cifar import open_raw, recognises
from snellen.data.open_dataset import dataset
from snellen.data.source import ArraySource


def dump(path: Path, content: object) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


def make(folder: Path, hundred: bool = False) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    names = ["train", "test"] if hundred else [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]
    images_by_file = {}
    for name in names:
        images_by_file[name] = rng.integers(0, 256, (4, 3072), dtype=np.uint8)
        labels = {"fine_labels" if hundred else "labels": [0, 1, 2, 1]}
        coarse = {"coarse_labels": [0, 0, 0, 0]} if hundred else {}
        dump(folder / name, {"data": images_by_file[name], **labels, **coarse})
    key = "fine_label_names" if hundred else "label_names"
    names = {key: ["cat", "dog", "owl"], "coarse_label_names": ["animal"]}
    dump(folder / ("meta" if hundred else "batches.meta"), names)
    return images_by_file


@pytest.mark.parametrize(("hundred", "title"), [(False, "CIFAR-10"), (True, "CIFAR-100")])
def test_images_labels_names_and_splits_are_those_of_the_files(tmp_path, hundred, title):
    images_by_file = make(tmp_path, hundred)
    assert recognises(tmp_path)
    raw = open_raw(tmp_path, OpenOptions())
    assert isinstance(raw.source, ArraySource)
    expected = np.concatenate(list(images_by_file.values())).reshape(-1, 3, 32, 32)
    assert np.array_equal(raw.source.values.numpy(), expected)
    assert raw.target == Classes(names=("cat", "dog", "owl"))
    assert raw.truth.tolist() == [0, 1, 2, 1] * len(images_by_file)
    assert raw.given_splits.tolist() == [0] * (len(images_by_file) * 4 - 4) + [2] * 4
    assert f"{title} (" in raw.recognised_as
    assert dataset(tmp_path).spec.sizes["test"] == 4


def test_the_folder_is_recognised_by_its_files(tmp_path):
    assert not recognises(tmp_path)
    (tmp_path / "train").mkdir()
    (tmp_path / "meta").touch()
    assert not recognises(tmp_path)
    assert "cifar" in formats()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"labels": [0, 1]}, "no data"),
        ({"data": np.zeros((2, 3072)), "labels": [0, 1]}, "no data"),
        ({"data": np.zeros((2, 10), np.uint8), "labels": [0, 1]}, "no data"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}, "no labels for its 2 images"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 0.5]}, "no labels"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 3]}, "image 1 has label 3, there are 3 classes"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [-1, 1]}, "image 0 has label -1"),
        ([1, 2], "does not hold a dictionary"),
    ],
)
def test_a_wrong_batch_is_named(tmp_path, content, words):
    make(tmp_path)
    dump(tmp_path / "data_batch_2", content)
    with pytest.raises(DataError) as caught:
        open_raw(tmp_path, OpenOptions())
    assert words in caught.value.cause
    assert "data_batch_2" in caught.value.cause
    assert caught.value.remedy


def test_names_and_training_images_are_needed(tmp_path):
    make(tmp_path)
    for k in range(1, 6):
        (tmp_path / f"data_batch_{k}").unlink()
    with pytest.raises(DataError, match="no training images"):
        open_raw(tmp_path, OpenOptions())
    dump(tmp_path / "batches.meta", {"label_names": [1]})
    with pytest.raises(DataError, match="no label_names"):
        open_raw(tmp_path, OpenOptions())

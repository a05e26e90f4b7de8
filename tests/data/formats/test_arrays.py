"""NPZ and HDF5: which array is what, how axes are read, and every way in which a file can be wrong."""

from __future__ import annotations

import sys
import threading
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from snellen.core.errors import DataError, EnvironmentProblem, SnellenError, UsageError
from snellen.core.spec import Classes, Labels, Numbers, Preprocessing
from snellen.data.dataset import RawDataset
from snellen.data.formats import OpenOptions, formats
from snellen.data.formats.arrays import open_raw, recognises, role
from snellen.data.open_dataset import dataset
from snellen.data.source import BadSamples

RNG = np.random.default_rng(0)
Y = np.arange(12) % 3
GREY = RNG.integers(0, 256, (12, 6, 5), dtype=np.uint8)


def save(folder: Path, suffix: str = ".npz", **arrays: object) -> Path:
    path = folder / f"arrays{suffix}"
    if suffix == ".npz":
        np.savez(path, **{name: np.asarray(value) for name, value in arrays.items()})
        return path
    with h5py.File(path, "w") as file:
        for name, value in arrays.items():
            file[name] = value
    return path


def all_samples(draft: RawDataset) -> torch.Tensor:
    return draft.source.read(np.arange(len(draft.source)), Preprocessing())


@pytest.mark.parametrize(
    ("name", "split", "rest"),
    [
        ("x_train", 0, "x"),
        ("train_images", 0, "images"),
        ("val/labels", 1, "labels"),
        ("Test-Y", 2, "y"),
        ("data", None, "data"),
        ("x_validation", 1, "x"),
        ("training.target", 0, "target"),
    ],
)
def test_a_name_tells_split_and_role(name, split, rest):
    assert role(name) == (split, rest)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_splits_are_those_of_the_names(tmp_path, suffix):
    path = save(tmp_path, suffix, x_train=GREY, y_train=Y, x_test=GREY[:6], y_test=Y[:6])
    assert recognises(path)
    draft = open_raw(path, OpenOptions())
    assert draft.given.tolist() == [0] * 12 + [2] * 6
    assert draft.inputs["image"].shape == (1, 6, 5)
    assert draft.inputs["image"].dtype == "uint8"
    assert draft.target == Classes(names=("0", "1", "2"))
    assert draft.truth.tolist() == [*Y, *Y[:6]]
    assert all_samples(draft)[12:, 0].tolist() == GREY[:6].tolist()
    assert "axes (N, H, W)" in draft.recognised_as
    assert dataset(path).spec.sizes["test"] == 6


def test_groups_of_hdf5_are_splits(tmp_path):
    path = save(tmp_path, ".hdf5", **{"train/x": GREY, "train/y": Y, "val/x": GREY[:3], "val/y": Y[:3]})
    assert open_raw(path, OpenOptions()).given.tolist() == [0] * 12 + [1] * 3


@pytest.mark.parametrize(
    ("shape", "order", "said"),
    [
        ((6, 5, 3), (0, 3, 1, 2), "3 channels, axes (N, H, W, C)"),
        ((3, 6, 5), (0, 1, 2, 3), "3 channels, axes (N, C, H, W)"),
        ((1, 6, 5), (0, 1, 2, 3), "1 channels"),
        ((6, 5, 4), (0, 3, 1, 2), "4 channels"),
    ],
)
@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_the_channels_are_found_by_their_place(tmp_path, shape, order, said, suffix):
    x = RNG.integers(0, 60000, (12, *shape), dtype=np.uint16)
    draft = open_raw(save(tmp_path, suffix, images=x, labels=Y), OpenOptions())
    assert all_samples(draft).dtype == torch.uint16
    assert np.array_equal(all_samples(draft).numpy(), x.transpose(order))
    assert said in draft.recognised_as
    assert draft.inputs["image"].shape == tuple(all_samples(draft).shape[1:])


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        ("uint8", "uint8"),
        ("uint16", "uint16"),
        ("bool", "uint8"),
        ("float16", "float32"),
        ("float32", "float32"),
        (">f4", "float32"),
        ("int16", "float32"),
        ("float64", "float32"),
        ("int64", "float32"),
    ],
)
def test_values_keep_their_depth(tmp_path, dtype, kept):
    x = (np.arange(24).reshape(12, 2) % (2 if dtype == "bool" else 99)).astype(dtype)
    draft = open_raw(save(tmp_path, x=x, y=Y), OpenOptions())
    assert draft.inputs["vector"].dtype == kept
    assert all_samples(draft).tolist() == x.astype(float).tolist()


def test_numbers_that_float32_does_not_hold_stay_float64(tmp_path):
    draft = open_raw(save(tmp_path, x=np.linspace(0, 1, 12), y=Y), OpenOptions())
    assert draft.inputs["vector"].dtype == "float64"
    assert all_samples(draft)[:, 0].tolist() == np.linspace(0, 1, 12).tolist()


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (Y, Classes(names=("0", "1", "2"))),
        (Y.astype(np.float32)[:, None], Numbers(names=("y",))),
        (np.repeat(Y, 2)[:12].astype(float), Numbers(names=("y",))),
        (Y == 0, Classes(names=("0", "1"))),
        (np.where(Y == 0, -1, 1), Classes(names=("-1", "1"))),
        (np.array(list("abc"))[Y], Classes(names=("a", "b", "c"))),
        (np.array([b"a", b"b", b"c"])[Y], Classes(names=("a", "b", "c"))),
        (np.eye(3)[Y], Classes(names=("0", "1", "2"))),
        (np.tri(12, 3), Labels(names=("0", "1", "2"))),
        (Y / 2, Numbers(names=("y",))),
        (np.c_[Y, Y / 2], Numbers(names=("y 0", "y 1"))),
        (Y * 1000, Numbers(names=("y",))),
    ],
)
def test_the_kind_of_target_follows_from_its_values(tmp_path, y, expected):
    assert open_raw(save(tmp_path, x=GREY, y=y), OpenOptions()).target == expected


def test_texts_of_hdf5_are_classes(tmp_path):
    path = save(tmp_path, ".h5", x=GREY, y=[("ä", "b", "c")[k] for k in Y])
    draft = open_raw(path, OpenOptions())
    assert draft.target == Classes(names=("b", "c", "ä"))
    assert draft.truth.tolist() == [(2, 0, 1)[k] for k in Y]


def test_whole_numbers_can_be_taken_the_other_way_and_it_is_said_how(tmp_path):
    path = save(tmp_path, x=GREY, y=Y)
    assert "--target y:numbers" in open_raw(path, OpenOptions()).recognised_as
    assert open_raw(path, OpenOptions(target=("y:numbers",))).target == Numbers(names=("y",))


def test_labels_that_are_not_counted_from_zero_are_said(tmp_path):
    y = np.where(np.arange(40) == 7, 255, np.arange(40) % 5).astype(np.uint8)
    (finding,) = open_raw(save(tmp_path, x=np.zeros((40, 2)), y=y), OpenOptions(target=("y:classes",))).findings
    assert finding.kind == "label-range"
    assert "255" in finding.message


def test_any_array_can_be_the_target_and_the_other_of_its_length_is_the_input(tmp_path):
    path = save(tmp_path, scans=GREY, grade=Y, scale=np.ones(3))
    with pytest.raises(DataError) as caught:
        open_raw(path, OpenOptions())
    assert "scans (12, 6, 5), grade (12,), scale (3,)" in caught.value.cause
    assert "--target" in caught.value.remedy
    draft = open_raw(path, OpenOptions(target=("grade",)))
    assert draft.inputs["image"].shape == (1, 6, 5)
    assert [(f.kind, f.where) for f in draft.findings] == [("ignored-column", ("scale",))]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": GREY, "y": Y[:5]}, "lengths differ"),
        ({"x": np.zeros((12, 2, 3, 4, 5)), "y": Y}, "has the shape (12, 2, 3, 4, 5)"),
        ({"x": np.zeros((12, 7, 6, 5)), "y": Y}, "has the shape (12, 7, 6, 5)"),
        ({"x": np.zeros((0, 3)), "y": np.zeros(0)}, "is empty"),
        ({"x": np.full((12, 2), "a"), "y": Y}, "no numbers"),
        ({"x": np.zeros((12, 2), complex), "y": Y}, "no numbers"),
        ({"x": np.where(np.arange(12) == 4, np.nan, 0.0), "y": Y}, "NaN or infinity in 1 samples: 4"),
        ({"x": GREY, "y": np.where(np.arange(12) == 4, np.inf, 0.0)}, "NaN or infinity in 1 samples: 4"),
        ({"x": GREY, "y": np.zeros(12, int)}, "one class only"),
        ({"x": GREY, "y": np.full(12, 0.5)}, "in every sample"),
        ({"x": GREY, "y": np.zeros((12, 2, 2))}, "has the shape (12, 2, 2)"),
        ({"x": np.zeros((30, 2)), "y": np.array([f"n{k}" for k in range(30)])}, "30 different texts in 30 samples"),
        ({"x": GREY}, "no array that is the target"),
        ({"y": Y}, "0 arrays that may be the input"),
        ({"a": GREY, "b": GREY, "y": Y}, "2 arrays that may be the input"),
        ({"x_test": GREY, "y_test": Y}, "no training arrays"),
        ({"x_train": GREY, "y_train": Y, "x_test": GREY[:, :4], "y_test": Y}, "others (N, 6, 5)"),
        ({}, "holds nothing"),
    ],
)
def test_wrong_arrays_end_with_cause_and_remedy(tmp_path, arrays, words):
    path = save(tmp_path, **arrays)
    with pytest.raises(DataError) as caught:
        open_raw(path, OpenOptions())
    assert words in caught.value.cause
    assert str(path) in caught.value.cause
    assert caught.value.remedy


def test_a_target_that_is_not_there_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError) as caught:
        open_raw(save(tmp_path, x=GREY, labels=Y), OpenOptions(target=("label",)))
    assert "labels" in caught.value.remedy


def test_objects_are_refused_and_never_loaded(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(path, x=GREY, y=np.array([{}] * 12, dtype=object))
    with pytest.raises(DataError, match="would have to be executed"):
        open_raw(path, OpenOptions())


def test_a_header_that_promises_more_than_there_is_is_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "arrays.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("x", "y"):
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**13,)})
    with pytest.raises(DataError, match="its header says"):
        open_raw(path, OpenOptions())


def test_hdf5_stays_on_the_disk_and_is_read_in_any_order(tmp_path):
    x = RNG.normal(size=(200, 3))
    source = open_raw(
        save(tmp_path, ".h5", x_train=x[:150], y_train=np.arange(150) % 2, x_val=x[150:], y_val=np.arange(50) % 2),
        OpenOptions(),
    ).source
    assert source.all(Preprocessing()) is None
    for ids in ([0], [199, 3, 3, 151, 0], range(200), [7, 60, 199]):
        assert source.read(np.array(ids), Preprocessing()).tolist() == x[list(ids)].tolist()
    key = source.key()
    wrong: list[int] = []

    def read(seed: int) -> None:
        ids = np.random.default_rng(seed).integers(0, 200, 20)
        if source.read(ids, Preprocessing()).tolist() != x[ids].tolist():
            wrong.append(seed)

    threads = [threading.Thread(target=read, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert key is not None
    assert source.key() == key


def test_nan_in_hdf5_names_its_samples_when_they_are_read(tmp_path):
    x = np.ones((12, 2))
    x[5, 1] = np.nan
    source = open_raw(save(tmp_path, ".h5", x=x, y=Y), OpenOptions()).source
    assert source.read(np.array([1, 2]), Preprocessing()).tolist() == [[1, 1], [1, 1]]
    with pytest.raises(BadSamples) as caught:
        source.read(np.array([6, 5]), Preprocessing())
    assert caught.value.problems == {5: "holds NaN or infinity"}


def test_without_h5py_the_command_to_install_it_is_given(tmp_path, monkeypatch):
    path = save(tmp_path, ".h5", x=GREY, y=Y)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(EnvironmentProblem) as caught:
        open_raw(path, OpenOptions())
    assert caught.value.remedy == 'Install it with: pip install "snellen[hdf5]"'


def test_the_format_is_registered_and_knows_its_files(tmp_path):
    assert "arrays" in formats()
    assert not recognises(tmp_path / "absent.npz")
    assert not recognises(tmp_path)


@settings(max_examples=30, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from(["uint8", "uint16", "float32", "float64"]),
        (6, 2),
        elements={"allow_nan": False, "allow_infinity": False},
    ),
    st.sampled_from((".npz", ".h5")),
)
def test_values_round_trip_exactly(tmp_path_factory, x, suffix):
    path = save(tmp_path_factory.mktemp("t"), suffix, x=x, y=[0, 1] * 3)
    assert np.array_equal(all_samples(open_raw(path, OpenOptions())).numpy(), x)


def random_file(rng: np.random.Generator, folder: Path) -> Path:
    """A file of arrays with something wrong with it, more often than not."""
    arrays: dict[str, object] = {}
    count = int(rng.integers(1, 9))
    for name in ("x", "y", "x_test", "labels")[: int(rng.integers(1, 5))]:
        shape = [count, *rng.integers(1, 5, int(rng.integers(0, 4)))] if name[0] == "x" else [count]
        if rng.random() < 0.1:
            shape[0] = int(rng.integers(0, 9))
        values = rng.normal(size=shape) * 3
        values[rng.random(shape) < 0.02] = rng.choice([np.nan, np.inf, -1e300])
        with np.errstate(all="ignore"):
            arrays[name] = values.astype(str(rng.choice(["f4", "f8", "i8", "i2", "u1", "?", "U3", "S2"])), copy=True)
    path = save(
        folder,
        str(rng.choice([".npz", ".h5"])),
        **{name: value.astype("S3") if value.dtype.kind == "U" else value for name, value in arrays.items()},
    )
    if rng.random() < 0.4:
        content = bytearray(path.read_bytes())
        for _ in range(int(rng.integers(1, 5))):
            content[int(rng.integers(len(content)))] = int(rng.integers(256))
        path.write_bytes(content[: int(rng.integers(len(content)))] if rng.random() < 0.3 else content)
    return path


def outcome(path: Path):
    """The error that opening ends with, or the data; any other exception is a bug."""
    try:
        data = dataset(path)
        data.samples("train")
        return None, data
    except SnellenError as error:
        return error, None


@pytest.mark.parametrize("seed", range(100))
def test_any_file_opens_or_says_what_is_wrong(tmp_path, seed):
    path = random_file(np.random.default_rng(seed), tmp_path)
    error, data = outcome(path)
    if error is None:
        assert len(data.truth) == len(data.source)
    else:
        assert str(path) in error.cause or isinstance(error, BadSamples)
        assert error.remedy

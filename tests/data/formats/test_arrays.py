"""NPZ and HDF5 datasets: roles of arrays, axes, targets, and every error of a file."""

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
from snellen.data.formats.arrays import open_raw, recognises, split_and_role
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


def all_samples(raw: RawDataset) -> torch.Tensor:
    return raw.source.read(np.arange(len(raw.source)), Preprocessing())


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
def test_a_name_is_parsed_into_split_and_role(name, split, rest):
    assert split_and_role(name) == (split, rest)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_splits_follow_the_array_names(tmp_path, suffix):
    path = save(tmp_path, suffix, x_train=GREY, y_train=Y, x_test=GREY[:6], y_test=Y[:6])
    assert recognises(path)
    raw = open_raw(path, OpenOptions())
    assert raw.given_splits.tolist() == [0] * 12 + [2] * 6
    assert raw.inputs["image"].shape == (1, 6, 5)
    assert raw.inputs["image"].dtype == "uint8"
    assert raw.target == Classes(names=("0", "1", "2"))
    assert raw.truth.tolist() == [*Y, *Y[:6]]
    assert all_samples(raw)[12:, 0].tolist() == GREY[:6].tolist()
    assert "axes (N, H, W)" in raw.recognised_as
    assert dataset(path).spec.sizes["test"] == 6


def test_groups_of_hdf5_are_splits(tmp_path):
    path = save(tmp_path, ".hdf5", **{"train/x": GREY, "train/y": Y, "val/x": GREY[:3], "val/y": Y[:3]})
    assert open_raw(path, OpenOptions()).given_splits.tolist() == [0] * 12 + [1] * 3


@pytest.mark.parametrize(
    ("shape", "order", "description"),
    [
        ((6, 5, 3), (0, 3, 1, 2), "3 channels, axes (N, H, W, C)"),
        ((3, 6, 5), (0, 1, 2, 3), "3 channels, axes (N, C, H, W)"),
        ((1, 6, 5), (0, 1, 2, 3), "1 channels"),
        ((6, 5, 4), (0, 3, 1, 2), "4 channels"),
    ],
)
@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_the_channel_axis_is_inferred(tmp_path, shape, order, description, suffix):
    x = RNG.integers(0, 60000, (12, *shape), dtype=np.uint16)
    raw = open_raw(save(tmp_path, suffix, images=x, labels=Y), OpenOptions())
    assert all_samples(raw).dtype == torch.uint16
    assert np.array_equal(all_samples(raw).numpy(), x.transpose(order))
    assert description in raw.recognised_as
    assert raw.inputs["image"].shape == tuple(all_samples(raw).shape[1:])


@pytest.mark.parametrize(
    ("dtype", "stored"),
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
def test_values_keep_their_dtype(tmp_path, dtype, stored):
    x = (np.arange(24).reshape(12, 2) % (2 if dtype == "bool" else 99)).astype(dtype)
    raw = open_raw(save(tmp_path, x=x, y=Y), OpenOptions())
    assert raw.inputs["vector"].dtype == stored
    assert all_samples(raw).tolist() == x.astype(float).tolist()


def test_numbers_inexact_in_float32_stay_float64(tmp_path):
    raw = open_raw(save(tmp_path, x=np.linspace(0, 1, 12), y=Y), OpenOptions())
    assert raw.inputs["vector"].dtype == "float64"
    assert all_samples(raw)[:, 0].tolist() == np.linspace(0, 1, 12).tolist()


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
    raw = open_raw(path, OpenOptions())
    assert raw.target == Classes(names=("b", "c", "ä"))
    assert raw.truth.tolist() == [(2, 0, 1)[k] for k in Y]


def test_whole_numbers_can_be_read_as_the_other_kind_and_the_message_says_how(tmp_path):
    path = save(tmp_path, x=GREY, y=Y)
    assert "--target y:numbers" in open_raw(path, OpenOptions()).recognised_as
    assert open_raw(path, OpenOptions(target=("y:numbers",))).target == Numbers(names=("y",))


def test_labels_that_do_not_start_at_zero_are_reported(tmp_path):
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
    raw = open_raw(path, OpenOptions(target=("grade",)))
    assert raw.inputs["image"].shape == (1, 6, 5)
    assert [(f.kind, f.where) for f in raw.findings] == [("ignored-column", ("scale",))]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": GREY, "y": Y[:5]}, "lengths differ"),
        ({"x": np.zeros((12, 2, 3, 4, 5, 6)), "y": Y}, "has the shape (12, 2, 3, 4, 5, 6)"),
        ({"x": np.zeros((12, 7, 6, 5, 8)), "y": Y}, "has the shape (12, 7, 6, 5, 8)"),
        ({"x": np.zeros((0, 3)), "y": np.zeros(0)}, "is empty"),
        ({"x": np.full((12, 2), "a"), "y": Y}, "not numbers"),
        ({"x": np.zeros((12, 2), complex), "y": Y}, "not numbers"),
        ({"x": np.where(np.arange(12) == 4, np.nan, 0.0), "y": Y}, "NaN or infinity in 1 samples: 4"),
        ({"x": GREY, "y": np.where(np.arange(12) == 4, np.inf, 0.0)}, "NaN or infinity in 1 samples: 4"),
        ({"x": GREY, "y": np.zeros(12, int)}, "only one class"),
        ({"x": GREY, "y": np.full(12, 0.5)}, "in every sample"),
        ({"x": GREY, "y": np.zeros((12, 2, 2))}, "has the shape (12, 2, 2)"),
        ({"x": np.zeros((30, 2)), "y": np.array([f"n{k}" for k in range(30)])}, "30 distinct strings in 30 samples"),
        ({"x": GREY}, "no array with a target name"),
        ({"y": Y}, "0 arrays that could be the input"),
        ({"a": GREY, "b": GREY, "y": Y}, "2 arrays that could be the input"),
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


def test_a_missing_target_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError) as caught:
        open_raw(save(tmp_path, x=GREY, labels=Y), OpenOptions(target=("label",)))
    assert "labels" in caught.value.remedy


def test_object_arrays_are_an_error_and_never_loaded(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(path, x=GREY, y=np.array([{}] * 12, dtype=object))
    with pytest.raises(DataError, match="which can run code"):
        open_raw(path, OpenOptions())


def test_a_header_larger_than_the_file_is_an_error_before_memory_is_allocated(tmp_path):
    path = tmp_path / "arrays.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("x", "y"):
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**13,)})
    with pytest.raises(DataError, match="its header says"):
        open_raw(path, OpenOptions())


def test_hdf5_is_read_lazily_in_any_order(tmp_path):
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


def test_nan_in_hdf5_is_reported_by_sample_when_read(tmp_path):
    x = np.ones((12, 2))
    x[5, 1] = np.nan
    source = open_raw(save(tmp_path, ".h5", x=x, y=Y), OpenOptions()).source
    assert source.read(np.array([1, 2]), Preprocessing()).tolist() == [[1, 1], [1, 1]]
    with pytest.raises(BadSamples) as caught:
        source.read(np.array([6, 5]), Preprocessing())
    assert caught.value.problems == {5: "holds NaN or infinity"}


def test_without_h5py_the_error_gives_the_install_command(tmp_path, monkeypatch):
    path = save(tmp_path, ".h5", x=GREY, y=Y)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(EnvironmentProblem) as caught:
        open_raw(path, OpenOptions())
    assert caught.value.remedy == 'Install it with: pip install "snellen[hdf5]"'


def test_the_format_is_registered_and_recognises_its_files(tmp_path):
    assert "arrays" in formats()
    assert not recognises(tmp_path / "absent.npz")
    assert not recognises(tmp_path)


@settings(max_examples=30)
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
    """A random array file, usually with an error."""
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
    """The error on opening, or the data; any other exception is a bug."""
    try:
        data = dataset(path)
        data.samples("train")
        return None, data
    except SnellenError as error:
        return error, None


@pytest.mark.parametrize("seed", range(100))
def test_any_file_opens_or_raises_an_error_with_a_cause(tmp_path, seed):
    path = random_file(np.random.default_rng(seed), tmp_path)
    error, data = outcome(path)
    if error is None:
        assert len(data.truth) == len(data.source)
    else:
        assert str(path) in error.cause or isinstance(error, BadSamples)
        assert error.remedy


@pytest.mark.parametrize(
    ("shape", "dtype", "is_image"),
    [
        ((40, 40, 3), "float32", False),
        ((40, 3, 40), "float32", False),
        ((40, 128, 9), "float64", False),
        ((40, 5000, 12), "int16", False),
        ((40, 40, 12), "float32", False),
        ((40, 8, 8), "float64", True),  # scikit-learn's digits
        ((40, 28, 28), "float32", True),
        ((40, 62, 47), "float32", True),  # labelled faces
        ((40, 12, 40), "uint8", True),
        ((40, 40, 3, 1), "float32", True),
    ],
)
def test_three_axes_are_images_or_sequences_by_their_lengths_or_by_the_modality(
    tmp_path: Path, shape: tuple[int, ...], dtype: str, is_image: bool
) -> None:
    x = (np.random.default_rng(0).normal(size=shape) * 50).astype(dtype)
    path = tmp_path / "signals.npz"
    np.savez(path, x=x, y=np.arange(shape[0]) % 2)
    data = dataset(path)
    if is_image:
        assert data.spec.input.modality == "image"
        assert ("--modality sequence" in data.recognised_as) == (len(shape) == 3)
    else:
        assert (data.spec.input.modality, data.spec.input.axes) == ("sequence", ("time", "feature"))
        assert data.spec.input.shape == shape[1:]
        assert "--modality image" in data.recognised_as
    if len(shape) == 4:
        with pytest.raises(UsageError, match=r"needs inputs \(N, T, D\)"):
            dataset(path, options=OpenOptions(modality="sequence"))
        return
    for modality, expected in (("image", (1, *shape[1:])), ("sequence", shape[1:])):
        read = dataset(path, options=OpenOptions(modality=modality))
        assert (read.spec.input.modality, read.spec.input.shape) == (modality, expected)
        assert "--modality" not in read.recognised_as
        values = read.source.read(np.arange(2), read.preprocessing)
        assert np.array_equal(values.numpy().reshape(2, *shape[1:]), x[:2])


def test_vectors_have_no_modality(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.eye(9), y=np.arange(9) % 2)
    with pytest.raises(UsageError, match="--modality image needs"):
        dataset(tmp_path / "rows.npz", options=OpenOptions(modality="image"))
    (tmp_path / "rows.csv").write_text("a,b\n1,x\n2,y\n3,x\n4,y\n")
    with pytest.raises(UsageError, match="--modality applies to arrays"):
        dataset(tmp_path / "rows.csv", options=OpenOptions(modality="sequence"))
    with pytest.raises(UsageError, match="digits is built in"):
        dataset("digits", options=OpenOptions(modality="sequence"))


@pytest.mark.parametrize("names", [("x", "y", "person"), ("x_train", "y_train", "person_train")])
def test_groups_are_an_array_of_the_file(tmp_path: Path, names: tuple[str, str, str]) -> None:
    rng = np.random.default_rng(0)
    people = np.array([f"p{k}" for k in rng.integers(0, 12, 90)])
    arrays = dict(zip(names, (rng.normal(size=(90, 3)), np.arange(90) % 2, people), strict=True))
    np.savez(tmp_path / "rows.npz", **arrays)
    data = dataset(tmp_path / "rows.npz", options=OpenOptions(group="person"))
    splits = [set(people[ids.numpy()]) for ids in data.splits.values()]
    assert all(splits)
    assert len(set.union(*splits)) == sum(map(len, splits)) == 12
    assert "person" not in "".join(finding.message for finding in data.findings if finding.kind == "ignored-column")
    with pytest.raises(UsageError, match="no array called 'persn'") as error:
        dataset(tmp_path / "rows.npz", options=OpenOptions(group="persn"))
    assert "person" in error.value.remedy
    np.savez(tmp_path / "rows.npz", **{**arrays, names[2]: people[:9]})
    with pytest.raises(DataError, match=r"the group .* has the shape \(9,\)"):
        dataset(tmp_path / "rows.npz", options=OpenOptions(group="person"))

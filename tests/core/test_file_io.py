"""Atomic file writes; JSON, Safetensors and packed states read back unchanged."""

from __future__ import annotations

import errno
import json
import math
import os
import resource
import signal
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from snellen.core import file_io, model_state
from snellen.core.errors import DataError, EnvironmentProblem
from snellen.training.optimizers import optimizer

NAMES = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw")


def is_equal(one: Any, other: Any) -> bool:
    """Whether two states are bit-identical, of the same types and memory format."""
    if isinstance(one, Tensor):
        return (
            isinstance(other, Tensor)
            and one.dtype == other.dtype
            and one.shape == other.shape
            and one.stride() == other.stride()
            and torch.equal(one.nan_to_num(7), other.nan_to_num(7))
        )
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(is_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(is_equal(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other) or (one != one and other != other)


def round_trip(state: Any, path: Path) -> Any:
    tensors, tree = model_state.pack(state)
    file_io.write_tensors(path, tensors, tree)
    return model_state.unpack(file_io.read_tensors(path))


plain = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
    lambda inner: (
        some.lists(inner)
        | some.lists(inner).map(tuple)
        | some.dictionaries(some.text() | some.integers() | some.tuples(some.integers(), some.text()), inner)
    ),
    max_leaves=20,
)


@given(plain)
@settings(max_examples=200)
def test_plain_values_round_trip_through_strict_json(state: Any) -> None:
    tensors, tree = model_state.pack(state)
    text = json.dumps(tree, allow_nan=False)
    assert not tensors
    assert is_equal(model_state.unpack((tensors, json.loads(text))), state)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_restored_optimizers_continue_bit_identically(name: str, memory: torch.memory_format, tmp_path: Path) -> None:
    """Also with weights in another memory format, on which fused kernels rely."""

    def begin() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).to(memory_format=memory)
        return model, optimizer(name, model, 0.05, 0.9, 1e-3)

    def step(model: nn.Module, rule: torch.optim.Optimizer, number: int) -> None:
        torch.manual_seed(number)
        x = torch.randn(2, 3, 8, 8).contiguous(memory_format=memory)
        rule.zero_grad()
        model(x).square().mean().backward()
        rule.step()

    model, rule = begin()
    for number in range(3):
        step(model, rule, number)
    state = {"model": model.state_dict(), "rule": rule.state_dict()}
    back = round_trip(state, tmp_path / "state.safetensors")
    assert is_equal(back["rule"], rule.state_dict())
    other, again = begin()
    other.load_state_dict(back["model"])
    again.load_state_dict(back["rule"])
    for number in range(3, 6):
        step(model, rule, number)
        step(other, again, number)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_tensors_of_all_types_round_trip(tmp_path: Path) -> None:
    base = torch.arange(24.0)
    state = {
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "empty": torch.zeros(0, 3),
        "flag": torch.tensor([True]),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "ids": torch.tensor([1 << 62]),
        "view": base[4:9],
        "last": torch.arange(48.0).view(2, 3, 2, 4).contiguous(memory_format=torch.channels_last),
        "turned": base.view(4, 6).t(),
        "inf": torch.tensor([math.inf, -math.inf, math.nan]),
    }
    assert is_equal(round_trip(state, tmp_path / "x.safetensors"), state)
    strided = round_trip({"every": base[::3]}, tmp_path / "y.safetensors")["every"]
    assert torch.equal(strided, base[::3])


def test_tied_tensors_are_written_once_and_overlapping_ones_separately(tmp_path: Path) -> None:
    weight = torch.randn(50, 40)
    path = tmp_path / "tied.safetensors"
    file_io.write_tensors(path, {"a": weight, "b": weight, "part": weight[:10]})
    with safe_open(path, framework="pt") as file:
        assert sorted(file.keys()) == ["a", "part"]
    back, _ = file_io.read_tensors(path)
    assert torch.equal(back["a"], weight)
    assert back["b"] is back["a"]
    assert torch.equal(back["part"], weight[:10])
    back["part"].zero_()
    assert torch.equal(back["a"], weight)


def test_unsupported_types_are_errors() -> None:
    with pytest.raises(TypeError, match="object cannot be saved"):
        model_state.pack({"x": object()})


@pytest.mark.parametrize(
    "tree",
    [
        {"tensor": "t9"},
        {"tuple": 3},
        {"dict": [[1]]},
        {"dict": [[{"dict": []}, 1]]},
        {"float": "x"},
        {"what": 1},
        {},
        {"tensor": "t0", "float": "1"},
        {"permuted": ["t0", [9]]},
        {"permuted": 3},
        {"tensor": []},
    ],
)
def test_an_invalid_tree_is_a_data_error(tree: Any) -> None:
    with pytest.raises(DataError, match="A checkpoint is damaged"):
        model_state.unpack(({"t0": torch.zeros(2, 2)}, tree))


@pytest.mark.parametrize(
    "text", ["NaN", "[Infinity]", "1e999", "", "{", "[1,]", '{"a": 1} x', "[" * 5000, "\xff", "1" * 9000]
)
def test_json_is_strict(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"x\.json cannot be read"):
        file_io.read_json(tmp_path / "x.json")


def test_json_round_trips_names_that_are_not_utf8(tmp_path: Path) -> None:
    """File names may hold invalid UTF-8, which Python represents by surrogates."""
    names = ["häuser", "caf\udce9"]
    file_io.write_json(tmp_path / "x.json", names)
    assert file_io.read_json(tmp_path / "x.json") == names
    file_io.write_json(tmp_path / "y.json", names[:1])
    assert "häuser" in (tmp_path / "y.json").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="not JSON compliant"):
        file_io.write_json(tmp_path / "z.json", [math.nan])
    assert not (tmp_path / "z.json").exists()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    file_io.write_bytes(path, b"old")

    def fail(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(file_io.os, name, fail)
            with pytest.raises(EnvironmentProblem, match=r"No space left on device \(3 bytes\)"):
                file_io.write_bytes(path, b"new")
        assert path.read_bytes() == b"old"
        assert [p.name for p in tmp_path.iterdir()] == ["x"]
    with monkeypatch.context() as patch:
        patch.setattr(file_io.os, "replace", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            file_io.write_bytes(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_write_reaches_the_disk_in_the_order_file_rename_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of a renamed file is an entry of its folder: it is lost in a power failure until the folder is flushed.

    Source: Linux manual, fsync(2).
    """
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def flushed(handle: int) -> None:
        (name,) = (p.name for p in (tmp_path, *tmp_path.iterdir()) if os.path.sameopenfile(handle, _opened(p)))
        calls.append("folder" if name == tmp_path.name else f"{os.fstat(handle).st_size} bytes")
        fsync(handle)

    def _opened(path: Path) -> int:
        handles.append(os.open(path, os.O_RDONLY))
        return handles[-1]

    def replaced(source: Any, target: Any, **options: Any) -> None:
        calls.append(f"rename to {target}")
        replace(source, target, **options)

    handles: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", replaced)
    file_io.write_bytes(tmp_path / "x", b"content")
    for handle in handles:
        os.close(handle)
    assert calls == ["7 bytes", "rename to x", "folder"]


def test_a_failed_append_restores_the_length(tmp_path: Path) -> None:
    path = tmp_path / "h"
    file_io.append_bytes(path, b"one\n", 0)
    file_io.append_bytes(path, b"two\n", 4)
    assert path.read_bytes() == b"one\ntwo\n"
    file_io.truncate(path, 4)
    assert path.read_bytes() == b"one\n"


def test_an_append_that_does_not_fit_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """A limit of the system on the size of files writes two of the ten bytes."""
    path = tmp_path / "h"
    file_io.append_bytes(path, b"one\n", 0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (6, limits[1]))
        with pytest.raises(EnvironmentProblem, match=r"Cannot write .*h: File too large \(10 bytes\)"):
            file_io.append_bytes(path, b"two\nthree\n", 4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"one\n"


@pytest.mark.parametrize("kind", ["link", "second name", "pipe"])
def test_only_a_file_of_one_name_is_written_in_place(kind: str, tmp_path: Path) -> None:
    path, other = tmp_path / "h", tmp_path / "other"
    other.write_bytes(b"of somebody else\n")
    if kind == "link":
        path.symlink_to(other)
    elif kind == "second name":
        path.hardlink_to(other)
    else:
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    for write in (
        lambda: file_io.append_bytes(path, b"more", 0),
        lambda: file_io.truncate(path, 0),
        lambda: file_io.sync(path, 0),
    ):
        with pytest.raises(EnvironmentProblem, match="it is a link, a pipe, or a file with a second name") as caught:
            write()
        assert caught.value.remedy == "Replace it with a copy of the file."
    if kind == "pipe":
        assert os.read(reader, 9) == b""
        os.close(reader)
    assert other.read_bytes() == b"of somebody else\n"


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "7 bytes are needed and"),
        (errno.EDQUOT, "7 bytes are needed and"),
        (errno.EIO, "The device failed while 7 bytes were written"),
        (errno.EACCES, "Give another folder with --out, or correct its permissions"),
    ],
)
def test_a_failed_flush_of_the_folder_is_an_error_with_its_remedy(
    number: int, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def failing(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(EnvironmentProblem, match=os.strerror(number)) as caught:
        file_io.write_bytes(tmp_path / "x", b"content")
    assert remedy in caught.value.remedy


def test_a_file_system_without_flushes_of_folders_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def unsupported(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", unsupported)
    file_io.write_bytes(tmp_path / "x", b"content")
    assert (tmp_path / "x").read_bytes() == b"content"


def test_a_missing_json_file_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        file_io.read_json(tmp_path / "run.json")
    assert caught.value.cause == f"{tmp_path / 'run.json'} is missing"


def test_folders_are_made_with_their_parents(tmp_path: Path) -> None:
    for _ in range(2):
        file_io.make_folder(tmp_path / "a" / "b")
    assert file_io.make_new_folder(tmp_path / "c" / "d")
    assert not file_io.make_new_folder(tmp_path / "c" / "d")
    assert file_io.make_new_folder(tmp_path / "c" / "e" / "h")
    file_io.write_bytes(tmp_path / "f" / "g" / "x", b"1")
    for _ in range(2):
        file_io.remove(tmp_path / "f" / "g" / "x")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "b", "c", "d", "e", "f", "g", "h"]


@pytest.mark.parametrize(
    "content",
    [b"", b"x" * 7, b"\xff" * 100, (1 << 60).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"[]"],
)
def test_an_invalid_safetensors_file_is_a_data_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match="not a valid Safetensors file"):
        file_io.read_tensors(tmp_path / "x")


@pytest.mark.parametrize("header", ["[]", "3", '{"same": 3}', '{"same": {"b": "z"}}', '{"same": {"b": []}}', "NaN"])
def test_an_invalid_header_is_a_data_error(header: str, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "x", {"snellen": header})
    with pytest.raises(DataError, match="not a valid Safetensors file"):
        file_io.read_tensors(tmp_path / "x")


def test_weights_of_another_model_are_named() -> None:
    model = nn.Linear(3, 2)
    good = model.state_dict()
    for change, message in [
        ({"weight": torch.zeros(2, 4)}, r"\(2, 4\), not torch.float32 \(2, 3\)"),
        ({"weight": torch.zeros(2, 3).double()}, "torch.float64"),
        ({"more": torch.zeros(1)}, "'more' is not one of its tensors"),
    ]:
        with pytest.raises(DataError, match=message):
            model_state.load_weights(model, {**good, **change}, "The weights")
    with pytest.raises(DataError, match="bias is missing"):
        model_state.load_weights(model, {"weight": good["weight"]}, "The weights")


class StoredSamples(nn.Module):
    """Any number of samples and targets, as buffers of variable length."""

    variable_length = ("x", "y")

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("x", torch.zeros(0, 2))
        self.register_buffer("y", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("k", torch.zeros(3))


GROWN = {"0.x": torch.ones(5, 2), "0.y": torch.arange(5), "0.k": torch.ones(3)}


def test_tensors_of_variable_length_take_the_length_of_the_file() -> None:
    model = nn.Sequential(StoredSamples())
    model_state.load_weights(model, GROWN, "The weights")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, GROWN[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.x": torch.ones(5, 3)}, r"0.x is torch.float32 \(5, 3\), not torch.float32 \(5, 2\)"),
        ({"0.x": torch.ones(5, 2, 1)}, r"0.x is torch.float32 \(5, 2, 1\)"),
        ({"0.x": torch.ones(5)}, r"0.x is torch.float32 \(5,\)"),
        ({"0.x": torch.tensor(1.0)}, r"0.x is torch.float32 \(\), not torch.float32 \(0, 2\)"),
        ({"0.x": torch.ones(5, 2).double()}, "0.x is torch.float64"),
        ({"0.y": torch.arange(4)}, r"0.y is torch.int64 \(4,\), not torch.int64 \(5,\)"),
        ({"0.k": torch.ones(4)}, r"0.k is torch.float32 \(4,\), not torch.float32 \(3,\)"),
    ],
)
def test_tensors_of_variable_length_agree_in_length_type_and_other_dimensions(
    change: dict[str, torch.Tensor], message: str
) -> None:
    model = nn.Sequential(StoredSamples())
    with pytest.raises(DataError, match=message):
        model_state.load_weights(model, {**GROWN, **change}, "The weights")
    with torch.device("meta"):
        meta_model = nn.Sequential(StoredSamples())
    with pytest.raises(DataError, match=message):
        model_state.check_weights(meta_model, {**GROWN, **change}, "The weights")
    with pytest.raises(DataError, match=r"0\.y is missing"):
        model_state.load_weights(model, {name: t for name, t in GROWN.items() if name != "0.y"}, "The weights")


def test_reading_a_pipe_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(DataError, match="not a regular file"):
        file_io.read_json(tmp_path / "run.json")
    with pytest.raises(DataError, match="not a regular file"):
        file_io.sha256(tmp_path / "run.json")

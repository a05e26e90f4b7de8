"""Safe pickle reader: nothing is executed, and damaged files raise DataError."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from snellen.core.errors import DataError
from snellen.data.formats.safe_pickle import read_pickle


def example(seed: int = 0) -> dict[object, object]:
    rng = np.random.default_rng(seed)
    return {
        "data": rng.integers(0, 256, (5, 7), dtype=np.uint8),
        "labels": [1, 2, 3, 70_000, -5],
        b"bytes": b"\0\xff",
        "numbers": (1.5, None, True, 2**70),
        "big": rng.normal(size=(3, 2)).astype(">f8"),
        "nested": {"a": [[], {}]},
        "order": np.asfortranarray(rng.integers(0, 9, (3, 4))),
    }


class Harmful:
    """An object that runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch '{self.mark}'",)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_it_reads_what_pickle_reads(tmp_path, protocol):
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps(example(), protocol=protocol))
    expected = {str(key, "utf-8") if isinstance(key, bytes) else key: value for key, value in example().items()}
    result = read_pickle(path)
    assert list(result) == list(expected)
    for name, value in expected.items():
        if isinstance(value, np.ndarray):
            assert result[name].dtype == value.dtype
            assert np.array_equal(result[name], value)
        else:
            assert result[name] == value


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_nothing_in_a_pickle_is_executed(tmp_path, protocol):
    mark, path = tmp_path / "harmed", tmp_path / "batch"
    path.write_bytes(pickle.dumps({"data": Harmful(mark)}, protocol=protocol))
    with pytest.raises(DataError) as caught:
        read_pickle(path)
    assert "would execute code" in caught.value.cause
    assert str(path) in caught.value.cause
    assert not mark.exists()
    pickle.loads(path.read_bytes())  # pickle itself does run the command
    assert mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"(.",
        b"N.",
        b"]q\0.",
        b"cbuiltins\neval\n.",
        b"\x80\x02}q\0(U\x01a",
        b"}(]K\x01u.",
        b"h\x07.",
        b"R.",
        b"b.",
        b"}(K\x01u.",
        b"\x80\x02cnumpy\nndarray\n)R.",
        b"I" + b"9" * 5000 + b"\n.",
        b"cnumpy\ndtype\n(U\x02O8tR.",
        b"}(" + b"(" * 100_000 + b"t" * 100_000 + b"K\x01u.",
    ],
)
def test_anything_but_a_dictionary_of_plain_data_is_a_data_error(tmp_path, content):
    path = tmp_path / "batch"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_pickle(path)
    assert str(path) in caught.value.cause
    assert caught.value.remedy


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_mutated_pickles_are_read_or_raise_data_errors(tmp_path, protocol):
    pickled = pickle.dumps(example(), protocol=protocol)
    path = tmp_path / "batch"
    rng = np.random.default_rng(protocol)
    refused = 0
    for _ in range(400):
        content = bytearray(pickled)
        for _ in range(int(rng.integers(1, 4))):
            content[int(rng.integers(len(content)))] = int(rng.integers(256))
        path.write_bytes(content[: int(rng.integers(1, len(content)))] if rng.random() < 0.2 else content)
        try:
            read_pickle(path)
        except DataError:
            refused += 1
    assert 0 < refused < 400

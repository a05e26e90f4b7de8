"""Decoded inputs are kept once, whole or not at all, and within their allowance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from image_makers import class_folders, save, scene

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Preprocessing
from snellen.data import cache
from snellen.data.cache import Decoded, allowance, decoded, resident
from snellen.data.decode import image_decoder
from snellen.data.formats import OpenOptions
from snellen.data.formats.image_folder import open_raw
from snellen.data.source import BadSamples, Source

SMALL = Preprocessing(size=(8, 10))


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    monkeypatch.setenv("SNELLEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_CHUNK", 3)
    return open_raw(class_folders(tmp_path / "data", {"a": 4, "b": 4}), OpenOptions()).source


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "decoded").glob("*"))


def test_what_fits_is_resident(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = torch.tensor([6, 1, 2, 3, 7])
    values = resident(source, ids, SMALL)
    assert values is not None
    assert torch.equal(values, source.read(ids.numpy(), SMALL))
    assert resident(source, ids, SMALL) is values, "what was decoded serves the next model"
    monkeypatch.setattr(cache, "memory", lambda: 4 * 5 * 3 * 80 - 1)
    assert resident(source, torch.arange(5), SMALL) is None


def test_a_file_serves_the_same_inputs_without_decoding(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    file = decoded(source, SMALL, announce=told.append)
    ids = np.array([7, 0, 3])
    expected = source.read(ids, SMALL)
    other = source.read(ids, Preprocessing())
    (path,) = kept(tmp_path)
    assert str(path) in told[0]
    assert "MB" in told[0]
    assert torch.equal(file.read(ids, Preprocessing()), other)
    monkeypatch.setattr(image_decoder, "decode", lambda *_: pytest.fail("decoded again"))
    assert torch.equal(file.read(ids, SMALL), expected)


def test_the_file_is_used_again_until_a_picture_changes(source: Source, tmp_path: Path) -> None:
    told: list[str] = []
    decoded(source, SMALL, announce=told.append)
    decoded(source, SMALL, announce=told.append)
    assert len(told) == 1
    save(tmp_path / "data" / "a" / "000.png", scene(99))
    changed = open_raw(tmp_path / "data", OpenOptions()).source
    assert torch.equal(decoded(changed, SMALL).read(np.array([0]), SMALL), changed.read(np.array([0]), SMALL))
    assert len(kept(tmp_path)) == 2


@pytest.mark.parametrize("how", ["off", "ram", "100"])
def test_no_file_where_none_is_allowed(source: Source, tmp_path: Path, how: str) -> None:
    assert decoded(source, SMALL, how) is source
    assert not kept(tmp_path)


def test_old_files_make_room_for_new_ones(source: Source, tmp_path: Path) -> None:
    decoded(source, SMALL, "2kB")
    (old,) = kept(tmp_path)
    assert isinstance(decoded(source, Preprocessing(size=(8, 9)), "2kB"), Decoded)
    (new,) = kept(tmp_path)
    assert old != new


def test_a_file_that_failed_half_way_is_never_used(source: Source, tmp_path: Path) -> None:
    (tmp_path / "data" / "b" / "001.png").write_bytes(b"")
    (tmp_path / "data" / "a" / "001.png").write_bytes(b"")
    with pytest.raises(BadSamples) as caught:
        decoded(source, SMALL)
    assert set(caught.value.problems) == {1, 5}
    assert list((tmp_path / "cache" / "decoded").iterdir()) == []


def test_where_nothing_can_be_written_batches_are_decoded(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SNELLEN_CACHE", str(tmp_path / "file"))
    told: list[str] = []
    assert decoded(source, SMALL, announce=told.append) is source
    assert "no decoded inputs are kept" in told[-1]


def test_several_sizes_are_named(source: Source, tmp_path: Path) -> None:
    for k in range(4):
        save(tmp_path / "data" / "b" / f"{k:03d}.png", scene(k, (20, 20)))
    with pytest.raises(DataError, match=r"a/000.png.*b/000.png"):
        resident(source, torch.tensor([0, 1, 2, 4, 5, 6]), Preprocessing())


def test_sizes_are_read_as_written() -> None:
    assert [allowance(text) for text in ("off", "ram", "auto", "100", "2kB", "1.5G", "3 TB")] == [
        0,
        0,
        None,
        100,
        2000,
        1_500_000_000,
        3_000_000_000_000,
    ]
    with pytest.raises(UsageError, match="lots"):
        allowance("lots")

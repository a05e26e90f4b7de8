"""Cache of decoded inputs: memory, files, limits, failures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from image_makers import class_folders, save, scene

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Preprocessing
from snellen.data import cache
from snellen.data.cache import DiskCachedSource, decode_to_disk, load_into_memory, parse_cache_limit
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


def cache_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "decoded").glob("*"))


def test_inputs_that_fit_are_decoded_into_memory(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = torch.tensor([6, 1, 2, 3, 7])
    values = load_into_memory(source, ids, SMALL)
    assert values is not None
    assert torch.equal(values, source.read(ids.numpy(), SMALL))
    assert load_into_memory(source, ids, SMALL) is values, "decoded inputs are shared between models"
    monkeypatch.setattr(cache, "available_memory", lambda: 4 * 5 * 3 * 80 - 1)
    assert load_into_memory(source, torch.arange(5), SMALL) is None


def test_a_cache_file_returns_equal_inputs_without_decoding(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    file = decode_to_disk(source, SMALL, announce=lines.append)
    ids = np.array([7, 0, 3])
    expected = source.read(ids, SMALL)
    other = source.read(ids, Preprocessing())
    (path,) = cache_files(tmp_path)
    assert str(path) in lines[0]
    assert "MB" in lines[0]
    assert torch.equal(file.read(ids, Preprocessing()), other)
    monkeypatch.setattr(image_decoder, "decode", lambda *_: pytest.fail("decoded again"))
    assert torch.equal(file.read(ids, SMALL), expected)


def test_a_cache_file_is_reused_until_an_image_changes(source: Source, tmp_path: Path) -> None:
    lines: list[str] = []
    decode_to_disk(source, SMALL, announce=lines.append)
    decode_to_disk(source, SMALL, announce=lines.append)
    assert len(lines) == 1
    save(tmp_path / "data" / "a" / "000.png", scene(99))
    changed = open_raw(tmp_path / "data", OpenOptions()).source
    assert torch.equal(decode_to_disk(changed, SMALL).read(np.array([0]), SMALL), changed.read(np.array([0]), SMALL))
    assert len(cache_files(tmp_path)) == 2


@pytest.mark.parametrize("limit", ["off", "ram", "100"])
def test_no_file_is_written_if_none_is_allowed(source: Source, tmp_path: Path, limit: str) -> None:
    assert decode_to_disk(source, SMALL, limit) is source
    assert not cache_files(tmp_path)


def test_old_files_are_removed_for_new_ones(source: Source, tmp_path: Path) -> None:
    decode_to_disk(source, SMALL, "2kB")
    (old,) = cache_files(tmp_path)
    assert isinstance(decode_to_disk(source, Preprocessing(size=(8, 9)), "2kB"), DiskCachedSource)
    (new,) = cache_files(tmp_path)
    assert old != new


def test_a_partial_file_is_never_used(source: Source, tmp_path: Path) -> None:
    (tmp_path / "data" / "b" / "001.png").write_bytes(b"")
    (tmp_path / "data" / "a" / "001.png").write_bytes(b"")
    with pytest.raises(BadSamples) as caught:
        decode_to_disk(source, SMALL)
    assert set(caught.value.problems) == {1, 5}
    assert list((tmp_path / "cache" / "decoded").iterdir()) == []


def test_without_write_access_batches_are_decoded(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SNELLEN_CACHE", str(tmp_path / "file"))
    lines: list[str] = []
    assert decode_to_disk(source, SMALL, announce=lines.append) is source
    assert "No decoded inputs are cached" in lines[-1]


def test_several_sizes_are_an_error_with_names(source: Source, tmp_path: Path) -> None:
    for k in range(4):
        save(tmp_path / "data" / "b" / f"{k:03d}.png", scene(k, (20, 20)))
    with pytest.raises(DataError, match=r"a/000.png.*b/000.png"):
        load_into_memory(source, torch.tensor([0, 1, 2, 4, 5, 6]), Preprocessing())


def test_cache_limits_are_parsed() -> None:
    assert [parse_cache_limit(text) for text in ("off", "ram", "auto", "100", "2kB", "1.5G", "3 TB")] == [
        0,
        0,
        None,
        100,
        2000,
        1_500_000_000,
        3_000_000_000_000,
    ]
    with pytest.raises(UsageError, match="lots"):
        parse_cache_limit("lots")

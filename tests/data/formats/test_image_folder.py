"""Image folders: classes, splits, groups, bad files, and a complete account of all files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from image_makers import class_folders, save, scene, write_bad_files

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Classes, Preprocessing
from snellen.data.dataset import RawDataset
from snellen.data.decode.header import Header, UnusableFile
from snellen.data.decode.image_files import ImageFiles, open_named_images
from snellen.data.file_index import FileIndex
from snellen.data.formats import OpenOptions
from snellen.data.formats.groups import group_ids
from snellen.data.formats.image_folder import FORMAT, open_raw
from snellen.data.open_dataset import dataset
from snellen.data.source import BadSamples

OPTIONS = OpenOptions()


def adds_up(files: object) -> bool:
    assert isinstance(files, dict)
    return files["found"] == files["used"] + files["set aside"] + files["no data"]


def class_names(raw: RawDataset) -> tuple[str, ...]:
    assert isinstance(raw.target, Classes)
    return raw.target.names


def test_one_folder_for_each_class(tmp_path: Path) -> None:
    raw = open_raw(class_folders(tmp_path, {"dog": 3, "cat": 2}), OPTIONS)
    assert class_names(raw) == ("cat", "dog")
    assert raw.truth is not None
    assert raw.truth.tolist() == [0, 0, 1, 1, 1]
    assert raw.given_splits is None
    assert raw.inputs["image"].shape == (3, 40, 48)
    assert "5 images in 2 classes" in raw.recognised_as
    assert raw.files == {"found": 5, "used": 5, "set aside": 0, "no data": 0}
    x = raw.source.read(np.array([4, 0]), Preprocessing())
    assert np.array_equal(x[0].permute(1, 2, 0).numpy(), scene(3))


def test_given_splits_and_nested_classes(tmp_path: Path) -> None:
    for split in ("Train", "valid", "test"):
        class_folders(tmp_path / split, {"cat/siamese": 2, "cat/persian": 1, "dog": 1}, seed=len(split) * 100)
    raw = open_raw(tmp_path, OPTIONS)
    assert class_names(raw) == ("cat/persian", "cat/siamese", "dog")
    assert raw.given_splits is not None
    assert np.bincount(raw.given_splits).tolist() == [4, 4, 4]


def test_every_file_is_used_counted_as_no_data_or_reported(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 2, "b": 2})
    for name in (".DS_Store", "a/Thumbs.db", "desktop.ini", "README", "a/000.xml", "labels.txt", ".git/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "b" / "clip.mp4").write_bytes(b"x")
    (tmp_path / "again").symlink_to(tmp_path)
    raw = open_raw(tmp_path, OPTIONS)
    assert raw.files == {"found": 13, "used": 4, "set aside": 2, "no data": 7}
    assert {entry.path for entry in raw.skipped} == {"b/clip.mp4", "again"}
    assert all(entry.reason and entry.remedy for entry in raw.skipped)
    (unused,) = (finding for finding in raw.findings if finding.kind == "stray")
    assert unused.count == 2


def test_links_that_lead_out_of_the_folder_are_not_followed_and_named(tmp_path: Path) -> None:
    class_folders(tmp_path / "data", {"a": 2, "b": 2})
    class_folders(tmp_path / "elsewhere", {"c": 2}, seed=50)
    (tmp_path / "data" / "c").symlink_to(tmp_path / "elsewhere" / "c")
    (tmp_path / "data" / "a" / "x.png").symlink_to(tmp_path / "elsewhere" / "c" / "000.png")
    (tmp_path / "data" / "b" / "x.png").symlink_to(tmp_path / "data" / "a" / "000.png")  # inside: read
    raw = open_raw(tmp_path / "data", OPTIONS)
    assert class_names(raw) == ("a", "b")
    assert len(raw.source) == 5
    assert {entry.path: entry.reason for entry in raw.skipped} == {
        "c": "is a link to a folder outside this folder",
        "a/x.png": "is a link to a file outside this folder",
    }
    assert [f.where for f in raw.findings if f.severity == "error"] == [("c", "a/x.png")]
    assert adds_up(raw.files)


def test_a_folder_of_links_only_says_that_they_are_not_followed(tmp_path: Path) -> None:
    class_folders(tmp_path / "elsewhere", {"a": 2, "b": 2})
    (tmp_path / "data").mkdir()
    for name in "ab":
        (tmp_path / "data" / name).symlink_to(tmp_path / "elsewhere" / name)
    with pytest.raises(DataError, match=r"holds no image .*; [ab] is a link to a folder outside this folder"):
        open_raw(tmp_path / "data", OPTIONS)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")  # the folder itself may be a link
    assert class_names(open_raw(tmp_path / "link", OPTIONS)) == ("a", "b")


def test_a_folder_named_like_an_image_is_a_class(tmp_path: Path) -> None:
    raw = open_raw(class_folders(tmp_path, {"x.jpg": 1, "y": 1}), OPTIONS)
    assert class_names(raw) == ("x.jpg", "y")


def test_an_empty_class_is_reported(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "c").mkdir()
    raw = open_raw(tmp_path, OPTIONS)
    assert [(f.kind, f.where) for f in raw.findings] == [("empty-class", ("c",))]


def test_a_class_without_training_images_is_reported(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"a": 1, "b": 1})
    class_folders(tmp_path / "test", {"a": 1, "c": 1}, seed=9)
    raw = open_raw(tmp_path, OPTIONS)
    assert ("empty-class", ("c",)) in [(f.kind, f.where) for f in raw.findings]


@pytest.mark.parametrize(
    ("files", "cause"),
    [
        ({}, "holds no image"),
        ({"readme.txt": 0}, "holds no image"),
        ({"a.png": 1, "b.png": 2}, "outside class folders"),
        ({"train/a.png": 1, "test/b.png": 2}, "outside class folders"),
        ({"only/a.png": 1, "only/b.png": 2}, "only one class"),
        ({"train/c/a.png": 1, "cats/b.png": 2}, "beside"),
        ({"test/c/a.png": 1, "test/d/b.png": 2}, "no train"),
        ({"val/c/a.png": 1, "valid/d/b.png": 2, "train/c/x.png": 3}, "several folders"),
    ],
)
def test_folders_without_classes_are_errors(tmp_path: Path, files: dict[str, int], cause: str) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for name, seed in files.items():
        if name.endswith(".png"):
            save(root / name, scene(seed))
        else:
            (root / name).write_text("x")
    with pytest.raises(DataError, match=cause) as caught:
        open_raw(root, OPTIONS)
    assert str(root) in caught.value.cause
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("names", "splits"),
    [(("a.png", "b.png"), None), (("cat/a.png", "b.png"), None), (("train/a.png", "test/c/b.png"), [2, 0])],
)
def test_images_without_a_target_may_lie_anywhere(tmp_path: Path, names: tuple[str, ...], splits: object) -> None:
    for seed, name in enumerate(names):
        save(tmp_path / name, scene(seed))
    raw = open_raw(tmp_path, OpenOptions(target=("none",)))
    assert (raw.target, raw.truth, len(raw.source)) == (None, None, 2)
    assert (None if raw.given_splits is None else raw.given_splits.tolist()) == splits
    assert "2 images without a target" in raw.recognised_as
    assert adds_up(raw.files)
    assert not raw.findings


def test_recognises_images_and_empty_folders_only(tmp_path: Path) -> None:
    assert FORMAT.recognises(tmp_path)
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    assert not FORMAT.recognises(tmp_path)
    save(tmp_path / "deep" / "er" / "a.PNG", scene(1))
    assert FORMAT.recognises(tmp_path)
    assert not FORMAT.recognises(tmp_path / "table.csv")


def test_unicode_forms_of_one_name_are_one_class(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"Caf\u00e9": 2, "b": 2})
    class_folders(tmp_path / "test", {"Cafe\u0301": 1, "b": 1}, seed=9)
    assert class_names(open_raw(tmp_path, OPTIONS)) == ("Caf\u00e9", "b")


def test_a_name_that_is_not_utf8_is_skipped(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 1, "b": 1})
    save(tmp_path / "a" / "plain.png", scene(77)).rename(os.fsdecode(os.fsencode(tmp_path / "a") + b"/\xff.png"))
    raw = open_raw(tmp_path, OPTIONS)
    assert [(e.path, e.reason) for e in raw.skipped] == [("a/\\xff.png", "has a name that is not UTF-8")]
    assert adds_up(raw.files)


def test_groups_follow_the_pattern_of_names() -> None:
    paths = ["a/s1_01.png", "b/s1_02.png", "a/s2_01.png", "a/s2_x_9.png"]
    assert group_ids(paths, "{slide}_*").tolist() == [0, 0, 1, 1]
    assert group_ids(paths, "{label}/{slide}_*").tolist() == [0, 1, 2, 2]
    with pytest.raises(UsageError, match="names no field"):
        group_ids(paths, "*_01.png")
    with pytest.raises(DataError, match=r"2 of 4 names.*s2_01"):
        group_ids(paths, "s1_{number}.png")


def test_groups_and_copies_stay_in_one_split(tmp_path: Path) -> None:
    for label in ("a", "b"):
        for slide in range(12):
            for tile in range(3):
                save(tmp_path / label / f"{label}{slide}_{tile}.png", scene(10 * slide + tile + 500 * (label == "b")))
    data = dataset(tmp_path, options=OpenOptions(group="{slide}_*"))
    for split, ids in data.splits.items():
        slides = {data.name(int(i)).rpartition("_")[0] for i in ids}
        others = {data.name(int(i)).rpartition("_")[0] for s, o in data.splits.items() if s != split for i in o}
        assert slides
        assert not slides & others


def test_bad_files_are_listed_all_at_once(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 2, "b": 2})
    words = write_bad_files(tmp_path / "a")
    (tmp_path / "a" / "gone.png").unlink()  # a dangling link is skipped before it becomes a sample
    source = open_raw(tmp_path, OPTIONS).source
    assert isinstance(source, ImageFiles)
    with pytest.raises(BadSamples) as caught:
        source.read(np.arange(len(source)), Preprocessing(size=(8, 8)))
    assert {source.name(id).rpartition("/")[2] for id in caught.value.problems} == set(words) - {"gone.png"}


def test_images_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png", scene(1, (20, 30)))
    save(tmp_path / "b" / "2.png", scene(2, (21, 30)))
    raw = open_raw(tmp_path, OPTIONS)
    assert raw.inputs["image"].shape == (3, 30, None)
    with pytest.raises(DataError, match=r"a/1.png 20x30 .*b/2.png 21x30"):
        raw.source.read(np.array([0, 1]), Preprocessing())
    assert raw.source.read(np.array([0, 1]), Preprocessing(size=(8, 9))).shape == (2, 3, 8, 9)


def test_mixed_grey_and_colour_is_read_as_colour_at_the_largest_depth(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png", scene(1))
    save(tmp_path / "b" / "2.png", scene(2, channels=1).astype(np.uint16))
    raw = open_raw(tmp_path, OPTIONS)
    assert raw.inputs["image"].shape == (3, 40, 48)
    assert raw.inputs["image"].dtype == "uint16"
    x = raw.source.read(np.array([0, 1]), Preprocessing())
    assert x.dtype == torch.uint16
    assert torch.equal(x[1, 0], x[1, 2])


def test_an_index_is_kept_outside_and_follows_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from snellen.data.decode import image_decoder

    root = class_folders(tmp_path / "data", {"a": 2, "b": 2})
    before = sorted(root.rglob("*"))
    reads: list[str] = []
    header = image_decoder.header
    monkeypatch.setattr(image_decoder, "header", lambda path: reads.append(path.name) or header(path))
    open_raw(root, OPTIONS)
    assert len(reads) == 4
    open_raw(root, OPTIONS)
    assert len(reads) == 4
    save(root / "a" / "000.png", scene(50, (60, 60)))
    assert open_raw(root, OPTIONS).inputs["image"].shape == (3, None, None)
    assert len(reads) == 5
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("state", ["unwritable", "damaged"])
def test_without_an_index_everything_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    root = class_folders(tmp_path / "data", {"a": 2, "b": 2})
    if state == "unwritable":
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("SNELLEN_CACHE", str(tmp_path / "file" / "cache"))
    else:
        monkeypatch.setenv("SNELLEN_CACHE", str(tmp_path / "cache"))
        open_raw(root, OPTIONS)
        (entry,) = (tmp_path / "cache" / "index").iterdir()
        entry.write_bytes(b"no database at all, but long enough to look like one" * 100)
    for _ in range(2):
        assert len(open_raw(root, OPTIONS).source) == 4


def test_named_images_keep_their_order_and_missing_ones_are_reported(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 2})
    source = open_named_images(tmp_path, ["a/001.png", "a/nowhere.png", "a/000.png"])
    assert [source.name(i) for i in range(3)] == ["a/001.png", "a/nowhere.png", "a/000.png"]
    assert torch.equal(source.read(np.array([2]), Preprocessing())[0], torch.from_numpy(scene(1)).permute(2, 0, 1))
    with pytest.raises(BadSamples, match=r"a/nowhere.png.*does not exist"):
        source.read(np.array([0, 1]), Preprocessing())


def _record_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose headers or contents are read from now on."""
    from snellen.data.check import duplicates
    from snellen.data.decode import image_decoder

    reads: list[str] = []
    header, digest = image_decoder.header, duplicates._digest
    monkeypatch.setattr(image_decoder, "header", lambda path: reads.append(path.name) or header(path))
    monkeypatch.setattr(duplicates, "_digest", lambda path, *more: reads.append(path.name) or digest(path, *more))
    return reads


def _copies(root: Path) -> list[tuple[str, ...]]:
    return [finding.where for finding in dataset(root).findings if finding.kind == "copies"]


def test_an_unchanged_folder_is_read_from_the_index_and_every_change_is_detected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = class_folders(tmp_path / "data", {"a": 3, "b": 3})
    shutil.copy(root / "a" / "000.png", root / "a" / "copy.png")
    first = dataset(root)
    reads = _record_reads(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(FileIndex, "lookup", lambda *a: pytest.fail("looked up each file"))
        patch.setattr(
            "snellen.data.check.duplicates.thumbnails", lambda source: (torch.zeros(len(source), 3, 16, 16), {})
        )
        again = dataset(root)
    assert (again.spec, again.findings, again.source.key()) == (first.spec, first.findings, first.source.key())
    assert reads == []
    save(root / "b" / "new.png", scene(70, (60, 60)))
    assert dataset(root).spec.input.shape == (3, None, None)
    assert set(reads) == {"new.png"}
    (root / "b" / "new.png").unlink()
    assert dataset(root).spec == first.spec
    (root / "a" / "copy.png").write_bytes((root / "a" / "001.png").read_bytes())
    assert _copies(root) == [("a/001.png = a/copy.png",)]
    (root / "a" / "copy.png").unlink()
    assert _copies(root) == []
    shutil.copy(root / "a" / "000.png", root / "b" / "copy.png")
    with pytest.raises(DataError, match="conflicting labels"):
        dataset(root)


def test_a_change_that_keeps_size_and_name_is_detected_by_its_time(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", {"a": 2, "b": 2}, suffix=".bmp")
    save(root / "a" / "2.bmp", scene(60))
    assert _copies(root) == []
    assert _copies(root) == []
    before = (root / "a" / "2.bmp").stat()
    (root / "a" / "2.bmp").write_bytes((root / "a" / "000.bmp").read_bytes())
    assert (root / "a" / "2.bmp").stat().st_size == before.st_size
    assert _copies(root) == [("a/000.bmp = a/2.bmp",)]


def test_unopened_files_are_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from snellen.data.decode import image_decoder

    root = class_folders(tmp_path / "data", {"a": 2, "b": 2})
    header = image_decoder.header

    def closed(path: Path) -> Header:
        if path.name == "000.png" and path.parent.name == "a":
            raise UnusableFile("unreadable", "has no read permission", "Fix its permissions.")
        return header(path)

    with monkeypatch.context() as patch:
        patch.setattr(image_decoder, "header", closed)
        for _ in range(2):
            with pytest.raises(DataError, match="has no read permission"):
                dataset(root)
    assert len(dataset(root).source) == 4


def test_the_index_stores_only_the_newest_lists(tmp_path: Path) -> None:
    index = FileIndex(tmp_path)
    for k in range(9):
        index.store_joint("header", str(k), bytes([k]))
    index.store_joint("exact", "0", b"other")
    assert [index.lookup_joint("header", str(k)) for k in range(9)] == [None] * 5 + [bytes([k]) for k in range(5, 9)]
    assert index.lookup_joint("exact", "0") == b"other"

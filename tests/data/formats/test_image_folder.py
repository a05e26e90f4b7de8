"""Image folders: what they are taken for, and that every file in them is accounted for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from image_makers import class_folders, nasty, save, scene

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Classes, Preprocessing
from snellen.data.dataset import RawDataset
from snellen.data.decode.header import Header, Unusable
from snellen.data.decode.image_files import ImageFiles, named_pictures
from snellen.data.file_index import Index
from snellen.data.formats import OpenOptions
from snellen.data.formats.image_folder import FORMAT, group_ids, open_raw
from snellen.data.open_dataset import dataset
from snellen.data.source import BadSamples

ASKED = OpenOptions()


def adds_up(files: object) -> bool:
    assert isinstance(files, dict)
    return files["found"] == files["used"] + files["set aside"] + files["no data"]


def class_names(draft: RawDataset) -> tuple[str, ...]:
    assert isinstance(draft.target, Classes)
    return draft.target.names


def test_a_folder_a_class(tmp_path: Path) -> None:
    draft = open_raw(class_folders(tmp_path, {"dog": 3, "cat": 2}), ASKED)
    assert class_names(draft) == ("cat", "dog")
    assert draft.truth is not None
    assert draft.truth.tolist() == [0, 0, 1, 1, 1]
    assert draft.given is None
    assert draft.inputs["image"].shape == (3, 40, 48)
    assert "5 pictures in 2 classes" in draft.recognised_as
    assert draft.files == {"found": 5, "used": 5, "set aside": 0, "no data": 0}
    x = draft.source.read(np.array([4, 0]), Preprocessing())
    assert np.array_equal(x[0].permute(1, 2, 0).numpy(), scene(3))


def test_given_splits_and_nested_classes(tmp_path: Path) -> None:
    for split in ("Train", "valid", "test"):
        class_folders(tmp_path / split, {"cat/siamese": 2, "cat/persian": 1, "dog": 1}, seed=len(split) * 100)
    draft = open_raw(tmp_path, ASKED)
    assert class_names(draft) == ("cat/persian", "cat/siamese", "dog")
    assert draft.given is not None
    assert np.bincount(draft.given).tolist() == [4, 4, 4]


def test_every_file_is_used_no_data_or_named(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 2, "b": 2})
    for name in (".DS_Store", "a/Thumbs.db", "desktop.ini", "README", "a/000.xml", "labels.txt", ".git/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "b" / "clip.mp4").write_bytes(b"x")
    (tmp_path / "again").symlink_to(tmp_path)
    draft = open_raw(tmp_path, ASKED)
    assert draft.files == {"found": 13, "used": 4, "set aside": 2, "no data": 7}
    assert {entry.path for entry in draft.aside} == {"b/clip.mp4", "again"}
    assert all(entry.reason and entry.remedy for entry in draft.aside)
    (stray,) = (finding for finding in draft.findings if finding.kind == "stray")
    assert stray.count == 2


def test_a_link_to_a_folder_elsewhere_is_followed_once(tmp_path: Path) -> None:
    class_folders(tmp_path / "data", {"a": 2})
    class_folders(tmp_path / "elsewhere", {"b": 2}, seed=50)
    (tmp_path / "data" / "b").symlink_to(tmp_path / "elsewhere" / "b")
    (tmp_path / "elsewhere" / "b" / "up").symlink_to(tmp_path / "data")
    draft = open_raw(tmp_path / "data", ASKED)
    assert class_names(draft) == ("a", "b")
    assert [entry.path for entry in draft.aside] == ["b/up"]
    assert adds_up(draft.files)


def test_a_folder_named_like_a_picture_is_a_class(tmp_path: Path) -> None:
    draft = open_raw(class_folders(tmp_path, {"x.jpg": 1, "y": 1}), ASKED)
    assert class_names(draft) == ("x.jpg", "y")


def test_an_empty_class_is_named(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "c").mkdir()
    draft = open_raw(tmp_path, ASKED)
    assert [(f.kind, f.where) for f in draft.findings] == [("empty-class", ("c",))]


def test_a_class_with_nothing_to_learn_from_is_named(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"a": 1, "b": 1})
    class_folders(tmp_path / "test", {"a": 1, "c": 1}, seed=9)
    draft = open_raw(tmp_path, ASKED)
    assert ("empty-class", ("c",)) in [(f.kind, f.where) for f in draft.findings]


@pytest.mark.parametrize(
    ("files", "cause"),
    [
        ({}, "holds no picture"),
        ({"readme.txt": 0}, "holds no picture"),
        ({"a.png": 1, "b.png": 2}, "in no class folder"),
        ({"train/a.png": 1, "test/b.png": 2}, "in no class folder"),
        ({"only/a.png": 1, "only/b.png": 2}, "one class only"),
        ({"train/c/a.png": 1, "cats/b.png": 2}, "beside"),
        ({"test/c/a.png": 1, "test/d/b.png": 2}, "no train"),
        ({"val/c/a.png": 1, "valid/d/b.png": 2, "train/c/x.png": 3}, "several folders"),
    ],
)
def test_folders_that_make_no_task_say_so(tmp_path: Path, files: dict[str, int], cause: str) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for name, seed in files.items():
        if name.endswith(".png"):
            save(root / name, scene(seed))
        else:
            (root / name).write_text("x")
    with pytest.raises(DataError, match=cause) as caught:
        open_raw(root, ASKED)
    assert str(root) in caught.value.cause
    assert caught.value.remedy


def test_recognises_pictures_and_empty_folders_only(tmp_path: Path) -> None:
    assert FORMAT.recognises(tmp_path)
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    assert not FORMAT.recognises(tmp_path)
    save(tmp_path / "deep" / "er" / "a.PNG", scene(1))
    assert FORMAT.recognises(tmp_path)
    assert not FORMAT.recognises(tmp_path / "table.csv")


def test_unicode_forms_of_one_name_are_one_class(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"Caf\u00e9": 2, "b": 2})
    class_folders(tmp_path / "test", {"Cafe\u0301": 1, "b": 1}, seed=9)
    assert class_names(open_raw(tmp_path, ASKED)) == ("Caf\u00e9", "b")


def test_a_name_that_is_not_utf8_is_set_aside(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 1, "b": 1})
    save(tmp_path / "a" / "plain.png", scene(77)).rename(os.fsdecode(os.fsencode(tmp_path / "a") + b"/\xff.png"))
    draft = open_raw(tmp_path, ASKED)
    assert [(e.path, e.reason) for e in draft.aside] == [("a/\\xff.png", "has a name that is not UTF-8")]
    assert adds_up(draft.files)


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
    words = nasty(tmp_path / "a")
    (tmp_path / "a" / "gone.png").unlink()  # a link to nothing is set aside before it is a sample
    source = open_raw(tmp_path, ASKED).source
    assert isinstance(source, ImageFiles)
    with pytest.raises(BadSamples) as caught:
        source.read(np.arange(len(source)), Preprocessing(size=(8, 8)))
    assert {source.name(id).rpartition("/")[2] for id in caught.value.problems} == set(words) - {"gone.png"}


def test_pictures_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png", scene(1, (20, 30)))
    save(tmp_path / "b" / "2.png", scene(2, (21, 30)))
    draft = open_raw(tmp_path, ASKED)
    assert draft.inputs["image"].shape == (3, 30, None)
    with pytest.raises(DataError, match=r"a/1.png has 20x30 .*b/2.png 21x30"):
        draft.source.read(np.array([0, 1]), Preprocessing())
    assert draft.source.read(np.array([0, 1]), Preprocessing(size=(8, 9))).shape == (2, 3, 8, 9)


def test_grey_among_colour_is_read_as_colour_at_the_deepest_depth(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png", scene(1))
    save(tmp_path / "b" / "2.png", scene(2, channels=1).astype(np.uint16))
    draft = open_raw(tmp_path, ASKED)
    assert draft.inputs["image"].shape == (3, 40, 48)
    assert draft.inputs["image"].dtype == "uint16"
    x = draft.source.read(np.array([0, 1]), Preprocessing())
    assert x.dtype == torch.uint16
    assert torch.equal(x[1, 0], x[1, 2])


def test_an_index_is_kept_outside_and_follows_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from snellen.data.decode import image_decoder

    root = class_folders(tmp_path / "data", {"a": 2, "b": 2})
    before = sorted(root.rglob("*"))
    looked: list[str] = []
    header = image_decoder.header
    monkeypatch.setattr(image_decoder, "header", lambda path: looked.append(path.name) or header(path))
    open_raw(root, ASKED)
    assert len(looked) == 4
    open_raw(root, ASKED)
    assert len(looked) == 4
    save(root / "a" / "000.png", scene(50, (60, 60)))
    assert open_raw(root, ASKED).inputs["image"].shape == (3, None, None)
    assert len(looked) == 5
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("state", ["unwritable", "damaged"])
def test_without_an_index_everything_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    root = class_folders(tmp_path / "data", {"a": 2, "b": 2})
    if state == "unwritable":
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("SNELLEN_CACHE", str(tmp_path / "file" / "cache"))
    else:
        monkeypatch.setenv("SNELLEN_CACHE", str(tmp_path / "cache"))
        open_raw(root, ASKED)
        (entry,) = (tmp_path / "cache" / "index").iterdir()
        entry.write_bytes(b"no database at all, but long enough to look like one" * 100)
    for _ in range(2):
        assert len(open_raw(root, ASKED).source) == 4


def test_named_pictures_keep_their_order_and_name_what_is_missing(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 2})
    source = named_pictures(tmp_path, ["a/001.png", "a/nowhere.png", "a/000.png"])
    assert [source.name(i) for i in range(3)] == ["a/001.png", "a/nowhere.png", "a/000.png"]
    assert torch.equal(source.read(np.array([2]), Preprocessing())[0], torch.from_numpy(scene(1)).permute(2, 0, 1))
    with pytest.raises(BadSamples, match=r"a/nowhere.png.*is not there"):
        source.read(np.array([0, 1]), Preprocessing())


def _asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose headers or contents are looked at from now on."""
    from snellen.data.check import duplicates
    from snellen.data.decode import image_decoder

    looked: list[str] = []
    header, digest = image_decoder.header, duplicates._digest
    monkeypatch.setattr(image_decoder, "header", lambda path: looked.append(path.name) or header(path))
    monkeypatch.setattr(duplicates, "_digest", lambda path, *more: looked.append(path.name) or digest(path, *more))
    return looked


def _copies(root: Path) -> list[tuple[str, ...]]:
    return [finding.where for finding in dataset(root).findings if finding.kind == "copies"]


def test_an_unchanged_folder_is_known_at_one_look_and_every_change_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = class_folders(tmp_path / "data", {"a": 3, "b": 3})
    shutil.copy(root / "a" / "000.png", root / "a" / "copy.png")
    first = dataset(root)
    looked = _asked(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(Index, "known", lambda *a: pytest.fail("asked for each file"))
        patch.setattr(
            "snellen.data.check.duplicates.thumbnails", lambda source: (torch.zeros(len(source), 3, 16, 16), {})
        )
        again = dataset(root)
    assert (again.spec, again.findings, again.source.key()) == (first.spec, first.findings, first.source.key())
    assert looked == []
    save(root / "b" / "new.png", scene(70, (60, 60)))
    assert dataset(root).spec.input.shape == (3, None, None)
    assert set(looked) == {"new.png"}
    (root / "b" / "new.png").unlink()
    assert dataset(root).spec == first.spec
    (root / "a" / "copy.png").write_bytes((root / "a" / "001.png").read_bytes())
    assert _copies(root) == [("a/001.png = a/copy.png",)]
    (root / "a" / "copy.png").unlink()
    assert _copies(root) == []
    shutil.copy(root / "a" / "000.png", root / "b" / "copy.png")
    with pytest.raises(DataError, match="two labels"):
        dataset(root)


def test_a_change_that_keeps_size_and_name_is_noticed_by_its_time(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "data", {"a": 2, "b": 2}, suffix=".bmp")
    save(root / "a" / "2.bmp", scene(60))
    assert _copies(root) == []
    assert _copies(root) == []
    before = (root / "a" / "2.bmp").stat()
    (root / "a" / "2.bmp").write_bytes((root / "a" / "000.bmp").read_bytes())
    assert (root / "a" / "2.bmp").stat().st_size == before.st_size
    assert _copies(root) == [("a/000.bmp = a/2.bmp",)]


def test_what_could_not_be_opened_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from snellen.data.decode import image_decoder

    root = class_folders(tmp_path / "data", {"a": 2, "b": 2})
    header = image_decoder.header

    def closed(path: Path) -> Header:
        if path.name == "000.png" and path.parent.name == "a":
            raise Unusable("unreadable", "may not be read", "Mend its permissions.")
        return header(path)

    with monkeypatch.context() as patch:
        patch.setattr(image_decoder, "header", closed)
        for _ in range(2):
            with pytest.raises(DataError, match="may not be read"):
                dataset(root)
    assert len(dataset(root).source) == 4


def test_only_the_newest_lists_are_remembered_together(tmp_path: Path) -> None:
    index = Index(tmp_path)
    for k in range(9):
        index.learn_together("header", str(k), bytes([k]))
    index.learn_together("exact", "0", b"other")
    assert [index.together("header", str(k)) for k in range(9)] == [None] * 5 + [bytes([k]) for k in range(5, 9)]
    assert index.together("exact", "0") == b"other"

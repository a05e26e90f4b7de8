"""What the check finds, sets aside and keeps together."""

from __future__ import annotations

import dataclasses
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from image_makers import class_folders, encoded, save, scene, tiff, write_bad_files
from PIL import Image

from snellen.core.spec import Classes, Input
from snellen.core.views import Finding
from snellen.data.check.checks import DatasetRejected, check_dataset, run_deferred_checks
from snellen.data.dataset import Dataset, Labelled, RawDataset
from snellen.data.decode.image_files import open_named_images
from snellen.data.formats import OpenOptions
from snellen.data.formats.image_folder import open_raw
from snellen.data.open_dataset import dataset
from snellen.data.source import ArraySource, BadSamples

STRICT, QUARANTINE = OpenOptions(), OpenOptions(quarantine=True, allow_skipped=True)


def check_folder(root: Path, options: OpenOptions = STRICT) -> RawDataset:
    return check_dataset(open_raw(root, options), options)


def finding_of(raw: RawDataset | Dataset[Labelled], kind: str) -> Finding:
    (finding,) = (finding for finding in raw.findings if finding.kind == kind)
    return finding


def kinds(raw: RawDataset) -> set[str]:
    return {finding.kind for finding in raw.findings}


def test_a_clean_folder_has_only_the_few_samples_finding(tmp_path: Path) -> None:
    assert kinds(check_folder(class_folders(tmp_path, {"a": 10, "b": 10}))) == {"few-samples"}


def test_all_bad_samples_are_reported_at_once(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 3, "b": 3})
    words = write_bad_files(tmp_path / "a")
    with pytest.raises(DatasetRejected) as caught:
        check_folder(tmp_path)
    assert str(tmp_path) in caught.value.cause
    reasons = {entry.path.rpartition("/")[2]: entry.reason for entry in caught.value.skipped}
    assert set(reasons) == set(words)
    for name, word in words.items():
        assert word.lower() in reasons[name].lower()


def test_quarantine_skips_and_counts_bad_samples(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 3, "b": 3})
    words = write_bad_files(tmp_path / "a")
    raw = check_folder(tmp_path, QUARANTINE)
    assert len(raw.source) == 6
    assert raw.truth is not None
    assert raw.truth.tolist() == [0, 0, 0, 1, 1, 1]
    assert raw.files == {"found": 6 + len(words), "used": 6, "set aside": len(words), "no data": 0}
    assert {entry.path.rpartition("/")[2] for entry in raw.skipped} == set(words)
    assert not any(finding.severity == "error" for finding in raw.findings)


def test_quarantine_stops_at_one_in_a_hundred(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "a" / "zero.png").write_bytes(b"")
    with pytest.raises(DatasetRejected, match="1 of 7 samples"):
        check_folder(tmp_path, OpenOptions(quarantine=True))


def test_a_class_emptied_by_quarantine_is_reported(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 3, "c": 3})
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "zero.png").write_bytes(b"")
    raw = check_folder(tmp_path, QUARANTINE)
    assert isinstance(raw.target, Classes)
    assert raw.target.names == ("a", "c")
    assert raw.truth is not None
    assert raw.truth.tolist() == [0, 0, 0, 1, 1, 1]
    assert finding_of(raw, "empty-class").where == ("b",)


def test_a_stack_without_pages_option_names_the_flag(tmp_path: Path) -> None:
    for k in range(4):
        tiff(tmp_path / "ab"[k % 2] / f"{k}.tif", np.full((3, 8, 8), k, np.uint16), photometric="minisblack")
    with pytest.raises(DatasetRejected, match="stack of 3 pages") as caught:
        check_folder(tmp_path)
    assert "--pages first, max, or each" in caught.value.remedy
    assert len(check_folder(tmp_path, OpenOptions(pages="max")).source) == 4


def test_one_image_with_two_labels_is_an_error(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 3, "b": 3})
    shutil.copy(tmp_path / "a" / "000.png", tmp_path / "b" / "copy.png")
    with pytest.raises(DatasetRejected, match=r"conflicting labels \(1\): a/000.png = b/copy.png"):
        check_folder(tmp_path)
    raw = check_folder(tmp_path, QUARANTINE)
    names = {raw.source.name(i) for i in range(len(raw.source))}
    assert not names & {"a/000.png", "b/copy.png"}
    assert len(names) == 5


def test_copies_share_a_group_and_never_cross_generated_splits(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 20, "b": 20})
    for label in "ab":
        for k in range(10):
            shutil.copy(tmp_path / label / f"{k:03d}.png", tmp_path / label / f"exact{k}.png")
            with Image.open(tmp_path / label / f"{k:03d}.png") as image:
                image.save(tmp_path / label / f"near{k}.jpg", quality=80)
    data = dataset(tmp_path)
    assert finding_of(data, "copies").count == 20
    assert finding_of(data, "near-copies").count == 20
    where = {data.name(int(i)): split for split, ids in data.splits.items() for i in ids}
    for label in "ab":
        for k in range(10):
            assert where[f"{label}/exact{k}.png"] == where[f"{label}/{k:03d}.png"] == where[f"{label}/near{k}.jpg"]


def test_one_file_in_several_rows_stays_in_one_split_and_is_bad_in_each(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 6})
    (tmp_path / "cut.png").write_bytes(encoded(scene(50))[:2000])
    names = ["a/000.png", "cut.png", "a/001.png", "a/000.png", "cut.png"]
    raw = RawDataset(
        source=open_named_images(tmp_path, names),
        inputs={"image": Input(modality="image", shape=(3, 40, 48))},
        target=Classes(names=("a", "b")),
        truth=torch.tensor([0, 0, 1, 0, 1]),
        recognised_as="a table",
    )
    with pytest.raises(DatasetRejected, match=r"2 images cannot be read: cut\.png .*; cut\.png "):
        check_dataset(raw, STRICT)
    raw = check_dataset(raw, QUARANTINE)
    assert raw.groups is not None
    assert raw.groups.tolist() == [0, 1, 0]


def test_leakage_between_given_splits_is_reported_and_respected(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"a": 10, "b": 10})
    class_folders(tmp_path / "test", {"a": 5, "b": 5}, seed=100)
    shutil.copy(tmp_path / "train" / "a" / "000.png", tmp_path / "test" / "a" / "leak.png")
    with Image.open(tmp_path / "train" / "b" / "000.png") as image:
        image.resize((24, 20)).save(tmp_path / "test" / "b" / "leak.png")
    data = dataset(tmp_path)
    leak = finding_of(data, "leakage")
    assert leak.where == ("test/a/leak.png", "test/b/leak.png")
    assert leak.extra == {"exact": 1, "near": 1, "val": 0, "test": 2}
    assert len(data.splits["test"]) == 12


def test_groups_divided_by_given_splits_are_reported(tmp_path: Path) -> None:
    places = [("train", "a", 1), ("train", "b", 2), ("test", "a", 1), ("test", "b", 3)]
    for k, (split, label, slide) in enumerate(places):
        save(tmp_path / split / label / f"s{slide}_{k}.png", scene(k))
    assert finding_of(check_folder(tmp_path, OpenOptions(group="{slide}_*")), "group-torn").count == 1


def test_imbalance_and_few_samples_are_reported_with_the_interval(tmp_path: Path) -> None:
    raw = check_folder(class_folders(tmp_path, {"a": 40, "b": 4}))
    assert finding_of(raw, "imbalance").extra == {"least": 4, "most": 40}
    few = finding_of(raw, "few-samples")
    assert "--folds" in few.remedy
    assert 10 < few.extra["half_width"] < 40


def test_value_range_of_deep_images_and_mixed_depths_are_reported(tmp_path: Path) -> None:
    for k in range(6):
        tiff(tmp_path / "ab"[k % 2] / f"{k}.tif", scene(k, channels=1).astype(np.uint16) * 16)
    save(tmp_path / "a" / "eight.png", scene(40, channels=1))
    raw = check_folder(tmp_path)
    assert 0 <= finding_of(raw, "range").extra["low"] < finding_of(raw, "range").extra["high"] <= 255 * 16
    assert "6 uint16, 1 uint8" in finding_of(raw, "depths").message


def test_conversions_are_reported(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 3, "b": 3})
    save(tmp_path / "a" / "alpha.png", np.dstack([scene(50), np.full((40, 48), 99, np.uint8)]))
    assert (
        finding_of(check_folder(tmp_path), "converted").message == "1 image has an alpha channel: composited on white"
    )


def test_arrays_are_checked_for_copies_with_a_warning_for_two_labels() -> None:
    images = torch.stack([torch.from_numpy(scene(k, (32, 32), 1))[None] for k in range(30)])
    images[7], images[9] = images[3], images[4]
    with Image.open(io.BytesIO(encoded(images[5, 0].numpy(), "JPEG", quality=75))) as image:
        images[20] = torch.from_numpy(np.array(image))
    raw = RawDataset(
        source=ArraySource(images, "image"),
        inputs={"image": Input(modality="image", shape=(1, 32, 32))},
        target=Classes(names=("a", "b")),
        truth=torch.arange(30) % 2,
        recognised_as="an array",
    )
    raw = check_dataset(raw, STRICT)
    assert finding_of(raw, "copies").where == ("image 3 = image 7", "image 4 = image 9")
    assert {f.message for f in raw.findings if f.kind == "two-labels"} == {
        "Exact duplicates with conflicting labels (1): image 4 = image 9",
        "Near-duplicates with conflicting labels (1): image 5 = image 20",
    }
    assert raw.groups is not None
    assert raw.groups[7] == raw.groups[3]
    assert raw.groups[20] == raw.groups[5]


def test_contents_of_many_images_are_deferred_with_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from snellen.data.check import duplicates

    class_folders(tmp_path, {"a": 3, "b": 3})
    with Image.open(tmp_path / "a" / "000.png") as image:
        image.save(tmp_path / "a" / "near.jpg")
    monkeypatch.setattr(duplicates, "MAX_IMAGES_ON_OPENING", 5)
    assert "Not checked yet" in finding_of(check_folder(tmp_path), "near-copies").message
    assert finding_of(check_folder(tmp_path, dataclasses.replace(STRICT, full=True)), "near-copies").count == 1


def test_deferred_checks_run_before_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from snellen.data.check import duplicates

    class_folders(tmp_path / "train", {"a": 3, "b": 3})
    class_folders(tmp_path / "test", {"a": 3, "b": 3}, seed=50)
    with Image.open(tmp_path / "train" / "a" / "000.png") as image:
        image.save(tmp_path / "test" / "a" / "near.jpg")
    assert run_deferred_checks(dataset(tmp_path)) == []
    monkeypatch.setattr(duplicates, "MAX_IMAGES_ON_OPENING", 5)
    (leak,) = run_deferred_checks(dataset(tmp_path))
    assert leak.where == ("test/a/near.jpg",)
    data = dataset(tmp_path)
    apart = dataclasses.replace(data, splits={**data.splits, "test": data.splits["test"][:0]})
    assert run_deferred_checks(apart) == []  # a copy without a split does not leak
    (tmp_path / "test" / "b" / "cut.png").write_bytes(encoded(scene(50))[:2000])
    with pytest.raises(BadSamples, match=r"test/b/cut\.png"):
        run_deferred_checks(dataset(tmp_path))


def biologist(root: Path, counts: tuple[int, int] = (54, 6)) -> Path:
    """12-bit microscopy whose classes differ by 20 of 4,096 grey levels, with stray files."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :48]
    for label, count, level in (("control", counts[0], 0), ("treated", counts[1], 20)):
        for k in range(count):
            cells = sum(
                rng.uniform(200, 500) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / rng.uniform(8, 30))
                for cx, cy in rng.uniform(4, 44, (6, 2))
            )
            image = 800 - 0.2 * ((x - 24) ** 2 + (y - 24) ** 2) + cells + level + rng.normal(0, 8, (48, 48))
            tiff(root / label / f"s{k // 3}_{k}.tif", np.clip(image, 0, 4095).astype(np.uint16))
    return root


def test_a_biologists_folder_is_split_without_leakage(tmp_path: Path) -> None:
    root = biologist(tmp_path)
    for k in range(3):
        shutil.copy(root / "control" / f"s{k}_{3 * k}.tif", root / "control" / f"copy{k}.tif")
        import tifffile

        values = tifffile.imread(root / "control" / f"s{k + 5}_{3 * k + 15}.tif")
        half = values.reshape(24, 2, 24, 2).mean((1, 3)).round().astype(np.uint16)
        tiff(root / "control" / f"half{k}.tif", half)
    shutil.copy(root / "control" / "s9_27.tif", root / "treated" / "other.tif")
    (root / "Thumbs.db").write_bytes(b"x")
    (root / "control" / "protocol.docx").write_bytes(b"x")
    with pytest.raises(DatasetRejected, match="conflicting labels"):
        dataset(root)
    data = dataset(root, options=QUARANTINE)
    assert data.files == {"found": 69, "used": 65, "set aside": 3, "no data": 1}
    assert data.spec.input.dtype == "uint16"
    assert finding_of(data, "copies").count == 3
    assert finding_of(data, "near-copies").count == 3
    assert finding_of(data, "imbalance").where == ("treated",)
    assert finding_of(data, "stray").where == ("control/protocol.docx",)
    where = {data.name(int(i)): split for split, ids in data.splits.items() for i in ids}
    for k in range(3):
        assert where[f"control/copy{k}.tif"] == where[f"control/s{k}_{3 * k}.tif"]
        assert where[f"control/half{k}.tif"] == where[f"control/s{k + 5}_{3 * k + 15}.tif"]

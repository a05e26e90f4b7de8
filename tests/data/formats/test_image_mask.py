"""Image–mask pairs: matching, mask values, and errors of bad masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from image_makers import save, scene
from PIL import Image, ImageOps

from snellen.core.detections import GroundTruth
from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Boxes, PixelClasses, Preprocessing
from snellen.data.formats import OpenOptions, formats
from snellen.data.open_dataset import dataset

SIZE = (12, 10)


def mask(seed: int, top: int = 3) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, top, SIZE).astype(np.uint8)
    values[0, :top] = np.arange(top)
    return values


def pairs(root: Path, images: str, masks: str, count: int = 4) -> Path:
    """Write `count` pairs; the patterns contain the number and, with {s}, the split."""
    for k in range(count):
        split = ("train", "train", "val", "test")[k % 4]
        save(root / images.format(k=k, s=split), scene(k, SIZE[::-1]))
        save(root / masks.format(k=k, s=split), mask(k))
    return root


@pytest.mark.parametrize(
    ("images", "masks", "given"),
    [
        ("images/{k}.png", "masks/{k}.png", False),
        ("image/{k}.png", "label/{k}.png", False),
        ("images/{s}/{k}.png", "labels/{s}/{k}.png", True),
        ("{s}/image/{k}.png", "{s}/label/{k}.png", True),
        ("{s}/{k}.png", "{s}annot/{k}.png", True),
        ("{s}/{k}.png", "{s}_labels/{k}_L.png", True),
        ("{k}.png", "{k}_mask.png", False),
        ("images/{k}_img.png", "gt/{k}_gt.png", False),
        ("{k}_sat.png", "{k}_mask.png", False),
        ("JPEGImages/{k}.png", "SegmentationClass/{k}.png", False),
        ("leftImg8bit/{s}/a/{k}_leftImg8bit.png", "gtFine/{s}/a/{k}_gtFine_labelIds.png", True),
    ],
)
def test_masks_are_matched_by_name(tmp_path, images, masks, given):
    pairs(tmp_path, images, masks)
    assert next(f.name for f in formats().values() if f.recognises(tmp_path)) == "pairs"
    data = dataset(tmp_path)
    assert data.spec.target == PixelClasses(names=("0", "1", "2"), counts=data.spec.target.counts)
    assert dict(data.files) == {"found": 8, "used": 8, "set aside": 0, "no data": 0}
    for k in range(4):
        number = int("".join(c for c in data.name(k).rpartition("/")[2] if c.isdigit())[0])
        assert torch.equal(data.annotations.load(k), torch.from_numpy(mask(number)).long())
        assert data.annotations.load(k).dtype == torch.int64
    if given:
        assert {s: len(ids) for s, ids in data.splits.items()} == {"train": 2, "val": 1, "test": 1}


def test_a_list_of_classes_may_lie_among_the_masks(tmp_path):
    pairs(tmp_path, "images/{k}.png", "labels/{k}.png")
    (tmp_path / "labels/classes.txt").write_text("road\ncar\nsky\n")
    assert dataset(tmp_path).spec.target.names == ("road", "car", "sky")


@pytest.mark.parametrize(
    "classes",
    [("flow", "pipe"), ("mask", "no_mask"), ("with_mask", "without_mask"), ("depth", "width"), ("labels", "letters")],
)
def test_class_folders_of_such_names_stay_class_folders(tmp_path, classes):
    for label in classes:
        for k in range(4):
            save(tmp_path / label / f"{k}.png", scene(10 * len(label) + k))
    assert next(f.name for f in formats().values() if f.recognises(tmp_path)) == "folder"


def test_counts_are_the_pixels_of_the_training_images(tmp_path):
    data = dataset(pairs(tmp_path, "{s}/{k}.png", "{s}annot/{k}.png"))
    values = np.concatenate([mask(k).flatten() for k in (0, 1)])
    assert data.spec.target.counts == tuple(np.bincount(values).tolist()) == data.counts("train")


def test_named_classes_void_and_255_are_reported(tmp_path):
    pairs(tmp_path, "images/{k}.png", "masks/{k}.png")
    values = mask(0)
    values[5, 5] = 255
    save(tmp_path / "masks/0.png", values)
    (tmp_path / "classes.txt").write_text("road\nUnlabelled\ncar\n")
    data = dataset(tmp_path)
    assert data.spec.target.names == ("road", "car")
    assert "without ground truth: Unlabelled (1), 255" in data.recognised_as
    assert torch.equal(data.annotations.load(0), torch.tensor([0, -1, 1, -1])[values.clip(max=3).astype(np.int64)])


def test_black_and_white_masks_are_background_and_foreground(tmp_path):
    for k in range(3):
        save(tmp_path / f"images/{k}.png", scene(k, SIZE[::-1]))
        save(tmp_path / f"masks/{k}.png", (mask(k, 2) * 255).astype(np.uint8))
    data = dataset(tmp_path)
    assert data.spec.target.names == ("background", "foreground")
    assert torch.equal(data.annotations.load(1), torch.from_numpy(mask(1, 2)).long())


def test_a_palette_is_read_as_indices(tmp_path):
    pairs(tmp_path, "images/{k}.png", "masks/{k}.png")
    indexed = Image.fromarray(mask(2)).convert("P")
    indexed.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    indexed.save(tmp_path / "masks/2.png", transparency=0)
    assert torch.equal(dataset(tmp_path).annotations.load(2), torch.from_numpy(mask(2)).long())


COLOURS = np.array([[128, 0, 0], [0, 128, 0], [7, 7, 7]], np.uint8)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("class_dict.csv", "name,r,g,b\nroad,128,0,0\ntree,0,128,0\nvoid,7,7,7\n"),
        ("label_colors.txt", "128 0 0\troad\n0 128 0\ttree\n7 7 7\tVoid\n"),
        ("label_colors.txt", "128 0 0 road\n0 128 0 tree\n7 7 7 void\n"),
        ("labelmap.txt", "# label:color_rgb:parts:actions\nroad:128,0,0::\ntree:0,128,0::\nvoid:7,7,7::\n"),
    ],
)
def test_colours_are_mapped_by_the_table(tmp_path, file, text):
    for k in range(3):
        save(tmp_path / f"images/{k}.png", scene(k, SIZE[::-1]))
        save(tmp_path / f"masks/{k}.png", COLOURS[mask(k)])
    save(tmp_path / "masks/2.png", np.full((*SIZE, 3), 7, np.uint8))
    with pytest.raises(DataError, match="no table"):
        dataset(tmp_path)
    (tmp_path / file).write_text(text)
    data = dataset(tmp_path)
    assert data.spec.target.names == ("road", "tree")
    assert torch.equal(data.annotations.load(0), torch.tensor([0, 1, -1])[mask(0).astype(np.int64)])
    assert bool((data.annotations.load(2) == -1).all())


def deep(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint16)).save(path)


def test_masks_of_16_bits_hold_objects(tmp_path):
    values = np.zeros(SIZE, np.int64)
    values[2:5, 3:7], values[9, 0], values[11, 9] = 7, 1000, 1000  # the second object has two parts
    for k in range(3):
        save(tmp_path / f"images/{k}.png", scene(k, SIZE[::-1]))
        deep(tmp_path / f"masks/{k}.png", values if k else np.zeros(SIZE))
    data = dataset(tmp_path)
    assert data.spec.target == Boxes(names=("object",), masks=True, counts=data.spec.target.counts)
    annotation = data.annotations.load(1)
    assert isinstance(annotation, GroundTruth)
    assert annotation.boxes.tolist() == [[3, 2, 7, 5], [0, 9, 10, 12]]
    assert annotation.areas.tolist() == [12, 2]
    assert torch.equal(annotation.masks, torch.from_numpy(np.stack([values == 7, values == 1000])))
    assert data.annotations.load(0).boxes.shape == (0, 4)
    assert data.annotations.load(0).masks.shape == (0, *SIZE)
    assert data.annotations.counts(torch.arange(3), 1) == (4,)
    assert dataset(tmp_path, options=OpenOptions(target=("classes",))).spec.target.names == ("0", "7", "1000")


def test_a_list_of_classes_makes_16_bit_masks_class_masks(tmp_path):
    for k in range(3):
        save(tmp_path / f"images/{k}.png", scene(k, SIZE[::-1]))
        deep(tmp_path / f"masks/{k}.png", mask(k))
    for names, target in (("cell\n", Boxes), ("a\nb\nc\n", PixelClasses), ("a\nb\n", Boxes)):
        (tmp_path / "classes.txt").write_text(names)
        inferred = dataset(tmp_path).spec.target
        assert isinstance(inferred, target), names
        assert inferred.names == (tuple(names.split()) if names != "a\nb\n" else ("object",))


def test_consecutive_8_bit_masks_are_instances_unless_target_overrides(tmp_path):
    for k in range(3):
        save(tmp_path / f"images/{k}.png", scene(k, SIZE[::-1]))
        save(tmp_path / f"masks/{k}.png", np.arange(120, dtype=np.uint8).reshape(SIZE) // (k + 2))
    assert isinstance(dataset(tmp_path).spec.target, Boxes)
    assert isinstance(dataset(tmp_path, options=OpenOptions(target=("classes",))).spec.target, PixelClasses)
    with pytest.raises(UsageError, match="neither a kind of mask nor of dense target"):
        dataset(tmp_path, options=OpenOptions(target=("clases",)))
    with pytest.raises(UsageError, match="no masks or dense targets of depth"):
        dataset(tmp_path, options=OpenOptions(target=("depth",)))


def wrong(root: Path, kind: str) -> None:
    path = root / "masks/1.png"
    content = path.read_bytes()
    match kind:
        case "truncated":
            path.write_bytes(content[: len(content) // 2])
        case "size":
            save(path, mask(1)[:, :9])
        case "value":
            save(path, np.where(mask(1) == 2, 9, mask(1)).astype(np.uint8))
        case "float":
            path.unlink()
            Image.fromarray(mask(1).astype(np.float32) + 0.5).save(root / "masks/1.tif")
        case "one pixel":
            save(path, np.zeros((1, 1), np.uint8))
        case "missing":
            path.unlink()
        case "colours":
            save(path, scene(77, (80, 80)))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("truncated", ("masks/1.png", "cannot be decoded")),
        ("size", ("10x12", "9x12")),
        ("value", ("value 9", "3 classes")),
        ("float", ("masks/1.tif", "fractions")),
        ("one pixel", ("1x1",)),
        ("missing", ("no mask",)),
        ("colours", ("colours",)),
    ],
)
def test_bad_masks_are_named_and_quarantined_on_request(tmp_path, kind, words):
    pairs(tmp_path, "images/{k}.png", "masks/{k}.png", 8)
    (tmp_path / "classes.txt").write_text("a\nb\nc\n")
    wrong(tmp_path, kind)
    with pytest.raises(DataError) as caught:
        dataset(tmp_path)
    for word in ("images/1.png", *words):
        assert word in caught.value.cause
    assert caught.value.remedy
    data = dataset(tmp_path, options=OpenOptions(quarantine=True, allow_skipped=True))
    assert len(data) == 7
    assert [entry.path for entry in data.skipped] == ["images/1.png"]
    assert torch.equal(data.annotations.load(1), torch.from_numpy(mask(2)).long())


def test_a_mask_without_image_and_a_second_mask_are_errors(tmp_path):
    pairs(tmp_path, "images/{k}.png", "masks/{k}.png")
    save(tmp_path / "masks/lonely.png", mask(1))
    save(tmp_path / "masks/2.bmp", mask(2))
    with pytest.raises(DataError, match=r"lonely.png has no image.*second file for masks/2.bmp"):
        dataset(tmp_path)


def test_images_of_a_split_without_any_mask_are_skipped_and_reported(tmp_path):
    pairs(tmp_path, "{s}/image/{k}.png", "{s}/label/{k}.png", 8)
    for k in (3, 7):
        (tmp_path / f"test/label/{k}.png").unlink()
    data = dataset(tmp_path)
    assert [entry.path for entry in data.skipped] == ["test/image/3.png", "test/image/7.png"]
    assert any(f.kind == "stray" and "or in a split without any mask" in f.message for f in data.findings)


def test_the_lists_of_pascal_voc_are_the_splits(tmp_path):
    pairs(tmp_path, "JPEGImages/{k}.png", "SegmentationClass/{k}.png", 6)
    (tmp_path / "SegmentationClass/5.png").unlink()
    lists = tmp_path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("0\n3\n4\n")
    (lists / "val.txt").write_text("1\n2\n")
    (lists / "trainval.txt").write_text("0\n1\n2\n3\n4\n")
    data = dataset(tmp_path)
    assert [data.name(id) for id in data.splits["val"]] == ["JPEGImages/1.png", "JPEGImages/2.png"]
    assert len(data.splits["train"]) + len(data.splits["test"]) == 3
    assert [entry.path for entry in data.skipped] == ["JPEGImages/5.png"]
    (lists / "val.txt").write_text("1\n0\n")
    with pytest.raises(DataError, match=r"val.txt names '0', which is in train already"):
        dataset(tmp_path)
    (lists / "val.txt").write_text("1\n9\n")
    with pytest.raises(DataError, match="1 missing images: '9'"):
        dataset(tmp_path)


def test_objects_and_classes_of_pascal_voc_lie_side_by_side(tmp_path):
    """SegmentationObject holds instance ids; 255 is the outline, which is ignored."""
    pairs(tmp_path, "JPEGImages/{k}.png", "SegmentationClass/{k}.png")
    for k in range(4):
        save(tmp_path / f"SegmentationObject/{k}.png", np.where(mask(k) == 2, 255, mask(k)).astype(np.uint8))
    assert isinstance(dataset(tmp_path).spec.target, PixelClasses)
    data = dataset(tmp_path, options=OpenOptions(target=("instances",)))
    assert data.annotations.load(1).labels.tolist() == [0]
    assert torch.equal(data.annotations.load(1).masks[0], torch.from_numpy(mask(1) == 1))


def test_names_match_in_any_unicode_form(tmp_path):
    for k in range(3):
        save(tmp_path / f"images/Ko\u0308ln{k}.png", scene(k, SIZE[::-1]))
        save(tmp_path / f"masks/K\u00f6ln{k}.png", mask(k))
    assert len(dataset(tmp_path)) == 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("displayed", [False, True])
def test_a_mask_rotates_with_its_image_unless_it_is_rotated_already(tmp_path, orientation, displayed):
    for k in range(3):
        exif = Image.Exif()
        exif[274] = orientation
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(scene(k, SIZE[::-1])).save(tmp_path / f"images/{k}.png", exif=exif)
        as_displayed = displayed and orientation >= 5  # otherwise the mask has the orientation of the stored image
        save(tmp_path / f"masks/{k}.png", exif_transposed(mask(k), orientation) if as_displayed else mask(k))
    data = dataset(tmp_path)
    assert torch.equal(data.annotations.load(1), torch.from_numpy(exif_transposed(mask(1), orientation)).long())
    image_values = data.source.read(np.array([1]), Preprocessing())[0]
    assert image_values.shape[-2:] == data.annotations.load(1).shape


def exif_transposed(values: np.ndarray, orientation: int) -> np.ndarray:
    """Values with the EXIF orientation applied by Pillow."""
    image = Image.fromarray(values)
    image.getexif()[274] = orientation
    return np.array(ImageOps.exif_transpose(image))

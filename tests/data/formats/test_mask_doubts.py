"""Masks whose values cannot be taken as they are: lossy files, blurred edges, grey levels, palettes of each file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_makers import save, scene
from PIL import Image, ImageFilter
from torch import Tensor

from snellen.core.errors import DataError
from snellen.core.spec import Boxes, PixelClasses
from snellen.data.dataset import Dataset
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset

SIZE = 48  # pixels of a side


def discs(seed: int, *values: int) -> np.ndarray:
    """(48, 48) uint8: one disc of each value, apart from each other, on 0."""
    y, x = np.mgrid[:SIZE, :SIZE]
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for k, value in enumerate(values):
        mask[(x - 12 - 22 * (k % 2)) ** 2 + (y - 12 - seed % 5 - 20 * (k // 2)) ** 2 < 80] = value
    return mask


def pairs(root: Path, masks: list[Image.Image], ending: str = "png") -> Path:
    for k, mask in enumerate(masks):
        save(root / f"images/{k}.png", scene(k, (SIZE, SIZE)))
        (root / "masks").mkdir(parents=True, exist_ok=True)
        mask.save(root / f"masks/{k}.{ending}", **({"quality": 75} if ending in ("jpg", "webp") else {}))
    return root


def truth(data: Dataset, id: int = 0) -> Tensor:
    assert data.annotations is not None
    annotation = data.annotations.load(id)
    assert isinstance(annotation, Tensor)
    return annotation


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_masks_of_two_classes_are_read_by_a_threshold(tmp_path: Path, mode: str) -> None:
    masks = [discs(k, 255) for k in range(4)]
    data = dataset(pairs(tmp_path, [Image.fromarray(mask).convert(mode) for mask in masks], "jpg"))
    assert isinstance(data.spec.target, PixelClasses)
    assert data.spec.target.names == ("background", "foreground")
    for k, mask in enumerate(masks):
        assert ((truth(data, k).numpy() == 1) == (mask == 255)).all()
    assert [f.severity for f in data.findings if "changes values" in f.message] == ["warning"]


@pytest.mark.parametrize("ending", ["jpg", "webp"])
def test_lossy_masks_of_more_classes_are_refused(tmp_path: Path, ending: str) -> None:
    masks = [Image.fromarray(discs(k, 128, 255, 64)) for k in range(4)]
    with pytest.raises(DataError, match="saved as JPEG or lossy WebP") as error:
        dataset(pairs(tmp_path, masks, ending))
    assert "PNG" in error.value.remedy


def test_lossless_webp_masks_keep_their_values(tmp_path: Path) -> None:
    pairs(tmp_path, [Image.fromarray(discs(k, 1, 2)) for k in range(4)])
    for file in list((tmp_path / "masks").iterdir()):
        Image.open(file).convert("RGB").save(file.with_suffix(".webp"), lossless=True)
        file.unlink()
    data = dataset(tmp_path)
    assert isinstance(data.spec.target, PixelClasses)
    assert data.spec.target.names == ("0", "1", "2")


def test_blurred_edges_are_read_by_a_threshold(tmp_path: Path) -> None:
    sharp = [discs(k, 255) for k in range(4)]
    data = dataset(pairs(tmp_path, [Image.fromarray(m).filter(ImageFilter.GaussianBlur(1)) for m in sharp]))
    assert isinstance(data.spec.target, PixelClasses)
    assert data.spec.target.names == ("background", "foreground")
    assert (truth(data).numpy() != (sharp[0] == 255)).mean() < 0.01  # pixels at the edge only
    assert any("blurred edges" in f.message and f.severity == "warning" for f in data.findings)
    instances = dataset(tmp_path, options=OpenOptions(target=("instances",)))
    assert not [f for f in instances.findings if "blur" in f.message]


def test_many_instances_are_not_taken_for_blurred_edges(tmp_path: Path) -> None:
    values = (np.arange(SIZE * SIZE).reshape(SIZE, SIZE) // 64).astype(np.uint8)  # 36 objects of equal size
    data = dataset(pairs(tmp_path, [Image.fromarray(values), Image.fromarray(values // 2)]))
    assert isinstance(data.spec.target, Boxes)


@pytest.mark.parametrize(
    ("values", "names"),
    [((128, 255), ("0", "128", "255")), ((85, 170, 255), ("0", "85", "170", "255")), ((127, 255), ("0", "127", "255"))],
)
def test_255_is_a_class_among_grey_levels(tmp_path: Path, values: tuple[int, ...], names: tuple[str, ...]) -> None:
    data = dataset(pairs(tmp_path, [Image.fromarray(discs(k, *values)) for k in range(4)]))
    assert isinstance(data.spec.target, PixelClasses)
    assert data.spec.target.names == names
    mask = discs(0, *values)
    for k, name in enumerate(names):
        assert ((truth(data).numpy() == k) == (mask == int(name))).all()


def test_listed_names_of_grey_levels_are_in_the_order_of_the_values(tmp_path: Path) -> None:
    pairs(tmp_path, [Image.fromarray(discs(k, 128, 255)) for k in range(4)])
    (tmp_path / "classes.txt").write_text("ground\nroad\nsky\n")
    data = dataset(tmp_path)
    assert isinstance(data.spec.target, PixelClasses)
    assert data.spec.target.names == ("ground", "road", "sky")
    assert ((truth(data).numpy() == 2) == (discs(0, 128, 255) == 255)).all()
    assert "in the order of the values 0, 128, 255" in data.recognised_as


def test_255_beside_indices_is_ignored_and_its_fraction_is_shown(tmp_path: Path) -> None:
    masks = [discs(k, 1, 255) for k in range(4)]
    data = dataset(pairs(tmp_path, [Image.fromarray(mask) for mask in masks]))
    fraction = np.mean([mask == 255 for mask in masks])
    assert f"without ground truth: 255 ({fraction:.1%} of the pixels)" in data.recognised_as
    assert not [f for f in data.findings if f.kind == "mask-values"]
    assert ((truth(data).numpy() == -1) == (masks[0] == 255)).all()


def test_much_of_255_is_doubted_and_a_colour_table_makes_it_a_class(tmp_path: Path) -> None:
    masks = [np.where(discs(k, 1) == 0, 255, 1).astype(np.uint8) for k in range(4)]
    for mask in masks:
        mask[:8] = 0
    pairs(tmp_path, [Image.fromarray(mask) for mask in masks])
    (finding,) = (f for f in dataset(tmp_path).findings if f.kind == "mask-values")
    assert f"{np.mean([mask == 255 for mask in masks]):.0%} of the pixels" in finding.message
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nground,0,0,0\ncell,1,1,1\nsky,255,255,255\n")
    data = dataset(tmp_path)
    assert isinstance(data.spec.target, PixelClasses)
    assert data.spec.target.names == ("ground", "cell", "sky")
    assert ((truth(data).numpy() == 2) == (masks[0] == 255)).all()


def test_palettes_that_differ_from_file_to_file_are_refused(tmp_path: Path) -> None:
    masks = []
    for k in range(4):
        mask = Image.fromarray(discs(k, 1, 2), "P")
        mask.putpalette([0, 0, 0, *((255, 0, 0, 0, 255, 0) if k < 3 else (0, 255, 0, 255, 0, 0))])
        masks.append(mask)
    with pytest.raises(DataError, match=r"value 1 is \(255, 0, 0\) in masks/0\.png and \(0, 255, 0\) in masks/3\.png"):
        dataset(pairs(tmp_path, masks))
    data = dataset(tmp_path, options=OpenOptions(target=("classes",)))
    assert isinstance(data.spec.target, PixelClasses)
    assert data.spec.target.names == ("0", "1", "2")


def test_255_as_the_only_value_of_some_masks_is_doubted(tmp_path: Path) -> None:
    """Half of the masks hold 0 and 1, the others 0 and 255: half of the foreground would be left out silently."""
    mixed = [Image.fromarray(discs(k, 1 if k % 2 else 255)) for k in range(8)]
    data = dataset(pairs(tmp_path / "mixed", mixed))
    messages = [finding.message for finding in data.findings if finding.kind == "mask-values"]
    assert any("4 masks (" in text and "it may be the class there" in text for text in messages), messages
    borders = [Image.fromarray(discs(k, 1, 255)) for k in range(8)]
    assert "mask-values" not in {finding.kind for finding in dataset(pairs(tmp_path / "borders", borders)).findings}

"""One image as a surface: positions, colours, reduction by area means, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Numbers
from snellen.data.formats import OpenOptions, formats, target_of_task
from snellen.data.formats.image_surface import area_mean, reduced_size
from snellen.data.open_dataset import dataset

SURFACE = OpenOptions(target=("surface",))


def save(path: Path, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Random levels of 8 bits, saved as an image."""
    values = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(values).save(path)
    return values


@pytest.mark.parametrize(("old", "new"), [((12, 20), (3, 5)), ((11, 7), (4, 5)), ((9, 13), (9, 13)), ((6, 5), (1, 1))])
def test_area_means_equal_those_of_an_image_that_is_repeated(old: tuple[int, int], new: tuple[int, int]) -> None:
    """NumPy: each pixel repeated as often as there are new ones, then the means of whole blocks."""
    image = np.random.default_rng(1).integers(0, 65536, (3, *old)).astype(np.uint16)
    fine = image.astype(np.float64).repeat(new[0], axis=1).repeat(new[1], axis=2)
    expected = fine.reshape(3, new[0], old[0], new[1], old[1]).mean((2, 4))
    reduced = area_mean(torch.from_numpy(image), *new)
    np.testing.assert_allclose(reduced.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(reduced.mean((1, 2)).numpy(), image.mean((1, 2)), rtol=1e-12)


def test_a_size_is_reduced_in_its_proportions_and_never_enlarged() -> None:
    assert reduced_size(360, 480, 128) == (96, 128)
    assert reduced_size(480, 360, 128) == (128, 96)
    assert reduced_size(30, 40, 128) == (30, 40)
    assert reduced_size(3, 5000, 128) == (1, 128)


def test_colours_and_positions_of_pixels(tmp_path: Path) -> None:
    values = save(tmp_path / "photo.png", (12, 16, 3))
    data = dataset(tmp_path / "photo.png", options=SURFACE)
    assert data.spec.input.grid == (12, 16)
    assert [column.name for column in data.spec.input.columns] == ["x", "y"]
    assert isinstance(data.spec.target, Numbers)
    assert data.spec.target.names == ("red", "green", "blue")
    np.testing.assert_array_equal(data.truth.numpy(), values.reshape(-1, 3))
    x, y = data.source.read(np.arange(192), data.preprocessing).numpy().T.reshape(2, 12, 16)
    np.testing.assert_allclose(x, np.tile((np.arange(16) + 0.5) / 16, (12, 1)), rtol=1e-6)
    np.testing.assert_allclose(y, np.tile((np.arange(12) + 0.5) / 12, (16, 1)).T, rtol=1e-6)
    assert data.name(17) == "pixel 1,1"
    assert sorted(torch.cat(list(data.splits.values())).tolist()) == list(range(192))
    assert [finding.kind for finding in data.findings] == ["interpolation", "few-samples"]
    assert data.recognised_as.startswith("an image as a surface: 16x12 pixels")


def test_a_grey_tiff_of_16_bits_keeps_its_levels(tmp_path: Path) -> None:
    values = np.random.default_rng(2).integers(0, 65536, (40, 60)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", values)
    data = dataset(tmp_path / "deep.tif", options=OpenOptions(format="image-surface", surface_side=30))
    assert data.spec.target is not None
    assert data.spec.target.names == ("grey",)
    expected = values.reshape(20, 2, 30, 2).mean((1, 3))
    np.testing.assert_allclose(data.truth.numpy().reshape(20, 30), expected, rtol=1e-12)
    assert "reduced from 60x40 by area means (--surface-side 30)" in data.recognised_as
    assert [finding.kind for finding in data.findings] == ["interpolation", "few-samples"]  # none on --range


def test_equal_colours_are_no_duplicates(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 30), 77, np.uint8)).save(tmp_path / "grey.png")
    data = dataset(tmp_path / "grey.png", options=SURFACE)
    assert [finding.kind for finding in data.findings] == ["interpolation", "few-samples"]
    assert len(data) == 600


def test_only_an_image_is_a_surface_by_the_task(tmp_path: Path) -> None:
    save(tmp_path / "photo.png", (12, 16))
    assert target_of_task("regress", tmp_path / "photo.png") == ("surface",)
    for task, path in (("classify", tmp_path / "photo.png"), ("regress", tmp_path), ("regress", "digits")):
        assert target_of_task(task, path) == ()
    rows = "".join(f"{k},{k * 1.5}\n" for k in range(60))
    (tmp_path / "houses.csv").write_text(f"rooms,surface\n{rows}")
    data = dataset(tmp_path / "houses.csv", options=SURFACE)  # a column of this name
    assert data.spec.target is not None
    assert (data.spec.target.names, data.spec.input.grid) == (("surface",), ())


def test_an_image_alone_is_refused_with_the_remedy(tmp_path: Path) -> None:
    save(tmp_path / "photo.png", (12, 16))
    with pytest.raises(DataError, match=r"photo.png is one image, not a dataset") as caught:
        dataset(tmp_path / "photo.png")
    assert "--task regress" in caught.value.remedy
    assert "image-surface" in formats()


@pytest.mark.parametrize(
    ("options", "error", "cause"),
    [
        ({"surface_side": 5}, DataError, "has 5x4 pixels, too few"),
        ({"surface_side": 1025}, UsageError, "1025 is too large"),
        ({"group": "{a}_*"}, UsageError, "--group"),
        ({"pages": "each"}, UsageError, "--pages each"),
        ({"nodata": 0.0}, UsageError, "--nodata applies to image files of more than 8 bits"),
        ({"target": ("red",)}, UsageError, "its channels, not 'red'|are its channels"),
    ],
)
def test_options_that_do_not_apply(tmp_path: Path, options: dict[str, Any], error: type, cause: str) -> None:
    save(tmp_path / "photo.png", (12, 16))
    with pytest.raises(error, match=cause):
        dataset(tmp_path / "photo.png", options=OpenOptions(format="image-surface", **options))


def test_files_that_cannot_be_fitted(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((5, 40, 40), np.uint16))
    heights = np.random.default_rng(0).random((40, 40)).astype(np.float32)
    heights[:3] = -9999
    tifffile.imwrite(tmp_path / "heights.tif", heights)
    for name, cause, remedy in (
        ("text.png", "is not an image", "Save it as PNG"),
        ("stack.tif", "is a stack of 5 pages", "Choose --pages first or max."),
        ("heights.tif", 'looks like "no data"', "--nodata=-9999"),
        (".", "is no file", "Give one image file"),
    ):
        with pytest.raises(DataError, match=cause) as caught:
            dataset(tmp_path / name, options=OpenOptions(format="image-surface"))
        assert remedy in caught.value.remedy
    filled = dataset(tmp_path / "heights.tif", options=OpenOptions(target=("surface",), nodata=-9999.0))
    assert float(filled.truth.min()) >= 0


def test_a_link_to_an_image_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    save(tmp_path / "photo.png", (12, 16))
    (tmp_path / "a" / "link.png").symlink_to(tmp_path / "photo.png")
    assert len(dataset(tmp_path / "a" / "link.png", options=SURFACE)) == 192

"""Values of no data in images of more than 8 bits: refused, marked with `nodata`, and not counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_makers import save, scene, tiff

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Preprocessing
from snellen.data.decode.nodata import fill_nodata, likely_nodata
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset


def terrain(root: Path, value: float | None, dtype: str = "float32") -> Path:
    """Two classes of 8 images of 20 x 24 pixels within 0 ... 255, each with a corner of 3 x 3 pixels of `value`."""
    for k in range(16):
        pixels = scene(k, (24, 20), 1).astype(dtype)
        if value is not None:
            pixels[:3, :3] = np.array(value, dtype)
        tiff(root / "ab"[k % 2] / f"{k}.tif", pixels)
    return root


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(-9999, "float32"), (float(np.finfo(np.float32).min), "float32"), (-32768, "int16"), (9.96921e36, "float32")],
)
def test_values_of_no_data_are_refused_and_marked(tmp_path: Path, value: float, dtype: str) -> None:
    terrain(tmp_path, value, dtype)
    with pytest.raises(DataError) as error:
        dataset(tmp_path)
    assert 'looks like "no data": 1.9 % of the pixels, in 16 of 16 images' in error.value.cause  # 9 of 480
    assert f"--nodata={value:g}" in error.value.remedy
    data = dataset(tmp_path, options=OpenOptions(nodata=float(f"{value:g}")))
    assert not [f for f in data.findings if f.kind == "near-copies"]
    (finding,) = (f for f in data.findings if f.kind == "range")
    assert 0 <= finding.extra["low"] < finding.extra["high"] <= 255
    image = data.source.read(np.array([0]), Preprocessing())[0, 0].numpy()
    original = scene(0, (24, 20), 1)
    assert (image[3:, 3:] == original[3:, 3:]).all()
    outside = np.ones((20, 24), bool)
    outside[:3, :3] = False
    assert (image[:3, :3] == np.median(original[outside])).all()
    assert data.preprocessing.nodata == float(f"{value:g}")


def test_none_reads_the_value_as_any_other(tmp_path: Path) -> None:
    data = dataset(terrain(tmp_path, -9999), options=OpenOptions(nodata="none"))
    assert float(data.source.read(np.array([0]), Preprocessing()).min()) == -9999
    assert data.preprocessing.nodata is None


@pytest.mark.parametrize("value", [None, -50.0, 1e4])
def test_other_values_are_not_doubted(tmp_path: Path, value: float | None) -> None:
    assert len(dataset(terrain(tmp_path, value)).source) == 16


def test_8_bit_images_have_no_value_of_no_data(tmp_path: Path) -> None:
    for k in range(8):
        save(tmp_path / "ab"[k % 2] / f"{k}.png", scene(k, (24, 20)))
    with pytest.raises(UsageError, match="more than 8 bits"):
        dataset(tmp_path, options=OpenOptions(nodata=0.0))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([-9999.0, 0.0, 1.0], -9999.0),
        ([-9999.0, -8000.0, 0.0], None),  # within the range of the others
        ([-9999.0], None),
        ([0.0, 1.0, 1e30], 1e30),
        ([-100.0, 0.0, 1.0], None),
        ([-999.0, 5.0, 5.0], -999.0),
    ],
)
def test_likely_values(values: list[float], expected: float | None) -> None:
    assert likely_nodata(np.array(values, np.float32)) == (None if expected is None else np.float32(expected))


def test_an_image_without_any_data_is_unusable() -> None:
    from snellen.data.decode.header import UnusableFile

    with pytest.raises(UnusableFile, match="has no data"):
        fill_nodata(np.full((1, 2, 2), -9999.0), -9999.0)

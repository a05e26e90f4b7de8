"""Image decoder: every kind of file has its documented result (R6)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import tifffile
import torch
from image_makers import encoded, png_16, save, scene, tiff, write_bad_files
from PIL import Image

from snellen.core.spec import Preprocessing
from snellen.data.decode.header import UnusableFile
from snellen.data.decode.image_decoder import decode, header

PLAIN = Preprocessing()


def test_each_bad_file_has_an_error_with_its_reason(tmp_path: Path) -> None:
    for name, reason in write_bad_files(tmp_path).items():
        with pytest.raises(UnusableFile, match=f"(?i){reason}") as caught:
            decode(tmp_path / name, PLAIN)
        assert caught.value.remedy, name


@pytest.mark.parametrize("name", ["zero.png", "page.jpg", "noise.png", "bomb.png", "gone.png"])
def test_the_header_identifies_files_that_are_not_images(tmp_path: Path, name: str) -> None:
    write_bad_files(tmp_path)
    with pytest.raises(UnusableFile):
        header(tmp_path / name)


def test_a_folder_and_a_pipe_are_not_images(tmp_path: Path) -> None:
    import os

    (tmp_path / "x.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("x.jpg", "pipe.png"):
        with pytest.raises(UnusableFile, match="not a regular file"):
            decode(tmp_path / name, PLAIN)


def test_eight_bit_values_are_unchanged(tmp_path: Path) -> None:
    for channels in (1, 3):
        values = scene(1, channels=channels)
        path = save(tmp_path / f"{channels}.png", values)
        x = decode(path, PLAIN)
        assert x.dtype == torch.uint8
        assert np.array_equal(x.numpy(), values[None] if channels == 1 else values.transpose(2, 0, 1))
        assert header(path)[:4] == (40, 48, channels, "uint8")


def test_sixteen_bit_grey_png_keeps_its_depth(tmp_path: Path) -> None:
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1001
    path = save(tmp_path / "a.png", values)
    assert header(path).dtype == "uint16"
    assert np.array_equal(decode(path, PLAIN).numpy()[0], values)


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colour_png_keeps_its_depth(tmp_path: Path, channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, channels)).astype(np.uint16)
    values[..., 3:] = 65535
    path = png_16(tmp_path / "a.png", values)
    assert header(path)[:4] == (5, 7, 3, "uint16")
    assert np.array_equal(decode(path, PLAIN).numpy(), values[..., :3].transpose(2, 0, 1))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "tif"])
def test_orientation_is_applied(tmp_path: Path, orientation: int, kind: str) -> None:
    upright = np.zeros((16, 32), np.uint8)
    upright[:8, :16] = 250  # bright at the upper left
    exif = Image.Exif()
    exif[274] = orientation
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored_image = Image.fromarray(upright)
    stored_image = stored_image.transpose(undo[orientation]) if orientation in undo else stored_image
    path = tmp_path / f"a.{kind}"
    if kind == "jpg":
        stored_image.save(path, quality=95, exif=exif)
    else:
        tiff(path, np.asarray(stored_image).astype(np.uint16), extratags=[(274, 3, 1, orientation, True)])
    x = decode(path, PLAIN)
    assert tuple(x.shape) == (1, 16, 32) == (header(path).channels, header(path).height, header(path).width)
    assert np.abs(x[0].numpy().astype(int) - upright).max() < 20
    assert ("rotated" in header(path).notes) == (orientation != 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_heic_image_is_that_of_a_png_with_the_same_orientation(tmp_path: Path, orientation: int) -> None:
    values = np.full((48, 64, 3), (200, 30, 30), np.uint8)
    values[:24, 32:] = (20, 200, 40)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(values).save(tmp_path / "a.png", exif=exif)
    expected = decode(tmp_path / "a.png", PLAIN)
    x = decode(heic(tmp_path / "a.heic", values, exif=exif.tobytes()), PLAIN)
    assert tuple(x.shape) == tuple(expected.shape) == (3, *header(tmp_path / "a.heic")[:2])
    assert float((x.float() - expected.float()).abs().mean()) < 2  # a lossy format


def test_heic_images_with_alpha_and_cut_ones(tmp_path: Path) -> None:
    values = np.full((48, 64, 4), (200, 30, 30, 128), np.uint8)
    path = heic(tmp_path / "a.heic", values)
    assert "alpha" in header(path).notes
    assert np.abs(decode(path, PLAIN)[:, 5, 5].numpy() - np.array([227, 142, 142])).max() <= 3  # on white
    for size in (40, path.stat().st_size // 2):
        (tmp_path / "cut.heic").write_bytes(path.read_bytes()[:size])
        with pytest.raises(UnusableFile):
            decode(tmp_path / "cut.heic", PLAIN)


def test_of_a_heic_file_with_several_images_the_primary_is_read(tmp_path: Path) -> None:
    dark, light = (Image.new("RGB", (32, 24), (value, value, value)) for value in (40, 200))
    images = pillow_heif.from_pillow(dark)
    images.add_from_pillow(light)
    images.save(tmp_path / "two.heic", primary_index=1)
    assert header(tmp_path / "two.heic").notes == ("several images",)
    assert abs(decode(tmp_path / "two.heic", PLAIN).float().mean() - 200) < 3


def heic(path: Path, values: np.ndarray, **info: object) -> Path:
    """Write (H, W, C) values with little loss."""
    image = pillow_heif.from_pillow(Image.fromarray(values))
    image.info.update(info)
    image.save(path, quality=95)
    return path


def test_alpha_is_composited_on_white(tmp_path: Path) -> None:
    values = np.zeros((2, 2, 4), np.uint8)
    values[0, 0] = (10, 20, 30, 255)
    values[1, 1] = (0, 0, 0, 128)
    path = save(tmp_path / "a.png", values)
    x = decode(path, PLAIN)
    assert x[:, 0, 0].tolist() == [10, 20, 30]
    assert x[:, 0, 1].tolist() == [255, 255, 255]
    assert x[:, 1, 1].tolist() == [127, 127, 127]
    assert "alpha" in header(path).notes
    grey = save(tmp_path / "b.png", np.stack([np.full((2, 2), 10), np.zeros((2, 2))], -1).astype(np.uint8))
    assert decode(grey, PLAIN).tolist() == [[[255, 255], [255, 255]]]


def test_cmyk_palette_and_animation_become_rgb(tmp_path: Path) -> None:
    red = Image.new("RGB", (8, 8), "red")
    red.convert("CMYK").save(tmp_path / "c.jpg", quality=95)
    red.convert("P").save(tmp_path / "p.png")
    red.save(tmp_path / "a.gif", save_all=True, append_images=[Image.new("RGB", (8, 8), "blue")])
    for name, note in (("c.jpg", "cmyk"), ("p.png", "palette"), ("a.gif", "animation")):
        x = decode(tmp_path / name, PLAIN)
        assert tuple(x.shape) == (3, 8, 8)
        assert (x[:, 4, 4].int() - torch.tensor([255, 0, 0])).abs().max() < 12, name
        assert note in header(tmp_path / name).notes


def test_a_single_pixel_is_an_image(tmp_path: Path) -> None:
    path = save(tmp_path / "ein Körnchen 粒.png", np.full((1, 1), 7, np.uint8))
    assert decode(path, Preprocessing(size=(4, 4), channels=3)).tolist() == [[[7] * 4] * 4] * 3


@pytest.mark.parametrize(
    ("dtype", "expected_dtype"),
    [
        ("uint8", "uint8"),
        ("uint16", "uint16"),
        (">u2", "uint16"),
        ("int16", "float32"),
        ("float16", "float32"),
        ("float32", "float32"),
        ("int32", "float64"),
        ("float64", "float64"),
    ],
)
def test_tiff_keeps_its_depth_and_channels(tmp_path: Path, dtype: str, expected_dtype: str) -> None:
    values = np.arange(5 * 6 * 7).reshape(5, 6, 7).astype(dtype)
    path = tiff(tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig")
    assert header(path)[:4] == (5, 6, 7, expected_dtype)
    x = decode(path, PLAIN)
    assert str(x.dtype) == f"torch.{expected_dtype}"
    assert np.array_equal(x.numpy(), values.transpose(2, 0, 1).astype(expected_dtype))


def test_imagej_channels_are_channels_not_pages(tmp_path: Path) -> None:
    values = np.arange(2 * 6 * 7).reshape(2, 6, 7).astype(np.uint16)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, imagej=True, metadata={"axes": "CYX"})
    assert header(path)[:5] == (6, 7, 2, "uint16", 1)
    assert np.array_equal(decode(path, PLAIN).numpy(), values)


def test_pages_of_a_stack_follow_the_preprocessing(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (3, 6, 7)).astype(np.uint16)
    path = tiff(tmp_path / "a.tif", values, photometric="minisblack")
    assert header(path).pages == 3
    with pytest.raises(UnusableFile, match="3 pages") as caught:
        decode(path, PLAIN)
    assert "--pages first, max, or each" in caught.value.remedy
    assert np.array_equal(decode(path, Preprocessing(pages="first")).numpy()[0], values[0])
    assert np.array_equal(decode(path, Preprocessing(pages="max")).numpy()[0], values.max(0))
    with pytest.raises(UnusableFile, match="3 pages"):
        decode(path, Preprocessing(pages="each"))
    assert [np.array_equal(decode(path, Preprocessing(), k).numpy()[0], values[k]) for k in range(3)] == [True] * 3
    with pytest.raises(UnusableFile, match="no page 4"):
        decode(path, Preprocessing(), 3)


def test_photographs_in_tiff_are_read_by_pillow(tmp_path: Path) -> None:
    values = scene(3)
    Image.fromarray(values).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    assert np.array_equal(decode(tmp_path / "lzw.tif", PLAIN).numpy(), values.transpose(2, 0, 1))
    rgba = np.dstack([values, np.zeros(values.shape[:2], np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "alpha.tif")
    assert bool((decode(tmp_path / "alpha.tif", PLAIN) == 255).all())


def test_deep_tiff_with_a_compression_of_pillow_only(tmp_path: Path) -> None:
    values = scene(3, channels=1).astype(np.uint16) * 200
    Image.fromarray(values).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    assert np.array_equal(decode(tmp_path / "lzw.tif", PLAIN).numpy()[0], values)


def test_channels_are_converted_or_an_error(tmp_path: Path) -> None:
    values = scene(4)
    colour, grey = save(tmp_path / "c.png", values), save(tmp_path / "g.png", values[..., 0])
    luma = values @ np.array([0.299, 0.587, 0.114])
    assert np.abs(decode(colour, Preprocessing(channels=1)).numpy()[0] - luma).max() <= 1
    assert bool((decode(grey, Preprocessing(channels=3)) == decode(grey, PLAIN)).all())
    with pytest.raises(UnusableFile, match="3 channels"):
        decode(colour, Preprocessing(channels=5))


def test_resizing_is_antialiased_and_keeps_depth(tmp_path: Path) -> None:
    stripes = np.tile(np.array([0, 200], np.uint16), (64, 32))  # one pixel wide: must become even grey
    for name, values in (("a.png", stripes.astype(np.uint8)), ("b.png", stripes * 100)):
        x = decode(save(tmp_path / name, values), Preprocessing(size=(16, 16))).double()
        assert x.shape == (1, 16, 16)
        assert float(x[..., 1:-1].std()) < 0.001 * float(x.mean())
        assert float(x.mean()) == pytest.approx(values.mean(), rel=0.02)


def test_a_large_jpeg_is_decoded_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import JpegImagePlugin

    sizes = []
    load = JpegImagePlugin.JpegImageFile.load

    def spy(self: JpegImagePlugin.JpegImageFile) -> object:
        sizes.append(self.size)
        return load(self)

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", spy)
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(scene(5, (800, 640)), "JPEG", quality=95))
    x = decode(path, Preprocessing(size=(80, 100)))
    assert sizes[0] == (100, 80)
    with Image.open(path) as image:
        whole = np.asarray(image.resize((100, 80), Image.Resampling.BILINEAR), np.float64)
    assert np.abs(x.permute(1, 2, 0).numpy() - whole).mean() < 2

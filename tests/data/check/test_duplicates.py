"""Duplicates: re-encoded and resized copies are detected, similar images are not (R7)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from image_makers import save, scene, tiff
from PIL import Image

from snellen.data.check import duplicates
from snellen.data.check.duplicates import (
    Duplicates,
    connected_groups,
    exact_file_duplicates,
    find_array_duplicates,
    find_file_duplicates,
    find_row_duplicates,
    find_stored_duplicates,
    near_duplicates,
    thumbnails,
)
from snellen.data.decode.image_files import ImageFiles
from snellen.data.formats import OpenOptions
from snellen.data.formats.arrays import open_raw as open_arrays
from snellen.data.formats.image_folder import open_raw
from snellen.data.source import ArraySource


def source_of(root: Path) -> ImageFiles:
    source = open_raw(root, OpenOptions()).source
    assert isinstance(source, ImageFiles)
    return source


def resized(image: Image.Image, factor: float, resampling: Image.Resampling) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)), resampling)


EDITS: dict[str, Callable[[Image.Image, Path], None]] = {
    "jpeg 75": lambda image, path: image.save(path.with_suffix(".jpg"), quality=75),
    "jpeg 95": lambda image, path: image.save(path.with_suffix(".jpg"), quality=95),
    "half, bilinear": lambda image, path: resized(image, 0.5, Image.Resampling.BILINEAR).save(path),
    "half, Lanczos": lambda image, path: resized(image, 0.5, Image.Resampling.LANCZOS).save(path),
    "0.7, bicubic": lambda image, path: resized(image, 0.7, Image.Resampling.BICUBIC).save(path),
    "double, bicubic": lambda image, path: resized(image, 2, Image.Resampling.BICUBIC).save(path),
    "double, nearest": lambda image, path: resized(image, 2, Image.Resampling.NEAREST).save(path),
    "small jpeg": lambda image, path: resized(image, 0.5, Image.Resampling.LANCZOS).save(path.with_suffix(".jpg")),
}


@pytest.mark.parametrize("edit", EDITS)
def test_re_encoded_and_resized_copies_are_detected(tmp_path: Path, edit: str) -> None:
    for k in range(40):
        path = save(tmp_path / "ab"[k % 2] / f"{k:02d}.png", scene(k, (96, 72)))
        if k < 20:
            with Image.open(path) as image:
                EDITS[edit](image, tmp_path / "ab"[k % 2] / f"{k:02d}copy.png")
    source = source_of(tmp_path)
    copies = find_file_duplicates(source)
    pairs_found = {tuple(source.name(i).rpartition("/")[2][:2] for i in pair) for pair in copies.near}
    assert all(a == b for a, b in pairs_found)
    assert len(pairs_found) >= 19
    assert copies.exact == []


def test_exact_copies_among_files_that_differ_only_in_the_middle(tmp_path: Path) -> None:
    content = bytearray(np.random.default_rng(0).integers(0, 256, 40_000, dtype=np.uint8).tobytes())
    for k, place in enumerate((None, 10_000, 30_000)):
        changed = bytearray(content)
        if place is not None:
            changed[place] ^= 1
        for name in (f"{k}.png", f"{k} again.png"):
            (tmp_path / "ab"[k % 2]).mkdir(exist_ok=True)
            (tmp_path / "ab"[k % 2] / name).write_bytes(changed)
    source = source_of(tmp_path)
    pairs_found = {frozenset(source.name(i) for i in pair) for pair in find_file_duplicates(source).exact}
    assert pairs_found == {frozenset({f"{'ab'[k % 2]}/{k}.png", f"{'ab'[k % 2]}/{k} again.png"}) for k in range(3)}


def test_files_of_different_size_are_never_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(6):
        save(tmp_path / "ab"[k % 2] / f"{k}.png", scene(k, (20 + k, 20)))
    shutil.copy(tmp_path / "a" / "0.png", tmp_path / "a" / "again.png")
    hashed = []
    digest = duplicates._digest
    monkeypatch.setattr(duplicates, "_digest", lambda path, *rest: hashed.append(path.name) or digest(path, *rest))
    assert len(duplicates.exact_file_duplicates(source_of(tmp_path))) == 1
    assert sorted(hashed) == ["0.png", "again.png"]


def test_images_on_one_background_that_differ_in_details_are_not_copies(tmp_path: Path) -> None:
    background = scene(1, (256, 256)).astype(np.int64)
    rng = np.random.default_rng(0)
    for k in range(12):
        image = background.copy()
        for x, y in rng.integers(0, 240, (60, 2)):
            image[y : y + 5, x : x + 5] += 60
        save(tmp_path / "ab"[k % 2] / f"{k}.png", np.clip(image, 0, 255).astype(np.uint8))
    assert find_file_duplicates(source_of(tmp_path)).near == []


def test_images_that_differ_only_in_colour_are_not_copies(tmp_path: Path) -> None:
    grey = scene(1, (64, 64), 1).astype(np.float64)
    for k, colour in enumerate([(1.0, 0.2, 0.2), (0.2, 1.0, 0.2), (0.2, 0.2, 1.0)]):
        save(tmp_path / "ab"[k % 2] / f"{k}.png", np.rint(grey[..., None] * colour).astype(np.uint8))
    assert find_file_duplicates(source_of(tmp_path)).near == []


def test_blank_and_tiny_images_are_never_near_copies() -> None:
    blank = torch.full((4, 1, 32, 32), 200, dtype=torch.uint8)
    blank[1:, 0, 0, 0] += torch.tensor([1, 2, 3], dtype=torch.uint8)
    assert find_array_duplicates(ArraySource(blank)).near == []
    tiny = torch.from_numpy(np.stack([scene(1, (8, 8), 1)] * 2))[:, None].clone()
    tiny[1, 0, 0, 0] += 1
    assert find_array_duplicates(ArraySource(tiny)).near == []


def test_similar_digits_are_not_copies() -> None:
    """Strokes with small differences in slant, curve, position, width and length, as in handwriting."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:28, :28]
    images = []
    for _ in range(200):
        slant, curve, offset = rng.normal(0.15, 0.15), rng.normal(0, 0.01), rng.normal(0, 1)
        width = rng.uniform(1.2, 2.2)
        middle = 14 + offset + slant * (14 - y) + curve * (14 - y) ** 2
        stroke = 255 * np.exp(-(((x - middle) / width) ** 2)) * (np.abs(y - 14) < rng.uniform(8, 11))
        images.append(stroke.astype(np.uint8))
    pairs_found = find_array_duplicates(ArraySource(torch.from_numpy(np.stack(images))[:, None]))
    assert len({i for pair in pairs_found.near for i in pair}) <= 2


def correlated(correlations: list[float], side: int = 16) -> np.ndarray:
    """Images (4 P, S, S) whose mean is grey: pairs (0, 1), (2, 3) ... of these correlations, and their negatives.

    Images of different pairs are orthogonal.
    """
    rng = np.random.default_rng(0)
    ones = np.ones((side * side, 1))
    basis = np.linalg.qr(np.concatenate([ones, rng.normal(size=(side * side, 2 * len(correlations)))], 1))[0][:, 1:].T
    images = basis.copy()
    for k, r in enumerate(correlations):
        images[2 * k + 1] = r * basis[2 * k] + (1 - r * r) ** 0.5 * basis[2 * k + 1]
    both = np.concatenate([images, -images])
    return 128 + 20 * side * both.reshape(-1, side, side)


def test_near_copies_correlate_above_the_value_in_the_guide() -> None:
    """The guide to data states r > 0.996 between thumbnails of 16 x 16; here the images are their own thumbnails."""
    guide = (Path(__file__).resolve().parents[3] / "docs" / "guide" / "data.md").read_text(encoding="utf-8")
    (value,) = re.findall(r"`r = .* > (0\.\d+)`", guide)
    correlations = [float(value) + d for d in (-0.01, -0.0005, 0.0005, 0.003)]
    images = correlated(correlations)
    assert [np.corrcoef(images[k].ravel(), images[k + 1].ravel())[0, 1] for k in (0, 2, 4, 6)] == pytest.approx(
        correlations
    )
    pairs = find_array_duplicates(ArraySource(torch.from_numpy(images).float()[:, None])).near
    assert pairs == [(4, 5), (6, 7), (12, 13), (14, 15)]


@pytest.mark.parametrize(("correlation", "copies"), [(0.97, False), (0.979, False), (0.981, True), (0.99, True)])
def test_copies_of_equal_brightness_correlate_in_colour_by_at_least_0_98(correlation: float, copies: bool) -> None:
    """A grey image, and the same with a pattern in a colour of luma zero, orthogonal to it."""
    rng = np.random.default_rng(0)
    grey, pattern = rng.normal(0, 20, (2, 16, 16))
    grey -= grey.mean()
    pattern -= pattern.mean()
    pattern -= (pattern * grey).sum() / (grey**2).sum() * grey
    colours = np.array([0.114, 0.0, -0.299])[:, None, None] * pattern  # 0.299 R + 0.587 G + 0.114 B = 0
    strength = (1 / correlation**2 - 1) ** 0.5 * 3**0.5 * np.linalg.norm(grey) / np.linalg.norm(colours)
    images = 128 + np.stack([np.stack([grey] * 3), grey + strength * colours])
    assert np.corrcoef(images.reshape(2, -1))[0, 1] == pytest.approx(correlation)
    near = near_duplicates(torch.from_numpy(images).float(), np.full((2, 2), 16))
    assert near == ([(0, 1)] if copies else [])


def test_resized_small_images_are_compared_at_half_the_resolution() -> None:
    """Of 16 and 24 pixels: details of single pixels may differ, blocks of 2 x 2 correlate by at least 0.995."""
    blocks = correlated([0.9945, 0.9955] * 4, 8).repeat(2, 1).repeat(2, 2)  # (32, 16, 16), the second half negative
    details = np.random.default_rng(1).choice([-2.0, 2.0], blocks.shape)
    details -= details.reshape(-1, 8, 2, 8, 2).mean((2, 4)).repeat(2, 1).repeat(2, 2)
    copies = [(k, k + 1) for k in range(2, 32, 4)]
    small, large = [(16, 16), (24, 24)], [(32, 32), (40, 40)]
    for images in (blocks, blocks + details):
        thumbs = torch.from_numpy(images).float()[:, None].expand(-1, 3, -1, -1)
        assert near_duplicates(thumbs, np.array(small * 16)) == copies
        assert near_duplicates(thumbs, np.array((small + large) * 8)) == []  # details of larger images count
        assert near_duplicates(thumbs, np.full((32, 2), 24)) == []  # 0.988 at 16 x 16


def test_every_pair_of_thousands_is_compared_after_the_mean_is_removed() -> None:
    """All images share a background, so all correlate above 0.996 before the mean thumbnail is subtracted."""
    rng = np.random.default_rng(0)
    background = rng.uniform(50, 200, 256)
    images = background + rng.normal(0, 2, (2300, 256))
    for a, b, noise in ((0, 1, 0.05), (5, 2200, 0.05), (1500, 2299, 0.1), (3, 1400, 0.3), (1023, 1024, 0.05)):
        images[b] = images[a] + rng.normal(0, noise, 256)
    assert np.corrcoef(images[:50]).min() > 0.996
    unit = images - images.mean(1, keepdims=True)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    unit -= unit.mean(0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    expected = np.argwhere(np.triu(unit @ unit.T, 1) > 0.996).tolist()
    assert expected == [[0, 1], [5, 2200], [1023, 1024], [1500, 2299]]
    values = torch.from_numpy(images).float().view(-1, 1, 16, 16)
    assert sorted(map(list, find_array_duplicates(ArraySource(values)).near)) == expected


def test_very_many_copies_are_one_group_of_few_pairs() -> None:
    """An image and its negative, 300 noisy copies of each: 89,700 pairs."""
    rng = np.random.default_rng(0)
    pattern = rng.normal(0, 40, 256)
    images = 128 + np.where(np.arange(600) % 2, 1, -1)[:, None] * pattern + rng.normal(0, 0.3, (600, 256))
    pairs = find_array_duplicates(ArraySource(torch.from_numpy(images).float().view(-1, 1, 16, 16))).near
    assert connected_groups(600, pairs).tolist() == [0, 1] * 300
    assert len(pairs) <= 8 * 600


@pytest.mark.parametrize(("deviation", "copies"), [(0.45, False), (0.52, True)])
@pytest.mark.parametrize("scale", [1, 1 / 255])
def test_images_of_less_than_half_a_grey_level_have_no_content(deviation: float, copies: bool, scale: float) -> None:
    flat = (correlated([0.9999]) - 128) / 20 * deviation
    assert flat.std((1, 2)) == pytest.approx(deviation)
    near = find_array_duplicates(ArraySource(torch.from_numpy((200 + flat) * scale).float()[:, None])).near
    assert bool(near) == copies


def test_thumbnails_are_averages_of_the_pixels(tmp_path: Path) -> None:
    """By Pillow's antialiased resize; images above 128 pixels are reduced to 64 first."""
    sizes = [(40, 48), (128, 128), (129, 160), (300, 400)]
    for k, (height, width) in enumerate(sizes):
        save(tmp_path / "ab"[k % 2] / f"{k}.png", scene(k, (width, height), 1))
    source = source_of(tmp_path)
    thumbs, bad = thumbnails(source)
    assert not bad
    for id, thumb in enumerate(thumbs):
        with Image.open(tmp_path / source.name(id)) as image:
            expected = np.asarray(image.convert("F").resize((16, 16), Image.Resampling.BILINEAR))
        difference = np.abs(thumb.numpy() - expected).max()
        assert difference < (0.01 if max(image.size) <= 128 else 8)


@pytest.mark.parametrize(("noise", "copies"), [(2.0, True), (8.0, False)])
def test_details_of_deep_images_are_compared_relative_to_their_range(
    noise: float, copies: bool, tmp_path: Path
) -> None:
    """Images of 16 bits with values 20,000 to 22,550: a level of 255 is ten."""
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.uniform(20_000, 22_550, (5, 5)).astype(np.float32)).resize((256, 256))
    for k in range(2):
        other = Image.fromarray(rng.normal(0, 1, (64, 64)).astype(np.float32)).resize(
            (256, 256), Image.Resampling.NEAREST
        )
        values = np.asarray(smooth) + k * 10 * noise * np.asarray(other)
        tiff(tmp_path / "ab"[k] / "0.tif", values.astype(np.uint16))
        tiff(tmp_path / "ab"[k] / "1.tif", rng.integers(20_000, 22_550, (256, 256)).astype(np.uint16))
    source = source_of(tmp_path)
    pairs = {frozenset(source.name(id) for id in pair) for pair in find_file_duplicates(source).near}
    assert pairs == ({frozenset({"a/0.tif", "b/0.tif"})} if copies else set())


@pytest.mark.parametrize(("noise", "copies"), [(3.0, True), (8.0, False)])
@pytest.mark.parametrize("side", [80, 256])
@pytest.mark.parametrize("deep", [False, True])
def test_smooth_images_are_copies_if_their_details_differ_by_few_grey_levels(
    noise: float, copies: bool, side: int, deep: bool, tmp_path: Path
) -> None:
    """A wave without details, and the same with noise; a resize to the compared size leaves about half of the noise.

    Images of 80 pixels are compared at 40. Of 16 bits, a level is a 255th of the range.
    """
    rng = np.random.default_rng(0)
    compared = min(64, side // 2)
    wave = np.cos(np.linspace(0, 3, side)) + np.sin(np.linspace(0, 2, side))[:, None]
    wave = (wave - wave.min()) / (wave.max() - wave.min()) * 235 + 10
    details = rng.choice([-1.0, 1.0], (compared, compared)).repeat(side // compared, 0).repeat(side // compared, 1)
    for k in range(2):
        values = wave + k * noise * details
        if deep:
            tiff(tmp_path / "ab"[k] / "0.tif", (20_000 + 10 * values).astype(np.uint16))
        else:
            save(tmp_path / "ab"[k] / "0.png", values.round().astype(np.uint8))
    source = source_of(tmp_path)
    assert bool(find_file_duplicates(source).near) == copies


def test_large_arrays_are_compared_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default, and unless `full` is set; the limit itself is allowed."""
    images = torch.from_numpy(np.stack([scene(1, (16, 16), 1)] * 3)).float()[:, None].clone()
    images[2] += torch.arange(16) % 2
    rows = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    rows[1] = rows[0]
    for find, source, exact, near in (
        (find_array_duplicates, ArraySource(images), [(0, 1)], [(0, 2)]),
        (find_row_duplicates, ArraySource(rows), [(0, 1)], []),
    ):
        size = source.values.numel() * 4
        for limit, full, complete in ((size, False, True), (size - 1, False, False), (size - 1, True, True)):
            monkeypatch.setattr(duplicates, "MAX_BYTES_ON_OPENING", limit)
            found = find(source, full) if full else find(source)
            assert found.complete is complete
            assert bool(found.unchecked) is not complete
            assert (found.exact, found.near) == ((exact, near) if complete else ([], []))
    monkeypatch.undo()
    monkeypatch.setattr(duplicates, "MAX_IMAGES_ON_OPENING", 2)
    found = find_array_duplicates(ArraySource(images))
    assert (found.exact, found.near, found.complete) == ([(0, 1)], [], False)
    assert find_row_duplicates(ArraySource(rows[1:])) == Duplicates([], [], {}, True)


def test_equal_samples_of_a_file_are_found_wherever_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are read in blocks; the limit is the size of the file."""
    h5py = pytest.importorskip("h5py")
    x = np.random.default_rng(0).normal(size=(600, 3)).astype(np.float32)
    x[[256, 599, 511, 281]] = x[[255, 270, 0, 280]]
    path = tmp_path / "rows.h5"
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = x, np.arange(600) % 2
    source = open_arrays(path, OpenOptions()).source
    expected = Duplicates([(255, 256), (280, 281), (0, 511), (270, 599)], [], {}, True)
    monkeypatch.setattr(duplicates, "MAX_BYTES_ON_OPENING", path.stat().st_size)
    assert find_stored_duplicates(source) == expected
    monkeypatch.setattr(duplicates, "MAX_BYTES_ON_OPENING", path.stat().st_size - 1)
    assert find_stored_duplicates(source, full=True) == expected
    deferred = find_stored_duplicates(source)
    assert deferred == Duplicates([], [], {}, False, "duplicates among 600 samples of rows.h5")


def test_a_damaged_image_is_decoded_once_and_an_absent_one_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [save(tmp_path / "ab"[k % 2] / f"{k}.png", scene(k)) for k in range(4)]
    content = paths[1].read_bytes()
    paths[0].write_bytes(paths[0].read_bytes()[:-2000])
    decoded = []
    decode = ImageFiles.decode
    monkeypatch.setattr(
        ImageFiles, "decode", lambda self, id, *a: decoded.append(self.name(id)) or decode(self, id, *a)
    )
    source = source_of(tmp_path)
    paths[1].unlink()
    bad = thumbnails(source)[1]
    assert {source.name(id): problem.kind for id, problem in bad.items()} == {
        "a/0.png": "corrupt",
        "b/1.png": "unreadable",
    }
    assert sorted(decoded) == ["a/0.png", "a/2.png", "b/1.png", "b/3.png"]
    decoded.clear()
    again = thumbnails(source)[1]
    assert {id: problem.kind for id, problem in again.items()} == {id: problem.kind for id, problem in bad.items()}
    assert decoded == ["b/1.png"]
    decoded.clear()
    paths[1].write_bytes(content)
    assert [source.name(id) for id in thumbnails(source_of(tmp_path))[1]] == ["a/0.png"]
    assert decoded == ["b/1.png"]


def test_pages_of_equal_stacks_are_copies_page_by_page(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, other = rng.integers(0, 4000, (2, 3, 20, 20)).astype(np.uint16)
    for name, pages in (("a/0", first), ("a/1", other), ("b/2", first), ("b/3", rng.permutation(other))):
        tiff(tmp_path / f"{name}.tif", pages, photometric="minisblack")
    source = open_raw(tmp_path, OpenOptions(pages="each")).source
    assert isinstance(source, ImageFiles)
    assert source.page is not None
    place = [(file.path, page) for file, page in zip(source.files, source.page, strict=True)]
    pairs = {(place[a], place[b]) for a, b in exact_file_duplicates(source)}
    assert pairs == {(("a/0.tif", page), ("b/2.tif", page)) for _, page in place[:3]}


def test_copies_are_searched_once_for_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(3):
        save(tmp_path / "ab"[k % 2] / f"{k}.png", scene(0 if k < 2 else 1))
    first = exact_file_duplicates(source_of(tmp_path))
    assert len(first) == 1
    monkeypatch.setattr(duplicates, "_find_exact_files", lambda source: pytest.fail("searched again"))
    assert exact_file_duplicates(source_of(tmp_path)) == first


def test_empty_files_are_no_copies(tmp_path: Path) -> None:
    for k in range(4):
        save(tmp_path / "ab"[k % 2] / f"{k}.png", scene(k))
    for k in range(2):
        (tmp_path / "ab"[k] / "empty.png").write_bytes(b"")
    assert exact_file_duplicates(source_of(tmp_path)) == []


@pytest.mark.parametrize(
    ("other", "copies"), [((40, 40), True), ((20, 20), True), ((20, 21), True), ((40, 42), True), ((40, 46), False)]
)
def test_copies_have_one_shape_up_to_the_rounding_of_a_resize(other: tuple[int, int], copies: bool) -> None:
    thumbs = torch.from_numpy(correlated([0.9999])).float()[:, None].expand(-1, 3, -1, -1)
    pairs = near_duplicates(thumbs, np.array([(40, 40), other] * 2))
    assert pairs == ([(0, 1), (2, 3)] if copies else [])


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=20),
    st.lists(st.integers(0, 5), min_size=15, max_size=15),
)
def test_connected_groups_equal_the_connected_components_of_scipy(
    pairs: list[tuple[int, int]], groups: list[int]
) -> None:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    edges = pairs + [(i, groups.index(g)) for i, g in enumerate(groups)]
    matrix = coo_matrix((np.ones(len(edges)), tuple(zip(*edges, strict=True))), shape=(15, 15))
    expected = connected_components(matrix, directed=False)[1]
    ours = connected_groups(15, pairs, np.array(groups))
    assert np.array_equal(ours[:, None] == ours, expected[:, None] == expected)

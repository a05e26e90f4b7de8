"""Stacks of pages, one sample per page: names, classes, splits, duplicates, tables, predictions."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from annotation_makers import coco, coco_content
from image_makers import save, scene, tiff
from PIL import Image

import snellen
from snellen.api import RunOptions
from snellen.core.errors import UsageError
from snellen.core.spec import Preprocessing
from snellen.data.decode.header import UnusableFile
from snellen.data.decode.image_decoder import decode, header, headers
from snellen.data.decode.image_files import ImageFiles, page_name, parse_page_name
from snellen.data.formats import OpenOptions
from snellen.data.open_dataset import dataset
from snellen.modalities import inputs
from snellen.modalities.modality import TooManyInputs
from snellen.report.annotated_images import AnnotatedImageWriter
from snellen.serving import request
from snellen.serving.limits import Limits

ONE = RunOptions(device="cpu", threads=1, report=False)
EACH = OpenOptions(pages="each")
LAYOUTS = ("plain", "deflated", "imagej", "ome", "colour", "planes", "channels first", "pillow", "apart", "volumes")


def stack(seed: int, pages: int = 3, size: tuple[int, int] = (24, 20)) -> np.ndarray:
    """(pages, H, W) uint16: a different image on every page."""
    return np.stack([scene(100 * seed + k, size, 1).astype(np.uint16) * 9 for k in range(pages)])


@pytest.fixture
def stacks(tmp_path: Path) -> Path:
    """20 files in two classes: three pages each, but every fifth has a single page."""
    for k in range(20):
        values = stack(k) if k % 5 else stack(k)[0]
        tiff(tmp_path / "stacks" / "ab"[k % 2] / f"s{k:02d}.tif", values, photometric="minisblack")
    return tmp_path / "stacks"


def write_stack(path: Path, layout: str) -> np.ndarray:
    """Write a stack in a layout; return its values (pages, C, H, W)."""
    rng = np.random.default_rng(0)
    plain = rng.integers(0, 4000, (4, 10, 12)).astype(np.uint16)
    many = rng.integers(0, 4000, (4, 3, 10, 12)).astype(np.uint16)
    colour = rng.integers(0, 255, (4, 10, 12, 3)).astype(np.uint8)
    if layout in ("plain", "deflated"):
        tifffile.imwrite(path, plain, photometric="minisblack", compression="zlib" if layout == "deflated" else None)
    elif layout == "imagej":
        tifffile.imwrite(path, many, imagej=True, metadata={"axes": "ZCYX"})
        return many
    elif layout == "ome":
        axes = {"axes": "TZCYX"}
        tifffile.imwrite(path, many.reshape(2, 2, 3, 10, 12), metadata=axes, photometric="minisblack", ome=True)
        return many
    elif layout == "channels first":
        tifffile.imwrite(path, many.swapaxes(0, 1), metadata={"axes": "CZYX"}, photometric="minisblack", ome=True)
        return many
    elif layout == "colour":
        tifffile.imwrite(path, colour, photometric="rgb")
        return colour.transpose(0, 3, 1, 2)
    elif layout == "planes":
        tifffile.imwrite(path, colour.transpose(0, 3, 1, 2), photometric="rgb", planarconfig="separate")
        return colour.transpose(0, 3, 1, 2)
    elif layout == "pillow":
        pages = [Image.fromarray(page) for page in plain]
        pages[0].save(path, save_all=True, append_images=pages[1:])
    elif layout == "apart":
        with tifffile.TiffWriter(path) as file:
            for page in plain:
                file.write(page, photometric="minisblack", contiguous=False)
    else:
        deep = rng.integers(0, 255, (2, 16, 16, 16)).astype(np.uint8)
        tifffile.imwrite(path, deep, photometric="minisblack", volumetric=True, tile=(16, 16, 16))
        return deep.reshape(32, 1, 16, 16)
    return plain[:, None]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pages_round_trip(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "s.tif"
    values = write_stack(path, layout)
    assert header(path).pages == len(values) == len(headers(path))
    assert {one[:3] for one in headers(path)} == {(*values.shape[2:], values.shape[1])}
    for k in (*range(len(values)), 0):
        assert np.array_equal(decode(path, Preprocessing(), k).numpy(), values[k])
    assert np.array_equal(decode(path, Preprocessing(pages="first")).numpy(), values[0])
    assert np.array_equal(decode(path, Preprocessing(pages="max")).numpy(), values.max(0))


def test_pages_of_several_sizes_have_headers_of_their_own(tmp_path: Path) -> None:
    sizes = [(20, 10), (20, 10), (22, 11)]
    with tifffile.TiffWriter(tmp_path / "s.tif") as file:
        for k, size in enumerate(sizes):
            file.write(np.full(size, k, np.uint8), photometric="minisblack")
    assert header(tmp_path / "s.tif").pages == 3
    assert [one[:2] for one in headers(tmp_path / "s.tif")] == sizes
    assert [decode(tmp_path / "s.tif", Preprocessing(), k).unique().tolist() for k in range(3)] == [[0], [1], [2]]


def test_a_truncated_page_is_an_error_and_the_others_are_read(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "s.tif") as file:
        for page in stack(1):
            file.write(page, photometric="minisblack", contiguous=False)
    (tmp_path / "s.tif").write_bytes((tmp_path / "s.tif").read_bytes()[:-100])
    assert torch.equal(decode(tmp_path / "s.tif", Preprocessing(), 0)[0], torch.from_numpy(stack(1)[0]))
    with pytest.raises(UnusableFile, match="truncated"):
        decode(tmp_path / "s.tif", Preprocessing(), 2)


def test_each_page_is_a_sample_with_the_class_of_its_file(stacks: Path) -> None:
    data = dataset(stacks, options=EACH)
    assert len(data.source) == 16 * 3 + 4
    assert "52 pages of 20 images in 2 classes" in data.recognised_as
    assert dict(data.files) == {"found": 20, "used": 20, "set aside": 0, "no data": 0}
    names = [data.name(k) for k in range(len(data.source))]
    assert names[:4] == ["a/s00.tif", "a/s02.tif#1", "a/s02.tif#2", "a/s02.tif#3"]
    assert [int(y) for y in data.truth] == ["ab".index(name[0]) for name in names]
    third = data.source.read(np.array([names.index("b/s01.tif#3")]), Preprocessing())[0, 0]
    assert torch.equal(third, torch.from_numpy(stack(1)[2]))
    files = {split: {data.name(int(k)).partition("#")[0] for k in ids} for split, ids in data.splits.items()}
    assert not files["train"] & files["val"]
    assert not files["train"] & files["test"]
    assert not files["val"] & files["test"]


def test_first_and_max_have_one_sample_per_file_and_distinct_cache_keys(stacks: Path) -> None:
    sources = {pages: dataset(stacks, options=OpenOptions(pages=pages)).source for pages in ("first", "max", "each")}
    assert [len(source) for source in sources.values()] == [20, 20, 52]
    assert len({source.key() for source in sources.values()}) == 3
    each = sources["each"]
    assert isinstance(each, ImageFiles)
    half, other = (each.subset(np.array(ids)) for ids in ([0, 1, 2], [0, 1, 3]))
    assert half.key() != other.key()
    assert half.name(2) == "a/s02.tif#2"
    again = dataset(stacks, options=EACH).source
    assert again.key() == each.key()
    tiff(stacks / "a" / "s02.tif", stack(2, 5), photometric="minisblack")
    assert len(dataset(stacks, options=EACH).source) == 54


def test_a_group_pattern_keeps_pages_and_files_together(stacks: Path) -> None:
    data = dataset(stacks, options=OpenOptions(pages="each", group="s?{unit}.tif"))
    units = [{data.name(int(k))[4] for k in ids} for ids in data.splits.values()]
    assert all(units)
    assert not any(a & b for a, b in itertools.combinations(units, 2))


def test_duplicates_are_pages_of_different_files_only(stacks: Path) -> None:
    same = np.repeat(stack(77)[:1], 3, 0)  # three times one page
    tiff(stacks / "a" / "still.tif", same, photometric="minisblack")
    (stacks / "a" / "t.tif").write_bytes((stacks / "a" / "s02.tif").read_bytes())
    tiff(stacks / "a" / "u.tif", stack(4)[1], photometric="minisblack")
    data = dataset(stacks, options=EACH)
    (exact,) = (finding for finding in data.findings if finding.kind == "copies")
    assert exact.where == tuple(f"a/s02.tif#{k} = a/t.tif#{k}" for k in (1, 2, 3))
    (near,) = (finding for finding in data.findings if finding.kind == "near-copies")
    assert near.where == ("a/s04.tif#2 = a/u.tif",)
    where = {data.name(int(k)): split for split, ids in data.splits.items() for k in ids}
    assert where["a/s04.tif#1"] == where["a/u.tif"]
    assert where["a/s02.tif#3"] == where["a/t.tif#1"]


def test_bad_pages_are_skipped_without_their_file(stacks: Path) -> None:
    values = stack(50).astype(np.float32)
    values[1, 3, 3] = np.nan
    tiff(stacks / "a" / "nan.tif", values, photometric="minisblack")
    (stacks / "b" / "zero.tif").write_bytes(b"")
    data = dataset(stacks, options=OpenOptions(pages="each", quarantine=True, allow_skipped=True))
    assert [entry.path for entry in data.skipped] == ["a/nan.tif#2", "b/zero.tif"]
    assert dict(data.files) == {"found": 22, "used": 21, "set aside": 1, "no data": 0}
    assert len(data.source) == 54


def test_a_table_may_list_stacks(stacks: Path) -> None:
    rows = [f"a/s{k:02d}.tif,{k},{k % 3}" for k in range(0, 20, 2)]
    (stacks / "table.csv").write_text("\n".join(["file,age,visit", *rows]) + "\n")
    data = dataset(stacks / "table.csv", options=OpenOptions(pages="each", target=("age",)))
    names = [data.name(k) for k in range(len(data.source))]
    assert names[1:4] == ["a/s02.tif#1", "a/s02.tif#2", "a/s02.tif#3"]
    assert data.truth[:, 0].tolist() == [float(name[3:5]) for name in names]
    assert "10 rows: images listed in column 'file', 26 pages" in data.recognised_as
    files = [{names[int(k)][:9] for k in ids} for ids in data.splits.values()]
    assert not files[0] & files[1]
    visits = dataset(stacks / "table.csv", options=OpenOptions(pages="each", target=("age",), group="visit"))
    parts = [{int(names[int(k)][3:5]) % 3 for k in ids} for ids in visits.splits.values()]
    assert not parts[0] & parts[1]


def test_annotations_per_file_do_not_allow_pages(tmp_path: Path) -> None:
    coco(
        tmp_path,
        "_annotations.coco.json",
        coco_content(["0.png"], [{"image_id": 0, "category_id": 0, "bbox": [2, 2, 9, 9]}]),
    )
    with pytest.raises(UsageError, match="--pages each applies only to images in class folders"):
        dataset(tmp_path, options=EACH)


def test_volumes_are_an_error_with_the_reason(stacks: Path) -> None:
    with pytest.raises(UsageError, match="--pages volume needs volumetric models"):
        dataset(stacks, options=OpenOptions(pages="volume"))  # type: ignore[arg-type]


def test_a_model_predicts_every_page(stacks: Path, tmp_path: Path) -> None:
    run = snellen.train(dataset(stacks, options=EACH), model="lda", out=tmp_path / "run", options=ONE)
    again = snellen.load(tmp_path / "run", device="cpu")
    records = list(again.predict_files([stacks / "b" / "s01.tif", stacks / "b" / "s05.tif"]))
    path = stacks / "b" / "s01.tif"
    assert [record["input"] for record in records] == [f"{path}#1", f"{path}#2", f"{path}#3", str(stacks / "b/s05.tif")]
    x = run.data.source.read(
        np.array([k for k in range(52) if run.data.name(k).startswith("b/s01")]), run.record.preprocessing
    )
    assert [one["class"] for one in run.predict_batch(x)] == [record["class"] for record in records[:3]]
    pages = run.predict(path)
    assert isinstance(pages, list)
    assert len(pages) == 3
    written = AnnotatedImageWriter(tmp_path / "annotated", run.task, run.spec, run.record.preprocessing).write(
        Path(f"{path}#2"), None, records[1]
    )
    assert written.name == "s01.tif#2.png"
    with Image.open(written) as image:
        assert image.width >= 256


def test_many_pages_are_read_in_small_batches_and_bad_files_are_reported(tmp_path: Path) -> None:
    tiff(tmp_path / "many.tif", stack(3, 150, (6, 5)), photometric="minisblack")
    (tmp_path / "zero.tif").write_bytes(b"")
    save(tmp_path / "one.png", scene(1, (6, 5), 1))
    tiff(tmp_path / "d" / "a" / "x.tif", stack(9, 2, (6, 5)), photometric="minisblack")
    tiff(tmp_path / "d" / "b" / "y.tif", stack(10, 2, (6, 5)), photometric="minisblack")
    data = dataset(tmp_path / "d", options=EACH)
    words = [str(tmp_path / name) for name in ("many.tif", "zero.tif", "one.png")]
    options = inputs(words, data.spec, Preprocessing(pages="each"))
    assert [len(next(options)[0]) for _ in range(3)] == [64, 64, 23]
    with pytest.raises(snellen.DataError, match=r"zero.tif: has 0 bytes"):
        next(options)


def test_page_names_round_trip() -> None:
    assert parse_page_name(page_name("a/b.tif", 2)) == (Path("a/b.tif"), 2)
    assert page_name("a/b.tif", 2) == "a/b.tif#3"
    assert [parse_page_name(name) for name in ("a/b.tif", "a#b/c.tif", "a.tif#0", "a.tif#x", "a.tif#")] == [None] * 5


def test_a_served_model_predicts_every_page_within_its_limits(stacks: Path) -> None:
    spec = dataset(stacks, options=EACH).spec
    body = (stacks / "b" / "s01.tif").read_bytes()
    options = list(request.inputs(body, "image/tiff", spec, Preprocessing(pages="each"), Limits()))
    assert [names for names, _ in options] == [["body#1"], ["body#2"], ["body#3"]]
    assert all(np.array_equal(x[0, 0].numpy(), page) for (_, x), page in zip(options, stack(1), strict=True))
    with pytest.raises(TooManyInputs, match="more than 2 pages"):
        list(request.inputs(body, "image/tiff", spec, Preprocessing(pages="each"), Limits(max_inputs=2)))

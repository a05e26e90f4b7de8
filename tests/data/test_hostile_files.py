"""Files that other people made: pipes, links, playlists and texts that would never end or lead elsewhere."""

from __future__ import annotations

import os
import signal
import sqlite3
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from image_makers import class_folders, save, scene

from snellen.core.errors import DataError, SnellenError, suggest_name
from snellen.core.file_io import read_tensors, write_tensors
from snellen.core.spec import Preprocessing
from snellen.core.torch_file import read_state_dict
from snellen.data import cache, file_index
from snellen.data.decode import decompress
from snellen.data.decode.header import UnusableFile
from snellen.data.decode.image_decoder import decode, header
from snellen.data.formats import OpenOptions, arrays, plain_yaml
from snellen.data.formats.table_targets import split_unit
from snellen.data.formats.yolo_config import read_config
from snellen.data.open_dataset import dataset
from snellen.modalities.paths import _glob

OPTIONS = OpenOptions()


@pytest.fixture(autouse=True)
def limited_time() -> Iterator[None]:
    """Ends a test that waits for a pipe or for hours: without it, the tests would hang."""

    def stop(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


PIPES = [
    "data.yaml",
    "dataset.yml",
    "classes.txt",
    "labels/a.txt",
    "labels.txt",
    "obj.names",
    "table.csv",
    "rows.jsonl",
    "annotations/instances_train.json",
    "x.json",
    "Annotations/a.xml",
    "ImageSets/Main/train.txt",
    "ImageSets/Segmentation/train.txt",
    "depth.json",
    "masks/a.png",
    "depth/a.npy",
    "flow/a.flo",
    "images/b.png",
    "images/clip.mp4",
    "batches.meta",
    "data_batch_1",
    "train-images-idx3-ubyte",
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte",
]


@pytest.mark.parametrize("name", PIPES)
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "images").mkdir()
    save(tmp_path / "images" / "a.png", scene(0))
    (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(SnellenError):
        dataset(str(tmp_path))


@pytest.mark.parametrize("name", ["x.npz", "x.h5", "x.csv", "x.jsonl", "x.json", "x.yaml", "x.png"])
def test_a_pipe_given_as_data_is_refused(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(SnellenError):
        dataset(str(tmp_path / name))


# -- links -------------------------------------------------------------------------------------------------------------


def test_a_link_to_the_root_of_the_file_system_is_not_followed(tmp_path: Path) -> None:
    class_folders(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "c").symlink_to("/")
    listing = file_index.walk(tmp_path)
    assert listing.folders == ["", "a", "b"]
    assert [entry.path for entry in listing.skipped] == ["c"]


def test_a_glob_follows_no_link_to_a_folder(tmp_path: Path) -> None:
    class_folders(tmp_path / "data", {"a": 2, "b": 1})
    (tmp_path / "data" / ".hidden").mkdir()
    save(tmp_path / "data" / ".hidden" / "x.png", scene(0))
    (tmp_path / "data" / "link").symlink_to("/")
    names = {"a/000.png", "a/001.png", "b/000.png"}
    for pattern in ("**/*.png", "**"):
        paths = [Path(path) for path in _glob(tmp_path / "data" / pattern)]
        assert {str(path.relative_to(tmp_path / "data")) for path in paths if path.is_file()} == names
    assert len(_glob(tmp_path / "data" / "a" / "*.png")) == 2


def test_a_table_cannot_name_images_outside_its_folder(tmp_path: Path) -> None:
    save(tmp_path / "secret.png", scene(0))
    data = tmp_path / "data"
    data.mkdir()
    for k in range(6):
        save(data / f"{k}.png", scene(k))
    (data / "link.png").symlink_to(tmp_path / "secret.png")
    (data / "up").symlink_to(tmp_path)
    good = "".join(f"{k}.png,{'ab'[k % 2]}\n" for k in range(6))
    names = ["../secret.png", str(tmp_path / "secret.png"), "link.png", "up/secret.png", "C:\\secret.png"]
    for name in [*names, "http://e.example/x.png", "file:///etc/passwd.png", "\\\\host\\share\\x.png"]:
        (data / "t.csv").write_text(f"image,y\n{good}{name},a\n")
        with pytest.raises(DataError, match=r"outside|does not exist"):
            dataset(str(data / "t.csv"))
    (data / "t.csv").write_text(f"image,y\n{good}")
    assert len(dataset(str(data / "t.csv")).source) == 6


def test_listed_images_that_are_links_to_elsewhere_are_unusable(tmp_path: Path) -> None:
    from snellen.data.decode.image_files import open_named_images

    save(tmp_path / "secret.png", scene(0))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.png").symlink_to(tmp_path / "secret.png")
    (problem,) = open_named_images(tmp_path / "data", ["a.png"]).headers
    assert isinstance(problem, UnusableFile)
    assert "outside the folder" in problem.cause


def test_hdf5_reads_no_other_file(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.ones((20, 3))
    (tmp_path / "raw").write_bytes(bytes(20 * 3))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["y"] = np.arange(20) % 2
        file["external"] = h5py.ExternalLink("secret.h5", "/x")
        file["soft"] = h5py.SoftLink("/y")
        layout = h5py.VirtualLayout((20, 3), "f8")
        layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "x", shape=(20, 3))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("stored", (20, 3), "u1", external=[(str(tmp_path / "raw"), 0, 60)])
    assert set(arrays.open_arrays(tmp_path / "x.h5").shapes) == {"y"}
    for name in ("external", "virtual", "stored"):
        with h5py.File(tmp_path / "x.h5", "a") as file:
            file.move(name, "x")
        with pytest.raises(DataError, match="0 arrays that could be the input"):
            arrays.open_raw(tmp_path / "x.h5", OPTIONS)
        with h5py.File(tmp_path / "x.h5", "a") as file:
            del file["x"]


def test_a_tiff_reads_no_other_file(tmp_path: Path) -> None:
    values = np.arange(64, dtype=np.uint16).reshape(8, 8)
    tifffile.imwrite(tmp_path / "secret.tif", values + 1000, metadata=None)
    ome = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1"><Image>'
        '<Pixels DimensionOrder="XYCZT" SizeC="1" SizeT="1" SizeX="8" SizeY="8" SizeZ="1" Type="uint16">'
        '<TiffData IFD="0" PlaneCount="1"><UUID FileName="secret.tif">urn:uuid:2</UUID></TiffData></Pixels>'
        "</Image></OME>"
    )
    tifffile.imwrite(tmp_path / "x.ome.tif", values, description=ome, metadata=None)
    assert np.array_equal(decode(tmp_path / "x.ome.tif", Preprocessing()).numpy()[0], values)


def test_a_playlist_is_not_a_video(tmp_path: Path) -> None:
    pytest.importorskip("av")
    from snellen.data.decode.video import frames

    (tmp_path / "x.mp4").write_text("ffconcat version 1.0\nfile 'secret.mp4'\n")
    with pytest.raises(UnusableFile):
        list(frames(tmp_path / "x.mp4"))


# -- texts -------------------------------------------------------------------------------------------------------------


def test_yaml_is_plain_data() -> None:
    text = "names: [a, 1, 0x10, 012, 1.5, yes, ~, '1']\n2: {x: [.inf, 1_000, -3]}\nz: 2020-01-01\nt: 1:30\n"
    names = ["a", 1, 16, 10, 1.5, True, None, "1"]
    assert plain_yaml.load(text) == {"names": names, 2: {"x": [float("inf"), 1000, -3]}, "z": "2020-01-01", "t": "1:30"}


@pytest.mark.parametrize(
    "text",
    [
        "a0: &a0 {x: 1}\n" + "".join(f"a{k}: &a{k} {{<<: [{', '.join([f'*a{k - 1}'] * 9)}]}}\n" for k in range(1, 30)),
        "names: {a: !!merge x}",
        "nc: !!int " + "1:" * 100_000 + "1",
        "nc: " + "9" * 5000,
        "names: [" + "0x" + "f" * 100_000 + "]",
        "names: !!python/object/apply:os.system [ls]",
        "names: " + "[" * 100_000,
        "names: [" + "a," * 300_000 + "a]",
    ],
)
def test_yaml_that_would_never_end_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.yaml").write_text(f"train: images\n{text}\n")
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError):
        read_config(tmp_path, "data.yaml", file_index.walk(tmp_path))


@pytest.mark.parametrize("count", [40_000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_long_lists_and_wide_tables_are_read_in_linear_time(tmp_path: Path, count: int) -> None:
    (tmp_path / "classes.txt").write_text("\n".join(f"c{k}" for k in range(count)))
    (classes,) = read_config(tmp_path, None, file_index.walk(tmp_path)).lists
    assert len(classes.names) == count
    rows = [",".join(str((k * 7 + j) % 11) for j in range(count)) + f",{'ab'[k % 2]}\n" for k in range(12)]
    (tmp_path / "t.csv").write_text(",".join(f"c{k}" for k in range(count)) + ",y\n" + "".join(rows))
    assert dataset(str(tmp_path / "t.csv")).spec.input.shape == (count,)


def test_long_headers_and_names_are_read_in_linear_time(tmp_path: Path) -> None:
    header = "a [" * 40_000  # minutes for a pattern that is quadratic in the length
    assert split_unit(header) == (header, "")
    assert split_unit("height [mm]") == ("height", "mm")
    names = [f"column {k}" for k in range(200_000)]
    assert suggest_name("colunm 7", names).startswith("Did you mean column 7")
    assert suggest_name("x", names).endswith("column 99 and 199,900 more.")


def test_a_number_of_unnamed_classes_has_a_limit(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "data.yaml").write_text("nc: 1048576\ntrain: images\n")
    with pytest.raises(DataError, match="nc: 1048576"):
        read_config(tmp_path, "data.yaml", file_index.walk(tmp_path))


def test_sparse_objects_make_no_table_beyond_memory(tmp_path: Path) -> None:
    lines = ["{" + ",".join(f'"k{row}_{k}":1' for k in range(100)) + "}" for row in range(2000)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match="200,000 names in 2,000 objects"):
        dataset(str(tmp_path / "t.jsonl"))


def test_a_huge_label_makes_no_list_of_classes(tmp_path: Path) -> None:
    images = struct.pack(">I3I", 0x803, 4, 2, 2) + bytes(16)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(images)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(struct.pack(">II4i", 0xC01, 4, 0, 1, 0, (1 << 31) - 1))
    with pytest.raises(DataError, match="label 2147483647"):
        dataset(str(tmp_path))


# -- compression -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["inflate", "inflate_lzma"])
def test_decompression_stops_at_the_size_and_refuses_truncated_data(name: str) -> None:
    import lzma
    import zlib

    content = np.random.default_rng(0).bytes(1000) + bytes(100_000)
    function, data = {
        "inflate": (decompress.inflate, zlib.compress(content)),
        "inflate_lzma": (decompress.inflate_lzma, lzma.compress(content)),
    }[name]
    assert function(data, out=len(content)) == content
    assert function(data, out=len(content) + 5) == content
    assert function(data, out=50) == content[:50]
    with pytest.raises((zlib.error, EOFError)):
        function(data[:500], out=len(content))


def test_pack_bits_is_that_of_the_specification() -> None:
    packed = bytes.fromhex("FE AA 02 80 00 2A FD AA 03 80 00 2A 22 F7 AA")  # the example of TIFF 6.0 and Apple
    content = bytes.fromhex("AA AA AA 80 00 2A AA AA AA AA 80 00 2A 22" + " AA" * 10)
    assert decompress.unpack_bits(packed, out=24) == content
    assert decompress.unpack_bits(packed, out=10) == content[:10]
    assert decompress.unpack_bits(b"\x80\x80\x00a", out=9) == b"a"


@pytest.mark.parametrize("compression", ["zlib", "packbits", "lzma"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_compressed_tiffs_are_read_exactly(tmp_path: Path, compression: str, tile: tuple[int, int] | None) -> None:
    values = np.random.default_rng(0).integers(0, 1 << 16, (37, 41), np.uint16)
    try:
        tifffile.imwrite(tmp_path / "x.tif", values, compression=compression, tile=tile)
    except (ValueError, ImportError, KeyError):
        pytest.skip("tifffile writes it with imagecodecs only")
    assert header(tmp_path / "x.tif").dtype == "uint16"
    assert np.array_equal(decode(tmp_path / "x.tif", Preprocessing()).numpy()[0], values)


def test_arrays_in_other_compressions_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", x=np.zeros((20, 3)), y=np.arange(20) % 2)
    with zipfile.ZipFile(tmp_path / "good.npz") as good, zipfile.ZipFile(tmp_path / "x.npz", "w", 12) as bad:  # bzip2
        for name in good.namelist():
            bad.writestr(name, good.read(name))
    with pytest.raises(DataError, match="compressed in another way"):
        arrays.open_raw(tmp_path / "x.npz", OPTIONS)


def test_memory_counts_the_tensors_that_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((2000, 1000), np.int8), y=np.arange(2000) % 2)
    monkeypatch.setattr(arrays, "available_memory", lambda: 9_000_000)  # int8 2 MB, float32 8 MB
    with pytest.raises(DataError, match="needs 10,"):
        arrays.open_raw(tmp_path / "x.npz", OPTIONS)


def test_weights_of_torch_are_tensors_and_not_compressed(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(3)}}, tmp_path / "good.pth")
    assert torch.equal(read_state_dict(tmp_path / "good.pth")["a"], torch.ones(3))
    with zipfile.ZipFile(tmp_path / "good.pth") as good, zipfile.ZipFile(tmp_path / "x.pth", "w", 8) as bad:  # deflate
        for name in good.namelist():
            bad.writestr(name, good.read(name))
    with pytest.raises(DataError, match="it is compressed"):
        read_state_dict(tmp_path / "x.pth")
    torch.save({"a": print}, tmp_path / "code.pth")
    os.mkfifo(tmp_path / "pipe.pth")
    for name in ("code.pth", "pipe.pth"):
        with pytest.raises(DataError, match="Cannot read weights"):
            read_state_dict(tmp_path / name)


def test_a_header_of_a_million_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {f"t{k}": torch.zeros(1) for k in range(1000)}, {"ids": list(range(1_000_000))})
    assert len(read_tensors(path)[0]) == 1000
    entries = ",".join(f'"{k}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for k in range(300_000))
    path.write_bytes(struct.pack("<Q", len(entries) + 2) + f"{{{entries}}}".encode())
    with pytest.raises(DataError, match="300,001 objects"):
        read_tensors(path)
    path.write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    with pytest.raises(DataError, match="bytes, more than"):
        read_tensors(path)


# -- caches ------------------------------------------------------------------------------------------------------------


def test_the_cache_is_private_and_one_that_others_prepared_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNELLEN_CACHE", str(tmp_path / "cache"))
    folder = class_folders(tmp_path / "data", {"a": 3, "b": 3})
    before = os.umask(0o002)
    try:
        dataset(str(folder))
    finally:
        os.umask(before)
    (database,) = (tmp_path / "cache" / "index").iterdir()
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "cache", database.parent)] == [0o700, 0o700]

    with sqlite3.connect(database) as connection:  # another user prepares facts: images are 999 pixels high
        connection.execute("UPDATE facts2 SET fact = CAST(replace(CAST(fact AS TEXT), '40,48', '999,48') AS BLOB)")
    assert {h.height for h in dataset(str(folder)).source.headers} == {999}  # type: ignore[attr-defined]
    (tmp_path / "cache").chmod(0o777)
    assert {h.height for h in dataset(str(folder)).source.headers} == {40}  # type: ignore[attr-defined]
    with pytest.raises(PermissionError, match="everyone"):
        file_index.private_cache_folder("index")

    (tmp_path / "cache").chmod(0o770)
    file_index.private_cache_folder("index")
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o750

    monkeypatch.setattr(os, "getuid", lambda: (tmp_path / "cache").stat().st_uid + 1)
    if (tmp_path / "cache").stat().st_uid:
        with pytest.raises(PermissionError, match="another user"):
            file_index.private_cache_folder("index")
    raw = dataset(str(folder)).source
    lines: list[str] = []
    (tmp_path / "cache").chmod(0o777)
    assert cache.decode_to_disk(raw, Preprocessing(), "1G", lines.append) is raw
    assert "No decoded inputs are cached" in lines[-1]


def test_labels_of_megabytes_are_refused_from_their_header(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "labels.npz", x=np.zeros((20, 4)), y=np.zeros(20, "U50000"))
    with pytest.raises(DataError, match="holds strings of 200,000 bytes"):
        dataset(str(tmp_path / "labels.npz"))

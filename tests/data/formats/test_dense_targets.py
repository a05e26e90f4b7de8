"""Dense targets: depth, normals, edges, reflectance and flow from each file type, and invalid pixels."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from image_makers import save, scene, tiff
from PIL import Image
from videos import write_video

from snellen.core.errors import DataError
from snellen.core.spec import Input, PixelNumbers, Preprocessing, Spec
from snellen.data.decode.header import UnusableFile
from snellen.data.formats import OpenOptions
from snellen.data.formats.map_files import read_map
from snellen.data.open_dataset import dataset
from snellen.data.source import BadSamples
from snellen.modalities import inputs

H, W = 12, 10


def write_images(root: Path, count: int = 4, names: str = "images/{k}.png") -> Path:
    for k in range(count):
        save(root / names.format(k=k), scene(k, (W, H)))
    return root


def random_map(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 1, shape).astype(np.float32)


def pfm(values: np.ndarray, order: str = "<") -> bytes:
    """PFM as described by Debevec, bottom row first."""
    kind = "PF" if values.ndim == 3 else "Pf"
    head = f"{kind}\n{values.shape[1]} {values.shape[0]}\n{-1.0 if order == '<' else 1.0}\n"
    return head.encode() + values[::-1].astype(f"{order}f4").tobytes()


def flo(values: np.ndarray) -> bytes:
    return struct.pack("<fii", 202021.25, values.shape[1], values.shape[0]) + values.astype("<f4").tobytes()


def write(path: Path, values: np.ndarray, order: str = "<") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    match path.suffix:
        case ".npy":
            np.save(path, values)
        case ".pfm":
            path.write_bytes(pfm(values, order))
        case ".flo":
            path.write_bytes(flo(values))
        case ".tif":
            tiff(path, values)
        case _:
            Image.fromarray(values).save(path)


@pytest.mark.parametrize("suffix", [".npy", ".pfm", ".tif"])
def test_float_depth_is_unchanged_and_zero_and_nan_are_invalid(tmp_path, suffix):
    write_images(tmp_path)
    for k in range(4):
        values = random_map(k, H, W)
        values[0, :4] = [0, np.nan, np.inf, -1] if suffix != ".tif" else [0, 0, 0, -1]
        write(tmp_path / f"depth/{k}{suffix}", values, ">" if k % 2 else "<")
    data = dataset(tmp_path)
    assert data.spec.target == PixelNumbers(kind="depth", names=("depth",))
    assert "the files' own units" in data.recognised_as
    assert "no ground truth" in data.recognised_as
    for k in range(4):
        told = data.annotations.load(k)
        assert told.shape == (1, H, W)
        assert told.dtype == torch.float32
        assert told[0, 0, :4].isnan().all()
        assert torch.equal(told[0, 1:], torch.from_numpy(random_map(k, H, W)[1:]))


def test_16_bit_depth_is_scaled_by_depth_json(tmp_path):
    write_images(tmp_path)
    values = np.arange(H * W, dtype=np.uint16).reshape(H, W) * 500
    for k in range(4):
        write(tmp_path / f"depth/{k}.png", values)
    raw = dataset(tmp_path).annotations.load(0)[0]
    assert raw[0, 0].isnan()
    assert torch.equal(raw[1:], torch.from_numpy(values[1:].astype(np.float32)))
    (tmp_path / "depth.json").write_text('{"scale": 0.00390625}')
    data = dataset(tmp_path)
    assert data.spec.target.units == ("m",)
    assert torch.equal(data.annotations.load(0)[0, 1:], torch.from_numpy(values[1:] / 256).float())
    for wrong in ('{"scale": 0}', '{"scale": "x"}', "{", "[]", '{"scale": NaN}'):
        (tmp_path / "depth.json").write_text(wrong)
        with pytest.raises(DataError, match=r"depth\.json has no positive number"):
            dataset(tmp_path)


def unit(seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(H, W, 3))
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("kind", ["png", "npy", "first", "pfm"])
def test_normals_are_scaled_to_length_one(tmp_path, kind):
    write_images(tmp_path)
    for k in range(4):
        vectors = unit(k)
        if kind == "png":
            coded = np.rint((vectors + 1) / 2 * 255).astype(np.uint8)
            coded[0, 0] = 0
            write(tmp_path / f"normals/{k}.png", coded)
        else:
            held = 2 * vectors
            held[0, 0] = 0
            held = held.transpose(2, 0, 1) if kind == "first" else held
            write(tmp_path / f"normals/{k}.{'pfm' if kind == 'pfm' else 'npy'}", held)
    told = dataset(tmp_path).annotations.load(2)
    assert told[:, 0, 0].isnan().all()
    close = told.permute(1, 2, 0).numpy() - unit(2)
    assert np.nanmax(np.abs(close)) < (0.01 if kind == "png" else 1e-6)
    assert np.nanmax(np.abs(told.norm(dim=0).numpy() - 1)) < 1e-6


@pytest.mark.parametrize("kind", ["edges", "reflectance"])
def test_8_bit_values_become_0_to_1(tmp_path, kind):
    write_images(tmp_path)
    values = np.arange(H * W, dtype=np.uint8).reshape(H, W) * 2
    colour = kind == "reflectance"
    for k in range(4):
        write(tmp_path / f"{kind}/{k}.png", np.stack([values, values // 2, 255 - values], -1) if colour else values)
    data = dataset(tmp_path)
    assert data.spec.target.names == (("red", "green", "blue") if colour else ("edge",))
    assert torch.equal(data.annotations.load(1)[0], torch.from_numpy(values).float() / 255)


def test_values_outside_0_to_1_are_an_error(tmp_path):
    write_images(tmp_path)
    for k in range(4):
        write(tmp_path / f"edges/{k}.npy", random_map(k, H, W) + (k == 2))
    with pytest.raises(DataError, match=r"images/2.png.*edges/2.npy.*not 0 to 1"):
        dataset(tmp_path)


def kitti(u: np.ndarray, v: np.ndarray, known: np.ndarray) -> bytes:
    """A 16-bit PNG with three channels, which Pillow cannot write."""
    import zlib

    rows = np.stack([u * 64 + 32768, v * 64 + 32768, known], -1).astype(">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("frames", "flows"),
    [
        ("images/{k:04d}.png", "flow/{k:04d}.flo"),
        ("frames/frame_{k}.png", "flow/frame_{k}.npy"),
        ("train/images/{k}.png", "train/flow/{k}.flo"),
        ("frame{k:02d}.png", "flow{k:02d}.flo"),
        ("image/{k:06d}_10.png image/{k:06d}_11.png", "flow_occ/{k:06d}_10.png"),
        ("{k:05d}_img1.png {k:05d}_img2.png", "{k:05d}_flow.flo"),
    ],
)
def test_flow_has_two_frames_and_six_channels(tmp_path, frames, flows):
    first, *second = frames.split()
    write_images(tmp_path, 5, first)
    for k in range(5 if second else 0):
        save(tmp_path / second[0].format(k=k), scene(50 + k, (W, H)))
    for k in range(4):
        moved = np.round(16 * random_map(k, H, W, 2)).astype(np.float32)
        path = tmp_path / flows.format(k=k)
        if path.suffix == ".png":
            path.parent.mkdir(exist_ok=True)
            known = np.ones((H, W))
            known[3, 3] = 0
            path.write_bytes(kitti(moved[..., 0], moved[..., 1], known))
        else:
            moved[3, 3] = 1e10
            write(path, np.where(moved > 1e9, np.nan, moved) if path.suffix == ".npy" else moved)
    if second:
        (tmp_path / first.format(k=4)).unlink()
        (tmp_path / second[0].format(k=4)).unlink()
    data = dataset(tmp_path, options=OpenOptions(full=True))
    assert data.spec.target == PixelNumbers(kind="flow", names=("u", "v"), units=("px", "px"))
    assert data.spec.input.shape == (6, H, W)
    assert len(data) == 4
    assert sum(n for what, n in data.files.items() if what != "found") == data.files["found"]
    assert data.files["set aside"] == 0
    for k in range(4):
        both = data.source.read(np.array([k]), Preprocessing())[0]
        after = scene(50 + k, (W, H)) if second else scene(k + 1, (W, H))
        assert torch.equal(both[:3], torch.from_numpy(scene(k, (W, H))).permute(2, 0, 1))
        assert torch.equal(both[3:], torch.from_numpy(after).permute(2, 0, 1))
        told = data.annotations.load(k)
        assert told[:, 3, 3].isnan().all()
        expected = torch.from_numpy(np.round(16 * random_map(k, H, W, 2))).permute(2, 0, 1)
        assert torch.equal(told[:, 4:], expected[:, 4:])
    # prediction on the folder uses the same pairs
    ((names, x),) = inputs([str(tmp_path)], data.spec, Preprocessing())
    assert names == [str(data.source.path(k)) for k in range(4)]
    assert torch.equal(x, data.source.read(np.arange(4), Preprocessing()))


def test_flow_prediction_needs_two_files_and_names_a_single_file(tmp_path):
    write_images(tmp_path, 4, "images/{k}.png")
    save(tmp_path / "b" / "1.png", scene(9, (W, H)))
    save(tmp_path / "b" / "2.png", scene(9, (W + 1, H)))
    two = {"image": Input(modality="image", shape=(6, H, W), dtype="uint8")}
    spec = Spec(name="x", inputs=two, target=PixelNumbers(kind="flow", names=("u", "v")))
    zero, one, two, three = (str(tmp_path / "images" / f"{k}.png") for k in range(4))
    ((names, x),) = inputs([three, zero], spec, Preprocessing())  # in the given order, as the names are not consecutive
    assert names == [three]
    assert torch.equal(x[0, :3], torch.from_numpy(scene(3, (W, H))).permute(2, 0, 1))
    assert torch.equal(x[0, 3:], torch.from_numpy(scene(0, (W, H))).permute(2, 0, 1))
    options = inputs([zero, one, three, str(tmp_path / "b")], spec, Preprocessing())
    names, _ = next(options)
    assert names == [zero]
    with pytest.raises(BadSamples) as caught:
        next(options)
    told = dict(zip(caught.value.names.values(), caught.value.problems.values(), strict=True))
    assert "has no second frame" in told[three]
    first, second = (tmp_path / "b" / f"{k}.png" for k in (1, 2))
    assert told[str(first)] == f"is {W}x{H} pixels, its second frame {second} {W + 1}x{H}"
    with pytest.raises(BadSamples, match="has no second frame"):
        list(inputs([zero], spec, Preprocessing()))


def test_flow_is_predicted_for_consecutive_frames_of_a_video(tmp_path):
    path = write_video(tmp_path / "clip.avi", 4, (64, 64))
    image = {"image": Input(modality="image", shape=(6, 64, 64), dtype="uint8")}
    ((names, x),) = inputs(
        [path], Spec(name="x", inputs=image, target=PixelNumbers(kind="flow", names=("u", "v"))), Preprocessing()
    )
    assert names == [f"{path}#{k}" for k in range(3)]
    assert x.shape == (3, 6, 64, 64)
    assert torch.equal(x[0, 3:], x[1, :3])


@pytest.mark.parametrize("kind", ["depth", "edges"])
def test_maps_beside_images_are_not_inference_inputs(tmp_path, kind):
    write_images(tmp_path, 3)
    for k in range(3):
        write(tmp_path / kind / f"{k}.npy", random_map(k, H, W))
        save(tmp_path / "masks" / f"{k}.png", scene(k, (W, H)))
    spec = dataset(tmp_path, options=OpenOptions(target=(kind,))).spec
    ((names, _),) = inputs([str(tmp_path)], spec, Preprocessing())
    assert names == [str(tmp_path / "images" / f"{k}.png") for k in range(3)]
    ((names, _),) = inputs([str(tmp_path / "masks")], spec, Preprocessing())  # a folder given directly is read as it is
    assert len(names) == 3


def test_flow_with_a_missing_or_different_frame_is_named(tmp_path):
    write_images(tmp_path, 4)
    for k in range(4):
        write(tmp_path / f"flow/{k}.flo", random_map(k, H, W, 2))
    with pytest.raises(DataError, match=r"flow/3.flo has no image"):
        dataset(tmp_path)
    save(tmp_path / "images/4.png", scene(1, (W, H + 1)))
    with pytest.raises(DataError, match=r"images/3.png.*second frame images/4.png 10x13"):
        dataset(tmp_path)
    assert len(dataset(tmp_path, options=OpenOptions(quarantine=True, allow_skipped=True))) == 3


def film(root: Path, name: str, frames: int) -> None:
    for k in range(frames):
        save(root / f"images/{name}/{k}.png", scene(k, (W, H)))
        if k + 1 < frames:
            write(root / f"flow/{name}/{k}.flo", random_map(k, H, W, 2))


def test_samples_that_share_frames_stay_in_one_split(tmp_path):
    for name in "abcdefgh":
        film(tmp_path, name, 4)
    data = dataset(tmp_path)
    assert all(len(ids) for ids in data.splits.values())
    films = [{data.name(id).split("/")[1] for id in ids} for ids in data.splits.values()]
    assert sum(map(len, films)) == 8
    assert not any(f.kind == "leakage" for f in data.findings)


def test_a_video_in_several_splits_is_reported(tmp_path):
    film(tmp_path, "a", 13)
    data = dataset(tmp_path)
    assert all(len(ids) for ids in data.splits.values())
    assert any(f.kind == "leakage" and "share frames" in f.message for f in data.findings)


def test_several_kinds_of_maps_need_a_target(tmp_path):
    write_images(tmp_path)
    for k in range(4):
        write(tmp_path / f"depth/{k}.npy", random_map(k, H, W))
        write(tmp_path / f"normals/{k}.npy", unit(k))
        save(tmp_path / f"masks/{k}.png", np.arange(H * W, dtype=np.uint8).reshape(H, W) % 3)
    with pytest.raises(DataError, match="several kinds: depth, masks, normals"):
        dataset(tmp_path)
    for word, kind in (("depth", "depth"), ("normals", "normals")):
        data = dataset(tmp_path, options=OpenOptions(target=(word,)))
        assert data.spec.target.kind == kind
        assert data.files == {"found": 16, "used": 8, "set aside": 0, "no data": 8}
    assert dataset(tmp_path, options=OpenOptions(target=("classes",))).spec.target.names == ("0", "1", "2")


def bad_files() -> dict[str, tuple[bytes, str]]:
    import io

    objects = io.BytesIO()
    np.save(objects, np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
    encoded_map = io.BytesIO()
    np.save(encoded_map, random_map(0, H, W))
    lying = encoded_map.getvalue().replace(b"(12, 10)", b"(99, 99)")
    text = io.BytesIO()
    np.save(text, np.array([["a", "b"]]))
    archive = io.BytesIO()
    np.savez(archive, a=random_map(0, H, W))
    return {
        "objects.npy": (objects.getvalue(), "Python objects"),
        "cut.npy": (encoded_map.getvalue()[:200], "not an NPY file"),
        "lying.npy": (lying, "not an NPY file"),
        "text.npy": (text.getvalue(), "not a numeric map"),
        "empty.npy": (b"", "begin as an NPY"),
        "archive.npy": (archive.getvalue(), "begin as an NPY"),
        "pickle.npy": (b"\x80\x04\x8c\x08builtins\x94\x8c\x05print\x94\x93\x94.", "begin as an NPY"),
        "huge.pfm": (b"Pf\n999999999 999999999\n-1.0\n" + b"\0" * 40, "999,999,999x999,999,999"),
        "long.pfm": (b"Pf\n" + b"9" * 100_000 + b" 2\n-1.0\n", "does not begin as a PFM"),
        "cut.pfm": (pfm(random_map(0, H, W))[:-4], "bytes of values"),
        "none.pfm": (b"", "does not begin as a PFM"),
        "zero.pfm": (b"Pf\n0 5\n-1.0\n", "0x5 pixels"),
        "magic.flo": (b"PIEX" + flo(random_map(0, H, W, 2))[4:], "PIEX"),
        "short.flo": (b"PIEH\1", "does not begin as a FLO"),
        "cut.flo": (flo(random_map(0, H, W, 2))[:-3], "bytes of values"),
        "negative.flo": (struct.pack("<fii", 202021.25, -3, 4), "pixels"),
        "channels.npy": (encoded_map.getvalue().replace(b"(12, 10)", b"(12,2,5)"), "5 channels"),
    }


@pytest.mark.parametrize("name", list(bad_files()))
def test_damaged_files_are_reported_with_their_reason(tmp_path, name):
    content, word = bad_files()[name]
    write_images(tmp_path, 4)
    kind = "flow" if name.endswith(".flo") else "depth"
    for k in range(3):
        shape = (H, W, 2) if kind == "flow" else (H, W)
        write(tmp_path / f"{kind}/{k}{Path(name).suffix}", random_map(k, *shape))
    (tmp_path / f"{kind}/1{Path(name).suffix}").write_bytes(content)
    if kind == "depth":
        (tmp_path / "images/3.png").unlink()
    with pytest.raises(DataError) as caught:
        dataset(tmp_path)
    for part in ("images/1.png", f"{kind}/1", word):
        assert part in caught.value.cause
    assert "\n" not in caught.value.cause
    assert caught.value.remedy


def test_missing_files_and_folders_are_unusable(tmp_path):
    (tmp_path / "folder.npy").mkdir()
    for name in ("none.npy", "none.pfm", "none.flo", "folder.npy"):
        with pytest.raises(UnusableFile):
            read_map(tmp_path / name)


@pytest.mark.parametrize("orientation", [3, 6, 8, 5])
def test_vectors_rotate_with_an_exif_rotated_image(tmp_path, orientation):
    for k in range(3):
        exif = Image.Exif()
        exif[274] = orientation
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(scene(k, (W, H))).save(tmp_path / f"images/{k}.png", exif=exif)
        right = np.zeros((H, W, 3), np.float32)
        right[..., 0] = 1
        write(tmp_path / f"normals/{k}.npy", right)
    told = dataset(tmp_path).annotations.load(0)
    expected = {3: (-1, 0), 6: (0, -1), 8: (0, 1), 5: (0, -1)}[orientation]  # x right, y up; 6 rotates clockwise
    assert told.shape == ((3, H, W) if orientation == 3 else (3, W, H))
    assert told[:2, 0, 0].tolist() == list(expected)


def test_a_sample_of_many_maps_is_checked_and_the_others_when_they_are_read(tmp_path, monkeypatch):
    from snellen.data.formats import pairing
    from snellen.data.source import BadSamples

    monkeypatch.setattr(pairing, "MAX_READ", 3)
    write_images(tmp_path, 6)
    for k in range(6):
        write(tmp_path / f"depth/{k}.npy", random_map(k, H, W))
    (tmp_path / "depth/1.npy").write_bytes(b"x")
    data = dataset(tmp_path)
    assert any(f.kind == "unread" and f.count == 3 for f in data.findings)
    with pytest.raises(BadSamples, match=r"depth/1.npy"):
        data.annotations.load(1)
    with pytest.raises(DataError, match=r"depth/1.npy"):
        dataset(tmp_path, options=OpenOptions(full=True))

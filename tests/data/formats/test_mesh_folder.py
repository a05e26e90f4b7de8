"""Mesh folders: classes, splits, copies, what cannot be read, and prediction of a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import snellen
from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Classes, Preprocessing
from snellen.data.decode.mesh import read_mesh
from snellen.data.formats import OpenOptions
from snellen.data.formats.mesh_folder import open_raw, recognises
from snellen.data.synthetic.point_shapes import rotation
from snellen.modalities import inputs

QUAD = np.array([[1, 2, 4, 3], [5, 6, 8, 7], [1, 2, 6, 5], [3, 4, 8, 7], [1, 3, 7, 5], [2, 4, 8, 6]])
CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)


def write_mesh(path: Path, vertices: np.ndarray, faces: np.ndarray = QUAD, comment: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in vertices] + [f"f {' '.join(map(str, face))}" for face in faces]
    path.write_text(comment + "\n".join(rows) + "\n")
    return path


def folder(root: Path, counts: dict[str, int], seed: int = 0) -> Path:
    """Hexahedra of random corners; those of the second class are flat."""
    rng = np.random.default_rng(seed)
    for k, (name, count) in enumerate(counts.items()):
        for i in range(count):
            scale = [1, 1, 0.05] if k == 1 else [1, 1, 1]
            write_mesh(root / name / f"{i:02}.obj", (CORNERS + 0.2 * rng.random((8, 3))) * scale)
    return root


def test_the_folder_is_the_class_and_a_sample_is_a_cloud_of_the_surface(tmp_path: Path) -> None:
    root = folder(tmp_path / "d", {"cubes": 10, "plates": 10})
    (root / "cubes" / "README.txt").write_text("meshes")
    (root / "cubes" / "wood.png").write_bytes(b"a texture")
    assert recognises(root)
    raw = open_raw(root, OpenOptions(mesh_points=64))
    assert isinstance(raw.target, Classes)
    assert raw.target.names == ("cubes", "plates")
    assert raw.truth is not None
    assert raw.truth.tolist() == [0] * 10 + [1] * 10
    assert raw.inputs["points"].shape == (64, 3)
    x = raw.source.read(np.array([13]), Preprocessing())[0]
    assert torch.equal(x, read_mesh(root / "plates" / "03.obj").cloud(64))
    assert raw.files == {"found": 22, "used": 20, "set aside": 0, "no data": 2}
    assert "1 images beside them are not read" in raw.recognised_as
    assert snellen.dataset(root).spec.input.shape == (1024, 3)


@pytest.mark.parametrize("layout", ["{split}/{name}", "{name}/{split}"])
def test_given_splits_above_or_below_the_classes(layout: str, tmp_path: Path) -> None:
    for k, split in enumerate(("train", "val", "test")):
        for name in ("cubes", "plates"):
            folder(tmp_path, {layout.format(split=split, name=name): 3}, seed=10 * k + len(name))
    raw = open_raw(tmp_path, OpenOptions(mesh_points=8))
    assert isinstance(raw.target, Classes)
    assert raw.target.names == ("cubes", "plates")
    assert raw.given_splits is not None
    assert np.bincount(raw.given_splits).tolist() == [6, 6, 6]


def test_several_samples_of_a_mesh_differ_and_are_in_one_split(tmp_path: Path) -> None:
    root = folder(tmp_path / "d", {"cubes": 8, "plates": 8})
    data = snellen.dataset(root, options=OpenOptions(mesh_points=32, mesh_samples=3))
    assert data.name(4) == "cubes/01.obj#2"
    split = {int(id): name for name, ids in data.splits.items() for id in ids}
    assert len(split) == 48
    assert all(len({split[3 * k + n] for n in range(3)}) == 1 for k in range(16))
    x = data.source.read(np.arange(3), data.preprocessing)
    assert not torch.equal(x[0], x[1])
    assert not torch.equal(x[1], x[2])


def test_copies_in_two_splits_are_reported_whatever_their_pose_or_notation(tmp_path: Path) -> None:
    """Equal content as exact duplicates; a mesh that was moved, turned and scaled as a near-duplicate."""
    folder(tmp_path / "train", {"cubes": 9, "plates": 9})
    folder(tmp_path / "test", {"cubes": 9, "plates": 9}, seed=1)
    first, second = (read_mesh(tmp_path / "train" / name).vertices for name in ("cubes/00.obj", "plates/04.obj"))
    write_mesh(tmp_path / "test" / "cubes" / "copy.obj", first, comment="# another comment\n")
    write_mesh(tmp_path / "test" / "plates" / "turned.obj", 3 * second @ rotation(np.array([1, 2, 3, 4])).T + 5)
    data = snellen.dataset(tmp_path, options=OpenOptions(mesh_points=32))
    found = {finding.kind: finding for finding in data.findings}
    assert found["copies"].where == ("test/cubes/copy.obj = train/cubes/00.obj",)
    assert found["near-copies"].where == ("test/plates/turned.obj = train/plates/04.obj",)
    without_splits = snellen.dataset(tmp_path / "test", options=OpenOptions(mesh_points=32))
    assert not [f for f in without_splits.findings if "copies" in f.kind]


def test_unreadable_meshes_are_an_error_or_skipped(tmp_path: Path) -> None:
    root = folder(tmp_path / "d", {"cubes": 8, "plates": 8})
    (root / "cubes" / "bad.ply").write_text("nothing")
    with pytest.raises(DataError, match=r"1 meshes cannot be read: cubes/bad.ply has no PLY header"):
        snellen.dataset(root)
    data = snellen.dataset(root, options=OpenOptions(mesh_points=8, quarantine=True, allow_skipped=True))
    assert len(data) == 16
    assert data.skipped[0].path == "cubes/bad.ply"
    for file in (root / "plates").iterdir():
        file.write_text("v 0 0 0")
    with pytest.raises(DataError, match=r"only class cubes has meshes that can be read; cubes/bad.ply has no PLY"):
        snellen.dataset(root)


def test_other_folders_have_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 3 of 3 meshes outside class folders"):
        snellen.dataset(folder(tmp_path / "flat", {"cubes": 3}))
    with pytest.raises(DataError, match="has only one class, cubes: 5 meshes"):
        snellen.dataset(folder(tmp_path / "one", {"train/cubes": 3, "test/cubes": 2}))
    write_mesh(folder(tmp_path / "loose", {"a": 3, "b": 3}) / "c.obj", CORNERS)
    with pytest.raises(DataError, match=r"1 of 7 meshes outside class folders: c.obj"):
        snellen.dataset(tmp_path / "loose")
    with pytest.raises(DataError, match="OBJ file: one mesh is one sample"):
        snellen.dataset(tmp_path / "loose" / "c.obj")
    with pytest.raises(UsageError, match="--mesh-points applies to meshes; digits is read as built-in data"):
        snellen.dataset("digits", options=OpenOptions(mesh_points=5))
    with pytest.raises(UsageError, match="the target of meshes is the class of their folder, not 'y'"):
        snellen.dataset(tmp_path / "loose", options=OpenOptions(target=("y",)))
    with pytest.raises(DataError, match="bytes of memory"):
        snellen.dataset(folder(tmp_path / "d", {"a": 3, "b": 3}), options=OpenOptions(mesh_points=1 << 50))


def test_a_mesh_is_predicted_as_the_cloud_of_the_data(tmp_path: Path) -> None:
    root = folder(tmp_path / "d", {"cubes": 20, "plates": 20})
    data = snellen.dataset(root, options=OpenOptions(mesh_points=32))
    paths = [str(root / "cubes" / "05.obj"), str(tmp_path / "more.npy"), str(root / "plates" / "07.obj")]
    np.save(paths[1], np.zeros((32, 3)))
    batches = list(inputs(paths, data.spec, data.preprocessing))
    assert [name for names, _ in batches for name in names] == paths
    x = torch.cat([x for _, x in batches])
    assert torch.equal(x[[0, 2]], data.source.read(np.array([5, 27]), data.preprocessing))
    assert x[1].count_nonzero() == 0

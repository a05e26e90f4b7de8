"""Meshes in OBJ, OFF and PLY files: equal in every notation, and one clear line for what is wrong."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snellen.data.decode.header import UnusableFile
from snellen.data.decode.mesh import Polygons, TriangleMesh, parse_mesh, read_mesh, triangles

# A pyramid: a quadrilateral and four triangles.
VERTICES = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 1.25]])
POLYGONS = [[3, 2, 1, 0], [0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]
FACES = np.array([[3, 2, 1], [3, 1, 0], *POLYGONS[1:]])


def parse(name: str, text: str | bytes) -> TriangleMesh:
    return parse_mesh(name, io.BytesIO(text.encode() if isinstance(text, str) else text))


def rows(values: list[list[int]] | np.ndarray, start: str = "") -> str:
    return "".join(f"{start}{' '.join(map(str, row))}\n" for row in np.asarray(values, object).tolist())


def obj() -> str:
    return rows(VERTICES, "v ") + "".join(f"f {' '.join(str(k + 1) for k in p)}\n" for p in POLYGONS)


def off(head: str = "OFF\n") -> str:
    return f"{head}5 5 0\n" + rows(VERTICES) + "".join(f"{len(p)} {' '.join(map(str, p))}\n" for p in POLYGONS)


def ply(order: str, polygons: list[list[int]] = POLYGONS) -> bytes:
    """With a colour among the properties of a vertex, an element before the faces, and a number before each list."""
    head = (
        f"ply\nformat {order} 1.0\ncomment made by hand\nelement vertex 5\nproperty double x\nproperty uchar red\n"
        "property double y\nproperty double z\nelement camera 1\nproperty list uchar float view\n"
        f"element face {len(polygons)}\nproperty short flag\nproperty list uchar int vertex_indices\nend_header\n"
    ).encode()
    if order == "ascii":
        body = "".join(f"{x} 255 {y} {z}\n" for x, y, z in VERTICES) + "2 0.5 0.25\n"
        return head + (body + "".join(f"-1 {len(p)} {' '.join(map(str, p))}\n" for p in polygons)).encode()
    e = "<" if order == "binary_little_endian" else ">"
    vertex = np.zeros(5, [("x", f"{e}f8"), ("red", "u1"), ("y", f"{e}f8"), ("z", f"{e}f8")])
    vertex["x"], vertex["y"], vertex["z"] = VERTICES.T
    parts = [vertex.tobytes(), b"\2", np.array([0.5, 0.25], f"{e}f4").tobytes()]
    for p in polygons:
        parts += [np.array(-1, f"{e}i2").tobytes(), bytes([len(p)]), np.array(p, f"{e}i4").tobytes()]
    return head + b"".join(parts)


NOTATIONS: dict[str, tuple[str, str | bytes]] = {
    "obj": ("a.obj", obj()),
    "obj with negative indices": (
        "a.OBJ",
        rows(VERTICES, "v ") + "".join(f"f {' '.join(str(k - 5) for k in p)}\n" for p in POLYGONS),
    ),
    "obj with normals, textures, groups, comments and continued lines": (
        "a.obj",
        "\ufeff# a pyramid\r\nmtllib a.mtl\r\nvn 0 0 1\r\nvt 0 0\r\no part\r\n"
        + rows(VERTICES, "v ").replace("\n", " 1.0 # a corner\r\n")
        + "g side\ns off\nf 4/1/1 3/1/1 \\\n 2/1/1 1/1/1\nf 1//1 2//1 5//1\nf 2/1 3/1 5/1\nl 1 2\nf 3 4 5\nf 4 1 5\n",
    ),
    "off": ("a.off", off()),
    "off with counts in the first line": ("a.off", off("OFF")),
    "off with comments": ("a.off", "# made by hand\nOFF # header\n\n" + off("")),
    "off with colours": ("a.off", off("COFF\n").replace("0.0 0.0 0.0\n", "0.0 0.0 0.0 255 0 0 255\n")),
    "ply": ("a.ply", ply("ascii")),
    "ply, little endian": ("a.ply", ply("binary_little_endian")),
    "ply, big endian": ("a.ply", ply("binary_big_endian")),
}


@pytest.mark.parametrize("notation", NOTATIONS)
def test_every_notation_is_the_same_mesh(notation: str) -> None:
    mesh = parse(*NOTATIONS[notation])
    assert np.array_equal(mesh.vertices, VERTICES)
    assert np.array_equal(mesh.faces, FACES)
    assert mesh.digest() == parse(*NOTATIONS["obj"]).digest()


def test_binary_triangles_of_one_size_are_read_as_those_of_several() -> None:
    assert np.array_equal(parse("a.ply", ply("binary_little_endian", FACES.tolist())).faces, FACES)


def test_polygons_become_fans_of_the_same_area() -> None:
    angle = 2 * np.pi * np.arange(7) / 7
    vertices = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    faces = triangles(Polygons(np.array([0, 1, 2, 3, 4, 5, 6, 0, 1, 2]), np.array([7, 3])))
    assert faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5], [0, 5, 6], [0, 1, 2]]
    first, second, third = (vertices[faces[:5, k]] for k in range(3))
    area = np.cross(second - first, third - first)[:, 2].sum() / 2
    assert np.isclose(area, 7 / 2 * np.sin(2 * np.pi / 7))


def test_a_cloud_is_a_function_of_the_mesh_and_lies_on_it() -> None:
    mesh = parse("a.obj", obj())
    cloud = mesh.cloud(500)
    assert torch.equal(cloud, parse(*NOTATIONS["off"]).cloud(500))
    assert not torch.equal(cloud, mesh.cloud(500, 1))
    x, y, z = cloud.T
    on_base, on_side = z.abs() < 1e-12, (z - 2.5 * (0.5 - torch.maximum((x - 0.5).abs(), (y - 0.5).abs()))).abs() < 1e-9
    assert bool((on_base | on_side).all())
    assert bool(on_base.any())
    assert bool(on_side.any())


V = rows(VERTICES, "v ")
HEAD = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
WRONG: dict[str, tuple[str, str | bytes, str]] = {
    "nothing": ("a.obj", " \n", "is empty"),
    "no vertices": ("a.obj", "o nothing\n", "has no vertices"),
    "no faces": ("a.obj", V, "has no faces, only 5 vertices"),
    "index 0": ("a.obj", V + "f 0 1 2\n", "line 6: 'f 0 1 2', but corners are whole numbers from 1"),
    "index of a word": ("a.obj", V + "f 1 2 x\n", "line 6: 'f 1 2 x'"),
    "index above": ("a.obj", V + "f 1 2 3\nf 1 2 6\n", "has a face without vertex: face 2 of 5 vertices"),
    "negative index below": ("a.obj", V + "f -1 -2 -6\n", "has a face without vertex: face 1"),
    "huge index": ("a.obj", V + f"f 1 2 {10**30}\n", "has a face without vertex: face 1"),
    "two corners": ("a.obj", V + "f 1 2\n", "a face needs three corners"),
    "two coordinates": ("a.obj", "v 1 2\n", "line 1: 'v 1 2', but a vertex needs three coordinates"),
    "words": ("a.obj", V + "v 1 2 1_0\n", "line 6: '1 2 1_0', but coordinates are three numbers"),
    "NaN": ("a.obj", V + "v 1 nan 2\nf 1 2 3\n", r"NaN, infinite or huge .* in 1 .* vertex 6"),
    "infinity": ("a.obj", V + "v 1 inf 2\nf 1 2 3\n", "in 1 vertices, the first is vertex 6"),
    "huge": ("a.obj", V + "v 1 1e200 2\nf 1 2 3\n", "in 1 vertices, the first is vertex 6"),
    "lines only": ("a.obj", V + "f 1 1 2\nf 3 3 3\n", "has no area"),
    "compiled code": ("a.obj", b"\x64\x86\0\0\1\2", "is not an OBJ text file"),
    "other text": ("a.off", obj(), "begins with 'v', not with OFF"),
    "binary off": ("a.off", "OFF BINARY\n1 1 1\n", "has no numbers of vertices and faces"),
    "4 dimensions": ("a.off", "4OFF\n" + off(""), "begins with '4OFF'"),
    "cut off": ("a.off", off()[:-10], "ends early: 5 vertices and 5 faces, 9 lines"),
    "declared too many": ("a.off", "OFF\n1000000000000 1 0\n", "ends early"),
    "negative in off": ("a.off", off().replace("3 3 0 4", "3 -1 0 4"), "line 12: '3 -1 0 4'"),
    "comments": ("a.off", "# nothing\n", "comments only"),
    "no header": ("a.ply", "hello\n", "has no PLY header"),
    "unknown line": ("a.ply", HEAD + "property list float int vertex_indices\nend_header\n", "unknown line in its PLY"),
    "declared too many rows": ("a.ply", HEAD.replace(" 3", f" {10**12}") + "end_header\n1 2 3\n", "ends before its"),
    "cut binary": ("a.ply", ply("binary_little_endian")[:-3], "ends before its 5 rows of 'face'"),
    "words in ply": ("a.ply", HEAD + "end_header\n0 0 0\n1 a 0\n1 1 0\n", "no valid numbers in row 2 of 'vertex'"),
    "points only": ("a.ply", HEAD + "end_header\n0 0 0\n1 0 0\n1 1 0\n", "has no faces, only 3 vertices"),
    "line in ply": ("a.ply", ply("ascii", [[0, 1], [0, 1, 2]]), "fewer than three corners: face 1"),
    "index above in ply": ("a.ply", ply("binary_big_endian", [[0, 1, 9]]), "has a face without vertex"),
    "no z": ("a.ply", HEAD.replace("float z", "float w") + "end_header\n0 0 0\n", "vertices without x, y and z"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line_with_a_remedy(case: str) -> None:
    name, content, cause = WRONG[case]
    with pytest.raises(UnusableFile, match=cause) as caught:
        parse(name, content)
    assert caught.value.remedy
    assert "\n" not in caught.value.cause


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(UnusableFile, match="cannot be read"):
        read_mesh(tmp_path / "missing.obj")


@settings(max_examples=60, deadline=None)
@given(data=st.data(), notation=st.sampled_from(sorted(NOTATIONS)))
def test_damaged_files_are_read_or_refused(data: st.DataObject, notation: str) -> None:
    name, text = NOTATIONS[notation]
    content = bytearray(text.encode() if isinstance(text, str) else text)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    try:
        mesh = parse(name, bytes(content))
    except UnusableFile:
        return
    assert np.isfinite(mesh.vertices).all()
    assert int(mesh.faces.max()) < len(mesh.vertices)

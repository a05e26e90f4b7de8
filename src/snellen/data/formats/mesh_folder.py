"""Mesh folder datasets: OBJ, OFF and PLY files in one folder for each class, with or without splits.

A sample is a cloud of points of the surface, uniform by area, which depends on the mesh only. Images beside the meshes
(textures) and materials are not read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Classes, Input
from snellen.core.views import Finding
from snellen.data.cache import available_memory
from snellen.data.check.duplicates import Pair
from snellen.data.check.findings import MAX_NAMES, and_more, unused_files_findings
from snellen.data.dataset import SPLITS, RawDataset
from snellen.data.decode.header import UnusableFile
from snellen.data.decode.mesh import POINTS, SUFFIXES, TriangleMesh, read_mesh
from snellen.data.file_index import File, links_outside, walk
from snellen.data.formats import Format, OpenOptions
from snellen.data.formats.file_names import is_image_name, is_sidecar, is_system_name
from snellen.data.formats.folder_layout import folder_layout
from snellen.data.formats.groups import group_ids, group_names
from snellen.data.formats.unread_content import unsupported
from snellen.data.source import ArraySource, Skipped

_MATERIALS = (".mtl",)
_MAX_ENTRIES = 20_000  # entries that `recognises` reads at most
_EDGES = 64  # edges whose lengths are compared
_TOLERANCE = 1e-3  # of their lengths, relative to their mean


class Shape(NamedTuple):
    """What a mesh keeps if it is moved, turned, mirrored or scaled.

    faces: hash of the faces. edges: (n,) lengths, divided by their mean.
    """

    faces: bytes
    edges: np.ndarray


def is_mesh_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")


def recognises(path: Path) -> bool:
    """Whether the folder holds meshes, in at least as many folders as there are folders with images only."""
    if not path.is_dir():
        return False
    with_meshes = images_only = entries = 0
    for _, folders, names in os.walk(path):
        folders.sort()
        folders[:] = [name for name in folders if not is_system_name(name)]
        if any(map(is_mesh_name, names)):
            with_meshes += 1
        elif any(map(is_image_name, names)):
            images_only += 1
        entries += len(folders) + len(names)
        if entries > _MAX_ENTRIES:
            break
    return with_meshes > 0 and with_meshes >= images_only


def open_raw(path: Path, options: OpenOptions) -> RawDataset:
    """Clouds of points with the class of their folder.

    Raises:
        DataError: no mesh, no class folder, only one class, or more points than fit in memory.
        UsageError: a target, which meshes do not have.
    """
    if options.target:
        raise UsageError(
            f"{path}: the target of meshes is the class of their folder, not {','.join(options.target)!r}",
            "Omit --target.",
        )
    listing = walk(path)
    skipped = list(listing.skipped)
    meshes, no_data, textures = list[File](), 0, 0
    for file in listing.files:
        name = file.path.rpartition("/")[2]
        if is_sidecar(file.path) or name.lower().endswith(_MATERIALS):
            no_data += 1
        elif is_mesh_name(name):
            meshes.append(file)
        elif is_image_name(name):
            textures += 1
        else:
            skipped.append(unsupported(file.path))
    if not meshes:
        raise DataError(
            f"{path} holds no mesh ({len(listing.files)} files){links_outside(listing)}",
            f"Meshes end in {', '.join(SUFFIXES)}: one folder for each class.",
        )
    folders = [file.path.rpartition("/")[0] for file in meshes]
    layout = folder_layout(path, set(folders), options.format is not None)
    outside = [file.path for file, folder in zip(meshes, folders, strict=True) if not layout.places[folder][1]]
    if outside:
        raise DataError(
            f"{path} has {len(outside)} of {len(meshes)} meshes outside class folders: {outside[0]}",
            "Put each into the folder of its class.",
        )
    labels = {layout.places[folder][1] for folder in folders}
    if len(labels) < 2:
        raise DataError(f"{path} has only one class, {min(labels)}: {len(meshes)} meshes", "Add a folder for another.")
    count, repeats = options.mesh_points or POINTS, options.mesh_samples or 1
    _check_memory(path, len(meshes), count * repeats)
    clouds, used, shapes, unusable = _read(path, meshes, count, repeats)
    if not used:
        raise DataError(f"{path}: no mesh can be read: {unusable[0].path} {unusable[0].reason}", unusable[0].remedy)
    of_file = np.repeat(np.arange(len(used)), repeats)  # (N,) index in `used`
    copies = [(a * repeats, b * repeats) for a, b in same_shapes(shapes)]
    places = [layout.places[meshes[k].path.rpartition("/")[0]] for k in used]
    paths = [meshes[k].path for k in used]
    names = sorted({label for _, label in places})
    if len(names) < 2:
        raise DataError(
            f"{path}: only class {names[0]} has meshes that can be read; {unusable[0].path} {unusable[0].reason}",
            unusable[0].remedy,
        )
    groups = of_file if repeats > 1 else None
    names_of_groups: tuple[str, ...] = ()
    if options.group is not None:
        groups = group_ids(paths, options.group)[of_file]
        names_of_groups = group_names(paths, options.group)
    each = f", {repeats} samples of each" if repeats > 1 else ""
    given = f" in the given splits {', '.join(layout.splits)}" if layout.splits else ""
    images = f"; {textures:,} images beside them are not read" if textures else ""
    return RawDataset(
        source=ArraySource(
            clouds,
            [paths[k] if repeats == 1 else f"{paths[k]}#{n % repeats + 1}" for n, k in enumerate(of_file)],
            near_copies=copies,
        ),
        inputs={"points": Input(modality="points", shape=(count, 3), dtype="float64")},
        target=Classes(names=tuple(names)),
        truth=torch.tensor([names.index(label) for _, label in places])[torch.from_numpy(of_file)],
        given_splits=np.array([split for split, _ in places], np.int64)[of_file] if layout.splits else None,
        groups=groups,
        group_names=tuple(names_of_groups[k] for k in of_file) if names_of_groups else (),
        recognised_as=f"a mesh folder: {len(meshes):,} meshes in {len(names)} classes{given}, one folder for each "
        f"class{layout.note}; {count:,} points of each surface (--mesh-points){each}{images}",
        findings=(
            *unused_files_findings(skipped),
            *_unusable_findings(unusable),
            *_empty_class_findings(names, places, bool(layout.splits)),
        ),
        files={
            "found": len(listing.files) + len(listing.skipped),
            "used": len(used),
            "set aside": len(skipped) + len(unusable),
            "no data": no_data + textures,
        },
        skipped=(*skipped, *unusable),
    )


def _check_memory(path: Path, meshes: int, points: int) -> None:
    needed = meshes * points * 3 * 8
    if needed > available_memory() // 2:
        raise DataError(
            f"{path}: {points:,} points of each of {meshes:,} meshes need {needed:,} bytes of memory, more than half "
            f"of the {available_memory():,} that are free",
            "Use fewer with --mesh-points or --mesh-samples.",
        )


def _read(
    root: Path, files: Sequence[File], count: int, repeats: int
) -> tuple[torch.Tensor, list[int], list[Shape], list[Skipped]]:
    """Clouds (N, count, 3) of the files that can be read, their indices and shapes, and the other files."""
    clouds: list[torch.Tensor] = []
    used: list[int] = []
    shapes: list[Shape] = []
    unusable: list[Skipped] = []
    for k, file in enumerate(files):
        try:
            mesh = read_mesh(root / file.path)
        except UnusableFile as error:
            unusable.append(Skipped(file.path, error.cause, error.remedy))
            continue
        clouds += [mesh.cloud(count, number) for number in range(repeats)]
        used.append(k)
        shapes.append(shape_of(mesh))
    return torch.stack(clouds) if clouds else torch.zeros(0, count, 3), used, shapes, unusable


def shape_of(mesh: TriangleMesh) -> Shape:
    """The shape of a mesh: its faces, and the lengths of edges spread evenly over them."""
    faces = mesh.faces[np.linspace(0, len(mesh.faces) - 1, _EDGES).round().astype(np.int64)]
    edges = np.linalg.norm(mesh.vertices[faces[:, 0]] - mesh.vertices[faces[:, 1]], axis=1)
    return Shape(hashlib.sha256(mesh.faces.tobytes()).digest(), edges / (edges.mean() or 1.0))


def same_shapes(shapes: Sequence[Shape]) -> list[Pair]:
    """Pairs (first, other) of meshes of equal faces whose edges have equal lengths up to a scale."""
    by_faces: dict[bytes, list[int]] = {}
    for k, shape in enumerate(shapes):
        by_faces.setdefault(shape.faces, []).append(k)
    pairs: list[Pair] = []
    for members in by_faces.values():
        order = sorted(members, key=lambda k: float(shapes[k].edges[0]))
        firsts = np.array([shapes[k].edges[0] for k in order])
        for position, k in enumerate(order):
            end = int(np.searchsorted(firsts, firsts[position] + _TOLERANCE, side="right"))
            for other in order[position + 1 : end]:
                if bool((np.abs(shapes[k].edges - shapes[other].edges) <= _TOLERANCE).all()):
                    pairs.append((min(k, other), max(k, other)))
    return sorted(pairs)


def _unusable_findings(unusable: Sequence[Skipped]) -> list[Finding]:
    if not unusable:
        return []
    first = "; ".join(f"{entry.path} {entry.reason}" for entry in unusable[:MAX_NAMES])
    remedies = {entry.remedy for entry in unusable}
    return [
        Finding(
            kind="corrupt",
            severity="error",
            count=len(unusable),
            where=tuple(entry.path for entry in unusable),
            message=f"{len(unusable)} meshes cannot be read: {first}{and_more(len(unusable))}",
            remedy=remedies.pop() if len(remedies) == 1 else "Repair or remove them, or skip them with --quarantine.",
        )
    ]


def _empty_class_findings(names: Sequence[str], places: Sequence[tuple[int, str]], has_splits: bool) -> list[Finding]:
    """Classes without a mesh that can be read, and classes without one in the training split."""
    known = {label for split, label in places if split == SPLITS.index("train") or not has_splits}
    missing = [name for name in names if name not in known]
    if not missing:
        return []
    return [
        Finding(
            kind="empty-class",
            message=f"{len(missing)} classes have no training mesh: {', '.join(missing[:MAX_NAMES])}",
            remedy="Add training meshes of them, or remove them.",
            where=tuple(missing),
            count=len(missing),
        )
    ]


FORMAT = Format("meshes", recognises, open_raw, any_depth=True)

"""Which map belongs to which picture, by names alone.

A folder whose name says what it holds (`images`, `masks`, `depth`) may stand anywhere in the path; what is left of the
path, without it, is the same for a picture and its maps. So `images/train/a.jpg` goes with `labels/train/a.png`,
`train/image/a.png` with `train/label/a.png`, `train/a.png` with `trainannot/a.png`, and `a.jpg` with `a_mask.png`.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from snellen.data.decode.frame_pairs import following
from snellen.data.decode.header import SUFFIXES
from snellen.data.file_index import File, Listing
from snellen.data.formats.image_folder import is_no_data
from snellen.data.source import Skipped

PICTURES = frozenset(
    {
        "image",
        "images",
        "img",
        "imgs",
        "jpegimages",
        "rgb",
        "frames",
        "picture",
        "pictures",
        "input",
        "inputs",
        "leftimg8bit",
        "photos",
    }
)
ROLES = {  # the name of a folder -> what its maps tell
    **dict.fromkeys(
        (
            "mask",
            "masks",
            "label",
            "labels",
            "annotation",
            "annotations",
            "annot",
            "gt",
            "gtfine",
            "groundtruth",
            "ground_truth",
            "segmentation",
            "segmentations",
            "segmentationclass",
            "segmentationclassraw",
        ),
        "classes",
    ),
    **dict.fromkeys(("instances", "instance", "segmentationobject", "instance_masks"), "instances"),
    **dict.fromkeys(("depth", "depths", "disparity_depth"), "depth"),
    **dict.fromkeys(("normal", "normals"), "normals"),
    **dict.fromkeys(("edge", "edges", "boundary", "boundaries", "contours"), "edges"),
    **dict.fromkeys(("reflectance", "albedo"), "reflectance"),
    **dict.fromkeys(("flow", "flows", "flow_occ", "flow_noc"), "flow"),
}
_BESIDE = ("annot", "_annot", "_labels", "_label", "_masks", "_mask", "_gt")  # train/ beside trainannot/
_OF_MAP = (
    "_gtfine_labelids",
    "_gtfine_labeltrainids",
    "_labelids",
    "_segmentation",
    "_labels",
    "_label",
    "_masks",
    "_mask",
    "_seg",
    "_gt",
    "_l",
    "_p",
)
_OF_NUMBERS = {
    "_depth": "depth",
    "_normals": "normals",
    "_normal": "normals",
    "_edges": "edges",
    "_flow": "flow",
    "_albedo": "reflectance",
    "_reflectance": "reflectance",
}
_OF_PICTURE = ("_leftimg8bit", "_image", "_img", "_rgb", "_sat")
_NOT_READ = ("_gtfine_color", "_gtfine_instanceids", "_color")  # what Cityscapes lays beside its labels
NUMBERS = frozenset({".npy", ".pfm", ".flo"})
_LOOKED_AT = 20_000  # entries that are looked at to recognise a folder

_MASKS = ("_mask", "_label", "_gt", "_seg", *_OF_MAP[:3])
Key = tuple[str, ...]  # the folders and the stem that a picture shares with its maps


@dataclass
class Partners:
    """The files of a folder by what they are.

    Args:
        pictures, maps: by key; of maps by what they tell, first.
        doubled: files that claim the place of another.
        strays: pictures that lie with neither pictures nor maps.
    """

    pictures: dict[Key, File] = field(default_factory=dict)
    maps: dict[str, dict[Key, File]] = field(default_factory=dict)
    doubled: list[tuple[File, File]] = field(default_factory=list)
    strays: list[File] = field(default_factory=list)
    aside: list[Skipped] = field(default_factory=list)
    no_data: int = 0


def without_maps(listing: Listing) -> Listing:
    """The pictures of a folder that also has maps of them; all that is there where it has none."""
    found = partners(listing)
    if not found.pictures:
        return listing
    maps = {file.path for some in found.maps.values() for file in some.values()}
    maps |= {second.path for first, second in found.doubled if first.path in maps}
    return Listing([file for file in listing.files if file.path not in maps], listing.aside, listing.folders)


def recognised(root: Path) -> bool:
    """Whether a picture and a map of one key lie there, as far as a quick look tells."""
    if not root.is_dir():
        return False
    files: list[File] = []
    folders: list[str] = []
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        inside = os.path.relpath(folder, root).replace(os.sep, "/")
        folders.append("" if inside == "." else inside)
        files += [File(name if inside == "." else f"{inside}/{name}", 0, 0) for name in sorted(names)]
        if len(files) + len(folders) > _LOOKED_AT:
            break
    found = partners(Listing(files, [], folders))
    for role, maps in found.maps.items():
        for key in maps:
            partners_of = frame_names(key) if role == "flow" else [(key, key)]
            if any(a in found.pictures and b in found.pictures for a, b in partners_of):
                return True
    return False


def partners(listing: Listing) -> Partners:
    """Sorts what lies in a folder into pictures and maps."""
    found = Partners(aside=list(listing.aside))
    loose: dict[Key, File] = {}
    folders = {folder.lower() for folder in listing.folders}
    above: dict[tuple[str, bool], tuple[str | None, Key]] = {}
    for file in listing.files:
        stem, suffix = os.path.splitext(file.path.rpartition("/")[2])
        if is_no_data(file.path) or stem.lower().endswith(_NOT_READ):
            found.no_data += 1
        elif suffix.lower() not in SUFFIXES | NUMBERS:
            found.aside.append(
                Skipped(file.path, "is of no kind that is read as a picture or a map", "Convert it, or move it away.")
            )
        else:
            role, key = _role(file.path, suffix.lower(), folders, above)
            place = found.pictures if role == "picture" else loose if role is None else found.maps.setdefault(role, {})
            other = place.setdefault(key, file)
            if other is not file:
                found.doubled.append((other, file))
    _join(found, loose)
    return found


def _role(
    path: str, suffix: str, folders: set[str], known: dict[tuple[str, bool], tuple[str | None, Key]]
) -> tuple[str | None, Key]:
    """What the file is by its folders or its name; None where they do not say.

    Args:
        known: what folders have been found to say, of flow and of other files.
    """
    folder, _, name = unicodedata.normalize("NFC", path).rpartition("/")
    of = folder, suffix == ".flo"
    if of not in known:
        known[of] = _role_of_folder(*of, folders)
    role, kept = known[of]
    stem = os.path.splitext(name)[0]
    if role is None:
        lower = stem.lower()
        role = (
            "classes"
            if lower.endswith(_MASKS)
            else next((told for end, told in _OF_NUMBERS.items() if lower.endswith(end)), None)
        )
    return role, (*kept, stem)


def _role_of_folder(path: str, flow: bool, folders: set[str]) -> tuple[str | None, Key]:
    """What the files of a folder are by its name and the names of those above it, and the names that say nothing."""
    role = "flow" if flow else None
    kept: list[str] = []
    above = path.split("/") if path else []
    for place, folder in enumerate(above):
        word = folder.lower()
        beside = next((word.removesuffix(end) for end in _BESIDE if word.endswith(end)), "")
        if role is None and word in PICTURES:
            role = "picture"
        elif word in ROLES and role in (None, "flow"):
            role = role or ROLES[word]
        elif role is None and beside and "/".join([*above[:place], beside]).lower() in folders:
            role = "classes"
            kept.append(folder[: len(beside)])
        else:
            kept.append(folder)
    return role, tuple(kept)


def _join(found: Partners, loose: dict[Key, File]) -> None:
    """Gives every map the key of its picture, and takes pictures that only their maps tell of from the `loose` ones."""
    plain = {_without(key, _OF_PICTURE): key for key in [*loose, *found.pictures]} if found.maps else {}
    for role, maps in found.maps.items():
        ends = (*_OF_MAP, *_OF_NUMBERS)
        found.maps[role] = {
            next((k for k in _candidates(key, plain, ends) if k in found.pictures or k in loose), key): file
            for key, file in maps.items()
        }
        found.pictures.update({key: loose.pop(key) for key in found.maps[role] if key in loose})
    if "flow" in found.maps:  # its pictures are frames, which no map is named after
        found.pictures.update(loose)
    else:
        found.strays = list(loose.values())


def _candidates(key: Key, plain: dict[Key, Key], ends: Iterable[str]) -> Iterator[Key]:
    yield key
    bare = _without(key, ends)
    for other in (bare, key):
        if other in plain:
            yield plain[other]
    yield bare


def _without(key: Key, ends: Iterable[str]) -> Key:
    stem = key[-1]
    end = next((end for end in ends if stem.lower().endswith(end) and len(stem) > len(end)), "")
    return (*key[:-1], stem[: len(stem) - len(end)])


def frame_names(key: Key) -> list[tuple[Key, Key]]:
    """How the two frames of a map of flow may be called."""
    *folders, stem = key
    bare = re.sub(r"[_-]?flow$", "", stem, flags=re.IGNORECASE)
    pairs = [((*folders, f"{bare}{mark}1"), (*folders, f"{bare}{mark}2")) for mark in ("_img", "_", "_im")]
    for name in (stem, bare, re.sub(r"^flow", "frame", stem)):
        if after := following(name):
            pairs.append(((*folders, name), (*folders, after)))
    return pairs

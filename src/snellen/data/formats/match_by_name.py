"""Match maps with images by file and folder names.

A folder named by its content (`images`, `masks`, `depth`) may stand anywhere in the path; the rest of the path is the
same for an image and its maps. So `images/train/a.jpg` goes with `labels/train/a.png`,
`train/image/a.png` with `train/label/a.png`, `train/a.png` with `trainannot/a.png`, and `a.jpg` with `a_mask.png`.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from snellen.data.decode.frame_pairs import next_frame_name
from snellen.data.decode.header import SUFFIXES
from snellen.data.file_index import File, Listing
from snellen.data.formats.file_names import is_sidecar, is_system_name, split_index
from snellen.data.formats.unread_content import unsupported
from snellen.data.source import Skipped

IMAGE_FOLDERS = frozenset(
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
ROLES = {  # folder name -> kind of its maps
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
_MASK_FOLDER_SUFFIXES = ("annot", "_annot", "_labels", "_label", "_masks", "_mask", "_gt")  # train/ beside trainannot/
_MASK_SUFFIXES = (
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
_MAP_NAME_SUFFIXES = {
    "_depth": "depth",
    "_normals": "normals",
    "_normal": "normals",
    "_edges": "edges",
    "_flow": "flow",
    "_albedo": "reflectance",
    "_reflectance": "reflectance",
}
_IMAGE_SUFFIXES = ("_leftimg8bit", "_image", "_img", "_rgb", "_sat")
_UNUSED_SUFFIXES = ("_gtfine_color", "_gtfine_instanceids", "_color")  # further Cityscapes files beside the labels
MAP_SUFFIXES = frozenset({".npy", ".pfm", ".flo"})
_MAX_ENTRIES = 20_000  # entries read to recognise a folder

_MASKS = ("_mask", "_label", "_gt", "_seg", *_MASK_SUFFIXES[:3])
Key = tuple[str, ...]  # the folders and the stem that an image shares with its maps


@dataclass
class MatchedFiles:
    """The files of a folder, matched by name.

    Args:
        images: by key. maps: by kind, then key.
        duplicates: pairs of files with the same key.
        strays: images that lie with neither images nor maps.
        by_number: whether images and maps of other names were matched by the number in their names.
    """

    images: dict[Key, File] = field(default_factory=dict)
    maps: dict[str, dict[Key, File]] = field(default_factory=dict)
    duplicates: list[tuple[File, File]] = field(default_factory=list)
    strays: list[File] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    no_data: int = 0
    by_number: bool = False


def without_maps(listing: Listing) -> Listing:
    """The listing without the maps of its images; unchanged if it has no maps."""
    matched = match_files(listing)
    if not matched.images:
        return listing
    maps = {file.path for maps_of_kind in matched.maps.values() for file in maps_of_kind.values()}
    maps |= {second.path for first, second in matched.duplicates if first.path in maps}
    return Listing([file for file in listing.files if file.path not in maps], listing.skipped, listing.folders)


def recognises(root: Path) -> bool:
    """Whether the folder holds an image and a map with the same key (a quick check)."""
    if not root.is_dir():
        return False
    files: list[File] = []
    folders: list[str] = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not is_system_name(name))
        relative = os.path.relpath(folder, root).replace(os.sep, "/")
        folders.append("" if relative == "." else relative)
        files += [File(name if relative == "." else f"{relative}/{name}", 0, 0) for name in sorted(names)]
        if len(files) + len(folders) > _MAX_ENTRIES:
            break
    matched = match_files(Listing(files, [], folders))
    for role, maps in matched.maps.items():
        for key in maps:
            pairs = frame_names(key) if role == "flow" else [(key, key)]
            if any(a in matched.images and b in matched.images for a, b in pairs):
                return True
    return False


def match_files(listing: Listing) -> MatchedFiles:
    """Sort the files of a folder into images and maps."""
    matched = MatchedFiles(skipped=list(listing.skipped))
    loose: dict[Key, File] = {}
    folders = {folder.lower() for folder in listing.folders}
    folder_roles: dict[tuple[str, bool], tuple[str | None, Key]] = {}
    for file in listing.files:
        stem, suffix = os.path.splitext(file.path.rpartition("/")[2])
        if is_sidecar(file.path) or stem.lower().endswith(_UNUSED_SUFFIXES):
            matched.no_data += 1
        elif suffix.lower() not in SUFFIXES | MAP_SUFFIXES:
            matched.skipped.append(unsupported(file.path))
        else:
            role, key = _role(file.path, suffix.lower(), folders, folder_roles)
            group = matched.images if role == "image" else loose if role is None else matched.maps.setdefault(role, {})
            other = group.setdefault(key, file)
            if other is not file:
                matched.duplicates.append((other, file))
    _join(matched, loose)
    return matched


def _role(
    path: str, suffix: str, folders: set[str], cache: dict[tuple[str, bool], tuple[str | None, Key]]
) -> tuple[str | None, Key]:
    """The role of a file by its folders or its name, or None, and its key.

    Args:
        known: cache of folder roles, for flow and for other files.
    """
    folder, _, name = unicodedata.normalize("NFC", path).rpartition("/")
    cache_key = folder, suffix == ".flo"
    if cache_key not in cache:
        cache[cache_key] = _role_of_folder(*cache_key, folders)
    role, key_parts = cache[cache_key]
    stem = os.path.splitext(name)[0]
    if role is None:
        lower = stem.lower()
        role = (
            "classes"
            if lower.endswith(_MASKS)
            else next((kind for end, kind in _MAP_NAME_SUFFIXES.items() if lower.endswith(end)), None)
        )
    return role, (*key_parts, stem)


def _role_of_folder(path: str, flow: bool, folders: set[str]) -> tuple[str | None, Key]:
    """The role of the files of a folder, by its name and its parents' names, and the names without a role."""
    role = "flow" if flow else None
    key_parts: list[str] = []
    parts = path.split("/") if path else []
    for position, folder in enumerate(parts):
        word = re.sub(r"[_-](?:png|jpe?g|tiff?|bmp)s?$", "", folder.lower())  # annot_png
        base = next((word.removesuffix(end) for end in _MASK_FOLDER_SUFFIXES if word.endswith(end)), "")
        if role is None and word in IMAGE_FOLDERS:
            role = "image"
        elif word in ROLES and role in (None, "flow"):
            role = role or ROLES[word]
        elif role is None and (compound := _split_and_role(folder)) is not None:
            role = compound[1]
            key_parts.append(compound[0])
        elif role is None and base and "/".join([*parts[:position], base]).lower() in folders:
            role = "classes"
            key_parts.append(folder[: len(base)])
        else:
            key_parts.append(folder)
    return role, tuple(key_parts)


def _split_and_role(folder: str) -> tuple[str, str] | None:
    """The split word and the role of a folder such as `train_images` or `masks_val`, or None."""
    words = re.split(r"[_\-\s]+", folder)
    for split, word in (words, words[::-1]) if len(words) == 2 else ():
        role = "image" if word.lower() in IMAGE_FOLDERS else ROLES.get(word.lower())
        if role is not None and split_index(split) is not None:
            return split, role
    return None


def _join(matched: MatchedFiles, loose: dict[Key, File]) -> None:
    """Give every map the key of its image, and move images known only by their maps out of `loose`."""
    image_keys = {_strip_suffix(key, _IMAGE_SUFFIXES): key for key in [*loose, *matched.images]} if matched.maps else {}
    for role, maps in matched.maps.items():
        ends = (*_MASK_SUFFIXES, *_MAP_NAME_SUFFIXES)
        matched.maps[role] = {
            next((k for k in _candidates(key, image_keys, ends) if k in matched.images or k in loose), key): file
            for key, file in maps.items()
        }
        in_images = matched.images  # of folders named for images: loose images are no partners by number
        if in_images and role != "flow" and not any(key in in_images or key in loose for key in matched.maps[role]):
            matches = _matches_by_stem(matched.maps[role], in_images)
            if not matches:
                matches = _matches_by_number(matched.maps[role], in_images)
                matched.by_number = matched.by_number or bool(matches)
            matched.maps[role] = {matches.get(key, key): file for key, file in matched.maps[role].items()}
        matched.images.update({key: loose.pop(key) for key in matched.maps[role] if key in loose})
    if "flow" in matched.maps:  # its images are frames, which maps are not named after
        matched.images.update(loose)
    else:
        matched.strays = list(loose.values())


def _matches_by_stem(maps: dict[Key, File], images: dict[Key, File]) -> dict[Key, Key]:
    """Map key -> image key by their stems where the folders differ, as images/a.jpg and annotations/trimaps/a.png.

    None if a stem is not unique, or a map has no image.
    """
    by_stem = {key[-1]: key for key in images}
    matches = {key: by_stem[key[-1]] for key in maps if key[-1] in by_stem}
    unique = len(by_stem) == len(images) and len(matches) == len(maps) == len(set(matches.values()))
    return matches if unique else {}


def _matches_by_number(maps: dict[Key, File], images: dict[Key, File]) -> dict[Key, Key]:
    """Map key -> image key by the last number in their names, if every map has its own image: img_1 and mask_1."""
    by_number: dict[Key, Key | None] = {}
    for key in images:
        if number := _numbered(key):
            by_number[number] = None if number in by_number else key
    pairs = {key: by_number.get(_numbered(key) or ()) for key in maps}
    matches = {key: image for key, image in pairs.items() if image is not None}
    return matches if len(matches) == len(maps) == len(set(matches.values())) else {}


def _numbered(key: Key) -> Key | None:
    """The folders of a key and the last number of its stem; None without a number."""
    numbers = re.findall(r"\d+", key[-1])
    return (*key[:-1], numbers[-1].lstrip("0") or "0") if numbers else None


def _candidates(key: Key, image_keys: dict[Key, Key], ends: Iterable[str]) -> Iterator[Key]:
    yield key
    stripped = _strip_suffix(key, ends)
    for other in (stripped, key):
        if other in image_keys:
            yield image_keys[other]
    yield stripped


def _strip_suffix(key: Key, ends: Iterable[str]) -> Key:
    stem = key[-1]
    end = next((end for end in ends if stem.lower().endswith(end) and len(stem) > len(end)), "")
    return (*key[:-1], stem[: len(stem) - len(end)])


def frame_names(key: Key) -> list[tuple[Key, Key]]:
    """Possible names of the two frames of a flow map."""
    *folders, stem = key
    stripped = re.sub(r"[_-]?flow$", "", stem, flags=re.IGNORECASE)
    pairs = [((*folders, f"{stripped}{mark}1"), (*folders, f"{stripped}{mark}2")) for mark in ("_img", "_", "_im")]
    for name in (stem, stripped, re.sub(r"^flow", "frame", stem)):
        if after := next_frame_name(name):
            pairs.append(((*folders, name), (*folders, after)))
    return pairs

"""Signs that the folders of images are no classes: annotation files, masks, tables. All readers of those come first.

What they do not read must not become a classification dataset in silence: it is refused, with what was seen and what
to do. `--data-format folder` overrides the refusal.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from snellen.core.errors import DataError
from snellen.core.views import Finding
from snellen.data.file_index import File, Listing
from snellen.data.formats.annotation_files import (
    is_annotation_text,
    is_coco,
    is_label_studio,
    is_object_json,
    is_voc_xml,
)
from snellen.data.formats.file_names import in_system_folder, is_documentation
from snellen.data.formats.folder_layout import AS_CLASSES, CLIPS, MONTHS, FolderLayout
from snellen.data.formats.image_lists import lists_images_of
from snellen.data.formats.match_by_name import IMAGE_FOLDERS, ROLES
from snellen.data.formats.unread_content import label_studio_error

_CHECKS = {".txt": is_annotation_text, ".xml": is_voc_xml, ".json": is_object_json}
_REMEDIES = {
    ".txt": "For YOLO, put the images into images/ and these files into labels/",
    ".xml": "For Pascal VOC, put the images into JPEGImages/ and these files into Annotations/",
    ".json": "Convert them to one COCO file",
}
_MAX_READ = 20  # files read of each kind
_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".xlsx", ".parquet", ".npz", ".h5", ".mat")
_PARTS = re.compile(rf"(?:fold|batch|part|session|split|subset|shard|chunk|group|set|b|{CLIPS})[\W_]*\d+|\d+[\W_]*fold")
_OF_PAGES = IMAGE_FOLDERS | {  # folders of images in a documentation
    *("logo", "logos", "icon", "icons", "banner", "badges", "figure", "figures", "fig", "figs", "diagrams", "plots"),
    *("screenshot", "screenshots", "assets", "static", "_static", "media", "gif", "gifs"),
}
_DATES = re.compile(rf"(?:19|20)\d\d(?:[\W_]*(?:\d\d?|(?:{MONTHS})[a-z]*)){{0,2}}", re.IGNORECASE)
_OF_CODE = frozenset(  # files at the root of a repository of code
    {"setup.py", "setup.cfg", "pyproject.toml", "package.json", "cmakelists.txt", "makefile", "requirements.txt"}
)
_NO_TRAINING = ("sample", "submission", "test", "val")  # in names of tables
_PAIRS = ({"input", "output"}, {"inputs", "outputs"}, {"lr", "hr"}, {"source", "target"}, {"in", "out"})
_SPLIT_SUFFIX = re.compile(r"(.+)[\W_](?:train|training|val|valid|validation|test|testing)(?:[\W_]?set)?")


def check_no_annotations(root: Path, listing: Listing, images: Sequence[File]) -> None:
    """Refuse images with annotation files or masks that no reader took.

    Raises:
        DataError: annotation files of objects, or a folder of masks beside one of images.
    """
    stems = [os.path.splitext(image.path)[0] for image in images]
    beside = {*stems, *(image.path for image in images)}  # a.json and a.jpg.json
    names = {path.rpartition("/")[2] for path in beside}
    for suffix, is_annotation in _CHECKS.items():
        files = [
            file.path
            for file in listing.files
            if file.path.lower().endswith(suffix) and not in_system_folder(file.path.rpartition("/")[0] or "x")
        ]
        if suffix == ".json" and (coco := next((path for path in files[:_MAX_READ] if is_coco(root / path)), None)):
            raise DataError(
                f"{root} holds images and the COCO file {coco}, in a place where it is not looked for",
                f"Give the file as the path: {root / coco}. Or {AS_CLASSES}.",
            )
        if suffix == ".json" and (raw := next((p for p in files[:_MAX_READ] if is_label_studio(root / p)), None)):
            raise label_studio_error(root / raw, f" {AS_CLASSES}, without it.")
        matched = [path for path in files if path[: -len(suffix)] in beside]
        place = "beside the images"
        if 2 * len(matched) < len(images):
            matched, place = [path for path in files if path[: -len(suffix)].rpartition("/")[2] in names], "there"
        if 2 * len(matched) >= len(images) and any(is_annotation(root / path) for path in matched[:_MAX_READ]):
            raise DataError(
                f"{root} holds {len(images)} images, and {len(matched)} files of objects lie {place} ({matched[0]})",
                f"{_REMEDIES[suffix]}; {AS_CLASSES}.",
            )


def check_no_masks(root: Path, layout: FolderLayout, images: Sequence[File]) -> None:
    """Refuse a folder named for masks or maps beside one named for images. Raises DataError."""
    first: dict[str, str] = {}
    for image in images:
        first.setdefault(image.path.rpartition("/")[0], image.path)
    words = {folder: {word.lower() for word in layout.places[folder][1].split("/")} for folder in first}
    of_images = next((folder for folder in sorted(words) if words[folder] & IMAGE_FOLDERS), None)
    of_maps = next((folder for folder in sorted(words) if words[folder] & set(ROLES)), None)
    if of_images is not None and of_maps is not None:
        raise DataError(
            f"{root}: {of_maps}/ looks like masks or maps of {of_images}/, and no name matches: "
            f"{first[of_maps]}, {first[of_images]}",
            f"Give each map the name of its image, as images/a.jpg and masks/a.png; {AS_CLASSES}.",
        )


def check_no_pairs(root: Path, layout: FolderLayout, images: Sequence[File]) -> None:
    """Refuse two folders of images of the same names that are named like input and output. Raises DataError."""
    stems: dict[str, set[str]] = {}
    for image in images:
        folder, _, name = image.path.rpartition("/")
        stems.setdefault(layout.places[folder][1], set()).add(os.path.splitext(name)[0])
    if (
        len(stems) == 2
        and {name.lower() for name in stems} in _PAIRS
        and len({frozenset(s) for s in stems.values()}) == 1
    ):
        first, second = stems
        raise DataError(
            f"{root}: {first}/ and {second}/ hold images of the same names: they look like pairs, not like classes",
            f"For masks or maps, name the folders images/ and masks/ (or depth/, ...); {AS_CLASSES}.",
        )


def documentation_images(root: Path, listing: Listing, images: Sequence[File]) -> list[File]:
    """The images in folders of documentation, if the root is that of a repository of code.

    Raises:
        DataError: all images are in such folders, and the root is a repository, or the folders have the names of
            folders of images in a documentation: docs/images, docs/logo.
    """
    folders = [image.path.rpartition("/")[0] for image in images]
    names = {file.path.lower() for file in listing.files if "/" not in file.path}
    if not names & _OF_CODE and not (root / ".git").exists():
        top = os.path.basename(os.path.realpath(root))
        if all(is_documentation(f"{top}/{f}") and f.lower().rpartition("/")[2] in _OF_PAGES for f in set(folders)):
            raise _documentation_error(root, "holds", images)
        return []
    of_documentation = [image for image, folder in zip(images, folders, strict=True) if is_documentation(folder)]
    if of_documentation and len(of_documentation) == len(images):
        raise _documentation_error(root, "is a repository and holds", images)
    return of_documentation


def _documentation_error(root: Path, kind: str, images: Sequence[File]) -> DataError:
    return DataError(
        f"{root} {kind} {len(images)} images, all of documentation ({images[0].path} ...)",
        f"Give the folder of the data; {AS_CLASSES}.",
    )


def documentation_finding(paths: Sequence[str]) -> Finding:
    """The warning that images of documentation are left out."""
    return Finding(
        kind="stray",
        message=f"{len(paths)} {'image is' if len(paths) == 1 else 'images are'} left out as documentation: {paths[0]}",
        remedy=f"Give the folder of the data, not that of the repository; {AS_CLASSES}.",
        where=tuple(paths),
        count=len(paths),
    )


def only_class_error(root: Path, name: str, listing: Listing, images: int) -> DataError:
    """The error that all images have one class, with the files beside them that may hold the others."""
    cause = f"{root} has only one class ({name}): all {images} images lie in one folder"
    return _with_annotations(root, cause, listing, "Add a folder for a second class.")


def outside_error(root: Path, images: Sequence[str], listing: Listing) -> DataError:
    """The error that no image lies in a class folder, with the files that may hold the classes."""
    cause = f"{root} has {len(images)} images outside class folders ({images[0]} ...)"
    remedy = (
        "Put them into one folder for each class, or give a table of file names and classes; --target none reads them "
        "without classes, for --task cluster and generate."
    )
    heads = [re.split(r"[\W\d_]", image.rpartition("/")[2])[0] for image in images]
    named = [head for head in heads if head]
    if 1 < len(set(named)) <= 50 and max(4 * len(set(named)), len(images) / 2) <= len(named):
        heads = sorted(set(named))
        remedy = f"If their names begin with the class ({', '.join(heads[:3])}), move them into folders of it."
    return _with_annotations(root, cause, listing, remedy)


def _with_annotations(root: Path, cause: str, listing: Listing, remedy: str) -> DataError:
    """The error with the files that may be annotations of the images: a table of their names is the remedy."""
    others = _files_of(listing, (*_TABLES, ".txt", ".json", ".xml", ".yaml"))
    if not others:
        return DataError(cause, remedy)
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    cause = f"{cause}, and nothing was recognised as their annotations: {', '.join(others[:3])}{more}"
    tables = [path for path in others[:_MAX_READ] if lists_images_of(root / path)]
    if tables:  # training data first
        chosen = min(tables, key=lambda path: (any(word in path.lower() for word in _NO_TRAINING), tables.index(path)))
        remedy = f"{chosen} lists images: give it as the path, {root / chosen}"
        if len(tables) > 1:
            rest = ", ".join(path for path in tables if path != chosen)
            remedy += f". {rest} too: lists are not read together; write all rows into one, with a column split."
        return DataError(cause, remedy)
    return DataError(
        cause,
        "A table needs a column of file names, relative to the table; annotations of objects are read as COCO, Pascal "
        "VOC, YOLO or LabelMe: export them so. Without annotations, put the images into one folder for each class.",
    )


def _files_of(listing: Listing, endings: Sequence[str]) -> list[str]:
    """The files with these endings that may tell the classes of images, outside folders of the system."""
    return [
        file.path
        for file in listing.files
        if os.path.splitext(file.path)[1].lower() in endings
        and not in_system_folder(file.path.rpartition("/")[0] or "x")
        and not file.path.lower().rpartition("/")[2].startswith(("readme", "license", "licence"))
    ]


def doubtful_class_findings(
    root: Path, names: Sequence[str], folders: Sequence[str], files: int, noun: str = "images"
) -> list[Finding]:
    """Warnings on folders that may be no classes: parts of the data, a folder for each sample, files at two levels.

    Args:
        names: of the classes. folders: that hold files, relative to the root. files: their number. noun: what they are.
    """
    findings = []
    shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    if any(all(_DATES.fullmatch(prefix + folder) for folder in folders) for prefix in ("", f"{root.name}/")):
        dates = ", ".join(folders[:3]) + (" ..." if len(folders) > 3 else "")
        return [
            _doubt(
                f"All folders are dates ({dates}): there are no classes but dates",
                "If the classes are others, give a table of file names and classes.",
                names,
            )
        ]
    outer_folders = {folder.rpartition("/")[0] for folder in folders}
    if all(map(is_documentation, outer_folders)):
        findings.append(
            _doubt(
                f"All {noun} lie in folders of {min(outer_folders)}/, which is named like documentation",
                "If they are no data, give the folder of the data.",
                names,
            )
        )
    documentation = [name for name in names if is_documentation(name) and ("/" in name or name.lower()[0] == "r")]
    if documentation and len(documentation) < len(names):
        findings.append(
            _doubt(
                f"The class {documentation[0]} is named like a folder of documentation",
                "If it is no class, move it out of the data.",
                documentation,
            )
        )
    if all(_PARTS.fullmatch(name.lower()) for name in names):
        findings.append(
            _doubt(
                f"The classes {shown} are named like parts of the data",
                "If they are no classes, merge them, or give a table of file names and classes.",
                names,
            )
        )
    elif len(names) > 10 and 2 * files < 5 * len(names):
        findings.append(
            _doubt(
                f"{len(names)} folders hold {files} {noun} ({shown}): a folder may be a sample, not a class",
                "If they are no classes, give a table of file names and classes.",
                names,
            )
        )
    outer, inner_names = ({name.rpartition("/")[part] for name in names} for part in (0, 2))
    if "" not in outer and len(outer) > 1 and _differ_in_numbers(names):
        findings.append(
            _doubt(
                f"The folders below {', '.join(sorted(outer)[:3])} differ in their number only ({shown}): they may be "
                "clips or persons, not classes",
                "If so, give a table of file names and classes, and keep each in one split with --group.",
                sorted(outer),
            )
        )
    elif "" not in outer and len(outer) > 1 < len(inner_names) and len(outer) * len(inner_names) == len(names):
        findings.append(
            _doubt(
                f"Every one of the {len(outer)} outer folders ({', '.join(sorted(outer)[:3])}) holds the "
                f"folders {', '.join(sorted(inner_names)[:3])}: the outer ones may be parts of the data, not classes",
                "If so, merge them, or give a table of file names and classes.",
                sorted(outer),
            )
        )
    suffixed = [_SPLIT_SUFFIX.fullmatch(name.lower()) for name in names]
    if all(suffixed) and len({match[1] for match in suffixed if match}) < len(names):
        findings.append(
            _doubt(
                f"The classes {shown} end in names of splits",
                "If these are splits, put the class folders into folders train, val and test.",
                names,
            )
        )
    parents = {name.rpartition("/")[0] for name in names} - {""}
    mixed = sorted(parents & set(names))
    if mixed:
        inner = next(name for name in names if name.startswith(f"{mixed[0]}/"))
        findings.append(
            _doubt(
                f"{mixed[0]}/ holds {noun} and {inner}/ too: both are classes",
                f"Move the {noun} of one class into one folder.",
                mixed,
            )
        )
    return findings


def _differ_in_numbers(names: Sequence[str]) -> bool:
    """Whether the last folders of each outer one are several that differ in digits only."""
    inner = [name.rpartition("/") for name in names]
    stems = {(outer, re.sub(r"\d+", "#", last)) for outer, _, last in inner}
    return all("#" in stem for _, stem in stems) and 2 * len(stems) <= len(names) and len(stems) == len(dict(stems))


def _doubt(message: str, remedy: str, where: Sequence[str]) -> Finding:
    return Finding(kind="doubtful-classes", message=message, remedy=remedy, where=tuple(where), count=len(where))

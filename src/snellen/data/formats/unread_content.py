"""What a path holds that no format reads, and what can be done about it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from snellen.core.errors import DataError
from snellen.data.decode.audio import CONVERT as CONVERT_RECORDINGS
from snellen.data.decode.header import HEIF_SUFFIXES
from snellen.data.file_index import walk
from snellen.data.formats.annotation_files import is_label_studio, of_whole_images
from snellen.data.formats.file_names import is_image_name, split_and_rest
from snellen.data.source import Skipped

_TABLES = "Save features as a table (CSV) or as arrays (NPZ)."
_CONVERT = "Convert them to PNG, JPEG or TIFF."
# Suffixes, what they are called, and the remedy. `{}` is the path.
_KINDS: tuple[tuple[frozenset[str], str, str], ...] = (
    (
        frozenset((".wav", ".mp3", ".flac", ".ogg", ".m4a", ".aac", ".opus", ".aiff")),
        "recordings are read from a folder of files (WAV, FLAC, MP3, OGG), by models of recordings",
        f"Give the folder as DATA, with one folder for each class. Of another encoding: {CONVERT_RECORDINGS}",
    ),
    (
        frozenset((".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")),
        "video clips are not read as data yet",
        "Extract their frames as images; of a trained model of flow, predict reads a video.",
    ),
    (
        frozenset((".obj", ".ply", ".off")),
        "one mesh is one sample",
        "Give a folder with one folder of meshes for each class.",
    ),
    (
        frozenset((".stl", ".glb", ".gltf", ".fbx", ".dae", ".3ds", ".blend")),
        "of meshes OBJ, PLY and OFF are read",
        "Export them as one of these.",
    ),
    (
        frozenset((".pcd", ".las", ".laz", ".xyz", ".pts")),
        "files of points are not read",
        "Save the clouds as NPZ: x (N, P, 3), y (N,), with --modality points.",
    ),
    (
        frozenset(HEIF_SUFFIXES),
        "HEIC images are not read without another package",
        'Run: pip install "snellen[heic]", or convert them: magick mogrify -format jpg *.heic (ImageMagick).',
    ),
    (frozenset((".dcm", ".dicom", ".nii", ".mha", ".nrrd")), "medical volumes are not read", _CONVERT),
    (frozenset((".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".psd", ".svg", ".pdf")), "", _CONVERT),
    (
        frozenset((".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst")),
        "compressed files and archives are not read",
        "Unpack them and give the folder or the file.",
    ),
    (frozenset((".xlsx", ".xls", ".ods", ".parquet", ".feather", ".sav", ".dta")), "", "Save the table as CSV."),
    (
        frozenset((".pkl", ".pickle", ".mat", ".pt", ".pth", ".tfrecord", ".lmdb")),
        "",
        "Save the arrays as NPZ or HDF5.",
    ),
    (
        frozenset((".txt", ".md", ".doc", ".docx", ".amc", ".asf", ".bvh")),
        "text and sequences are not read yet",
        "Of numbers in columns, make a table (CSV) with a header; to forecast recordings: --task forecast.",
    ),
)
_TABLE_SUFFIXES = frozenset((".csv", ".tsv", ".jsonl"))
_EXPORT = "Annotations of objects are read as COCO, Pascal VOC, YOLO or LabelMe: export them so, with the images."
UNSUPPORTED = "has an unsupported file type"
_SYSTEM = ("readme", "license", "licence", "thumbs.db", ".")


def unsupported(path: str) -> Skipped:
    """A skipped file of an unsupported type; images of unread formats have the remedy of a folder of them."""
    suffix = Path(path).suffix.lower()
    kind = next((kind for kind in _KINDS if suffix in kind[0] and "convert them" in kind[2].lower()), None)
    if kind is None:
        return Skipped(path, UNSUPPORTED, "Convert it, or move it away.")
    _, reason, remedy = kind
    return Skipped(path, f"{UNSUPPORTED}{f' ({reason})' if reason else ''}", f"{remedy} Or move them away.")


def unread_error(path: Path, choose: str) -> DataError:
    """The error of a path of which nothing can be read: what it holds, and a remedy for that.

    Args:
        choose: the remedy for files of an unknown kind.
    """
    if path.is_file() and path.suffix.lower() == ".json":
        if is_label_studio(path):
            return label_studio_error(path)
        return DataError(f"{path} is a JSON file of no known layout, which is not read", _EXPORT)
    if path.is_file() and is_image_name(path.name):
        return DataError(
            f"{path} is one image, not a dataset of images",
            "Fit its colour as a function of the position: --task regress without --target (where there is no --task: "
            "--data-format image-surface). Else give the folder of the images as DATA.",
        )
    names = [file.path for file in walk(path).files] if path.is_dir() else [path.name]
    data = [name for name in names if not Path(name).name.lower().startswith(_SYSTEM)]
    suffixes = Counter(Path(name).suffix.lower() for name in data)
    if not suffixes:
        return DataError(f"{path} holds no file of data", "Give a folder of images, or a table.")
    tables = [name for name in data if Path(name).suffix.lower() in _TABLE_SUFFIXES]
    suffix, _ = suffixes.most_common(1)[0]
    kind = next((kind for kind in _KINDS if suffix in kind[0]), None)
    if path.is_dir() and tables and (kind is None or suffix in _TABLE_SUFFIXES):
        shown = ", ".join(tables[:3]) + (", …" if len(tables) > 3 else "")
        table = min(tables, key=lambda name: (split_and_rest(Path(name).stem)[0] or 0, -(path / name).stat().st_size))
        splits = {split_and_rest(Path(name).stem)[0] for name in tables} - {None}
        advice = f"Name one of them: {path / table}"
        if len(splits) > 1:
            advice += (
                ". Tables of several splits are not read together: write their rows into one, with a column split."
            )
        advice += "" if advice.endswith(".") else "; to forecast recordings of one file each: --task forecast"
        return DataError(f"{path} holds {len(tables):,} tables ({shown})", advice)
    if kind is None:
        held = ", ".join(f"{count:,} {name or 'files without ending'}" for name, count in suffixes.most_common(3))
        return DataError(f"{path} has no known format; it holds {held}", choose)
    suffixes_of_kind, reason, remedy = kind
    chosen = [name for name in data if Path(name).suffix.lower() in suffixes_of_kind]
    folders = len({Path(name).parent for name in chosen})
    words = "/".join(sorted({Path(name).suffix[1:].upper() for name in chosen})[:3])
    where = f" in {folders:,} folders" if folders > 1 else ""
    count = f"{len(chosen):,} {words} file{'s' if len(chosen) > 1 else ''}{where}"
    held = f"{path} holds {count}" if path.is_dir() else f"{path} is a {words} file"
    return DataError(f"{held}: {reason or 'they are not read'}", remedy)


def label_studio_error(path: Path, more: str = "") -> DataError:
    """The error of Label Studio's raw export: objects are exported as COCO, classes of images as a table."""
    remedy = "Export it from Label Studio as COCO or YOLO, with the images."
    if of_whole_images(path):
        remedy = (
            "Export it from Label Studio as CSV, and give a table of two columns: file names relative to it, classes."
        )
    return DataError(f"{path} is Label Studio's raw JSON, which is not read", f"{remedy}{more}")

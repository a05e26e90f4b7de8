"""Data of kinds that are not read: the error says what was seen and what to do, never only the list of formats."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from image_makers import class_folders

import snellen
from snellen.core.errors import DataError
from snellen.data.formats import OpenOptions


def touch(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"content")
    return folder


@pytest.mark.parametrize(
    ("names", "cause", "remedy"),
    [
        (["a/1.mp4", "b/2.MOV", "README"], "2 MOV/MP4 files in 2 folders: video clips", "frames"),
        (["cow/cow.stl", "cow/cow.mtl", "pig/pig.stl"], "2 STL files in 2 folders: of meshes OBJ, PLY", "Export"),
        (["data.zip"], "1 ZIP file: compressed", "Unpack"),
        (["a.xlsx"], "1 XLSX file: they are not read", "CSV"),
        (["x.csv", "y.csv"], "2 tables (x.csv, y.csv)", "Name one of them: "),
        (["a.qqq", "b.qqq"], "it holds 2 .qqq", "--data-format"),
        (["LICENSE"], "holds no file of data", "folder of images"),
    ],
)
def test_the_error_names_what_was_seen(names: list[str], cause: str, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        snellen.dataset(touch(tmp_path / "data", names))
    assert cause in caught.value.cause
    assert remedy in caught.value.remedy


def tasks(*kinds: str) -> str:
    """Label Studio's raw export of one task, with a result of each kind."""
    results = [{"from_name": "x", "to_name": "image", "type": kind, "value": {kind: ["cat"]}} for kind in kinds]
    data = {"image": "/data/upload/1/a.png"}
    return json.dumps([{"id": 7, "data": data, "annotations": [{"result": results}], "drafts": [], "project": 1}])


@pytest.mark.parametrize(
    ("text", "cause", "remedy"),
    [
        (tasks("rectanglelabels"), "is Label Studio's raw JSON, which is not read", "as COCO or YOLO, with the images"),
        ("\ufeff \n" + tasks(), "is Label Studio's raw JSON, which is not read", "as COCO or YOLO"),
        (tasks("choices"), "is Label Studio's raw JSON, which is not read", "as CSV"),
        ('{"a": 1}', "is a JSON file of no known layout", "COCO, Pascal VOC, YOLO"),
    ],
)
def test_a_json_file_of_no_format_names_the_formats_to_export(
    text: str, cause: str, remedy: str, tmp_path: Path
) -> None:
    (tmp_path / "project.json").write_text(text)
    with pytest.raises(DataError) as caught:
        snellen.dataset(tmp_path / "project.json")
    assert cause in caught.value.cause
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("name", ["project-1-at-2024.json", "export/project.json"])
@pytest.mark.parametrize("folder", ["", "images", "classes"])
def test_label_studios_raw_json_among_images_is_named(tmp_path: Path, name: str, folder: str) -> None:
    """Beside class folders, it would be no data, and the classes would be those of the folders."""
    class_folders(tmp_path / folder, {"a": 20, "b": 20} if folder == "classes" else {".": 20})
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(tasks("polygonlabels"))
    with pytest.raises(DataError) as caught:
        snellen.dataset(tmp_path)
    assert caught.value.cause == f"{tmp_path / name} is Label Studio's raw JSON, which is not read"
    assert "COCO" in caught.value.remedy
    if folder == "classes":
        options = OpenOptions(format="folder")
        assert len(snellen.dataset(tmp_path, options=options)) == 40


def test_heic_images_without_a_package_that_decodes_them(tmp_path: Path) -> None:
    script = "import sys; sys.modules['pi_heif'] = sys.modules['pillow_heif'] = None; " + (
        "from snellen.cli.main import script; sys.argv = ['snellen', 'data', 'images']; script()"
    )
    touch(tmp_path / "images", ["a/1.HEIC", "b/2.heic"])
    ended = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 3
    assert "images holds 2 HEIC files in 2 folders: HEIC images are not read without another package" in ended.stderr
    assert 'pip install "snellen[heic]"' in ended.stderr
    assert "magick mogrify" in ended.stderr


def test_a_single_file(tmp_path: Path) -> None:
    touch(tmp_path, ["song.mp3"])
    with pytest.raises(DataError, match="is a MP3 file: recordings are read from a folder"):
        snellen.dataset(tmp_path / "song.mp3")


def test_images_of_an_unread_format_among_others_have_the_remedy_of_a_folder_of_them(tmp_path: Path) -> None:
    root = touch(class_folders(tmp_path, {"a": 20, "b": 20}), ["a/notes.qqq", "a/x.dcm", "b/y.DCM"])
    (finding,) = [finding for finding in snellen.dataset(root).findings if finding.kind == "stray"]
    assert finding.count == 3
    assert "medical volumes are not read" in finding.message
    assert "Convert them to PNG, JPEG or TIFF." in finding.remedy
    assert "Convert it, or move it away." in finding.remedy


def test_the_training_table_is_named_first(tmp_path: Path) -> None:
    for name in ("a_test.csv", "train.csv"):
        (tmp_path / name).write_text("a,y\n1,2\n")
    with pytest.raises(DataError) as error:
        snellen.dataset(tmp_path)
    assert f"Name one of them: {tmp_path / 'train.csv'}. Tables of several splits are not read" in error.value.remedy

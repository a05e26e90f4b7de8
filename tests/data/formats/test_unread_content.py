"""Data of kinds that are not read: the error says what was seen and what to do, never only the list of formats."""

from __future__ import annotations

from pathlib import Path

import pytest

import snellen
from snellen.core.errors import DataError


def touch(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"content")
    return folder


@pytest.mark.parametrize(
    ("names", "cause", "remedy"),
    [
        ([f"{k % 3}/{k}.wav" for k in range(12)], "12 WAV files in 3 folders: sound is not read yet", "spectrograms"),
        (["a/1.mp4", "b/2.MOV", "README"], "2 MOV/MP4 files in 2 folders: video clips", "frames"),
        (["cow/cow.obj", "cow/cow.mtl", "pig/pig.obj"], "2 OBJ files in 2 folders: meshes", "Render"),
        (["a/1.HEIC", "b/2.heic"], "2 HEIC files in 2 folders: HEIC images are not read", "magick mogrify"),
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


def test_a_single_file(tmp_path: Path) -> None:
    touch(tmp_path, ["song.mp3"])
    with pytest.raises(DataError, match="is a MP3 file: sound is not read yet"):
        snellen.dataset(tmp_path / "song.mp3")


def test_the_training_table_is_named_first(tmp_path: Path) -> None:
    for name in ("a_test.csv", "train.csv"):
        (tmp_path / name).write_text("a,y\n1,2\n")
    with pytest.raises(DataError) as error:
        snellen.dataset(tmp_path)
    assert f"Name one of them: {tmp_path / 'train.csv'}. Tables of several splits are not read" in error.value.remedy

"""Inputs for prediction: arguments become batches, and unreadable files are reported."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from image_makers import class_folders, save, scene, write_bad_files

from snellen.api.input_values import fraction_outside_range
from snellen.core.errors import DataError
from snellen.core.spec import Input, Preprocessing, Spec
from snellen.data.source import BadSamples
from snellen.modalities import inputs

SPEC = Spec(name="images", inputs={"image": Input(modality="image", shape=(3, 40, 48), dtype="uint8")}, target=None)


def test_folders_globs_files_and_standard_input_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = class_folders(tmp_path, {"a": 3, "b": 2})
    (root / "readme.txt").write_text("no data")
    files = [str(path) for path in sorted(root.rglob("*.png"))]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(files) + "\n"))
    for arguments in ([str(root)], [str(root / "**" / "*.png")], [str(root / "?" / "*.png")], files, ["-"]):
        ((names, x),) = inputs(arguments, SPEC, Preprocessing())
        assert names == files
        assert torch.equal(x[4], torch.from_numpy(scene(5)).permute(2, 0, 1))


def test_batches_have_at_most_64_inputs_of_one_shape(tmp_path: Path) -> None:
    for k in range(70):
        save(tmp_path / f"{k:02d}.png", scene(1, (20 if k == 66 else 10, 12)))
    assert [len(x) for _, x in inputs([str(tmp_path)], SPEC, Preprocessing())] == [64, 2, 1, 3]
    shapes = [tuple(x.shape) for _, x in inputs([str(tmp_path)], SPEC, Preprocessing(size=(8, 9)))]
    assert shapes == [(64, 3, 8, 9), (6, 3, 8, 9)]


def test_channels_and_depth_are_those_of_the_data(tmp_path: Path) -> None:
    path = save(tmp_path / "grey.png", scene(1, channels=1))
    image = Input(modality="image", shape=(3, None, None), dtype="uint16")
    deep = Spec(name="deep", inputs={"image": image}, target=None)
    ((_, x),) = inputs([str(path)], deep, Preprocessing())
    assert x.shape[1] == 3
    assert x.dtype == torch.uint16


def test_bad_files_are_reported_after_the_good_ones(tmp_path: Path) -> None:
    arguments = write_bad_files(tmp_path / "bad")
    (tmp_path / "bad" / "notes.docx").write_bytes(b"x")
    good = save(tmp_path / "z.png", scene(1))
    batches = inputs([str(tmp_path / "bad"), str(good)], SPEC, Preprocessing())
    names_read = []
    with pytest.raises(BadSamples) as caught:
        names_read += [name for names, _ in batches for name in names]
    assert len(caught.value.problems) == len(arguments) + 1


def test_good_files_are_read_although_others_are_bad(tmp_path: Path) -> None:
    write_bad_files(tmp_path / "bad")
    good = save(tmp_path / "z.png", scene(1))
    names, _ = next(inputs([str(tmp_path / "bad"), str(good)], SPEC, Preprocessing()))
    assert names == [str(good)]


@pytest.mark.parametrize("argument", ["nowhere.png", "no*where/*.png", "empty"])
def test_an_argument_without_files_is_an_error(tmp_path: Path, argument: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as caught:
        list(inputs([str(tmp_path / argument)], SPEC, Preprocessing()))
    assert argument in caught.value.cause
    assert caught.value.remedy


def test_outside_range_is_a_fraction_of_values() -> None:
    x = torch.tensor([0, 5, 10, 20], dtype=torch.uint16)
    assert fraction_outside_range(x, 5, 10) == 0.5
    assert fraction_outside_range(x, 0, 20) == 0.0


def test_a_folder_of_which_nothing_can_be_read_is_refused_as_by_data(tmp_path: Path) -> None:
    for k in range(3):
        (tmp_path / f"{k}.wav").write_bytes(b"sound")
    with pytest.raises(DataError) as caught:
        list(inputs([str(tmp_path)], SPEC, Preprocessing()))
    assert (
        caught.value.cause
        == f"{tmp_path} holds 3 WAV files: recordings are read from a folder of files (WAV, FLAC, MP3, OGG), by models "
        "of recordings"
    )
    assert "as DATA" in caught.value.remedy


def test_the_table_beside_images_is_no_input_and_is_named_once(tmp_path: Path) -> None:
    image = save(tmp_path / "images" / "a.png", scene(1))
    (tmp_path / "labels.csv").write_text("file,y\nimages/a.png,1\n")
    lines: list[str] = []
    batches = list(inputs([str(tmp_path)], SPEC, Preprocessing(), lines.append))
    assert [name for names, _ in batches for name in names] == [str(image)]
    assert lines == [f"{tmp_path}: the images are the input; tables not used: labels.csv"]


def test_a_table_of_image_names_gives_its_images_once(tmp_path: Path) -> None:
    images = [save(tmp_path / "images" / f"{k}.png", scene(k)) for k in range(3)]
    table = tmp_path / "labels.csv"
    table.write_text("file,y\n2.png,1\n0.png,2\n0.png,2\n")
    for arguments, expected in (([str(table)], [2, 0]), ([str(table), str(images[0])], [2, 0])):
        ((names, _),) = inputs(arguments, SPEC, Preprocessing())
        assert names == [str(images[k]) for k in expected]


def test_missing_images_of_a_table_are_reported_after_the_others(tmp_path: Path) -> None:
    save(tmp_path / "a.png", scene(1))
    table = tmp_path / "labels.csv"
    table.write_text("file,y\na.png,1\ngone.png,2\n../a.png,2\n")
    batches = inputs([str(table)], SPEC, Preprocessing())
    assert next(batches)[0] == [str(tmp_path / "a.png")]
    with pytest.raises(BadSamples, match="2 of the samples") as caught:
        next(batches)
    assert all(str(table) in name for name in caught.value.names.values())


def test_a_table_without_images_is_no_input_of_a_model_of_images(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(DataError, match="lists no images"):
        list(inputs([str(tmp_path / "x.csv")], SPEC, Preprocessing()))

"""Inputs for prediction: arguments become batches, and unreadable files are reported."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from image_makers import class_folders, save, scene, write_bad_files

from snellen.core.errors import DataError
from snellen.core.spec import Input, Preprocessing, Spec
from snellen.data.inference_inputs import fraction_outside_range, inputs
from snellen.data.source import BadSamples

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

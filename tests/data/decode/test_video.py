"""Video decoding: order and names of frames, truncated and invalid files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from videos import write_video

from snellen.core.errors import EnvironmentProblem
from snellen.core.spec import Classes, Input, Preprocessing, Spec
from snellen.data.decode import video
from snellen.data.decode.header import UnusableFile
from snellen.data.source import BadSamples
from snellen.modalities import inputs

SPEC = Spec(
    name="x",
    inputs={"image": Input(modality="image", shape=(3, None, None), dtype="uint8")},
    target=Classes(names=("a", "b")),
)


def test_frames_are_read_in_order(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", 70)
    batches = list(inputs([str(path)], SPEC, Preprocessing()))
    names = [name for some, _ in batches for name in some]
    x = torch.cat([some for _, some in batches])
    assert names == [f"{path}#{number}" for number in range(70)]
    assert (x.shape, x.dtype) == ((70, 3, 48, 64), torch.uint8)
    light = x.float().mean((1, 2, 3))
    assert bool((light[1:] >= light[:-1]).all())
    assert light[40].item() == pytest.approx(120, abs=4)


def test_frames_are_preprocessed_like_images(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.avi", 3)
    (batch,) = inputs([str(path)], SPEC, Preprocessing(size=(12, 16), channels=1))
    assert batch[1].shape == (3, 1, 12, 16)


def test_videos_of_a_folder_follow_its_images(tmp_path: Path) -> None:
    from PIL import Image

    write_video(tmp_path / "a.avi", 2)
    Image.new("RGB", (64, 48)).save(tmp_path / "z.png")
    names = [name for some, _ in inputs([str(tmp_path)], SPEC, Preprocessing()) for name in some]
    assert names == [str(tmp_path / "z.png"), f"{tmp_path / 'a.avi'}#0", f"{tmp_path / 'a.avi'}#1"]


def test_invalid_videos_are_reported(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.avi", 2)
    (tmp_path / "none.mp4").write_text("<html>")
    with pytest.raises(BadSamples) as error:
        list(inputs([str(tmp_path / "none.mp4"), str(whole)], SPEC, Preprocessing()))
    assert "none.mp4" in str(error.value)
    assert "cannot be decoded as a video" in error.value.problems[0]


def test_frame_names_round_trip() -> None:
    assert video.parse_frame_name(video.frame_name(Path("a/clip.mp4"), 12)) == (Path("a/clip.mp4"), 12)
    assert video.parse_frame_name("a/pic#12.png") is None
    assert video.parse_frame_name("a/pic.png#12") is None
    assert video.parse_frame_name("clip.mp4") is None


def test_too_many_pixels_are_an_error_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snellen.data.decode.header.MAX_PIXELS", 1000)
    with pytest.raises(UnusableFile, match="more than 1,000"):
        list(video.frames(write_video(tmp_path / "clip.avi", 2)))


def test_without_pyav_the_error_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EnvironmentProblem, match="PyAV") as error:
        list(video.frames(tmp_path / "clip.avi"))
    assert error.value.remedy == 'pip install "snellen[video]"'

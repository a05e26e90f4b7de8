"""Films: frames in their order under their numbers, and what is no film."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from videos import film

from snellen.core.errors import EnvironmentProblem
from snellen.core.spec import Classes, Input, Preprocessing, Spec
from snellen.data.decode import video
from snellen.data.decode.header import Unusable
from snellen.data.inference_inputs import inputs
from snellen.data.source import BadSamples

SPEC = Spec(
    name="x",
    inputs={"image": Input(modality="image", shape=(3, None, None), dtype="uint8")},
    target=Classes(names=("a", "b")),
)


def test_frames_come_in_their_order_as_pictures_do(tmp_path: Path) -> None:
    path = film(tmp_path / "clip.avi", 70)
    batches = list(inputs([str(path)], SPEC, Preprocessing()))
    names = [name for some, _ in batches for name in some]
    x = torch.cat([some for _, some in batches])
    assert names == [f"{path}#{number}" for number in range(70)]
    assert (x.shape, x.dtype) == ((70, 3, 48, 64), torch.uint8)
    light = x.float().mean((1, 2, 3))
    assert bool((light[1:] >= light[:-1]).all())
    assert light[40].item() == pytest.approx(120, abs=4)


def test_frames_are_read_as_the_model_reads_pictures(tmp_path: Path) -> None:
    path = film(tmp_path / "clip.avi", 3)
    (batch,) = inputs([str(path)], SPEC, Preprocessing(size=(12, 16), channels=1))
    assert batch[1].shape == (3, 1, 12, 16)


def test_a_folder_s_films_follow_its_pictures(tmp_path: Path) -> None:
    from PIL import Image

    film(tmp_path / "a.avi", 2)
    Image.new("RGB", (64, 48)).save(tmp_path / "z.png")
    names = [name for some, _ in inputs([str(tmp_path)], SPEC, Preprocessing()) for name in some]
    assert names == [str(tmp_path / "z.png"), f"{tmp_path / 'a.avi'}#0", f"{tmp_path / 'a.avi'}#1"]


def test_a_film_that_breaks_off_and_what_is_none_are_named(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.avi", 2)
    (tmp_path / "none.mp4").write_text("<html>")
    with pytest.raises(BadSamples) as error:
        list(inputs([str(tmp_path / "none.mp4"), str(whole)], SPEC, Preprocessing()))
    assert "none.mp4" in str(error.value)
    assert "is no film that can be read" in error.value.problems[0]


def test_names_of_frames_are_read_back() -> None:
    assert video.film_of(video.name_of(Path("a/clip.mp4"), 12)) == (Path("a/clip.mp4"), 12)
    assert video.film_of("a/pic#12.png") is None
    assert video.film_of("a/pic.png#12") is None
    assert video.film_of("clip.mp4") is None


def test_a_bomb_is_refused_before_its_pixels_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snellen.data.decode.header.PIXELS", 1000)
    with pytest.raises(Unusable, match="more than 1,000"):
        list(video.frames(film(tmp_path / "clip.avi", 2)))


def test_without_pyav_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EnvironmentProblem, match="PyAV") as error:
        list(video.frames(tmp_path / "clip.avi"))
    assert error.value.remedy == 'pip install "snellen[video]"'

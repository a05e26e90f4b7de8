"""Pages, answers and diagnoses of the tasks that answer every pixel."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import torch
from PIL import Image
from raw_datasets import seeded
from torch import nn

import snellen
from snellen.api import RunOptions
from snellen.core.rle import of_text
from snellen.core.spec import PixelClasses, PixelNumbers
from snellen.core.views import ImageGrid
from snellen.data.annotations import Maps
from snellen.data.dataset import Dataset, Labelled
from snellen.report.prediction_maps import MapFiles
from snellen.tasks import LEARNERS
from snellen.tasks.dense_regress.task import told as told_in_words

SMALL: dict[str, Any] = {"width": 4, "depth": 2, "epochs": 1}


def trained(data: Dataset[Labelled], out: Path, model: str = "unet", **more: Any) -> snellen.TrainedRun:
    settings = SMALL if model != "baseline" else {}
    return snellen.train(data, model, out=out, options=RunOptions(threads=1), **{**settings, **more})


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> snellen.TrainedRun:
    return trained(scenes.segmented(), tmp_path_factory.mktemp("segmenter") / "run")


def test_the_page_shows_the_worst_pictures_with_truth_and_answer(segmenter: snellen.TrainedRun) -> None:
    page = (segmenter.folder / "report.html").read_text()
    assert "mean IoU" in page
    assert "says the most frequent class at every pixel" in page
    said = segmenter.predictions("test")
    shown = segmenter.task.views(said, segmenter.data, segmenter.spec)
    worst = next(view for view in shown if isinstance(view, ImageGrid))
    assert worst.items
    assert all(len(item.beside) == 2 for item in worst.items)
    rows = segmenter.task.worst(said, segmenter.spec, 8).tolist()
    names = [item.caption.split("\n")[1] for item in worst.items]
    assert names == [segmenter.data.name(int(said["ids"][row])) for row in rows]
    for item in worst.items:
        truth, answer = item.beside
        assert truth.classes is not None
        assert answer.classes is not None
        assert truth.classes.shape == answer.classes.shape


def test_the_segments_of_an_answer_share_the_picture_out(segmenter: snellen.TrainedRun) -> None:
    scene = segmenter.data.scenes("test").at(0)
    (said,) = segmenter.ask(scene.image[None])
    assert sum(said["shares"].values()) == pytest.approx(1)
    covered = torch.zeros(32, 32, dtype=torch.int64)
    for name, mask in said["segments"].items():
        inside = of_text(mask["counts"], (32, 32)).full(32, 32)
        covered += inside
        assert float(inside.double().mean()) == pytest.approx(said["shares"][name])
    assert bool((covered == 1).all())


def test_predict_draws_and_writes_maps_that_say_the_same(segmenter: snellen.TrainedRun, tmp_path: Path) -> None:
    scene = segmenter.data.scenes("test").at(0)
    (tmp_path / "in").mkdir()
    Image.fromarray(scene.image[0].numpy()).save(tmp_path / "in" / "a.png")
    (said,) = segmenter.answers([tmp_path / "in"], draw=tmp_path / "drawn", maps=tmp_path / "maps")
    with Image.open(tmp_path / "maps" / "a.png") as written:
        found = np.asarray(written)
    names = segmenter.spec.target.names  # type: ignore[union-attr]
    for k, name in enumerate(names):
        assert float((found == k).mean()) == pytest.approx(said["shares"][name])
    with torch.no_grad():
        expected = segmenter.model.scores(scene.image[None])[0].argmax(0)  # type: ignore[operator]
    assert np.array_equal(found, expected.numpy())
    with Image.open(tmp_path / "drawn" / "a.png.png") as drawn:
        assert drawn.mode == "RGB"


def test_one_class_for_every_pixel_is_a_finding(tmp_path: Path) -> None:
    run = trained(scenes.segmented(), tmp_path / "run", "baseline")
    assert any("says ground to 100 % of the pixels" in finding.message for finding in run.told().findings)


def test_a_class_that_no_pixel_is_said_to_be_is_named(segmenter: snellen.TrainedRun, tmp_path: Path) -> None:
    said = segmenter.predictions("test")["confusion"].sum((0, 1))  # after one epoch of a tiny network
    never = [name for name, count in zip(("ground", "square", "disc"), said.tolist(), strict=True) if not count]
    (found,) = [finding for finding in segmenter.told().findings if finding.kind == "never-said"]
    assert found.message.startswith(f"It never says {' or '.join(never)}, and ")
    assert "--class-weights balanced" in found.remedy
    longer = trained(scenes.segmented(), tmp_path / "run", epochs=6, width=8)
    assert "never-said" not in {finding.kind for finding in longer.told().findings}


def test_a_picture_without_a_truth_counts_nowhere(tmp_path: Path) -> None:
    pictures, truth = scenes.world(24)
    truth[::5] = -1
    names = ("ground", "square", "disc", "nowhere")
    data = scenes.made(pictures, PixelClasses(names=names), Maps(lambda id: truth[id], range(24)))
    run = trained(data, tmp_path / "run")
    plain = json.loads((run.folder / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert plain["splits"]["test"]["IoU of nowhere"]["value"] is None
    assert plain["splits"]["test"]["IoU of nowhere"]["reason"]


def test_pictures_of_several_sizes_are_learned_from_and_answered_at_their_own(tmp_path: Path) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 3, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.conv(x)
            return y

    run = snellen.train(scenes.segmented(), Own(), out=tmp_path / "run", options=RunOptions(threads=1), epochs=1)
    (said,) = run.ask(torch.zeros(1, 1, 17, 50, dtype=torch.uint8))
    assert next(iter(said["segments"].values()))["size"] == [17, 50]


KINDS = {"depth": 1, "normals": 3, "edges": 1, "reflectance": 3, "flow": 2, "numbers": 2}


def told_of(kind: str, count: int = 40) -> Dataset[Labelled]:
    """Maps that follow from the classes of the scenes."""
    pictures, truth = scenes.world(count)
    channels = KINDS[kind]
    values = torch.rand(4, channels, generator=seeded(3)) + 0.2
    if kind == "normals":
        values = nn.functional.normalize(torch.randn(4, 3, generator=seeded(3)), dim=1)
    if kind == "edges":
        values = torch.tensor([[0.0], [1.0], [0.0], [0.0]])
    maps = values[truth].permute(0, 3, 1, 2)
    maps = torch.where((truth < 0)[:, None], torch.nan, maps)
    target = PixelNumbers(kind=kind, names=tuple(f"n{k}" for k in range(channels)))  # type: ignore[arg-type]
    if kind == "flow":
        pictures = pictures.repeat(1, 6, 1, 1)
    return scenes.made(pictures, target, Maps(lambda id: maps[id], range(count)))


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_of_numbers_is_learned_judged_and_shown(kind: str, tmp_path: Path) -> None:
    data = told_of(kind)
    run = trained(data, tmp_path / "run", width=8, hflip=False)  # no vector here turns with its picture
    usual = trained(data, tmp_path / "baseline", "baseline")
    ours, theirs = run.metrics[run.headline], usual.metrics[run.headline]
    assert ours.value is not None
    assert theirs.value is not None or kind == "numbers"
    if theirs.value is not None:
        assert (ours.value > theirs.value) == ours.higher_is_better
    assert "Worst pictures" in str([view.title for view in run.task.views(run.predictions("test"), run.data, run.spec)])
    (said,) = run.ask(data.example("test"))
    for name in run.spec.target.names:  # type: ignore[union-attr]
        numbers = said["numbers"][name]
        assert numbers["least"] <= numbers["mean"] <= numbers["most"]
        assert math.isfinite(numbers["mean"])


def test_a_map_of_numbers_is_written_as_the_model_says_it(tmp_path: Path) -> None:
    run = trained(told_of("depth"), tmp_path / "run")
    scene = run.data.scenes("test").at(0)
    (tmp_path / "in").mkdir()
    Image.fromarray(scene.image[0].numpy()).save(tmp_path / "in" / "a.png")
    list(run.answers([tmp_path / "in"], draw=tmp_path / "drawn", maps=tmp_path / "maps"))
    with torch.no_grad():
        expected = run.model.predict(scene.image[None])[0, 0].numpy()  # type: ignore[operator]
    step = (expected.max() - expected.min()) / 65535
    np.testing.assert_allclose(np.load(tmp_path / "maps" / "a.npy"), expected, atol=step)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "numbers"])
def test_what_is_written_can_be_learned_from_as_it_lies_there(kind: str, tmp_path: Path) -> None:
    told, values = told_of(kind), torch.rand(6, KINDS[kind], 32, 32, generator=seeded(1)) * 0.9 + 0.05
    if kind == "normals":
        values = nn.functional.normalize(values - 0.5, dim=1)
    written = MapFiles(tmp_path / kind, told.spec)
    (tmp_path / "images").mkdir()
    for k in range(6):
        picture = told.picture(k)[:3].expand(3, -1, -1).permute(1, 2, 0).numpy()
        names = [f"{k}_img1", f"{k}_img2"] if kind == "flow" else [str(k)]
        for name in names:
            Image.fromarray(picture).save(tmp_path / "images" / f"{name}.png")
        written.write(tmp_path / "images" / f"{names[0]}.png", told_in_words(values[k], told.spec.target.names))  # type: ignore[union-attr]
    read = snellen.dataset(str(tmp_path))
    assert read.spec.target.kind == kind  # type: ignore[union-attr]
    assert read.files["used"] == read.files["found"] == len(list((tmp_path / "images").iterdir())) + 6
    for k in range(6):
        number = int(Path(read.name(k)).stem.split("_")[0])
        step = float(values[number].max() - values[number].min()) / 65535
        torch.testing.assert_close(read.annotations.of(k), values[number], rtol=0, atol=step)  # type: ignore[union-attr]


def test_a_loss_that_does_not_suit_the_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(snellen.UsageError, match="normals"):
        trained(told_of("normals"), tmp_path / "run", loss="squared")
    assert not (tmp_path / "run").exists()


def test_every_dense_network_serves_both_tasks() -> None:
    assert [name for name in LEARNERS["segment"] if name != "baseline"] == [
        name for name in LEARNERS["dense-regress"] if name != "baseline"
    ]

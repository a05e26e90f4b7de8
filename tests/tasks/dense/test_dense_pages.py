"""Dense tasks end to end: report pages, predictions, drawn and written maps, diagnoses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
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
from snellen.api import RunOptions, find_task
from snellen.core.rle import decode_region
from snellen.core.spec import PixelClasses, PixelNumbers
from snellen.core.views import ImageGrid
from snellen.data.annotations import MapAnnotations
from snellen.data.dataset import Dataset, Labelled
from snellen.report.diagnosis import Evidence, diagnose
from snellen.report.prediction_maps import PredictionMapWriter
from snellen.tasks import LEARNERS
from snellen.tasks.dense_regress.task import encode_map

SMALL: dict[str, Any] = {"width": 4, "depth": 2, "epochs": 1}


def trained(data: Dataset[Labelled], out: Path, model: str = "unet", **overrides: Any) -> snellen.TrainedRun:
    is_baseline = model == "baseline"
    options, settings = RunOptions(threads=1, report=not is_baseline), {} if is_baseline else SMALL
    return snellen.train(data, model, out=out, options=options, **{**settings, **overrides})


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> snellen.TrainedRun:
    return trained(scenes.segmentation_dataset(), tmp_path_factory.mktemp("segmenter") / "run")


def test_the_report_shows_the_worst_images_with_ground_truth_and_prediction(segmenter: snellen.TrainedRun) -> None:
    page = (segmenter.folder / "report.html").read_text()
    assert "mean IoU" in page
    assert "predicts the most frequent class at every pixel" in page
    predictions = segmenter.predictions("test")
    views = segmenter.task.views(predictions, segmenter.data, segmenter.spec)
    worst = next(view for view in views if isinstance(view, ImageGrid))
    assert worst.items
    assert all(len(item.panels) == 2 for item in worst.items)
    rows = segmenter.task.worst_samples(predictions, segmenter.spec, 8).tolist()
    names = [item.caption.split("\n")[1] for item in worst.items]
    assert names == [segmenter.data.name(int(predictions["ids"][row])) for row in rows]
    for item in worst.items:
        truth, prediction = item.panels
        assert truth.classes is not None
        assert prediction.classes is not None
        assert truth.classes.shape == prediction.classes.shape


def test_the_segments_of_a_prediction_partition_the_image(segmenter: snellen.TrainedRun) -> None:
    scene = segmenter.data.scenes("test").at(0)
    (prediction,) = segmenter.predict_batch(scene.image[None])
    assert sum(prediction["shares"].values()) == pytest.approx(1)
    covered = torch.zeros(32, 32, dtype=torch.int64)
    for name, mask in prediction["segments"].items():
        inside = decode_region(mask["counts"], (32, 32)).full(32, 32)
        covered += inside
        assert float(inside.double().mean()) == pytest.approx(prediction["shares"][name])
    assert bool((covered == 1).all())


def test_predict_writes_the_predicted_maps_and_drawings(segmenter: snellen.TrainedRun, tmp_path: Path) -> None:
    scene = segmenter.data.scenes("test").at(0)
    (tmp_path / "in").mkdir()
    Image.fromarray(scene.image[0].numpy()).save(tmp_path / "in" / "a.png")
    (prediction,) = segmenter.predict_files([tmp_path / "in"], draw=tmp_path / "drawn", maps=tmp_path / "maps")
    with Image.open(tmp_path / "maps" / "a.png") as image:
        predicted = np.asarray(image)
    names = segmenter.spec.target.names  # type: ignore[union-attr]
    for k, name in enumerate(names):
        assert float((predicted == k).mean()) == pytest.approx(prediction["shares"][name])
    with torch.no_grad():
        expected = segmenter.model.scores(scene.image[None])[0].argmax(0)  # type: ignore[operator]
    assert np.array_equal(predicted, expected.numpy())
    with Image.open(tmp_path / "drawn" / "a.png") as image:
        assert image.mode == "RGB"


def test_predicting_one_class_at_every_pixel_is_a_finding(tmp_path: Path) -> None:
    run = trained(scenes.segmentation_dataset(), tmp_path / "run", "baseline")
    assert run.summary().findings == []  # of the baseline it is no finding
    evidence = Evidence(
        task=run.task,
        model=run.model,  # type: ignore[arg-type]
        data=run.data,
        history=[],
        predictions=run.predictions("test"),
        metrics={"test": run.metrics},
        notes={},
    )
    assert any("predicts ground for 100 % of the pixels" in finding.message for finding in diagnose(evidence, {}))


def test_a_class_that_is_never_predicted_is_a_finding(segmenter: snellen.TrainedRun, tmp_path: Path) -> None:
    counts = segmenter.predictions("test")["confusion"].sum((0, 1))  # after one epoch of a tiny network
    missing = [name for name, count in zip(("ground", "square", "disc"), counts.tolist(), strict=True) if not count]
    (finding,) = [finding for finding in segmenter.summary().findings if finding.kind == "never-said"]
    assert finding.message.startswith(f"The model never predicts {' or '.join(missing)}: ")
    assert "--class-weights balanced" in finding.remedy
    longer = trained(scenes.segmentation_dataset(), tmp_path / "run", epochs=6, width=8)
    assert "never-said" not in {finding.kind for finding in longer.summary().findings}


def test_images_without_ground_truth_are_ignored(tmp_path: Path) -> None:
    images, truth = scenes.images_and_classes(24)
    truth[::5] = -1
    names = ("ground", "square", "disc", "nowhere")
    data = scenes.image_dataset(images, PixelClasses(names=names), MapAnnotations(lambda id: truth[id], range(24)))
    run = trained(data, tmp_path / "run")
    plain = json.loads((run.folder / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert plain["splits"]["test"]["IoU of nowhere"]["value"] is None
    assert plain["splits"]["test"]["IoU of nowhere"]["reason"]


def test_a_users_module_predicts_images_at_their_own_size(tmp_path: Path) -> None:
    class SmallNetwork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 3, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.conv(x)
            return y

    run = snellen.train(
        scenes.segmentation_dataset(), SmallNetwork(), out=tmp_path / "run", options=RunOptions(threads=1), epochs=1
    )
    (prediction,) = run.predict_batch(torch.zeros(1, 1, 17, 50, dtype=torch.uint8))
    assert next(iter(prediction["segments"].values()))["size"] == [17, 50]


KINDS = {"depth": 1, "normals": 3, "edges": 1, "reflectance": 3, "flow": 2, "numbers": 2}


def map_dataset(kind: str, count: int = 40) -> Dataset[Labelled]:
    """Dataset whose maps are functions of the classes of the scenes."""
    images, truth = scenes.images_and_classes(count)
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
        images = images.repeat(1, 6, 1, 1)
    return scenes.image_dataset(images, target, MapAnnotations(lambda id: maps[id], range(count)))


@pytest.mark.learning
@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_of_map_is_trained_evaluated_and_reported(
    kind: str, tmp_path: Path, assert_score: Callable[..., None]
) -> None:
    data = map_dataset(kind)
    run = trained(data, tmp_path / "run", width=8, hflip=False, epochs=4)  # these vectors do not change in a mirror
    baseline = trained(data, tmp_path / "baseline", "baseline")
    metric, baseline_metric = run.metrics[run.headline], baseline.metrics[run.headline]
    assert metric.value is not None
    assert baseline_metric.value is not None or kind == "numbers"
    if baseline_metric.value is not None:
        sign = 1 if metric.higher_is_better else -1
        assert_score(sign * (metric.value - baseline_metric.value), above=0)
    assert "Worst images" in str([view.title for view in run.task.views(run.predictions("test"), run.data, run.spec)])
    (prediction,) = run.predict_batch(data.example("test"))
    for name in run.spec.target.names:  # type: ignore[union-attr]
        numbers = prediction["numbers"][name]
        assert numbers["least"] <= numbers["mean"] <= numbers["most"]
        assert math.isfinite(numbers["mean"])


def test_a_written_map_matches_the_prediction(tmp_path: Path) -> None:
    run = trained(map_dataset("depth"), tmp_path / "run")
    scene = run.data.scenes("test").at(0)
    (tmp_path / "in").mkdir()
    Image.fromarray(scene.image[0].numpy()).save(tmp_path / "in" / "a.png")
    list(run.predict_files([tmp_path / "in"], draw=tmp_path / "drawn", maps=tmp_path / "maps"))
    with torch.no_grad():
        expected = run.model.predict(scene.image[None])[0, 0].numpy()  # type: ignore[operator]
    step = (expected.max() - expected.min()) / 65535
    np.testing.assert_allclose(np.load(tmp_path / "maps" / "a.npy"), expected, atol=step)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "numbers"])
def test_written_maps_are_a_dataset_that_can_be_opened(kind: str, tmp_path: Path) -> None:
    dataset, values = map_dataset(kind), torch.rand(6, KINDS[kind], 32, 32, generator=seeded(1)) * 0.9 + 0.05
    if kind == "normals":
        values = nn.functional.normalize(values - 0.5, dim=1)
    writer = PredictionMapWriter(tmp_path / kind, find_task(None, dataset.spec), dataset.spec)
    (tmp_path / "images").mkdir()
    for k in range(6):
        image = dataset.image(k)[:3].expand(3, -1, -1).permute(1, 2, 0).numpy()
        names = [f"{k}_img1", f"{k}_img2"] if kind == "flow" else [str(k)]
        for name in names:
            Image.fromarray(image).save(tmp_path / "images" / f"{name}.png")
        writer.write(tmp_path / "images" / f"{names[0]}.png", encode_map(values[k], dataset.spec.target.names))  # type: ignore[union-attr]
    read = snellen.dataset(str(tmp_path))
    assert read.spec.target.kind == kind  # type: ignore[union-attr]
    assert read.files["used"] == read.files["found"] == len(list((tmp_path / "images").iterdir())) + 6
    for k in range(6):
        number = int(Path(read.name(k)).stem.split("_")[0])
        step = float(values[number].max() - values[number].min()) / 65535
        torch.testing.assert_close(read.annotations.load(k), values[number], rtol=0, atol=step)  # type: ignore[union-attr]


def test_maps_of_images_of_one_name_in_several_folders_are_numbered(tmp_path: Path) -> None:
    dataset = map_dataset("depth")
    writer = PredictionMapWriter(tmp_path / "maps", find_task(None, dataset.spec), dataset.spec)
    record = encode_map(torch.rand(1, 32, 32), dataset.spec.target.names)  # type: ignore[union-attr]
    written = [writer.write(tmp_path / folder / "0.png", record).name for folder in "abc"]
    assert written == ["0.npy", "0-2.npy", "0-3.npy"]


def test_a_loss_that_does_not_suit_the_kind_of_map_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(snellen.UsageError, match="normals"):
        trained(map_dataset("normals"), tmp_path / "run", loss="squared")
    assert not (tmp_path / "run").exists()


def test_every_dense_network_is_a_learner_of_both_tasks() -> None:
    assert [name for name in LEARNERS["segment"] if name != "baseline"] == [
        name for name in LEARNERS["dense-regress"] if name != "baseline"
    ]

"""Task generate: no target, whatever targets the data has; likelihoods, samples and their files, report."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import snellen
from snellen.api import RunOptions, find_task
from snellen.cli.main import main
from snellen.core import file_io
from snellen.core.errors import UsageError
from snellen.core.spec import Column, Input, Numbers, Spec
from snellen.core.views import ImageGrid, Metric
from snellen.data.dataset import Dataset, Labelled
from snellen.modalities import modality_of
from snellen.modalities.sample_files import write_csv, write_grid, write_npz
from snellen.report.pages.verdicts import baseline_verdict
from snellen.tasks import LEARNERS, TASKS
from snellen.tasks.generate.task import measure, preprocessing_of

QUICK = RunOptions(threads=1, report=False)


def images(*shape: int | None, dtype: str = "uint8") -> Spec:
    return Spec(name="images", inputs={"image": Input(modality="image", shape=shape, dtype=dtype)}, target=None)


@pytest.fixture(scope="module")
def moons(tmp_path_factory: pytest.TempPathFactory) -> snellen.TrainedRun:
    return snellen.train("moons", task="generate", out=tmp_path_factory.mktemp("moons") / "run", options=QUICK)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> snellen.TrainedRun:
    options = RunOptions(threads=1)
    return snellen.train("digits", task="generate", out=tmp_path_factory.mktemp("digits") / "run", options=options)


def with_other_targets(data: Dataset[Labelled]) -> Dataset[Labelled]:
    target, truth = Numbers(names=("log_density",)), torch.arange(len(data.source), dtype=torch.float64)[:, None]
    return dataclasses.replace(data, spec=dataclasses.replace(data.spec, target=target), truth=truth)


def test_the_run_does_not_depend_on_the_targets_of_the_data(moons, tmp_path):
    other = snellen.train(with_other_targets(snellen.dataset("moons")), task="generate", out=tmp_path, options=QUICK)
    assert (moons.folder / "model.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()
    assert moons.spec.target is None
    assert other.spec.target is None
    assert other.evaluate(with_other_targets(snellen.dataset("moons"))) == moons.metrics
    assert snellen.load(moons.folder).evaluate("moons") == moons.metrics


def test_generate_is_the_default_task_of_data_without_a_target_only():
    assert list(TASKS)[-2:] == ["generate", "cluster"]  # the first that fits is the default
    data = snellen.dataset("moons")
    assert find_task(None, data.spec).name == "classify"
    assert find_task("generate", data.spec).name == "generate"
    assert find_task(None, dataclasses.replace(data.spec, target=None)).name == "generate"
    with pytest.raises(UsageError, match="has no target for regress") as caught:
        find_task("regress", data.spec)
    assert "Its target fits classify; see" in caught.value.remedy  # that of generate is none
    with pytest.raises(UsageError) as caught:
        snellen.train(data, "gaussian")
    assert caught.value.remedy == "Add --task generate."


def test_prediction_and_stored_log_density_are_equal(digits):
    stored = digits.predictions("test")
    x = digits.data.samples("test").take(torch.arange(20)).x
    assert [p["log_density"] for p in digits.predict_batch(x)] == pytest.approx(stored["log_density"][:20].tolist())
    worst = digits.worst_samples(1)[0]["answer"]["log_density"]
    assert worst == pytest.approx(float(stored["log_density"].min()))


def test_metrics_are_means_and_move_with_the_log_density():
    """Bits per dimension of 8-bit images; the interval of a mean of any sign is as wide as that of positive numbers."""
    log_density = torch.from_numpy(np.random.default_rng(0).normal(-300, 40, 60))
    spec = images(1, 8, 8)

    def measured(values: torch.Tensor) -> Metric:
        predictions = {"log_density": values, "truth": torch.zeros(60, 0), "ids": torch.arange(60)}
        metrics = measure(predictions, spec)
        whole, bits = metrics["negative log-likelihood"], metrics["bits per dimension"]
        assert whole.value == pytest.approx(-float(values.mean()))
        assert bits.value == pytest.approx(whole.value / (64 * math.log(2)))
        assert bits.low == pytest.approx(whole.low / (64 * math.log(2)))
        assert not whole.ratio_scale
        return whole

    metric, moved = measured(log_density), measured(log_density + 300)
    assert metric.value - moved.value == pytest.approx(300)
    assert (metric.low - moved.low, metric.high - moved.high) == pytest.approx((300, 300))
    assert metric.low < metric.value < metric.high


@pytest.mark.parametrize(
    ("shape", "size"),
    [((1, 28, 28), (28, 28)), ((3, 32, 32), (32, 32)), ((1, 10, 400), (10, 400)), ((1, 100, 100), (64, 64)),
     ((3, 64, 64), (32, 32)), ((200, 9, 9), (4, 4)), ((3, None, None), (32, 32))],
)  # fmt: skip
def test_images_are_read_with_at_most_4096_values(shape, size):
    assert preprocessing_of(None, images(*shape)).size == size


def test_a_sample_is_a_function_of_the_seed_and_its_number(moons, digits):
    assert torch.equal(digits.sample(70, seed=4)[:3], digits.sample(3, seed=4))
    assert not torch.equal(digits.sample(3, seed=4), digits.sample(3, seed=5))
    assert (digits.sample(2).shape, digits.sample(2).dtype) == ((2, 1, 8, 8), torch.uint8)
    assert snellen.load(moons.folder).sample(2).tolist() == moons.sample(2).tolist()


def test_a_classifier_draws_no_samples(tmp_path, capsys):
    snellen.train("moons", "baseline", out=tmp_path / "run", options=QUICK)
    assert main(["sample", str(tmp_path / "run")]) == 2
    assert "baseline is a model of classify, which draws no samples" in capsys.readouterr().err


def test_the_verb_writes_each_kind_of_file_and_refuses_others(moons, digits, tmp_path, capsys):
    grid, rows, arrays = (str(tmp_path / name) for name in ("grid.png", "rows.csv", "x.npz"))
    assert main(["sample", str(digits.folder), "--count", "5", "--seed", "3", "--out", grid]) == 0
    image = np.asarray(Image.open(grid))
    assert image.shape == (2 * 10 + 2, 3 * 10 + 2)  # 3 columns, 2 rows, gaps of 2
    np.testing.assert_array_equal(image[12:20, 2:10], digits.sample(5, seed=3)[3, 0].numpy())
    assert main(["sample", str(moons.folder), "--count", "6", "--out", rows]) == 0
    header, *values = csv.reader(io.StringIO(Path(rows).read_text()))
    assert header == ["x1", "x2"]
    assert np.array(values, np.float32).tolist() == moons.sample(6).tolist()
    assert main(["sample", str(moons.folder), "--out", arrays]) == 0
    assert np.load(arrays)["x"].tolist() == moons.sample(64).tolist()
    assert main(["train", arrays, "--out", str(tmp_path / "again"), "--json"]) == 0  # data without a target
    capsys.readouterr()
    for words, cause in (
        ([str(moons.folder), "--out", "x.png"], "does not end in .csv or .npz"),
        ([str(digits.folder), "--out", "x.csv"], "does not end in .png or .npz"),
        ([str(moons.folder), "--count", "0"], "must be a whole number of at least 1"),
        ([str(tmp_path / "none")], "is missing"),
    ):
        assert main(["sample", *words]) in (2, 3)
        assert cause in capsys.readouterr().err
    assert main(["sample", str(moons.folder)]) == 0
    assert main(["sample", str(moons.folder)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_categories_are_written_by_name_and_images_as_they_are_read(tmp_path):
    columns = (Column(name="age"), Column(name="colour", categories=("red", "blue")))
    x = torch.tensor([[41.5, 0.9, 0.2], [7.0, -0.1, 0.3]])
    write_csv(tmp_path / "a.csv", x, Input(modality="vector", shape=(3,), columns=columns))
    assert (tmp_path / "a.csv").read_text() == "age,colour\n41.5,red\n7.0,blue\n"
    colour = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).reshape(2, 3, 4, 5)
    write_npz(tmp_path / "a.npz", colour, images(3, 4, 5).input)
    assert np.load(tmp_path / "a.npz")["x"].shape == (2, 4, 5, 3)
    with pytest.raises(UsageError, match="2 channels"):
        write_grid(tmp_path / "a.png", colour[:, :2], images(2, 4, 5).input)


def test_the_report_shows_samples_and_the_paired_difference(digits):
    page = (digits.folder / "report.html").read_text()
    for title in ("Samples of the model", "Training samples", "Log density of the samples", "Worst predictions"):
        assert title in page
    assert "nats on the same samples" in page
    plain = json.loads((digits.folder / "metrics.json").read_text())
    assert 0 < plain["notes"]["shrinkage"] < 1
    assert file_io.read_json(digits.folder / "run.json")["spec"]["target"] is None


def test_the_verdict_on_a_likelihood_is_that_of_the_paired_difference():
    ours = Metric(value=300.0, low=250.0, high=350.0, higher_is_better=False, unit="nats", ratio_scale=False)
    theirs = dataclasses.replace(ours, value=320.0)
    gain = Metric(value=20.0, low=15.0, high=25.0, over="samples", unit="nats", ratio_scale=False)
    assert baseline_verdict("negative log-likelihood", ours, theirs, "noise", gain) == (
        "Better than the baseline (predicts noise): 320 nats; better by 20.0 ± 5.0 nats on the same samples.",
        "good",
    )
    unsure = dataclasses.replace(gain, low=-1.0)
    assert "within the 95 % confidence interval" in baseline_verdict("", ours, theirs, "noise", unsure)[0]
    assert baseline_verdict("", theirs, ours, "noise", dataclasses.replace(gain, low=-25.0))[1] == "warning"


@pytest.mark.parametrize("name", ["digits", "moving-shapes", "voxels", "point-shapes"])
def test_samples_of_the_model_are_drawn_as_those_of_the_data(name: str) -> None:
    data = snellen.dataset(name)
    spec, draw = dataclasses.replace(data.spec, target=None), modality_of(data.spec).draw
    assert draw is not None
    model = LEARNERS["generate"]["baseline"].build(LEARNERS["generate"]["baseline"].settings(), spec)
    views = TASKS["generate"].model_views(model, data, spec)
    assert [view.title for view in views] == ["Samples of the model", "Training samples"]
    drawn = [item.values for view in views if isinstance(view, ImageGrid) for item in view.items]
    first = data.image(int(data.splits["train"][0]))
    assert len(drawn) == 32
    assert torch.equal(drawn[16], draw(first, spec.input))
    assert {x.shape for x in drawn} == {drawn[16].shape}

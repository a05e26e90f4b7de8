"""The tables themselves: the quick ones really run, each formula against an oracle; those with data on little of it."""

from __future__ import annotations

import gzip
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import models

from snellen.data.open_dataset import assemble
from snellen.data.synthetic import toys
from snellen.reproduce import TABLES, curve_fit, depth, initialisation, mnist, mnist_mlp, parameters, training, units
from snellen.reproduce.optimizers import RULES, first_step, slide
from snellen.reproduce.result import Result, run, settled, verdicts
from snellen.reproduce.table import How


def ran(name: str, **how: Any) -> Result:
    return run(TABLES[name], settled(TABLES[name], How(device="cpu", **how)), "here")


def value(result: Result, row: str) -> float:
    found = result.rows[row].value
    assert found is not None
    return found


# ── N2


@pytest.mark.parametrize("order", [0, 1, 3, 9])
def test_polynomials_are_those_of_numpy(order: int) -> None:
    x, t = curve_fit.samples(10, seed=3)
    ours = curve_fit.fitted(x, t, order).coefficients()[0, 0].numpy()
    oracle = np.polyfit(x[:, 0].numpy(), t[:, 0].numpy(), order)[::-1]
    np.testing.assert_allclose(ours, oracle, rtol=1e-6 if order == 9 else 1e-10)


def test_a_polynomial_goes_through_as_many_points_as_it_has_coefficients() -> None:
    for order in (1, 2, 9):
        assert curve_fit.error(order, order + 1, seed=1) < 1e-20
        assert curve_fit.error(order - 1, order + 1, seed=1) > 1e-6


def test_the_samples_are_those_of_the_sine_with_noise() -> None:
    x, t = curve_fit.samples(10_000, seed=0)
    noise = t - torch.sin(2 * math.pi * x)
    assert float(noise.std()) == pytest.approx(0.3, abs=0.01)
    assert x[0] == 0
    assert x[-1] == 1


def test_the_table_of_the_curve_runs() -> None:
    result = ran("curve-fit", seeds=40)
    said = verdicts(TABLES["curve-fit"], result)
    assert [said[row] for row in curve_fit.THROUGH] == ["match"] * 3
    assert said["M = 3, w3"] == "within interval"
    assert said[curve_fit.CHOSEN] == "match"
    assert "not run" not in said.values()


# ── N9


def test_by_homogeneity_the_initialisations_differ_by_a_power() -> None:
    """ReLU passes positive factors on, so that ten layers scale by the tenth power of what one does."""
    for seed in range(3):
        he = initialisation.deviation("he", seed)
        assert initialisation.deviation("slide", seed) == pytest.approx(he * 128.0**10, rel=1e-9)
        assert initialisation.deviation("lecun", seed) == pytest.approx(he / 32, rel=1e-9)


def test_the_table_of_initialisation_runs() -> None:
    said = verdicts(TABLES["initialisation"], ran("initialisation", quick=True))
    assert set(said.values()) == {"within interval"}


# ── N10


def test_the_first_steps_are_those_of_the_formulas() -> None:
    assert slide() == pytest.approx(0.1 / math.sqrt(0.001), rel=1e-12)
    for name in RULES.values():
        assert first_step(name) == pytest.approx(1.0, rel=1e-6)
    assert set(verdicts(TABLES["optimizers"], ran("optimizers")).values()) == {"match"}


# ── C13 to C20


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ("AlexNet", "alexnet"),
        ("VGG-11", "vgg11"),
        ("VGG-13", "vgg13"),
        ("VGG-16", "vgg16"),
        ("VGG-19", "vgg19"),
        ("GoogLeNet", "googlenet"),
        ("ResNet-18", "resnet18"),
        ("ResNet-34", "resnet34"),
        ("ResNet-50", "resnet50"),
        ("ResNet-101", "resnet101"),
        ("ResNeXt-50 (32×4d)", "resnext50_32x4d"),
        ("DenseNet-121", "densenet121"),
        ("MobileNetV2", "mobilenet_v2"),
    ],
)
def test_a_documented_count_is_the_one_that_torchvision_tells(row: str, name: str) -> None:
    told = models.get_model_weights(name).DEFAULT.meta["num_params"]
    assert parameters.NETWORKS[row].weights == f"{told:,}"


def test_the_count_of_resnext_101_is_that_of_torchvision_s_network_of_its_shape() -> None:
    with torch.device("meta"):
        oracle = models.ResNet(models.resnet.Bottleneck, [3, 4, 23, 3], groups=32, width_per_group=4)
    assert parameters.NETWORKS["ResNeXt-101 (32×4d)"].weights == f"{sum(p.numel() for p in oracle.parameters()):,}"


@pytest.mark.parametrize("layers", [20, 56, 110])
def test_the_counts_for_cifar_follow_from_the_paper_s_description(layers: int) -> None:
    """3×3 convolutions without bias, 2n of each width, each with scale and shift; the first; the last, linear."""
    n, count = (layers - 2) // 6, 9 * 3 * 16 + 2 * 16 + 64 * 10 + 10
    before = 16
    for width in (16, 32, 64):
        count += 9 * before * width + (2 * n - 1) * 9 * width**2 + 2 * n * 2 * width
        before = width
    assert parameters.NETWORKS[f"ResNet-{layers} for CIFAR-10"].weights == f"{count:,}"


def test_every_network_has_the_printed_count_and_one_that_is_missing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(verdicts(TABLES["parameters"], ran("parameters")).values()) == {"match"}
    others = {name: one for name, one in parameters.LEARNERS["classify"].items() if name != "vgg16"}
    monkeypatch.setattr(parameters, "LEARNERS", {**parameters.LEARNERS, "classify": others})
    result = ran("parameters")
    assert result.rows["VGG-16"].reason == "No model is called vgg16"
    said = verdicts(TABLES["parameters"], result)
    assert said.pop("VGG-16") == "not run"
    assert set(said.values()) == {"match"}


# ── N6


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Small digits laid out as MNIST; how many there are for training and test."""
    source = toys.digits(0)
    pictures, labels = source.source.values[:, 0].numpy(), source.truth.numpy()  # type: ignore[attr-defined]
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, part in (("train", slice(0, 400)), ("t10k", slice(400, 600))):
        for kind, array in (("images-idx3", pictures[part]), ("labels-idx1", labels[part])):
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
            (folder / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes()))
    monkeypatch.setenv("SNELLEN_DATA", str(tmp_path))
    return 400, 200


def test_neighbours_and_margins_learn_from_all_that_is_for_training(digits: tuple[int, int]) -> None:
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    data = training.whole(mnist.dataset("mnist"))
    assert (data.spec.sizes["train"], data.spec.sizes["test"]) == digits
    assert sum(data.spec.target.counts) == digits[0]  # type: ignore[union-attr]
    result = ran("mnist")
    pictures: torch.Tensor = data.source.values  # type: ignore[attr-defined]
    x, y = pictures.flatten(1).numpy() / 255, data.truth.numpy()
    train, test = (data.splits[split].numpy() for split in ("train", "test"))
    for row, oracle in (
        ("k-NN, k = 1", KNeighborsClassifier(1, algorithm="brute")),
        ("SVM, RBF, C = 10, γ = 0.02", SVC(C=10, gamma=0.02)),
    ):
        right = oracle.fit(x[train], y[train]).predict(x[test]) == y[test]
        assert value(result, row) == pytest.approx(100 * right.mean(), abs=1e-9)
    assert all(row.over == "200 test samples" for row in result.rows.values())
    assert not any(row.scaled for row in result.rows.values())


def test_a_quick_run_says_that_it_is_scaled_down(digits: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "SMALLER", (100, 50))
    result = ran("mnist", quick=True)
    assert set(verdicts(TABLES["mnist"], result).values()) == {"scaled down"}
    assert result.rows["k-NN, k = 1"].deviations == ("100 training and 50 test samples",)


def test_widths_are_trained_by_seeds(digits: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist_mlp, "SMALLER", (200, 100, 1))
    monkeypatch.setattr(mnist_mlp, "WIDTHS", (20, 120))
    result = ran("mnist-mlp", quick=True, seeds=2)
    assert list(result.rows) == ["20 hidden units", "120 hidden units", mnist_mlp.RISING]
    narrow, wide, rise = (result.rows[row].each for row in result.rows)
    assert rise == pytest.approx([b - a for a, b in zip(narrow, wide, strict=True)])
    assert len(narrow) == 2
    assert result.rows["20 hidden units"].deviations == ("200 training and 100 test samples, 1 epochs",)


@pytest.mark.parametrize("name", ["mnist", "mnist-mlp", "cifar10-depth", "cifar10-units"])
def test_without_data_every_row_says_so(name: str) -> None:
    result = ran(name)
    assert set(verdicts(TABLES[name], result).values()) == {"not run"}
    assert {row.reason.split(" is not in ")[0] for row in result.rows.values()} <= {"mnist", "cifar10"}


# ── N8


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Noise in two classes, in the place of a part of CIFAR-10."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 8)):
        for name, low in (("dark", 0), ("light", 120)):
            folder = tmp_path / depth.SUBSET / split / name
            folder.mkdir(parents=True)
            for k in range(count):
                picture = rng.integers(low, low + 100, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(picture).save(folder / f"{k}.png")
    monkeypatch.setenv("SNELLEN_DATA", str(tmp_path))
    return tmp_path


def test_depth_runs_on_what_there_is_and_says_so(photographs: Path) -> None:
    result = ran("cifar10-depth", quick=True)
    said = verdicts(TABLES["cifar10-depth"], result)
    assert {row for row, what in said.items() if what == "scaled down"} == {
        "ResNet-20, test error",
        "ResNet-56, test error",
        depth.RESIDUAL_CLAIM,
        depth.PLAIN_CLAIM,
    }
    assert set(said.values()) == {"scaled down", "not run"}
    assert result.rows[depth.PLAIN_CLAIM].deviations == (
        "a part of CIFAR-10",
        "40 training and 16 test pictures",
        "2 epochs",
    )
    assert 0 <= value(result, "ResNet-20, test error") <= 100


def test_on_a_gpu_with_the_whole_set_the_published_setup_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    from snellen.training.schedules import schedule

    data = training.whole(assemble(toys.digits(0), "cifar10", 0, None))
    spec = dataclasses.replace(data.spec, sizes={"train": 50_000, "val": 5000, "test": 10_000})
    monkeypatch.setattr(depth, "pictures", lambda: (dataclasses.replace(data, spec=spec), ()))
    made = depth.setup(How(seeds=1, device="cuda"))
    assert (made.epochs, made.depths, made.lacks) == (164, (20, 32, 44, 56, 110), ())
    factor = schedule(depth.RECIPE["schedule"], depth.STEPS, depth.RECIPE["warmup"])
    assert [factor(step) for step in (0, 31_999, 32_000, 47_999, 48_000)] == [1, 1, 0.1, 0.1, 0.01]
    assert depth.setup(How(seeds=1, device="cpu")).lacks


def test_every_order_of_the_unit_would_be_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    from snellen.core.settings import flat
    from snellen.tasks import LEARNERS

    tried: list[tuple[str, object]] = []

    def errors(model: str, made: depth.Setup, how: How, seed: int, settings: Mapping[str, object]) -> depth.Errors:
        tried.append((model, settings["residual_unit"]))
        return depth.Errors(0.0, 6.0)

    monkeypatch.setattr(units, "setup", lambda how: depth.Setup(None, 164, (), ()))  # type: ignore[arg-type]
    monkeypatch.setattr(units, "errors", errors)
    result = ran("cifar10-units", seeds=1)
    assert len(result.rows) == len(tried) == 10
    for model, unit in tried:
        (setting,) = (s for s in flat(LEARNERS["classify"][model].settings) if s.name == "residual_unit")
        assert unit in (setting.choices or ())

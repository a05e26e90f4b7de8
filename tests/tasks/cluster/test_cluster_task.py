"""Task cluster: labels are only compared, models against scikit-learn, degenerate data, tables without a target."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, silhouette_samples
from sklearn.mixture import GaussianMixture

import snellen
from snellen.api import RunOptions
from snellen.cli.main import main
from snellen.core.errors import DataError, UsageError
from snellen.core.spec import Input
from snellen.core.views import Matrix
from snellen.data.dataset import RawDataset, withheld_classes
from snellen.data.formats import needs_no_target, options_of_task
from snellen.data.open_dataset import assemble
from snellen.data.source import ArraySource
from snellen.model_selection.comparison import compare
from snellen.nn.kmeans import kmeans
from snellen.tasks import LEARNERS, TASKS
from snellen.tasks.cluster import lloyd, training_samples
from snellen.tasks.cluster.models import Centres, ClusterModel
from snellen.tasks.cluster.views import views

QUICK = RunOptions(threads=1, report=False)


def dataset(x: torch.Tensor) -> Any:
    inputs = {"x": Input(modality="vector", shape=(x.shape[1],))}
    raw = RawDataset(source=ArraySource(x, "row"), inputs=inputs, target=None, truth=None, recognised_as="rows")
    return assemble(raw, "rows", 0, None)


def groups(count: int = 200) -> torch.Tensor:
    """Four groups of rows at the corners of a square of side 8."""
    corner = torch.tensor([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0], [8.0, 8.0]])
    return corner[torch.arange(count) % 4] + torch.randn(count, 2, generator=torch.Generator().manual_seed(0))


def table(path: Path) -> Path:
    rows = "".join(f"{a:.4f},{b:.4f},{'left' if a < 4 else 'right'}\n" for a, b in groups().tolist())
    path.write_text("width,height,side\n" + rows)
    return path


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> snellen.TrainedRun:
    folder = tmp_path_factory.mktemp("digits") / "run"
    return snellen.train("digits", task="cluster", out=folder, options=RunOptions(threads=1), clusters=10, restarts=3)


def values_of(run: snellen.TrainedRun, split: str) -> np.ndarray:
    with torch.inference_mode():
        return run.model.values(run.data.samples(split).take(torch.arange(len(run.data.splits[split]))).x).numpy()


def test_labels_change_no_weight_and_the_metrics_are_those_of_scikit_learn(digits, tmp_path):
    stored = digits.predictions("test")
    names, classes = withheld_classes(digits.data)
    label = classes[stored["ids"]].numpy()
    assert digits.spec.target is None
    assert len(names) == 10
    assert digits.metrics["adjusted Rand index"].value == pytest.approx(adjusted_rand_score(label, stored["cluster"]))
    silhouette = silhouette_samples(values_of(digits, "test"), stored["cluster"].numpy())
    np.testing.assert_allclose(stored["silhouette"].numpy(), silhouette, atol=1e-9)
    assert digits.metrics["silhouette"].value == pytest.approx(silhouette.mean())
    refits = [adjusted_rand_score(stored["cluster"], refit) for refit in stored["refits"].T]
    assert digits.metrics["stability"].value == pytest.approx(np.mean(refits))
    data = snellen.dataset("digits")
    order = torch.randperm(len(data.truth), generator=torch.Generator().manual_seed(0))
    mixed = dataclasses.replace(data, truth=data.truth[order])
    other = snellen.train(mixed, task="cluster", out=tmp_path, options=QUICK, clusters=10, restarts=3)
    weights = [(run.folder / "model.safetensors").read_bytes() for run in (digits, other)]
    assert weights[0] == weights[1]
    assert abs(other.metrics["adjusted Rand index"].value) < 0.05
    assert digits.evaluate("digits") == digits.metrics


def test_k_means_of_a_run_is_that_of_scikit_learn_from_its_centres(digits):
    y = values_of(digits, "train")
    centres = digits.model.clusters.centres.numpy()
    oracle = KMeans(10, init=centres, n_init=1, tol=0).fit(y)
    np.testing.assert_allclose(oracle.cluster_centers_, centres, atol=1e-6)
    inertia = [json.loads(line) for line in (digits.folder / "history.jsonl").read_text().splitlines()]
    notes = json.loads((digits.folder / "metrics.json").read_text())["notes"]
    assert notes["inertia"] == pytest.approx(oracle.inertia_)
    assert min(row["inertia"] for row in inertia) == notes["inertia"]
    sizes = np.bincount(oracle.labels_)
    assert (np.diff(sizes) <= 0).all()  # the largest first
    raw = digits.data.samples("train").take(torch.arange(len(y))).x.double().numpy()
    expected = np.stack([raw[oracle.labels_ == k].mean(0) for k in range(10)])
    np.testing.assert_allclose(digits.model.centres().numpy(), expected, atol=1e-4)


def test_principal_components_of_a_run_are_those_of_scikit_learn(tmp_path):
    run = snellen.train("digits", "pca", task="cluster", out=tmp_path, options=QUICK, clusters=4, components=6)
    y = values_of(run, "train")
    oracle = PCA(6, svd_solver="full").fit(y)
    axes = run.model.features.axes.numpy()
    signs = np.sign((axes * oracle.components_).sum(1))
    np.testing.assert_allclose(axes, oracle.components_ * signs[:, None], atol=1e-8)
    np.testing.assert_allclose(run.model.features.explained(6), oracle.explained_variance_ratio_, rtol=1e-9)
    np.testing.assert_allclose(
        run.predictions("test")["position"], (oracle.transform(values_of(run, "test")) * signs)[:, :2]
    )
    notes = json.loads((tmp_path / "metrics.json").read_text())["notes"]
    assert notes["explained variance"] == pytest.approx(oracle.explained_variance_ratio_.sum())


@pytest.mark.parametrize(("covariance", "kind"), [("full", "full"), ("diagonal", "diag")])
def test_posteriors_and_likelihood_of_a_mixture_are_those_of_scikit_learn(tmp_path, covariance, kind):
    settings = {"clusters": 3, "components": 5, "covariance": covariance, "restarts": 1}
    run = snellen.train("digits", "gmm", task="cluster", out=tmp_path, options=QUICK, **settings)
    y, mixture = values_of(run, "train"), run.model.clusters
    scores = y @ run.model.features.axes.numpy().T
    factors = mixture.factors.numpy()
    oracle = GaussianMixture(3, covariance_type=kind)
    oracle.weights_, oracle.means_ = np.exp(mixture.log_weights.numpy()), mixture.centres.numpy()
    oracle.precisions_cholesky_ = factors if kind == "full" else np.diagonal(factors, axis1=1, axis2=2)
    with torch.inference_mode():
        ours = mixture.scores(torch.from_numpy(scores)).numpy()
        likelihood = float(torch.logsumexp(mixture.log_joint(torch.from_numpy(scores)), 1).mean())
    np.testing.assert_allclose(ours, oracle.predict_proba(scores), atol=1e-9)
    assert likelihood == pytest.approx(oracle.score(scores))
    assert float(mixture.log_weights.exp().sum()) == pytest.approx(1)
    curve = run.model.measuring.curve
    assert float(curve.diff().min()) > -1e-3  # the constant that is added to the variances
    assert sum(run.predict_batch(run.data.samples("test").take(torch.arange(1)).x)[0]["probabilities"].values()) == (
        pytest.approx(1)
    )


def test_the_number_of_clusters_is_chosen_by_the_silhouette_and_not_by_the_seed(tmp_path):
    data = dataset(groups())
    runs = [
        snellen.train(data, name, task="cluster", out=tmp_path / f"{name}{seed}", options=QUICK, seed=seed)
        for seed in (0, 1)
        for name in ("kmeans", "gmm", "baseline")
    ]
    for run in runs:
        assert json.loads((run.folder / "metrics.json").read_text())["notes"]["clusters"] == 4
    curve = runs[0].model.measuring.silhouettes
    assert int(curve.argmax()) + 2 == 4
    assert len(curve) == 9
    assert runs[0].metrics["stability"].value == 1
    assert "adjusted Rand index" not in runs[0].metrics


def chosen(values: torch.Tensor) -> tuple[int, np.ndarray]:
    """Number of clusters of (N, D) values, and the silhouettes that it is chosen by."""
    model = ClusterModel(dataset(values.float()).spec, None, Centres, len(training_samples.CHOICES))
    count = training_samples.choose_clusters(values, len(values), model, Mock())
    return count, model.measuring.silhouettes.numpy()


def test_the_number_of_clusters_is_that_of_the_best_of_many_restarts(monkeypatch):
    """Ten close groups, three times: one k-means++ initialisation finds them in a third of the cases; 3 are too few."""
    corner = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0))[torch.arange(200) % 10].double()
    randoms = [torch.Generator().manual_seed(seed) for seed in (1, 3, 4)]
    sets = [corner + 0.2 * torch.randn(200, 2, generator=random, dtype=torch.float64) for random in randoms]
    assert [chosen(values)[0] for values in sets] == [10] * 3
    monkeypatch.setattr(training_samples, "CHOICE_RESTARTS", 3)
    assert [chosen(values)[0] for values in sets] == [9] * 3


def test_the_silhouettes_of_the_choice_do_not_depend_on_a_rotation_into_more_dimensions():
    random = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(300, 2, generator=random, dtype=torch.float64)).Q
    values = groups(60).double()
    expected, silhouettes = chosen(values)
    count, others = chosen(values @ basis.T)
    assert count == expected == 4
    np.testing.assert_allclose(others, silhouettes, atol=1e-9)


def test_the_models_of_the_stability_are_fitted_on_bootstrap_resamples(tmp_path, monkeypatch):
    resamples = []

    def spy(y, *rest):
        resamples.append(y.numpy())
        return kmeans(y, *rest)

    monkeypatch.setattr(lloyd, "kmeans", spy)
    run = snellen.train(dataset(groups(400)), task="cluster", out=tmp_path, options=QUICK, clusters=4)
    rows = {row.tobytes(): k for k, row in enumerate(values_of(run, "train"))}
    drawn = np.array([[rows[row.tobytes()] for row in resample] for resample in resamples])
    assert drawn.shape == (5, len(rows))
    once = 1 - (1 - 1 / len(rows)) ** len(rows)  # expected fraction of the samples in a resample, 0.632
    assert [len(np.unique(row)) / len(rows) for row in drawn] == pytest.approx([once] * 5, abs=0.08)
    agreement = [np.isin(a, b).mean() for a, b in itertools.combinations(drawn, 2)]
    assert agreement == pytest.approx([once] * 10, abs=0.12)  # independent of each other
    for refit, resample in zip(run.model.measuring.each(), resamples, strict=True):
        oracle = KMeans(4, init=refit.centres.numpy(), n_init=1, tol=0).fit(resample)
        np.testing.assert_allclose(oracle.cluster_centers_, refit.centres, atol=1e-9)


def test_rings_have_compact_halves_that_are_not_the_rings(tmp_path):
    run = snellen.train("rings", task="cluster", out=tmp_path, options=QUICK, clusters=2)
    assert run.metrics["silhouette"].low > 0.2
    assert run.metrics["adjusted Rand index"].high < 0.2


def test_one_cluster_and_identical_samples_have_no_silhouette(tmp_path):
    same = snellen.train(dataset(torch.ones(60, 3)), "gmm", task="cluster", out=tmp_path / "a", options=QUICK)
    one = snellen.train(dataset(groups()), task="cluster", out=tmp_path / "b", options=QUICK, clusters=1)
    for run in (same, one):
        for name in ("silhouette", "stability"):
            assert run.metrics[name].reason == "all samples of the split are in one cluster"
        assert {p["cluster"] for p in run.predict_batch(torch.ones(3, run.spec.input.shape[0]))} == {0}


def test_two_distinct_samples_are_two_clusters(tmp_path):
    for name in LEARNERS["cluster"]:
        run = snellen.train(
            dataset((torch.arange(60) % 2)[:, None].float()), name, task="cluster", out=tmp_path / name, options=QUICK
        )
        assert run.metrics["silhouette"].value == 1
        assert run.metrics["stability"].value == 1


@pytest.mark.parametrize(
    ("name", "settings", "cause"),
    [
        ("kmeans", {"clusters": 500}, "--clusters 500 are more than the 140 training samples"),
        ("pca", {"components": 3}, "--components 3 are more than the 2 values"),
    ],
)
def test_too_many_clusters_or_components_leave_no_run(tmp_path, name, settings, cause):
    with pytest.raises(UsageError, match=cause):
        snellen.train(dataset(groups()), name, task="cluster", out=tmp_path / "run", options=QUICK, **settings)
    assert not (tmp_path / "run").exists()


def test_more_clusters_than_distinct_samples_is_a_usage_error(tmp_path):
    x = (torch.arange(60) % 2)[:, None].float()
    with pytest.raises(UsageError, match="2 distinct"):
        snellen.train(dataset(x), task="cluster", out=tmp_path, options=QUICK, clusters=3)


def test_a_table_without_a_target_is_clustered_by_all_columns_and_predicted(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = table(tmp_path / "boxes.csv")
    train = ["train", str(path), "--task", "cluster", "--out", "run", "--clusters", "4", "--threads", "1"]
    assert main([*train, "--target", "none"]) == 0
    assert "no target, by --target none" in capsys.readouterr().err
    run = snellen.load("run")
    assert [column.name for column in run.spec.input.columns] == ["width", "height", "side"]
    assert main(["predict", "run", str(path), "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split(",")[:3] == ["input", "cluster", "distance"]
    assert len(lines) == 201
    corner = np.arange(200) % 4
    assert adjusted_rand_score(corner, [int(line.split(",")[1]) for line in lines[1:]]) > 0.95
    assert main([*train[:-6], "--out", "other", "--threads", "1"]) == 0
    assert "Not clustered: the target" in capsys.readouterr().err


def test_models_are_compared_by_the_silhouettes_of_the_same_samples(tmp_path):
    runs = [
        snellen.train(dataset(groups()), name, task="cluster", out=tmp_path / name, options=QUICK, clusters=4)
        for name in ("baseline", "kmeans")
    ]
    result = compare(*(run.folder for run in runs))
    assert result.pairs[0].chance < 0.05
    assert result.runs[0].learner == "kmeans"


def test_the_table_against_the_classes_has_no_errors(digits):
    found = [view for view in views(digits.predictions("test"), digits.data, digits.spec) if isinstance(view, Matrix)]
    assert len(found) == 1
    assert not found[0].has_errors
    assert sum(map(sum, found[0].values)) == len(digits.data.splits["test"])
    assert 'class="bad"' not in (digits.folder / "report.html").read_text()


def test_the_page_shows_the_numbers_of_the_run(browser, digits):
    context = browser.new_context(viewport={"width": 400, "height": 900})
    page = context.new_page()
    page.goto((digits.folder / "report.html").resolve().as_uri())
    assert page.locator("h1").inner_text().startswith(f"{digits.metrics['silhouette'].value:.3f}")
    stored = digits.predictions("test")
    sizes = page.locator("figure:has(h3:text-is('Clusters')) tbody tr td:nth-child(2)").all_inner_texts()
    assert [int(text) for text in sizes] == torch.bincount(stored["cluster"], minlength=10).tolist()
    counts = page.locator("figure:has(h3:text-is('Clusters and classes')) tbody td").all_inner_texts()
    assert sum(int(text) for text in counts if text) == len(stored["ids"])
    page.locator(".wide:has(.matrix)").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("h3:text-is('Map of the classes')").is_visible()
    assert page.locator("h3:text-is('Cluster 0')").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    context.close()


def test_a_table_without_a_target_keeps_its_last_number_and_a_class_is_compared(tmp_path: Path) -> None:
    """The last column of numbers is an input; one of classes is withheld, and compared with the clusters."""
    rows = [(f"{k % 3 + 0.01 * k:.2f}", f"{-(k % 3):.2f}", f"{10 * (k % 3) + 0.1 * k:.1f}") for k in range(60)]
    numbers = "\n".join(["a,b,weight [g]", *(",".join(row) for row in rows)])
    classes = "\n".join(["a,b,kind", *(f"{row[0]},{row[1]},{'xyz'[k % 3]}" for k, row in enumerate(rows))])
    for name, text in (("numbers", numbers), ("classes", classes)):
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
    quiet = RunOptions(report=False)
    run = snellen.train(tmp_path / "numbers.csv", task="cluster", out=tmp_path / "n", options=quiet)
    assert [column.name for column in run.spec.input.columns] == ["a", "b", "weight [g]"]
    assert "adjusted Rand index" not in run.metrics
    assert run.evaluate(snellen.dataset(tmp_path / "numbers.csv", options=options_of_task("cluster", "")), "test")
    run = snellen.train(tmp_path / "classes.csv", task="cluster", out=tmp_path / "c", options=quiet)
    assert [column.name for column in run.spec.input.columns] == ["a", "b"]
    assert "adjusted Rand index" in run.metrics
    message = [finding.message for finding in run.data.findings]
    assert not any("accuracy" in text for text in message), "no accuracy is measured"


def test_images_outside_class_folders_are_clustered(tmp_path: Path) -> None:
    for k in range(24):
        grey = np.full((6, 6), 40 * (k % 5) + k, np.uint8)
        Image.fromarray(grey).save(tmp_path / f"{k}.png")
    data = snellen.dataset(tmp_path, options=options_of_task("cluster", tmp_path))
    assert data.spec.target is None
    with pytest.raises(DataError, match="outside class folders"):
        snellen.dataset(tmp_path)


def test_the_tasks_that_open_data_without_a_target_are_those_without_one() -> None:
    assert {name for name in TASKS if needs_no_target(name)} == {n for n, task in TASKS.items() if not task.has_target}

"""Rows A7, A13, A14 and A15 of the lectures: radial basis functions, nearest neighbours, SVM, k-means, PCA."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from raw_datasets import classes, seeded
from torch import Tensor

from snellen.api import TrainedRun, train
from snellen.data.dataset import Dataset, Labelled
from snellen.data.open_dataset import assemble
from snellen.data.synthetic.toys import digits
from snellen.nn.rbf import kmeans_centres
from snellen.tasks.classify.knn import KNNClassifier
from snellen.tasks.classify.svm import SupportVectors


def digits_splits() -> tuple[Dataset[Labelled], Tensor, Tensor, Tensor, Tensor]:
    """Digits dataset, and pixels / 255, (N, 64) float64, and classes, (N,), of its training and test split."""
    data = assemble(digits(0), "digits", 0, None)
    x = data.source.read(np.arange(len(data)), data.preprocessing).flatten(1).double() / 255
    train_ids, test_ids = data.splits["train"], data.splits["test"]
    return data, x[train_ids], data.truth[train_ids], x[test_ids], data.truth[test_ids]


def accuracy(run: TrainedRun) -> float:
    value = run.metrics["accuracy"].value
    assert value is not None
    return value


# -- A7 logistic regression on Gaussian bases ------------------------------------------------------------------------


def two_clusters(count: int = 800) -> tuple[Tensor, Tensor]:
    """One class in two clusters, the other between them: not linearly separable."""
    y = torch.arange(count) % 2
    side = torch.where(torch.arange(count) % 4 < 2, 1.0, -1.0).double()
    x = 0.25 * torch.randn(count, 2, generator=seeded(), dtype=torch.float64)
    return x + torch.where(y == 1, 1.5 * side, 0.0)[:, None], y


@pytest.mark.learning
def test_a7_data_that_is_not_linearly_separable_is_linear_in_two_gaussian_bases(
    tmp_path: Path, assert_score: Callable[..., None]
) -> None:
    data = classes(*two_clusters(), 2)
    linear = accuracy(train(data, model="softmax", out=tmp_path / "linear"))
    # 0.62 to 0.74: any line leaves one of the four clusters on the wrong side
    assert_score(linear, above=0.5, below=0.85)
    with_centres = train(data, model="bases", centers=(-1.5, -1.5, 1.5, 1.5), bandwidth=0.5, out=tmp_path / "placed")
    with_kmeans = train(data, model="bases", out=tmp_path / "found")
    assert_score(accuracy(with_centres), above=0.95)  # always 1
    assert_score(accuracy(with_kmeans), above=0.95)  # always 1
    bases, last = with_centres.model.network.body
    assert bases.centres.shape == (2, 2)
    weights = last.weight.detach()
    assert bool(
        (weights[1] - weights[0] > 0).all()
    )  # both basis functions increase the score of the class of the clusters


def test_a7_the_basis_functions_match_the_lecture(tmp_path: Path) -> None:
    """φ_j(x) = exp(−‖x − c_j‖² / 2s²), of standardised inputs."""
    x, y = two_clusters()
    data = classes(x, y, 2)
    run = train(data, model="bases", centers=(-1.5, 0.0, 1.5, 0.5), bandwidth=0.7, epochs=1, out=tmp_path / "run")
    ids = data.splits["train"]
    mean, std = x[ids].mean(0), x[ids].std(0, correction=0)
    centres = (torch.tensor([[-1.5, 0.0], [1.5, 0.5]]).double() - mean) / std
    squared_distance = (((x - mean) / std)[:, None] - centres).square().sum(2)
    phi = run.model.network.body[0](run.model.network.standardize(x))
    assert torch.allclose(phi.double(), torch.exp(-squared_distance / (2 * 0.7**2)), atol=1e-5)


# -- A13 k nearest neighbours ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3, 5])
def test_a13_knn_on_digits_matches_scikit_learn(k: int, tmp_path: Path) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    data, x, y, test, _ = digits_splits()
    run = train(data, model="knn", k=k, out=tmp_path / "run")
    assert isinstance(run.model, KNNClassifier)
    assert run.model.neighbours.x.dtype == torch.uint8  # the dtype of the source
    oracle = KNeighborsClassifier(k + 1, algorithm="brute").fit(x.numpy(), y.numpy())
    distances = oracle.kneighbors(test.numpy())[0]
    unambiguous = (
        distances[:, k] - distances[:, k - 1] > 1e-9
    )  # on ties scikit-learn takes any sample, Snellen the first
    assert unambiguous.mean() > 0.95
    reference = oracle.set_params(n_neighbors=k).predict_proba(test.numpy())
    raw = data.samples("test").take(torch.arange(len(test))).x
    votes = run.model.votes(raw).numpy()
    assert np.array_equal(votes[unambiguous], np.round(reference * k)[unambiguous])
    assert np.array_equal(
        run.model.scores(raw).argmax(1).numpy()[unambiguous], oracle.predict(test.numpy())[unambiguous]
    )
    assert accuracy(run) > 0.95


def test_a13_the_nearest_neighbour_of_a_training_sample_is_itself(tmp_path: Path) -> None:
    x = torch.randn(300, 2, generator=seeded(), dtype=torch.float64)
    data = classes(x, (x[:, 0] > 0).long(), 2)
    run = train(data, model="knn", k=1, out=tmp_path / "run")
    train_ids = data.splits["train"]
    assert torch.equal(
        run.model.scores(x[train_ids]).argmax(1), data.truth[train_ids]
    )  # the nearest neighbour of a training sample is itself


# -- A14 support vectors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "gamma"), [("rbf", 0.02), ("rbf", 0.3), ("linear", None)])
def test_a14_svm_on_digits_matches_scikit_learn(kernel: str, gamma: float | None, tmp_path: Path) -> None:
    from sklearn.svm import SVC

    data, x, y, *_ = digits_splits()
    run = train(data, model="svm", kernel=kernel, out=tmp_path / "run", **({} if gamma is None else {"gamma": gamma}))
    assert isinstance(run.model, SupportVectors)
    train_samples, test_samples = (data.samples(split) for split in ("train", "test"))
    inputs = run.model.flatten_features(train_samples.take(torch.arange(len(train_samples))).x)
    assert torch.allclose(inputs, x, atol=1e-7)  # pixels / 255
    oracle = SVC(C=10, kernel=kernel, gamma=gamma or "scale", decision_function_shape="ovo")
    oracle.fit(inputs.numpy(), y.numpy())
    raw = test_samples.take(torch.arange(len(test_samples))).x
    features = run.model.flatten_features(raw).numpy()
    assert np.array_equal(run.model.scores(raw).argmax(1).numpy(), oracle.predict(features))
    assert np.abs(run.model.decisions(raw).numpy() - oracle.decision_function(features)).max() < 1e-6
    assert accuracy(run) > 0.95


# -- A15 clusters and components -------------------------------------------------------------------------------------


def test_a15_every_iteration_of_k_means_reduces_the_inertia() -> None:
    from sklearn.cluster import KMeans

    _, x, *_ = digits_splits()
    start = x[:10].numpy()
    inertia = []
    for rounds in range(1, 9):
        inertia.append(KMeans(10, init=start, n_init=1, max_iter=rounds, tol=0).fit(x.numpy()).inertia_)
    assert all(b <= a for a, b in itertools.pairwise(inertia))
    assert inertia[-1] < 0.95 * inertia[0]
    centres = kmeans_centres(x.float(), 10, seed=0).double()
    assert float(torch.cdist(x, centres).amin(1).square().sum()) < inertia[0]
    nearest = torch.cdist(x, centres).argmin(1)
    train_ids = torch.stack([x[nearest == k].mean(0) for k in range(10)])
    assert torch.allclose(train_ids, centres, atol=0.05)  # each centre is the mean of its cluster


def test_a15_principal_components_are_the_singular_vectors_of_centred_data() -> None:
    from sklearn.decomposition import PCA

    _, x, *_ = digits_splits()
    pca = PCA(10, svd_solver="covariance_eigh").fit(x.numpy())
    u, s, vt = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    assert np.allclose(pca.explained_variance_, (s[:10] ** 2 / (len(x) - 1)).numpy())
    assert np.allclose(np.abs(pca.components_), vt[:10].abs().numpy(), atol=1e-8)  # up to the sign
    assert np.allclose(np.abs(pca.transform(x.numpy())), (u * s)[:, :10].abs().numpy(), atol=1e-8)

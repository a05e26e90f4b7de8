"""Rows A7, A13, A14 and A15 of the lectures: bases, neighbours, support vectors, clusters and components."""

from __future__ import annotations

import itertools
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
from snellen.nn.rbf import middles
from snellen.tasks.classify.knn import Voting
from snellen.tasks.classify.svm import SupportVectors


def reading_digits() -> tuple[Dataset[Labelled], Tensor, Tensor, Tensor, Tensor]:
    """The digits, and their pixels / 255 and classes in training and test split: (N, 64) float64, (N,)."""
    data = assemble(digits(0), "digits", 0, None)
    x = data.source.read(np.arange(len(data)), data.preprocessing).flatten(1).double() / 255
    train_ids, test_ids = data.splits["train"], data.splits["test"]
    return data, x[train_ids], data.truth[train_ids], x[test_ids], data.truth[test_ids]


def right(run: TrainedRun) -> float:
    value = run.metrics["accuracy"].value
    assert value is not None
    return value


# -- A7 logistic regression on Gaussian bases ------------------------------------------------------------------------


def two_clusters(count: int = 800) -> tuple[Tensor, Tensor]:
    """One class in two clusters, the other between them: no line parts them, two bumps do."""
    y = torch.arange(count) % 2
    side = torch.where(torch.arange(count) % 4 < 2, 1.0, -1.0).double()
    x = 0.25 * torch.randn(count, 2, generator=seeded(), dtype=torch.float64)
    return x + torch.where(y == 1, 1.5 * side, 0.0)[:, None], y


def test_a7_what_a_line_cannot_part_is_linear_in_two_gaussian_bases(tmp_path: Path) -> None:
    data = classes(*two_clusters(), 2)
    linear = right(train(data, model="softmax", out=tmp_path / "linear"))
    assert 0.5 <= linear <= 0.75
    placed = train(data, model="bases", centers=(-1.5, -1.5, 1.5, 1.5), bandwidth=0.5, out=tmp_path / "placed")
    found = train(data, model="bases", out=tmp_path / "found")
    assert right(placed) > 0.95
    assert right(found) > 0.95
    bases, last = placed.model.network.body
    assert bases.centres.shape == (2, 2)
    weights = last.weight.detach()
    assert bool((weights[1] - weights[0] > 0).all())  # both bumps speak for the class that is there


def test_a7_the_bases_are_those_of_the_lecture(tmp_path: Path) -> None:
    """φ_j(x) = exp(−‖x − c_j‖² / 2s²), of standardised inputs."""
    x, y = two_clusters()
    data = classes(x, y, 2)
    run = train(data, model="bases", centers=(-1.5, 0.0, 1.5, 0.5), bandwidth=0.7, epochs=1, out=tmp_path / "run")
    ids = data.splits["train"]
    mean, std = x[ids].mean(0), x[ids].std(0, correction=0)
    centres = (torch.tensor([[-1.5, 0.0], [1.5, 0.5]]).double() - mean) / std
    square = (((x - mean) / std)[:, None] - centres).square().sum(2)
    phi = run.model.network.body[0](run.model.network.standardize(x))
    assert torch.allclose(phi.double(), torch.exp(-square / (2 * 0.7**2)), atol=1e-5)


# -- A13 k nearest neighbours ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3, 5])
def test_a13_the_vote_on_digits_is_scikit_learns(k: int, tmp_path: Path) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    data, x, y, test, _ = reading_digits()
    run = train(data, model="knn", k=k, out=tmp_path / "run")
    assert isinstance(run.model, Voting)
    assert run.model.neighbours.x.dtype == torch.uint8  # as the source has them
    oracle = KNeighborsClassifier(k + 1, algorithm="brute").fit(x.numpy(), y.numpy())
    far = oracle.kneighbors(test.numpy())[0]
    clear = far[:, k] - far[:, k - 1] > 1e-9  # of samples equally far, theirs takes any; ours the first
    assert clear.mean() > 0.95
    theirs = oracle.set_params(n_neighbors=k).predict_proba(test.numpy())
    raw = data.samples("test").take(torch.arange(len(test))).x
    votes = run.model.votes(raw).numpy()
    assert np.array_equal(votes[clear], np.round(theirs * k)[clear])
    assert np.array_equal(run.model.scores(raw).argmax(1).numpy()[clear], oracle.predict(test.numpy())[clear])
    assert right(run) > 0.95


def test_a13_a_new_sample_has_the_class_of_the_nearest(tmp_path: Path) -> None:
    x = torch.randn(300, 2, generator=seeded(), dtype=torch.float64)
    data = classes(x, (x[:, 0] > 0).long(), 2)
    run = train(data, model="knn", k=1, out=tmp_path / "run")
    own = data.splits["train"]
    assert torch.equal(run.model.scores(x[own]).argmax(1), data.truth[own])  # the nearest to itself is itself


# -- A14 support vectors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "gamma"), [("rbf", 0.02), ("rbf", 0.3), ("linear", None)])
def test_a14_the_vote_on_digits_is_that_of_scikit_learns_svc(kernel: str, gamma: float | None, tmp_path: Path) -> None:
    from sklearn.svm import SVC

    data, x, y, *_ = reading_digits()
    run = train(data, model="svm", kernel=kernel, gamma=gamma, out=tmp_path / "run")
    assert isinstance(run.model, SupportVectors)
    learned, asked = (data.samples(split) for split in ("train", "test"))
    inputs = run.model.flat(learned.take(torch.arange(len(learned))).x)
    assert torch.allclose(inputs, x, atol=1e-7)  # pixels / 255
    oracle = SVC(C=10, kernel=kernel, gamma=gamma or "scale", decision_function_shape="ovo")
    oracle.fit(inputs.numpy(), y.numpy())
    raw = asked.take(torch.arange(len(asked))).x
    same = run.model.flat(raw).numpy()
    assert np.array_equal(run.model.scores(raw).argmax(1).numpy(), oracle.predict(same))
    assert np.abs(run.model.decisions(raw).numpy() - oracle.decision_function(same)).max() < 1e-6
    assert right(run) > 0.95


# -- A15 clusters and components -------------------------------------------------------------------------------------


def test_a15_every_round_of_k_means_brings_the_samples_nearer_to_their_centres() -> None:
    from sklearn.cluster import KMeans

    _, x, *_ = reading_digits()
    start = x[:10].numpy()
    inertia = []
    for rounds in range(1, 9):
        inertia.append(KMeans(10, init=start, n_init=1, max_iter=rounds, tol=0).fit(x.numpy()).inertia_)
    assert all(b <= a for a, b in itertools.pairwise(inertia))
    assert inertia[-1] < 0.95 * inertia[0]
    centres = middles(x.float(), 10, seed=0).double()
    assert float(torch.cdist(x, centres).amin(1).square().sum()) < inertia[0]
    nearest = torch.cdist(x, centres).argmin(1)
    own = torch.stack([x[nearest == k].mean(0) for k in range(10)])
    assert torch.allclose(own, centres, atol=0.05)  # each centre is the mean of what is nearest to it


def test_a15_principal_components_are_the_singular_vectors_of_centred_data() -> None:
    from sklearn.decomposition import PCA

    _, x, *_ = reading_digits()
    pca = PCA(10, svd_solver="covariance_eigh").fit(x.numpy())
    u, s, vt = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    assert np.allclose(pca.explained_variance_, (s[:10] ** 2 / (len(x) - 1)).numpy())
    assert np.allclose(np.abs(pca.components_), vt[:10].abs().numpy(), atol=1e-8)  # but for their sign
    assert np.allclose(np.abs(pca.transform(x.numpy())), (u * s)[:, :10].abs().numpy(), atol=1e-8)

"""Learners that store training samples: k nearest neighbours and support vector machines, edge cases."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from raw_datasets import classes, labels, numbers, seeded
from torch import Tensor

from snellen.api import load, train
from snellen.core import file_io
from snellen.core.errors import DataError, EnvironmentProblem, UsageError
from snellen.core.record import read_record, write_record
from snellen.core.spec import Classes, Input, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.nn import neighbours
from snellen.nn.neighbours import Neighbours
from snellen.tasks.classify import LEARNERS, svm
from snellen.training import libsvm, supervised


def blobs(count: int = 240, class_count: int = 4, dtype: torch.dtype = torch.float64) -> Dataset[Labelled]:
    y = torch.arange(count) % class_count
    x = torch.randn(count, 3, generator=seeded(), dtype=torch.float64) + 1.5 * torch.eye(4, 3)[y]
    return classes(x.to(dtype), y, class_count)


def image_dataset(dtype: torch.dtype, count: int = 60) -> Dataset[Labelled]:
    """Two classes of 4x4 images with two channels, of any dtype."""
    y = torch.arange(count) % 2
    max_value = 1.0 if dtype.is_floating_point else torch.iinfo(dtype).max
    x = torch.rand(count, 2, 4, 4, generator=seeded()) * 0.3 * max_value
    x[y == 1, :, :2] += 0.6 * max_value
    return classes(x.to(dtype), y, 2)


# -- stored samples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32, torch.float64])
@pytest.mark.parametrize("model", ["knn", "svm"])
def test_samples_are_stored_in_the_dtype_of_the_source(model: str, dtype: torch.dtype, tmp_path: Path) -> None:
    data = image_dataset(dtype)
    run = train(data, model=model, out=tmp_path / "run")
    stored, _ = file_io.read_tensors(tmp_path / "run" / "model.safetensors")
    (x,) = (tensor for name, tensor in stored.items() if name.split(".")[-1] == "x")
    assert x.dtype == dtype
    assert x.shape[1:] == (2, 4, 4)
    assert run.metrics["accuracy"].value == 1
    batch = data.samples("test").take(torch.arange(5))
    assert load(tmp_path / "run").predict_batch(batch.x) == run.predict_batch(batch.x)


@pytest.mark.parametrize("model", ["knn", "svm"])
@pytest.mark.parametrize("corruption", ["columns", "rank", "type", "length"])
def test_a_run_with_corrupted_samples_is_rejected(model: str, corruption: str, tmp_path: Path) -> None:
    train(blobs(), model=model, out=tmp_path / "run")
    path = tmp_path / "run" / "model.safetensors"
    tensors, metadata = file_io.read_tensors(path)
    name = next(name for name in tensors if name.split(".")[-1] == "x")
    x = tensors[name]
    tensors[name] = {"columns": x[:, :2], "rank": x[:, None], "type": x.float(), "length": x[:-1]}[
        corruption
    ].contiguous()
    digest = file_io.write_tensors(path, tensors, metadata)
    record = read_record(tmp_path / "run")
    record.files["model.safetensors"] = digest  # type: ignore[index]
    write_record(tmp_path / "run", record)
    with pytest.raises(DataError, match="do not fit the model"):
        load(tmp_path / "run")


@pytest.mark.parametrize("model", ["knn", "svm", "lda"])
def test_multi_label_data_is_rejected(model: str, tmp_path: Path) -> None:
    x = torch.randn(60, 2, generator=seeded())
    data = labels(x, (x > 0).float())
    with pytest.raises(UsageError, match="one class per sample"):
        train(data, model=model, out=tmp_path / "run")


@pytest.mark.parametrize("model", ["knn", "svm"])
def test_more_samples_than_fit_into_memory_are_an_error(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "available_memory", lambda: 1000)
    with pytest.raises(
        EnvironmentProblem, match=r"samples at once need [\d,]+ bytes of memory, of which 1,000 are free"
    ):
        train(blobs(), model=model, out=tmp_path / "run")


def test_learners_without_steps_are_not_stoppable() -> None:
    assert not any(LEARNERS[name].stoppable for name in ("knn", "svm", "lda"))
    assert LEARNERS["bases"].stoppable


# -- neighbours ------------------------------------------------------------------------------------------------------


def fitted_neighbours(x: Tensor) -> Neighbours:
    """Neighbours whose targets are their row numbers."""
    result = Neighbours(Input(modality="vector", shape=(x.shape[1],)), (x.shape[1],), torch.empty(0, dtype=torch.int64))
    result.store_samples(x, torch.arange(len(x)))
    return result


@pytest.mark.parametrize("columns", [3, 100])  # in float64, and in float32 with candidates
def test_neighbours_are_sorted_and_independent_of_the_block_size(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, queries = torch.randn(500, columns, generator=seeded()), torch.randn(70, columns, generator=seeded(1))
    result = fitted_neighbours(x).nearest_targets(queries, 7)
    expected = torch.cdist(queries.double(), x.double()).sort(dim=1, stable=True).indices[:, :7]
    assert torch.equal(result, expected)
    monkeypatch.setattr(neighbours, "MAX_ELEMENTS", 37 * columns)
    monkeypatch.setattr(neighbours, "QUERY_BLOCK", 9)
    assert torch.equal(fitted_neighbours(x).nearest_targets(queries, 7), expected)


def test_of_equally_distant_samples_the_first_is_taken() -> None:
    x = torch.tensor([[2.0, 0], [-1, 0], [0, 1], [1, 0], [0, -1], [1, 0]])
    assert fitted_neighbours(x).nearest_targets(torch.zeros(1, 2), 3).tolist() == [[1, 2, 3]]


def test_neighbours_are_exact_far_from_the_origin() -> None:
    """‖q‖² − 2 q·s + ‖s‖² in float32 has no correct digit there."""
    x = torch.full((400, 100), 3000.0)
    x[:, 0] += torch.arange(400) / 64
    queries = x[::40].clone()
    queries[:, 0] += 1 / 256
    assert fitted_neighbours(x).nearest_targets(queries, 1)[:, 0].tolist() == list(range(0, 400, 40))


def test_samples_are_standardised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, queries = torch.randn(500, 100, generator=seeded()), torch.randn(3, 100, generator=seeded(1))
    stored, lengths = fitted_neighbours(x), list[int]()
    stored.standardize.register_forward_pre_hook(lambda _, inputs: lengths.append(len(inputs[0])))
    with torch.inference_mode():
        first = stored.nearest_targets(queries, 7)
    assert lengths.count(500) == 2  # of the mean, and of the samples themselves
    assert torch.equal(stored.nearest_targets(queries, 7), first)
    assert lengths.count(500) == 2
    monkeypatch.setattr(neighbours, "MAX_INDEX_BYTES", 0)
    assert torch.equal(fitted_neighbours(x).nearest_targets(queries, 7), first)


def test_standardised_samples_follow_the_stored_ones() -> None:
    x, queries = torch.randn(60, 100, generator=seeded()), torch.randn(3, 100, generator=seeded(1))
    stored, other = fitted_neighbours(x), fitted_neighbours(x.flip(0))
    other.standardize.fit(3 * x)
    before = stored.nearest_targets(queries, 7)
    copied = copy.deepcopy(stored)
    stored.load_state_dict(other.state_dict())
    assert torch.equal(stored.nearest_targets(queries, 7), other.nearest_targets(queries, 7))
    assert not torch.equal(stored.nearest_targets(queries, 7), before)
    assert torch.equal(copied.nearest_targets(queries, 7), before)
    stored.store_samples(x[:30], torch.arange(30))
    assert int(stored.nearest_targets(queries, 7).max()) < 30


def test_k_above_the_number_of_samples_uses_all_samples(tmp_path: Path) -> None:
    run = train(blobs(40, 2), model="knn", k=1000, out=tmp_path / "run")
    votes = run.model.votes(torch.zeros(2, 3, dtype=torch.float64))
    assert votes.sum(1).tolist() == [len(run.model.neighbours.x)] * 2


def test_probabilities_are_smoothed_votes(tmp_path: Path) -> None:
    data = blobs()
    run = train(data, model="knn", k=5, out=tmp_path / "run")
    x = data.samples("test").take(torch.arange(20)).x
    votes = run.model.votes(x)
    assert votes.sum(1).tolist() == [5] * 20
    assert torch.allclose(run.model.scores(x).softmax(1), (votes.double() + 0.25) / 6)


def test_knn_regression_matches_scikit_learn(tmp_path: Path) -> None:
    from sklearn.neighbors import KNeighborsRegressor

    x = torch.randn(200, 2, generator=seeded(), dtype=torch.float64) * torch.tensor([1.0, 100.0])
    t = torch.stack([x[:, 0] ** 2, x[:, 1]], dim=1)
    data = numbers(x, t, names=("a", "b"))
    run = train(data, model="knn", out=tmp_path / "run")
    ids, test = data.splits["train"], data.splits["test"]
    standard = ((x - x[ids].mean(0)) / x[ids].std(0, correction=0)).numpy()
    oracle = KNeighborsRegressor(5).fit(standard[ids.numpy()], t[ids].numpy())
    assert np.allclose(run.model.predict(x[test]).numpy(), oracle.predict(standard[test.numpy()]))


# -- support vectors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("class_count", [2, 3, 4])
@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_svm_votes_and_decisions_match_scikit_learn(kernel: str, class_count: int, tmp_path: Path) -> None:
    from sklearn.svm import SVC

    data = blobs(class_count=class_count)
    run = train(data, model="svm", kernel=kernel, C=3.0, out=tmp_path / "run")
    train_samples = data.samples("train").take(torch.arange(data.spec.sizes["train"]))
    x = run.model.flatten_features(train_samples.x).numpy()
    gamma = 1.5 / x.var(0).sum()
    oracle = SVC(C=3.0, kernel=kernel, gamma=gamma, decision_function_shape="ovo").fit(x, train_samples.y.numpy())
    queries = 3 * torch.randn(1000, 3, generator=seeded(5), dtype=torch.float64)
    query_features = run.model.flatten_features(queries).numpy()
    decisions = oracle.decision_function(query_features).reshape(1000, -1)
    sign = -1 if class_count == 2 else 1  # for two classes scikit-learn's is above zero for the second
    assert np.abs(run.model.decisions(queries).numpy() - sign * decisions).max() < 1e-6
    assert np.array_equal(run.model.scores(queries).argmax(1).numpy(), oracle.predict(query_features))


def test_on_tied_votes_the_first_class_is_predicted() -> None:
    """0 beats 1, 1 beats 2, 2 beats 0: one vote each; a decision value of exactly zero is the second class."""
    model = svm.SupportVectors(Input(modality="vector", shape=(1,)), (1,), 3, "linear")
    model.offsets.copy_(torch.tensor([1.0, -1.0, 1.0]))  # 0 against 1, 0 against 2, 1 against 2
    scores = model.scores(torch.zeros(1, 1))
    assert scores.tolist() == [[1, 1, 1]]
    assert int(scores.argmax(1)) == 0
    two = svm.SupportVectors(Input(modality="vector", shape=(1,)), (1,), 2, "linear")
    assert int(two.scores(torch.zeros(1, 1)).float().argmax(1)) == 1


@pytest.mark.parametrize("present", [[0, 2, 3], [1, 3], [2]])
def test_a_class_without_a_sample_is_never_predicted(present: list[int], tmp_path: Path) -> None:
    from snellen.core.run import Run

    x = torch.randn(60, 3, generator=seeded(), dtype=torch.float64)
    y = torch.tensor(present)[torch.arange(60) % len(present)]
    x += 2 * torch.eye(4, 3)[y]
    data = classes(x, y, 4)
    assert isinstance(data.spec.target, Classes)
    for name in ("svm", "knn", "lda"):
        learner = LEARNERS[name]
        model = learner.build(learner.settings(), data.spec)
        learner.fit(learner.settings(), data, model, Run(tmp_path / name))
        predicted = model.scores(x).argmax(1)
        assert set(predicted.tolist()) <= set(present), name
        assert float((predicted == y).double().mean()) > 0.7, name


def test_the_default_gamma_depends_on_the_variance_of_the_images(tmp_path: Path) -> None:
    data = image_dataset(torch.uint8)
    run = train(data, model="svm", out=tmp_path / "run")
    x = data.source.read(np.asarray(data.splits["train"]), data.preprocessing).double() / 255
    assert float(run.model.gamma) == pytest.approx(1.5 / float(x.flatten(1).var(0, correction=0).sum()), rel=1e-5)


def test_an_unfitted_model_stores_no_samples() -> None:
    spec = Spec(
        name="s",
        inputs={"x": Input(modality="image", shape=(1, 28, 28), dtype="uint8")},
        target=Classes(names=("a", "b")),
        sizes={"train": 1 << 50},
    )
    for name in ("knn", "svm"):
        with torch.device("meta"):
            model = LEARNERS[name].build(LEARNERS[name].settings(), spec)
        assert sum(t.numel() for t in model.state_dict().values()) < 20


def test_a_signal_interrupts_libsvm() -> None:
    """The main thread only waits, so it handles a signal at once."""
    import os
    import signal
    import threading

    class SignalReceived(Exception):
        pass

    def raise_received(number: int, frame: object) -> None:
        raise SignalReceived

    finished = threading.Event()
    previous_handler = signal.signal(signal.SIGUSR1, raise_received)
    try:
        with pytest.raises(SignalReceived):
            libsvm.run_in_thread(lambda: (os.kill(os.getpid(), signal.SIGUSR1), finished.wait(60)))
        assert not finished.is_set()
    finally:
        finished.set()
        signal.signal(signal.SIGUSR1, previous_handler)


def test_an_error_in_the_thread_is_raised() -> None:
    def fail() -> None:
        raise ValueError("no solution")

    with pytest.raises(ValueError, match="no solution"):
        libsvm.run_in_thread(fail)

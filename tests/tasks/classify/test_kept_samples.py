"""Learners that keep training samples: neighbours and support vectors, on what is unusual."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from raw_datasets import classes, labels, numbers, seeded
from torch import Tensor

from snellen.api import load, train
from snellen.core import files
from snellen.core.errors import DataError, EnvironmentProblem, UsageError
from snellen.core.record import read_record, write_record
from snellen.core.spec import Classes, Input, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.nn import neighbours
from snellen.nn.neighbours import Neighbours
from snellen.tasks.classify import LEARNERS, svm
from snellen.training import supervised


def blobs(count: int = 240, kinds: int = 4, dtype: torch.dtype = torch.float64) -> Dataset[Labelled]:
    y = torch.arange(count) % kinds
    x = torch.randn(count, 3, generator=seeded(), dtype=torch.float64) + 1.5 * torch.eye(4, 3)[y]
    return classes(x.to(dtype), y, kinds)


def pictures(dtype: torch.dtype, count: int = 60) -> Dataset[Labelled]:
    """Two kinds of 4x4 pictures in two channels, of any depth."""
    y = torch.arange(count) % 2
    most = 1.0 if dtype.is_floating_point else torch.iinfo(dtype).max
    x = torch.rand(count, 2, 4, 4, generator=seeded()) * 0.3 * most
    x[y == 1, :, :2] += 0.6 * most
    return classes(x.to(dtype), y, 2)


# -- what they remember ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32, torch.float64])
@pytest.mark.parametrize("model", ["knn", "svm"])
def test_samples_are_kept_at_the_depth_of_the_source(model: str, dtype: torch.dtype, tmp_path: Path) -> None:
    data = pictures(dtype)
    run = train(data, model=model, out=tmp_path / "run")
    kept, _ = files.read_tensors(tmp_path / "run" / "model.safetensors")
    (x,) = (tensor for name, tensor in kept.items() if name.split(".")[-1] == "x")
    assert x.dtype == dtype
    assert x.shape[1:] == (2, 4, 4)
    assert run.metrics["accuracy"].value == 1
    batch = data.samples("test").take(torch.arange(5))
    assert load(tmp_path / "run").ask(batch.x) == run.ask(batch.x)


@pytest.mark.parametrize("model", ["knn", "svm"])
@pytest.mark.parametrize("how", ["columns", "rank", "type", "length"])
def test_a_run_with_samples_of_another_kind_is_refused(model: str, how: str, tmp_path: Path) -> None:
    train(blobs(), model=model, out=tmp_path / "run")
    path = tmp_path / "run" / "model.safetensors"
    tensors, about = files.read_tensors(path)
    name = next(name for name in tensors if name.split(".")[-1] == "x")
    x = tensors[name]
    tensors[name] = {"columns": x[:, :2], "rank": x[:, None], "type": x.float(), "length": x[:-1]}[how].contiguous()
    digest = files.write_tensors(path, tensors, about)
    record = read_record(tmp_path / "run")
    record.files["model.safetensors"] = digest  # type: ignore[index]
    write_record(tmp_path / "run", record)
    with pytest.raises(DataError, match="do not fit the model"):
        load(tmp_path / "run")


@pytest.mark.parametrize("model", ["knn", "svm", "lda"])
def test_several_labels_are_refused(model: str, tmp_path: Path) -> None:
    x = torch.randn(60, 2, generator=seeded())
    data = labels(x, (x > 0).float())
    with pytest.raises(UsageError, match="one class a sample"):
        train(data, model=model, out=tmp_path / "run")


@pytest.mark.parametrize("model", ["knn", "svm"])
def test_more_samples_than_memory_holds_end_it_with_the_reason(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "memory", lambda: 1000)
    with pytest.raises(EnvironmentProblem, match=r"samples at once are [\d,]+ bytes, with 1,000 free"):
        train(blobs(), model=model, out=tmp_path / "run")


def test_they_cannot_be_stopped_and_so_get_a_process_of_their_own() -> None:
    assert not any(LEARNERS[name].stoppable for name in ("knn", "svm", "lda"))
    assert LEARNERS["bases"].stoppable


# -- neighbours ------------------------------------------------------------------------------------------------------


def remembered(x: Tensor) -> Neighbours:
    """Neighbours whose targets are their places."""
    made = Neighbours(Input(modality="vector", shape=(x.shape[1],)), (x.shape[1],), torch.empty(0, dtype=torch.int64))
    made.remember(x, torch.arange(len(x)))
    return made


@pytest.mark.parametrize("columns", [3, 100])  # in float64, and in float32 with candidates
def test_blocks_change_nothing_and_the_nearest_come_first(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, asked = torch.randn(500, columns, generator=seeded()), torch.randn(70, columns, generator=seeded(1))
    whole = remembered(x).of(asked, 7)
    expected = torch.cdist(asked.double(), x.double()).sort(dim=1, stable=True).indices[:, :7]
    assert torch.equal(whole, expected)
    monkeypatch.setattr(neighbours, "NUMBERS", 37 * columns)
    monkeypatch.setattr(neighbours, "QUERIES", 9)
    assert torch.equal(remembered(x).of(asked, 7), expected)


def test_of_samples_equally_far_the_first_is_taken() -> None:
    x = torch.tensor([[2.0, 0], [-1, 0], [0, 1], [1, 0], [0, -1], [1, 0]])
    assert remembered(x).of(torch.zeros(1, 2), 3).tolist() == [[1, 2, 3]]


def test_nearest_is_exact_far_from_the_origin() -> None:
    """Where ‖q‖² − 2 q·s + ‖s‖² in float32 has no digit left."""
    x = torch.full((400, 100), 3000.0)
    x[:, 0] += torch.arange(400) / 64
    asked = x[::40].clone()
    asked[:, 0] += 1 / 256
    assert remembered(x).of(asked, 1)[:, 0].tolist() == list(range(0, 400, 40))


def test_more_neighbours_than_samples_are_all_of_them(tmp_path: Path) -> None:
    run = train(blobs(40, 2), model="knn", k=1000, out=tmp_path / "run")
    votes = run.model.votes(torch.zeros(2, 3, dtype=torch.float64))
    assert votes.sum(1).tolist() == [len(run.model.neighbours.x)] * 2


def test_probabilities_are_votes_with_one_more_for_all(tmp_path: Path) -> None:
    data = blobs()
    run = train(data, model="knn", k=5, out=tmp_path / "run")
    x = data.samples("test").take(torch.arange(20)).x
    votes = run.model.votes(x)
    assert votes.sum(1).tolist() == [5] * 20
    assert torch.allclose(run.model.scores(x).softmax(1), (votes.double() + 0.25) / 6)


def test_numbers_are_the_mean_of_the_nearest_as_scikit_learn_has_it(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("kinds", [2, 3, 4])
@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_votes_and_decisions_are_those_of_scikit_learn_on_every_sample(kernel: str, kinds: int, tmp_path: Path) -> None:
    from sklearn.svm import SVC

    data = blobs(kinds=kinds)
    run = train(data, model="svm", kernel=kernel, C=3.0, out=tmp_path / "run")
    learned = data.samples("train").take(torch.arange(data.spec.sizes["train"]))
    x = run.model.flat(learned.x).numpy()
    gamma = 1.5 / x.var(0).sum()
    oracle = SVC(C=3.0, kernel=kernel, gamma=gamma, decision_function_shape="ovo").fit(x, learned.y.numpy())
    asked = 3 * torch.randn(1000, 3, generator=seeded(5), dtype=torch.float64)
    same = run.model.flat(asked).numpy()
    decisions = oracle.decision_function(same).reshape(1000, -1)
    sign = -1 if kinds == 2 else 1  # of two classes theirs is above zero for the second
    assert np.abs(run.model.decisions(asked).numpy() - sign * decisions).max() < 1e-6
    assert np.array_equal(run.model.scores(asked).argmax(1).numpy(), oracle.predict(same))


def test_of_equally_many_votes_the_first_class_is_said() -> None:
    """0 beats 1, 1 beats 2, 2 beats 0: one vote each; and a decision of exactly zero is the second class's."""
    model = svm.SupportVectors(Input(modality="vector", shape=(1,)), (1,), 3, "linear")
    model.offsets.copy_(torch.tensor([1.0, -1.0, 1.0]))  # 0 against 1, 0 against 2, 1 against 2
    scores = model.scores(torch.zeros(1, 1))
    assert scores.tolist() == [[1, 1, 1]]
    assert int(scores.argmax(1)) == 0
    two = svm.SupportVectors(Input(modality="vector", shape=(1,)), (1,), 2, "linear")
    assert int(two.scores(torch.zeros(1, 1)).float().argmax(1)) == 1


@pytest.mark.parametrize("there", [[0, 2, 3], [1, 3], [2]])
def test_a_class_without_a_sample_is_never_said(there: list[int], tmp_path: Path) -> None:
    from snellen.core.run import Run

    x = torch.randn(60, 3, generator=seeded(), dtype=torch.float64)
    y = torch.tensor(there)[torch.arange(60) % len(there)]
    x += 2 * torch.eye(4, 3)[y]
    data = classes(x, y, 4)
    assert isinstance(data.spec.target, Classes)
    for name in ("svm", "knn", "lda"):
        learner = LEARNERS[name]
        model = learner.build(learner.settings(), data.spec)
        learner.fit(learner.settings(), data, model, Run(tmp_path / name))
        said = model.scores(x).argmax(1)
        assert set(said.tolist()) <= set(there), name
        assert float((said == y).double().mean()) > 0.7, name


def test_the_width_of_the_kernel_follows_the_variance_of_pictures(tmp_path: Path) -> None:
    data = pictures(torch.uint8)
    run = train(data, model="svm", out=tmp_path / "run")
    x = data.source.read(np.asarray(data.splits["train"]), data.preprocessing).double() / 255
    assert float(run.model.gamma) == pytest.approx(1.5 / float(x.flatten(1).var(0, correction=0).sum()), rel=1e-5)


def test_the_memory_plan_of_a_run_counts_what_is_kept_as_nothing_before_fitting() -> None:
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


def test_a_stop_does_not_wait_for_libsvm() -> None:
    """The main thread only waits, and so hears a signal at once."""
    import signal
    import threading
    import time

    class Heard(Exception):
        pass

    def hear(number: int, frame: object) -> None:
        raise Heard

    over = threading.Event()
    before = signal.signal(signal.SIGUSR1, hear)
    try:
        threading.Thread(target=lambda: (time.sleep(0.05), signal.raise_signal(signal.SIGUSR1)), daemon=True).start()
        with pytest.raises(Heard):
            svm._waiting(lambda: over.wait(60))
        assert not over.is_set()
    finally:
        over.set()
        signal.signal(signal.SIGUSR1, before)


def test_what_goes_wrong_beside_is_raised_here() -> None:
    def fail() -> None:
        raise ValueError("no solution")

    with pytest.raises(ValueError, match="no solution"):
        svm._waiting(fail)

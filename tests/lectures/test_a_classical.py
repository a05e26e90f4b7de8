"""Rows A1, A5, A10 and A12 of the lectures: least squares, logistic regression, perceptron, many classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from objectives import LossFunction
from raw_datasets import classes, numbers, seeded
from torch import Tensor, nn

from snellen.api import train
from snellen.core.run import Run
from snellen.core.spec import Classes, Input, Spec
from snellen.data.open_dataset import assemble
from snellen.data.synthetic.toys import digits
from snellen.nn.mlp import MLP, cross_entropy
from snellen.tasks.classify import softmax
from snellen.tasks.classify.perceptron import append_one, apply_perceptron_rule
from snellen.tasks.regress.least_squares import solve
from snellen.training.loop import fit_by_gradient
from snellen.training.settings import TrainingSettings


class FullBatch:
    """Full-batch gradient descent: every step uses all samples."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return 1

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        return self.x, self.y

    def names(self, step: int) -> str:
        return "all samples"


# -- A1 linear least squares -----------------------------------------------------------------------------------------


def linear_data(count: int = 40) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, 3, generator=seeded(), dtype=torch.float64)
    t = x @ torch.tensor([[1.5, 0.0], [-2.0, 1.0], [0.5, 4.0]], dtype=torch.float64) + torch.tensor([3.0, -1.0])
    return x, t + 0.3 * torch.randn(count, 2, generator=seeded(1), dtype=torch.float64)


def normal_equations(x: Tensor, t: Tensor) -> np.ndarray:
    """w = (XᵀX)⁻¹ Xᵀt, with a column of ones last."""
    X = np.hstack([x.numpy(), np.ones((len(x), 1))])
    return np.linalg.solve(X.T @ X, X.T @ t.numpy()).T


def test_a1_the_closed_form_solves_the_normal_equations() -> None:
    x, t = linear_data()
    assert np.allclose(solve(x, t).numpy(), normal_equations(x, t), atol=1e-12)
    shifted = x * torch.tensor([1e-4, 1.0, 1e4]) + 1e5  # columns of different scale and offset
    w = solve(shifted, t)
    assert np.allclose(
        (shifted @ w[:, :-1].T + w[:, -1]).numpy(), (x @ solve(x, t)[:, :-1].T + solve(x, t)[:, -1]).numpy(), atol=1e-5
    )


def test_a1_gradient_descent_converges_to_the_normal_equations(tmp_path: Path) -> None:
    x, t = linear_data()
    model = MLP((3, 2)).double()

    def half_sum_of_squares(batch: tuple[Tensor, Tensor]) -> Tensor:
        x, t = batch
        loss: Tensor = 0.5 * (t - model(x)).square().sum()
        return loss

    training = TrainingSettings(epochs=500, optimizer="sgd", lr=0.015, schedule="constant")
    fit_by_gradient(model, LossFunction(half_sum_of_squares), FullBatch(x, t), Run(tmp_path), training)
    weights = torch.cat([model.layers[0].weight, model.layers[0].bias[:, None]], dim=1).detach().numpy()  # type: ignore[arg-type, index]
    assert np.abs(weights - normal_equations(x, t)).max() < 1e-6


def test_a1_the_gradient_matches_the_lecture() -> None:
    """∇J = −Σ (t − xᵀw) x, against automatic differentiation and finite differences."""
    x, t = linear_data(7)
    w = torch.randn(3, 2, generator=seeded(2), dtype=torch.float64, requires_grad=True)

    def cost(w: Tensor) -> Tensor:
        return 0.5 * (t - x @ w).square().sum()

    (gradient,) = torch.autograd.grad(cost(w), w)
    assert torch.allclose(gradient, -x.T @ (t - x @ w), atol=1e-12)
    assert torch.autograd.gradcheck(cost, (w,))


def test_a1_the_learner_matches_the_normal_equations(tmp_path: Path) -> None:
    x, t = linear_data(80)
    data = numbers(x, t, names=("a", "b"))
    run = train(data, model="least-squares", out=tmp_path / "run")
    ids = data.splits["train"]
    w = normal_equations(x[ids], t[ids])
    test = data.splits["test"]
    expected = x[test].numpy() @ w[:, :-1].T + w[:, -1]
    assert np.allclose(run.predictions("test")["said"].numpy(), expected, atol=1e-9)


# -- A5 logistic regression ------------------------------------------------------------------------------------------


def overlapping(count: int = 300) -> tuple[Tensor, Tensor]:
    """Two overlapping Gaussian classes."""
    y = torch.arange(count) % 2
    x = torch.randn(count, 2, generator=seeded(), dtype=torch.float64) + 1.5 * y[:, None]
    return x, y


def logistic(x: Tensor, y: Tensor, folder: Path, start: int) -> tuple[np.ndarray, float]:
    """Softmax regression of two classes with initial weights from `start`, as w and b of σ(w·x + b)."""
    with torch.random.fork_rng():
        torch.manual_seed(start)
        model = MLP((2, 2)).double()
    training = TrainingSettings(epochs=1500, optimizer="sgd", lr=1.0, schedule="constant")
    objective = LossFunction(lambda batch: cross_entropy(model, *batch))
    fit_by_gradient(model, objective, FullBatch(x, y), Run(folder), training)
    weight, bias = model.layers[0].weight.detach().numpy(), model.layers[0].bias.detach().numpy()  # type: ignore[union-attr, operator]
    return weight[1] - weight[0], float(bias[1] - bias[0])


def test_a5_softmax_of_two_classes_is_logistic_regression(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    x, y = overlapping()
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x.numpy(), y.numpy())
    for start in (0, 1):
        w, b = logistic(x, y, tmp_path / str(start), start)
        assert np.allclose(w, oracle.coef_[0], atol=1e-5)
        assert b == pytest.approx(float(oracle.intercept_[0]), abs=1e-5)


def test_a5_the_gradient_matches_the_lecture() -> None:
    """∇ = Σ (σ(wᵀx) − t) x."""
    x, t = overlapping(9)
    w = torch.randn(2, generator=seeded(3), dtype=torch.float64, requires_grad=True)

    def cost(w: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(x @ w, t.double(), reduction="sum")

    (gradient,) = torch.autograd.grad(cost(w), w)
    assert torch.allclose(gradient, x.T @ (torch.sigmoid(x @ w) - t), atol=1e-12)
    assert torch.autograd.gradcheck(cost, (w,))


def test_a5_the_predicted_class_has_a_probability_above_one_half(tmp_path: Path) -> None:
    x, y = overlapping()
    run = train(classes(x, y, 2), model="softmax", out=tmp_path / "run")
    for prediction in run.predict_batch(x[:50]):
        probability = prediction["probabilities"]["class 1"]
        assert prediction["class"] == ("class 1" if probability > 0.5 else "class 0")


def test_a5_a_few_outliers_move_the_boundary_little(tmp_path: Path) -> None:
    """Least squares on the labels is sensitive to correctly classified outliers; the logistic loss is not."""
    x, y = overlapping()
    shifted = torch.full((10, 2), 40.0, dtype=torch.float64)
    x_with_outliers, y_with_outliers = torch.cat([x, shifted]), torch.cat([y, torch.ones(10, dtype=torch.int64)])
    for name, min_change, max_change in (("logistic", 0.0, 0.02), ("least squares", 0.05, 1.0)):
        error_rates = []
        for part, (a, b) in enumerate([(x, y), (x_with_outliers, y_with_outliers)]):
            if name == "logistic":
                w, offset = logistic((a - x.mean(0)) / x.std(0), b, tmp_path / f"{part}", 0)
                predicted = ((x - x.mean(0)) / x.std(0)).numpy() @ w + offset > 0
            else:
                weights_ = solve(a, b[:, None].double())[0]
                predicted = (x @ weights_[:-1] + weights_[-1] > 0.5).numpy()
            error_rates.append(float((predicted != y.numpy()).mean()))
        assert min_change <= error_rates[1] - error_rates[0] <= max_change, name


# -- A10 perceptron --------------------------------------------------------------------------------------------------


def separable(seed: int, count: int = 60, margin: float = 0.3) -> tuple[Tensor, Tensor, Tensor]:
    """Separable samples (N, 3) with a constant 1, at least `margin` from a hyperplane; their class; the unit normal."""
    generator = seeded(seed)
    normal = torch.randn(3, generator=generator)
    normal = normal / normal.norm()
    x = append_one(torch.randn(4 * count, 2, generator=generator))
    x = x[(x @ normal).abs() > margin][:count]
    return x, (x @ normal > 0).float(), normal


@pytest.mark.parametrize("seed", range(8))
def test_a10_the_perceptron_makes_at_most_the_novikoff_number_of_updates(seed: int) -> None:
    x, y, normal = separable(seed)
    w = torch.zeros(1, 3)
    updates = 0
    for _ in range(10_000):
        mistakes = apply_perceptron_rule(w, x, y[:, None], rate=1.0)
        updates += mistakes
        if not mistakes:
            break
    assert torch.equal((x @ w[0] > 0).float(), y)  # no training error
    margin = float((x @ normal).abs().min())
    radius = float(x.norm(dim=1).max())
    assert 0 < updates <= (radius / margin) ** 2


def test_a10_an_update_follows_the_perceptron_rule() -> None:
    """w += ρ (y − ŷ) x, with the step function ŷ = [wᵀx > 0]."""
    w = torch.tensor([[0.5, -1.0]])
    assert (
        apply_perceptron_rule(w, torch.tensor([[-2.0, 1.0]]), torch.tensor([[1.0]]), rate=0.1) == 1
    )  # predicts 0, is 1
    assert torch.allclose(w, torch.tensor([[0.3, -0.9]]))
    assert (
        apply_perceptron_rule(w, torch.tensor([[1.0, -3.0]]), torch.tensor([[0.0]]), rate=0.1) == 1
    )  # predicts 1, is 0
    assert torch.allclose(w, torch.tensor([[0.2, -0.6]]))
    assert apply_perceptron_rule(w, torch.tensor([[1.0, -3.0]]), torch.tensor([[1.0]]), rate=0.1) == 0
    assert torch.allclose(w, torch.tensor([[0.2, -0.6]]))


def test_a10_any_initial_weights_converge_on_separable_data() -> None:
    x, y, _ = separable(3)
    for seed in range(5):
        w = 5 * torch.randn(1, 3, generator=seeded(seed))
        while apply_perceptron_rule(w, x, y[:, None], rate=1.0):
            pass
        assert torch.equal((x @ w[0] > 0).float(), y)


def test_a10_the_learner_stops_after_an_epoch_without_a_mistake(tmp_path: Path) -> None:
    x, y, _ = separable(0, count=200)
    train(classes(x[:, :2], y, 2), model="perceptron", out=tmp_path / "run", epochs=500)
    history = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert len(history) < 500
    assert '"mistakes": 0.0' in history[-1]


def test_a10_xor_is_reported_as_not_converged(tmp_path: Path) -> None:
    x = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    messages: list[str] = []

    class Listener:
        def update(self, loop: str, step: int, total: int, scalars: dict[str, float]) -> None: ...
        def message(self, message: str) -> None:
            messages.append(message)

    from snellen.api import RunOptions
    from snellen.core import file_io

    data = classes(x, torch.tensor([0, 1, 1, 0]), 2, same=True)
    run = train(data, model="perceptron", out=tmp_path / "run", epochs=200, options=RunOptions(progress=Listener()))
    assert file_io.read_json(tmp_path / "run" / "metrics.json")["notes"]["converged"] is False
    assert any("did not converge" in linear_data for linear_data in messages)
    assert run.metrics["accuracy"].value is not None
    assert run.metrics["accuracy"].value < 1


# -- A12 linear multi-class ------------------------------------------------------------------------------------------


def test_a12_the_prediction_is_the_argmax_of_a_linear_map() -> None:
    """y = Ax + a, L* = argmax; standardisation is linear, too."""
    spec = Spec(name="s", inputs={"x": Input(modality="vector", shape=(4,))}, target=Classes(names=("a", "b", "c")))
    model = softmax.build(softmax.SoftmaxSettings(), spec)
    linear = model.network.body[1]  # type: ignore[index]
    nn.init.normal_(linear.weight, generator=seeded())
    x = torch.randn(50, 4, generator=seeded(1)) * 3 + 1
    model.network.standardize.fit(x)
    mean, std = x.double().numpy().mean(0), x.double().numpy().std(0)
    A = linear.weight.detach().double().numpy() / std
    a = linear.bias.detach().double().numpy() - A @ mean
    assert np.allclose(model.scores(x).detach().numpy(), x.numpy() @ A.T + a, atol=1e-5)


@pytest.mark.learning
def test_a12_softmax_regression_on_digits_is_as_accurate_as_scikit_learns(
    tmp_path: Path, assert_score: Callable[..., None]
) -> None:
    from sklearn.linear_model import LogisticRegression

    data = assemble(digits(0), "digits", 0, None)
    run = train(data, model="softmax", out=tmp_path / "run")
    train_ids, test_ids = data.splits["train"], data.splits["test"]
    x = data.source.read(np.arange(len(data)), data.preprocessing).flatten(1).numpy() / 255.0
    oracle = LogisticRegression(max_iter=500).fit(x[train_ids], data.truth[train_ids])
    reference = float(oracle.score(x[test_ids], data.truth[test_ids]))
    accuracy = run.metrics["accuracy"]
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert_score(accuracy.value, above=reference - 0.02, below=reference + 0.02)  # 0.963 to 0.974
    assert reference > 0.9

"""Rows A2 to A4 and A6 of the lectures: polynomials, their order, ridge, Gaussian classes."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from raw_datasets import classes, numbers, seeded
from torch import Tensor

from snellen.api import train
from snellen.core import files
from snellen.core.errors import UsageError
from snellen.core.spec import Input, Numbers, Spec
from snellen.tasks.classify.lda import Discriminant, discriminant, ledoit_wolf
from snellen.tasks.regress.polynomial import Polynomial, PolynomialSettings, build, errors_of_orders
from snellen.tasks.regress.ridge import best_penalty, left_out, parts, weights

# Ten samples of sin 2πx with noise: Bishop 2006, figure 1.2, and the weights of his table 1.1.
TEN_X = torch.linspace(0, 1, 10, dtype=torch.float64)[:, None]
TEN_T = torch.tensor(
    [0.349486, 0.830839, 1.007332, 0.971507, 0.133066, 0.166823, -0.848307, -0.445686, -0.563567, 0.261502],
    dtype=torch.float64,
)[:, None]
TABLE = {
    0: [0.19],
    1: [0.82, -1.27],
    3: [0.31, 7.99, -25.43, 17.37],
    9: [0.35, 232.37, -5321.83, 48568.31, -231639.30, 640042.26, -1061800.52, 1042400.18, -557682.99, 125201.43],
}


def fitted(x: Tensor, t: Tensor, order: int) -> Polynomial:
    """The polynomial of an order through (N, D) and (N, T), its weights found as the learner finds them."""
    model = Polynomial(x.shape[1], t.shape[1], order)
    model.middle.copy_((x.amin(0) + x.amax(0)) / 2)
    model.radius.copy_((x.amax(0) - x.amin(0)) / 2)
    model.w.copy_(weights(parts(model.powers(x, order)), t, 0.0))
    return model


def energy(model: Polynomial, x: Tensor, t: Tensor) -> float:
    """E = ½ Σ (y − t)²."""
    return 0.5 * float((model.predict(x) - t).square().sum())


# -- A2 polynomial fit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [0, 1, 3, 9])
def test_a2_ten_points_of_a_sine_give_the_weights_of_the_book(order: int) -> None:
    model = fitted(TEN_X, TEN_T, order)
    found = model.coefficients()[0, 0].tolist()
    # The points are printed with six decimals, which the ninth order turns into some units of its large weights.
    assert found == pytest.approx(TABLE[order], abs=0.006, rel=2e-5 if order == 9 else 0)
    assert (energy(model, TEN_X, TEN_T) < 1e-15) == (order == 9)


@pytest.mark.parametrize("order", [0, 1, 2, 5])
def test_a2_the_closed_form_is_that_of_the_normal_equations(order: int) -> None:
    x = torch.rand(30, 1, generator=seeded(), dtype=torch.float64) * 3 + 1
    t = torch.randn(30, 2, generator=seeded(1), dtype=torch.float64)
    phi = np.vander(x[:, 0].numpy(), order + 1, increasing=True)
    expected = np.linalg.lstsq(phi, t.numpy(), rcond=None)[0].T
    assert np.allclose(fitted(x, t, order).coefficients()[:, 0].numpy(), expected, atol=1e-7)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_a2_as_many_points_as_weights_leave_no_error(order: int) -> None:
    x = torch.arange(order + 1, dtype=torch.float64)[:, None] * 100 + 7
    t = torch.randn(order + 1, 1, generator=seeded(), dtype=torch.float64)
    assert energy(fitted(x, t, order), x, t) < 1e-20
    assert energy(fitted(x, t, order - 1), x, t) > 1e-4


def test_a2_a_higher_order_never_has_more_error_on_its_own_points() -> None:
    errors = [energy(fitted(TEN_X, TEN_T, order), TEN_X, TEN_T) for order in range(10)]
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(errors))


def test_a2_powers_of_each_column_of_a_table(tmp_path: Path) -> None:
    x = torch.randn(200, 2, generator=seeded(), dtype=torch.float64) * 50 + 1000
    truth = 3 + (x[:, 0] - 1000) ** 2 / 100 - 2 * (x[:, 1] - 990)
    run = train(numbers(x, truth), model="polynomial", degree=2, out=tmp_path / "run")
    assert run.metrics["mean absolute error"].value == pytest.approx(0, abs=1e-9)


# -- A3 choosing the order -------------------------------------------------------------------------------------------


def sine(count: int, seed: int) -> tuple[Tensor, Tensor]:
    x = torch.linspace(0, 1, count, dtype=torch.float64)[:, None]
    return x, torch.sin(2 * torch.pi * x) + 0.3 * torch.randn(count, 1, generator=seeded(seed), dtype=torch.float64)


def test_a3_leaving_samples_out_picks_about_the_third_order_for_a_sine() -> None:
    picked = []
    for seed in range(20):
        x, t = sine(15, seed)
        model = fitted(x, t, 9)
        errors = errors_of_orders(model, x, t)
        picked.append(errors.index(min(errors)))
    assert sorted(picked)[10] == 3  # the median
    assert sum(order in (3, 4, 5) for order in picked) >= 14


def test_a3_the_ninth_order_knows_its_points_by_heart_and_nothing_else() -> None:
    far, truth = sine(101, 1)[0], torch.sin(2 * torch.pi * sine(101, 1)[0])
    assert energy(fitted(TEN_X, TEN_T, 9), TEN_X, TEN_T) < 1e-15
    wrong = {order: (2 * energy(fitted(TEN_X, TEN_T, order), far, truth) / 101) ** 0.5 for order in (1, 3, 9)}
    assert wrong[3] < 0.5 * wrong[9]
    assert wrong[3] < 0.5 * wrong[1]


def test_a3_the_curve_of_orders_is_cross_validation_with_one_sample_left_out() -> None:
    x, t = sine(12, 0)
    errors = errors_of_orders(fitted(x, t, 5), x, t)
    assert len(errors) == 6
    for order, found in enumerate(errors):
        slow = []
        for out in range(len(x)):
            rest = torch.arange(len(x)) != out
            w = np.polynomial.Polynomial.fit(x[rest, 0].numpy(), t[rest, 0].numpy(), order)
            slow.append(float((w(float(x[out, 0])) - t[out, 0]) ** 2))
        assert found == pytest.approx(float(np.mean(slow)) / float(t.var(correction=0)), rel=1e-6)


def test_a3_the_learner_says_which_order_it_took(tmp_path: Path) -> None:
    x, t = sine(60, 3)
    run = train(numbers(x, t), model="polynomial", out=tmp_path / "run")
    notes = files.read_json(tmp_path / "run" / "metrics.json")["notes"]
    assert notes["order"] in (3, 4, 5)
    assert notes["left-one-out errors"][notes["order"]] == min(notes["left-one-out errors"])
    assert run.model.w[0, notes["order"] : -1].abs().max() == 0


def test_a3_with_two_samples_only_the_mean_is_tried() -> None:
    x, t = torch.tensor([[0.0], [1.0]]).double(), torch.tensor([[1.0], [3.0]]).double()
    spec = Spec(name="two", inputs={"x": Input(modality="vector", shape=(1,))}, target=Numbers(names=("t",)))
    assert len(errors_of_orders(build(PolynomialSettings(), spec), x, t)) == 1


# -- A4 ridge --------------------------------------------------------------------------------------------------------


def table(count: int = 40) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, 4, generator=seeded(), dtype=torch.float64)
    x[:, 3] = x[:, 2] + 0.01 * x[:, 3]  # two columns that say almost the same
    t = x[:, :2] @ torch.tensor([[2.0, 0.0], [-1.0, 3.0]], dtype=torch.float64) + 5
    return x, t + torch.randn(count, 2, generator=seeded(1), dtype=torch.float64)


@pytest.mark.parametrize("penalty", [0.0, 1e-3, 1.0, 1e3])
def test_a4_the_closed_form_is_that_of_the_lecture_and_of_scikit_learn(penalty: float) -> None:
    """w = (ΦᵀΦ + λI)⁻¹Φᵀt of standardised columns."""
    from sklearn.linear_model import Ridge

    x, t = table()
    mean, std = x.mean(0), x.std(0, correction=0)
    phi = ((x - mean) / std).numpy()
    w = weights(parts(x), t, penalty)
    inverse = np.linalg.inv(phi.T @ phi + penalty * np.eye(4))
    assert np.allclose((w[:, :-1] * std).numpy(), (inverse @ phi.T @ (t - t.mean(0)).numpy()).T, atol=1e-8)
    oracle = Ridge(alpha=penalty).fit(phi, t.numpy())
    assert np.allclose((x @ w[:, :-1].T + w[:, -1]).numpy(), oracle.predict(phi), atol=1e-8)


def test_a4_gradient_descent_ends_there_too() -> None:
    x, t = table()
    phi, centred = (x - x.mean(0)) / x.std(0, correction=0), t - t.mean(0)
    w = torch.zeros(4, 2, dtype=torch.float64)
    for _ in range(5000):
        w -= 0.01 * (phi.T @ (phi @ w - centred) + 2.0 * w)  # ∇ of ½ Σ (y − t)² + λ/2 ‖w‖²
    assert torch.allclose(w.T / x.std(0, correction=0), weights(parts(x), t, 2.0)[:, :-1], atol=1e-9)


def test_a4_the_norm_falls_as_the_penalty_rises() -> None:
    x, t = table()
    scale = x.std(0, correction=0)
    norms = [float((weights(parts(x), t, penalty)[:, :-1] * scale).norm()) for penalty in (0, 0.01, 0.1, 1, 10, 1e9)]
    assert all(b < a for a, b in itertools.pairwise(norms))
    assert norms[-1] < 1e-6


def test_a4_the_error_on_left_out_samples_is_that_of_fitting_without_them() -> None:
    x, t = table(12)
    scale, centre = x.std(0, correction=0), x.mean(0)
    found = left_out(parts(x), t, 0.7)
    phi = (x - centre) / scale
    for out in range(len(x)):
        rest = torch.arange(len(x)) != out
        one = torch.ones(len(x), 1, dtype=torch.float64)
        design = torch.cat([phi, one], dim=1)[rest]
        w = torch.linalg.solve(
            design.T @ design + 0.7 * torch.diag(torch.tensor([1.0, 1, 1, 1, 0]).double()), design.T @ t[rest]
        )
        assert torch.allclose(found[out], t[out] - torch.cat([phi, one], dim=1)[out] @ w, atol=1e-9)


def test_a4_the_penalty_is_chosen_by_the_samples_left_out() -> None:
    from sklearn.linear_model import RidgeCV

    x, t = table(25)
    phi = parts(x)
    found = best_penalty(phi, t[:, :1])
    tried = (torch.logspace(-8, 2, 41, dtype=torch.float64) * phi.s[0] ** 2).numpy()
    standard = ((x - x.mean(0)) / x.std(0, correction=0)).numpy()
    oracle = RidgeCV(alphas=tried).fit(standard, t[:, 0].numpy())
    assert found == pytest.approx(float(oracle.alpha_))
    assert tried[0] < found < tried[-1]


def test_a4_more_columns_than_samples_do_the_learner_no_harm(tmp_path: Path) -> None:
    x = torch.randn(40, 60, generator=seeded(), dtype=torch.float64)
    run = train(numbers(x, x[:, 0] * 3 + 1), model="ridge", out=tmp_path / "run")
    assert run.metrics["mean absolute error"].value is not None
    assert files.read_json(tmp_path / "run" / "metrics.json")["notes"]["penalty"] > 0


# -- A6 Gaussian classes ---------------------------------------------------------------------------------------------


def gaussian_classes(count: int = 400, kinds: int = 3) -> tuple[Tensor, Tensor]:
    """(N, 3) samples of classes of unlike size and one covariance."""
    y = torch.multinomial(torch.tensor([0.5, 0.3, 0.2])[:kinds], count, replacement=True, generator=seeded())
    mixing = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, -0.3], [0.0, 0.0, 0.4]], dtype=torch.float64)
    means = torch.randn(kinds, 3, generator=seeded(2), dtype=torch.float64)
    return torch.randn(count, 3, generator=seeded(1), dtype=torch.float64) @ mixing + means[y], y


@pytest.mark.parametrize("kinds", [2, 3])
def test_a6_the_linear_functions_give_the_posterior_of_bayes_rule(kinds: int) -> None:
    from scipy.stats import multivariate_normal

    x, y = gaussian_classes(kinds=kinds)
    means = torch.stack([x[y == k].mean(0) for k in range(kinds)])
    prior = torch.bincount(y).double() / len(y)
    residual = x - means[y]
    covariance = residual.T @ residual / len(x)
    w, w0 = discriminant(means, covariance, prior)
    joint = np.stack(
        [
            multivariate_normal(m.numpy(), covariance.numpy()).pdf(x.numpy()) * float(p)
            for m, p in zip(means, prior, strict=True)
        ],
        axis=1,
    )
    bayes = joint / joint.sum(1, keepdims=True)
    assert np.abs((x @ w.T + w0).softmax(1).numpy() - bayes).max() < 1e-12
    if kinds == 2:  # the lecture's form
        inverse = torch.linalg.inv(covariance)
        between = inverse @ (means[0] - means[1])
        offset = (
            -0.5 * means[0] @ inverse @ means[0] + 0.5 * means[1] @ inverse @ means[1] + torch.log(prior[0] / prior[1])
        )
        assert torch.allclose(w[0] - w[1], between, atol=1e-12)
        assert np.abs(torch.sigmoid(x @ between + offset).numpy() - bayes[:, 0]).max() < 1e-12


@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 1.0])
def test_a6_the_learner_is_scikit_learns(shrinkage: float, tmp_path: Path) -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    x, y = gaussian_classes()
    data = classes(x, y, 3)
    run = train(data, model="lda", shrinkage=shrinkage, out=tmp_path / "run")
    assert isinstance(run.model, Discriminant)
    ids = data.splits["train"]
    mean, std = x[ids].mean(0), x[ids].std(0, correction=0)
    standard = ((x - mean) / std).numpy()
    prior = torch.bincount(y[ids]).double() / len(ids)
    covariance = np.zeros((3, 3))
    for k in range(3):  # theirs shrinks each class before it adds them up; ours the sum
        own = standard[ids[y[ids] == k].numpy()]
        covariance += float(prior[k]) * np.cov(own.T, bias=True)
    oracle = LinearDiscriminantAnalysis(solver="lsqr").fit(standard[ids.numpy()], y[ids].numpy())
    if shrinkage == 0:
        assert np.allclose(oracle.covariance_, covariance, atol=1e-12)
        assert np.abs(run.model.scores(x).softmax(1).numpy() - oracle.predict_proba(standard)).max() < 1e-5
    shrunk = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / 3 * np.eye(3)
    means = torch.tensor(np.stack([standard[ids[y[ids] == k].numpy()].mean(0) for k in range(3)]))
    w, w0 = discriminant(means, torch.tensor(shrunk), prior)
    expected = (torch.tensor(standard) @ w.T + w0).softmax(1)
    assert torch.allclose(run.model.scores(x).softmax(1), expected, atol=1e-5)


def test_a6_the_shrinkage_is_that_of_ledoit_and_wolf() -> None:
    from sklearn.covariance import ledoit_wolf_shrinkage

    for count in (8, 50, 1000):
        x, _ = gaussian_classes(count, kinds=1)
        x = x - x.mean(0)
        fourth = float(x.square().sum(1).square().mean())
        ours = ledoit_wolf(x.T @ x / count, fourth, count)
        assert ours == pytest.approx(float(ledoit_wolf_shrinkage(x.numpy(), assume_centered=True)), rel=1e-9)


def test_a6_a_singular_covariance_is_no_obstacle(tmp_path: Path) -> None:
    x, y = gaussian_classes(60)
    wide = torch.cat([x, x, torch.ones(60, 200, dtype=torch.float64)], dim=1)  # copies, and columns that never change
    with pytest.raises(UsageError, match="covariance of 206 columns has no inverse with --shrinkage 0"):
        train(classes(wide, y, 3), model="lda", shrinkage=0.0, out=tmp_path / "none")
    run = train(classes(wide, y, 3), model="lda", out=tmp_path / "run")
    plain = train(classes(x, y, 3), model="lda", out=tmp_path / "plain")
    assert run.metrics["accuracy"].value == pytest.approx(plain.metrics["accuracy"].value or 0, abs=0.25)

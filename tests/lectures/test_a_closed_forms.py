"""Rows A2 to A4 and A6 of the lectures: polynomials, choice of the degree, ridge regression, Gaussian classes."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from raw_datasets import classes, numbers, seeded
from torch import Tensor

from snellen.api import train
from snellen.core import file_io
from snellen.core.errors import UsageError
from snellen.core.spec import Input, Numbers, Spec
from snellen.tasks.classify.lda import LinearDiscriminant, discriminant, ledoit_wolf
from snellen.tasks.regress.polynomial import Polynomial, PolynomialSettings, build, mse_by_degree
from snellen.tasks.regress.ridge import best_penalty, leave_one_out_errors, ridge_weights, standardized_svd

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


def fit_polynomial(x: Tensor, t: Tensor, degree: int) -> Polynomial:
    """Fit a polynomial to (N, D) and (N, T), as the learner does."""
    model = Polynomial(x.shape[1], t.shape[1], degree)
    model.middle.copy_((x.amin(0) + x.amax(0)) / 2)
    model.radius.copy_((x.amax(0) - x.amin(0)) / 2)
    model.w.copy_(ridge_weights(standardized_svd(model.powers(x, degree)), t, 0.0))
    return model


def sum_of_squares(model: Polynomial, x: Tensor, t: Tensor) -> float:
    """E = ½ Σ (y − t)²."""
    return 0.5 * float((model.predict(x) - t).square().sum())


# -- A2 polynomial fit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degree", [0, 1, 3, 9])
def test_a2_ten_points_of_a_sine_give_bishops_coefficients(degree: int) -> None:
    model = fit_polynomial(TEN_X, TEN_T, degree)
    result = model.coefficients()[0, 0].tolist()
    # The points are printed with six decimals; at degree 9 this changes the large weights by some units.
    assert result == pytest.approx(TABLE[degree], abs=0.006, rel=2e-5 if degree == 9 else 0)
    assert (sum_of_squares(model, TEN_X, TEN_T) < 1e-15) == (degree == 9)


@pytest.mark.parametrize("degree", [0, 1, 2, 5])
def test_a2_the_closed_form_matches_the_normal_equations(degree: int) -> None:
    x = torch.rand(30, 1, generator=seeded(), dtype=torch.float64) * 3 + 1
    t = torch.randn(30, 2, generator=seeded(1), dtype=torch.float64)
    phi = np.vander(x[:, 0].numpy(), degree + 1, increasing=True)
    expected = np.linalg.lstsq(phi, t.numpy(), rcond=None)[0].T
    assert np.allclose(fit_polynomial(x, t, degree).coefficients()[:, 0].numpy(), expected, atol=1e-7)


@pytest.mark.parametrize("degree", [1, 2, 4])
def test_a2_as_many_weights_as_points_interpolate(degree: int) -> None:
    x = torch.arange(degree + 1, dtype=torch.float64)[:, None] * 100 + 7
    t = torch.randn(degree + 1, 1, generator=seeded(), dtype=torch.float64)
    assert sum_of_squares(fit_polynomial(x, t, degree), x, t) < 1e-20
    assert sum_of_squares(fit_polynomial(x, t, degree - 1), x, t) > 1e-4


def test_a2_the_training_error_falls_with_the_degree() -> None:
    errors = [sum_of_squares(fit_polynomial(TEN_X, TEN_T, degree), TEN_X, TEN_T) for degree in range(10)]
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(errors))


def test_a2_a_table_is_fitted_by_powers_of_each_column(tmp_path: Path) -> None:
    x = torch.randn(200, 2, generator=seeded(), dtype=torch.float64) * 50 + 1000
    truth = 3 + (x[:, 0] - 1000) ** 2 / 100 - 2 * (x[:, 1] - 990)
    run = train(numbers(x, truth), model="polynomial", degree=2, out=tmp_path / "run")
    assert run.metrics["mean absolute error"].value == pytest.approx(0, abs=1e-9)


# -- A3 choosing the degree ------------------------------------------------------------------------------------------


def sine(count: int, seed: int) -> tuple[Tensor, Tensor]:
    x = torch.linspace(0, 1, count, dtype=torch.float64)[:, None]
    return x, torch.sin(2 * torch.pi * x) + 0.3 * torch.randn(count, 1, generator=seeded(seed), dtype=torch.float64)


def test_a3_leave_one_out_selects_about_degree_three_for_a_sine() -> None:
    degrees = []
    for seed in range(20):
        x, t = sine(15, seed)
        model = fit_polynomial(x, t, 9)
        errors = mse_by_degree(model, x, t)
        degrees.append(errors.index(min(errors)))
    assert sorted(degrees)[10] == 3  # the median
    assert sum(degree in (3, 4, 5) for degree in degrees) >= 14


def test_a3_degree_nine_overfits() -> None:
    grid, truth = sine(101, 1)[0], torch.sin(2 * torch.pi * sine(101, 1)[0])
    assert sum_of_squares(fit_polynomial(TEN_X, TEN_T, 9), TEN_X, TEN_T) < 1e-15
    rms = {
        degree: (2 * sum_of_squares(fit_polynomial(TEN_X, TEN_T, degree), grid, truth) / 101) ** 0.5
        for degree in (1, 3, 9)
    }
    assert rms[3] < 0.5 * rms[9]
    assert rms[3] < 0.5 * rms[1]


def test_a3_the_error_by_degree_is_leave_one_out_cross_validation() -> None:
    x, t = sine(12, 0)
    errors = mse_by_degree(fit_polynomial(x, t, 5), x, t)
    assert len(errors) == 6
    for degree, result in enumerate(errors):
        errors_left_out = []
        for row in range(len(x)):
            others = torch.arange(len(x)) != row
            w = np.polynomial.Polynomial.fit(x[others, 0].numpy(), t[others, 0].numpy(), degree)
            errors_left_out.append(float((w(float(x[row, 0])) - t[row, 0]) ** 2))
        assert result == pytest.approx(float(np.mean(errors_left_out)) / float(t.var(correction=0)), rel=1e-6)


def test_a3_the_learner_records_the_selected_degree(tmp_path: Path) -> None:
    x, t = sine(60, 3)
    run = train(numbers(x, t), model="polynomial", out=tmp_path / "run")
    notes = file_io.read_json(tmp_path / "run" / "metrics.json")["notes"]
    assert notes["order"] in (3, 4, 5)
    assert notes["left-one-out errors"][notes["order"]] == min(notes["left-one-out errors"])
    assert run.model.w[0, notes["order"] : -1].abs().max() == 0


def test_a3_with_two_samples_only_degree_zero_is_compared() -> None:
    x, t = torch.tensor([[0.0], [1.0]]).double(), torch.tensor([[1.0], [3.0]]).double()
    spec = Spec(name="two", inputs={"x": Input(modality="vector", shape=(1,))}, target=Numbers(names=("t",)))
    assert len(mse_by_degree(build(PolynomialSettings(), spec), x, t)) == 1


# -- A4 ridge --------------------------------------------------------------------------------------------------------


def correlated_table(count: int = 40) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, 4, generator=seeded(), dtype=torch.float64)
    x[:, 3] = x[:, 2] + 0.01 * x[:, 3]  # two almost identical columns
    t = x[:, :2] @ torch.tensor([[2.0, 0.0], [-1.0, 3.0]], dtype=torch.float64) + 5
    return x, t + torch.randn(count, 2, generator=seeded(1), dtype=torch.float64)


@pytest.mark.parametrize("penalty", [0.0, 1e-3, 1.0, 1e3])
def test_a4_the_closed_form_matches_the_lecture_and_scikit_learn(penalty: float) -> None:
    """w = (ΦᵀΦ + λI)⁻¹Φᵀt of standardised columns."""
    from sklearn.linear_model import Ridge

    x, t = correlated_table()
    mean, std = x.mean(0), x.std(0, correction=0)
    phi = ((x - mean) / std).numpy()
    w = ridge_weights(standardized_svd(x), t, penalty)
    inverse = np.linalg.inv(phi.T @ phi + penalty * np.eye(4))
    assert np.allclose((w[:, :-1] * std).numpy(), (inverse @ phi.T @ (t - t.mean(0)).numpy()).T, atol=1e-8)
    oracle = Ridge(alpha=penalty).fit(phi, t.numpy())
    assert np.allclose((x @ w[:, :-1].T + w[:, -1]).numpy(), oracle.predict(phi), atol=1e-8)


def test_a4_gradient_descent_converges_to_the_closed_form() -> None:
    x, t = correlated_table()
    phi, centred = (x - x.mean(0)) / x.std(0, correction=0), t - t.mean(0)
    w = torch.zeros(4, 2, dtype=torch.float64)
    for _ in range(5000):
        w -= 0.01 * (phi.T @ (phi @ w - centred) + 2.0 * w)  # ∇ of ½ Σ (y − t)² + λ/2 ‖w‖²
    assert torch.allclose(w.T / x.std(0, correction=0), ridge_weights(standardized_svd(x), t, 2.0)[:, :-1], atol=1e-9)


def test_a4_the_norm_falls_as_the_penalty_rises() -> None:
    x, t = correlated_table()
    scale = x.std(0, correction=0)
    norms = [
        float((ridge_weights(standardized_svd(x), t, penalty)[:, :-1] * scale).norm())
        for penalty in (0, 0.01, 0.1, 1, 10, 1e9)
    ]
    assert all(b < a for a, b in itertools.pairwise(norms))
    assert norms[-1] < 1e-6


def test_a4_leave_one_out_errors_match_refitting() -> None:
    x, t = correlated_table(12)
    scale, centre = x.std(0, correction=0), x.mean(0)
    result = leave_one_out_errors(standardized_svd(x), t, 0.7)
    phi = (x - centre) / scale
    for row in range(len(x)):
        others = torch.arange(len(x)) != row
        ones = torch.ones(len(x), 1, dtype=torch.float64)
        design = torch.cat([phi, ones], dim=1)[others]
        w = torch.linalg.solve(
            design.T @ design + 0.7 * torch.diag(torch.tensor([1.0, 1, 1, 1, 0]).double()), design.T @ t[others]
        )
        assert torch.allclose(result[row], t[row] - torch.cat([phi, ones], dim=1)[row] @ w, atol=1e-9)


def test_a4_the_penalty_is_selected_by_leave_one_out() -> None:
    from sklearn.linear_model import RidgeCV

    x, t = correlated_table(25)
    phi = standardized_svd(x)
    result = best_penalty(phi, t[:, :1])
    penalties = (torch.logspace(-8, 2, 41, dtype=torch.float64) * phi.s[0] ** 2).numpy()
    standard = ((x - x.mean(0)) / x.std(0, correction=0)).numpy()
    oracle = RidgeCV(alphas=penalties).fit(standard, t[:, 0].numpy())
    assert result == pytest.approx(float(oracle.alpha_))
    assert penalties[0] < result < penalties[-1]


def test_a4_ridge_with_more_columns_than_samples(tmp_path: Path) -> None:
    x = torch.randn(40, 60, generator=seeded(), dtype=torch.float64)
    run = train(numbers(x, x[:, 0] * 3 + 1), model="ridge", out=tmp_path / "run")
    assert run.metrics["mean absolute error"].value is not None
    assert file_io.read_json(tmp_path / "run" / "metrics.json")["notes"]["penalty"] > 0


# -- A6 Gaussian classes ---------------------------------------------------------------------------------------------


def gaussian_classes(count: int = 400, class_count: int = 3) -> tuple[Tensor, Tensor]:
    """Samples (N, 3) of Gaussian classes of different size with a shared covariance."""
    y = torch.multinomial(torch.tensor([0.5, 0.3, 0.2])[:class_count], count, replacement=True, generator=seeded())
    mixing = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, -0.3], [0.0, 0.0, 0.4]], dtype=torch.float64)
    means = torch.randn(class_count, 3, generator=seeded(2), dtype=torch.float64)
    return torch.randn(count, 3, generator=seeded(1), dtype=torch.float64) @ mixing + means[y], y


@pytest.mark.parametrize("class_count", [2, 3])
def test_a6_the_linear_functions_give_the_posterior_of_bayes_rule(class_count: int) -> None:
    from scipy.stats import multivariate_normal

    x, y = gaussian_classes(class_count=class_count)
    means = torch.stack([x[y == k].mean(0) for k in range(class_count)])
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
    if class_count == 2:  # the form of the lecture
        inverse = torch.linalg.inv(covariance)
        between = inverse @ (means[0] - means[1])
        offset = (
            -0.5 * means[0] @ inverse @ means[0] + 0.5 * means[1] @ inverse @ means[1] + torch.log(prior[0] / prior[1])
        )
        assert torch.allclose(w[0] - w[1], between, atol=1e-12)
        assert np.abs(torch.sigmoid(x @ between + offset).numpy() - bayes[:, 0]).max() < 1e-12


@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 1.0])
def test_a6_lda_matches_scikit_learn(shrinkage: float, tmp_path: Path) -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    x, y = gaussian_classes()
    data = classes(x, y, 3)
    run = train(data, model="lda", shrinkage=shrinkage, out=tmp_path / "run")
    assert isinstance(run.model, LinearDiscriminant)
    ids = data.splits["train"]
    mean, std = x[ids].mean(0), x[ids].std(0, correction=0)
    standard = ((x - mean) / std).numpy()
    prior = torch.bincount(y[ids]).double() / len(ids)
    covariance = np.zeros((3, 3))
    for k in range(3):  # scikit-learn shrinks the covariance of each class, Snellen their sum
        class_samples = standard[ids[y[ids] == k].numpy()]
        covariance += float(prior[k]) * np.cov(class_samples.T, bias=True)
    oracle = LinearDiscriminantAnalysis(solver="lsqr").fit(standard[ids.numpy()], y[ids].numpy())
    if shrinkage == 0:
        assert np.allclose(oracle.covariance_, covariance, atol=1e-12)
        assert np.abs(run.model.scores(x).softmax(1).numpy() - oracle.predict_proba(standard)).max() < 1e-5
    shrunk_covariance = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / 3 * np.eye(3)
    means = torch.tensor(np.stack([standard[ids[y[ids] == k].numpy()].mean(0) for k in range(3)]))
    w, w0 = discriminant(means, torch.tensor(shrunk_covariance), prior)
    expected = (torch.tensor(standard) @ w.T + w0).softmax(1)
    assert torch.allclose(run.model.scores(x).softmax(1), expected, atol=1e-5)


def test_a6_the_shrinkage_matches_ledoit_and_wolf() -> None:
    from sklearn.covariance import ledoit_wolf_shrinkage

    for count in (8, 50, 1000):
        x, _ = gaussian_classes(count, class_count=1)
        x = x - x.mean(0)
        fourth_moment = float(x.square().sum(1).square().mean())
        shrinkage = ledoit_wolf(x.T @ x / count, fourth_moment, count)
        assert shrinkage == pytest.approx(float(ledoit_wolf_shrinkage(x.numpy(), assume_centered=True)), rel=1e-9)


def test_a6_lda_with_a_singular_covariance(tmp_path: Path) -> None:
    x, y = gaussian_classes(60)
    wide = torch.cat([x, x, torch.ones(60, 200, dtype=torch.float64)], dim=1)  # duplicate and constant columns
    with pytest.raises(UsageError, match="covariance of 206 columns has no inverse with --shrinkage 0"):
        train(classes(wide, y, 3), model="lda", shrinkage=0.0, out=tmp_path / "none")
    run = train(classes(wide, y, 3), model="lda", out=tmp_path / "run")
    plain = train(classes(x, y, 3), model="lda", out=tmp_path / "plain")
    assert run.metrics["accuracy"].value == pytest.approx(plain.metrics["accuracy"].value or 0, abs=0.25)

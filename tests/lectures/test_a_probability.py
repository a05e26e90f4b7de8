"""Rows A8 and A9 of the lectures: maximum likelihood, and the rules of probability on a table of counts."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from raw_datasets import seeded
from scipy.stats import bernoulli, entropy, norm

from snellen.metrics.classification import accuracy, confusion_matrix, log_loss
from snellen.tasks.regress.least_squares import solve

# -- A8 maximum likelihood -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.05, 0.3, 0.5, 0.9])
def test_a8_the_log_loss_of_a_bernoulli_is_entropy_plus_divergence(p: float) -> None:
    """−1/N log Π p(x_i|θ) = H(p̂) + KL(p̂‖p_θ), p̂ the fraction of ones."""
    x = (torch.rand(200, generator=seeded()) < 0.37).long()
    fraction = float(x.double().mean())
    scores = torch.tensor([1 - p, p], dtype=torch.float64).log().expand(200, 2)
    loss = log_loss(scores, x).value
    assert loss is not None
    assert loss == pytest.approx(-bernoulli(p).logpmf(x.numpy()).mean(), abs=1e-12)
    empirical, model = [1 - fraction, fraction], [1 - p, p]
    assert loss == pytest.approx(entropy(empirical) + entropy(empirical, model), abs=1e-12)


def test_a8_the_likelihood_is_largest_where_the_parameter_is_the_mean() -> None:
    x = (torch.rand(50, generator=seeded(1)) < 0.6).double()
    logit = torch.zeros((), dtype=torch.float64, requires_grad=True)
    step = torch.optim.LBFGS([logit], max_iter=100, tolerance_grad=1e-12, tolerance_change=0)

    def loss() -> torch.Tensor:
        step.zero_grad()
        value = torch.nn.functional.binary_cross_entropy_with_logits(logit.expand(50), x)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    step.step(loss)  # type: ignore[no-untyped-call]
    assert float(torch.sigmoid(logit.detach())) == pytest.approx(float(x.mean()), abs=1e-9)


def test_a8_least_squares_is_maximum_likelihood_under_gaussian_noise() -> None:
    x = torch.randn(60, 2, generator=seeded(), dtype=torch.float64)
    t = x @ torch.tensor([[1.0], [-2.0]]).double() + 0.5 * torch.randn(60, 1, generator=seeded(1), dtype=torch.float64)
    w = solve(x, t)[0]

    def loss(w: torch.Tensor) -> float:
        predicted = x @ w[:-1] + w[-1]
        return float(-norm(predicted.numpy(), 0.5).logpdf(t[:, 0].numpy()).sum())

    lowest = loss(w)
    for k in range(3):
        for step in (1e-3, -1e-3):
            shifted = w.clone()
            shifted[k] += step
            assert loss(shifted) > lowest
        above, below = w.clone(), w.clone()
        above[k] += 1e-5
        below[k] -= 1e-5
        assert (loss(above) - loss(below)) / 2e-5 == pytest.approx(0, abs=1e-5)


# -- A9 sum, product and Bayes' rule ---------------------------------------------------------------------------------


def test_a9_the_rules_of_probability_hold_exactly_on_a_table_of_counts() -> None:
    truth = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2])
    predicted = torch.tensor([0, 0, 1, 2, 1, 1, 0, 2, 2, 2, 1, 0])
    counts = confusion_matrix(truth, predicted, 3).tolist()
    total = len(truth)
    joint = [[Fraction(n, total) for n in row] for row in counts]  # p(c, a): true and predicted class
    class_probability = [sum(row, Fraction(0)) for row in joint]  # the sum rule
    prediction_probability = [sum((row[a] for row in joint), Fraction(0)) for a in range(3)]
    assert class_probability == [Fraction(4, 12), Fraction(3, 12), Fraction(5, 12)]
    assert sum(prediction_probability) == 1
    given_class = [[p / class_probability[c] for p in row] for c, row in enumerate(joint)]  # p(a|c), conditional
    for a in range(3):
        evidence = sum((given_class[c][a] * class_probability[c] for c in range(3)), Fraction(0))
        assert evidence == prediction_probability[a]
        posterior = [given_class[c][a] * class_probability[c] / evidence for c in range(3)]  # Bayes
        assert sum(posterior) == 1
        assert posterior == [Fraction(counts[c][a], sum(row[a] for row in counts)) for c in range(3)]
        for c in range(3):
            assert joint[c][a] == given_class[c][a] * class_probability[c]  # the product rule
    correct = sum((joint[c][c] for c in range(3)), Fraction(0))
    assert accuracy(truth, predicted).value == float(correct)
    assert np.isclose(float(given_class[2][2]), 3 / 5)

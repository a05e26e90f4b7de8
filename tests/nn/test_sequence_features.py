"""Summary features of sequences against NumPy and SciPy, several lengths, and the linear models on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import periodogram
from scipy.stats import linregress
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor

from snellen.nn import sequence_features
from snellen.nn.sequence_features import STATISTICS, summary_features
from snellen.nn.summary_linear import SummaryLinear
from snellen.tasks.classify.summary_features import softmax_weights
from snellen.tasks.regress.ridge import ridge_weights, standardized_svd

LENGTHS = [12, 7, 2, 1, 12]


def sequences() -> Tensor:
    x = torch.randn(5, 12, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[4, :, 1] = 0.1  # constant
    for k, length in enumerate(LENGTHS):
        x[k, length:] = torch.nan
    return x


def expected_row(v: np.ndarray) -> list[float]:
    power = periodogram(v, detrend="constant", scaling="spectrum")[1][1:] if len(v) > 1 else np.zeros(1)
    frequency = np.fft.rfftfreq(len(v))[1:] if len(v) > 1 else np.zeros(1)
    moves = np.ptp(v) > 0
    return [
        v.mean(),
        v.std() if moves else 0,
        v.min(),
        v.max(),
        v[0],
        v[-1],
        linregress(np.arange(len(v)), v).slope if len(v) > 1 else 0,
        np.abs(np.diff(v)).mean() if len(v) > 1 else 0,
        frequency[power.argmax()] if moves else 0,
        power.max() / power.sum() if moves else 0,
    ]


def test_features_are_those_of_numpy_and_scipy() -> None:
    x = sequences()
    rows = summary_features(x).numpy()
    for k, length in enumerate(LENGTHS):
        expected = np.array([expected_row(x[k, :length, d].numpy()) for d in range(2)]).T  # (statistics, D)
        np.testing.assert_allclose(rows[k, :-1].reshape(len(STATISTICS), 2), expected, rtol=0, atol=1e-12)
        assert rows[k, -1] == length


def test_padding_changes_no_feature_and_the_exported_form_is_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    x = sequences()
    longer = torch.cat([x, torch.full((5, 4, 2), torch.nan)], 1)
    torch.testing.assert_close(summary_features(longer), summary_features(x), rtol=0, atol=1e-12)
    whole = x[[0, 4]]
    expected = summary_features(whole)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    torch.testing.assert_close(sequence_features.summary_features(whole), expected, rtol=0, atol=1e-12)


def test_a_sine_has_its_frequency() -> None:
    t = torch.arange(40, dtype=torch.float64)
    row = summary_features(torch.sin(2 * torch.pi * 0.15 * t)[None, :, None])[0]
    assert float(row[8]) == pytest.approx(0.15)
    assert float(row[9]) == pytest.approx(1)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_linear_models_are_those_of_scikit_learn(classes: int) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(80, 9, 2, generator=generator, dtype=torch.float64)
    y = torch.randint(0, classes, (80,), generator=generator)
    x[:, :, 0] += y[:, None]
    model = SummaryLinear(2, classes)
    phi = model.fit_statistics(x)
    raw = summary_features(x).numpy()
    np.testing.assert_allclose(phi[:, :-1].numpy(), (raw - raw.mean(0))[:, :-1] / raw.std(0)[:-1], atol=1e-10)
    assert float(phi[:, -1].abs().max()) == 0  # all have one length
    model.w.copy_(softmax_weights(phi, y, classes, 2.0))
    # Of two classes, scikit-learn has one vector of weights, the difference of the two here: half the penalty.
    oracle = LogisticRegression(C=1.0 if classes == 2 else 0.5, tol=1e-10, max_iter=5000).fit(phi.numpy(), y.numpy())
    p = model(x).softmax(1).numpy()
    np.testing.assert_allclose(p, oracle.predict_proba(phi.numpy()), rtol=0, atol=1e-4)
    t = torch.randn(80, 1, generator=generator, dtype=torch.float64)
    model = SummaryLinear(2, 1)
    phi = model.fit_statistics(x)
    model.w.copy_(ridge_weights(standardized_svd(phi), t, 3.0))
    predicted = Ridge(alpha=3.0).fit(phi[:, :-1].numpy(), t[:, 0].numpy()).predict(phi[:, :-1].numpy())
    np.testing.assert_allclose(model(x)[:, 0].numpy(), predicted, rtol=0, atol=1e-9)

"""Decision trees as tensors: the decisions of scikit-learn, also at thresholds and for missing values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

from snellen.core.errors import DataError
from snellen.core.spec import Input
from snellen.nn.trees import (
    Forest,
    TreeEnsemble,
    boosting_base,
    boosting_rounds,
    forest_trees,
    leaf_only,
    round_down,
)


def table(rows: int, seed: int, missing: bool, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Five columns: continuous, integers, halves, one in large units, a constant; and a number that depends on them."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, 5))
    x[:, 1] = generator.integers(0, 6, rows)
    x[:, 2] = generator.integers(0, 9, rows) / 2
    x[:, 3] = 1e6 + 1e3 * x[:, 3]
    x[:, 4] = 7
    y = x[:, 0] * (x[:, 1] > 2) + np.sin(x[:, 2]) + (x[:, 3] > 1e6) + 0.1 * generator.normal(size=rows)
    x = x.astype(dtype)
    if missing:
        x[generator.random(x.shape) < 0.2] = np.nan
        x[:, 4] = 7
    return x, y


def queries(estimator_x: np.ndarray, thresholds: np.ndarray, seed: int) -> np.ndarray:
    """Rows like those of training, and rows of thresholds and of the numbers just below and above them."""
    generator = np.random.default_rng(seed)
    dtype = estimator_x.dtype
    near = [thresholds.astype(dtype)]
    near += [np.nextafter(near[0], dtype.type(end)) for end in (-np.inf, np.inf)]
    values = np.concatenate([part[np.isfinite(near[0])] for part in near])
    at_thresholds = generator.choice(values, size=(2000, estimator_x.shape[1]))
    return np.concatenate([estimator_x, at_thresholds, *[np.full((1, estimator_x.shape[1]), v) for v in (-1e9, 1e9)]])


def boosted(estimator: Any, outputs: int, dtype: torch.dtype) -> TreeEnsemble:
    ensemble = TreeEnsemble(5, outputs, dtype, torch.empty(0, 1, dtype=torch.float64))
    ensemble.set_trees([tree for trees in boosting_rounds(estimator) for tree in trees])
    ensemble.base.copy_(boosting_base(estimator))
    return ensemble


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", ["number", "two classes", "four classes"])
def test_boosted_trees_decide_as_scikit_learn(target: str, dtype: str, missing: bool) -> None:
    x, y = table(600, 0, missing, dtype)
    settings: dict[str, Any] = {"max_iter": 30, "early_stopping": False, "random_state": 0}
    estimator: Any
    if target == "number":
        estimator, outputs = HistGradientBoostingRegressor(**settings).fit(x, y), 1
    else:
        classes = {"two classes": 2, "four classes": 4}[target]
        edges = np.quantile(y, np.arange(1, classes) / classes)
        estimator, outputs = HistGradientBoostingClassifier(**settings).fit(x, np.digitize(y, edges)), classes
    ensemble = boosted(estimator, 1 if outputs == 2 else outputs, getattr(torch, dtype))
    thresholds = np.concatenate([p.nodes["num_threshold"] for trees in estimator._predictors for p in trees])
    q = queries(x, thresholds, 1)
    if missing:
        q = np.concatenate([q, np.full((1, 5), np.nan)])
    expected = estimator.predict(q) if target == "number" else estimator.decision_function(q)
    assert np.allclose(ensemble(torch.from_numpy(q)).numpy().squeeze(), expected, rtol=0, atol=1e-12)
    assert ensemble.rounds == 30
    assert ensemble.comparisons == ensemble.trees * max(
        p.get_max_depth() for trees in estimator._predictors for p in trees
    )


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", ["number", "two numbers", "three classes"])
def test_random_forests_decide_as_scikit_learn(target: str, dtype: str, missing: bool) -> None:
    x, y = table(400, 0, missing, dtype)
    estimator: Any
    if target == "three classes":
        estimator = RandomForestClassifier(20, random_state=0).fit(x, np.digitize(y, np.quantile(y, [0.3, 0.6])))
        outputs, value_dtype = 3, torch.float32
    else:
        outputs, value_dtype = (1 if target == "number" else 2), torch.float64
        numbers = y if outputs == 1 else np.stack([y, 1e6 * y**2], axis=1)
        estimator = RandomForestRegressor(20, random_state=0).fit(x, numbers)
    forest = Forest(Input(modality="vector", shape=(5,), dtype=dtype), outputs, value_dtype)
    forest.trees.set_trees(forest_trees(estimator, outputs))
    thresholds = np.concatenate([one.tree_.threshold[one.tree_.feature >= 0] for one in estimator.estimators_])
    q = queries(x, thresholds, 1)
    expected = estimator.predict_proba(q) if target == "three classes" else estimator.predict(q).reshape(-1, outputs)
    atol = 1e-7 if target == "three classes" else 1e-9 * np.abs(expected).max()
    assert np.allclose(forest(torch.from_numpy(q)).numpy(), expected, rtol=0, atol=atol)


def test_a_class_without_a_sample_has_the_fraction_zero() -> None:
    x, y = table(200, 0, False, "float32")
    estimator = RandomForestClassifier(5, random_state=0).fit(x, np.where(y > 0, 3, 1))
    forest = Forest(Input(modality="vector", shape=(5,)), 5, torch.float32)
    forest.trees.set_trees(forest_trees(estimator, 5))
    fractions = forest(torch.from_numpy(x)).numpy()
    assert np.allclose(fractions[:, [1, 3]], estimator.predict_proba(x))
    assert not fractions[:, [0, 2, 4]].any()


@given(
    threshold=st.floats(allow_nan=False),
    value=st.floats(allow_nan=False, width=32),
    steps=st.integers(-2, 2),
)
def test_comparisons_with_a_rounded_threshold_are_those_with_the_threshold(
    threshold: float, value: float, steps: int
) -> None:
    near = np.float32(np.clip(threshold, -3e38, 3e38))
    for _ in range(abs(steps)):
        near = np.nextafter(near, np.float32(np.copysign(np.inf, steps)))
    rounded = float(round_down(torch.tensor([threshold], dtype=torch.float64), torch.float32))
    for x in (value, float(near)):
        assert (x > rounded) == (x > threshold)


def test_without_trees_the_prediction_is_the_base() -> None:
    ensemble = TreeEnsemble(3, 2, torch.float32, torch.empty(0, 1))
    ensemble.base.copy_(torch.tensor([1.0, 2.0]))
    assert ensemble(torch.zeros(4, 3)).tolist() == [[1.0, 2.0]] * 4
    ensemble.set_trees([leaf_only(1)] * 4)
    assert (ensemble.trees, ensemble.levels, ensemble.rounds) == (4, 0, 2)
    assert ensemble(torch.zeros(4, 3)).tolist() == [[1.0, 2.0]] * 4


def test_rows_of_a_large_batch_are_predicted_alike() -> None:
    x = torch.randn(600, 5, generator=torch.Generator().manual_seed(0))
    ensemble = fitted()
    assert torch.equal(ensemble(x), torch.cat([ensemble(row) for row in x.split(1)]))
    assert ensemble(x[:0]).shape == (0, 1)


def fitted(trees: int = 3) -> TreeEnsemble:
    x, y = table(100, 0, False, "float32")
    estimator = HistGradientBoostingRegressor(max_iter=trees, early_stopping=False, random_state=0).fit(x, y)
    return boosted(estimator, 1, torch.float32)


def test_loaded_trees_are_counted_again() -> None:
    original, loaded = fitted(), fitted(1)
    for name in TreeEnsemble.variable_length:
        setattr(loaded, name, torch.empty_like(getattr(original, name)))
    loaded.load_state_dict(original.state_dict())
    assert (loaded.trees, loaded.levels) == (original.trees, original.levels) == (3, original.levels)
    x = torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded(x), original(x))


@pytest.mark.parametrize("fault", ["cycle", "far child", "shared child", "column", "negative column"])
def test_nodes_that_are_no_trees_are_rejected(fault: str) -> None:
    ensemble = fitted()
    state = {name: tensor.clone() for name, tensor in ensemble.state_dict().items()}
    inner = int((state["child"] != torch.arange(len(state["child"]))).nonzero()[-1])
    if fault == "column":
        state["feature"][0] = 10
    elif fault == "negative column":
        state["feature"][0] = -1
    else:
        last = len(state["child"])
        state["child"][inner] = {"cycle": 0, "far child": last + 5, "shared child": state["child"][0]}[fault]
    with pytest.raises(DataError, match="no decision trees"):
        ensemble.load_state_dict(state)

"""Effects of settings: sums of squares by least squares, the noncentral F distribution of scipy, noise."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from snellen.metrics.effects import effects


def indicators(column: list[str]) -> np.ndarray:
    return np.array([[float(value == other) for other in sorted(set(column))[1:]] for value in column])


def grid(*levels: str) -> tuple[dict[str, np.ndarray], list[tuple[str, ...]]]:
    cells = list(itertools.product(*levels))
    return {str(k): indicators([cell[k] for cell in cells]) for k in range(len(levels))}, cells


def test_f_and_omega_squared_of_a_grid_by_its_means() -> None:
    """In a complete grid the sum of squares of a setting is that of its means; chance is cells × seeds."""
    factors, cells = grid("abc", "xy")
    y = np.random.default_rng(0).normal(size=(6, 4)) + np.array([[ord(a) / 2] for a, _ in cells])
    y += np.array([3.0, -1.0, 0.5, 8.0])  # what a seed does to every cell
    found = effects(factors, y, replicated=True)
    assert found is not None
    means = y.mean(1)
    chance = ((y - means[:, None] - y.mean(0) + y.mean()) ** 2).sum() / (5 * 3)
    total = 4 * ((means - y.mean()) ** 2).sum() + 15 * chance
    for k, name in enumerate(("0", "1")):
        by_value = [means[[c[k] == value for c in cells]] for value in sorted({c[k] for c in cells})]
        square = 4 * sum(len(group) * (group.mean() - y.mean()) ** 2 for group in by_value)
        df = len(by_value) - 1
        assert found[name].chance == pytest.approx(stats.f.sf(square / df / chance, df, 15))
        assert found[name].fraction == pytest.approx(max(0, square - df * chance) / (total + chance))


def test_one_setting_equals_one_way_anova_with_the_interval_of_the_noncentral_f_distribution() -> None:
    """Without blocks: chance is the residual of the values, each a cell; ω² is λ / (λ + N)."""
    column = [c for c in "abcd" for _ in range(6)]
    y = np.random.default_rng(1).normal(size=24) + np.array([1.5 * ord(c) for c in column])
    found = effects({"a": indicators(column)}, y[:, None], replicated=False)
    assert found is not None
    ratio, p = stats.f_oneway(*(y[[c == v for c in column]] for v in "abcd"))
    assert found["a"].chance == pytest.approx(p)
    for fraction, level in ((found["a"].low, 0.975), (found["a"].high, 0.025)):
        noncentrality = 24 * fraction / (1 - fraction)
        assert stats.ncf.cdf(ratio, 3, 20, noncentrality) == pytest.approx(level, abs=1e-6)


@pytest.mark.parametrize("noncentrality", [0.01, 0.5, 3.0, 40.0])
def test_the_limits_of_the_interval_are_those_of_the_noncentral_f_distribution_near_zero_too(
    noncentrality: float,
) -> None:
    """The cells are moved apart until F is the 97.5 % quantile for this noncentrality, which is then the lower limit;
    at the 2.5 % quantile it is the upper one."""
    column = [c for c in "abcd" for _ in range(6)]
    rest = np.random.default_rng(5).normal(size=(4, 6))
    rest -= rest.mean(1, keepdims=True)
    shift = np.array([-3.0, -1.0, 1.0, 3.0])[:, None]
    ratio_of_one = 6 * (shift**2).sum() / 3 / ((rest**2).sum() / 20)
    for level, end in ((0.975, "low"), (0.025, "high")):
        ratio = stats.ncf.ppf(level, 3, 20, noncentrality)
        y = rest + shift * (ratio / ratio_of_one) ** 0.5
        found = effects({"a": indicators(column)}, y.reshape(-1, 1), replicated=False)
        assert found is not None
        expected = noncentrality / (noncentrality + 24)
        assert getattr(found["a"], end) == pytest.approx(expected, rel=1e-4), end


@pytest.mark.parametrize(("levels", "replicates"), [(("ab",), 5), (("ab", "xy"), 3), (("abcd", "xyz"), 1)])
def test_noise_matters_in_five_percent_of_the_tests_and_its_interval_begins_at_zero(
    levels: tuple[str, ...], replicates: int
) -> None:
    factors, cells = grid(*levels)
    rng = np.random.default_rng(2)
    significant, from_zero, tests = 0, 0, 0
    for _ in range(400):
        y = rng.normal(size=(len(cells), replicates)) + 5 * rng.normal(size=(1, replicates))
        found = effects(factors, y, replicates > 1)
        assert found is not None
        for effect in found.values():
            significant += effect.chance < 0.05
            from_zero += effect.low == 0
            tests += 1
    assert significant / tests < 0.05 + 3 * (0.05 * 0.95 / tests) ** 0.5
    assert significant > 0
    assert from_zero / tests > 0.975 - 3 * (0.025 * 0.975 / tests) ** 0.5


@pytest.mark.parametrize(("levels", "replicates"), [(("ab",), 5), (("abc", "xy"), 4)])
def test_the_interval_holds_the_fraction_of_the_population(levels: tuple[str, ...], replicates: int) -> None:
    factors, cells = grid(*levels)
    shift = np.array([ord(cell[0]) for cell in cells], dtype=np.float64)
    shift -= shift.mean()
    truth = (shift**2).mean() / ((shift**2).mean() + 1)
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(400):
        found = effects(factors, shift[:, None] + rng.normal(size=(len(cells), replicates)), replicated=True)
        assert found is not None
        covered += found["0"].low <= truth <= found["0"].high
    assert 0.95 - 3 * (0.05 * 0.95 / 400) ** 0.5 < covered / 400 < 1


def test_dependent_replicates_count_for_less() -> None:
    factors, _ = grid("ab")
    y = np.random.default_rng(4).normal(size=(2, 5)) + np.array([[0.0], [2.0]])
    independent, dependent = (effects(factors, y, True, factor) for factor in (1.0, 2.25))
    assert independent is not None
    assert dependent is not None
    t, p = stats.ttest_rel(y[0], y[1])
    assert independent["0"].chance == pytest.approx(p)
    assert dependent["0"].chance == pytest.approx(2 * stats.t.sf(abs(t) / 1.5, 4))


def test_nothing_measures_chance_with_one_value_for_each_cell_or_without_any_variation() -> None:
    factors, _ = grid("ab")
    assert effects(factors, np.array([[0.1], [0.2]]), replicated=False) is None
    assert effects(factors, np.array([[0.1, 0.1], [0.2, 0.2]]), replicated=True) is None
    assert effects({}, np.array([[0.1, 0.2]]), replicated=False) is None

"""Splits: disjoint, complete, grouped, stratified, reproducible."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snellen.core.errors import UsageError
from snellen.core.spec import Classes, Input, Numbers
from snellen.data.check.groups import split_size_findings
from snellen.data.dataset import SPLITS, RawDataset
from snellen.data.formats import OpenOptions
from snellen.data.source import ArraySource
from snellen.data.splits import SPLIT_FRACTIONS, make_splits


def raw_dataset(truth: list[int], groups: list[int] | None = None, given_splits: list[int] | None = None) -> RawDataset:
    return RawDataset(
        source=ArraySource(torch.zeros(len(truth), 2)),
        inputs={"x": Input(modality="vector", shape=(2,))},
        target=Classes(names=tuple(str(k) for k in range(max(truth) + 1))),
        truth=torch.tensor(truth),
        groups=None if groups is None else np.array(groups),
        recognised_as="numbers",
        given_splits=None if given_splits is None else np.array(given_splits),
    )


labels = st.lists(st.integers(0, 3), min_size=8, max_size=80)


@settings(max_examples=60)
@given(truth=labels, data=st.data(), seed=st.integers(0, 5), folds=st.sampled_from([None, 2, 3, 5]))
def test_every_sample_is_in_one_split_and_no_group_in_two(
    truth: list[int], data: st.DataObject, seed: int, folds: int | None
) -> None:
    groups = data.draw(st.lists(st.integers(0, 20), min_size=len(truth), max_size=len(truth)))
    for fold in range(folds or 1):
        try:
            splits = make_splits(raw_dataset(truth, groups), seed, folds, fold)
        except UsageError as error:  # a fold would have no group
            assert folds is not None
            assert len(set(groups)) < folds, error  # noqa: PT017 (others must not fail)
            return
        assert set(splits) == set(SPLITS)
        assert torch.cat(list(splits.values())).sort().values.tolist() == list(range(len(truth)))
        assert all((ids[1:] > ids[:-1]).all() for ids in splits.values())
        members = [{groups[int(i)] for i in ids} for ids in splits.values()]
        assert not members[0] & members[1]
        assert not members[1] & members[2]
        assert not members[0] & members[2]


@settings(max_examples=60)
@given(truth=labels, seed=st.integers(0, 5))
def test_counts_are_exact_within_each_class(truth: list[int], seed: int) -> None:
    splits = make_splits(raw_dataset(truth), seed)
    for label in set(truth):
        total = truth.count(label)
        for fraction, name in zip((0.70, 0.15, 0.15), SPLITS, strict=True):  # as in the guide to data
            count = sum(truth[int(i)] == label for i in splits[name])
            assert abs(count - fraction * total) <= 1 + (total < 8)


@settings(max_examples=40)
@given(truth=labels, folds=st.sampled_from([2, 3, 5]))
def test_folds_test_every_sample_once_and_evenly(truth: list[int], folds: int) -> None:
    tests = [make_splits(raw_dataset(truth), 0, folds, fold)["test"] for fold in range(folds)]
    assert torch.cat(tests).sort().values.tolist() == list(range(len(truth)))
    for label in set(truth):
        for ids in tests:
            assert abs(sum(truth[int(i)] == label for i in ids) - truth.count(label) / folds) <= 1


def test_a_tenth_of_the_other_folds_is_held_out_for_validation() -> None:
    """And another tenth in every fold: the draw depends on the fold."""
    splits = [make_splits(raw_dataset([0, 1] * 100), 0, 4, fold) for fold in range(4)]
    assert [[len(s[name]) for name in SPLITS] for s in splits] == [[135, 15, 50]] * 4  # of 75 per class, 7 and 8
    validation = [set(s["val"].tolist()) for s in splits]
    assert len(set.union(*validation)) > 30
    large = make_splits(raw_dataset([0] * 80_000), 0, 4, 1)
    assert [len(large[name]) for name in SPLITS] == [55_000, 5000, 20_000]


def test_at_most_5000_samples_of_a_given_training_split_are_held_out_for_each_missing_split() -> None:
    """A tenth of fewer than 50,000."""
    for count, held_out in ((100_000, 5000), (40_000, 4000)):
        splits = make_splits(raw_dataset([0] * count, given_splits=[0] * count))
        assert [len(splits[name]) for name in SPLITS] == [count - 2 * held_out, held_out, held_out]
        splits = make_splits(raw_dataset([0] * (count + 10), given_splits=[0] * count + [1] * 10))
        assert [len(splits[name]) for name in SPLITS] == [count - held_out, 10, held_out]


def test_data_whose_splits_are_the_same_samples_has_no_folds() -> None:
    same = dataclasses.replace(raw_dataset([0, 1] * 4), same_samples=True)
    assert [ids.tolist() for ids in make_splits(same).values()] == [list(range(8))] * 3
    with pytest.raises(UsageError, match="has its own splits"):
        make_splits(same, 0, 2)


def test_folds_of_numbers_need_no_classes() -> None:
    numbers = RawDataset(
        source=ArraySource(torch.zeros(20, 2)),
        inputs={"x": Input(modality="vector", shape=(2,))},
        target=Numbers(names=("y",)),
        truth=torch.zeros(20, 1),
        recognised_as="numbers",
    )
    assert [len(make_splits(numbers, 0, 5, fold)["test"]) for fold in range(5)] == [4] * 5


def test_seeds_differ_and_repeat() -> None:
    truth = [0, 1] * 50
    assert torch.equal(make_splits(raw_dataset(truth), 3)["test"], make_splits(raw_dataset(truth), 3)["test"])
    assert not torch.equal(make_splits(raw_dataset(truth), 3)["test"], make_splits(raw_dataset(truth), 4)["test"])


def test_given_splits_are_respected_and_completed() -> None:
    truth = [0, 1] * 100
    splits = make_splits(raw_dataset(truth, given_splits=[0] * 150 + [2] * 50))
    assert splits["test"].tolist() == list(range(150, 200))
    assert len(splits["val"]) == 15 or abs(len(splits["val"]) - 15) <= 1
    assert set(splits["val"].tolist()) < set(range(150))


@pytest.mark.parametrize(("folds", "fold"), [(1, 0), (9, 0), (3, 3), (3, -1)])
def test_impossible_folds_are_an_error(folds: int, fold: int) -> None:
    with pytest.raises(UsageError, match="Cannot make"):
        make_splits(raw_dataset([0, 1] * 4), 0, folds, fold)


def test_folds_with_given_splits_are_an_error() -> None:
    with pytest.raises(UsageError, match="has its own splits"):
        make_splits(raw_dataset([0, 1] * 4, given_splits=[0] * 6 + [2] * 2), 0, 2)
    assert len(make_splits(raw_dataset([0, 1] * 4, given_splits=[0] * 8), 0, 2)["test"]) == 4


def test_folds_without_a_sample_are_refused() -> None:
    with pytest.raises(UsageError, match="2 of them would be empty"):
        make_splits(raw_dataset([0, 1] * 5, [0] * 10), 0, 3, 0)


@pytest.mark.parametrize(("classes", "each"), [(60, 2), (600, 2), (2, 2), (3, 2), (30, 3), (5, 1)])
def test_tiny_classes_leave_no_split_empty_and_every_class_in_training(classes: int, each: int) -> None:
    """Case tiny-split: split by themselves, classes of two samples would leave the test split empty."""
    truth = [k for k in range(classes) for _ in range(each)]
    splits = make_splits(raw_dataset(truth))
    assert torch.cat(list(splits.values())).sort().values.tolist() == list(range(len(truth)))
    if each == 1:  # no class can spare a sample
        assert len(splits["train"]) == classes
        return
    assert {truth[int(i)] for i in splits["train"]} == set(range(classes))
    assert len(splits["val"]) >= 1
    assert len(splits["test"]) >= 1
    if classes >= 60:
        assert len(splits["test"]) == round(0.15 * len(truth))


def test_two_classes_of_two_samples_among_single_ones_give_one_to_validation_and_one_to_test() -> None:
    """15 % of 24 samples are four, but only two can be spared."""
    truth = [*range(20), 20, 20, 21, 21]
    splits = make_splits(raw_dataset(truth))
    assert [len(splits[name]) for name in SPLITS] == [22, 1, 1]
    assert {truth[int(i)] for i in splits["train"]} == set(range(22))


@pytest.mark.parametrize("seed", range(12))
def test_folds_of_unequal_groups_are_even_up_to_one_group(seed: int) -> None:
    """Six groups of 50 samples and 40 of one: dealt in turn, a fold could hold all six."""
    groups = [k // 50 for k in range(300)] + list(range(6, 46))
    for fold in range(2):
        test = make_splits(raw_dataset([0] * 340, groups), seed, 2, fold)["test"]
        assert abs(len(test) - 170) <= 25  # a group goes where its middle lies


@pytest.mark.parametrize("rounding", [1, 2])
def test_three_groups_of_all_classes_give_one_to_each_split(rounding: Literal[1, 2]) -> None:
    splits = make_splits(raw_dataset([0, 1, 2] * 15, [k // 15 for k in range(45)]), rounding=rounding)
    assert sorted(len(ids) for ids in splits.values()) == [15, 15, 15]


def split_sizes(truth: list[int], seed: int, **options: int) -> np.ndarray:
    """(classes, splits) numbers of samples."""
    splits = make_splits(raw_dataset(truth), seed, **options)  # type: ignore[arg-type]
    classes = max(truth) + 1
    return np.array([np.bincount([truth[int(i)] for i in splits[name]], minlength=classes) for name in SPLITS]).T


@settings(max_examples=60)
@given(sizes=st.lists(st.integers(6, 60), min_size=1, max_size=40), seed=st.integers(0, 50))
def test_totals_and_classes_are_within_rounding_of_the_fractions(sizes: list[int], seed: int) -> None:
    counts = split_sizes([k for k, n in enumerate(sizes) for _ in range(n)], seed)
    quotas = np.array(sizes)[:, None] * np.array(SPLIT_FRACTIONS)
    assert (np.abs(counts - quotas) < 1 + 1e-9).all()
    assert (counts > 0).all()
    # A class of six has at least one in each split, though its fractions are 0.9: that adds up over many such classes.
    forced = sum(2 * (1 - 0.15 * n) for n in sizes if n < 7)
    assert (np.abs(counts.sum(0) - quotas.sum(0)) <= 1 + forced).all()


@pytest.mark.parametrize("each", [7, 10, 17, 30, 50, 90])
def test_rounding_favours_no_split(each: int) -> None:
    """One class alone, over many seeds: the mean number of samples of each split is its fraction."""
    seeds = 400
    counts = np.stack([split_sizes([0] * each, seed)[0] for seed in range(seeds)])
    quota = each * np.array(SPLIT_FRACTIONS)
    fraction = quota - np.floor(quota)
    if np.isclose(fraction[1:], 0.5).all():  # ties: equally often either
        assert np.abs(counts.mean(0) - quota).max() < 5 * 0.5 / np.sqrt(seeds)
    else:  # the largest remainders win
        assert counts[:, 1].mean() == pytest.approx(counts[:, 2].mean(), abs=5 * 0.5 / np.sqrt(seeds))


def test_no_class_is_favoured() -> None:
    """Of 20 classes of 30 samples, each has 4.5 validation samples on average over seeds."""
    seeds = 300
    counts = np.stack([split_sizes([k for k in range(20) for _ in range(30)], seed) for seed in range(seeds)])
    assert (counts.sum(1) == [420, 90, 90]).all()
    assert np.abs(counts[:, :, 1].mean(0) - 4.5).max() < 5 * 0.5 / np.sqrt(seeds)


def test_folds_are_equal_in_total() -> None:
    truth = [k for k in range(60) for _ in range(6)]
    sizes = [len(make_splits(raw_dataset(truth), 0, 5, fold)["test"]) for fold in range(5)]
    assert max(sizes) - min(sizes) <= 1


def test_the_former_rounding_is_kept_for_former_runs() -> None:
    """Splits of version 1, as the former code made them: the classes of 30 favoured validation."""
    truth = [k for k in range(3) for _ in range(30)]
    assert split_sizes(truth, 0, rounding=1).tolist() == [[21, 5, 4]] * 3
    former = make_splits(raw_dataset(truth), 0, rounding=1)
    assert former["test"].tolist() == [5, 14, 18, 22, 30, 36, 41, 44, 62, 68, 73, 81]
    assert split_sizes(truth, 0).sum(0).tolist() in ([63, 13, 14], [63, 14, 13])


def unequal_groups(classes: int, groups: int, low: int, high: int, seed: int) -> tuple[list[int], list[int]]:
    """Labels and groups: `groups` groups of each class, of low ... high samples."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(low, high + 1, classes * groups)
    return np.repeat(np.arange(classes * groups) // groups, sizes).tolist(), np.repeat(
        np.arange(classes * groups), sizes
    ).tolist()


@pytest.mark.parametrize(("groups", "low", "high"), [(10, 8, 8), (20, 1, 9), (5, 1, 9)])
def test_groups_favour_no_split(groups: int, low: int, high: int) -> None:
    """Over 200 seeds, 70/15/15 % to within two points, validation and test alike."""
    totals = np.zeros(3)
    for seed in range(200):
        labels, members = unequal_groups(4, groups, low, high, seed)
        totals += [len(ids) for ids in make_splits(raw_dataset(labels, members), seed).values()]
    fractions = totals / totals.sum()
    assert fractions == pytest.approx([0.70, 0.15, 0.15], abs=0.02)
    assert abs(fractions[1] - fractions[2]) < 0.01


def test_every_class_of_five_unequal_groups_is_in_every_split() -> None:
    for seed in range(50):
        labels, members = unequal_groups(4, 5, 1, 9, seed)
        for ids in make_splits(raw_dataset(labels, members), seed).values():
            assert {labels[int(id)] for id in ids} == {0, 1, 2, 3}


def test_a_group_above_its_share_goes_to_training_and_leaves_the_others_theirs() -> None:
    for seed in range(20):
        splits = make_splits(raw_dataset([0] * 300, [0] * 270 + list(range(1, 31))), seed)
        assert [len(splits[name]) for name in SPLITS] == [270, 15, 15]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("classes", [1, 2, 3])
def test_beside_a_group_larger_than_the_training_split_the_others_come_near_their_fractions(
    seed: int, classes: int
) -> None:
    groups = [0] * 270 + list(range(1, 31))
    splits = make_splits(raw_dataset([k % classes for k in range(300)], groups), seed)
    assert set(range(270)) <= set(splits["train"].tolist())
    assert min(len(splits["val"]), len(splits["test"])) >= 14  # 15 up to rounding


@pytest.mark.parametrize("truth", [[0] * 8 + [0, 1], [0] * 8 + [0, 0], [0] * 8 + [1, 2], [0] * 8 + [1, 1, 2]])
def test_a_large_group_leaves_no_split_empty(truth: list[int]) -> None:
    groups = [0] * 8 + list(range(1, len(truth) - 7))
    for seed in range(4):
        splits = make_splits(raw_dataset(truth, groups), seed)
        assert all(len(ids) for ids in splits.values())
        assert set(range(8)) <= set(splits["train"].tolist())


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    "sizes",
    [
        ((40, 5), (20, 10, 5, 5, 5, 5, 5)),  # a class of two groups, after one that filled the training split
        ((40, 38, 2), (1,) * 20),  # a class of three groups, which would be in one split each
        ((45, 3, 2), (30, 2, 2), (10, 3, 3)),
        ((40, 30, 20, 10),),
    ],
)
def test_a_group_of_twice_the_fraction_of_validation_or_test_is_learned(
    sizes: tuple[tuple[int, ...], ...], seed: int
) -> None:
    flat = [size for of_class in sizes for size in of_class]
    truth = np.repeat([k for k, of_class in enumerate(sizes) for _ in of_class], flat).tolist()
    groups = np.repeat(np.arange(len(flat)), flat).tolist()
    splits = make_splits(raw_dataset(truth, groups), seed)
    for name in ("val", "test"):
        assert 0 < len(splits[name]) <= 0.3 * len(truth), (name, len(splits[name]))


@pytest.mark.parametrize("seed", range(4))
def test_of_three_large_groups_the_largest_is_learned(seed: int) -> None:
    splits = make_splits(raw_dataset([0] * 100, [0] * 25 + [1] * 40 + [2] * 35), seed)
    assert [len(splits[name]) for name in SPLITS] in ([40, 25, 35], [40, 35, 25])


def test_folds_have_no_first_split() -> None:
    groups = [0] * 40 + list(range(1, 61))
    sizes = [len(make_splits(raw_dataset([0] * 100, groups), 0, 5, fold)["test"]) for fold in range(5)]
    assert sorted(sizes) == [15, 15, 15, 15, 40]


@pytest.mark.parametrize(
    ("given_splits", "message"),
    [
        ([0] * 20 + [1] * 5, "no test split: 4 of its 20 training"),
        ([0] * 25, "no val and no test split: 4 and 4 of its 25 training"),
        ([0] * 20 + [2] * 5, None),
        ([0] * 15 + [1] * 5 + [2] * 5, None),
    ],
)
def test_a_test_split_made_of_training_samples_is_noted(given_splits: list[int], message: str | None) -> None:
    raw = raw_dataset([0, 1, 2, 3, 1] * 5, given_splits=given_splits)
    findings = split_size_findings(raw, make_splits(raw), OpenOptions())
    assert [message is not None and message in finding.message for finding in findings] == [True] * (
        message is not None
    )

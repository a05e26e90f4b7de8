"""Batches as a function of the step: order, weights, augmentation, names."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_datasets import classes, seeded

from snellen.core.spec import Preprocessing
from snellen.data.augment.images import Augment
from snellen.data.batches import Batches
from snellen.data.dataset import Samples


def samples(count: int) -> Samples:
    return classes(torch.arange(count * 2.0).view(count, 2), torch.arange(count) % 2, 2, same=True).samples("train")


@given(st.integers(1, 70), st.integers(1, 20), st.integers(0, 3))
@settings(max_examples=60)
def test_an_epoch_has_every_sample_once_in_batches_of_two_or_more(count: int, size: int, epoch: int) -> None:
    batches = Batches(samples(count), size, seed=0)
    parts = [batches.positions(epoch * len(batches) + step) for step in range(len(batches))]
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(count))
    sizes = [len(part) for part in parts]
    assert set(sizes[:-1]) <= {size}
    assert sizes[-1] <= size + 1
    if count > 1 and size > 1:
        assert min(sizes) > 1


@pytest.mark.parametrize(("side", "expected"), [(64, 100), (160, 27), (192, 18), (3000, 1)])
def test_batches_in_order_hold_fewer_large_images(side: int, expected: int) -> None:
    small = classes(torch.zeros(200, 3, 2, 2, dtype=torch.uint8), torch.arange(200) % 2, 2, same=True).samples("train")
    resized = Samples(small.source, small.ids, small.y, Preprocessing(size=(side, side), channels=3), small.values)
    parts = list(resized.in_order(100))
    assert len(parts[0].y) == expected
    assert torch.equal(torch.cat([part.ids for part in parts]), small.ids)


def test_a_step_returns_the_same_batch_in_any_order() -> None:
    forwards, backwards = Batches(samples(50), 8, seed=3), Batches(samples(50), 8, seed=3)
    first = [forwards.at(step) for step in range(20)]
    second = [backwards.at(step) for step in reversed(range(20))][::-1]
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.y, b.y)
        assert torch.equal(a.ids, b.ids)


def test_inputs_targets_and_ids_belong_together() -> None:
    batch = Batches(samples(50), 8, seed=1).at(2)
    assert torch.equal(batch.x[:, 0], batch.ids * 2.0)
    assert torch.equal(batch.y, batch.ids % 2)


def test_epochs_and_seeds_have_different_orders() -> None:
    batches = Batches(samples(50), 50, seed=0)
    assert not torch.equal(batches.positions(0), batches.positions(1))
    assert not torch.equal(batches.positions(0), Batches(samples(50), 50, seed=1).positions(0))


def test_weights_set_the_sampling_frequency() -> None:
    weights = torch.ones(100)
    weights[:10] = 9.0  # a tenth of the samples, half of the draws
    batches = Batches(samples(100), 100, seed=0, weights=weights)
    sampled = torch.cat([batches.positions(step) for step in range(100)])
    assert float((sampled < 10).double().mean()) == pytest.approx(0.5, abs=0.02)
    assert len(set(sampled.tolist())) == 100


def test_augmentation_differs_by_epoch_and_repeats_for_the_same_step() -> None:
    x = torch.randint(256, (6, 1, 8, 8), generator=seeded(), dtype=torch.uint8)
    data = classes(x, torch.zeros(6), 1, same=True)
    batches = Batches(data.samples("train"), 6, 0, Augment(pad_crop=3))
    a, b, again = batches.at(0), batches.at(1), batches.at(0)
    assert torch.equal(a.x, again.x)
    assert not torch.equal(a.x[a.ids.argsort()], b.x[b.ids.argsort()])


def test_names_list_the_first_five_samples_of_a_batch() -> None:
    batches = Batches(samples(12), 7, seed=0)
    ids = batches.at(0).ids.tolist()
    assert batches.names(0) == ", ".join(f"sample {i}" for i in ids[:5]) + " and 2 more"

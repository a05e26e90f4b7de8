"""Sequences of several lengths in memory: length buckets, batches as long as their longest sequence, flat storage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import snellen
from snellen.api import RunOptions
from snellen.core import file_io
from snellen.core.random import permutation
from snellen.core.spec import Input, Preprocessing
from snellen.data.batches import POOL, Batches, length_buckets
from snellen.data.check.duplicates import exact_row_duplicates
from snellen.data.dataset import Samples
from snellen.data.flat_sequences import FlatSequences, RaggedSource, sequence_source
from snellen.data.open_dataset import dataset
from snellen.data.recording_windows import RecordingWindows
from snellen.nn.layers import Standardize
from snellen.training.supervised import SampleSplit


def sequences(lengths: Sequence[int], features: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(length, features, generator=generator) for length in lengths]


def samples(parts: list[Tensor]) -> Samples:
    source, ids = sequence_source(parts), torch.arange(len(parts))
    return Samples(source, ids, ids % 3, Preprocessing(), source.all(Preprocessing()))


def padded(parts: Sequence[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(parts), batch_first=True, padding_value=torch.nan)


def equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a.nan_to_num(1e9), b.nan_to_num(1e9))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=120), st.integers(1, 20), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_an_epoch_has_every_sequence_once_at_its_own_length(lengths: list[int], size: int, epoch: int) -> None:
    parts = sequences(lengths)
    batches = Batches(samples(parts), size, seed=1, group_by_length=epoch > 0)
    steps = [batches.at(epoch * len(batches) + step) for step in range(len(batches))]
    assert torch.equal(torch.cat([batch.ids for batch in steps]).sort().values, torch.arange(len(parts)))
    for step, batch in enumerate(steps):
        assert equal(batch.x, padded([parts[k] for k in batch.ids.tolist()]))
        assert torch.equal(batch.ids, batches.positions(epoch * len(batches) + step))
        assert torch.equal(batch.y, batch.ids % 3)


def test_batches_are_a_function_of_seed_and_epoch_and_hold_similar_lengths() -> None:
    lengths = torch.randint(10, 201, (2000,), generator=torch.Generator().manual_seed(0))
    order = permutation(2000, 7, "order", 3)
    buckets = length_buckets(order, lengths, 64, 7, 3)
    assert torch.equal(buckets, length_buckets(order, lengths, 64, 7, 3))
    assert not torch.equal(buckets, length_buckets(order, lengths, 64, 8, 3))

    def padding(order: Tensor) -> float:
        return sum(len(b) * int(lengths[b].max()) for b in torch.split(order, 64)) / int(lengths.sum())

    assert padding(order) > 1.7
    assert padding(buckets) < 1.1
    others = length_buckets(permutation(2000, 7, "order", 4), lengths, 64, 7, 4)
    together = {frozenset(b.tolist()) for b in torch.split(buckets, 64)}
    assert not together & {frozenset(b.tolist()) for b in torch.split(others, 64)}  # batches of other samples
    firsts = [int(lengths[b].max()) for b in torch.split(buckets, 64)]
    assert firsts != sorted(firsts)
    assert POOL * 64 < 2000


def test_the_order_of_all_other_data_is_the_permutation_of_the_epoch() -> None:
    """Vectors, images and sequences of one length: batches and their order are those of before length buckets."""
    for x in (torch.randn(50, 3), torch.randint(256, (50, 1, 4, 4), dtype=torch.uint8), torch.randn(50, 7, 2)):
        source = sequence_source(list(x)) if x.ndim == 3 else sequence_source([row[None] for row in x])
        assert not isinstance(source, RaggedSource)
        data = Samples(source, torch.arange(50), torch.arange(50), Preprocessing(), x)
        for epoch in range(2):
            expected = permutation(50, 4, "order", epoch)
            batches = Batches(data, 8, seed=4, group_by_length=True)
            steps = [batches.at(epoch * len(batches) + step) for step in range(len(batches))]
            assert torch.equal(torch.cat([b.ids for b in steps]), expected)
            assert torch.equal(torch.cat([b.x for b in steps]), x[expected])


def test_resident_and_read_batches_are_equal() -> None:
    parts = sequences([3, 9, 4, 4, 7, 1, 2, 8, 5])
    resident, source = samples(parts), sequence_source(parts)
    read = Samples(source, resident.ids, resident.y, Preprocessing(), None)
    for step in range(6):
        a, b = (Batches(one, 2, 0, group_by_length=True).at(step) for one in (resident, read))
        assert equal(a.x, b.x)
        assert torch.equal(a.ids, b.ids)
    in_order = list(resident.in_order(4))
    assert torch.equal(torch.cat([b.ids for b in in_order]), resident.ids)
    assert all(equal(b.x, padded([parts[k] for k in b.ids.tolist()])) for b in in_order)


def test_a_very_long_sequence_lengthens_no_other_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = sequences([5] * 40 + [100_000] + [6] * 40, features=1)
    data = samples(parts)
    assert data.values is not None
    assert data.values.numel() == sum(map(len, parts))
    monkeypatch.setattr("snellen.data.dataset.MAX_BATCH_VALUES", 200_000)
    assert max(b.x.numel() for b in data.in_order(64)) <= 200_000
    batches = Batches(data, 4, 0)
    assert sum(batches.at(step).x.shape[1] > 6 for step in range(len(batches))) == 1


def test_selections_are_those_of_the_padded_tensor() -> None:
    parts = sequences([3, 1, 6, 2])
    flat = sequence_source(parts).values
    assert isinstance(flat, FlatSequences)
    dense = padded(parts)
    assert equal(flat.index_select(0, torch.tensor([2, 0, 2])), dense[[2, 0, 2]])
    assert equal(flat[torch.tensor([1, 3])].index_select(0, torch.tensor([1, 0])), dense[[3, 1], :2])
    assert equal(flat.index_select(0, torch.tensor([1]), 6), dense[[1]])
    assert torch.equal(flat[3], parts[3])
    assert [len(one) for one in flat] == [3, 1, 6, 2]
    assert torch.equal(flat.rows_of(torch.tensor([2, 0])), torch.cat([parts[2], parts[0]]))


def test_statistics_are_those_of_the_padded_sequences() -> None:
    parts = sequences([3, 1, 6, 2, 9])
    layers = [Standardize(Input(modality="sequence", shape=(None, 2))) for _ in range(2)]
    layers[0].fit(SampleSplit(samples(parts), None, lambda samples: None).statistics())
    layers[1].fit(padded(parts))
    for a, b in zip(layers[0].state_dict().values(), layers[1].state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_resuming_with_length_buckets_and_cuts_is_bit_identical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, lengths = np.random.default_rng(0), np.arange(60) % 9 + 2
    x = rng.normal(size=(lengths.sum(), 2)).astype(np.float32)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(60) % 2, lengths=lengths)
    write_tensors, saves = file_io.write_tensors, 0

    def train(out: str) -> Path:
        options = RunOptions(threads=1, report=False, save_every=0.0)
        settings = {"epochs": 2, "batch_size": 8, "bptt": 4, "group_by_length": True}
        return snellen.train(str(tmp_path / "a.npz"), "gru", out=tmp_path / out, options=options, **settings).folder

    def stop_at_the_fifth(path: Path, *arguments: Any) -> str:
        nonlocal saves
        saves += path.parent.name == "state"
        if saves == 5:
            raise KeyboardInterrupt
        return write_tensors(path, *arguments)

    whole = train("whole")
    monkeypatch.setattr(file_io, "write_tensors", stop_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        train("stopped")
    monkeypatch.undo()
    snellen.resume(tmp_path / "stopped", options=RunOptions(threads=1, report=False))
    for name in ("model.safetensors", "history.jsonl"):
        assert (whole / name).read_bytes() == (tmp_path / "stopped" / name).read_bytes()


def test_copies_are_sequences_of_equal_steps() -> None:
    parts = sequences([3, 4, 3, 5])
    parts += [parts[1].clone(), parts[3][:4]]
    values = sequence_source(parts).values
    assert isinstance(values, FlatSequences)
    assert exact_row_duplicates(values) == [(1, 4)]


def test_other_samples_do_not_change_the_identity_of_a_sequence(tmp_path: Path) -> None:
    from snellen.data.sample_identity import identify

    rng, digests = np.random.default_rng(0), []
    short = [rng.normal(size=(n, 2)).astype(np.float32) for n in (3, 5, 4, 6) * 5]
    for name, x in (("a", short), ("b", [*short, rng.normal(size=(50, 2)).astype(np.float32)])):
        y = np.arange(len(x)) % 2
        np.savez(tmp_path / f"{name}.npz", x=np.concatenate(x), y=y, lengths=[len(one) for one in x])
        digests.append(identify(dataset(tmp_path / f"{name}.npz")).contents)
    assert np.array_equal(digests[0], digests[1][:-1])


def test_numbers_that_float32_cannot_hold_are_float64_wherever_they_are(tmp_path: Path) -> None:
    lengths = np.arange(20) % 3 + 2
    x = np.zeros((lengths.sum(), 2))
    x[50] = 1 / 3, 1e100
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(20) % 2, lengths=lengths)
    data = dataset(tmp_path / "a.npz")
    assert data.spec.input.dtype == "float64"
    values = data.source.read(np.arange(20), Preprocessing())
    assert torch.equal(values[~values.isnan()].view(-1, 2), torch.from_numpy(x))


def test_windows_and_their_futures_are_gathered_when_they_are_selected() -> None:
    series = torch.arange(60.0).view(20, 3)
    source = RecordingWindows(series, [20], ["a"], 4, 2, forecast=2, known=1)
    windows, futures = source.all(Preprocessing()), source.futures()
    assert windows is not None
    ids = np.arange(len(source))
    dense, truth = source.read(ids, Preprocessing()), source.future(ids)
    assert (windows.shape, futures.shape) == (dense.shape, truth.shape)
    rows = torch.tensor([3, 0, 14])
    assert torch.equal(windows.index_select(0, rows), dense[rows])
    assert torch.equal(futures[rows].index_select(0, torch.tensor([2, 1])), truth[rows][[2, 1]])
    assert torch.equal(futures[5], truth[5])
    assert torch.equal(torch.stack(list(windows)), dense)
    unread = Samples(source, torch.from_numpy(ids), truth, Preprocessing(), None)
    lazy = Samples(source, torch.from_numpy(ids), futures, Preprocessing(), windows)
    for step in range(8):
        a, b = Batches(unread, 4, 0).at(step), Batches(lazy, 4, 0).at(step)
        assert all(torch.equal(p, q) for p, q in zip(a, b, strict=True))

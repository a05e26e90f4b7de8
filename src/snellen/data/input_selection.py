"""Selection of some of the several inputs of a dataset (`--inputs`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from snellen.core.errors import UsageError, suggest_name
from snellen.core.views import Finding
from snellen.data.dataset import RawDataset
from snellen.data.several_inputs import SeveralInputs
from snellen.data.source import ArraySource, Source


def select_inputs(raw: RawDataset, names: Sequence[str], where: str) -> RawDataset:
    """The data with some of its several inputs, in the order in which it has them; of one, as data with one input.

    Samples that have none of them are left out, which a finding states.

    Raises:
        UsageError: for another name, or a name twice.
    """
    source = raw.source
    assert isinstance(source, SeveralInputs)
    for name in names:
        if name not in source.sources:
            raise UsageError(f"{where} has no input {name!r}", suggest_name(name, list(source.sources)))
        if list(names).count(name) > 1:
            raise UsageError(f"--inputs names {name!r} twice", "Name each input once.")
    chosen = [name for name in source.sources if name in names]
    ids = np.nonzero(np.stack([source.positions[name] >= 0 for name in chosen]).any(0))[0]
    left_out = len(source) - len(ids)
    positions = {name: source.positions[name][ids] for name in chosen}
    of_samples = [source.names[id] for id in ids.tolist()]
    index = torch.from_numpy(ids)
    (first, *others) = chosen
    selected: Source = SeveralInputs({name: source.sources[name] for name in chosen}, positions, of_samples)
    if not others:
        of_first = source.sources[first]
        assert isinstance(of_first, ArraySource)
        selected = ArraySource(of_first.values[torch.from_numpy(positions[first])], of_samples)
    inputs = {name: raw.inputs[name] for name in chosen}
    shown = f"input{'s' if others else ''} {', '.join(chosen)} (--inputs)"
    without = Finding(
        kind="missing-input",
        severity="note",
        message=f"{left_out:,} samples without {' or '.join(chosen)} are left out",
        remedy="They are used if --inputs names an input that they have.",
        where=tuple(source.names[id] for id in np.setdiff1d(np.arange(len(source)), ids).tolist()),
        count=left_out,
    )
    return dataclasses.replace(
        raw,
        source=selected,
        inputs={n: dataclasses.replace(one, optional=bool((positions[n] < 0).any())) for n, one in inputs.items()},
        truth=None if raw.truth is None else raw.truth[index],
        given_splits=None if raw.given_splits is None else raw.given_splits[ids],
        groups=None if raw.groups is None else raw.groups[ids],
        recognised_as=f"{raw.recognised_as}; {shown}",
        findings=(*raw.findings, *((without,) if left_out else ())),
    )

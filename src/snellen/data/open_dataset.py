"""`snellen.dataset`: a name or a path to a dataset."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from snellen.core.errors import DataError, UsageError, nearest
from snellen.core.spec import Boxes, Classes, Labels, PixelClasses, Reading, Spec
from snellen.data.check.checks import check
from snellen.data.dataset import Dataset, Draft, Labelled, counts
from snellen.data.formats import Asked, formats
from snellen.data.named_datasets import BUILTIN, built_in, find_named
from snellen.data.names import NAMED
from snellen.data.splits import divide


def dataset(data: str | Path, *, seed: int = 0, asked: Asked | None = None) -> Dataset[Labelled]:
    """Opens a built-in set, a named public set, or whatever lies at a path.

    Args:
        data: a name (`digits`, `moons`, `mnist` ...) or a path.
        seed: of the splits, where they are made here.
        asked: what to take it for, which columns are the target, and so on.
    Raises:
        DataError: when nothing is there, or what is there is wrong.
    """
    asked = asked or Asked()
    name = str(data)
    path = Path(data).expanduser()
    if name in BUILTIN:
        if asked.format is not None:
            raise UsageError(f"{name} is built in and of no format", "Leave --as out.")
        draft = built_in(name, seed, asked.target)
    else:
        path = find_named(name) if name in NAMED else path
        draft = _draft(path, asked)
        name = name if name in NAMED else path.resolve().name
    known = str(data) in BUILTIN or str(data) in NAMED
    origin = {"data": str(data) if known else str(path.resolve()), "seed": seed, "asked": asked}
    opened = assemble(check(draft, asked), name, seed, origin, asked)
    return dataclasses.replace(opened, reading=Reading(pages=asked.pages))


def assemble(
    draft: Draft, name: str, seed: int, origin: dict[str, object] | None, asked: Asked | None = None
) -> Dataset[Labelled]:
    """Splits a draft and counts it."""
    splits = divide(draft, seed, asked.folds, asked.fold) if asked is not None else divide(draft, seed)
    truth = draft.truth if draft.truth is not None else torch.zeros(len(draft.source), 0)
    target = draft.target
    if isinstance(target, Classes | Labels):
        target = dataclasses.replace(target, counts=counts(target, truth[splits["train"]]))
    elif isinstance(target, PixelClasses | Boxes) and draft.annotations is not None:
        target = dataclasses.replace(target, counts=draft.annotations.counts(splits["train"], len(target.names)))
    spec = Spec(name=name, inputs=draft.inputs, target=target, sizes={s: len(ids) for s, ids in splits.items()})
    return Dataset(
        spec=spec,
        source=draft.source,
        truth=truth,
        splits=splits,
        taken_for=draft.taken_for,
        findings=draft.findings,
        origin=origin,
        files=draft.files,
        aside=draft.aside,
        annotations=draft.annotations,
    )


def _draft(path: Path, asked: Asked) -> Draft:
    if not path.exists():
        raise DataError(f"{path} is not there", nearest(str(path), [*BUILTIN, *NAMED]))
    known = formats()
    if asked.format is not None:
        if asked.format not in known:
            raise UsageError(f"No format is called {asked.format!r}", nearest(asked.format, list(known)))
        return known[asked.format].open_draft(path, asked)
    for format in known.values():
        if format.recognises(path):
            return format.open_draft(path, asked)
    raise DataError(f"{path} holds nothing that Snellen knows", f"It reads {', '.join(known)}; say which with --as.")

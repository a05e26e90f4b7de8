"""`snellen.dataset`: a name or a path to a dataset."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from snellen.core.errors import DataError, UsageError, nearest
from snellen.core.spec import Boxes, Classes, Labels, PixelClasses, Preprocessing, Spec
from snellen.data.check.checks import check
from snellen.data.dataset import Dataset, Labelled, RawDataset, counts
from snellen.data.formats import OpenOptions, formats
from snellen.data.named_datasets import BUILTIN, built_in, find_named
from snellen.data.names import NAMED
from snellen.data.splits import divide


def dataset(data: str | Path, *, seed: int = 0, options: OpenOptions | None = None) -> Dataset[Labelled]:
    """Opens a built-in set, a named public set, or whatever lies at a path.

    Args:
        data: a name (`digits`, `moons`, `mnist` ...) or a path.
        seed: of the splits, where they are made here.
        options: what to take it for, which columns are the target, and so on.
    Raises:
        DataError: when nothing is there, or what is there is wrong.
    """
    options = options or OpenOptions()
    name = str(data)
    path = Path(data).expanduser()
    if name in BUILTIN:
        if options.format is not None:
            raise UsageError(f"{name} is built in and of no format", "Leave --data-format out.")
        draft = built_in(name, seed, options.target)
    else:
        path = find_named(name) if name in NAMED else path
        draft = _draft(path, options)
        name = name if name in NAMED else path.resolve().name
    known = str(data) in BUILTIN or str(data) in NAMED
    origin = {"data": str(data) if known else str(path.resolve()), "seed": seed, "options": options}
    opened = assemble(check(draft, options), name, seed, origin, options)
    return dataclasses.replace(opened, preprocessing=Preprocessing(pages=options.pages))


def assemble(
    draft: RawDataset, name: str, seed: int, origin: dict[str, object] | None, options: OpenOptions | None = None
) -> Dataset[Labelled]:
    """Splits a draft and counts it."""
    splits = divide(draft, seed, options.folds, options.fold) if options is not None else divide(draft, seed)
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
        recognised_as=draft.recognised_as,
        findings=draft.findings,
        origin=origin,
        files=draft.files,
        aside=draft.aside,
        annotations=draft.annotations,
    )


def _draft(path: Path, options: OpenOptions) -> RawDataset:
    if not path.exists():
        raise DataError(f"{path} is not there", nearest(str(path), [*BUILTIN, *NAMED]))
    known = formats()
    if options.format is not None:
        if options.format not in known:
            raise UsageError(f"No format is called {options.format!r}", nearest(options.format, list(known)))
        return known[options.format].open_raw(path, options)
    for format in known.values():
        if format.recognises(path):
            return format.open_raw(path, options)
    raise DataError(
        f"{path} holds nothing that Snellen knows", f"It reads {', '.join(known)}; say which with --data-format."
    )

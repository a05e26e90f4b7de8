"""Whether an exported detector finds what the run finds: a few pictures in place of a hundred, and other rules.

How many finds a picture has is a number of its own, and finds of nearly the same score may change places: sums in
another order differ in their last digits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snellen.core.errors import Diverged, Mismatch, SnellenError
from snellen.core.record import Record
from snellen.core.task import Output
from snellen.data.dataset import Dataset, Labelled
from snellen.export.example_inputs import drawn, learned_range

PICTURES = 5  # a batch of one and a batch of four
ALLOWED = {"boxes": 1e-3, "scores": 1e-3, "masks": 1e-2, "keypoints": 1e-2}
"""The largest difference: of places in shares of the larger side of the picture, of scores and of probabilities. A
network that looks again where it has first found something enlarges the rounding of its first look."""

Said = Mapping[str, Tensor]


def pictures(record: Record, model: nn.Module, data: Callable[[], Dataset[Labelled]]) -> tuple[list[Tensor], str]:
    """Batches of one and of four pictures, in the size of the largest of a few and turned, with a quarter less; and a
    batch of one without anything to see.

    Returns:
        (B, C, H, W) each, raw, and where they are from.
    """
    try:
        opened = data()
        ids = torch.cat([opened.splits["val"], opened.splits["test"], opened.splits["train"]])[:PICTURES]
        read = [opened.source.read(ids[k : k + 1].numpy(), record.preprocessing) for k in range(len(ids))]
        origin = "the data of the run"
    except SnellenError as error:
        read, origin = [], f"drawn at random: {error.cause}"
    channels = record.preprocessing.channels or record.spec.input.shape[0]
    dtype: torch.dtype = getattr(torch, record.spec.input.dtype)
    if not read or any(x.shape[1] != channels or x.dtype != dtype for x in read):
        read = [drawn(record, model, (channels, 96, 128), 1)]
        origin = origin if "drawn" in origin else "drawn at random: the run's data is no longer what it was"
    height, width = (max(x.shape[axis] for x in read) for axis in (2, 3))
    batches = []
    for size in ((height, width), (width, -(-3 * height // 4))):
        five = torch.cat([_cut(read[k % len(read)], size) for k in range(PICTURES)])
        batches += [five[:1], five[1:]]
    low, _ = learned_range(model, record.spec) or (0.0, 1.0)
    return [*batches, torch.full_like(batches[0], low)], origin


def _cut(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """(1, C, H, W) to a size: cut where it is larger, repeated where it is smaller."""
    for axis, side in zip((2, 3), size, strict=True):
        x = torch.cat([x] * -(-side // x.shape[axis]), axis).narrow(axis, 0, side)
    return x


def compare(
    run: Sequence[Said], file: Sequence[Said], batches: Sequence[Tensor], outputs: Sequence[Output]
) -> dict[str, Any]:
    """The largest differences between what the run finds and what the file finds, as plain data.

    Raises:
        Mismatch: where another number is found, another class, or something in another place or with another score.
        Diverged: where the run itself says what is not finite.
    """
    names = [output.name for output in outputs if output.name in ALLOWED]
    absolute, relative = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    finds = without = 0
    for ours, theirs, batch in zip(run, file, batches, strict=True):
        side = max(batch.shape[-2:])
        for name in names:
            if not bool(torch.isfinite(ours[name]).all()):
                raise Diverged(
                    f"The {name} of the run are not finite", "Train again with a smaller --lr, and export that run."
                )
        for k, count in enumerate(ours["count"].tolist()):
            if int(theirs["count"][k]) != count:
                raise _mismatch(f"The file finds {int(theirs['count'][k])} objects in a picture, the run {count}")
            finds, without = finds + count, without + (count == 0)
            mine = {name: ours[name][k, :count].double() for name in (*names, "labels")}
            other = {name: theirs[name][k, :count].double() for name in (*names, "labels")}
            order = _partners(mine, other, side)
            for name in names if count else ():
                unit = side if name in ("boxes", "keypoints") else 1
                difference = float((mine[name] - other[name][order]).abs().max())
                absolute[name] = max(absolute[name], difference)
                relative[name] = max(relative[name], difference / unit)
    for name, difference in relative.items():
        if not difference <= ALLOWED[name]:  # NaN is no match either
            raise _mismatch(
                f"The {name} of the file differ from those of the run by up to {difference:.3g}, where "
                f"{ALLOWED[name]:g} is allowed"
            )
    counts = [len(batch) for batch in batches]
    return {
        "inputs": sum(counts),
        "batches": counts,
        "finds": finds,
        "pictures without finds": without,
        "absolute": absolute,
        "relative": relative,
        "allowed": ALLOWED,
    }


def _partners(mine: Said, other: Said, side: int) -> Tensor:
    """(D,) for each find of the run that of the file: of those with its class and nearly its score, the nearest."""
    score = (mine["scores"][:, None] - other["scores"]).abs()
    away = (mine["boxes"][:, None] - other["boxes"]).abs().amax(2) / side
    near = (mine["labels"][:, None] == other["labels"]) & (score <= 2 * ALLOWED["scores"])
    away = away.where(near, torch.inf)
    order = torch.zeros(len(away), dtype=torch.int64)
    for k in range(len(away)):
        order[k] = away[k].argmin()
        if not bool(away[k, order[k]] < torch.inf):
            raise _mismatch(f"Find {k + 1} of the run, of score {float(mine['scores'][k]):.3f}, is none of the file's")
        away[:, order[k]] = torch.inf
    return order


def _mismatch(cause: str) -> Mismatch:
    return Mismatch(cause, "Nothing was written. Does the model answer a picture alike each time, whatever the batch?")

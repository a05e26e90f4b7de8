"""Parity check of detectors: detections of the exported file matched to detections of the run.

Numbers of detections must be equal. Detections of nearly equal score may change their order, as float32 rounding
depends on the order of summation.
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
from snellen.export.example_inputs import learned_range, random_inputs

NUM_IMAGES = 5  # a batch of 1 and a batch of 4
TOLERANCES = {"boxes": 1e-3, "scores": 1e-3, "masks": 1e-2, "keypoints": 1e-2}
"""Largest allowed differences: of coordinates as fractions of the longer image side, of scores and of probabilities.
The second stage of a detector amplifies rounding errors of its first stage."""

Outputs = Mapping[str, Tensor]


def example_images(record: Record, model: nn.Module, data: Callable[[], Dataset[Labelled]]) -> tuple[list[Tensor], str]:
    """Batches of 1 and 4 images in two sizes, portrait and landscape, and a batch of 1 constant image.

    The first size is the largest height and width of the images; the second is transposed, its width reduced by 1/4.

    Returns:
        (B, C, H, W) raw images of each batch, and a text about their origin.
    """
    try:
        opened = data()
        ids = torch.cat([opened.splits["val"], opened.splits["test"], opened.splits["train"]])[:NUM_IMAGES]
        read = [opened.source.read(ids[k : k + 1].numpy(), record.preprocessing) for k in range(len(ids))]
        origin = "from the data of the run"
    except SnellenError as error:
        read, origin = [], f"generated at random: {error.cause}"
    channels = record.preprocessing.channels or record.spec.input.shape[0]
    dtype: torch.dtype = getattr(torch, record.spec.input.dtype)
    if not read or any(x.shape[1] != channels or x.dtype != dtype for x in read):
        read = [random_inputs(record, model, (channels, 96, 128), 1)]
        origin = origin if "at random" in origin else "generated at random: the data of the run has changed"
    height, width = (max(x.shape[axis] for x in read) for axis in (2, 3))
    batches = []
    for size in ((height, width), (width, -(-3 * height // 4))):
        images = torch.cat([_fit_to_size(read[k % len(read)], size) for k in range(NUM_IMAGES)])
        batches += [images[:1], images[1:]]
    low, _ = learned_range(model, record.spec) or (0.0, 1.0)
    return [*batches, torch.full_like(batches[0], low)], origin


def _fit_to_size(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Crop or tile an image, (1, C, H, W), to a size."""
    for axis, side in zip((2, 3), size, strict=True):
        x = torch.cat([x] * -(-side // x.shape[axis]), axis).narrow(axis, 0, side)
    return x


def compare(
    run: Sequence[Outputs], file: Sequence[Outputs], batches: Sequence[Tensor], outputs: Sequence[Output]
) -> dict[str, Any]:
    """Largest differences between the detections of run and file, as JSON-compatible data.

    Raises:
        Mismatch: if numbers of detections, classes, coordinates or scores differ.
        Diverged: if outputs of the run are not finite.
    """
    names = [output.name for output in outputs if output.name in TOLERANCES]
    absolute, relative = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    num_detections = num_empty = 0
    for of_run, of_file, batch in zip(run, file, batches, strict=True):
        side = max(batch.shape[-2:])
        for name in names:
            if not bool(torch.isfinite(of_run[name]).all()):
                raise Diverged(
                    f"The {name} of the run are not finite", "Train again with a smaller --lr and export that run."
                )
        for k, count in enumerate(of_run["count"].tolist()):
            if int(of_file["count"][k]) != count:
                raise _mismatch(f"The file detects {int(of_file['count'][k])} objects in an image, the run {count}")
            num_detections, num_empty = num_detections + count, num_empty + (count == 0)
            expected = {name: of_run[name][k, :count].double() for name in (*names, "labels")}
            actual = {name: of_file[name][k, :count].double() for name in (*names, "labels")}
            order = _match(expected, actual, side)
            for name in names if count else ():
                unit = side if name in ("boxes", "keypoints") else 1
                difference = float((expected[name] - actual[name][order]).abs().max())
                absolute[name] = max(absolute[name], difference)
                relative[name] = max(relative[name], difference / unit)
    for name, difference in relative.items():
        if not difference <= TOLERANCES[name]:  # also fails for NaN
            raise _mismatch(
                f"The {name} of the file differ from those of the run by up to {difference:.3g} "
                f"(tolerance {TOLERANCES[name]:g})"
            )
    counts = [len(batch) for batch in batches]
    return {
        "inputs": sum(counts),
        "batches": counts,
        "finds": num_detections,
        "pictures without finds": num_empty,
        "absolute": absolute,
        "relative": relative,
        "allowed": TOLERANCES,
    }


def _match(expected: Outputs, actual: Outputs, side: int) -> Tensor:
    """(D,) index of the file's detection for each of the run: the nearest box of equal class and nearly equal score."""
    score = (expected["scores"][:, None] - actual["scores"]).abs()
    distance = (expected["boxes"][:, None] - actual["boxes"]).abs().amax(2) / side
    is_candidate = (expected["labels"][:, None] == actual["labels"]) & (score <= 2 * TOLERANCES["scores"])
    distance = distance.where(is_candidate, torch.inf)
    order = torch.zeros(len(distance), dtype=torch.int64)
    for k in range(len(distance)):
        order[k] = distance[k].argmin()
        if not bool(distance[k, order[k]] < torch.inf):
            raise _mismatch(
                f"Detection {k + 1} of the run, score {float(expected['scores'][k]):.3f}, has no match in the file"
            )
        distance[:, order[k]] = torch.inf
    return order


def _mismatch(cause: str) -> Mismatch:
    return Mismatch(
        cause, "Nothing was written. Check that the model is deterministic and independent of the batch size."
    )

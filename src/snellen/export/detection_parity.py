"""Parity check of detectors: detections of the exported file matched to detections of the run.

Float32 rounding depends on the order of summation. So detections of nearly equal score may change their order, and a
detection may be missing on one side if rounding decides whether it is kept: its score is within the tolerance of the
score threshold, of the lowest score of a full list, or of that of a detection which suppresses it. These are ties; they
are counted, and may be a tenth of all detections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snellen.core.errors import Diverged, Mismatch, SnellenError
from snellen.core.experience import Experience
from snellen.core.record import Record
from snellen.core.task import Output
from snellen.data.experience import read_inputs
from snellen.export.example_inputs import learned_range, random_inputs
from snellen.nn.detection.box_head import DetectionFilter

NUM_IMAGES = 5  # a batch of 1 and a batch of 4
TOLERANCES = {"boxes": 1e-3, "scores": 1e-3, "masks": 1e-2, "keypoints": 1e-2}
"""Largest allowed differences: of coordinates as fractions of the longer image side, of scores and of probabilities.
The second stage of a detector amplifies rounding errors of its first stage."""

_DEFAULT_FILTER = DetectionFilter()
MAX_TIES = 0.1  # of the detections of both sides
_IOU_TOLERANCE = 0.02  # of the IoU at which a detection is suppressed

Outputs = Mapping[str, Tensor]


def example_images(record: Record, model: nn.Module, data: Callable[[], Experience]) -> tuple[list[Tensor], str]:
    """Batches of 1 and 4 images in two sizes, portrait and landscape, and a batch of 1 constant image.

    The first size is the largest height and width of the images; the second is transposed, its width reduced by 1/4.

    Returns:
        (B, C, H, W) raw images of each batch, and a text about their origin.
    """
    try:
        opened = data()
        ids = torch.cat([opened.splits["val"], opened.splits["test"], opened.splits["train"]])[:NUM_IMAGES]
        read = [read_inputs(opened, ids[k : k + 1], record.preprocessing) for k in range(len(ids))]
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


def filter_of(model: nn.Module) -> DetectionFilter:
    """The score threshold, NMS threshold and maximum number of the detections of a model."""
    attributes = (value for module in model.modules() for value in vars(module).values())
    return next((value for value in attributes if isinstance(value, DetectionFilter)), _DEFAULT_FILTER)


def compare(
    run: Sequence[Outputs],
    file: Sequence[Outputs],
    batches: Sequence[Tensor],
    outputs: Sequence[Output],
    detection_filter: DetectionFilter = _DEFAULT_FILTER,
) -> dict[str, Any]:
    """Largest differences between the detections of run and file, as JSON-compatible data.

    Raises:
        Mismatch: if a detection of one side has no match on the other and is no tie, or coordinates or scores differ.
        Diverged: if outputs of the run are not finite.
    """
    names = [output.name for output in outputs if output.name in TOLERANCES]
    absolute, relative = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    num_detections = num_empty = num_ties = 0
    first_tie, displacement = "", 0.0
    for of_run, of_file, batch in zip(run, file, batches, strict=True):
        side = max(batch.shape[-2:])
        for name in names:
            if not bool(torch.isfinite(of_run[name]).all()):
                raise Diverged(
                    f"The {name} of the run are not finite", "Train again with a smaller --lr and export that run."
                )
        for k, count in enumerate(of_run["count"].tolist()):
            expected = {name: of_run[name][k, :count].double() for name in (*names, "labels")}
            actual = {name: of_file[name][k, : int(of_file["count"][k])].double() for name in (*names, "labels")}
            rows, columns = _match(expected, actual, side)
            for word, ours, theirs, matched in (
                ("run", expected, actual, rows),
                ("file", actual, expected, columns),
            ):
                unmatched = sorted(set(range(len(ours["scores"]))) - set(matched.tolist()))
                num_ties += len(unmatched)
                for index in unmatched:
                    box = [round(value, 1) for value in ours["boxes"][index].tolist()]
                    text = f"detection {index + 1} of the {word}, score {float(ours['scores'][index]):.4f}, box {box}"
                    first_tie = first_tie or text
                    distance = _tie_distance(ours, index, theirs, detection_filter)
                    if distance is None:
                        raise _mismatch(
                            f"{text[0].upper()}{text[1:]}, has no match in the {'file' if word == 'run' else 'run'} "
                            f"({count} detections in the run, {len(actual['scores'])} in the file)"
                        )
                    displacement = max(displacement, distance)
            num_detections, num_empty = num_detections + len(rows), num_empty + (count == 0)
            for name in names if len(rows) else ():
                unit = side if name in ("boxes", "keypoints") else 1
                difference = float((expected[name][rows] - actual[name][columns]).abs().max())
                absolute[name] = max(absolute[name], difference)
                relative[name] = max(relative[name], difference / unit)
    for name, difference in relative.items():
        if not difference <= TOLERANCES[name]:  # also fails for NaN
            raise _mismatch(
                f"The {name} of the file differ from those of the run by up to {difference:.3g} "
                f"(tolerance {TOLERANCES[name]:g})"
            )
    if num_ties > MAX_TIES * (2 * num_detections + num_ties):
        raise _mismatch(
            f"{num_ties:,} detections of run or file have no counterpart at the same place, {num_detections:,} have "
            f"one ({first_tie}): too many to be explained by scores that rounding makes unequal"
        )
    counts = [len(batch) for batch in batches]
    return {
        "inputs": sum(counts),
        "batches": counts,
        "finds": num_detections,
        "ties": num_ties,
        "tie displacement": displacement,
        "pictures without finds": num_empty,
        "absolute": absolute,
        "relative": relative,
        "allowed": TOLERANCES,
    }


def _match(expected: Outputs, actual: Outputs, side: int) -> tuple[Tensor, Tensor]:
    """(M,) indices of detections of the run, and of the nearest of the file, of equal class and nearly equal score.

    Pairs are matched by their distance, the nearest first; farther ones than the tolerance are no match.
    """
    score = (expected["scores"][:, None] - actual["scores"]).abs()
    distance = (expected["boxes"][:, None] - actual["boxes"]).abs().amax(2) / side
    is_candidate = (expected["labels"][:, None] == actual["labels"]) & (score <= 2 * TOLERANCES["scores"])
    is_candidate &= distance <= TOLERANCES["boxes"]
    pairs = torch.nonzero(is_candidate)
    pairs = pairs[torch.argsort(distance[pairs[:, 0], pairs[:, 1]], stable=True)]
    rows, columns = list[int](), list[int]()
    taken_rows, taken_columns = set[int](), set[int]()
    for row, column in pairs.tolist():
        if row not in taken_rows and column not in taken_columns:
            rows.append(row)
            columns.append(column)
            taken_rows.add(row)
            taken_columns.add(column)
    return torch.tensor(rows, dtype=torch.int64), torch.tensor(columns, dtype=torch.int64)


def _tie_distance(ours: Outputs, index: int, theirs: Outputs, detection_filter: DetectionFilter) -> float | None:
    """Distance, in pixels, of the detection that stands in place of one that rounding removes on the other side.

    0 where none stands there; None where rounding does not explain that it is missing.
    """
    tolerance = 2 * TOLERANCES["scores"]
    score, others = float(ours["scores"][index]), theirs["scores"]
    if score <= detection_filter.score_threshold + tolerance:
        return 0.0
    if len(others) >= detection_filter.max_detections and score <= float(others.min()) + tolerance:
        return 0.0
    rivals = (theirs["labels"] == ours["labels"][index]) & (others >= score - tolerance)
    overlap = _iou(ours["boxes"][index], theirs["boxes"])
    rivals &= overlap >= detection_filter.nms_threshold - _IOU_TOLERANCE
    if not bool(rivals.any()):
        return None
    return float((theirs["boxes"][rivals] - ours["boxes"][index]).abs().amax(1).min())


def _iou(box: Tensor, boxes: Tensor) -> Tensor:
    """(N,) IoU of a box (4,) with boxes (N, 4)."""
    low, high = torch.maximum(box[:2], boxes[:, :2]), torch.minimum(box[2:], boxes[:, 2:])
    inner = (high - low).clamp(min=0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return inner / ((box[2:] - box[:2]).prod() + areas - inner).clamp(min=1e-12)


def _mismatch(cause: str) -> Mismatch:
    return Mismatch(
        cause, "Nothing was written. Check that the model is deterministic and independent of the batch size."
    )

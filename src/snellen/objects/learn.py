"""How a detector learns: what all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snellen.core.objects import Objects
from snellen.core.run import Run
from snellen.data.dataset import Dataset, Labelled
from snellen.data.scenes import Scene, SceneBatches, Scenes, Vary
from snellen.fitting.descend import descend
from snellen.fitting.descent import Descent
from snellen.nn.layers import Standardize
from snellen.nn.rcnn.anchors import Anchors, cells, suited
from snellen.nn.rcnn.detector import Detector

PICTURES = 200  # that statistics are taken from
PIXELS = 4096  # of each


def learn(model: Detector, data: Dataset[Labelled], run: Run, how: Descent, vary: Vary | None = None) -> None:
    """Standardises by the training split, fits the anchors to its boxes, then descends on the detector's losses.

    The validation score is minus the loss there, batch normalisation and all else as in use.
    """
    model.to(run.device)
    train, val = data.scenes("train", run.device), data.scenes("val", run.device)
    prepare(model, train, data.span, run)
    batches = SceneBatches(train, how.batch_size or 4, run.seed, vary)
    model.to(memory_format=torch.channels_last)

    def losses(batch: list[Scene]) -> dict[str, Tensor]:
        return model.losses(*apart(batch))

    def validate(judged: nn.Module) -> float:
        assert isinstance(judged, Detector)
        return -validation_loss(judged, val)

    descend(model, losses, batches, run, how, validate=validate if len(val) else None)


def apart(batch: Sequence[Scene]) -> tuple[list[Tensor], list[Objects]]:
    """Pictures, and what is true of each."""
    truths = []
    for scene in batch:
        assert isinstance(scene.truth, Objects)
        truths.append(scene.truth)
    return [scene.image for scene in batch], truths


def validation_loss(model: Detector, scenes: Scenes, size: int = 4) -> float:
    """The mean of the losses of a split."""
    total = torch.zeros((), dtype=torch.float64)
    for start in range(0, len(scenes), size):
        batch = scenes.take(range(start, min(start + size, len(scenes))))
        total += len(batch) * sum(float(loss) for loss in model.losses(*apart(batch)).values())
    return float(total) / len(scenes)


def prepare(model: Detector, train: Scenes, span: tuple[float, float] | None, run: Run) -> None:
    """What a detector takes from the training split before it learns: the scale of its values, the sizes of anchors."""
    standardize = model.pictures.standardize
    known = run.once("standardize", lambda: statistics(standardize, train, span))
    standardize.load_state_dict(known)
    if standardize.deep:
        run.say(f"Values from {float(standardize.low):g} to {float(standardize.high):g} are used (0.1 % to 99.9 % of "
                "the training set).")
    for anchors in (module for module in model.modules() if isinstance(module, Anchors)):
        if not anchors.known:
            count = len(anchors.cells)
            sizes = run.once("anchors", lambda count=count: suited(box_sizes(model, train), count))
            anchors.cells.copy_(cells(sizes, anchors.shapes))


def spread(scenes: Scenes) -> list[int]:
    """Positions of at most `PICTURES` pictures, evenly spread."""
    count = min(PICTURES, len(scenes))
    places: list[int] = torch.linspace(0, len(scenes) - 1, count).round().long().tolist()
    return places


def statistics(standardize: Standardize, scenes: Scenes, span: tuple[float, float] | None) -> dict[str, Any]:
    """Mean, deviation and range of some pixels of some pictures."""
    some = []
    for position in spread(scenes):
        flat = scenes.image(int(scenes.ids[position])).flatten(1)  # (C, HW)
        some.append(flat[:, :: max(1, flat.shape[1] // PIXELS)])
    standardize.learn(torch.cat(some, 1)[None].to(standardize.mean.device), span)
    return standardize.state_dict()


def box_sizes(model: Detector, scenes: Scenes) -> Tensor:
    """(N, 4) boxes of some pictures in pixels of the network."""
    found = []
    for position in spread(scenes):
        scene = scenes.at(position)
        assert isinstance(scene.truth, Objects)
        height, width = scene.image.shape[1:]
        down = model.pictures.size(height, width)[0] / height
        found.append(scene.truth.learned.boxes * down)
    boxes = torch.cat(found) if found else torch.zeros(0, 4)
    return boxes if len(boxes) else torch.tensor([[0.0, 0.0, 32.0, 32.0]])



"""What an exported model is given: the shape and type of its input, and the hundred it is compared on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from snellen.core.errors import SnellenError
from snellen.core.record import Record
from snellen.core.spec import Preprocessing, Scenic, Spec
from snellen.data.dataset import Dataset, Labelled
from snellen.nn.layers import Standardize

COUNT = 100
BATCHES = (1, 3, 32, 64)  # the hundred inputs are given in batches of these sizes: any size must do
ANY = 32  # pixels a side of drawn pictures where the model takes any size
SCENES = ((128, 160), (100, 75))  # height and width of pictures that are answered place by place,
OF_SCENES = (1, 4)  # and the batches that they are given in


def input_shape(spec: Spec, preprocessing: Preprocessing) -> tuple[int | None, ...]:
    """Of one sample as the model is given it: (C, H, W) or (D,); None where it may vary."""
    if spec.modality != "image":
        return spec.input.shape
    channels, *sides = spec.input.shape
    if isinstance(spec.target, Scenic):  # the data's pictures may have one size; the model takes any
        sides = [None, None]
    return (preprocessing.channels or channels, *(preprocessing.size or sides))


def standardizer(model: nn.Module) -> Standardize | None:
    return next((m for m in model.modules() if isinstance(m, Standardize)), None)


def learned_range(model: nn.Module, spec: Spec) -> tuple[float, float] | None:
    """The lowest and highest value of pictures that the model tells apart; None where it looks at none."""
    found = standardizer(model)
    return None if found is None or spec.modality != "image" else (float(found.low), float(found.high))


def asked(record: Record, model: nn.Module, data: Callable[[], Dataset[Labelled]]) -> tuple[list[Tensor], str]:
    """Batches of inputs that a file and the run are asked about, and where they are from."""
    if isinstance(record.spec.target, Scenic):
        return _scenes(record, model, data)
    x, origin = hundred(record, model, data)
    return list(torch.split(x, list(BATCHES))), origin


def sizes(batches: Sequence[Tensor]) -> dict[str, list[list[int]]]:
    """Height and width of each batch, where they differ."""
    found = [list(batch.shape[2:]) for batch in batches]
    return {"sizes": found} if any(size != found[0] for size in found) else {}


def _scenes(record: Record, model: nn.Module, data: Callable[[], Dataset[Labelled]]) -> tuple[list[Tensor], str]:
    """Parts of pictures of the validation and test splits, in two sizes; drawn ones where these are too small."""
    shape = input_shape(record.spec, record.preprocessing)
    wanted = [(count, size) for size in SCENES for count in OF_SCENES]
    try:
        opened = data()
        ids = torch.cat([opened.splits["val"], opened.splits["test"]]).cpu()
        most = max(OF_SCENES)
        ids = ids[torch.linspace(0, max(len(ids) - 1, 0), min(len(ids), most)).round().long()]
        pictures = [opened.source.read(ids[k : k + 1].numpy(), record.preprocessing)[0] for k in range(len(ids))]
    except SnellenError as error:
        return _all_drawn(record, model, shape, wanted), f"drawn at random: {error.cause}"
    height, width = (max(side) for side in zip(*SCENES, strict=True))
    good = [
        x
        for x in pictures
        if x.shape[0] == shape[0] and x.shape[1] >= height and x.shape[2] >= width and x.dtype == _dtype(record)
    ]
    if not good:
        return _all_drawn(record, model, shape, wanted), "drawn at random: the pictures are smaller than that"
    cut = [torch.stack([_middle(good[k % len(good)], *size) for k in range(count)]) for count, size in wanted]
    return cut, "of the validation and test splits"


def _middle(x: Tensor, height: int, width: int) -> Tensor:
    """(C, height, width) out of the middle of a picture."""
    top, left = (x.shape[1] - height) // 2, (x.shape[2] - width) // 2
    return x[:, top : top + height, left : left + width]


def _all_drawn(
    record: Record, model: nn.Module, shape: tuple[int | None, ...], wanted: Sequence[tuple[int, tuple[int, int]]]
) -> list[Tensor]:
    return [drawn(record, model, (shape[0], *size), count) for count, size in wanted]


def hundred(record: Record, model: nn.Module, data: Callable[[], Dataset[Labelled]]) -> tuple[Tensor, str]:
    """Inputs of the run's validation and test splits; drawn ones where these are fewer, or cannot be read.

    Returns:
        (100, ...) raw inputs, and where they are from.
    """
    shape = input_shape(record.spec, record.preprocessing)
    try:
        opened = data()
        ids = torch.cat([opened.splits["val"], opened.splits["test"]])
        ids = ids[torch.linspace(0, len(ids) - 1, COUNT).round().long()] if len(ids) > COUNT else ids
        x = opened.source.read(ids.cpu().numpy(), record.preprocessing)
    except SnellenError as error:
        return drawn(record, model, shape, COUNT), f"drawn at random: {error.cause}"
    fits = all(known in (None, side) for known, side in zip(shape, x.shape[1:], strict=True))
    if not fits or x.dtype != _dtype(record) or not len(x):
        return drawn(record, model, shape, COUNT), "drawn at random: the run's data is no longer what it was"
    if len(x) == COUNT:
        return x, "of the validation and test splits"
    more = drawn(record, model, tuple(x.shape[1:]), COUNT - len(x))
    return torch.cat([x, more]), f"{len(x)} of the validation and test splits, {len(more)} drawn at random"


def _dtype(record: Record) -> torch.dtype:
    found: torch.dtype = getattr(torch, record.spec.input.dtype)
    return found


def drawn(record: Record, model: nn.Module, shape: tuple[int | None, ...], count: int) -> Tensor:
    """Pictures: uniform over the range of values; columns: normal, as the training data was."""
    generator = torch.Generator().manual_seed(record.seed)
    sizes = (count, *(ANY if side is None else side for side in shape))
    dtype = _dtype(record)
    if record.spec.modality == "image":
        low, high = learned_range(model, record.spec) or (0.0, 1.0 if dtype.is_floating_point else 255.0)
        x = low + (high - low) * torch.rand(sizes, generator=generator, dtype=torch.float64)
    else:
        found = standardizer(model)
        x = torch.randn(sizes, generator=generator, dtype=torch.float64)
        if found is not None:
            x = x * found.std.cpu() + found.mean.cpu()
    return x.to(dtype) if dtype.is_floating_point else x.round().to(torch.int64).to(dtype)

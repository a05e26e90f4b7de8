"""Example inputs of exported models: shape and type of the input, and batches for the parity check."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from snellen.core.errors import SnellenError
from snellen.core.experience import Experience
from snellen.core.record import Record
from snellen.core.spec import Preprocessing, Scenic, Spec
from snellen.data.experience import read_inputs
from snellen.modalities import modality_of
from snellen.nn.layers import Standardize

NUM_SAMPLES = 100
BATCH_SIZES = (1, 3, 32, 64)  # of the 100 samples: the exported model must accept any batch size
RANDOM_SIZE = 32  # pixels a side of random images, if the model accepts any size
IMAGE_SIZES = ((128, 160), (100, 75))  # height and width of images for dense prediction,
IMAGE_BATCH_SIZES = (1, 4)  # and their batch sizes


def input_shape(spec: Spec, preprocessing: Preprocessing) -> tuple[int | None, ...]:
    """Input shape of one sample, (C, H, W), (T, D) or (D,); None for a variable size."""
    return modality_of(spec).sample_shape(spec, preprocessing)


def standardizer(model: nn.Module) -> Standardize | None:
    """Standardisation layer of a model, if it has one."""
    return next((m for m in model.modules() if isinstance(m, Standardize)), None)


def learned_range(model: nn.Module, spec: Spec) -> tuple[float, float] | None:
    """Lowest and highest pixel value that the model distinguishes; None for other inputs than images."""
    layer = standardizer(model)
    has_range = layer is not None and modality_of(spec).has_value_range
    return (float(layer.low), float(layer.high)) if layer is not None and has_range else None


def example_batches(record: Record, model: nn.Module, data: Callable[[], Experience]) -> tuple[list[Tensor], str]:
    """Batches of inputs for the parity check, and a text about their origin."""
    if isinstance(record.spec.target, Scenic) and record.spec.input.has_pixels:
        return _dense_batches(record, model, data)
    x, origin = example_samples(record, model, data)
    return list(torch.split(x, list(BATCH_SIZES))), origin


def differing_sizes(batches: Sequence[Tensor]) -> dict[str, list[list[int]]]:
    """Height and width of each batch as {"sizes": [...]}; empty if all are equal."""
    sizes = [list(batch.shape[2:]) for batch in batches]
    return {"sizes": sizes} if any(size != sizes[0] for size in sizes) else {}


def _dense_batches(record: Record, model: nn.Module, data: Callable[[], Experience]) -> tuple[list[Tensor], str]:
    """Centre crops of validation and test images in two sizes; random images if these are too small."""
    shape = input_shape(record.spec, record.preprocessing)
    requested = [(count, size) for size in IMAGE_SIZES for count in IMAGE_BATCH_SIZES]
    try:
        opened = data()
        ids = torch.cat([opened.splits["val"], opened.splits["test"]]).cpu()
        max_images = max(IMAGE_BATCH_SIZES)
        ids = ids[torch.linspace(0, max(len(ids) - 1, 0), min(len(ids), max_images)).round().long()]
        images = [read_inputs(opened, ids[k : k + 1], record.preprocessing)[0] for k in range(len(ids))]
    except SnellenError as error:
        return _random_batches(record, model, shape, requested), f"generated at random: {error.cause}"
    height, width = (max(side) for side in zip(*IMAGE_SIZES, strict=True))
    suitable = [
        x
        for x in images
        if x.shape[0] == shape[0] and x.shape[1] >= height and x.shape[2] >= width and x.dtype == _dtype(record)
    ]
    if not suitable:
        return _random_batches(record, model, shape, requested), "generated at random: the images are too small"
    crops = [
        torch.stack([_centre_crop(suitable[k % len(suitable)], *size) for k in range(count)])
        for count, size in requested
    ]
    return crops, "from the validation and test splits"


def _centre_crop(x: Tensor, height: int, width: int) -> Tensor:
    """Centre crop of an image, (C, height, width)."""
    top, left = (x.shape[1] - height) // 2, (x.shape[2] - width) // 2
    return x[:, top : top + height, left : left + width]


def _random_batches(
    record: Record, model: nn.Module, shape: tuple[int | None, ...], requested: Sequence[tuple[int, tuple[int, int]]]
) -> list[Tensor]:
    return [random_inputs(record, model, (shape[0], *size), count) for count, size in requested]


def example_samples(record: Record, model: nn.Module, data: Callable[[], Experience]) -> tuple[Tensor, str]:
    """100 inputs of the validation and test splits, filled up with random inputs if there are fewer or none.

    Returns:
        (100, ...) raw inputs, and a text about their origin.
    """
    shape = input_shape(record.spec, record.preprocessing)
    try:
        opened = data()
        ids = torch.cat([opened.splits["val"], opened.splits["test"]])
        ids = ids[torch.linspace(0, len(ids) - 1, NUM_SAMPLES).round().long()] if len(ids) > NUM_SAMPLES else ids
        x = read_inputs(opened, ids, record.preprocessing)
    except SnellenError as error:
        return random_inputs(record, model, shape, NUM_SAMPLES), f"generated at random: {error.cause}"
    fits = all(known in (None, side) for known, side in zip(shape, x.shape[1:], strict=True))
    if not fits or x.dtype != _dtype(record) or not len(x):
        return random_inputs(record, model, shape, NUM_SAMPLES), "generated at random: the data of the run has changed"
    if len(x) == NUM_SAMPLES:
        return x, "from the validation and test splits"
    additional = random_inputs(record, model, tuple(x.shape[1:]), NUM_SAMPLES - len(x))
    return torch.cat(
        [x, additional]
    ), f"{len(x)} from the validation and test splits, {len(additional)} generated at random"


def _dtype(record: Record) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, record.spec.input.dtype)
    return dtype


def random_inputs(record: Record, model: nn.Module, shape: tuple[int | None, ...], count: int) -> Tensor:
    """Random inputs: uniform over the value range if there is one, else normal with the training statistics."""
    generator = torch.Generator().manual_seed(record.seed)
    shape_with_batch = (count, *(RANDOM_SIZE if side is None else side for side in shape))
    dtype = _dtype(record)
    if modality_of(record.spec).has_value_range:
        low, high = learned_range(model, record.spec) or (0.0, 1.0 if dtype.is_floating_point else 255.0)
        x = low + (high - low) * torch.rand(shape_with_batch, generator=generator, dtype=torch.float64)
    else:
        layer = standardizer(model)
        x = torch.randn(shape_with_batch, generator=generator, dtype=torch.float64)
        if layer is not None:
            x = x * layer.std.cpu() + layer.mean.cpu()
    return x.to(dtype) if dtype.is_floating_point else x.round().to(torch.int64).to(dtype)

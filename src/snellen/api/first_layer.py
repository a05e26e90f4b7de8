"""First layer of a run: its filters, and their maps of an image file."""

from __future__ import annotations

from pathlib import Path

from snellen.api.trained_run import TrainedRun
from snellen.core.errors import UsageError
from snellen.data.cache import LineCallback, ignore_line
from snellen.report.first_layer import FirstLayer, first_layer


def first_layer_of(
    trained: TrainedRun, path: str | Path | None = None, announce: LineCallback = ignore_line
) -> FirstLayer:
    """The first layer of a run, a convolution in two dimensions.

    Args:
        path: an image file, read as for `predict`, whose maps are computed; None: the first training image.
        announce: receives messages on how the file is read.
    Raises:
        UsageError: the run reads no images, its network begins with another layer, or its filters are too small to be
            compared. DataError: the file cannot be read.
    """
    spec = trained.spec
    if len(spec.inputs) != 1 or not spec.input.has_pixels:
        raise UsageError(
            f"{trained.folder} reads {' and '.join(one.modality for one in spec.inputs.values())}, not an image",
            "Give a run of a convolutional network on images.",
        )
    if path is None:
        x = trained.data.example("train", trained.record.device)
    else:
        from snellen.modalities import inputs

        _, x = next(iter(inputs([str(path)], spec, trained.record.preprocessing, announce)))
        x = x.to(next(iter(trained.model.parameters())).device) if any(True for _ in trained.model.parameters()) else x
    layer = first_layer(trained.task, trained.model, x, spec)
    if layer is None:
        raise UsageError(
            f"{trained.folder} ({trained.record.learner}) does not begin with a trained convolution",
            "Give a run of lenet, convnet, resnet20 or another convolutional network.",
        )
    if not layer.is_comparable:
        height, width = layer.filters.shape[2:]
        raise UsageError(
            f"The filters of the first layer of {trained.folder} have {width}x{height} elements",
            "Give a run whose first filters have 3 to 31 elements a side.",
        )
    return layer

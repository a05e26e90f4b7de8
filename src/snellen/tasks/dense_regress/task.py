"""Dense regression task: numbers at every pixel, such as depth, normals, edges, reflectance or flow, or at every step
of a sequence or voxel of a volume.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from snellen.architectures.dense import DEFAULTS
from snellen.core.errors import Diverged
from snellen.core.run import Run
from snellen.core.spec import PixelNumbers, Spec
from snellen.core.task import ExportedModel, Output, PredictionDict, Predictions, Task
from snellen.core.views import Metric
from snellen.data.dataset import Dataset, Labelled
from snellen.data.worst_predictions import WorstMaps
from snellen.metrics.dense_regression import MetricSuite, metric_suite
from snellen.metrics.intervals import metric_of_sums, statistic_of_sums
from snellen.modalities import modality_of
from snellen.nn.dense.padding import size_divisor
from snellen.tasks.dense_regress import views
from snellen.tasks.dense_regress.display import DISPLAY
from snellen.training.dense import inside, predict_places

MAX_LEVEL = (1 << 16) - 1  # of a 16-bit image


class DenseRegressor(Protocol):
    """Interface of a model of this task."""

    def predict(self, x: Tensor, /) -> Tensor:
        """(B, C, H, W) raw images to (B, T, H, W) numbers in the user's units; probabilities for edges.

        Of other inputs, such as sequences (B, T, D) and volumes (B, C, Z, Y, X): (B, K, *places) with K numbers.
        """


def target_of(spec: Spec) -> PixelNumbers:
    """Target of the data: the kind and names of the numbers at every pixel."""
    assert isinstance(spec.target, PixelNumbers)
    return spec.target


def suite_of(spec: Spec) -> MetricSuite:
    return metric_suite(target_of(spec).kind, target_of(spec).names)


def headline(spec: Spec) -> str:
    """Headline metric of the kind of map, as common in the literature."""
    return next(iter(suite_of(spec).metrics))


def predict(model: DenseRegressor, data: Dataset[Labelled], split: str, run: Run) -> Predictions:
    """Predict every image of a split: sums for the metrics, and the predicted maps of the worst images.

    Returns:
        sums (N, S) float64, see `metrics.dense_regression`; truth (N, 1 + T), number of pixels with ground truth and
        the sum of each number; ids (N,); and the predicted maps of the worst images: sizes (N, 3), zero for the others,
        and maps, concatenated and flat.
    Raises:
        Diverged: when a number is not finite.
    """
    suite, worst = suite_of(data.spec), WorstMaps()
    sums, truths, ids = [], [], []
    with torch.inference_mode():
        for row, scene in enumerate(data.scenes(split, run.device).in_order()):
            assert isinstance(scene.truth, Tensor)
            predicted = predict_places(model.predict, scene.image, data.spec.input).cpu()  # (T, H, W)
            true = scene.truth.cpu()
            if not bool(torch.isfinite(predicted).all()):
                raise Diverged(
                    f"A prediction is NaN or infinite: {data.name(scene.id)}",
                    "Train with a smaller --lr, and check that sample.",
                )
            sums.append(suite.image_sums(predicted, true))
            valid = torch.isfinite(true)
            truths.append(
                torch.cat([valid.all(0).sum()[None].double(), torch.where(valid, true, 0.0).double().flatten(1).sum(1)])
            )
            shown = predicted.masked_fill(~inside(scene.image, data.spec.input).cpu(), torch.nan)
            worst.offer(row, float(image_errors(sums[-1][None], data.spec)[0]), shown)
            ids.append(scene.id)
    sizes, maps = worst.flattened(len(ids), torch.float32)
    count = 1 + len(target_of(data.spec).names)
    return {
        "sums": torch.stack(sums) if sums else torch.zeros(0, 1, dtype=torch.float64),
        "truth": torch.stack(truths) if truths else torch.zeros(0, count, dtype=torch.float64),
        "ids": torch.tensor(ids, dtype=torch.int64),
        "sizes": sizes,
        "maps": maps,
    }


def image_errors(sums: Tensor, spec: Spec) -> Tensor:
    """Error of each image, (N, S) to (N,): its headline metric, higher is worse; 0 where it has no ground truth."""
    definition = next(iter(suite_of(spec).metrics.values()))
    value = definition.from_sums(sums)
    return (1 - value if definition.higher_is_better else value).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def measure(predictions: Predictions, spec: Spec) -> dict[str, Metric]:
    """Metrics over all pixels with ground truth, with intervals over images."""
    target = target_of(spec)
    if not len(predictions["ids"]):
        return {headline(spec): Metric(value=None, reason="the split is empty")}
    metrics = {}
    for index, (name, definition) in enumerate(suite_of(spec).metrics.items()):
        unit = definition.fixed_unit
        if definition.in_target_unit and target.units:
            unit = target.units[index - 1 if name.startswith("mean absolute error of") else 0]
        like = Metric(
            value=None,
            over=modality_of(spec).noun,
            higher_is_better=definition.higher_is_better,
            percent=definition.percent,
            unit=unit,
            reason=f"no {spec.input.place} of the split has the ground truth that it needs",
        )
        metrics[name] = metric_of_sums(like, predictions["sums"], definition.from_sums)
    return metrics


def resampled_headline(predictions: Predictions, spec: Spec) -> Callable[[Tensor], Tensor]:
    """Headline metric of resampled images, a function of (R, n) rows."""
    return statistic_of_sums(predictions["sums"], next(iter(suite_of(spec).metrics.values())).from_sums)


def predict_batch(model: DenseRegressor, x: Tensor, spec: Spec) -> list[PredictionDict]:
    """Predict raw samples; each prediction is of the form of `encode_map`."""
    predictions = []
    with torch.inference_mode():
        for sample in x:  # one at a time: the maps of many large images would not fit into memory
            predicted = predict_places(model.predict, sample, spec.input).float()  # (T, H, W)
            if not bool(torch.isfinite(predicted).all()):
                raise Diverged("A prediction is NaN or infinite", "Train with a smaller --lr, and check that sample.")
            predicted = predicted.masked_fill(~inside(sample, spec.input), torch.nan)
            predictions.append(encode_map(predicted.cpu(), target_of(spec).names))
    return predictions


def encode_map(values: Tensor, names: tuple[str, ...]) -> PredictionDict:
    """Encode a map as plain data.

    Args:
        values: (T, H, W) or (T, *places), NaN for no value.
    Returns:
        "numbers": mean, minimum and maximum of each number. Of images "map": {"png": {name: base64 of a 16-bit PNG}},
        whose level v means low + (high − low) v / 65535; of volumes also with its "size" Z, Y, X, the slices below one
        another. Of sequences "values": {name: the number at every step up to the end, None for none}.
    """
    numbers = {}
    for name, channel in zip(names, values.double(), strict=True):
        valid = channel[torch.isfinite(channel)]
        values_or_zero = valid if len(valid) else channel.new_zeros(1)
        numbers[name] = {
            "mean": float(values_or_zero.mean()),
            "least": float(values_or_zero.min()),
            "most": float(values_or_zero.max()),
        }
    if values.ndim == 2:
        known = torch.nonzero(torch.isfinite(values).any(0))
        end = int(known.max()) + 1 if len(known) else 0
        steps = {
            name: [value if math.isfinite(value) else None for value in row[:end].tolist()]
            for name, row in zip(names, values, strict=True)
        }
        return {"numbers": numbers, "values": steps}
    low, high = (select(n[key] for n in numbers.values()) for select, key in ((min, "least"), (max, "most")))
    levels = ((values.double() - low) / max(high - low, 1e-30)).nan_to_num(nan=0.0).clamp(0, 1) * MAX_LEVEL
    png = {name: _png(channel.flatten(0, -2)) for name, channel in zip(names, levels, strict=True)}
    size = {"size": list(values.shape[1:])} if values.ndim > 3 else {}
    return {"numbers": numbers, "map": {"png": png, "low": low, "high": high, **size}}


def _png(levels: Tensor) -> str:
    """Encode (H, W) levels 0 … 65535 as base64 of a 16-bit PNG."""
    import numpy as np
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(levels.round().numpy().astype(np.uint16)).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def truth(data: Dataset[Labelled], id: int) -> dict[str, Any]:
    """Ground truth of a sample, in the format of a prediction."""
    assert data.annotations is not None
    values = data.annotations.load(id)
    assert isinstance(values, Tensor)
    return encode_map(values, target_of(data.spec).names)


class ExportedDenseRegressor(nn.Module):
    """Dense regressor for export: the numbers of every pixel, as a named tensor."""

    def __init__(self, model: DenseRegressor) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W) raw images, or other samples, to "numbers" (B, T, H, W) or (B, T, *places)."""
        return {"numbers": self.model.predict(x)}


def export(model: DenseRegressor, spec: Spec) -> ExportedModel:
    target = target_of(spec)
    numbers = Output(name="numbers", columns=target.names, units=target.units or ("",) * len(target.names))
    exported = ExportedDenseRegressor(model)
    return ExportedModel(module=exported, outputs=(numbers,), min_size=1 + size_divisor(exported))


TASK: Task[Dataset[Labelled], DenseRegressor] = Task(
    name="dense-regress",
    question="Which number belongs to each pixel, step or voxel?",
    default=lambda spec: DEFAULTS.get(spec.modality, "baseline"),
    headline=headline,
    applies_to=lambda spec: isinstance(spec.target, PixelNumbers),
    predict=predict,
    measure=measure,
    predict_batch=predict_batch,
    errors=lambda predictions, spec: image_errors(predictions["sums"], spec),
    resampled_headline=resampled_headline,
    worst_samples=lambda predictions, spec, count: torch.argsort(
        image_errors(predictions["sums"], spec), descending=True, stable=True
    )[:count],
    truth=truth,
    views=lambda predictions, data, spec: views.views(predictions, data, spec, image_errors(predictions["sums"], spec)),
    export=export,
    display=DISPLAY,
)

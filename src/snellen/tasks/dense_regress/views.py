"""Report views of a dense regressor: worst images, precision-recall curve of edges."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from snellen.core.spec import PixelNumbers, Spec
from snellen.core.task import Predictions
from snellen.core.torchvision_import import import_torchvision
from snellen.core.views import AnnotatedImage, ImageGrid, Plot, Series, View
from snellen.data.dataset import Dataset, Labelled
from snellen.data.worst_predictions import unflatten
from snellen.metrics import boundary
from snellen.modalities import modality_of
from snellen.modalities.place_maps import display_range

MAX_CURVES = 4  # sequences that are drawn
_LEGENDS = {
    "depth": "dark is near.",
    "normals": "red is to the right, green up, blue towards the viewer.",
    "edges": "white is an edge.",
    "flow": "hue is the direction, saturation the distance.",
}


def views(predictions: Predictions, data: Dataset[Labelled], spec: Spec, errors: Tensor) -> list[View]:
    """Worst images, and for edges the precision-recall curve.

    Args:
        errors: (N,) of the images.
    """
    assert isinstance(spec.target, PixelNumbers)
    result = _worst(predictions, data, spec.target, errors)
    if spec.target.kind == "edges":
        result.append(_precision_recall(predictions["sums"].sum(0)))
    return result


def _worst(predictions: Predictions, data: Dataset[Labelled], target: PixelNumbers, errors: Tensor) -> list[View]:
    """Worst samples: images and volumes with ground truth and prediction side by side; curves of sequences."""
    modality, spec_input = modality_of(data.spec), data.spec.input
    draw_map = modality.draw_map
    if draw_map is None:
        return []
    if len(spec_input.place_axes) == 1:
        return _curves(predictions, data, target, errors)
    items = []
    assert data.annotations is not None
    maps = unflatten(predictions["sizes"], predictions["maps"])
    for row in sorted(maps, key=lambda row: -float(errors[row])):
        id = int(predictions["ids"][row])
        x, true = data.image(id), data.annotations.load(id)
        assert isinstance(true, Tensor)
        low, high = display_range(x, data.value_range)
        x = draw_map(x.movedim(spec_input.feature_axis, 0))
        first = x[:3] if x.shape[0] == 6 else x  # of two frames
        caption = (
            f"{'1 − ' if _is_complement(target) else ''}{_headline(target)} {float(errors[row]):.3g}\n{data.name(id)}"
        )
        items.append(
            AnnotatedImage(
                values=first,
                low=low,
                high=high,
                caption=caption,
                panels=render_maps([draw_map(true), draw_map(maps[row])], target, ("ground truth", "prediction")),
            )
        )
    layout = f"; {modality.map_layout}" if modality.map_layout else ""
    noun = modality.noun.removesuffix("s").capitalize()
    legend = _LEGENDS.get(target.kind, "dark is low.")
    caption = f"{noun}, ground truth, prediction{layout}; {legend}"
    return [ImageGrid(title=f"Worst {modality.noun}", items=items, caption=caption)]


def _curves(predictions: Predictions, data: Dataset[Labelled], target: PixelNumbers, errors: Tensor) -> list[View]:
    """The first number of the worst sequences at every step: ground truth and prediction."""
    assert data.annotations is not None
    maps, place = unflatten(predictions["sizes"], predictions["maps"]), data.spec.input.place
    noun = modality_of(data.spec).noun
    unit = f" [{target.units[0]}]" if target.units and target.units[0] else ""
    plots: list[View] = []
    for row in sorted(maps, key=lambda row: -float(errors[row]))[:MAX_CURVES]:
        id = int(predictions["ids"][row])
        true, predicted = data.annotations.load(id), maps[row]
        assert isinstance(true, Tensor)
        stride = max(1, -(-true.shape[1] // max(predicted.shape[1], 1)))
        steps = [float(k) for k in range(0, true.shape[1], stride)]
        series = [
            Series(name=name, x=steps, y=[v if v == v else None for v in values.tolist()])
            for name, values in (("ground truth", true[0, ::stride]), ("prediction", predicted[0]))
        ]
        caption = f"{_headline(target)} {float(errors[row]):.3g}: among the largest of the {noun}."
        plots.append(Plot(title=data.name(id), x=place, y=f"{target.names[0]}{unit}", series=series, caption=caption))
    return plots


def _is_complement(target: PixelNumbers) -> bool:
    return target.kind == "edges" or (target.kind == "numbers" and len(target.names) > 1)


def _headline(target: PixelNumbers) -> str:
    return {
        "depth": "abs-rel",
        "normals": "mean angle [°]",
        "edges": "boundary F",
        "flow": "end-point error",
        "reflectance": "scale-invariant MSE",
        "numbers": "R2" if len(target.names) > 1 else "mean absolute error",
    }[target.kind]


def render_maps(maps: list[Tensor], target: PixelNumbers, captions: tuple[str, ...]) -> list[AnnotatedImage]:
    """Render maps (T, H, W) as images on a common scale, that of the first."""
    if target.kind == "flow":
        return [
            AnnotatedImage(values=colours, low=0.0, high=255.0, caption=caption)
            for colours, caption in zip(_flow_colours(maps), captions, strict=True)
        ]
    low, high = {"normals": (-1.0, 1.0), "edges": (0.0, 1.0), "reflectance": (0.0, 1.0)}.get(target.kind, (0.0, 0.0))
    if low == high:
        finite = maps[0][torch.isfinite(maps[0])]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    return [
        AnnotatedImage(values=values, low=low, high=high, caption=caption)
        for values, caption in zip(maps, captions, strict=True)
    ]


def _flow_colours(maps: list[Tensor]) -> list[Tensor]:
    """Optical flow (2, H, W) as (3, H, W) colours of the standard colour wheel, on the scale of the first."""
    import_torchvision()
    from torchvision.utils import flow_to_image

    filled = [values.nan_to_num(nan=0.0) for values in maps]
    max_length = float(filled[0].norm(dim=0).max().clamp(min=1e-6))
    colours = []
    for values in filled:
        limited = values * (max_length / values.norm(dim=0).clamp(min=max_length))
        scale_row = torch.zeros(2, 1, values.shape[2])
        scale_row[0] = max_length  # fixes the scale, which torchvision takes from the maximum of each image
        colours.append(cast(Tensor, flow_to_image(torch.cat([limited, scale_row], 1)))[:, :-1])
    return colours


def _precision_recall(sums: Tensor) -> Plot:
    precision, recall = boundary.precision_recall(sums)
    best = float(boundary.f_measure(sums))
    x, y = recall.nan_to_num(nan=0.0).tolist(), [p if p == p else None for p in precision.tolist()]
    return Plot(
        title="Precision-recall curve",
        x="recall",
        y="precision",
        series=[Series(name="test", x=x, y=y)],
        caption=f"Edge pixels at thresholds from 0.05 to 0.95; the best F is {best:.3f}.",
    )

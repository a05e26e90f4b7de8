"""What the report shows of numbers of pixels: a function of what was said of a split."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from snellen.core.spec import PixelNumbers, Spec
from snellen.core.task import Predictions
from snellen.core.views import AnnotatedImage, ImageGrid, Plot, Series, View
from snellen.data.dataset import Dataset, Labelled
from snellen.data.worst_maps import kept
from snellen.metrics import boundary
from snellen.nn.layers import robust_range

_MEANING = {
    "depth": "near is dark.",
    "normals": "red to the right, green up, blue towards the viewer.",
    "edges": "white is an edge.",
    "flow": "the colour is the direction, its strength the distance.",
}


def views(said: Predictions, data: Dataset[Labelled], spec: Spec, wrong: Tensor) -> list[View]:
    """The worst pictures, and for edges precision against recall.

    Args:
        wrong: (N,) how wrong the answer to each picture is.
    """
    assert isinstance(spec.target, PixelNumbers)
    shown: list[View] = [_worst(said, data, spec.target, wrong)]
    if spec.target.kind == "edges":
        shown.append(_precision_recall(said["sums"].sum(0)))
    return shown


def _worst(said: Predictions, data: Dataset[Labelled], target: PixelNumbers, wrong: Tensor) -> ImageGrid:
    """Picture, truth and answer beside each other."""
    items = []
    assert data.annotations is not None
    maps = kept(said["sizes"], said["maps"])
    for row in sorted(maps, key=lambda row: -float(wrong[row])):
        id = int(said["ids"][row])
        x, true = data.picture(id), data.annotations.of(id)
        assert isinstance(true, Tensor)
        low, high = data.value_range or ((0.0, 255.0) if x.dtype == torch.uint8 else robust_range(x.double()))
        first = x[:3] if x.shape[0] == 6 else x  # of two frames
        caption = f"{'1 − ' if _share(target) else ''}{_figure(target)} {float(wrong[row]):.3g}\n{data.name(id)}"
        items.append(
            AnnotatedImage(
                values=first,
                low=low,
                high=high,
                caption=caption,
                beside=drawn([true, maps[row]], target, ("truth", "answer")),
            )
        )
    return ImageGrid(
        title="Worst pictures",
        items=items,
        caption=f"Picture, truth, answer; {_MEANING.get(target.kind, 'low is dark.')}",
    )


def _share(target: PixelNumbers) -> bool:
    return target.kind == "edges" or (target.kind == "numbers" and len(target.names) > 1)


def _figure(target: PixelNumbers) -> str:
    return {
        "depth": "abs-rel",
        "normals": "mean angle [°]",
        "edges": "boundary F",
        "flow": "end-point error",
        "reflectance": "scale-invariant MSE",
        "numbers": "R2" if len(target.names) > 1 else "mean absolute error",
    }[target.kind]


def drawn(maps: list[Tensor], target: PixelNumbers, captions: tuple[str, ...]) -> list[AnnotatedImage]:
    """Maps (T, H, W) as pictures on one scale, that of the first."""
    if target.kind == "flow":
        return [
            AnnotatedImage(values=colours, low=0.0, high=255.0, caption=caption)
            for colours, caption in zip(_flow_colours(maps), captions, strict=True)
        ]
    low, high = {"normals": (-1.0, 1.0), "edges": (0.0, 1.0), "reflectance": (0.0, 1.0)}.get(target.kind, (0.0, 0.0))
    if low == high:
        there = maps[0][torch.isfinite(maps[0])]
        low, high = (float(there.min()), float(there.max())) if len(there) else (0.0, 1.0)
    return [
        AnnotatedImage(values=values, low=low, high=high, caption=caption)
        for values, caption in zip(maps, captions, strict=True)
    ]


def _flow_colours(maps: list[Tensor]) -> list[Tensor]:
    """(2, H, W) flows as (3, H, W) colours of the usual wheel, on the scale of the first."""
    from torchvision.utils import flow_to_image

    known = [values.nan_to_num(nan=0.0) for values in maps]
    most = float(known[0].norm(dim=0).max().clamp(min=1e-6))
    colours = []
    for values in known:
        shorter = values * (most / values.norm(dim=0).clamp(min=most))
        corner = torch.zeros(2, 1, values.shape[2])
        corner[0] = most  # a row that fixes the scale, which the wheel takes from each picture
        colours.append(cast(Tensor, flow_to_image(torch.cat([shorter, corner], 1)))[:, :-1])
    return colours


def _precision_recall(sums: Tensor) -> Plot:
    precision, recall = boundary.precision_recall(sums)
    best = float(boundary.f_measure(sums))
    x, y = recall.nan_to_num(nan=0.0).tolist(), [p if p == p else None for p in precision.tolist()]
    return Plot(
        title="Precision against recall",
        x="recall",
        y="precision",
        series=[Series(name="test", x=x, y=y)],
        caption=f"Of edge pixels, as the threshold rises from 0.05 to 0.95; the best F is {best:.3f}.",
    )

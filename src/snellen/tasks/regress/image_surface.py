"""Views of a regressor whose samples are the pixels of one image: the fitted image, and how it sharpens in training.

Source: lecture 004, "Approximating an image": I = f(x, y).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from snellen.core.spec import Numbers, Spec
from snellen.core.task import TrainingModel
from snellen.core.views import AnnotatedImage, ImageGrid, Plot, Series, View
from snellen.data.dataset import Dataset, Labelled

if TYPE_CHECKING:
    from snellen.tasks.regress.task import Regressor

BATCH = 4096  # pixels predicted at once
PANEL_SIDE, GRID_SIDE = 320, 160  # pixels: sides up to which the report draws panels, and images of a grid, unscaled
TOP_ERROR = 0.995  # quantile of the errors that is drawn white


class _Pixels:
    """The pixels of the image on their grid, and predictions for all of them."""

    def __init__(self, data: Dataset[Labelled], spec: Spec) -> None:
        assert isinstance(spec.target, Numbers)
        self.rows, self.columns = spec.input.grid
        self.x = data.source.read(np.arange(len(data.source)), data.preprocessing)
        self.original = self.on_grid(data.truth.double())
        self.low, self.high = float(self.original.min()), float(self.original.max())
        self.unit = next(iter(spec.target.units), "")
        self.validation = data.splits["val"]

    def on_grid(self, values: Tensor) -> Tensor:
        """(N, C) to (C, rows, columns)."""
        return values.T.reshape(-1, self.rows, self.columns)

    def fitted(self, model: Regressor) -> Tensor:
        """(C, rows, columns) predictions at all pixels."""
        tensors = (*model.parameters(), *model.buffers()) if isinstance(model, nn.Module) else ()
        device = next((tensor.device for tensor in tensors), torch.device("cpu"))
        with torch.inference_mode():
            parts = [model.predict(part.to(device)).double().cpu() for part in torch.split(self.x, BATCH)]
        return self.on_grid(torch.cat(parts))

    def validation_error(self, fitted: Tensor) -> float | None:
        """Mean absolute error over the validation pixels and channels; None without such pixels."""
        error = (fitted - self.original).abs().flatten(1)[:, self.validation]
        return float(error.mean()) if error.numel() else None

    def render(self, values: Tensor, side: int, caption: str, panels: Sequence[AnnotatedImage] = ()) -> AnnotatedImage:
        """An image in the range of the original."""
        values = enlarged(values, side)
        return AnnotatedImage(values=values, low=self.low, high=self.high, caption=caption, panels=panels)


def total_variation(image: Tensor) -> float:
    """Total variation: the sum of the absolute differences of neighbouring pixels, of rows and of columns.

    Args:
        image: (C, H, W).
    Source: Rudin, Osher and Fatemi 1992 (the anisotropic form).
    """
    return float(image.diff(dim=1).abs().sum() + image.diff(dim=2).abs().sum())


def enlarged(image: Tensor, side: int) -> Tensor:
    """(C, H, W) repeated by the largest whole factor for which the longer side has at most `side` pixels."""
    times = max(1, side // max(image.shape[1:]))
    return image.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)


def has_grid(data: Dataset[Labelled], spec: Spec) -> bool:
    """Whether the samples are all pixels of one image."""
    return bool(spec.input.grid) and len(data.source) == int(np.prod(spec.input.grid))


def fitted_image(model: Regressor, data: Dataset[Labelled], spec: Spec) -> list[View]:
    """The image, the fitted image and the absolute error; empty for other data."""
    if not has_grid(data, spec):
        return []
    pixels = _Pixels(data, spec)
    fitted = pixels.fitted(model)
    error = (fitted - pixels.original).abs().mean(0, keepdim=True)  # over the channels
    top = float(torch.quantile(error.flatten()[:: max(1, error.numel() // 1_000_000)], TOP_ERROR))
    unit = f" {pixels.unit}" if pixels.unit else ""
    shown = f"black is {pixels.low:.4g}, white {pixels.high:.4g}{unit}"
    variation = f"total variation of the fit: {_percent(fitted, pixels.original)} of that of the image"
    caption = f"{variation}\nimages: {shown}\nerror: black is 0, white {top:.3g}{unit} or more"
    panels = (
        pixels.render(fitted, PANEL_SIDE, "fitted image"),
        AnnotatedImage(values=enlarged(error, PANEL_SIDE), low=0.0, high=top, caption="absolute error"),
    )
    grid = ImageGrid(
        title="The fitted image",
        items=[pixels.render(pixels.original, PANEL_SIDE, caption, panels)],
        caption="The image, the model at the position of every pixel, and the absolute error, of all splits.",
    )
    return [grid]


def training_views(models: Iterable[TrainingModel], data: Dataset[Labelled], spec: Spec) -> list[View]:
    """The fitted image after epochs 1, 2, 4 …, and its total variation; empty for other data."""
    if not has_grid(data, spec):
        return []
    pixels = _Pixels(data, spec)
    items, epochs, variations = [], list[float](), list[float | None]()
    whole = total_variation(pixels.original)
    for title, epoch, model in models:
        fitted = pixels.fitted(model)
        error = pixels.validation_error(fitted)
        lines = [title]
        if error is not None:
            lines.append(f"error {error:.3g} {pixels.unit}".rstrip())
        lines.append(f"variation {_percent(fitted, pixels.original)}")
        items.append(pixels.render(fitted, GRID_SIDE, "\n".join(lines)))
        if epoch is not None and whole > 0:
            epochs.append(float(epoch))
            variations.append(total_variation(fitted) / whole * 100)
    if not items:
        return []
    views: list[View] = [
        ImageGrid(
            title="How the fit sharpens in training",
            items=[*items, pixels.render(pixels.original, GRID_SIDE, "the image")],
            caption="error: mean absolute error over the validation pixels and channels. variation: total variation, "
            "the sum of the absolute differences of neighbouring pixels, relative to that of the image.",
        )
    ]
    if len(epochs) > 2:
        views.append(
            Plot(
                title="Total variation of the fit",
                x="epoch",
                y="% of that of the image",
                log_x=True,
                series=[Series(name="fit", x=epochs, y=variations)],
                caption="A blurred image has a small total variation.",
            )
        )
    return views


def _percent(fitted: Tensor, original: Tensor) -> str:
    whole = total_variation(original)
    return f"{100 * total_variation(fitted) / whole:.3g} %" if whole > 0 else "undefined"

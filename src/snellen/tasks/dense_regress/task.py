"""Pixels: how much, at every pixel? Depth, normals, edges, reflectance, flow, or any numbers."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from snellen.core.errors import Diverged
from snellen.core.run import Run
from snellen.core.spec import PixelNumbers, Spec
from snellen.core.task import Answer, ExportedModel, Output, Predictions, Task
from snellen.core.views import Metric
from snellen.data.dataset import Dataset, Labelled
from snellen.data.worst_maps import Worst
from snellen.metrics.dense_regression import Judge, judge
from snellen.metrics.intervals import of_sums, over_samples
from snellen.nn.dense.padding import multiple
from snellen.nn.tiling import tiled
from snellen.tasks.dense_regress import views

STEPS = (1 << 16) - 1  # of a 16-bit picture


class Measurer(Protocol):
    """What a model must answer."""

    def predict(self, x: Tensor, /) -> Tensor:
        """(B, C, H, W) raw pictures to (B, T, H, W) numbers in the user's units; shares in 0 … 1 for edges."""


def asked(spec: Spec) -> PixelNumbers:
    """What is asked of every pixel."""
    assert isinstance(spec.target, PixelNumbers)
    return spec.target


def judged(spec: Spec) -> Judge:
    return judge(asked(spec).kind, asked(spec).names)


def headline(spec: Spec) -> str:
    """The figure that the field of these numbers quotes."""
    return next(iter(judged(spec).figures))


def predict(model: Measurer, data: Dataset[Labelled], split: str, run: Run) -> Predictions:
    """What is added up of every picture of a split, and the maps of the worst.

    Returns:
        sums (N, S) float64, see `metrics.maps`; truth (N, 1 + T), known pixels and the sum of each number; ids (N,);
        and of the worst pictures what was said: sizes (N, 3), zero for the others, and maps, flat, one after another.
    Raises:
        Diverged: when a number is not finite.
    """
    how, worst = judged(data.spec), Worst()
    sums, truths, ids = [], [], []
    with torch.inference_mode():
        for row, scene in enumerate(data.scenes(split, run.device).in_order()):
            assert isinstance(scene.truth, Tensor)
            said, true = tiled(model.predict, scene.image[None])[0].cpu(), scene.truth.cpu()  # (T, H, W)
            if not bool(torch.isfinite(said).all()):
                raise Diverged(
                    f"What is said of {data.name(scene.id)} is not finite",
                    "Train again with a smaller --lr, and look at that picture.",
                )
            sums.append(how.sums(said, true))
            there = torch.isfinite(true)
            truths.append(
                torch.cat([there.all(0).sum()[None].double(), torch.where(there, true, 0.0).double().flatten(1).sum(1)])
            )
            worst.offer(row, float(_wrong(sums[-1][None], data.spec)[0]), said)
            ids.append(scene.id)
    sizes, maps = worst.told(len(ids), torch.float32)
    count = 1 + len(asked(data.spec).names)
    return {
        "sums": torch.stack(sums) if sums else torch.zeros(0, 1, dtype=torch.float64),
        "truth": torch.stack(truths) if truths else torch.zeros(0, count, dtype=torch.float64),
        "ids": torch.tensor(ids, dtype=torch.int64),
        "sizes": sizes,
        "maps": maps,
    }


def _wrong(sums: Tensor, spec: Spec) -> Tensor:
    """(N, S) to (N,): the headline of each picture alone, so turned that more is worse; 0 where it has no truth."""
    figure = next(iter(judged(spec).figures.values()))
    value = figure.of(sums)
    return (1 - value if figure.higher else value).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def measure(said: Predictions, spec: Spec) -> dict[str, Metric]:
    """The figures of the field, each pixel with a truth counting alike, with intervals over pictures."""
    target = asked(spec)
    if not len(said["ids"]):
        return {headline(spec): Metric(value=None, reason="the split is empty")}
    metrics = {}
    for place, (name, figure) in enumerate(judged(spec).figures.items()):
        unit = figure.own_unit
        if figure.unit and target.units:
            unit = target.units[place - 1 if name.startswith("mean absolute error of") else 0]
        found = over_samples(said["sums"], figure.of)
        if found is None:
            metrics[name] = Metric(
                value=None,
                higher_is_better=figure.higher,
                percent=figure.percent,
                unit=unit,
                reason="no pixel of the split has a truth that decides it",
            )
            continue
        value, low, high = found
        metrics[name] = Metric(
            value=value,
            low=low,
            high=high,
            over="pictures",
            higher_is_better=figure.higher,
            percent=figure.percent,
            unit=unit,
        )
    return metrics


def resampled_headline(said: Predictions, spec: Spec) -> Callable[[Tensor], Tensor]:
    """The headline of (R, n) resampled pictures."""
    return of_sums(said["sums"], next(iter(judged(spec).figures.values())).of)


def answer(model: Measurer, x: Tensor, spec: Spec) -> list[Answer]:
    """A batch of raw pictures to {"numbers": {name: {"mean", "least", "most"}}, "map": {"png", "low", "high"}}."""
    answers = []
    with torch.inference_mode():
        for picture in x:  # one at a time: the maps of many large pictures would fill the memory
            said = tiled(model.predict, picture[None])[0].float().cpu()  # (T, H, W)
            if not bool(torch.isfinite(said).all()):
                raise Diverged("A number is not finite", "Train again with a smaller --lr, and look at that picture.")
            answers.append(told(said, asked(spec).names))
    return answers


def told(values: Tensor, names: tuple[str, ...]) -> Answer:
    """A map as plain data.

    Args:
        values: (T, H, W), NaN where nothing is known.
    Returns:
        mean, least and most of each number; and {name: base64 of a 16-bit PNG}, whose value v stands for
        low + (high − low) v / 65535.
    """
    numbers = {}
    for name, channel in zip(names, values.double(), strict=True):
        there = channel[torch.isfinite(channel)]
        few = there if len(there) else channel.new_zeros(1)
        numbers[name] = {"mean": float(few.mean()), "least": float(few.min()), "most": float(few.max())}
    low, high = (pick(n[key] for n in numbers.values()) for pick, key in ((min, "least"), (max, "most")))
    steps = ((values.double() - low) / max(high - low, 1e-30)).nan_to_num(nan=0.0).clamp(0, 1) * STEPS
    drawn = {name: _png(channel) for name, channel in zip(names, steps, strict=True)}
    return {"numbers": numbers, "map": {"png": drawn, "low": low, "high": high}}


def _png(steps: Tensor) -> str:
    """(H, W) of 0 … 65535 as base64 of a PNG."""
    import numpy as np
    from PIL import Image

    written = io.BytesIO()
    Image.fromarray(steps.round().numpy().astype(np.uint16)).save(written, format="PNG")
    return base64.b64encode(written.getvalue()).decode()


def truth(data: Dataset[Labelled], id: int) -> dict[str, Any]:
    """The map of a picture as an answer would say it."""
    assert data.annotations is not None
    there = data.annotations.of(id)
    assert isinstance(there, Tensor)
    return told(there, asked(data.spec).names)


class ExportedDenseRegressor(nn.Module):
    """The numbers of every pixel, as a named tensor."""

    def __init__(self, model: Measurer) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W) raw pictures to "numbers" (B, T, H, W)."""
        return {"numbers": self.model.predict(x)}


def export(model: Measurer, spec: Spec) -> ExportedModel:
    target = asked(spec)
    numbers = Output(name="numbers", columns=target.names, units=target.units or ("",) * len(target.names))
    outward = ExportedDenseRegressor(model)
    return ExportedModel(module=outward, outputs=(numbers,), least=1 + multiple(outward))


TASK: Task[Dataset[Labelled], Measurer] = Task(
    name="dense-regress",
    question="How much is it, at every pixel?",
    default=lambda spec: "unet",
    headline=headline,
    asks=lambda spec: isinstance(spec.target, PixelNumbers),
    predict=predict,
    measure=measure,
    answer=answer,
    errors=lambda said, spec: _wrong(said["sums"], spec),
    resampled_headline=resampled_headline,
    worst=lambda said, spec, count: torch.argsort(_wrong(said["sums"], spec), descending=True, stable=True)[:count],
    truth=truth,
    views=lambda said, data, spec: views.views(said, data, spec, _wrong(said["sums"], spec)),
    export=export,
)

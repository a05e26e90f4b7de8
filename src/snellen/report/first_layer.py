"""First layer of a network for images: its filters beside the derivatives and Gabor filters they resemble, its maps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from snellen.core.spec import Spec
from snellen.core.task import Task
from snellen.core.views import AnnotatedImage, Cell, ImageGrid, Table, View
from snellen.filters.resemblance import MAX_SIDE, MIN_SIDE, Match, Resemblance, limits, resemblances
from snellen.nn.layers import Standardize

MAX_SHOWN = 16  # filters in the report, those with the largest norms
MAX_COMPARED = 64  # filters whose templates are searched
MAX_LAYERS, MAX_MAPS, MAX_MAP_SIDE = 4, 8, 64  # of deeper layers, maps of each, pixels of a side
RGB = 3


@dataclass(frozen=True, kw_only=True)
class FirstLayer:
    """The first layer of a network, a convolution in two dimensions.

    Its input is standardised: (pixel − mean) / std, by channel. On raw pixels it computes the correlation with
    `raw_filters`, plus a constant.

    Args:
        filters: (D, C, h, w) weights. bias: (D,); None: the layer has none.
        stride, padding, dilation: in pixels, as in `nn.Conv2d`.
        mean, std: (C,) of the standardisation; None: the network has none.
        image: (C, H, W) the standardised input of one sample. maps: (D, H', W') its output.
    """

    filters: Tensor
    bias: Tensor | None
    stride: tuple[int, int]
    padding: tuple[int, int] | str
    dilation: tuple[int, int]
    mean: Tensor | None
    std: Tensor | None
    image: Tensor
    maps: Tensor

    @property
    def raw_filters(self) -> Tensor:
        """(D, C, h, w) the filters on raw pixels: weights / std of the channel."""
        return self.filters if self.std is None else self.filters / self.std.view(1, -1, 1, 1).to(self.filters)

    @property
    def description(self) -> str:
        """Size, stride and padding, and what the filters read, in one line."""
        count, channels, height, width = self.filters.shape
        each = f"{channels} channel{'s' if channels != 1 else ''}"
        text = f"{count} filters of {width}x{height} on {each}, stride {self.stride[1]}, padding {self.padding}"
        if self.mean is None or self.std is None:
            return text
        mean, std = (", ".join(f"{value:.4g}" for value in numbers.tolist()[:4]) for numbers in (self.mean, self.std))
        return f"{text}; they read (pixel − {mean}) / {std}: divided by {std} they are the filters of raw pixels"

    @property
    def is_comparable(self) -> bool:
        """Whether the filters have a size at which a resemblance has a meaning."""
        sides = self.filters.shape[2:]
        return min(sides) >= MIN_SIDE and max(sides) <= MAX_SIDE


class _Reached(Exception):
    """The first layer with weights has been executed: the rest of the network is not."""


@contextlib.contextmanager
def _first_call(model: nn.Module) -> Iterator[list[tuple[nn.Module, Any, Any]]]:
    """Stop a network after its first layer with weights; the layer, its input and its output are in the list."""
    calls: list[tuple[nn.Module, Any, Any]] = []

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        calls.append((module, inputs[0] if inputs else None, output))
        raise _Reached

    layers = [part for part in model.modules() if not list(part.children()) and list(part.parameters())]
    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        with contextlib.suppress(_Reached):
            yield calls
    finally:
        for handle in handles:
            handle.remove()


def first_layer(task: Task[Any, Any], model: nn.Module, x: Tensor, spec: Spec) -> FirstLayer | None:
    """The first layer with weights in the order of execution, if it is a plain convolution of images.

    Args:
        model: in evaluation mode. x: (B, C, H, W) raw inputs; the first is used.
    Returns:
        None if the samples are no images, the network begins with another layer, or no convolution was trained.
    """
    if len(spec.inputs) != 1 or not spec.input.has_pixels or not len(x):
        return None
    if not any(type(part) is nn.Conv2d and part.weight.requires_grad for part in model.modules()):
        return None
    with torch.inference_mode(), _first_call(model) as calls:
        task.predict_batch(model, x[:1], spec)
    if not calls:
        return None
    layer, given, output = calls[0]
    if type(layer) is not nn.Conv2d or layer.groups != 1:  # subclasses may change their weights
        return None
    standardize = next((part for part in model.modules() if isinstance(part, Standardize)), None)
    return FirstLayer(
        filters=layer.weight.detach().cpu().float(),
        bias=None if layer.bias is None else layer.bias.detach().cpu().float(),
        stride=(layer.stride[0], layer.stride[1]),
        padding=layer.padding if isinstance(layer.padding, str) else (layer.padding[0], layer.padding[1]),
        dilation=(layer.dilation[0], layer.dilation[1]),
        mean=None if standardize is None else standardize.mean.detach().cpu(),
        std=None if standardize is None else standardize.std.detach().cpu(),
        image=given[0].detach().cpu().float(),
        maps=output[0].detach().cpu().float(),
    )


def first_layer_views(task: Task[Any, Any], model: nn.Module, x: Tensor, spec: Spec) -> list[View]:
    """Views of a network that begins with a convolution, else none: its filters, and feature maps of one image."""
    layer = first_layer(task, model, x, spec)
    if layer is None:
        return []
    views = layer_views(layer, "Of one training image") if layer.is_comparable else []
    return [*views, *deeper_views(task, model, x, spec)]


def layer_views(layer: FirstLayer, whose: str) -> list[View]:
    """The filters beside what they resemble, at most 16, and their feature maps.

    Args:
        whose: whose maps they are, the beginning of a sentence: "Of one training image".
    """
    matches = compare_filters(layer)
    order = sorted(list(matches)[:MAX_SHOWN])
    return [_filter_grid(layer, order, matches), _map_grid(layer, order, whose)]


def deeper_views(task: Task[Any, Any], model: nn.Module, x: Tensor, spec: Spec) -> list[View]:
    """Feature maps of further convolutions for the first of the inputs (B, C, H, W): at most 4 layers, 8 maps each."""
    maps: dict[str, tuple[Tensor, tuple[int, ...]]] = {}

    def remember(name: str, output: Tensor) -> None:
        if output.ndim != 4 or not len(output):
            return
        few = output.detach()[0, :MAX_MAPS].float()
        size = (min(few.shape[1], MAX_MAP_SIDE), min(few.shape[2], MAX_MAP_SIDE))
        maps.setdefault(name, (functional.adaptive_avg_pool2d(few, size).cpu(), tuple(output.shape[1:])))

    handles = [
        layer.register_forward_hook(lambda _, __, output, name=name: remember(name, output))
        for name, layer in model.named_modules()
        if type(layer) is nn.Conv2d
    ]
    try:
        with torch.inference_mode():
            task.predict_batch(model, x[:1], spec)
    finally:
        for handle in handles:
            handle.remove()
    names = [name for name, (few, _) in list(maps.items())[1:] if min(few.shape[1:]) > 1]
    count = min(MAX_LAYERS, len(names))
    chosen = [names[round(k * (len(names) - 1) / max(count - 1, 1))] for k in range(count)]
    items = [
        _signed(
            values[None], f"{_short(name)}\nmap {k + 1} of {maps[name][1][0]}, {maps[name][1][2]}x{maps[name][1][1]}"
        )
        for name in chosen
        for k, values in enumerate(maps[name][0])
    ]
    which = f"{count} of {len(names)} further convolutions" if count < len(names) else "the further convolutions"
    caption = f"Of the same image: the first maps of {which}, in their order, before the activation. Mid-grey is 0."
    return [ImageGrid(title="Feature maps of deeper layers", items=items, caption=caption)] if items else []


def _short(name: str) -> str:
    """Name of a layer without those of the modules that hold every network."""
    return name.removeprefix("network.").removeprefix("body.")


def compare_filters(layer: FirstLayer) -> dict[int, Resemblance]:
    """What the filters resemble, by their index: at most 64, those with the largest norms, the largest first."""
    norms = layer.filters.flatten(1).norm(dim=1)
    largest = norms.argsort(descending=True, stable=True)[:MAX_COMPARED].tolist()
    return dict(zip(largest, resemblances(layer.filters[largest].double().numpy()), strict=True))


def filter_table(layer: FirstLayer) -> Table:
    """What each filter resembles, with the parameters of the template, r, and the fraction that it explains."""
    matches = compare_filters(layer)
    rows: list[list[Cell]] = []
    for index in sorted(matches):
        one = matches[index]
        best, near = one.best, nearest(one)
        colour = [f"{100 * one.colour_fraction:.0f} %"] if layer.filters.shape[1] > 1 else []
        shown = best or near
        r = None if shown is None else round(shown.correlation, 3)
        limit = None if shown is None else shown.limit
        if best is None:
            name = "is zero" if near is None else f"neither; nearest: {near.family}"
            rows.append([index + 1, name, "", r, limit, *colour, None])
        else:
            rows.append([index + 1, best.name, best.parameters, r, limit, *colour, f"{100 * one.explained:.0f} %"])
    colour = ["one colour"] if layer.filters.shape[1] > 1 else []
    return Table(
        title="",
        columns=["filter", "resembles", "parameters", "r", "limit of r", *colour, "explained"],
        rows=rows,
        caption=_legend(list(matches.values()), layer, any(one.best is not None for one in matches.values()))
        + " One colour: the fraction of the sum of squares in the first principal component of the channels."
        * bool(colour),
    )


def nearest(one: Resemblance) -> Match | None:
    """The match that lies least below its limit, of a filter that resembles nothing."""
    near = [match for match in (one.derivative, one.gabor) if match is not None]
    return max(near, key=lambda match: match.margin, default=None)


_NEITHER = "Beside a filter that resembles neither is its nearest template, “nearest: …”, which does not count. "


def _filter_grid(layer: FirstLayer, order: list[int], matches: dict[int, Resemblance]) -> ImageGrid:
    shown = [matches[k] for k in order]
    has_neither = any(one.best is None and nearest(one) is not None for one in shown)
    return ImageGrid(
        title="Filters of the first layer",
        items=[_filter_item(layer.filters[k], k, matches[k]) for k in order],
        caption=f"{_which(len(order), len(layer.filters))}Left the weights (mid-grey is 0), right the derivative of a "
        f"Gaussian or the Gabor filter that they resemble most. {_NEITHER * has_neither}"
        f"{_legend(list(matches.values()), layer, any(one.best is not None for one in shown))}",
        compact=True,
    )


def _filter_item(weights: Tensor, index: int, matches: Resemblance) -> AnnotatedImage:
    """A filter, and to its right the template it resembles, in the colour of the filter. Mid-grey is 0."""
    in_colour = len(weights) == RGB
    values = weights if in_colour else torch.from_numpy(matches.pattern).float()[None]
    best, near = matches.best, nearest(matches)
    lines, panels = [f"filter {index + 1}"], []
    if best is not None:
        lines += [best.name, best.parameters, f"r {best.correlation:.2f}, explains {100 * matches.explained:.0f} %"]
    elif near is not None:
        lines += ["resembles neither", f"nearest: {near.name}", near.parameters]
        lines += [f"r {near.correlation:.2f}, limit {near.limit:.2f}"]
    else:
        lines.append("is zero")
    if (shown := best or near) is not None:
        template = torch.from_numpy(shown.template).float()[None]
        if in_colour:
            template = template * torch.from_numpy(matches.colour).float().view(-1, 1, 1)
        panels = [_signed(template, f"{'nearest' if best is None else 'template'}: {shown.name}")]
    return AnnotatedImage(
        values=values, low=-_peak(values), high=_peak(values), caption="\n".join(lines), panels=panels
    )


def _peak(values: Tensor) -> float:
    return float(values.abs().max()) or 1.0


def _signed(values: Tensor, caption: str) -> AnnotatedImage:
    """An image (C, H, W) in which mid-grey is 0."""
    return AnnotatedImage(values=values, low=-_peak(values), high=_peak(values), caption=caption)


def _which(shown: int, count: int) -> str:
    return "" if shown == count else f"The {shown} of {count} filters with the largest norms. "


def _legend(matches: list[Resemblance], layer: FirstLayer, has_percentage: bool) -> str:
    height, width = layer.filters.shape[2:]
    derivative, gabor = limits(height, width)
    passing = sum(one.best is not None for one in matches)
    few = _which(len(matches), len(layer.filters))
    percentage = (
        "; the percentage is the fraction of the filter's sum of squares, all channels, that the template explains"
    )
    percentage *= has_percentage
    return (
        f"{few}r is the normalised correlation{percentage}. Orientations go from the x axis towards the y axis, which "
        "points down. "
        f"A filter of {width}x{height} resembles a derivative if r > {derivative:.2f}, a Gabor filter if r > "
        f"{gabor:.2f}: 2.5 % of random filters of this size exceed each after the same search. {passing} of "
        f"{len(matches)} filters {'passes' if passing == 1 else 'pass'}; of as many random ones about "
        f"{0.05 * len(matches):.1f} would."
    )


def _map_grid(layer: FirstLayer, order: list[int], whose: str) -> ImageGrid:
    image = layer.image if len(layer.image) == RGB else layer.image.mean(0, keepdim=True)
    low, high = float(image.min()), float(image.max())
    items = [AnnotatedImage(values=image, low=low, high=high, caption="input, standardised")]
    items += [_signed(layer.maps[k : k + 1], f"map of filter {k + 1}") for k in order]
    return ImageGrid(
        title="Feature maps of the first layer",
        items=items,
        caption=f"{whose}: the correlation of each filter with the standardised input, plus its bias, before the "
        "activation. Mid-grey is 0.",
    )

"""Fully convolutional networks: scores from the maps of any encoder, added up from coarse to fine.

Source: Long, Shelhamer and Darrell 2015, "Fully convolutional networks for semantic segmentation"; lecture 003.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, fx, nn

from snellen.nn.dense.padding import cropped, padded
from snellen.nn.dense.upsampling import upsampling

SIDE = 256  # pixels a side of the picture on which the maps' sizes are found


class FCN(nn.Module):
    """Scores of the coarsest map, doubled and added to those of the next finer one, down to a stride.

    Args:
        encoder: a module whose maps are taken; its head is left out.
        channels: of its pictures.
        stride: of the finest map that is taken: 32, 16, 8 ...; maps that the encoder does not have are passed over.
        upsample: how scores are enlarged; see `upsampling`.
    """

    def __init__(self, encoder: nn.Module, channels: int, outputs: int, stride: int, upsample: str) -> None:
        super().__init__()
        found = maps_of(encoder, channels)
        strides = sorted((s for s in found if s >= stride), reverse=True) or [max(found)]
        self.strides = strides
        self.multiple = strides[0]
        self.encoder = without_head(encoder, [found[s][0] for s in strides])
        self.scores = nn.ModuleList(nn.Conv2d(found[s][1], outputs, 1) for s in strides)
        finer = [before // after for before, after in zip(strides, [*strides[1:], 1], strict=True)]
        self.ups = nn.ModuleList(
            upsampling(upsample, outputs, outputs, factor) if factor > 1 else nn.Identity() for factor in finer
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, H, W), for any H and W."""
        height, width = x.shape[-2:]
        maps: list[Tensor] = self.encoder(padded(x, self.multiple))  # coarsest first
        y = self.ups[0](self.scores[0](maps[0]))
        for seen, scores, up in zip(maps[1:], self.scores[1:], self.ups[1:], strict=True):
            y = up(y + scores(seen))
        return cropped(y, height, width)


def maps_of(encoder: nn.Module, channels: int) -> dict[int, tuple[str, int]]:
    """Stride -> the last step of the computation that gives a map of it, by name, and the map's channels.

    Strides are powers of two; what an encoder pools to a single pixel at its end is no map.
    """
    graph = fx.symbolic_trace(copy.deepcopy(encoder).to("meta").eval())
    watched = _Shapes(graph)
    watched.run(torch.empty(1, channels, SIDE, SIDE, device="meta"))
    found: dict[int, tuple[str, int]] = {}
    for name, shape in watched.shapes.items():
        side = shape[2]
        if side > 1 and side == shape[3] and SIDE % side == 0 and math.log2(SIDE // side).is_integer():
            found[SIDE // side] = (name, shape[1])
    return found


class _Shapes(fx.Interpreter):
    """Computes a graph and remembers the shape of every map in it."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.shapes: dict[str, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> object:
        made = super().run_node(n)
        if isinstance(made, Tensor) and made.ndim == 4 and n.op != "placeholder":
            self.shapes[n.name] = tuple(made.shape)
        return made


def without_head(encoder: nn.Module, names: list[str]) -> fx.GraphModule:
    """The encoder's computation up to some of its steps, whose results it gives as a list; weights keep their names."""
    graph = fx.symbolic_trace(encoder)
    steps = {node.name: node for node in graph.graph.nodes}
    (old,) = [node for node in graph.graph.nodes if node.op == "output"]
    graph.graph.erase_node(old)
    graph.graph.output([steps[name] for name in names])
    graph.graph.eliminate_dead_code()
    graph.delete_all_unused_submodules()
    graph.recompile()
    return graph


def freeze_norms(model: nn.Module) -> None:
    """Batch normalisation by the means and deviations that it has, and its scales as they are: for few tiles a step."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            for weight in module.parameters():
                weight.requires_grad_(False)


class Frozen(nn.Module):
    """A network whose batch normalisation stays frozen when the rest is trained."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        freeze_norms(body)

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        freeze_norms(self)
        return self

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return y

"""Fully convolutional network (FCN): class scores from the feature maps of any encoder, summed from coarse to fine.

Source: Long, Shelhamer and Darrell 2015, "Fully convolutional networks for semantic segmentation"; lecture 003.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, fx, nn

from snellen.nn.dense.padding import crop, pad_to_multiple
from snellen.nn.dense.upsampling import upsampling

PROBE_SIDE = 256  # pixels of the image that the sizes of the feature maps are computed for


class FCN(nn.Module):
    """Fully convolutional network: scores of the coarsest map, upsampled and added to those of the next finer map.

    Args:
        encoder: a module that provides the feature maps; its head is removed.
        channels: of the input images.
        stride: of the finest feature map used: 32, 16, 8 ...; strides that the encoder lacks are skipped.
        upsample: upsampling method of the scores; see `upsampling`.
    """

    def __init__(self, encoder: nn.Module, channels: int, outputs: int, stride: int, upsample: str) -> None:
        super().__init__()
        features = feature_maps_by_stride(encoder, channels)
        strides = sorted((s for s in features if s >= stride), reverse=True) or [max(features)]
        self.strides = strides
        self.multiple = strides[0]
        self.encoder = remove_head(encoder, [features[s][0] for s in strides])
        self.scores = nn.ModuleList(nn.Conv2d(features[s][1], outputs, 1) for s in strides)
        factors = [coarse // fine for coarse, fine in zip(strides, [*strides[1:], 1], strict=True)]
        self.ups = nn.ModuleList(
            upsampling(upsample, outputs, outputs, factor) if factor > 1 else nn.Identity() for factor in factors
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K, H, W), for any H and W."""
        height, width = x.shape[-2:]
        maps: list[Tensor] = self.encoder(pad_to_multiple(x, self.multiple))  # coarsest first
        y = self.ups[0](self.scores[0](maps[0]))
        for features, scores, up in zip(maps[1:], self.scores[1:], self.ups[1:], strict=True):
            y = up(y + scores(features))
        return crop(y, height, width)


def feature_maps_by_stride(encoder: nn.Module, channels: int) -> dict[int, tuple[str, int]]:
    """Feature maps of an encoder: stride -> name of the last graph node with that stride, and its channels.

    Strides are powers of two; the global pooling to a single pixel at the end is ignored.
    """
    graph = fx.symbolic_trace(copy.deepcopy(encoder).to("meta").eval())
    recorder = _ShapeRecorder(graph)
    recorder.run(torch.empty(1, channels, PROBE_SIDE, PROBE_SIDE, device="meta"))
    features: dict[int, tuple[str, int]] = {}
    for name, shape in recorder.shapes.items():
        side = shape[2]
        if side > 1 and side == shape[3] and PROBE_SIDE % side == 0 and math.log2(PROBE_SIDE // side).is_integer():
            features[PROBE_SIDE // side] = (name, shape[1])
    return features


class _ShapeRecorder(fx.Interpreter):
    """Runs a graph and records the shape of every feature map."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.shapes: dict[str, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> object:
        result = super().run_node(n)
        if isinstance(result, Tensor) and result.ndim == 4 and n.op != "placeholder":
            self.shapes[n.name] = tuple(result.shape)
        return result


def remove_head(encoder: nn.Module, names: list[str]) -> fx.GraphModule:
    """The encoder's graph up to the named nodes, with their outputs as a list; weights keep their names."""
    graph = fx.symbolic_trace(encoder)
    nodes = {node.name: node for node in graph.graph.nodes}
    (output,) = [node for node in graph.graph.nodes if node.op == "output"]
    graph.graph.erase_node(output)
    graph.graph.output([nodes[name] for name in names])
    graph.graph.eliminate_dead_code()
    graph.delete_all_unused_submodules()
    graph.recompile()
    return graph


def freeze_batch_norm(model: nn.Module) -> None:
    """Freeze batch normalisation, statistics and weights: for training with few tiles per step."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            for weight in module.parameters():
                weight.requires_grad_(False)


class FrozenBatchNorm(nn.Module):
    """A network with frozen batch normalisation, also in training mode."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        freeze_batch_norm(body)

    def train(self, mode: bool = True) -> FrozenBatchNorm:
        super().train(mode)
        freeze_batch_norm(self)
        return self

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return y

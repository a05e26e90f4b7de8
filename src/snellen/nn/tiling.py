"""Tiled inference: large images in overlapping tiles, with bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

MAX_UNTILED_PIXELS = 1 << 20  # larger images are cut into tiles
TILE_SIDE = 768  # pixels
MARGIN = 64  # pixels at the edge of a tile whose outputs are dropped; over the next as many its weight rises to 1
ALIGNMENT = 32  # tiles begin at multiples of this, so that five poolings see the same pixels in every tile


def apply_tiled(
    network: Callable[[Tensor], Tensor],
    x: Tensor,
    max_pixels: int = MAX_UNTILED_PIXELS,
    side: int = TILE_SIDE,
    margin: int = MARGIN,
) -> Tensor:
    """Apply a network to an image, in overlapping tiles if the image is large.

    A pixel near the edge of a tile has less context than in the image. So outputs within `margin` of an edge inside
    the image are dropped, and over the next `margin` pixels the outputs of two tiles are blended. If the receptive
    field reaches no farther than `margin`, the output equals that of the untiled image.

    Args:
        network: (B, C, h, w) to (B, K, h, w).
        x: (B, C, H, W).
        max_pixels: images with at most so many pixels are not cut.
        side, margin: pixels; `side` at least 3 `margin` plus `ALIGNMENT`.
    Returns:
        (B, K, H, W), float32.
    """
    height, width = x.shape[-2:]
    if height * width <= max_pixels:
        return network(x)
    rows, columns = tile_spans(height, side, margin), tile_spans(width, side, margin)
    column_weights, row_weights = tile_weights(columns, width, margin), tile_weights(rows, height, margin)
    y: Tensor | None = None
    for (top, bottom), row_weight in zip(rows, row_weights, strict=True):
        for (left, right), column_weight in zip(columns, column_weights, strict=True):
            output = network(x[..., top:bottom, left:right]).float()  # (B, K, h, w)
            if y is None:
                y = output.new_zeros(*output.shape[:2], height, width)
            weight = row_weight[:, None] * column_weight  # (h, w)
            y[..., top:bottom, left:right] += output * weight.to(output.device)
    assert y is not None
    return y


def tile_spans(length: int, side: int, margin: int) -> list[tuple[int, int]]:
    """Start and stop of the tiles along one axis; each overlaps its neighbour by at least 3 `margin`."""
    if length <= side + ALIGNMENT:
        return [(0, length)]
    step = max(ALIGNMENT, (side - 3 * margin) // ALIGNMENT * ALIGNMENT)
    starts = list(range(0, length - side, step))
    last = -(-(length - side) // ALIGNMENT) * ALIGNMENT  # the last aligned start that reaches the end
    return [(start, start + side) for start in starts] + [(last, length)]


def tile_weights(spans: list[tuple[int, int]], length: int, margin: int) -> list[Tensor]:
    """Blending weight of each tile at each of its pixels along one axis; the weights of all tiles sum to one."""
    weights = []
    for start, stop in spans:
        position = torch.arange(start, stop, dtype=torch.float32) + 0.5
        rise = ((position - start - margin) / margin).clamp(0, 1) if start > 0 else torch.ones_like(position)
        fall = ((stop - margin - position) / margin).clamp(0, 1) if stop < length else torch.ones_like(position)
        weights.append(torch.minimum(rise, fall))
    total = torch.zeros(length)
    for (start, stop), weight in zip(spans, weights, strict=True):
        total[start:stop] += weight
    return [weight / total[start:stop] for (start, stop), weight in zip(spans, weights, strict=True)]

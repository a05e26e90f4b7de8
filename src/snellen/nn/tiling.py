"""Large pictures a tile at a time, so that memory does not grow with them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

WHOLE = 1 << 20  # pixels of a picture up to which it is asked about at once
SIDE = 768  # pixels of a tile
MARGIN = 64  # pixels from the edge of a tile in which its answer is not used; beyond the next as many it counts fully
GRID = 32  # tiles begin at multiples of this, so that a network that halves them five times halves the same pixels


def tiled(
    ask: Callable[[Tensor], Tensor], x: Tensor, whole: int = WHOLE, side: int = SIDE, margin: int = MARGIN
) -> Tensor:
    """What `ask` says of a picture, put together from overlapping tiles where the picture is large.

    A pixel of a tile sees less of the picture the nearer it lies to the tile's edge. So the answers within `margin` of
    an edge inside the picture are left out, and over the next `margin` pixels one tile's answer gives way to the
    other's. Where nothing farther than `margin` decides on a pixel, the answer is that for the whole picture.

    Args:
        ask: (B, C, h, w) to (B, K, h, w).
        x: (B, C, H, W).
        whole: pixels up to which the picture is not cut.
        side, margin: pixels; `side` at least 3 `margin` and a `GRID` more.
    Returns:
        (B, K, H, W), float32.
    """
    height, width = x.shape[-2:]
    if height * width <= whole:
        return ask(x)
    rows, columns = spans(height, side, margin), spans(width, side, margin)
    across, down = weights(columns, width, margin), weights(rows, height, margin)
    y: Tensor | None = None
    for (top, bottom), tall in zip(rows, down, strict=True):
        for (left, right), wide in zip(columns, across, strict=True):
            said = ask(x[..., top:bottom, left:right]).float()  # (B, K, h, w)
            if y is None:
                y = said.new_zeros(*said.shape[:2], height, width)
            weight = tall[:, None] * wide  # (h, w)
            y[..., top:bottom, left:right] += said * weight.to(said.device)
    assert y is not None
    return y


def spans(length: int, side: int, margin: int) -> list[tuple[int, int]]:
    """From where to where tiles reach along one axis, each at least 3 `margin` into its neighbour."""
    if length <= side + GRID:
        return [(0, length)]
    step = max(GRID, (side - 3 * margin) // GRID * GRID)
    starts = list(range(0, length - side, step))
    last = -(-(length - side) // GRID) * GRID  # as near to the end as the grid allows: nothing is left over
    return [(start, start + side) for start in starts] + [(last, length)]


def weights(spans: list[tuple[int, int]], length: int, margin: int) -> list[Tensor]:
    """How much each tile counts at each of its pixels along one axis; over all tiles they add up to one."""
    each = []
    for start, stop in spans:
        place = torch.arange(start, stop, dtype=torch.float32) + 0.5
        rise = ((place - start - margin) / margin).clamp(0, 1) if start > 0 else torch.ones_like(place)
        fall = ((stop - margin - place) / margin).clamp(0, 1) if stop < length else torch.ones_like(place)
        each.append(torch.minimum(rise, fall))
    total = torch.zeros(length)
    for (start, stop), weight in zip(spans, each, strict=True):
        total[start:stop] += weight
    return [weight / total[start:stop] for (start, stop), weight in zip(spans, each, strict=True)]

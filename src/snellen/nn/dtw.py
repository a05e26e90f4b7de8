"""Dynamic time warping (DTW): distances between sequences that may be stretched in time.

Source: Sakoe and Chiba 1978, "Dynamic programming algorithm optimization for spoken word recognition".
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from snellen.core.spec import Input
from snellen.nn.layers import Standardize

MAX_ELEMENTS = 1 << 18  # of a diagonal of pairs that are compared at once: they stay in the cache
QUERIES = 64  # sequences compared at once
_ROUNDING = 1e-9  # so that 0.3 of 10 steps are 3
FEW_FEATURES = 8  # up to which squared differences are summed feature by feature


def dtw_distances(a: Tensor, b: Tensor, band: float = 1.0) -> Tensor:
    """DTW distances between all pairs of two sets of sequences.

    The distance is √c(n, m) with c(i, j) = ‖a_i − b_j‖² + min(c(i−1, j), c(i, j−1), c(i−1, j−1)): the smallest sum of
    squared distances over all alignments that keep the order of steps and match the ends. All features are aligned
    together ("dependent" DTW of several features). The cells of one diagonal i + j are computed at once, of all pairs.

    Args:
        a, b: (B, T, D) and (N, T', D), NaN after the end of each sequence, which has at least one step.
        band: Sakoe-Chiba band, the largest |i − j| as a fraction of the longer sequence, rounded up, and at least the
            difference of the lengths n and m. 0 is the Euclidean distance of sequences of one length; 1: no band.
    Returns:
        (B, N) float64.
    Source: Sakoe and Chiba 1978; Shokoohi-Yekta et al. 2017 (several features).
    """
    size = max(1, MAX_ELEMENTS // (QUERIES * min(a.shape[1], b.shape[1])))
    if torch.compiler.is_exporting():  # of sequences of one length, any number of them
        return torch.cat([_block(a, other, band) for other in torch.split(b, size)], 1)
    rows = [
        torch.cat([_block(part, other, band) for other in torch.split(b, size)], 1) for part in torch.split(a, QUERIES)
    ]
    return torch.cat(rows)


def _block(a: Tensor, b: Tensor, band: float) -> Tensor:
    """`dtw_distances` of pairs that are compared at once."""
    x, y = (torch.where(v.isnan(), 0, v.double()).permute(2, 1, 0).contiguous() for v in (a, b))  # (D, T, B)
    steps, steps_of_b = a.shape[1], b.shape[1]
    radius, end = _radius_and_end(a, b, band)
    widest = radius if isinstance(radius, int) else int(radius.max())
    result = x.new_zeros(x.shape[2], y.shape[2])
    infinite = result[None] + torch.inf
    # Of the last two diagonals: (cells, B, N), the first cell is in row `first`; cells beyond them are infinite.
    before, before_first, before_2, before_2_first = infinite, 0, infinite, 0
    for s in range(steps + steps_of_b - 1):
        low, high = max(0, s - steps_of_b + 1, (s - widest + 1) // 2), min(steps - 1, s, (s + widest) // 2)
        if low > high:  # a diagonal between those of a band of width zero
            before_2, before_2_first, before, before_first = before, before_first, infinite, 0
            continue
        i = torch.arange(low, high + 1, device=x.device)
        cost = _squared_distances(x[:, low : high + 1], y[:, s - i])
        if s:
            left = _rows(before, before_first, low, high, infinite)  # c(i, j − 1)
            above = _rows(before, before_first, low - 1, high - 1, infinite)  # c(i − 1, j)
            diagonal = _rows(before_2, before_2_first, low - 1, high - 1, infinite)
            cost.add_(torch.minimum(torch.minimum(left, above), diagonal))
        if not isinstance(radius, int):
            cost = torch.where((2 * i[:, None, None] - s).abs() > radius, torch.inf, cost)
        if end is None:
            result = cost[-1]  # of the last diagonal, its only cell
        elif bool((end.diagonal == s).any()):
            row = (end.row - low).clamp(0, high - low).expand_as(result)
            result = torch.where(end.diagonal == s, cost.gather(0, row[None])[0], result)
        before_2, before_2_first, before, before_first = before, before_first, cost, low
    return result.sqrt()


class _End(NamedTuple):
    """The last cell of each pair: its diagonal i + j, (B, N), and its row i, (B, 1)."""

    diagonal: Tensor
    row: Tensor


def _radius_and_end(a: Tensor, b: Tensor, band: float) -> tuple[int | Tensor, _End | None]:
    """Radius of the band and last cell of each pair, (B, N); a number and None where all sequences are whole."""
    n, m = ((~v.isnan().any(2)).sum(1) for v in (a, b))
    if torch.compiler.is_exporting() or bool((n == a.shape[1]).all() and (m == b.shape[1]).all()):
        longer, difference = max(a.shape[1], b.shape[1]), abs(a.shape[1] - b.shape[1])
        return max(math.ceil(band * longer - _ROUNDING), difference), None
    return band_radius(n[:, None], m[None], band), _End(n[:, None] + m[None] - 2, n[:, None] - 1)


def band_radius(n: Tensor, m: Tensor, band: float) -> Tensor:
    """Largest |i − j| of an alignment of sequences of n and m steps, see `dtw_distances`."""
    longer = torch.maximum(n, m).double()
    return torch.maximum(torch.ceil(band * longer - _ROUNDING).long(), (n - m).abs())


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(D, L, B) and (D, L, N) to (L, B, N)."""
    if len(x) <= FEW_FEATURES:
        total = x.new_zeros(x.shape[1], x.shape[2], y.shape[2])
        for k in range(len(x)):
            difference = x[k, :, :, None] - y[k, :, None]
            total = total.addcmul_(difference, difference)
        return total
    squares = x.square().sum(0)[:, :, None] + y.square().sum(0)[:, None]
    return torch.baddbmm(squares, x.permute(1, 2, 0), y.permute(1, 0, 2), alpha=-2).clamp_(min=0)


def _rows(cells: Tensor, first: int, low: int, high: int, infinite: Tensor) -> Tensor:
    """Rows low ... high of a diagonal whose first cell is in row `first`; infinite where it has none."""
    start, end = max(low, first), min(high, first + len(cells) - 1)
    if start > end:
        return infinite.expand(high - low + 1, -1, -1)
    inner = cells[start - first : end - first + 1]
    if start == low and end == high:
        return inner
    before, after = infinite.expand(start - low, -1, -1), infinite.expand(high - end, -1, -1)
    return torch.cat([before, inner, after])


def z_normalized(x: Tensor) -> Tensor:
    """Each feature of each sequence with mean 0 and standard deviation 1 over its steps; a constant one is zero.

    Args:
        x: (B, T, D), NaN after the end.
    Returns:
        The same shape, float64, NaN after the end.
    """
    values = x.double()
    inside = ~values.isnan().any(2, keepdim=True)
    count = inside.sum(1, keepdim=True)
    zeroed = torch.where(inside, values, 0)
    centred = torch.where(inside, values - zeroed.sum(1, keepdim=True) / count, 0)
    std = (centred.square().sum(1, keepdim=True) / count).sqrt()
    size = zeroed.abs().amax(1, keepdim=True)
    varies = std > 1e-12 * size  # rounding gives a constant feature a deviation
    return torch.where(inside, torch.where(varies, centred / torch.where(varies, std, 1), 0), torch.nan)


class Steps(nn.Module):
    """The steps of several sequences, one after another. values: (sum of the lengths, D)."""

    variable_length = ("values",)
    values: Tensor

    def __init__(self, features: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("values", torch.empty(0, features, dtype=dtype))


class DTWNeighbours(nn.Module):
    """Stored training sequences with their targets, searched for nearest neighbours by DTW.

    steps: those of all sequences, at the depth of the source; lengths: (N,); y: (N,) or (N, T).

    Args:
        y: of any length; defines the shape and type of targets.
        band: as in `dtw_distances`.
        z_normalize: features are normalised in each sequence, see `z_normalized`; else by the training set.
    """

    variable_length = ("lengths", "y")
    exports_one_length = True  # the cells that are computed depend on the lengths
    lengths: Tensor
    y: Tensor

    def __init__(self, input: Input, y: Tensor, band: float, z_normalize: bool) -> None:
        super().__init__()
        self.standardize = Standardize(input)
        self.band = band
        self.z_normalize = z_normalize
        self.length = input.shape[0]
        self.steps = Steps(input.shape[1] or 1, getattr(torch, input.dtype))
        self.register_buffer("lengths", torch.empty(0, dtype=torch.int64))
        self.register_buffer("y", y[:0])

    def store_samples(self, x: Tensor, y: Tensor) -> None:
        """Store (N, T, D) sequences, NaN after the end of each, and their targets."""
        inside = ~x.isnan().any(2)
        self.steps.values = x[inside].to(self.steps.values.dtype)
        self.lengths = inside.sum(1)
        self.y = y.to(self.y.dtype)

    def stored(self) -> Tensor:
        """The stored sequences, (N, T, D), NaN after the end of each."""
        values = self.steps.values
        if self.length is not None:
            return values.view(-1, self.length, values.shape[1])
        parts = list(torch.split(values, self.lengths.tolist()))
        return nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=torch.nan)

    def normalized(self, x: Tensor) -> Tensor:
        """(B, T, D) raw inputs as they are compared."""
        standard: Tensor = self.standardize(x)
        return z_normalized(standard) if self.z_normalize else standard

    def nearest_targets(self, x: Tensor, k: int) -> Tensor:
        """Targets of the k nearest sequences, nearest first, ties by the order of storing: (B, k) or (B, k, T)."""
        distances = dtw_distances(self.normalized(x), self.normalized(self.stored()), self.band)
        nearest = distances.sort(dim=1, stable=True).indices[:, :k]
        return self.y[nearest]

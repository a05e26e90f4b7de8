"""Copies: the same picture twice, byte for byte or re-encoded or resized, so that none crosses a split.

A copy keeps what is coarse; encoding and resampling disturb only what is fine. So pictures are compared as
thumbnails of 16 x 16, where each pixel averages enough of the picture that a JPEG of quality 75 or a resize by a half
moves almost nothing: without what all pictures of the set share, and at unit length, two copies agree to more than
0.996, which other pictures hardly reach (4 of MNIST's 70,000). Pairs that agree must agree in colour too, and, where
both are large, in detail. The limits were set on CIFAR-100's training pictures and the first 30,000 of MNIST.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.core.spec import Preprocessing
from snellen.data.decode.header import Header, Unusable
from snellen.data.decode.image_files import ImageFiles, in_threads
from snellen.data.file_index import Index
from snellen.data.source import Array, as_read

SIDE = 16  # of a thumbnail, pixels
ALIKE = 0.996  # correlation of copies at 16 x 16
ALIKE_COARSELY = 0.995  # at 8 x 8, for a copy resized to less than twice the thumbnail
MAYBE = 0.98  # at 16 x 16, worth the coarser look
SMALLEST = 16  # pixels of the shorter side below which only exact copies are told
AT_ONCE = 20_000  # pictures that are compared with each other before the first step
PIXELS_AT_ONCE = 2_000_000_000  # pixels that are decoded for it
BYTES_AT_ONCE = 1 << 30  # of an array in memory whose rows are hashed
_PART = 4096  # bytes read at the start, the middle and the end of a file to tell files of equal size apart
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: the part of colour that JPEG keeps best
BLOCK = 1024  # pictures compared with all others at once
_TILE, _DIRECTIONS = 2048, 32  # of the comparison's first look
_ROUNDING = 1e-5  # of float32 in it
_SHARED = 4  # pictures' worth of doubt about what all pictures share, so that two copies alone keep their content

Pair = tuple[int, int]


class Duplicates(NamedTuple):
    """Pairs of sample ids, the smaller first. `bad` are the pictures that could not be decoded on the way.

    `looked` says whether near copies were looked for; else `left` says what was not.
    """

    exact: list[Pair]
    near: list[Pair]
    bad: dict[int, Unusable]
    looked: bool
    left: str = ""


def copies_of_files(source: ImageFiles, full: bool = False) -> Duplicates:
    """Exact copies among all files; near copies where there are few enough, or `full`.

    Pages are compared with those of other files only: those of one file stay together anyway, and are often alike.
    """
    exact = exact_files(source)
    good, pixels = source.different.total(), sum(n * h.height * h.width for h, n in source.different.items())
    if not full and (good > AT_ONCE or pixels > PIXELS_AT_ONCE):
        return Duplicates(exact, [], {}, False, f"contents and near copies of {good:,} pictures")
    thumbs, bad = thumbnails(source)
    sizes = np.array([(h.height, h.width) if isinstance(h, Header) else (0, 0) for h in source.headers])
    again = {b for _, b in exact}
    pairs = [(a, b) for a, b in near_pairs(thumbs, sizes, again) if source.files[a].path != source.files[b].path]
    return Duplicates(exact, [pair for pair in pairs if agree_in_detail(source, sizes, pair)], bad, True)


def copies_of_array(source: Array, full: bool = False) -> Duplicates:
    """Copies among pictures (N, C, H, W) in memory."""
    values = source.values
    if not full and values.numel() * values.element_size() > BYTES_AT_ONCE:
        return Duplicates([], [], {}, False, f"copies among {len(values):,} pictures in memory")
    exact = exact_rows(values)
    if not full and len(values) > AT_ONCE:
        return Duplicates(exact, [], {}, False, f"near copies among {len(values):,} pictures in memory")
    thumbs = torch.cat([_thumbs(part) for part in torch.split(values, 1024)])
    sizes = np.tile(np.array(values.shape[2:]), (len(values), 1))
    return Duplicates(exact, near_pairs(thumbs, sizes, {b for _, b in exact}), {}, True)


def exact_rows(values: Tensor) -> list[Pair]:
    """Pairs (first, other) of equal rows."""
    rows = values.contiguous().flatten(1).view(torch.uint8).numpy()
    return _equal(enumerate(hashlib.blake2b(row, digest_size=16).digest() for row in rows))


def exact_files(source: ImageFiles) -> list[Pair]:
    """Pairs (first, other) of files of equal content, or of all their pages.

    Only files of equal size are read, first in part, and none where it is known of all of them together.
    """
    index, key = Index(source.root), source.key()
    known = index.together("exact", key or "")
    if known is not None:
        return [(a, b) for a, b in np.frombuffer(known, np.int64).reshape(-1, 2).tolist()]
    pairs, complete = _exact_files(source)
    if complete and key is not None:
        index.learn_together("exact", key, np.array(pairs, np.int64).tobytes())
    return pairs


def _exact_files(source: ImageFiles) -> tuple[list[Pair], bool]:
    """The pairs, and whether every file that had to be could be read."""
    by_size = defaultdict(list)
    stacks = _stacks(source)
    for id, file in enumerate(source.files):
        if file.size > 0 and (stacks is None or id in stacks):
            by_size[file.size].append(id)
    twins = [id for ids in by_size.values() if len(ids) > 1 for id in ids]
    parts = _digests(source, twins, "part")
    by_part = defaultdict(list)
    for id, part in parts.items():
        by_part[source.files[id].size, part].append(id)
    again = [id for ids in by_part.values() if len(ids) > 1 for id in ids]
    small = [id for id in again if source.files[id].size <= 3 * _PART]
    whole = {id: parts[id] for id in small}
    whole.update(_digests(source, sorted(set(again) - set(small)), "whole"))
    complete = len(parts) == len(twins) and len(whole) == len(again)
    pairs = _equal(sorted(whole.items()))
    if stacks is None:
        return pairs, complete
    pages = [(stacks[a][page], id) for a, b in pairs for page, id in stacks[b].items() if page in stacks[a]]
    return pages, complete


def _stacks(source: ImageFiles) -> dict[int, dict[int | None, int]] | None:
    """The first sample of each stack of pages -> page -> sample; None where there are no stacks."""
    if source.page is None:
        return None
    stacks: dict[int, dict[int | None, int]] = {}
    path, pages = "", dict[int | None, int]()
    for id, (file, page) in enumerate(zip(source.files, source.page, strict=True)):
        if file.path != path or page in pages:  # a row of a table may name the same file again
            path, pages = file.path, {}
            stacks[id] = pages
        pages[page] = id
    return stacks


def _equal(items: Iterable[tuple[int, bytes]]) -> list[Pair]:
    first: dict[bytes, int] = {}
    return [(first[digest], id) for id, digest in items if first.setdefault(digest, id) != id]


def _digests(source: ImageFiles, ids: Sequence[int], kind: str) -> dict[int, bytes]:
    """Digest of each file, from the index where it is known; files that cannot be read have none."""
    index, files = Index(source.root), {source.files[id].path: source.files[id] for id in ids}
    known = index.known(kind, files)
    missing = [path for path in files if path not in known]
    found = in_threads(lambda path: _digest(source.root / path, files[path].size, kind), missing)
    fresh = {path: digest for path, digest in zip(missing, found, strict=True) if digest}
    index.learn(kind, files, fresh)
    held = {**known, **fresh}
    return {id: held[source.files[id].path] for id in ids if source.files[id].path in held}


def _digest(path: Path, size: int, kind: str) -> bytes:
    try:
        with open(path, "rb") as file:
            if kind == "whole":
                return hashlib.file_digest(file, "sha256").digest()
            if size <= 3 * _PART:
                return hashlib.sha256(file.read()).digest()
            digest = hashlib.sha256()
            for start in (0, size // 2, size - _PART):
                file.seek(start)
                digest.update(file.read(_PART))
            return digest.digest()
    except OSError:
        return b""


def thumbnails(source: ImageFiles) -> tuple[Tensor, dict[int, Unusable]]:
    """(N, 3, 16, 16) float32 of every picture, from the index where it is known, and what cannot be decoded."""
    kind = f"thumb {source.pages}"
    index, files = Index(source.root), {source.name(id): f for id, f in enumerate(source.files)}
    known = index.known(kind, files)
    wanted = {id: source.name(id) for id, h in enumerate(source.headers) if isinstance(h, Header)}
    of_name = {name: id for id, name in wanted.items()}
    missing = sorted(set(of_name) - set(known))
    fresh: dict[str, bytes] = {}
    failed: dict[str, Unusable] = {}

    def work(name: str) -> bytes | Unusable:
        header = source.headers[of_name[name]]
        large = isinstance(header, Header) and min(header.height, header.width) > 8 * SIDE
        try:
            size = (4 * SIDE, 4 * SIDE) if large else None
            picture = source.decoded(of_name[name], Preprocessing(size=size, pages=source.pages))
        except Unusable as error:
            return error
        return _thumbs(picture[None]).numpy().astype(np.float32).tobytes()

    for path, result in zip(missing, in_threads(work, missing), strict=True):
        if isinstance(result, bytes):
            fresh[path] = result
        else:
            failed[path] = result
            if result.kind != "unreadable":
                fresh[path] = json.dumps([result.kind, result.cause, result.remedy]).encode()
    index.learn(kind, files, fresh)
    thumbs = np.zeros((len(source), 3, SIDE, SIDE), np.float32)
    bad: dict[int, Unusable] = {}
    for id, path in wanted.items():
        fact = known.get(path) or fresh.get(path, b"")
        if path in failed:
            bad[id] = failed[path]
        elif len(fact) == thumbs[0].nbytes:
            thumbs[id] = np.frombuffer(fact, np.float32).reshape(thumbs.shape[1:])
        else:
            bad[id] = Unusable(*json.loads(fact))
    return torch.from_numpy(thumbs), bad


def _thumbs(pictures: Tensor) -> Tensor:
    """(B, C, H, W) of any depth to (B, 3, 16, 16) float32; any other number of channels than 3 is averaged."""
    x = as_read(pictures.float(), Preprocessing(size=(SIDE, SIDE)))
    return x if x.shape[1] == 3 else x.mean(1, keepdim=True).expand(-1, 3, -1, -1)


def near_pairs(thumbs: Tensor, sizes: np.ndarray, skip: set[int] = frozenset()) -> list[Pair]:  # type: ignore[assignment]
    """Pairs whose thumbnails say that they are copies.

    Args:
        thumbs: (N, 3, 16, 16) float32.
        sizes: (N, 2) height and width of the pictures, pixels.
        skip: ids that are exact copies of others: one of them is enough.
    """
    grey = (thumbs * torch.tensor(_LUMA).view(1, 3, 1, 1)).sum(1).flatten(1)  # (N, 256)
    step = torch.where(thumbs.flatten(1).abs().amax(1) > 2, 1.0, 1 / 255)  # one grey level; floats may lie in 0 ... 1
    fit = (torch.from_numpy(sizes).amin(1) >= SMALLEST) & (grey.std(1) > step / 2)
    fit[list(skip)] = False
    ids = torch.nonzero(fit)[:, 0]
    if len(ids) < 2:
        return []
    unit = _distinct(grey[ids])
    coarse = _distinct(torch.nn.functional.avg_pool2d(grey[ids].view(-1, 1, SIDE, SIDE), 2).flatten(1))
    colour = _unit(thumbs[ids].flatten(1))
    extent = torch.from_numpy(sizes)[ids]
    one_size = bool((extent == extent[0]).all())
    least = ALIKE if one_size or int(extent.amin()) >= 2 * SIDE else MAYBE
    pairs: list[Pair] = []
    screen = _screen(unit)
    for start in range(0, len(ids), BLOCK):
        a, b = screen(start, least)
        if len(a) > 64 * BLOCK:  # a crowd of look-alikes: each one's best few tie it together as well
            best = torch.triu(unit[start : start + BLOCK] @ unit[start:].T, 1).topk(min(8, len(ids) - start), dim=1)
            row, column = torch.nonzero(best.values >= least, as_tuple=True)
            a, b = row + start, best.indices[row, column] + start
        r = (unit[a] * unit[b]).sum(1)
        a, b, r = a[r >= least], b[r >= least], r[r >= least]
        resized = (extent[a] != extent[b]).any(1) & (torch.minimum(extent[a], extent[b]).amin(1) < 2 * SIDE)
        same = torch.where(resized, (coarse[a] * coarse[b]).sum(1) >= ALIKE_COARSELY, r >= ALIKE)
        same &= (colour[a] * colour[b]).sum(1) >= MAYBE
        shape_a, shape_b = extent[a].double(), extent[b].double()
        one_pixel = 1 / torch.minimum(shape_a, shape_b).amin(1)
        aspect = torch.log(shape_a[:, 0] * shape_b[:, 1] / (shape_a[:, 1] * shape_b[:, 0])).abs()
        same &= aspect <= 2 * one_pixel + 0.02
        pairs += zip(ids[a[same]].tolist(), ids[b[same]].tolist(), strict=True)
    return pairs


def _screen(unit: Tensor) -> Callable[[int, float], tuple[Tensor, Tensor]]:
    """Which pairs may agree, found without comparing all that is known of each.

    Two unit vectors that agree to r lie √(2 − 2r) apart, and their projections no further: so pairs whose projections
    onto the few directions of most variance lie further apart are none. Nothing that agrees is missed.

    Args:
        unit: (N, D) at unit length.
    Returns:
        a function of the first row of a block and r: (P,) and (P,) the rows of pairs, the first in the block and
        smaller.
    """
    few = unit[:: max(1, len(unit) // 20_000)]
    directions = torch.linalg.eigh(few.T @ few).eigenvectors[:, -_DIRECTIONS:]
    flat = unit @ directions  # (N, 32)
    half = flat.square().sum(1, keepdim=True) / 2
    one = torch.ones_like(half)
    rows, columns = torch.cat([flat, -half, one], 1), torch.cat([flat, one, -half], 1)  # their product: −½ distance²

    def near(start: int, least: float) -> tuple[Tensor, Tensor]:
        found = []
        block = rows[start : start + BLOCK]
        for left in range(start, len(columns), _TILE):  # so small that it stays in the processor's cache
            maybe = block @ columns[left : left + _TILE].T >= least - 1 - _ROUNDING
            if bool(maybe.any()):
                a, b = torch.nonzero(maybe, as_tuple=True)
                a, b = a + start, b + left
                found.append(torch.stack([a[b > a], b[b > a]]))
        a, b = torch.cat(found, 1) if found else torch.empty(2, 0, dtype=torch.int64)
        return a, b

    return near


def _distinct(x: Tensor) -> Tensor:
    """(N, D) at unit length, without what all have in common."""
    x = _unit(x)
    return _unit(x - x.sum(0) / (len(x) + _SHARED), centre=False)


def _unit(x: Tensor, centre: bool = True) -> Tensor:
    x = x - x.mean(1, keepdim=True) if centre else x
    return torch.nn.functional.normalize(x, dim=1)


def agree_in_detail(source: ImageFiles, sizes: np.ndarray, pair: Pair) -> bool:
    """Whether large pictures agree in what a thumbnail cannot show: what a half of their resolution adds to it.

    The difference may be a third of the detail, or two and a half of 255 grey levels: what a JPEG of quality 75 takes.
    """
    side = min(4 * SIDE, int(sizes[list(pair)].min()) // 2)
    if side < 2 * SIDE:
        return True
    try:
        preprocessing = Preprocessing(size=(side, side), pages=source.pages)
        a, b = (source.decoded(id, preprocessing).double().mean(0, keepdim=True)[None] for id in pair)
    except Unusable:
        return False
    deep = any(h.dtype != "uint8" for id in pair if isinstance(h := source.headers[id], Header))
    level = float(torch.maximum(a, b).max() - torch.minimum(a, b).min()) / 255 if deep else 1.0
    a, b = (x - as_read(as_read(x, Preprocessing(size=(SIDE, SIDE))), Preprocessing(size=(side, side))) for x in (a, b))
    gain = float((a * b).sum() / (a * a).sum().clamp(min=1e-12))
    left = float((gain * a - b).std())
    return left <= 2.5 * level or (gain > 0 and left <= 0.33 * float(b.std()))


def groups_of(count: int, pairs: Iterable[Pair], groups: np.ndarray | None = None) -> np.ndarray:
    """(N,) int64: the groups joined wherever a pair lies in two of them (union-find with path halving)."""
    parent = np.arange(count)

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = int(parent[i])
        return i

    if groups is not None:
        _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
        parent = np.minimum(np.arange(count), first[inverse])
    for a, b in pairs:
        ra, rb = root(a), root(b)
        parent[max(ra, rb)] = min(ra, rb)
    return np.array([root(i) for i in range(count)], np.int64)

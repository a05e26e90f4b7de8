"""Duplicate images: exact copies, and near copies that are re-encoded or resized, so that none crosses a split.

Encoding and resampling change fine details only. So images are compared as 16 x 16 thumbnails, which a JPEG of
quality 75 or a resize by a half hardly changes: centred on the mean of the dataset and normalised, two copies
correlate above 0.996, which other images rarely do (4 of MNIST's 70,000). Pairs must also agree in colour and, if
both are large, in details. The thresholds were set on the training images of CIFAR-100 and the first 30,000 of MNIST.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snellen.core.input_files import open_regular
from snellen.core.spec import Column, Preprocessing
from snellen.data.check.windows import Windows
from snellen.data.decode.header import Header, UnusableFile
from snellen.data.decode.image_files import ImageFiles, map_threads
from snellen.data.file_index import FileIndex
from snellen.data.file_source import FileSource
from snellen.data.flat_sequences import FlatSequences
from snellen.data.formats.array_files import Hdf5Source
from snellen.data.source import ArraySource, apply_preprocessing

SIDE = 16  # of a thumbnail, pixels
MIN_CORRELATION = 0.996  # minimum correlation of copies at 16 x 16
MIN_COARSE_CORRELATION = 0.995  # at 8 x 8, for images smaller than twice the thumbnail
MIN_CANDIDATE_CORRELATION = 0.98  # at 16 x 16, for pairs that are then compared at 8 x 8
MIN_SIDE = 16  # pixels of the shorter side; smaller images are checked for exact copies only
MAX_IMAGES_ON_OPENING = 20_000  # images compared for near copies before training
MAX_PIXELS_ON_OPENING = 2_000_000_000  # pixels decoded for this comparison
CHANCE_FACTOR = 10  # times as many equal rows as by chance are copies
MAX_STEPS = 1000  # of the smallest difference, between the extremes of a column of levels
MAX_BYTES_ON_OPENING = 1 << 30  # of an array in memory, to hash its rows
_PART_BYTES = 4096  # bytes read at start, middle and end of files of equal size
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601; JPEG preserves luma best
DECODED = 512  # images of at most 4 x SIDE pixels a side kept while their details are compared
BLOCK = 1024  # images compared with all others at once
_TILE, _NUM_DIRECTIONS = 2048, 32  # of the search for candidates
_ROUNDING = 1e-5  # of float32 in this search
_SHRINKAGE = 4  # shrinks the mean as this many zero images would, so that two copies alone keep their content

Pair = tuple[int, int]


class Duplicates(NamedTuple):
    """Pairs of sample ids, the smaller first. `bad` are images that could not be decoded.

    `complete`: whether near copies were searched; else `unchecked` describes what was not. `windows`: of sequences,
    whose overlapping windows are near copies. near_noun: what near copies are, for messages.
    """

    exact: list[Pair]
    near: list[Pair]
    bad: dict[int, UnusableFile]
    complete: bool
    unchecked: str = ""
    windows: Windows | None = None
    near_noun: str = "Near-duplicates"


def find_file_duplicates(source: ImageFiles, full: bool = False) -> Duplicates:
    """Find exact copies among all files, and near copies if there are few enough files or `full` is set.

    Pages are not compared within one file: they share a group anyway, and are often similar.
    """
    exact = exact_file_duplicates(source)
    good, pixels = source.header_counts.total(), sum(n * h.height * h.width for h, n in source.header_counts.items())
    if not full and (good > MAX_IMAGES_ON_OPENING or pixels > MAX_PIXELS_ON_OPENING):
        return Duplicates(exact, [], {}, False, f"contents and near-duplicates of {good:,} images")
    thumbs, bad = thumbnails(source)
    sizes = np.array([(h.height, h.width) if isinstance(h, Header) else (0, 0) for h in source.headers])
    equal_part = {b for _, b in exact}
    pairs = [
        (a, b) for a, b in near_duplicates(thumbs, sizes, equal_part) if source.files[a].path != source.files[b].path
    ]

    @functools.lru_cache(DECODED)
    def decode(id: int, side: int) -> Tensor:
        grey = source.decode(id, Preprocessing(size=(side, side), pages=source.pages)).double()
        return grey.mean(0, keepdim=True)[None]

    deep = [isinstance(h, Header) and h.dtype != "uint8" for h in source.headers]
    near = [(a, b) for a, b in pairs if same_details(decode, sizes[[a, b]], is_deep=deep[a] or deep[b], pair=(a, b))]
    return Duplicates(exact, near, bad, True)


def find_array_duplicates(source: ArraySource, full: bool = False) -> Duplicates:
    """Find copies among images (N, C, H, W) in memory."""
    values = source.values
    if not full and values.numel() * values.element_size() > MAX_BYTES_ON_OPENING:
        return Duplicates([], [], {}, False, f"duplicates among {len(values):,} images in memory")
    exact = exact_row_duplicates(values)
    if not full and len(values) > MAX_IMAGES_ON_OPENING:
        return Duplicates(exact, [], {}, False, f"near-duplicates among {len(values):,} images in memory")
    thumbs = torch.cat([_to_thumbnails(part) for part in torch.split(values, 1024)])
    sizes = np.tile(np.array(values.shape[2:]), (len(values), 1))
    return Duplicates(exact, near_duplicates(thumbs, sizes, {b for _, b in exact}), {}, True)


def find_row_duplicates(source: ArraySource, full: bool = False, columns: Sequence[Column] | None = None) -> Duplicates:
    """Find equal rows (N, D) of numbers, unless they coincide by chance: then they are no copies.

    Args:
        columns: those that the numbers encode; None: each number is a column.
    """
    values = source.values
    if not full and values.numel() * values.element_size() > MAX_BYTES_ON_OPENING:
        return Duplicates([], [], {}, False, f"duplicates among {len(values):,} rows in memory")
    exact = exact_row_duplicates(values)
    if not exact:
        return Duplicates([], [], {}, True)
    sizes = np.bincount(connected_groups(len(values), exact)).astype(np.float64)
    pairs = float((sizes * (sizes - 1) / 2).sum())
    expected = chance_of_equal_rows(values, columns) * len(values) ** 2 / 2
    return Duplicates([] if pairs <= CHANCE_FACTOR * expected else exact, [], {}, True)


def chance_of_equal_rows(values: Tensor, columns: Sequence[Column] | None) -> float:
    """Probability that two rows coincide, if the columns were independent; 0 with a column of measured numbers.

    Of a column of few distinct levels it is the sum of their squared frequencies. Numbers of more than 1,000 steps
    between their extremes count as measured: equal ones are copies.

    Args:
        values: (N, D) encoded rows. columns: those that the numbers encode, categories one-hot; None: one each.
    """
    x = values.double().numpy()
    widths = [1] * x.shape[1]
    if columns:
        widths = [column.width for column in columns]
        if sum(widths) != x.shape[1]:
            widths = [1] * x.shape[1]
    chance, start = 1.0, 0
    for width in widths:
        part = x[:, start : start + width]
        start += width
        levels, counts = np.unique(part.argmax(1) if width > 1 else part[:, 0], return_counts=True)
        if width == 1 and len(levels) > 1 and levels[-1] - levels[0] > MAX_STEPS * float(np.diff(levels).min()):
            return 0.0
        chance *= float(((counts / len(x)) ** 2).sum())
    return chance


def find_stored_duplicates(source: Hdf5Source, full: bool = False) -> Duplicates:
    """Find equal samples in a file from which they are read on demand."""
    size = source.path.stat().st_size
    if not full and size > MAX_BYTES_ON_OPENING:
        return Duplicates([], [], {}, False, f"duplicates among {len(source):,} samples of {source.path.name}")
    blocks = (np.arange(start, min(start + 256, len(source))) for start in range(0, len(source), 256))
    rows = (row.tobytes() for ids in blocks for row in source.stored(ids))  # exact, also beyond 2⁵³
    return Duplicates(
        _equal_pairs(enumerate(hashlib.blake2b(row, digest_size=16).digest() for row in rows)), [], {}, True
    )


def exact_row_duplicates(values: Tensor | FlatSequences) -> list[Pair]:
    """Pairs (first, other) of equal rows, or of equal sequences."""
    if isinstance(values, FlatSequences):
        contents = (sequence.numpy().tobytes() for sequence in values)
        return _equal_pairs(enumerate(hashlib.blake2b(content, digest_size=16).digest() for content in contents))
    rows = values.contiguous().flatten(1).view(torch.uint8).numpy()
    return _equal_pairs(enumerate(hashlib.blake2b(row, digest_size=16).digest() for row in rows))


def exact_file_duplicates(source: FileSource) -> list[Pair]:
    """Pairs (first, other) of files of equal content, or of all their pages.

    Reads only files of equal size, first in part; none if the joint result is in the index.
    """
    index, key = FileIndex(source.root), source.key()
    cached = index.lookup_joint("exact", key or "")
    if cached is not None:
        return [(a, b) for a, b in np.frombuffer(cached, np.int64).reshape(-1, 2).tolist()]
    pairs, complete = _find_exact_files(source)
    if complete and key is not None:
        index.store_joint("exact", key, np.array(pairs, np.int64).tobytes())
    return pairs


def _find_exact_files(source: FileSource) -> tuple[list[Pair], bool]:
    """The pairs, and whether every required file could be read."""
    by_size = defaultdict(list)
    stacks = _stacks(source)
    for id, file in enumerate(source.files):
        if file.size > 0 and (stacks is None or id in stacks):
            by_size[file.size].append(id)
    equal_size = [id for ids in by_size.values() if len(ids) > 1 for id in ids]
    parts = file_digests(source, equal_size, "part")
    by_part = defaultdict(list)
    for id, part in parts.items():
        by_part[source.files[id].size, part].append(id)
    equal_part = [id for ids in by_part.values() if len(ids) > 1 for id in ids]
    small = [id for id in equal_part if source.files[id].size <= 3 * _PART_BYTES]
    whole = {id: parts[id] for id in small}
    whole.update(file_digests(source, sorted(set(equal_part) - set(small)), "whole"))
    complete = len(parts) == len(equal_size) and len(whole) == len(equal_part)
    pairs = _equal_pairs(sorted(whole.items()))
    if stacks is None:
        return pairs, complete
    pages = [(stacks[a][page], id) for a, b in pairs for page, id in stacks[b].items() if page in stacks[a]]
    return pages, complete


def _stacks(source: FileSource) -> dict[int, dict[int | None, int]] | None:
    """First sample of each stack -> page -> sample; None without stacks."""
    if source.page is None:
        return None
    stacks: dict[int, dict[int | None, int]] = {}
    path, pages = "", dict[int | None, int]()
    for id, (file, page) in enumerate(zip(source.files, source.page, strict=True)):
        if file.path != path or page in pages:  # rows of a table may repeat a file
            path, pages = file.path, {}
            stacks[id] = pages
        pages[page] = id
    return stacks


def _equal_pairs(items: Iterable[tuple[int, bytes]]) -> list[Pair]:
    first: dict[bytes, int] = {}
    return [(first[digest], id) for id, digest in items if first.setdefault(digest, id) != id]


def file_digests(source: FileSource, ids: Sequence[int], kind: str) -> dict[int, bytes]:
    """Digest of each file, from the index or computed; unreadable files have none.

    Args:
        kind: "whole", or "part" for the start, the middle and the end.
    """
    index, files = FileIndex(source.root), {source.files[id].path: source.files[id] for id in ids}
    cached = index.lookup(kind, files)
    missing = [path for path in files if path not in cached]
    results = map_threads(lambda path: _digest(source.root / path, files[path].size, kind), missing)
    fresh = {path: digest for path, digest in zip(missing, results, strict=True) if digest}
    index.store(kind, files, fresh)
    digests = {**cached, **fresh}
    return {id: digests[source.files[id].path] for id in ids if source.files[id].path in digests}


def _digest(path: Path, size: int, kind: str) -> bytes:
    try:
        with open_regular(path) as file:
            if kind == "whole":
                return hashlib.file_digest(file, "sha256").digest()
            if size <= 3 * _PART_BYTES:
                return hashlib.sha256(file.read()).digest()
            digest = hashlib.sha256()
            for start in (0, size // 2, size - _PART_BYTES):
                file.seek(start)
                digest.update(file.read(_PART_BYTES))
            return digest.digest()
    except OSError:
        return b""


def thumbnails(source: ImageFiles) -> tuple[Tensor, dict[int, UnusableFile]]:
    """Thumbnails (N, 3, 16, 16) float32 of all images, from the index or computed, and images that fail to decode."""
    kind = f"thumb {source.pages}" if source.nodata is None else f"thumb {source.pages} {source.nodata}"
    index, files = FileIndex(source.root), {source.name(id): f for id, f in enumerate(source.files)}
    cached = index.lookup(kind, files)
    name_of_id = {id: source.name(id) for id, h in enumerate(source.headers) if isinstance(h, Header)}
    id_of_name = {name: id for id, name in name_of_id.items()}
    missing = sorted(set(id_of_name) - set(cached))
    fresh: dict[str, bytes] = {}
    failed: dict[str, UnusableFile] = {}

    def decode_thumbnail(name: str) -> bytes | UnusableFile:
        header = source.headers[id_of_name[name]]
        large = isinstance(header, Header) and min(header.height, header.width) > 8 * SIDE
        try:
            size = (4 * SIDE, 4 * SIDE) if large else None
            image = source.decode(id_of_name[name], Preprocessing(size=size, pages=source.pages))
        except UnusableFile as error:
            return error
        return _to_thumbnails(image[None]).numpy().astype(np.float32).tobytes()

    for path, result in zip(missing, map_threads(decode_thumbnail, missing), strict=True):
        if isinstance(result, bytes):
            fresh[path] = result
        else:
            failed[path] = result
            if result.kind != "unreadable":
                fresh[path] = json.dumps([result.kind, result.cause, result.remedy]).encode()
    index.store(kind, files, fresh)
    thumbs = np.zeros((len(source), 3, SIDE, SIDE), np.float32)
    bad: dict[int, UnusableFile] = {}
    for id, path in name_of_id.items():
        fact = cached.get(path) or fresh.get(path, b"")
        if path in failed:
            bad[id] = failed[path]
        elif len(fact) == thumbs[0].nbytes:
            thumbs[id] = np.frombuffer(fact, np.float32).reshape(thumbs.shape[1:])
        else:
            bad[id] = UnusableFile(*json.loads(fact))
    return torch.from_numpy(thumbs), bad


def _to_thumbnails(images: Tensor) -> Tensor:
    """Thumbnails (B, 3, 16, 16) float32 of (B, C, H, W) of any depth; unless C is 3, channels are averaged."""
    x = apply_preprocessing(images.float(), Preprocessing(size=(SIDE, SIDE)))
    return x if x.shape[1] == 3 else x.mean(1, keepdim=True).expand(-1, 3, -1, -1)


def near_duplicates(thumbs: Tensor, sizes: np.ndarray, skip: set[int] = frozenset()) -> list[Pair]:  # type: ignore[assignment]
    """Pairs of near copies by their thumbnails.

    Args:
        thumbs: (N, 3, 16, 16) float32.
        sizes: (N, 2) height and width of the images, pixels.
        skip: ids of exact copies of other images, which are compared in their place.
    """
    grey = (thumbs * torch.tensor(_LUMA).view(1, 3, 1, 1)).sum(1).flatten(1)  # (N, 256)
    step = torch.where(thumbs.flatten(1).abs().amax(1) > 2, 1.0, 1 / 255)  # one grey level; floats may be in 0 ... 1
    usable = (torch.from_numpy(sizes).amin(1) >= MIN_SIDE) & (grey.std(1) > step / 2)
    usable[list(skip)] = False
    ids = torch.nonzero(usable)[:, 0]
    if len(ids) < 2:
        return []
    unit = _centre_and_normalise(grey[ids])
    coarse = _centre_and_normalise(torch.nn.functional.avg_pool2d(grey[ids].view(-1, 1, SIDE, SIDE), 2).flatten(1))
    colour = _normalise(thumbs[ids].flatten(1))
    sizes_px = torch.from_numpy(sizes)[ids]
    one_size = bool((sizes_px == sizes_px[0]).all())
    min_correlation = MIN_CORRELATION if one_size or int(sizes_px.amin()) >= 2 * SIDE else MIN_CANDIDATE_CORRELATION
    pairs: list[Pair] = []
    find_candidates = _candidate_finder(unit)
    for start in range(0, len(ids), BLOCK):
        a, b = find_candidates(start, min_correlation)
        if len(a) > 64 * BLOCK:  # many similar images: the best matches of each connect the group as well
            best = torch.triu(unit[start : start + BLOCK] @ unit[start:].T, 1).topk(min(8, len(ids) - start), dim=1)
            row, column = torch.nonzero(best.values >= min_correlation, as_tuple=True)
            a, b = row + start, best.indices[row, column] + start
        r = (unit[a] * unit[b]).sum(1)
        a, b, r = a[r >= min_correlation], b[r >= min_correlation], r[r >= min_correlation]
        resized = (sizes_px[a] != sizes_px[b]).any(1) & (torch.minimum(sizes_px[a], sizes_px[b]).amin(1) < 2 * SIDE)
        same = torch.where(resized, (coarse[a] * coarse[b]).sum(1) >= MIN_COARSE_CORRELATION, r >= MIN_CORRELATION)
        same &= (colour[a] * colour[b]).sum(1) >= MIN_CANDIDATE_CORRELATION
        shape_a, shape_b = sizes_px[a].double(), sizes_px[b].double()
        one_pixel = 1 / torch.minimum(shape_a, shape_b).amin(1)
        aspect = torch.log(shape_a[:, 0] * shape_b[:, 1] / (shape_a[:, 1] * shape_b[:, 0])).abs()
        same &= aspect <= 2 * one_pixel + 0.02
        pairs += zip(ids[a[same]].tolist(), ids[b[same]].tolist(), strict=True)
    return pairs


def _candidate_finder(unit: Tensor) -> Callable[[int, float], tuple[Tensor, Tensor]]:
    """Search for candidate pairs by projections onto the principal directions.

    Two unit vectors of correlation r have distance √(2 − 2r), and their projections at most that: pairs whose
    projections are further apart are excluded. No pair of sufficient correlation is missed.

    Args:
        unit: (N, D) at unit length.
    Returns:
        a function of the first row of a block and r that returns (P,) and (P,), the rows of candidate pairs, the first
        in the block and smaller.
    """
    sample = unit[:: max(1, len(unit) // 20_000)]
    directions = torch.linalg.eigh(sample.T @ sample).eigenvectors[:, -_NUM_DIRECTIONS:]
    projected = unit @ directions  # (N, 32)
    half_norm = projected.square().sum(1, keepdim=True) / 2
    ones = torch.ones_like(half_norm)
    rows, columns = (
        torch.cat([projected, -half_norm, ones], 1),
        torch.cat([projected, ones, -half_norm], 1),
    )  # product: −½ distance²

    def candidates_of_block(start: int, min_correlation: float) -> tuple[Tensor, Tensor]:
        results = []
        block = rows[start : start + BLOCK]
        for left in range(start, len(columns), _TILE):  # small enough for the processor's cache
            candidates = block @ columns[left : left + _TILE].T >= min_correlation - 1 - _ROUNDING
            if bool(candidates.any()):
                a, b = torch.nonzero(candidates, as_tuple=True)
                a, b = a + start, b + left
                results.append(torch.stack([a[b > a], b[b > a]]))
        a, b = torch.cat(results, 1) if results else torch.empty(2, 0, dtype=torch.int64)
        return a, b

    return candidates_of_block


def _centre_and_normalise(x: Tensor) -> Tensor:
    """(N, D) centred on the mean of all, at unit length."""
    x = _normalise(x)
    return _normalise(x - x.sum(0) / (len(x) + _SHRINKAGE), centre=False)


def _normalise(x: Tensor, centre: bool = True) -> Tensor:
    x = x - x.mean(1, keepdim=True) if centre else x
    return torch.nn.functional.normalize(x, dim=1)


def same_details(decode: Callable[[int, int], Tensor], sizes: np.ndarray, pair: Pair, *, is_deep: bool) -> bool:
    """Whether large images agree in the details that half of their resolution adds to a thumbnail.

    The difference may be a third of the details, or 2.5 of 255 grey levels, the loss of a JPEG of quality 75.

    Args:
        decode: (1, 1, S, S) float64, the grey image with this id at S pixels a side.
        sizes: (2, 2) height and width of both images.
        is_deep: whether one of them has more than 8 bits.
    """
    side = min(4 * SIDE, int(sizes.min()) // 2)
    if side < 2 * SIDE:
        return True
    try:
        a, b = (decode(id, side) for id in pair)
    except UnusableFile:
        return False
    level = float(torch.maximum(a, b).max() - torch.minimum(a, b).min()) / 255 if is_deep else 1.0
    a, b = (
        x
        - apply_preprocessing(
            apply_preprocessing(x, Preprocessing(size=(SIDE, SIDE))), Preprocessing(size=(side, side))
        )
        for x in (a, b)
    )
    gain = float((a * b).sum() / (a * a).sum().clamp(min=1e-12))
    residual = float((gain * a - b).std())
    return residual <= 2.5 * level or (gain > 0 and residual <= 0.33 * float(b.std()))


def connected_groups(count: int, pairs: Iterable[Pair], groups: np.ndarray | None = None) -> np.ndarray:
    """(N,) int64: connected components of groups that share a pair (union-find with path halving)."""
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

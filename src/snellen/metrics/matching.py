"""Matching of detections to ground-truth objects by COCO's rules: highest score first, each to its best overlap.

An object counts if its area lies in the requested range; other objects, crowds and ignored objects may be matched,
but give neither true nor false positives. All images and classes are processed together, one detection of each at a
time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)  # overlap from which a detection matches an object
AREA_RANGES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}

# Indices of detections (G, D) and of objects (G, M), padded with -1, to their overlaps (G, D, M).
Overlap = Callable[[np.ndarray, np.ndarray], np.ndarray]


class DetectionArrays(NamedTuple):
    """Detections of all images; every field (D,). `image` is a position, not an id; `area` in pixels."""

    image: np.ndarray
    label: np.ndarray
    score: np.ndarray
    area: np.ndarray


class GroundTruthArrays(NamedTuple):
    """Ground-truth objects of all images; every field (M,)."""

    image: np.ndarray
    label: np.ndarray
    crowd: np.ndarray
    ignored: np.ndarray
    area: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Detections by class, then by descending score, each with its matched object.

    Args:
        images, classes: numbers of images and classes.
        detection_index: (D,) index of each detection; those beyond `max_detections` of an image are missing.
        image, label, score: (D,) of each detection.
        object_index: (A, T, D) int64, matched object by area range and threshold; -1 for none.
        left_out: (A, T, D) bool, neither true nor false positive.
        is_counted: (A, M) bool, the objects that count for recall.
        truths: the objects.
    """

    images: int
    classes: int
    detection_index: np.ndarray
    image: np.ndarray
    label: np.ndarray
    score: np.ndarray
    object_index: np.ndarray
    left_out: np.ndarray
    is_counted: np.ndarray
    truths: GroundTruthArrays

    def of_class(self, label: int) -> slice:
        """The detections of one class."""
        return slice(*np.searchsorted(self.label, [label, label + 1]).tolist())


@dataclass(frozen=True, kw_only=True)
class MatchingRules:
    """Matching rules.

    Args:
        thresholds: (T,) minimum overlaps.
        area_ranges: A pairs of minimum and maximum area of the objects that count.
        max_detections: maximum number of detections per class and image.
    """

    thresholds: Sequence[float] | np.ndarray = tuple(IOU_THRESHOLDS)
    area_ranges: Sequence[tuple[float, float]] = (AREA_RANGES["all"],)
    max_detections: int = 100


def match(
    detections: DetectionArrays,
    truths: GroundTruthArrays,
    overlap: Overlap,
    images: int,
    classes: int,
    rules: MatchingRules,
) -> Matches:
    """Match detections to objects of the same image and class.

    Args:
        overlap: of detections with objects, 0 … 1; with a crowd, the fraction of the detection inside it.
    Source: Lin et al. 2014, and the reference implementation `pycocotools`, with which it agrees to the last digit.
    """
    key = detections.image * classes + detections.label
    order = np.lexsort((np.arange(len(key)), -detections.score, key))
    rank = _rank_in_group(key[order])
    order, rank = order[rank < rules.max_detections], rank[rank < rules.max_detections]
    object_key = truths.image * classes + truths.label
    object_order = np.lexsort((np.arange(len(object_key)), object_key))

    low, high = (np.array([ends[side] for ends in rules.area_ranges])[:, None] for side in (0, 1))  # (A, 1)
    is_counted = ~truths.crowd & ~truths.ignored & (truths.area >= low) & (truths.area <= high)  # (A, M)
    object_index = np.full((len(rules.area_ranges), len(rules.thresholds), len(detections.score)), -1, np.int64)
    min_overlap = np.minimum(np.asarray(rules.thresholds), 1 - 1e-10)
    for d, m in _groups(key[order], object_key[object_order]):
        rows, columns = _take(order, d), _take(object_order, m)  # (G, D), (G, M), padded with -1
        overlaps = np.where((rows >= 0)[:, :, None] & (columns >= 0)[:, None, :], overlap(rows, columns), -1.0)
        matched = _greedy_match(
            overlaps, ~is_counted[:, columns].swapaxes(0, 1), truths.crowd[columns], min_overlap
        )  # (G, A, T, D)
        group = np.arange(len(rows))[:, None, None, None]
        objects = np.where(matched >= 0, columns[group, matched], -1)
        valid = rows >= 0
        object_index[:, :, rows[valid]] = objects.transpose(1, 2, 0, 3)[:, :, valid]

    outside = (detections.area < low) | (detections.area > high)  # (A, D)
    padded = np.append(is_counted, np.zeros((len(is_counted), 1), bool), 1)  # index -1 does not count
    correct = np.stack([padded[a][object_index[a]] for a in range(len(padded))]) if len(padded) else object_index >= 0
    left_out = np.where(object_index >= 0, ~correct, outside[:, None, :])
    final = order[np.lexsort((rank, detections.image[order], -detections.score[order], detections.label[order]))]
    return Matches(
        images=images,
        classes=classes,
        detection_index=final,
        image=detections.image[final],
        label=detections.label[final],
        score=detections.score[final],
        object_index=object_index[:, :, final],
        left_out=left_out[:, :, final],
        is_counted=is_counted,
        truths=truths,
    )


def _rank_in_group(key: np.ndarray) -> np.ndarray:
    """(N,) number of equal elements before each element of a sorted array."""
    return np.arange(len(key)) - np.searchsorted(key, key)


def _groups(detections: np.ndarray, truths: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Groups of (image, class) pairs with detections and objects, of similar size: indices (G, D) and (G, M).

    Args:
        detections, truths: sorted keys of image and class.
    """
    keys = np.intersect1d(detections, truths)
    first, last = np.searchsorted(detections, keys), np.searchsorted(detections, keys, side="right")
    begin, end = np.searchsorted(truths, keys), np.searchsorted(truths, keys, side="right")
    log_sizes = np.stack([np.ceil(np.log2(last - first)), np.ceil(np.log2(end - begin))], 1)
    for size in np.unique(log_sizes, axis=0):
        selected = (log_sizes == size).all(1)
        yield _index_ranges(first[selected], last[selected]), _index_ranges(begin[selected], end[selected])


def _index_ranges(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """(G, N) indices from first to last, padded with -1."""
    indices = first[:, None] + np.arange((last - first).max())
    return np.where(indices < last[:, None], indices, -1)


def _take(values: np.ndarray, indices: np.ndarray) -> np.ndarray:
    return np.where(indices >= 0, values[indices], -1)


def _greedy_match(
    overlaps: np.ndarray, uncounted: np.ndarray, crowd: np.ndarray, min_overlap: np.ndarray
) -> np.ndarray:
    """Match each detection to an object, in the order of descending score.

    Args:
        overlaps: (G, D, M), negative for padding.
        uncounted: (G, A, M) objects that do not count: matched only if no counted object fits.
        crowd: (G, M) objects that any number of detections may match.
        min_overlap: (T,) thresholds.
    Returns:
        (G, A, T, D) indices among the M objects, -1 for none.
    """
    groups, detections, objects = overlaps.shape
    # The rank grows with the overlap; of equal overlaps the last object wins.
    rank = np.argsort(np.argsort(overlaps, axis=2, kind="stable"), axis=2) + 1  # (G, D, M)
    bonus = np.where(uncounted, 0, objects + 1)[:, :, None]  # (G, A, 1, M)
    free = np.ones((groups, uncounted.shape[1], len(min_overlap), objects), bool)  # (G, A, T, M)
    is_crowd = np.broadcast_to(crowd[:, None, None], free.shape)
    matched = np.full((*free.shape[:3], detections), -1, np.int64)
    for d in range(detections):
        overlapping = overlaps[:, d, None, :] >= min_overlap[:, None]  # (G, T, M)
        priority = np.where(free & overlapping[:, None], rank[:, None, None, d] + bonus, 0)  # (G, A, T, M)
        best = priority.argmax(3)[..., None]  # (G, A, T, 1)
        fits = np.take_along_axis(priority, best, 3) > 0
        matched[..., d] = np.where(fits, best, -1)[..., 0]
        still_free = np.where(fits, np.take_along_axis(is_crowd, best, 3), np.take_along_axis(free, best, 3))
        np.put_along_axis(free, best, still_free, 3)
    return matched

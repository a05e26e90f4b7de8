"""Finds assigned to true objects: the surest first, each to the object it overlaps most, as COCO does it.

An object counts where its size lies in the range that is asked; the others, crowds and those that need not be found
are there to be matched without reward or blame. All pictures and classes are worked through together, a find of each
at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of the overlap from which a find is one of the object
SIZES = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}

# Places of finds (G, D) and of objects (G, M), -1 where there are fewer, to their overlaps (G, D, M).
Overlap = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Finds(NamedTuple):
    """What was found in all pictures; every field (D,). `picture` is a position, not an id; `area` in pixels."""

    picture: np.ndarray
    label: np.ndarray
    score: np.ndarray
    area: np.ndarray


class Truths(NamedTuple):
    """What is true of all pictures; every field (M,)."""

    picture: np.ndarray
    label: np.ndarray
    crowd: np.ndarray
    ignored: np.ndarray
    area: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Finds by class and then by score, the surest first, with the object that each was assigned to.

    Args:
        pictures, classes: how many there are.
        places: (D,) which find each is; the least sure of a crowded picture may be missing.
        picture, label, score: (D,) of each.
        object: (A, T, D) int64, the place of its object by range of sizes and threshold; -1 for none.
        left_out: (A, T, D) bool, neither right nor wrong.
        counted: (A, M) bool, the objects that are to be found.
        truths: the objects.
    """

    pictures: int
    classes: int
    places: np.ndarray
    picture: np.ndarray
    label: np.ndarray
    score: np.ndarray
    object: np.ndarray
    left_out: np.ndarray
    counted: np.ndarray
    truths: Truths

    def of_class(self, label: int) -> slice:
        return slice(*np.searchsorted(self.label, [label, label + 1]).tolist())


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How finds are assigned.

    Args:
        thresholds: (T,) least overlaps.
        ranges: the least and the largest area of the objects that count, for each of A.
        most: finds of a class that are looked at in a picture.
    """

    thresholds: Sequence[float] | np.ndarray = tuple(THRESHOLDS)
    ranges: Sequence[tuple[float, float]] = (SIZES["all"],)
    most: int = 100


def match(finds: Finds, truths: Truths, overlap: Overlap, pictures: int, classes: int, rules: Rules) -> Matches:
    """Assigns finds to objects of their own picture and class.

    Args:
        overlap: of some finds with some objects, 0 … 1; with a crowd, the share of the find that lies in it.
    Source: Lin et al. 2014, and the reference implementation `pycocotools`, with which it agrees to the last digit.
    """
    key = finds.picture * classes + finds.label
    order = np.lexsort((np.arange(len(key)), -finds.score, key))
    rank = _place_in_group(key[order])
    order, rank = order[rank < rules.most], rank[rank < rules.most]
    theirs = truths.picture * classes + truths.label
    among = np.lexsort((np.arange(len(theirs)), theirs))

    low, high = (np.array([ends[side] for ends in rules.ranges])[:, None] for side in (0, 1))  # (A, 1)
    counted = ~truths.crowd & ~truths.ignored & (truths.area >= low) & (truths.area <= high)  # (A, M)
    object = np.full((len(rules.ranges), len(rules.thresholds), len(finds.score)), -1, np.int64)
    least = np.minimum(np.asarray(rules.thresholds), 1 - 1e-10)
    for d, m in _groups(key[order], theirs[among]):
        rows, columns = _at(order, d), _at(among, m)  # (G, D), (G, M), -1 where there are fewer
        shared = np.where((rows >= 0)[:, :, None] & (columns >= 0)[:, None, :], overlap(rows, columns), -1.0)
        chosen = _greedy(shared, ~counted[:, columns].swapaxes(0, 1), truths.crowd[columns], least)  # (G, A, T, D)
        group = np.arange(len(rows))[:, None, None, None]
        said = np.where(chosen >= 0, columns[group, chosen], -1)
        there = rows >= 0
        object[:, :, rows[there]] = said.transpose(1, 2, 0, 3)[:, :, there]

    outside = (finds.area < low) | (finds.area > high)  # (A, D)
    known = np.append(counted, np.zeros((len(counted), 1), bool), 1)  # the object -1 does not count
    right = np.stack([known[a][object[a]] for a in range(len(known))]) if len(known) else object >= 0
    left_out = np.where(object >= 0, ~right, outside[:, None, :])
    final = order[np.lexsort((rank, finds.picture[order], -finds.score[order], finds.label[order]))]
    return Matches(
        pictures=pictures,
        classes=classes,
        places=final,
        picture=finds.picture[final],
        label=finds.label[final],
        score=finds.score[final],
        object=object[:, :, final],
        left_out=left_out[:, :, final],
        counted=counted,
        truths=truths,
    )


def _place_in_group(key: np.ndarray) -> np.ndarray:
    """(N,) how many equal ones stand before each, in a sorted array."""
    return np.arange(len(key)) - np.searchsorted(key, key)


def _groups(finds: np.ndarray, truths: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pictures and classes with finds and objects, those of about one size together: as places (G, D) and (G, M).

    Args:
        finds, truths: sorted keys of picture and class.
    """
    keys = np.intersect1d(finds, truths)
    first, last = np.searchsorted(finds, keys), np.searchsorted(finds, keys, side="right")
    begin, end = np.searchsorted(truths, keys), np.searchsorted(truths, keys, side="right")
    bulk = np.stack([np.ceil(np.log2(last - first)), np.ceil(np.log2(end - begin))], 1)
    for size in np.unique(bulk, axis=0):
        alike = (bulk == size).all(1)
        yield _padded(first[alike], last[alike]), _padded(begin[alike], end[alike])


def _padded(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """(G, most) places from first to last, -1 beyond."""
    places = first[:, None] + np.arange((last - first).max())
    return np.where(places < last[:, None], places, -1)


def _at(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    return np.where(places >= 0, values[places], -1)


def _greedy(shared: np.ndarray, unasked: np.ndarray, crowd: np.ndarray, least: np.ndarray) -> np.ndarray:
    """The object of each find, the surest find first.

    Args:
        shared: (G, D, M) overlaps, below zero where there is no pair.
        unasked: (G, A, M) objects without reward: taken only where no other fits.
        crowd: (G, M) objects that any number of finds may lie in.
        least: (T,) overlaps that are needed.
    Returns:
        (G, A, T, D) places among the M, -1 for none.
    """
    groups, most, objects = shared.shape
    # The larger the overlap, the higher the place; of equal ones the last wins.
    place = np.argsort(np.argsort(shared, axis=2, kind="stable"), axis=2) + 1  # (G, D, M)
    reward = np.where(unasked, 0, objects + 1)[:, :, None]  # (G, A, 1, M)
    free = np.ones((groups, unasked.shape[1], len(least), objects), bool)  # (G, A, T, M)
    many = np.broadcast_to(crowd[:, None, None], free.shape)
    chosen = np.full((*free.shape[:3], most), -1, np.int64)
    for d in range(most):
        enough = shared[:, d, None, :] >= least[:, None]  # (G, T, M)
        worth = np.where(free & enough[:, None], place[:, None, None, d] + reward, 0)  # (G, A, T, M)
        best = worth.argmax(3)[..., None]  # (G, A, T, 1)
        fits = np.take_along_axis(worth, best, 3) > 0
        chosen[..., d] = np.where(fits, best, -1)[..., 0]
        still = np.where(fits, np.take_along_axis(many, best, 3), np.take_along_axis(free, best, 3))
        np.put_along_axis(free, best, still, 3)
    return chosen

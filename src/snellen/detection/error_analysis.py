"""What is wrong with what is told: which finds, in which way, and which objects were missed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snellen.core.spec import Spec
from snellen.core.task import Predictions
from snellen.detection.evaluation import HALF, finds_of, matched, overlap_of, target_of, truths_of
from snellen.detection.protocol import Part

NEAR = 0.1  # of the overlap: with less, a find has nothing to do with an object

KINDS = ("duplicate", "wrong class", "badly placed", "near another class", "nothing there")
MEANS = (
    "of an object that a surer find has already",
    "on an object of another class",
    f"on an object of its class, but overlapping less than {HALF:g}",
    f"near an object of another class, overlapping less than {HALF:g}",
    f"overlapping every object by less than {NEAR:g}",
)

UNTOLD, LEFT_OUT, RIGHT = -3, -2, -1  # of a find; the others are places in KINDS


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """Of every find and every object of a split.

    Args:
        kind: (D,) of each find: a place in `KINDS`, or UNTOLD, LEFT_OUT, RIGHT.
        missed: (M,) bool, objects that are to be found and were not.
        counted: (M,) bool, objects that are to be found.
        picture, whose: (D,) and (M,) which picture each belongs to.
    """

    kind: np.ndarray
    missed: np.ndarray
    counted: np.ndarray
    picture: np.ndarray
    whose: np.ndarray

    def of_pictures(self, count: int) -> np.ndarray:
        """(N,) mistakes in each picture."""
        wrong = np.bincount(self.picture[self.kind >= 0], minlength=count)
        together: np.ndarray = wrong + np.bincount(self.whose[self.missed], minlength=count)
        return together


def mistakes(said: Predictions, part: Part, spec: Spec) -> Mistakes:
    """What is told at the model's threshold, against the truth at an overlap of one half.

    Source: after Bolya, Foley, Hays and Hoffman 2020 ("TIDE"), whose kinds of error these are.
    """
    matches = matched(said, part, spec, thresholds=[HALF])
    finds, truths = finds_of(said, part), truths_of(said, part)
    told = matches.score >= float(said["threshold"])
    kind = np.full(len(finds.score), UNTOLD)
    kind[matches.places] = np.where(~told, UNTOLD, np.where(matches.left_out[0, 0], LEFT_OUT, RIGHT))
    wrong = matches.places[told & ~matches.left_out[0, 0] & (matches.object[0, 0] < 0)]
    overlap = overlap_of(said, part, target_of(spec))
    for picture in np.unique(finds.picture[wrong]):
        those, objects = wrong[finds.picture[wrong] == picture], np.flatnonzero(truths.picture == picture)
        shared = overlap(those[None], objects[None])[0]  # (d, m)
        same = finds.label[those][:, None] == truths.label[objects]
        kind[those] = _kinds(np.where(same, shared, 0).max(1, initial=0), np.where(same, 0, shared).max(1, initial=0))
    taken = np.zeros(len(truths.label), bool)
    hit = matches.object[0, 0][told]
    taken[hit[hit >= 0]] = True
    return Mistakes(
        kind=kind,
        missed=matches.counted[0] & ~taken,
        counted=matches.counted[0],
        picture=finds.picture,
        whose=truths.picture,
    )


def _kinds(same: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of finds that are wrong, by their largest overlap with objects of their class and of others."""
    return np.select([same >= HALF, other >= HALF, same >= NEAR, other >= NEAR], [0, 1, 2, 3], 4)

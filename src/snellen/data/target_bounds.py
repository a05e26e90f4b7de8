"""Bounds of a number to predict: an extreme that many training samples have, such as 0 of a fraction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from snellen.core.spec import Numbers, Target

BOUND_FRACTION = 0.02  # of the training targets that equal the extreme: a tail has one, a bound such as 0 % many
MIN_AT_BOUND = 3  # samples; two equal extremes may be a coincidence of rounding
_ROUNDING = 1e-6  # of the bound: a mean of numbers at the bound may differ from it


class Beyond(NamedTuple):
    """A prediction of the target `name` beyond its bound; side: "below" or "above"."""

    name: str
    side: str
    bound: float
    value: float

    @property
    def place(self) -> str:
        """ "below 0, the smallest value in training"."""
        extreme = "smallest" if self.side == "below" else "largest"
        return f"{self.side} {self.bound:.4g}, the {extreme} value in training"

    @property
    def remedy(self) -> str:
        return f"If {self.name} cannot be {self.side} {self.bound:.4g}, clip the predictions there."


def target_bounds(train: Tensor) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    """The lower and upper bound of each of T targets; None where few training samples have the extreme.

    Args:
        train: (N, T) training targets.
    """
    if not len(train):
        return (None,) * train.shape[1], (None,) * train.shape[1]
    bounds = []
    for extremes in (train.amin(0), train.amax(0)):
        counts = (train == extremes).sum(0).tolist()
        enough = max(MIN_AT_BOUND, BOUND_FRACTION * len(train))
        bounds.append(
            tuple(
                value if enough <= count < len(train) else None
                for value, count in zip(extremes.tolist(), counts, strict=True)
            )
        )
    return bounds[0], bounds[1]


def beyond_bounds(prediction: Mapping[str, Any], target: Target | None) -> Iterator[Beyond]:
    """The predicted numbers of a sample that lie beyond a bound of the training targets."""
    if not isinstance(target, Numbers):
        return
    for side, bounds in (("below", target.lowest), ("above", target.highest)):
        for name, bound in zip(target.names, bounds, strict=bool(bounds)):
            if bound is None:
                continue
            excess = (prediction[name] - bound) * (1 if side == "above" else -1)
            if excess > _ROUNDING * abs(bound):
                yield Beyond(name, side, bound, prediction[name])


def bound_warnings(prediction: Mapping[str, Any], target: Target | None) -> dict[str, list[str]]:
    """{"warnings": [...]} of a prediction with numbers beyond a bound; else empty."""
    warnings = [f"{one.name} is {one.place}" for one in beyond_bounds(prediction, target)]
    return {"warnings": warnings} if warnings and "warnings" not in prediction else {}


class BeyondCounter:
    """Counts predictions beyond a bound over many samples: how many, and the farthest."""

    def __init__(self, target: Target | None) -> None:
        self.target = target
        self._samples = 0
        self._counts: dict[tuple[str, str], int] = {}
        self._farthest: dict[tuple[str, str], Beyond] = {}

    def add(self, prediction: Mapping[str, Any]) -> None:
        self._samples += 1
        for beyond in beyond_bounds(prediction, self.target):
            key = beyond.name, beyond.side
            self._counts[key] = self._counts.get(key, 0) + 1
            previous = self._farthest.get(key)
            if previous is None or abs(beyond.value - beyond.bound) > abs(previous.value - previous.bound):
                self._farthest[key] = beyond

    def counts(self) -> Iterator[tuple[int, int, Beyond]]:
        """For each target and side: predictions beyond the bound, all predictions, and the farthest one."""
        return ((self._counts[key], self._samples, beyond) for key, beyond in self._farthest.items())

    def messages(self) -> list[str]:
        return [
            f"{count:,} of {samples:,} predictions of {one.name} are {one.place}; the farthest is {one.value:.4g}. "
            f"{one.remedy}"
            for count, samples, one in self.counts()
        ]

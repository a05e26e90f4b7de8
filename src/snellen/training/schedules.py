"""Schedules: step to a factor on the base rate. Pure functions, so nothing is to be saved or resumed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

Schedule = Callable[[int], float]
Name = Literal["constant", "step", "cosine", "one-cycle"]


def schedule(name: str, total: int, warmup: float = 0.0) -> Schedule:
    """The factor by which the base rate is multiplied at each of `total` steps.

    Args:
        name: "constant"; "step": a tenth after 1/2 and a hundredth after 3/4; "cosine": half a wave down to 0;
            "one-cycle": a line up to 1 and a line down to 0.
        warmup: the share of the steps over which the rate rises from 0 in a line; for "one-cycle" at least 0.2.
    Source: Loshchilov and Hutter 2017 (cosine); Smith and Topin 2018 (one-cycle); He et al. 2016 (step, warm-up).
    """
    rising = max(warmup, 0.2) if name == "one-cycle" else warmup
    start = round(rising * total)

    def factor(step: int) -> float:
        if step < start:
            return (step + 1) / start
        done = (step - start) / max(1, total - start)  # in [0, 1)
        if name == "cosine":
            return 0.5 * (1 + math.cos(math.pi * done))
        if name == "one-cycle":
            return 1 - done
        if name == "step":
            return 1.0 if step < total / 2 else 0.1 if step < 3 * total / 4 else 0.01
        return 1.0

    return factor

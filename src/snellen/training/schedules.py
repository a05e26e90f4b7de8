"""Learning-rate schedules: functions from a step to a factor on the base learning rate, without state to save."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

Schedule = Callable[[int], float]
ScheduleName = Literal["constant", "step", "cosine", "one-cycle"]


def schedule(name: str, total: int, warmup: float = 0.0) -> Schedule:
    """Learning-rate schedule: the factor on the base rate at each of `total` steps.

    Args:
        name: "constant"; "step": ×0.1 after 1/2 and ×0.01 after 3/4 of the steps; "cosine": half a cosine wave down
            to 0; "one-cycle": linear rise to 1, then linear decay to 0.
        warmup: fraction of the steps over which the rate rises linearly from 0; for "one-cycle" at least 0.2.
    Source: Loshchilov and Hutter 2017 (cosine); Smith and Topin 2018 (one-cycle); He et al. 2016 (step, warm-up).
    """
    ramp = max(warmup, 0.2) if name == "one-cycle" else warmup
    start = round(ramp * total)

    def factor(step: int) -> float:
        if step < start:
            return (step + 1) / start
        progress = (step - start) / max(1, total - start)  # in [0, 1)
        if name == "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        if name == "one-cycle":
            return 1 - progress
        if name == "step":
            return 1.0 if step < total / 2 else 0.1 if step < 3 * total / 4 else 0.01
        return 1.0

    return factor

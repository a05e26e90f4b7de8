"""Plan of a ladder: how much time each model gets, from measured costs. Functions of numbers only, without a clock.

Models that are cheap are trained first, completely. If the others cannot all be trained completely, each of them gets a
short complete training, the pilot; the two best on validation are then trained anew with the time that is left.
"""

from __future__ import annotations

from collections.abc import Mapping

CHEAP = 0.06  # of the budget: a model that needs no more is trained at once
PILOT = 0.25  # of the time that the cheap models leave, for all pilots together
WHOLE = 0.5  # of the time left, for a model that is trained completely or not at all
RAW_PIXELS = 0.15  # of it, for such a model if it compares raw pixels: it is rarely the best
MIN_STEPS = 0.05  # of a complete training: fewer do not represent the model
FIRST = 0.65  # of the final time, for the best pilot
FINALISTS = 2
SIZES = (224, 192, 160, 128, 96, 64, 48, 32)  # pixels a side to which images may be reduced


def image_size(needed: float, size: int, smallest: int, seconds: float) -> int:
    """Largest size at which a complete training takes at most `seconds`; the smallest one where none does.

    The time of a convolutional network is proportional to the number of pixels.

    Args:
        needed: seconds of the complete training at `size` pixels a side.
        smallest: pixels a side that the network needs.
    """
    sizes = [size, *(s for s in SIZES if smallest <= s < size)]
    return next((s for s in sizes if needed * (s / size) ** 2 <= seconds), sizes[-1])


def pilots(needed: Mapping[str, float], seconds: float) -> dict[str, float]:
    """Seconds of the first training of each model; models that would not get `MIN_STEPS` are left out.

    If all fit, each gets the time of its complete training. Otherwise all share `PILOT` of the time equally; one model
    alone gets all of it.

    Args:
        needed: seconds of the complete training of each model, as measured.
        seconds: left for all.
    """
    if sum(needed.values()) <= seconds:
        return dict(needed)
    chosen = dict(needed)
    while len(chosen) > 1:
        slot = PILOT * seconds / len(chosen)
        slowest = max(chosen, key=lambda name: chosen[name])
        if MIN_STEPS * chosen[slowest] <= slot:
            return {name: min(slot, time) for name, time in chosen.items()}
        del chosen[slowest]
    return {name: min(seconds, time) for name, time in chosen.items() if MIN_STEPS * time <= seconds}


def finals(
    values: Mapping[str, float], needed: Mapping[str, float], trained: Mapping[str, float], seconds: float
) -> dict[str, float]:
    """Seconds of the final training of the best of the pilots that were not complete, the best first.

    A model that would not get more time than its pilot had is not trained again.

    Args:
        values: validation result of each pilot, higher is better.
        needed: seconds of the complete training. trained: seconds that the pilot had.
        seconds: left for all.
    """
    shortened = [name for name in values if trained[name] < needed[name]]
    ranked = sorted(shortened, key=lambda name: -values[name])[:FINALISTS]
    slots: dict[str, float] = {}
    for k, name in enumerate(ranked):
        slot = FIRST * seconds if k + 1 < len(ranked) else seconds
        slot = min(needed[name], slot)
        if slot > trained[name]:
            slots[name] = slot
            seconds -= slot
    return slots

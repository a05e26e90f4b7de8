"""Plan of a ladder: how much time each model gets, from measured costs. Functions of numbers only, without a clock.

Models that are cheap are trained first, completely. If the others cannot all be trained completely, each of them gets a
short training, the pilot, of the same fraction of its steps; the best on validation are then trained anew with the time
that is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

CHEAP = 0.06  # of the budget: a model that needs no more is trained at once
PILOT = 0.25  # of the time that the cheap models leave, for all pilots together
MIN_PILOT = 0.1  # of a complete training: shorter pilots favour models that learn fast and little
PILOT_SAMPLES = 25_000  # or training samples, each visit counted: a tenth of a long training is more than is needed
ENOUGH_SAMPLES = 50_000  # visits after which a large network is better than a complete training of a small one
WHOLE = 0.5  # of the time left, for a model that is trained completely or not at all
PRETRAINED = 0.8  # of it, for such a model with published weights: it is often the best
ONLY = 0.8  # of it, for the only model that is stopped at a time limit: no pilot of another needs time
RAW_PIXELS = 0.15  # of it, for such a model if it compares raw pixels: it is rarely the best
MIN_SECONDS = 2.5  # of a pilot
MIN_STEPS = 0.05  # of a complete training: fewer do not represent the model
FIRST = 0.65  # of the final time, for the best pilot
FINALISTS = 3
MIN_GAIN = 1.5  # times the time of its pilot, at least, for the final training of a model
SLACK = 1.5  # times its estimated time, at most, that a complete training may take
LONGER = 4.0  # times the epochs, at most, of the next longer training of the best model
MIN_LONGER = 1.5  # times the epochs, at least


def image_size(needed: float, sizes: Sequence[int], seconds: float) -> int:
    """Largest size at which a complete training takes at most `seconds`; the smallest one where none does.

    The time of a convolutional network is proportional to the number of pixels.

    Args:
        needed: seconds of the complete training at the first of the sizes.
        sizes: pixels a side, decreasing.
    """
    return next((size for size in sizes if needed * (size / sizes[0]) ** 2 <= seconds), sizes[-1])


def pilots(needed: Mapping[str, float], samples: Mapping[str, float], seconds: float) -> dict[str, float]:
    """Seconds of the first training of each model.

    If all fit, each gets the time of its complete training. Otherwise all get the same fraction of it, together `PILOT`
    of the time, and at least `MIN_SECONDS`; the slowest are left out until that fraction is `MIN_PILOT` or has
    `PILOT_SAMPLES`. If only one can be trained, it is the slowest that visits `ENOUGH_SAMPLES`, else the fastest, if it
    gets `min_fraction` of its training.

    Args:
        needed: seconds of the complete training of each model, as measured.
        samples: training samples that it visits in these, epochs times samples.
        seconds: left for all.
    """
    if sum(needed.values()) <= seconds:
        return dict(needed)
    chosen = dict(needed)
    while len(chosen) > 1:
        fraction = PILOT * seconds / sum(chosen.values())
        parts = {name: min(time, max(fraction * time, MIN_SECONDS)) for name, time in chosen.items()}
        enough = all(fraction >= min(MIN_PILOT, PILOT_SAMPLES / samples[name]) for name in chosen)
        if enough and sum(parts.values()) <= WHOLE * seconds:
            return parts
        del chosen[max(chosen, key=lambda name: chosen[name])]
    visited = {name: min(seconds / time, 1.0) * samples[name] for name, time in needed.items()}
    if any(count >= ENOUGH_SAMPLES for count in visited.values()):
        slowest = max(needed, key=lambda name: needed[name] if visited[name] >= ENOUGH_SAMPLES else 0.0)
        chosen = {slowest: needed[slowest]}
    return {name: min(seconds, time) for name, time in chosen.items() if min_fraction(samples[name]) * time <= seconds}


def min_fraction(samples: float) -> float:
    """Fraction of a complete training that represents the model.

    Args:
        samples: training samples that the complete training visits.
    """
    return min(MIN_STEPS, PILOT_SAMPLES / 2 / samples)


def finals(
    values: Mapping[str, float], needed: Mapping[str, float], trained: Mapping[str, float], seconds: float
) -> dict[str, float]:
    """Seconds of the final training of the best of the pilots that were not complete, the best first.

    A model that would not get `MIN_GAIN` times the time of its pilot is not trained again.

    Args:
        values: validation result of each pilot, higher is better.
        needed: seconds of the complete training. trained: seconds that the pilot had.
        seconds: left for all.
    """
    shortened = [name for name in values if trained[name] < needed[name]]
    ranked = sorted(shortened, key=lambda name: -values[name])[:FINALISTS]
    slots: dict[str, float] = {}
    for k, name in enumerate(ranked):
        part = FIRST * seconds
        is_first_complete = k > 0 and slots.get(ranked[0]) == needed[ranked[0]]  # then what is left is for it
        if part < MIN_GAIN * trained[name] or (k + 1 == len(ranked) and not is_first_complete):
            part = seconds
        slot = min(needed[name], part)
        if slot >= MIN_GAIN * trained[name]:
            slots[name] = slot
            seconds -= slot
    return slots


def limit(part: float, needed: float, following: float, seconds: float) -> float:
    """Seconds after which a training is stopped: its part of the plan, more if that is its complete training.

    An estimate that is too low by a few per cent shall not cut a training while time is left.

    Args:
        part: seconds of the plan for this training. needed: seconds of its complete training.
        following: seconds of the plan for the trainings after it. seconds: left for all.
    """
    if part < needed:
        return min(part, seconds)
    return min(max(part, min(SLACK * part, seconds - following)), seconds)


def longer(trained: float, seconds: float) -> float | None:
    """Factor of the epochs of the best model's next training; None if too little time is left.

    Args:
        trained: seconds of its last training. seconds: left.
    """
    factor = min(LONGER, seconds / trained)
    return factor if factor >= MIN_LONGER else None

"""Synthetic daily time series: visits of a museum, with trend, two seasons, holidays, outliers and a level change."""

from __future__ import annotations

import math
from datetime import date, timedelta
from pathlib import Path

import torch

from snellen.core.random import generator
from snellen.data.dataset import RawDataset
from snellen.data.formats import OpenOptions
from snellen.data.formats.recordings import windows_of
from snellen.data.formats.series_recordings import recordings_of_table
from snellen.data.formats.table_text import TableText

NAME = "visits"
START, DAYS = date(2014, 1, 1), 3652  # ten years
HORIZON, WINDOW = 28, 56  # days
WEEK = (0.62, 0.80, 0.85, 0.90, 1.05, 1.45, 1.33)  # factor of each day of the week, Monday first
HOLIDAYS = ((1, 1), (1, 6), (5, 1), (8, 15), (10, 3), (11, 1), (12, 24), (12, 25), (12, 26), (12, 31))
AFTER_EASTER = (-2, 1, 39, 50)  # days: Good Friday, Easter Monday, Ascension, Whit Monday
LEVEL_CHANGE = 0.45  # fraction of the days, after which the level is 20 % higher
OUTLIERS = 0.008  # fraction of the days


def visits_table(seed: int) -> TableText:
    """3,652 days of columns date, visits, temperature, holiday and promotion.

    visits = level · trend · week · year · holiday · promotion · weather · noise, rounded. The trend is 6 % a year; the
    level rises by 20 % once; a holiday has 1.6 times the visits on a working day, and 0.5 times at the end of December;
    a promotion, of which there are eight a year, lasts 5 to 10 days and has 1.25 times; warm days have fewer visits.
    The noise is an autoregressive process of order 1 (6 % standard deviation, coefficient 0.6); 0.8 % of the days are
    outliers of 0.35 or 1.9 times.
    """
    rng = generator(seed, "visits")
    days = [START + timedelta(days=k) for k in range(DAYS)]
    noise = temperature = 0.0
    promotion = torch.zeros(DAYS)
    for start in torch.randperm(DAYS - 10, generator=rng)[: 8 * 10].tolist():
        promotion[start : start + int(torch.randint(5, 11, (1,), generator=rng))] = 1
    rows = []
    for k, day in enumerate(days):
        shocks = torch.randn(2, generator=rng).tolist()
        is_outlier, is_high = (torch.rand(2, generator=rng) < torch.tensor([OUTLIERS, 0.5])).tolist()
        year = 2 * math.pi * day.timetuple().tm_yday / 365.25
        temperature = 0.7 * temperature + 2.5 * shocks[0]
        warmth = 10 - 9 * math.cos(year - 0.35) + temperature
        noise = 0.6 * noise + 0.06 * math.sqrt(1 - 0.36) * shocks[1]
        is_holiday = (day.month, day.day) in HOLIDAYS or (day - _easter(day.year)).days in AFTER_EASTER
        mean = 900 * 1.06 ** (k / 365.25) * (1.2 if k >= LEVEL_CHANGE * DAYS else 1.0) * WEEK[day.weekday()]
        mean *= 1 + 0.22 * math.sin(year - 1.3) + 0.08 * math.sin(2 * year)
        if is_holiday:
            mean *= 0.5 if day.month == 12 else 1.6 if day.weekday() < 5 else 1.15
        mean *= 1.25 if promotion[k] else 1.0
        mean *= math.exp(-0.012 * temperature + noise) * ((1.9 if is_high else 0.35) if is_outlier else 1.0)
        cells = (day.isoformat(), str(round(mean)), f"{warmth:.1f}", str(int(is_holiday)), str(int(promotion[k])))
        rows.append(cells)
    names = ("date", "visits", "temperature", "holiday", "promotion")
    columns = tuple(zip(*rows, strict=True))
    return TableText(where=NAME, names=names, columns=columns, lines=range(2, DAYS + 2))


def _easter(year: int) -> date:
    """Easter Sunday (Meeus, Jones and Butcher; Nature 1876)."""
    a, b, c = year % 19, year // 100, year % 100
    d = (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    e = (32 + 2 * (b % 4) + 2 * (c // 4) - d - c % 4) % 7
    f = d + e - 7 * ((a + 11 * d + 22 * e) // 451) + 114
    return date(year, f // 31, f % 31 + 1)


def visits(seed: int, options: OpenOptions) -> RawDataset:
    """The series with the visits to forecast, holidays and promotions known in advance, and the temperature as input.

    Args:
        options: horizon and window, by default 28 and 56 days; columns, by default as above; calendar, season, stride.
    """
    named = options.target not in ((), ("future",)) or options.known or options.inputs
    chosen = {} if named else {"target": ("visits",), "known": ("holiday", "promotion")}
    steps = {"horizon": options.horizon or HORIZON, "window": options.window or max(WINDOW, 2 * (options.horizon or 0))}
    options = _replace(options, {**chosen, **steps})
    read = recordings_of_table(visits_table(seed), options, NAME)
    return windows_of(Path(NAME), read, options)


def _replace(options: OpenOptions, values: dict[str, object]) -> OpenOptions:
    import dataclasses

    return dataclasses.replace(options, **values)  # type: ignore[arg-type]

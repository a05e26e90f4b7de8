"""Options of time series in a table."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def add_series_options(group: argparse._ArgumentGroup, count: Callable[[str], int]) -> None:
    """Add the options of opening time series to a group; count: a parser of numbers of at least 1."""
    group.add_argument(
        "--known",
        metavar="COLUMN[,COLUMN]",
        help="Columns of a table of time series that are known in advance, such as prices or holidays (default: none)",
    )
    group.add_argument(
        "--calendar",
        action=argparse.BooleanOptionalAction,
        help="Calendar features, known in advance: sine and cosine of the time of day, day of the week and day of the "
        "year (default: yes, where the times are dates)",
    )
    group.add_argument(
        "--season",
        metavar="STEPS",
        type=count,
        help="Steps of a season (default: by the duration of a step, as 7 days or 24 hours, else by autocorrelation; "
        "printed)",
    )
    group.add_argument(
        "--gaps",
        choices=["interpolate", "split"],
        help="Missing steps and cells of time series: interpolate, linear interpolation of gaps of at most --max-gap "
        "steps, and a split at longer ones; split, a split into two series at each (default: they are an error)",
    )
    group.add_argument(
        "--max-gap",
        metavar="STEPS",
        type=count,
        help="Consecutive missing steps that --gaps interpolate fills, at most (default 10)",
    )
    group.add_argument(
        "--resample",
        metavar="PERIOD",
        help="Period whose mean is one step of a time series: a number and s, min, h, d, w or mo, as 15min (default: "
        "each row is a step, and unequal steps are an error). Of motion, a number of frames per second (default: 25 if "
        "the files have at least 50)",
    )

"""Flags of human motion: frame rates, features, skeleton."""

from __future__ import annotations

import argparse
import math


def add_motion_flags(group: argparse._ArgumentGroup) -> None:
    """Add the flags of motion to those of the data."""
    group.add_argument(
        "--frame-rate",
        metavar="HZ",
        type=positive_number,
        help="Frames per second of motion and recordings whose files do not state it (default: 120 for AMC files and "
        "exponential maps of the CMU Graphics Lab, else unknown)",
    )
    group.add_argument(
        "--pose",
        choices=["angles", "positions"],
        help="Features of motion: angles, exponential maps of the joints and the position of the root; positions, the "
        "coordinates of all joints (default: angles)",
    )
    group.add_argument(
        "--skeleton",
        metavar="FILE",
        help="Skeleton of motion: an .asf or .bvh file for exponential maps, an .asf file for AMC files, a table of "
        "joint and parent (.csv) for positions (default: the .asf file beside or above the .amc files)",
    )


def positive_number(text: str) -> float:
    """An argument type: a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value

"""Flags of `snellen filter`: numbers, pairs and the settings of kernels with a name."""

from __future__ import annotations

import argparse
import math
import re
from typing import Any

_FRACTION = re.compile(r"([-+]?\d+(?:\.\d+)?)/(\d+(?:\.\d+)?)")


def parse_number(text: str) -> float | None:
    """A finite number or a fraction such as 1/9; None for anything else."""
    text = text.strip().replace("−", "-")
    below = 1.0
    if fraction := _FRACTION.fullmatch(text):
        text, below = fraction[1], float(fraction[2])
    try:
        value = float(text) / below if "_" not in text else math.nan
    except (ValueError, ZeroDivisionError):
        return None
    return value if math.isfinite(value) else None


def add_kernel_settings(parser: argparse.ArgumentParser) -> None:
    """Flags of the settings of kernels with a name; each has the name of the parameter of `make`."""
    group = parser.add_argument_group("settings of named kernels")
    for name, (read, metavar, text) in KERNEL_SETTINGS.items():
        group.add_argument(f"--{name}", type=read, metavar=metavar, help=text)


def _numbers(text: str) -> tuple[float, ...]:
    values = [parse_number(part) for part in text.split(",")]
    if any(value is None for value in values):
        raise argparse.ArgumentTypeError(f"must be numbers separated by commas, not {text!r}")
    return tuple(value for value in values if value is not None)


def _number(text: str) -> float:
    value = parse_number(text)
    if value is None:
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}")
    return value


def whole(text: str) -> int:
    """Parse a whole number of any sign; the kernel or filter checks its range."""
    if not re.fullmatch(r"[-+]?\d{1,9}", text):
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}")
    return int(text)


def pair(text: str) -> tuple[int, int]:
    """Parse two whole numbers separated by a comma: X,Y."""
    parts = text.split(",")
    if len(parts) != 2:
        raise argparse.ArgumentTypeError(f"must be two whole numbers X,Y, not {text!r}")
    return whole(parts[0].strip()), whole(parts[1].strip())


KERNEL_SETTINGS: dict[str, tuple[Any, str, str]] = {
    "size": (
        whole,
        "K",
        "Rows and columns of the kernel, most odd (default 3; of Gaussian and Gabor kernels by sigma)",
    ),
    "sigma": (
        _number,
        "PIXELS",
        "Standard deviation of Gaussian and Gabor kernels in pixels; of derivatives at least 0.5 to 0.8, by their "
        "order (default 1; 0.56 λ)",
    ),
    "order": (pair, "X,Y", "Order of the derivative of kernel gaussian along x and y, 0 to 4 each (default 0,0)"),
    "dx": (whole, "PIXELS", "Kernel shift: pixels to the right (default 1)"),
    "dy": (whole, "PIXELS", "Kernel shift: pixels downwards (default 0)"),
    "wavelength": (_number, "PIXELS", "Kernel gabor: wavelength λ in pixels, at least 2 (default 6)"),
    "orientation": (_number, "DEGREES", "Kernel gabor: direction of the wave; 0 finds vertical edges (default 0)"),
    "phase": (_number, "DEGREES", "Kernel gabor: 0 is even, for bars, 90 odd, for edges (default 0)"),
    "aspect": (_number, "RATIO", "Gabor kernels: width across by length along the bars (default 0.5)"),
    "orientations": (whole, "N", "Number of directions of gabor-bank (default 4)"),
    "wavelengths": (_numbers, "λ,…", "Wavelengths of gabor-bank in pixels (default 4,8)"),
    "phases": (_numbers, "φ,…", "Phases of gabor-bank in degrees (default 0,90)"),
}

"""Inputs and kernels of `snellen filter`: an image, numbers or an example; a kernel by name, typed or file."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snellen.cli.filter_numbers import read_numbers
from snellen.cli.filter_options import parse_number
from snellen.core.errors import DataError, UsageError, counted, short_repr, similar_names, suggest_name
from snellen.filters.examples import EXAMPLES
from snellen.filters.kernels import BANKS, KERNELS, MAX_SIZE, Array
from snellen.filters.names import SIGNAL_KERNEL_NAMES

TABLES = (".csv", ".tsv", ".txt")
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601
_TYPED = re.compile(r"[-+−\d.eE/;\s]*\d[-+−\d.eE/;\s]*")
MAX_TITLE = 48  # characters of a typed kernel that are its title


@dataclass(frozen=True, kw_only=True)
class FilterInput:
    """Input of a filter.

    Args:
        values: (C, H, W) at the depth of the file; a signal has C = H = 1.
        signal: whether it is one row or column of numbers.
        numbers: whether it is a table of numbers, whose range is its own; else an image, from 0 to `white`.
        recognised_as: what it is, in words, with what was assumed on reading.
    """

    name: str
    values: NDArray[Any]
    signal: bool
    numbers: bool
    white: float
    recognised_as: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class ChosenKernel:
    """Kernels to apply: name → (rows, columns). `title` and `summary` describe them; a bank has several."""

    title: str
    kernels: Mapping[str, Array]
    summary: str = ""
    bank: bool = False
    notes: Sequence[str] = field(default_factory=tuple)


def check_input(name: str) -> None:
    """Raise DataError for an input that is neither an example nor a file."""
    path = Path(os.path.expanduser(name))
    if name in EXAMPLES:
        return
    if not name:
        raise DataError("The name of INPUT is empty", "Give an image, a .csv of numbers or an example.")
    if not os.path.lexists(path):
        near = similar_names(name, list(EXAMPLES))
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Examples: {', '.join(EXAMPLES)}."
        raise DataError(f"{name} does not exist", f"Give an image, a .csv of numbers or an example. {hint}")
    if path.is_dir():
        raise DataError(f"{name} is a folder", "Give one image, a .csv of numbers or an example.")


def read_input(name: str, grey: bool) -> FilterInput:
    """Read an example by its name, a table of numbers by its suffix, or an image.

    Raises:
        DataError: if the file does not exist or cannot be read.
        UsageError: grey numbers.
    """
    if name in EXAMPLES:
        values = EXAMPLES[name].make()
        read = _of_numbers(name, values, "a built-in example") if values.ndim < 3 else _of_image(name, values, [])
    else:
        path = Path(os.path.expanduser(name))
        if path.suffix.lower() in TABLES:
            table, notes = read_numbers(path)
            read = _of_numbers(name, table.ravel() if min(table.shape) == 1 else table, "a table", *notes)
        else:
            read = _read_image(name, path)
    if grey and read.numbers:
        raise UsageError(f"--grey has no effect on {name}: numbers have no colour", "Leave out --grey.")
    return grey_input(read) if grey else read


def _of_numbers(name: str, values: NDArray[Any], what: str, *notes: str) -> FilterInput:
    signal = values.ndim == 1
    size = (
        f"signal of {counted(values.size, 'number')}"
        if signal
        else f"grid of {values.shape[1]} × {values.shape[0]} numbers"
    )
    return FilterInput(
        name=name,
        values=values.reshape(1, 1, -1) if signal else values[None],
        signal=signal,
        numbers=True,
        white=float(values.max()) if values.size else 0.0,
        recognised_as=[f"{size}, {what}", *notes],
    )


def _of_image(name: str, values: NDArray[Any], notes: Sequence[str]) -> FilterInput:
    channels, height, width = values.shape
    colour = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
    whole = values.dtype.kind in "ui"
    depth = f"{values.dtype.itemsize * 8} bits" if whole else str(values.dtype)
    each = ", each channel filtered by itself" if channels > 1 else ""
    return FilterInput(
        name=name,
        values=values,
        signal=False,
        numbers=False,
        white=float(np.iinfo(values.dtype).max if whole else max(float(values.max()), 0.0) or 1.0),
        recognised_as=[f"image of {width} × {height} pixels, {colour}, {depth}{each}", *notes],
    )


def _read_image(name: str, path: Path) -> FilterInput:
    from snellen.core.spec import Preprocessing
    from snellen.data.decode import image_decoder
    from snellen.data.decode.header import UnusableFile

    try:
        header = image_decoder.header(path)
        notes = [f"converted: {note}" for note in header.notes]
        notes += [f"page 1 of {header.pages}"] if header.pages > 1 else []
        values = image_decoder.decode(path, Preprocessing(pages="first" if header.pages > 1 else None)).numpy()
    except UnusableFile as error:
        cause = error.cause if error.cause.startswith(str(path)) else f"{path} {error.cause}"
        remedy = error.remedy if "--" not in error.remedy else "Correct the file."  # flags of other commands
        raise DataError(cause, remedy) from error
    return _of_image(name, values, notes)


def grey_input(read: FilterInput) -> FilterInput:
    """The input as one channel; itself if it has one."""
    channels = len(read.values)
    if channels == 1:
        return read
    weights = LUMA if channels == 3 else (1.0 / channels,) * channels
    grey = np.zeros(read.values.shape[1:])
    for channel, weight in zip(read.values, weights, strict=True):
        grey += channel * weight
    conversion = "grey: 0.299 R + 0.587 G + 0.114 B" if channels == 3 else f"grey: mean of {channels} channels"
    what = read.recognised_as[0].replace(", each channel filtered by itself", "")
    return FilterInput(
        name=read.name,
        values=grey[None],
        signal=False,
        numbers=read.numbers,
        white=read.white,
        recognised_as=[what, *read.recognised_as[1:], conversion],
    )


def choose_kernel(text: str, given: Mapping[str, Any], signal: bool) -> ChosenKernel:
    """The kernel of `--kernel`: a name with its settings, typed numbers, or a CSV file.

    Args:
        given: settings of kernels with a name, by the parameter of `make`.
        signal: whether the input has one axis: typed columns become rows, names give their one-dimensional form.
    Raises:
        UsageError: an unknown name, a setting that the kernel does not have, no numbers.
    """
    if text in KERNELS or text in BANKS:
        return _by_name(text, given, signal)
    if given:
        flag = next(iter(given))
        raise UsageError(f"--{flag} does not apply to --kernel {short_repr(text)}", f"Leave it out, or name a kernel: "
                         f"{', '.join([*KERNELS, *BANKS])}.")  # fmt: skip
    if _TYPED.fullmatch(text):
        return _one(text if len(text) <= MAX_TITLE else "typed", _typed(text), signal)
    if os.path.isfile(os.path.expanduser(text)):
        values, notes = read_numbers(Path(os.path.expanduser(text)))
        return _one(text, values, signal, notes)
    if "," in text and _TYPED.fullmatch(text.replace(",", " ")):
        raise UsageError(f"--kernel {short_repr(text)} has commas", "Write 0.5 0 1; rows are separated by semicolons.")
    raise UsageError(
        f"Unknown kernel {short_repr(text)}: no name, no numbers, no file",
        suggest_name(text, [*KERNELS, *BANKS]) + ' Typed: --kernel "0 1 0; 1 -4 1; 0 1 0".',
    )


def _by_name(name: str, given: Mapping[str, Any], signal: bool) -> ChosenKernel:
    entry = KERNELS.get(name) or BANKS[name]
    one_dimensional = signal and name in KERNELS
    make = KERNELS[name].make_1d if one_dimensional else entry.make
    if make is None or (signal and name in BANKS):
        known = [other for other, kernel in KERNELS.items() if kernel.make_1d is not None]
        raise UsageError(f"Kernel {name} has two axes, the signal has one", f"Use one of {', '.join(known)}.")
    settings = inspect.signature(make).parameters
    for flag in given:
        if flag not in settings:
            names = ", ".join(f"--{other}" for other in settings)
            remedy = f"Its settings: {names}." if settings else "It has no settings: leave the flag out."
            raise UsageError(f"--{flag} does not apply to kernel {name}", remedy)
    made: Any = make(**given)
    kernels = {key: np.atleast_2d(kernel) for key, kernel in (made if isinstance(made, dict) else {name: made}).items()}
    words = "".join(
        f", {key} {','.join(f'{part:g}' for part in value) if isinstance(value, Sequence) else f'{value:g}'}"
        for key, value in given.items()
    )
    summary = SIGNAL_KERNEL_NAMES.get(name, entry.summary) if one_dimensional else entry.summary
    return ChosenKernel(title=f"{name}{words}", kernels=kernels, summary=summary, bank=name in BANKS)


def _typed(text: str) -> Array:
    rows = [row.split() for row in text.split(";")]
    rows = rows[:-1] if len(rows) > 1 and not rows[-1] else rows
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        sizes = ", ".join(str(len(row)) for row in rows)
        raise UsageError(f"--kernel {short_repr(text)} has rows of {sizes} numbers", "Give every row as many numbers.")
    values = [[parse_number(cell) for cell in row] for row in rows]
    for row, numbers in zip(rows, values, strict=True):
        for cell, number in zip(row, numbers, strict=True):
            if number is None:
                raise UsageError(
                    f"{short_repr(cell)} of --kernel is not a number", "Write numbers such as -1, 0.5, 1/9."
                )
    return np.array(values, dtype=np.float64)


def _one(title: str, values: Array, signal: bool, notes: Sequence[str] = ()) -> ChosenKernel:
    if max(values.shape) > MAX_SIZE:
        raise UsageError(
            f"The kernel has {values.shape[1]} × {values.shape[0]} elements", f"Give at most {MAX_SIZE} on a side."
        )
    if signal and min(values.shape) > 1:
        raise UsageError(
            f"The kernel has {values.shape[0]} rows, the signal is one row", "Give one row of numbers as the kernel."
        )
    return ChosenKernel(title=title, kernels={title: values.reshape(1, -1) if signal else values}, notes=notes)

"""Errors for users: one line of cause with path and value, one line of remedy, one exit code.

Any other exception is a bug in Snellen and is shown with its traceback.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Sequence


class SnellenError(Exception):
    """Base class of expected errors.

    Args:
        cause: what went wrong, with the path and the value.
        remedy: what the user can do, in the imperative.
    """

    exit_code = 1

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause)
        self.cause = printable(" ".join(cause.split("\n")))
        self.remedy = printable(remedy)

    def __str__(self) -> str:
        return f"{self.cause}\n{self.remedy}" if self.remedy else self.cause


class UsageError(SnellenError):
    """Invalid command or call: unknown name, value outside its limits."""

    exit_code = 2


class DataError(SnellenError):
    """Invalid data: unreadable, inconsistent, empty."""

    exit_code = 3


class EnvironmentProblem(SnellenError):
    """Problem of the machine: disk full, folder not writable, package or device missing, out of memory."""

    exit_code = 4


class CannotWrite(EnvironmentProblem):
    """A file cannot be written: disk full, no permission, damaged device."""


class Diverged(SnellenError):
    """NaN or infinity in a loss, a weight or a prediction."""

    exit_code = 5


class TooLittleTime(SnellenError):
    """The time limit is too short to start training, or it ran out before the end.

    Args:
        needed: estimated seconds of the complete training, if they were measured.
        at_least: whether it was stopped without an estimate: `needed` is more than it had, and may not be enough.
    """

    def __init__(self, cause: str, remedy: str = "", needed: float | None = None, at_least: bool = False) -> None:
        super().__init__(cause, remedy)
        self.needed = needed
        self.at_least = at_least


class Mismatch(SnellenError):
    """Two computations that must agree differ: an exported model and its run."""

    exit_code = 5


class Stopped(SnellenError):
    """A signal stopped the run after it was saved. `exit_code` is 128 + signal, as in a shell."""

    def __init__(self, cause: str, remedy: str = "", *, signal: int) -> None:
        super().__init__(cause, remedy)
        self.exit_code = 128 + signal


_MAX_COMPARED, _MAX_NAME, _MAX_LISTED = 2000, 200, 100  # names that are compared, characters of each, names listed
_NEAR, _TIE = 0.6, 0.1  # similarity of a near name, and how much less than the nearest another may have
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def printable(text: str) -> str:
    """Escape control characters, and others that a terminal cannot print or that reorder what it shows.

    Names from files may hold them. Every text for a terminal goes through this function, JSON through `printable_json`.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def printable_json(text: str) -> str:
    """JSON whose strings hold no control or bidirectional characters: each is escaped, so no value changes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


_MAX_REPR = 300  # characters; nested values are abbreviated each, but not together


def short_repr(value: object) -> str:
    """Short `repr` of a value for an error message: one line of at most `_MAX_REPR` characters, the rest left out."""
    text = _SHORT.repr(value)
    return text if len(text) <= _MAX_REPR else f"{text[: _MAX_REPR - 1]}…"


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number and its noun: "1 sample", "1,000 samples". `plural`: of a noun that does not only take an s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def first_line(error: BaseException) -> str:
    """First line of the message of an exception."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def similar_names(name: str, known: Sequence[str]) -> list[str]:
    """The known names most similar to `name`, at most three, the most similar first; none if none is near."""
    import difflib

    def similarity(other: str) -> float:
        return difflib.SequenceMatcher(a=other, b=name[:_MAX_NAME]).ratio()

    short = list(dict.fromkeys(other for other in known[:_MAX_COMPARED] if len(other) <= _MAX_NAME))
    matches = difflib.get_close_matches(name[:_MAX_NAME], short, n=3, cutoff=_NEAR)
    return [other for other in matches if similarity(other) > similarity(matches[0]) - _TIE]


def suggest_name(name: str, known: list[str], prefix: str = "") -> str:
    """Sentence with the known names most similar to `name`, or with all known names, up to a limit of each.

    Args:
        prefix: shown before each name, as "--" of flags.
    """
    if similar := similar_names(name, known):
        return f"Did you mean {' or '.join(prefix + other for other in similar)}?"
    short = [prefix + other for other in known[:_MAX_LISTED] if len(other) <= _MAX_NAME]
    more = f" and {len(known) - _MAX_LISTED:,} more" if len(known) > _MAX_LISTED else ""
    return f"Known: {', '.join(short)}{more}." if known else "None is known."

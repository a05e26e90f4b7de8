"""Every error a user can meet: one line of cause with path and value, one line of remedy, one exit code.

Anything that is not a `SnellenError` is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import reprlib


class SnellenError(Exception):
    """An expected failure.

    Args:
        cause: what went wrong, with the path and the value.
        remedy: what the user can do about it.
    """

    exit_code = 1

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause)
        self.cause = printable(" ".join(cause.split("\n")))
        self.remedy = printable(remedy)

    def __str__(self) -> str:
        return f"{self.cause}\n{self.remedy}" if self.remedy else self.cause


class UsageError(SnellenError):
    """The command or call itself is wrong: unknown name, impossible setting."""

    exit_code = 2


class DataError(SnellenError):
    """The data is wrong: unreadable, inconsistent, empty."""

    exit_code = 3


class EnvironmentProblem(SnellenError):
    """The machine is in the way: disk full, folder not writable, package or device missing, no memory."""

    exit_code = 4


class Diverged(SnellenError):
    """The numbers left the finite: NaN or infinity in a loss or a prediction."""

    exit_code = 5


class TooLittleTime(SnellenError):
    """The time given is not worth beginning in, or was over before the end."""


class Mismatch(SnellenError):
    """Two computations that should agree do not: an exported model and its run."""

    exit_code = 5


class Stopped(SnellenError):
    """A signal ended the run after it was saved. `exit_code` follows the shell's 128 + signal."""

    def __init__(self, cause: str, remedy: str = "", *, signal: int) -> None:
        super().__init__(cause, remedy)
        self.exit_code = 128 + signal


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def printable(text: str) -> str:
    """Names from files may hold anything: what a terminal would obey, or could not print, is escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def shown(value: object) -> str:
    """A value as an error shows it: on one line, and never the whole of a large one."""
    return _SHORT.repr(value)


def first_line(error: BaseException) -> str:
    """What an exception says, on one line."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def nearest(word: str, known: list[str]) -> str:
    """A sentence naming what `word` may have meant, or all that is known."""
    import difflib

    close = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"Known: {', '.join(known)}." if known else "None is known."

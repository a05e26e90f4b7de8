"""Why a request is not answered: a status, a word for programs, and a line of cause and remedy for people."""

from __future__ import annotations

from collections.abc import Mapping

from snellen.core.errors import DataError, Diverged, SnellenError, UsageError
from snellen.data.decode.header import TooManyPixels
from snellen.training.loop import out_of_memory

AGAIN = {"Retry-After": "1"}
CLOSE = {"Connection": "close"}


class Refused(SnellenError):
    """A request that is not answered.

    Args:
        status: of HTTP.
        code: a word that stays the same when the sentence changes.
        headers: of the answer.
    """

    def __init__(
        self, status: int, code: str, cause: str, remedy: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(cause, remedy)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})

    def plain(self) -> dict[str, dict[str, str]]:
        return {"error": {"code": self.code, "cause": self.cause, "remedy": self.remedy}}


def bug() -> Refused:
    return Refused(500, "bug", "This is a mistake of the server's", "It is written in the server's log.")


def stopping() -> Refused:
    return Refused(503, "stopping", "The server stops", "Ask again later.", {**AGAIN, **CLOSE})


def refusal_of(error: Exception) -> Refused | None:
    """What an error in reading or asking means to who sent the request; None for a bug of ours."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, TooManyPixels):
        return Refused(413, "too-many-pixels", error.cause, error.remedy)
    if isinstance(error, Diverged):
        return Refused(422, "not-finite", error.cause, "Are the values as the model knows them?")
    if isinstance(error, DataError | UsageError):
        return Refused(422, "unreadable", error.cause, error.remedy)
    if out_of_memory(error):
        return Refused(503, "no-memory", "Memory does not suffice for this now", "Send less at once.", AGAIN)
    return None

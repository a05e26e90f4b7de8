"""HTTP errors: status, error code, cause and remedy."""

from __future__ import annotations

from collections.abc import Mapping

from snellen.core.errors import DataError, Diverged, SnellenError, UsageError
from snellen.data.decode.header import TooManyPixels
from snellen.modalities.modality import MalformedJSON, TooManyInputs
from snellen.training.out_of_memory import out_of_memory

RETRY_LATER = {"Retry-After": "1"}
CLOSE_CONNECTION = {"Connection": "close"}  # of errors before the end of the body, which nobody would read


class HTTPError(SnellenError):
    """An HTTP error response.

    Args:
        status: HTTP status code.
        code: error code for programs; it stays the same when the texts change.
        headers: extra response headers.
    """

    def __init__(
        self, status: int, code: str, cause: str, remedy: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(cause, remedy)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})

    def to_plain(self) -> dict[str, dict[str, str]]:
        return {"error": {"code": self.code, "cause": self.cause, "remedy": self.remedy}}


def internal_error() -> HTTPError:
    """500: a bug of the server."""
    return HTTPError(500, "bug", "Internal server error", "See the traceback in the server's log.")


def shutting_down() -> HTTPError:
    """503: the server shuts down."""
    return HTTPError(
        503, "stopping", "The server is shutting down", "Retry later.", {**RETRY_LATER, **CLOSE_CONNECTION}
    )


def as_http_error(error: Exception) -> HTTPError | None:
    """The HTTP error that an exception of decoding or inference corresponds to; None: a bug."""
    if isinstance(error, HTTPError):
        return error
    if isinstance(error, TooManyPixels):
        return HTTPError(413, "too-many-pixels", error.cause, error.remedy)
    if isinstance(error, TooManyInputs):
        return HTTPError(413, "too-many-inputs", error.cause, error.remedy)
    if isinstance(error, MalformedJSON):
        return HTTPError(400, "malformed-json", error.cause, error.remedy)
    if isinstance(error, Diverged):
        return HTTPError(422, "not-finite", error.cause, "Check that the values lie in the range of the training data.")
    if isinstance(error, DataError | UsageError):
        return HTTPError(422, "unreadable", error.cause, error.remedy)
    if out_of_memory(error):
        return HTTPError(503, "no-memory", "Out of memory", "Send fewer or smaller inputs.", RETRY_LATER)
    return None

"""What a server takes on. Whatever is beyond is refused with its reason, so that memory and time stay bounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from snellen.core.errors import UsageError
from snellen.core.spec import Modality

SLOWEST = 64 << 10  # bytes a second that a client must keep to once its patience is over, either way
BODIES = 8  # of the largest size, that are held at one time


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a server takes on.

    Args:
        most_bytes: of the body of a request.
        most_pixels: of a picture; checked before it is decoded.
        most_inputs: pictures or rows of a request.
        queue: requests that wait for the model; one more is sent away (429).
        timeout: seconds until a request that was received whole is given up (503).
        patience: seconds that a client may take for the head of a request, and for the body and the answer beyond what
            64 KiB a second allow; then it is cut off.
        connections: that are open at one time.
        batch: pictures asked together. Beyond 1, the last bits of an answer may depend on what was asked beside it.
    """

    most_bytes: int = 32 << 20
    most_pixels: int = 50_000_000
    most_inputs: int = 64
    queue: int = 64
    timeout: float = 30.0
    patience: float = 10.0
    connections: int = 256
    batch: int = 1

    def __post_init__(self) -> None:
        for name, least in (
            ("most_bytes", 1),
            ("most_pixels", 1),
            ("most_inputs", 1),
            ("queue", 1),
            ("connections", 1),
            ("batch", 1),
            ("timeout", 0.001),
            ("patience", 0.001),
        ):
            if not getattr(self, name) >= least:
                raise UsageError(f"{name.replace('_', ' ')} cannot be {getattr(self, name)}", f"Give at least {least}.")


def limits(modality: Modality, given: Mapping[str, Any]) -> Limits:
    """The limits that were given, and the usual ones for the rest.

    Those of tables are smaller: a table becomes some forty times larger in memory than its text.
    """
    usual = {} if modality == "image" else {"most_bytes": 4 << 20, "most_inputs": 10_000}
    known = {field.name for field in fields(Limits)}
    return Limits(**{**usual, **{name: value for name, value in given.items() if name in known}})
